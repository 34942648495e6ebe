"""Action models as ONNX files that load by themselves: normalisation, backbones, RoIAlign and head in one graph.

A file takes `clips` (B, 3, T, H, W) and `rois` (R, 5), as the models do, and gives `logits` (R, K). The number of boxes
is open, 0 among them. Clips and their image sizes are open too, except in nets that declare the contrary
(`graph_has_one_size`: transformers, whose position tables are interpolated to one grid while the graph is written) and
in those whose open graph does not compute what they do. The file's metadata hold the model's card, its labels written
out, and how many boxes it may be given at once, if there is a bound.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import avadet
from avadet.errors import AvadetError
from avadet.files import whole_file
from avadet.models.engines.graphs import AT_ONCE_KEY, CARD_KEY, VERSION_KEY, first_line, library, open_graph
from avadet.models.engines.probe import default_size_hw, sample_inputs, says_one_size
from avadet.models.heads.lfb import BankReader
from avadet.models.loaded import LoadedModel

OPSET = 17
"""The first with LayerNormalization; RoiAlign has its half-pixel mode since 16."""

LOGITS_WITHIN, SCORES_WITHIN = 1e-3, 1e-4


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the file.
        is_open: whether it takes clips of any number and image size.
        size_hw: (height, width) px of the images it was written with; the only ones it takes unless `is_open`.
        score_difference: largest difference of a score, 0-1, to torch's on the clips that it was checked with.
    """

    path: Path
    is_open: bool
    size_hw: tuple[int, int]
    score_difference: float


def export(
    loaded: LoadedModel, path: str | Path, size_hw: tuple[int, int] | None = None, as_float: bool = False
) -> Exported:
    """Write a model as ONNX, and check that onnxruntime computes from the file what torch computes.

    Args:
        loaded: the model, in float32 and as it was loaded (not prepared for speed).
        path: the .onnx file; it stands there only once it is complete and checked.
        size_hw: (height, width) px of the images; binding for transformers only. None = `default_size_hw`.
        as_float: whether clips come as float 0-1 instead of uint8 0-255.

    Raises:
        AvadetError: if onnx or onnxruntime is absent, the model cannot be written as a graph or reads a feature
            bank, or the graph computes something else.
    """
    check_reads_no_bank(loaded)
    for name in ("onnx", "onnxruntime"):
        library(name, "onnx", str(path))
    model, size_hw = copy.deepcopy(loaded.model).cpu().float().eval(), size_hw or default_size_hw(loaded)
    loaded = dataclasses.replace(loaded, model=model)
    with whole_file(path) as partial:
        if not says_one_size(model):
            try:
                return Exported(Path(path), True, size_hw, _write(loaded, partial, size_hw, as_float, True))
            except AvadetError:  # if the model is to blame and not its openness, the next lines say so
                partial.unlink(missing_ok=True)
        return Exported(Path(path), False, size_hw, _write(loaded, partial, size_hw, as_float, False))


def check_reads_no_bank(loaded: LoadedModel) -> None:
    """Raise AvadetError for a model that reads feature banks."""
    if any(isinstance(module, BankReader) for module in loaded.model.modules()):
        raise AvadetError(
            f"{loaded.name} reads a feature bank (head.bank), for which ONNX files here have no input; torch runs it"
        )


def _write(loaded: LoadedModel, path: Path, size_hw: tuple[int, int], as_float: bool, is_open: bool) -> float:
    """Write and check a graph, for all image sizes or for one; the largest difference of a score."""
    inputs = sample_inputs(loaded.spec.num_frames, size_hw, 2 if is_open else 1, 3, as_float=as_float)
    _trace(loaded, inputs, is_open, path)
    _add_metadata(loaded, path)
    return _check(loaded, path, size_hw, as_float, is_open)


def _trace(loaded: LoadedModel, inputs: tuple[Tensor, Tensor], is_open: bool, path: Path) -> None:
    """Write a model's graph; raises AvadetError if torch cannot."""
    open_axes = {"rois": {0: "boxes"}, "logits": {0: "boxes"}}
    if is_open:
        open_axes["clips"] = {0: "clips", 3: "height", 4: "width"}
    try:
        with _quiet(), torch.no_grad():
            torch.onnx.export(
                loaded.model,
                inputs,
                str(path),
                input_names=["clips", "rois"],
                output_names=["logits"],
                dynamic_axes=open_axes,
                opset_version=OPSET,
                dynamo=False,  # the other exporter asks for onnxscript
            )
    except Exception as error:  # torch raises whatever its passes and the model raise
        raise AvadetError(
            f"models of architecture {loaded.card['architecture']} cannot be written as ONNX: {first_line(error)}"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch from warning of what is meant to be so: sizes that become constants."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _add_metadata(loaded: LoadedModel, path: Path) -> None:
    """Put a model's card into its graph's file, its labels written out, and how many boxes it takes at once."""
    import onnx

    proto = onnx.load(str(path))
    card = {**loaded.card, "labels": dataclasses.asdict(loaded.labels)}
    metadata = {CARD_KEY: json.dumps(card, ensure_ascii=False), VERSION_KEY: avadet.__version__}
    if loaded.model.boxes_at_once is not None:
        metadata[AT_ONCE_KEY] = str(loaded.model.boxes_at_once)
    onnx.helper.set_model_props(proto, metadata)
    proto.producer_name, proto.producer_version = "avadet", avadet.__version__
    onnx.save(proto, str(path))


def _check(loaded: LoadedModel, path: Path, size_hw: tuple[int, int], as_float: bool, is_open: bool) -> float:
    """Run a graph beside torch; the largest difference of a score.

    Raises:
        AvadetError: if it does not run, or logits or scores are further apart than rounding explains.
    """
    (height, width), worst, graph = size_hw, 0.0, open_graph(path)
    shown = [(1, 1, size_hw), (1, 5, size_hw)]
    if is_open:
        shown[1:] = [(2, 5, (height + 16, width - 11)), (3, 2, (height + 3, width + 40))]
    for seed, (clips, boxes, shown_hw) in enumerate(shown, start=1):
        images, rois = sample_inputs(loaded.spec.num_frames, shown_hw, clips, boxes, seed, as_float)
        with torch.inference_mode():
            expected, got = loaded.model(images, rois), graph.run_all(images.numpy(), rois.numpy())
        scores = _largest(loaded.scores(expected) - loaded.scores(got))
        logits = _largest(expected - got) / max(1.0, _largest(expected))
        worst = max(worst, scores)
        if not (scores <= SCORES_WITHIN and logits <= LOGITS_WITHIN):
            raise AvadetError(
                f"{loaded.name}: the ONNX graph gives scores up to {scores:.2g} away from torch's, expected at "
                f"most {SCORES_WITHIN:g}; nothing was written"
            )
    return worst


def _largest(values: Tensor) -> float:
    """The largest absolute value, 0 if there is none."""
    return values.abs().max().item() if values.numel() else 0.0
