"""Random clips and boxes on which a model is run to see whether another form of it scores the same."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from avadet.models.heads.lfb import BankWindow
from avadet.models.loaded import LoadedModel
from avadet.models.predict import predict

PROBES, PROBE_BOXES = 2, 4


def says_one_size(model: nn.Module) -> bool:
    """Whether a module of a model declares that its graph is good for one image size and one clip at a time."""
    return any(getattr(module, "graph_has_one_size", False) for module in model.modules())


def default_size_hw(loaded: LoadedModel) -> tuple[int, int]:
    """(height, width) px of a 4:3 image as the model's clips have them, both multiples of 32."""
    short = max(32, loaded.spec.short_side // 32 * 32)
    return short, max(32, round(short * 4 / 3 / 32) * 32)


def sample_inputs(
    num_frames: int, size_hw: tuple[int, int], clips: int, boxes: int, seed: int = 0, as_float: bool = False
) -> tuple[Tensor, Tensor]:
    """Clips of smooth noise, nearer to images than white noise is, and boxes shaped like persons.

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
    batch_index = torch.arange(boxes)[:, None] % max(clips, 1)
    values = unit if as_float else (unit * 255).round().to(torch.uint8)
    return values, torch.cat([batch_index.float(), rois_px], dim=1)


@torch.inference_mode()
def score_difference(
    loaded: LoadedModel,
    other: LoadedModel,
    size_hw: tuple[int, int],
    window: BankWindow | None = None,
    as_float: bool = False,
) -> float:
    """The largest difference of a score, 0-1, of two forms of a model on random clips.

    Args:
        loaded: one form.
        other: another, on the same device.
        size_hw: (height, width) px of the clips.
        window: of a feature bank, for models that read one; they take one clip at a time here.
        as_float: whether clips are float 0-1 instead of uint8 0-255.
    """
    worst = 0.0
    for seed in range(PROBES):
        inputs = sample_inputs(loaded.spec.num_frames, size_hw, 1, PROBE_BOXES, seed, as_float)
        first, second = (predict(one, *inputs, window).cpu() for one in (loaded, other))
        worst = max(worst, (first - second).abs().max().item())
    return worst
