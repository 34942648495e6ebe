"""Whole action models as ONNX files that load by themselves: normalisation, backbones, RoIAlign and head in one graph.

A file takes `clips` (B, 3, T, H, W) and `rois` (R, 5), as the models of `detector` do, and gives `logits` (R, K). The
number of boxes is open, 0 among them. Clips and their picture sizes are open too, except in nets that declare the
contrary (`graph_has_one_size`: transformers, whose tables of positions are interpolated to one grid while the graph is
written) and in those whose open graph turns out not to compute what they do. The model's card, its labels written out,
lies in the file's metadata, and how many boxes it is to be asked of at once, if there is a bound.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import avadet
from avadet.errors import AvadetError
from avadet.files import whole_file
from avadet.models.backbones.tiny_actions import TemporalShift
from avadet.models.detectors.two_stage import ActionModel
from avadet.models.engines.graphs import AT_ONCE_KEY, CARD_KEY, VERSION_KEY, open_graph
from avadet.models.heads.lfb import BankReader

if TYPE_CHECKING:
    from avadet.models.zoo import LoadedModel

OPSET = 17
"""The first with LayerNormalization; RoiAlign has its half-pixel mode since 16."""

LOGITS_WITHIN, SCORES_WITHIN = 1e-3, 1e-4
INSTALL = 'pip install "avadet[onnx]"'


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the file.
        is_open: whether clips of any number and picture size may come.
        size_hw: (height, width) px of the pictures it was written with; the only ones it takes unless `is_open`.
        score_difference: largest difference of a score, 0-1, to torch's on the clips that it was checked with.
    """

    path: Path
    is_open: bool
    size_hw: tuple[int, int]
    score_difference: float


def says_one_size(model: ActionModel) -> bool:
    """Whether some part of a model declares that its graph is good for one picture size and one clip at a time."""
    return any(getattr(module, "graph_has_one_size", False) for module in model.modules())


def default_size_hw(loaded: LoadedModel) -> tuple[int, int]:
    """(height, width) px of a 4:3 picture as the model's clips have them, the sides multiples of 32."""
    short = max(32, loaded.spec.short_side // 32 * 32)
    return short, max(32, round(short * 4 / 3 / 32) * 32)


def export(
    loaded: LoadedModel, path: str | Path, size_hw: tuple[int, int] | None = None, as_float: bool = False
) -> Exported:
    """Write a model as ONNX, and check that onnxruntime computes from the file what torch computes.

    Args:
        loaded: the model, in float32 and as it was loaded (not prepared for speed).
        path: the .onnx file; it stands there only once it is whole and checked.
        size_hw: (height, width) px of the pictures; binding for transformers only. None = `default_size_hw`.
        as_float: whether clips come as float 0-1 instead of uint8 0-255.

    Raises:
        AvadetError: if onnx or onnxruntime is absent, the model cannot be written as a graph or reads a feature
            bank, or the graph computes something else.
    """
    check_reads_no_bank(loaded)
    require_onnx()
    model = copy.deepcopy(loaded.model).cpu().float().eval()
    job = _Job(dataclasses.replace(loaded, model=model), size_hw or default_size_hw(loaded), as_float)
    with whole_file(path) as partial:
        is_open, difference = job.write(partial)
    return Exported(Path(path), is_open, job.size_hw, difference)


@dataclass(frozen=True)
class _Job:
    """A model that is to be written.

    Attributes:
        loaded: the model, on the CPU, in float32 and eval mode.
        size_hw: (height, width) px of the pictures.
        as_float: whether clips come as float 0-1 instead of uint8 0-255.
    """

    loaded: LoadedModel
    size_hw: tuple[int, int]
    as_float: bool

    def write(self, path: Path) -> tuple[bool, float]:
        """Write and check the graph, open if that is possible: whether it is, and the largest difference of a score."""
        if not says_one_size(self.loaded.model):
            try:
                return True, self._write(path, is_open=True)
            except AvadetError:  # if the model is to blame and not its openness, the next lines say so
                path.unlink(missing_ok=True)
        return False, self._write(path, is_open=False)

    def _write(self, path: Path, is_open: bool) -> float:
        """Write the graph, open or not; the largest difference of a score."""
        loaded = self.loaded
        inputs = sample_inputs(loaded.spec.num_frames, self.size_hw, 2 if is_open else 1, 3, as_float=self.as_float)
        _trace(traceable(copy.deepcopy(loaded.model)), inputs, is_open, str(loaded.card["architecture"]), path)
        _add_card(self_contained(loaded), loaded.model.boxes_at_once, path)
        return self._check(path, is_open)

    def _check(self, path: Path, is_open: bool) -> float:
        """Run the file beside torch; the largest difference of a score.

        Raises:
            AvadetError: if it does not run, or logits or scores are further apart than rounding explains.
        """
        loaded, (height, width), worst, graph = self.loaded, self.size_hw, 0.0, open_graph(path)
        shown = [(1, 1, (height, width)), (1, 5, (height, width))]
        if is_open:
            shown[1:] = [(2, 5, (height + 16, width - 11)), (3, 2, (height + 3, width + 40))]
        for seed, (clips, boxes, shown_hw) in enumerate(shown, start=1):
            pictures, rois = sample_inputs(loaded.spec.num_frames, shown_hw, clips, boxes, seed, self.as_float)
            with torch.inference_mode():
                expected, got = loaded.model(pictures, rois), graph.run_all(pictures.numpy(), rois.numpy())
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


def check_reads_no_bank(loaded: LoadedModel) -> None:
    """Raise AvadetError for a model that reads feature banks."""
    if any(isinstance(module, BankReader) for module in loaded.model.modules()):
        raise AvadetError(
            f"{loaded.name} reads a feature bank (head.bank), for which ONNX files here have no input; torch runs it"
        )


def require_onnx() -> None:
    """Raise unless onnx and onnxruntime are here."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise AvadetError(f"{error.name} is not installed, and ONNX files need it; {INSTALL}") from error


def self_contained(loaded: LoadedModel) -> dict[str, Any]:
    """The card with its labels written out, so that it needs no other file."""
    return {**loaded.card, "labels": dataclasses.asdict(loaded.labels)}


def sample_inputs(
    num_frames: int, size_hw: tuple[int, int], clips: int, boxes: int, seed: int = 0, as_float: bool = False
) -> tuple[Tensor, Tensor]:
    """Clips of smooth noise, which is nearer to pictures than noise of every pixel, and boxes of people's shapes.

    Returns:
        clips (B, 3, T, H, W) uint8, or float 0-1; rois float (R, 5), batch index + xyxy px.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = size_hw
    coarse = torch.rand(clips, 3, max(1, num_frames // 4), max(1, height // 8), max(1, width // 8), generator=generator)
    unit = functional.interpolate(coarse, size=(num_frames, height, width), mode="trilinear")
    centre = torch.rand(boxes, 2, generator=generator) * 0.6 + 0.2
    half = (torch.rand(boxes, 2, generator=generator) * 0.15 + 0.05) * torch.tensor([1.0, 1.8])
    corners = torch.cat([centre - half, centre + half], dim=1).clamp(0, 1)
    rois_px = corners * torch.tensor([width, height, width, height])
    owner = torch.arange(boxes)[:, None] % max(clips, 1)
    values = unit if as_float else (unit * 255).round().to(torch.uint8)
    return values, torch.cat([owner.float(), rois_px], dim=1)


def traceable(model: ActionModel) -> ActionModel:
    """The model with the parts replaced that write into tensors; changed in place, same answers."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, TemporalShift):
                setattr(module, name, _PaddedShift(child))
    return model


class _PaddedShift(nn.Module):
    """`TemporalShift` by padding and concatenation, for which ONNX has operators."""

    def __init__(self, shift: TemporalShift) -> None:
        super().__init__()
        self.num_frames = shift.num_frames
        self.divisor = shift.divisor

    def forward(self, x: Tensor) -> Tensor:
        """(B * T, C, H, W) -> the same shape."""
        share = int(x.shape[1]) // self.divisor
        frames = x.reshape(-1, self.num_frames, *x.shape[1:])
        next_one = functional.pad(frames[:, 1:, :share], (0, 0, 0, 0, 0, 0, 0, 1))
        one_before = functional.pad(frames[:, :-1, share : 2 * share], (0, 0, 0, 0, 0, 0, 1, 0))
        return torch.cat([next_one, one_before, frames[:, :, 2 * share :]], dim=2).flatten(0, 1)


def _trace(model: ActionModel, inputs: tuple[Tensor, Tensor], is_open: bool, architecture: str, path: Path) -> None:
    """Write the model's graph.

    Raises:
        AvadetError: if torch cannot write it.
    """
    open_axes = {"rois": {0: "boxes"}, "logits": {0: "boxes"}}
    if is_open:
        open_axes["clips"] = {0: "clips", 3: "height", 4: "width"}
    try:
        with _quiet(), torch.no_grad():
            torch.onnx.export(
                model,
                inputs,
                str(path),
                input_names=["clips", "rois"],
                output_names=["logits"],
                dynamic_axes=open_axes,
                opset_version=OPSET,
                **_tracing(),
            )
    except Exception as error:  # torch raises whatever its passes and the model raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise AvadetError(f"models of architecture {architecture} cannot be written as ONNX: {reason}") from error


def _tracing() -> dict[str, Any]:
    """The option by which newer releases of torch trace instead of asking for onnxscript."""
    return {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}


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


def _add_card(card: dict[str, Any], boxes_at_once: int | None, path: Path) -> None:
    """Put the card into a graph's file, and how many boxes it is to be asked of at once."""
    import onnx

    proto = onnx.load(str(path))
    facts = {CARD_KEY: json.dumps(card, ensure_ascii=False), VERSION_KEY: avadet.__version__}
    if boxes_at_once is not None:
        facts[AT_ONCE_KEY] = str(boxes_at_once)
    onnx.helper.set_model_props(proto, facts)
    proto.producer_name, proto.producer_version = "avadet", avadet.__version__
    onnx.save(proto, str(path))
