"""What runs an action model: torch made fast, onnxruntime or OpenVINO; all are called as the model itself is.

A backend is an `ActionModel`, `(clips, rois) -> logits`, so that callers need not know which it is. Graphs for
onnxruntime and OpenVINO are written once (see `export`) and kept in the cache folder, under a name that changes with
the weights and with the versions of torch and avadet.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import avadet
from avadet.errors import AvadetError, unknown_name
from avadet.models.cards import clip_of, labels_of
from avadet.models.checkpoints.weights import LoadReport
from avadet.models.detectors.two_stage import ActionDetector
from avadet.models.devices import device_of
from avadet.models.download import cache_folder
from avadet.models.engines.export import check_reads_no_bank, export
from avadet.models.engines.fast import fast_model, has_bf16
from avadet.models.engines.graphs import GraphModel, SizedGraphs, open_graph
from avadet.models.engines.probe import (
    PROBE_BOXES,
    PROBES,
    default_size_hw,
    sample_inputs,
    says_one_size,
    score_difference,
)
from avadet.models.heads.lfb import BankWindow
from avadet.models.loaded import LoadedModel

BACKENDS = ("torch", "onnx", "openvino")
PRECISIONS = ("auto", "fp32", "bf16")
BF16_WITHIN = 5e-3
"""What --precision auto accepts: the largest difference of a score, 0-1, to float32."""

PROBE_SIDE_PX = 128
"""Height of the images on which bf16 is compared with float32 when a model is loaded."""


def prepare(loaded: LoadedModel, backend: str = "torch", precision: str = "fp32") -> LoadedModel:
    """A model made ready to run fast, for inference only.

    Args:
        loaded: as `zoo.load` gives it; left as it is.
        backend: "torch", "onnx" (onnxruntime) or "openvino".
        precision: "fp32"; "bf16"; or "auto", bf16 where the processor computes in it and the scores stay within
            `BF16_WITHIN`.

    Returns:
        the same with another `model` and, if it has one, `bank`; `running` says in words what runs it, and how far
        bf16's scores are from fp32's.

    Raises:
        AvadetError: for an unknown backend or precision, a library that is absent, a processor without bf16, or a
            model that cannot be written as a graph.
    """
    if backend not in BACKENDS:
        raise unknown_name("backend", backend, BACKENDS)
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    if backend == "torch":
        return _in_best_precision(loaded, backend, precision, lambda name: _fast(loaded, name))
    check_reads_no_bank(loaded)
    digest = weights_digest(loaded)
    return _in_best_precision(loaded, backend, precision, lambda name: _as_graph(loaded, digest, backend, name))


def load_graph(path: str | Path, backend: str = "onnx", precision: str = "fp32", device: str = "cpu") -> LoadedModel:
    """Load an .onnx file that `export` wrote; arguments and errors as `prepare`, and a file that is not one."""
    if backend not in BACKENDS[1:]:
        raise AvadetError(f"{path} is a graph; run it with --backend onnx or openvino, not {backend}")
    model = open_graph(Path(path), backend, "fp32", device)
    card, report = model.card, LoadReport(str(path), 0, (), (), ())
    loaded = LoadedModel(model, clip_of(card), labels_of(card), card["name"], card, report)

    def made(name: str) -> LoadedModel:
        graph = model if name == "fp32" else open_graph(Path(path), backend, name, device)
        return dataclasses.replace(loaded, model=graph)

    return _in_best_precision(loaded, backend, precision, made)


def _fast(loaded: LoadedModel, precision: str) -> LoadedModel:
    """A model, and that of its feature banks, made fast in "fp32" or "bf16"."""
    dtype, device = torch.bfloat16 if precision == "bf16" else torch.float32, device_of(loaded.model)
    probe = sample_inputs(loaded.spec.num_frames, _probe_size_hw(loaded), 1, PROBE_BOXES)
    model, note = fast_model(loaded.model, dtype, *(tensor.to(device) for tensor in probe))
    bank = loaded.bank and _fast(loaded.bank, precision)
    return dataclasses.replace(loaded, model=model, bank=bank, running=note)


def _as_graph(loaded: LoadedModel, digest: str, backend: str, precision: str) -> LoadedModel:
    """A model run by onnxruntime or OpenVINO, on a graph from the cache, one for each image size if it needs that."""
    device = str(device_of(loaded.model))

    @functools.cache
    def graph_of(size_hw: tuple[int, int]) -> GraphModel:
        return open_graph(_cached(loaded, digest, size_hw), backend, precision, device)

    graph = graph_of(default_size_hw(loaded))  # so that what is amiss comes to light now
    is_open = graph.input.shape[3] is None
    model = graph if is_open else SizedGraphs(graph_of, loaded.model.num_classes)
    return dataclasses.replace(loaded, model=model)


def _cached(loaded: LoadedModel, digest: str, size_hw: tuple[int, int]) -> Path:
    """The graph's file for images of a size, written if it is not there; one for all sizes has none in its name."""
    folder = cache_folder() / "graphs"
    of_all = folder / f"{loaded.name}-{digest}.onnx"
    of_one = folder / f"{loaded.name}-{digest}-{size_hw[0]}x{size_hw[1]}.onnx"
    for path in (of_all, of_one):
        if path.is_file():
            return path
    return of_one.replace(of_all) if export(loaded, of_one, size_hw).is_open else of_one


def weights_digest(loaded: LoadedModel) -> str:
    """Hex digits that change with the weights, the card, and the versions of avadet and torch."""
    digest = hashlib.blake2b(digest_size=10)
    digest.update(json.dumps([loaded.card, avadet.__version__, torch.__version__], default=str).encode())
    for name, value in loaded.model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _in_best_precision(
    loaded: LoadedModel, backend: str, precision: str, made: Callable[[str], LoadedModel]
) -> LoadedModel:
    """Make the model in "fp32" or "bf16"; compare bf16 with the model as it was loaded, and with "auto" decide.

    Raises:
        AvadetError: if bf16 was asked for where there is none.
    """
    device = device_of(loaded.model)
    if precision == "bf16" and backend == "onnx":
        raise AvadetError("onnxruntime computes in fp32; for bf16 use --backend torch or openvino")
    if precision == "bf16" and not has_bf16(device):
        raise AvadetError(f"this processor ({device}) does not compute in bf16; use --precision fp32")
    if precision == "fp32" or backend == "onnx" or not has_bf16(device):
        return _running(made("fp32"), f"{backend} in fp32")
    small = made("bf16")
    as_float = isinstance(loaded.model, GraphModel) and loaded.model.input.dtype == np.float32
    difference = score_difference(loaded, small, _probe_size_hw(loaded), _random_window(loaded.bank), as_float)
    words = f"scores differ from fp32 by at most {difference:.2g} on {PROBES} random clips"
    if precision == "auto" and difference > BF16_WITHIN:
        return _running(made("fp32"), f"{backend} in fp32, because in bf16 {words}")
    return _running(small, f"{backend} in bf16, {words}")


def _running(made: LoadedModel, words: str) -> LoadedModel:
    """The same model; what runs it comes before what there was to note when it was made."""
    return dataclasses.replace(made, running="; ".join(filter(None, (words, made.running))))


def _random_window(bank: LoadedModel | None) -> BankWindow | None:
    """What the model of feature banks makes of a random clip, None if there is no such model."""
    if bank is None or not isinstance(bank.model, ActionDetector):
        return None
    device = device_of(bank.model)
    clips, rois = sample_inputs(bank.spec.num_frames, _probe_size_hw(bank), 1, PROBE_BOXES)
    with torch.inference_mode():
        rows = bank.model.box_features(clips.to(device), rois.to(device))
    return BankWindow(torch.zeros(len(rows), dtype=torch.int64, device=device), rows)


def _probe_size_hw(loaded: LoadedModel) -> tuple[int, int]:
    """(height, width) px at which precisions are compared: small, unless the model is bound to a size."""
    size_hw = default_size_hw(loaded)
    if isinstance(loaded.model, GraphModel) and loaded.model.input.shape[3] is not None:
        height, width = loaded.model.input.shape[3:]
        return height or size_hw[0], width or size_hw[1]
    scale = min(1.0, PROBE_SIDE_PX / size_hw[0]) if not says_one_size(loaded.model) else 1.0
    return round(size_hw[0] * scale), round(size_hw[1] * scale)
