"""Whole action models as ONNX files that load by themselves: normalisation, backbones, RoIAlign and head in one graph.

A file takes `clips` (B, 3, T, H, W) and `rois` (R, 5), as the models of `detector` do, and gives `logits` (R, K). The
number of boxes is open. Clips and their picture sizes are open too, except in transformers, whose tables of
positions are interpolated to one grid while the graph is written. The model's card, its labels written out, lies in
the file's metadata.
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
from avadet.models.detector import ActionModel
from avadet.models.hiera import Hiera
from avadet.models.lfb import BankReader
from avadet.models.mvit import MViT
from avadet.models.swin3d import Swin3d
from avadet.models.tiny_actions import TemporalShift
from avadet.models.two_views import TwoViewDetector, actor_windows
from avadet.models.vit_blocks import Tubelets

if TYPE_CHECKING:
    from avadet.models.zoo import LoadedModel

CARD_KEY = "avadet_card"
VERSION_KEY = "avadet_version"
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


def takes_any_size(model: ActionModel) -> bool:
    """Whether a graph of this model is good for any number of clips and any picture size."""
    return not any(isinstance(module, MViT | Tubelets | Swin3d | Hiera) for module in model.modules())


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
    size_hw = size_hw or default_size_hw(loaded)
    is_open = takes_any_size(loaded.model)
    model = copy.deepcopy(loaded.model).cpu().float().eval()
    inputs = sample_inputs(loaded.spec.num_frames, size_hw, 2 if is_open else 1, 3, as_float=as_float)
    with whole_file(path) as partial:
        _trace(traceable(copy.deepcopy(model)), inputs, is_open, str(loaded.card["architecture"]), partial)
        _add_card(self_contained(loaded), partial)
        difference = _check(partial, model, loaded, size_hw, is_open, as_float)
    return Exported(Path(path), is_open, size_hw, difference)


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
    """The model with the parts replaced that loop over boxes or write into tensors; changed in place, same answers."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, TemporalShift):
                setattr(module, name, _PaddedShift(child))
    return _BatchedTwoViews(model) if isinstance(model, TwoViewDetector) else model


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


class _BatchedTwoViews(ActionModel):
    """`TwoViewDetector` that cuts all people out at once: frames are channels, for they share a window."""

    def __init__(self, net: TwoViewDetector) -> None:
        super().__init__()
        self.net = net
        self.num_classes = net.num_classes

    def forward(self, clips: Tensor, rois: Tensor) -> Tensor:
        """Clips and boxes to logits, as `ActionDetector.forward`."""
        net, crop_hw = self.net, self.net.crop_hw
        windows = actor_windows(rois[:, 1:], crop_hw, net.margin, clips.shape[3])
        size = windows[:, 2:] - windows[:, :2]
        boxes = (rois[:, 1:].reshape(-1, 2, 2) - windows[:, None, :2]) * (
            torch.tensor([crop_hw[1], crop_hw[0]]) / size
        )[:, None]
        own = torch.cumsum(torch.ones_like(rois[:, :1]), dim=0) - 1
        crops = self._cut_out(clips[rois[:, 0].long()], windows)
        logits: Tensor = net.frame(clips, rois) + net.actor(crops, torch.cat([own, boxes.flatten(1)], dim=1))
        return logits / 2

    def _cut_out(self, clips: Tensor, windows: Tensor) -> Tensor:
        """(R, 3, T, H, W) and windows (R, 4) xyxy px -> float (R, 3, T, h, w) 0-1."""
        height, width = self.net.crop_hw
        unit = clips.float() / 255 if clips.dtype == torch.uint8 else clips
        size_px = torch.stack([torch.as_tensor(clips.shape[axis]) for axis in (4, 3)]).float()
        low, high = windows[:, :2] / size_px * 2 - 1, windows[:, 2:] / size_px * 2 - 1
        x = (torch.arange(width) + 0.5) / width
        y = (torch.arange(height) + 0.5) / height
        grid_x = (low[:, :1] + (high - low)[:, :1] * x)[:, None, :].expand(-1, height, -1)
        grid_y = (low[:, 1:] + (high - low)[:, 1:] * y)[:, :, None].expand(-1, -1, width)
        grid = torch.stack([grid_x, grid_y], dim=-1)
        cut = functional.grid_sample(unit.flatten(1, 2), grid, padding_mode="zeros", align_corners=False)
        return cut.reshape(-1, 3, clips.shape[2], height, width)


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


def _add_card(card: dict[str, Any], path: Path) -> None:
    """Put the card into a graph's file."""
    import onnx

    proto = onnx.load(str(path))
    facts = {CARD_KEY: json.dumps(card, ensure_ascii=False), VERSION_KEY: avadet.__version__}
    onnx.helper.set_model_props(proto, facts)
    proto.producer_name, proto.producer_version = "avadet", avadet.__version__
    onnx.save(proto, str(path))


def _check(
    path: Path, model: ActionModel, loaded: LoadedModel, size_hw: tuple[int, int], is_open: bool, as_float: bool
) -> float:
    """Run the file on two inputs beside torch; returns the largest difference of a score.

    Raises:
        AvadetError: if logits or scores are further apart than rounding explains.
    """
    from avadet.models.backends import open_graph

    other_hw = (size_hw[0] + 16, size_hw[1] - 11) if is_open else size_hw
    worst = 0.0
    graph = open_graph(path)
    for seed, (clips, boxes, shown_hw) in enumerate(((1, 1, size_hw), (2 if is_open else 1, 5, other_hw)), start=1):
        pictures, rois = sample_inputs(loaded.spec.num_frames, shown_hw, clips, boxes, seed, as_float)
        with torch.inference_mode():
            expected, got = model(pictures, rois), graph(pictures, rois)
        scores = (loaded.scores(expected) - loaded.scores(got)).abs().max().item()
        logits = (expected - got).abs().max().item() / max(1.0, expected.abs().max().item())
        worst = max(worst, scores)
        if not (scores <= SCORES_WITHIN and logits <= LOGITS_WITHIN):
            raise AvadetError(
                f"{loaded.name}: the ONNX graph gives scores up to {scores:.2g} away from torch's, expected at most "
                f"{SCORES_WITHIN:g}; nothing was written"
            )
    return worst
