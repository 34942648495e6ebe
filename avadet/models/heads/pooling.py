"""From maps to the features of a box, the steps without weights: over time, over its own cells, over the whole map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from avadet.errors import AvadetError
from avadet.models.backbones.strides import Strides, evident_stride
from avadet.models.heads.in_parts import in_parts

BOXES_AT_ONCE = 64
"""Boxes whose cells are held at a time, of 7x7 and 2048 channels 0.4 MB each."""


def check_pool(name: str, pool: str) -> None:
    """Raise AvadetError unless an option says "max" or "avg"."""
    if pool not in ("max", "avg"):
        raise AvadetError(f"{name} of a head must be 'max' or 'avg', got '{pool}'")


def pool_over(x: Tensor, dims: int | tuple[int, ...], pool: str) -> Tensor:
    """The maximum ("max") or the mean ("avg") over some dimensions."""
    return x.amax(dim=dims) if pool == "max" else x.mean(dim=dims)


def pool_to_length(one_map: Tensor, length: int, pool: str) -> Tensor:
    """(B, C, T, H, W) -> (B, C, length, H, W), each frame pooled from those of its share of the time."""
    frames = one_map.shape[2]
    if frames == length:
        return one_map
    ends = [(index * frames // length, -(-(index + 1) * frames // length)) for index in range(length)]
    return torch.stack([pool_over(one_map[:, :, first:end].float(), 2, pool) for first, end in ends], dim=2)


def frame_by_frame(maps: Sequence[Tensor], rois: Tensor, pool: str) -> tuple[list[Tensor], Tensor, int]:
    """Every frame of every map as a clip of its own, and every box in every frame of its clip.

    Args:
        maps: float (B, C_i, T_i, H_i, W_i); T of the result is the length of the shortest.
        rois: float (R, 5), batch index + xyxy px.
        pool: of longer maps, see `pool_to_length`.

    Returns:
        maps (B * T, C_i, 1, H_i, W_i), boxes (R * T, 5), the frames of one box next to each other, and T.
    """
    length = min(one_map.shape[2] for one_map in maps)
    frames = [pool_to_length(one_map, length, pool).transpose(1, 2).flatten(0, 1)[:, :, None] for one_map in maps]
    index = rois[:, :1] * length + torch.arange(length, device=rois.device, dtype=rois.dtype)
    boxes = rois[:, None, 1:].expand(-1, length, -1)
    return frames, torch.cat([index[..., None], boxes], dim=2).flatten(0, 1), length


@dataclass(frozen=True)
class RoICrop:
    """RoIAlign, then the maximum or mean over the cells of a box.

    Attributes:
        resolution: cells of a crop along each side.
        aligned: RoIAlign's half-pixel shift; True is the geometrically right one, older checkpoints were trained with
            False.
        sampling_ratio: RoIAlign's points a cell along each side; 0 = as many as the box needs.
        stretch: whether each axis of a box is scaled by the ratio of the map's size to the clip's, instead of both by
            the stride; they differ where the clip's sides are no multiples of it.
        pool: "max" or "avg", over the cells.
    """

    resolution: int = 7
    aligned: bool = False
    sampling_ratio: int = 0
    stretch: bool = False
    pool: str = "max"

    def __post_init__(self) -> None:
        check_pool("pool", self.pool)

    def scales(
        self, frames: Sequence[Tensor], clip_hw: tuple[int, int], strides: Strides | None
    ) -> list[tuple[float, float]]:
        """(height, width) in cells of a pixel of the clip, for each map (B, C_i, H_i, W_i).

        Args:
            frames: the maps.
            clip_hw: (height, width) px of the clip.
            strides: (height, width) px of a cell of each map; None = what sizes without rounding tell.

        Raises:
            AvadetError: if there are not as many strides as maps, or sizes do not tell them.
        """
        if self.stretch:
            return [(frame.shape[2] / clip_hw[0], frame.shape[3] / clip_hw[1]) for frame in frames]
        if strides is None:
            strides = [evident_stride(clip_hw, (frame.shape[2], frame.shape[3])) for frame in frames]
        if len(strides) != len(frames):
            raise AvadetError(f"the backbone gave {len(frames)} maps and says strides of {len(strides)}")
        return [(1 / height, 1 / width) for height, width in strides]

    def __call__(self, frame: Tensor, scale: tuple[float, float], rois: Tensor, is_training: bool) -> Tensor:
        """Crop every box.

        Args:
            frame: float32 (B, C, H, W).
            scale: of `scales`.
            rois: float32 (R, 5), batch index + xyxy px of the clip.
            is_training: see `in_parts`.

        Returns:
            (R, C).
        """
        return in_parts(partial(self._crop, frame, scale), BOXES_AT_ONCE, is_training, rois)

    def _crop(self, frame: Tensor, scale: tuple[float, float], rois: Tensor) -> Tensor:
        from torchvision.ops import roi_align  # takes as long to import as torch; the bundled models need none

        by_height, by_width = scale
        if self.stretch or by_height != by_width:  # axis by axis; in a graph for all sizes (`export`) ratios stay open
            batch_index, left, top, right, bottom = rois.unbind(dim=1)
            corners = [left * by_width, top * by_height, right * by_width, bottom * by_height]
            rois, by_height = torch.stack([batch_index, *corners], dim=1), 1.0
        cells: Tensor = roi_align(frame, rois, self.resolution, by_height, self.sampling_ratio, self.aligned)
        return pool_over(cells, (2, 3), self.pool)


@dataclass(frozen=True)
class Context:
    """The whole map, which joins the features of every box of its clip.

    Attributes:
        cells: the map is averaged into so many cells along each side, and of those the maximum taken; 1 = the mean.
    """

    cells: int = 1

    def __call__(self, frame: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C)."""
        if self.cells == 1:
            return frame.mean(dim=(2, 3))
        return adaptive_avg_pool2d(frame, self.cells).amax(dim=(2, 3))
