"""What runs an action model: torch made fast, onnxruntime or OpenVINO; all are called as the model itself is.

A backend is an `ActionModel` in its own right, `(clips, rois) -> logits`, so that nobody who calls one needs to know
which it is. Graphs for onnxruntime and OpenVINO are written once (see `export`) and kept in the cache folder, under a
name that changes with the weights and with the versions of torch and avadet.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

import avadet
from avadet.errors import AvadetError, unknown_name
from avadet.models.detectors.two_stage import ActionDetector, ActionModel
from avadet.models.devices import device_of
from avadet.models.engines.export import (
    check_reads_no_bank,
    default_size_hw,
    export,
    sample_inputs,
    says_one_size,
)
from avadet.models.engines.fast import PROBE_BOXES, PROBES, fast_model, has_bf16, score_difference
from avadet.models.engines.graphs import GraphModel, SizedGraphs, open_graph
from avadet.models.heads.lfb import BankWindow
from avadet.models.zoo.cards import clip_of, labels_of
from avadet.models.zoo.download import cache_folder

if TYPE_CHECKING:
    from avadet.models.zoo import LoadedModel

BACKENDS = ("torch", "onnx", "openvino")
PRECISIONS = ("auto", "fp32", "bf16")
BF16_WITHIN = 5e-3
"""What --precision auto bears: the largest difference of a score, 0-1, to float32."""

PROBE_SIDE_PX = 128
"""Height of the pictures on which bf16 is compared with float32 when a model is loaded."""


def prepare(loaded: LoadedModel, backend: str = "torch", precision: str = "fp32") -> LoadedModel:
    """A model made ready to run fast, for inference only.

    Args:
        loaded: as `zoo.load` gives it; left as it is.
        backend: "torch", "onnx" (onnxruntime) or "openvino".
        precision: "fp32"; "bf16", halves of float32 with the exponent kept; or "auto", bf16 where the processor
            computes in it and the scores stay within `BF16_WITHIN`.

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
        return _with_torch(loaded, precision)
    return _with_graph(loaded, backend, precision)


def load_graph(path: str | Path, backend: str = "onnx", precision: str = "fp32", device: str = "cpu") -> LoadedModel:
    """Load an .onnx file that `export` wrote; arguments and errors as `prepare`, and a file that is not one."""
    from avadet.models.checkpoints.weights import LoadReport
    from avadet.models.zoo import LoadedModel

    if backend not in BACKENDS[1:]:
        raise AvadetError(f"{path} is a graph; run it with --backend onnx or openvino, not {backend}")
    model = open_graph(Path(path), backend, "fp32", device)
    card, report = model.card, LoadReport(str(path), 0, (), (), ())
    loaded = LoadedModel(model, clip_of(card), labels_of(card), card["name"], card, report)

    def made(name: str) -> LoadedModel:
        graph = model if name == "fp32" else open_graph(Path(path), backend, name, device)
        return dataclasses.replace(loaded, model=graph)

    return _in_best_precision(loaded, backend, precision, made)


def _with_torch(loaded: LoadedModel, precision: str) -> LoadedModel:
    """torch, made fast, in the precision that fits."""
    return _in_best_precision(loaded, "torch", precision, lambda name: _fast(loaded, name))


def _fast(loaded: LoadedModel, precision: str) -> LoadedModel:
    """A model, and that of its feature banks, made fast in "fp32" or "bf16"."""
    dtype, device = torch.bfloat16 if precision == "bf16" else torch.float32, device_of(loaded.model)
    probe = sample_inputs(loaded.spec.num_frames, _probe_size_hw(loaded), 1, PROBE_BOXES)
    model, note = fast_model(loaded.model, dtype, *(tensor.to(device) for tensor in probe))
    bank = loaded.bank and _fast(loaded.bank, precision)
    return dataclasses.replace(loaded, model=model, bank=bank, running=note)


def _with_graph(loaded: LoadedModel, backend: str, precision: str) -> LoadedModel:
    """onnxruntime or OpenVINO, on a graph from the cache, one for each picture size where the model needs that."""
    check_reads_no_bank(loaded)
    digest, device = weights_digest(loaded), device_of(loaded.model)

    def made(name: str) -> LoadedModel:
        def graph(size_hw: tuple[int, int]) -> GraphModel:
            return open_graph(_cached(loaded, digest, size_hw), backend, name, str(device))

        size_hw = default_size_hw(loaded)
        first = graph(size_hw)  # so that what is amiss comes to light now
        if first.input.shape[3] is None:
            return dataclasses.replace(loaded, model=first)
        return dataclasses.replace(loaded, model=SizedGraphs(graph, {size_hw: first}, loaded.model.num_classes))

    return _in_best_precision(loaded, backend, precision, made)


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
    difference = score_difference(_probed(loaded), _probed(small), loaded, _probe_size_hw(loaded), as_float)
    words = f"scores differ from fp32 by at most {difference:.2g} on {PROBES} random clips"
    if precision == "auto" and difference > BF16_WITHIN:
        return _running(made("fp32"), f"{backend} in fp32, because in bf16 {words}")
    return _running(small, f"{backend} in bf16, {words}")


def _running(made: LoadedModel, words: str) -> LoadedModel:
    """The same model; what runs it comes before what there was to note when it was made."""
    return dataclasses.replace(made, running="; ".join(filter(None, (words, made.running))))


def _probed(loaded: LoadedModel) -> ActionModel:
    """The model as precisions are compared; if it reads banks, with one that its bank's model made of a random clip."""
    if loaded.bank is None or not isinstance(loaded.bank.model, ActionDetector):
        return loaded.model
    device, size_hw = device_of(loaded.bank.model), _probe_size_hw(loaded.bank)
    clips, rois = sample_inputs(loaded.bank.spec.num_frames, size_hw, 1, PROBE_BOXES)
    with torch.inference_mode():
        rows = loaded.bank.model.box_features(clips.to(device), rois.to(device))
    return _Windowed(loaded.model, BankWindow(torch.zeros(len(rows), dtype=torch.int64, device=device), rows))


class _Windowed(ActionModel):
    """A model that looks at one and the same window whatever the clip; it takes one clip at a time."""

    def __init__(self, model: ActionModel, window: BankWindow) -> None:
        super().__init__()
        self.model = model
        self.num_classes = model.num_classes
        self._window = window

    def forward(self, clips: Tensor, rois: Tensor) -> Tensor:
        logits: Tensor = self.model(clips, rois, self._window)
        return logits


def _probe_size_hw(loaded: LoadedModel) -> tuple[int, int]:
    """(height, width) px at which precisions are compared: small, unless the model is bound to a size."""
    size_hw = default_size_hw(loaded)
    if isinstance(loaded.model, GraphModel) and loaded.model.input.shape[3] is not None:
        height, width = loaded.model.input.shape[3:]
        return height or size_hw[0], width or size_hw[1]
    scale = min(1.0, PROBE_SIDE_PX / size_hw[0]) if not says_one_size(loaded.model) else 1.0
    return round(size_hw[0] * scale), round(size_hw[1] * scale)


def _cached(loaded: LoadedModel, digest: str, size_hw: tuple[int, int]) -> Path:
    """The graph's file for pictures of a size, written if it is not there; one for all sizes has none in its name."""
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
