"""The bundled person detector's network: a small backbone, path aggregation neck, anchor-free heads.

One class, no anchors: every cell of the maps at strides 8, 16 and 32 says how likely a person is "its" one and how far
the four sides of that person's box lie from the cell's centre (Tian et al., "FCOS", ICCV 2019). The neck mixes the
maps down and up again (Liu et al., "Path Aggregation Network", CVPR 2018) with depthwise 5x5 convolutions, which see
far at little cost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avadet.models.backbones.efficientnet_lite import EfficientNetLite
from avadet.models.backbones.shufflenet import ShuffleNetV2

STRIDES = (8, 16, 32)
SIZE_MULTIPLE = 32
LOG_REACH = 6.0  # a side lies at most exp(6) strides from its cell; keeps exp() finite


@dataclass(frozen=True)
class RawPersons:
    """The net's output for every cell, A cells over all strides.

    Attributes:
        logits: float (N, A), the score before the sigmoid.
        boxes_px: float (N, A, 4) xyxy, pixels of the net's input, not clipped.
        centres_px: float (A, 2) xy, of the cells.
        strides_px: float (A,).
    """

    logits: Tensor
    boxes_px: Tensor
    centres_px: Tensor
    strides_px: Tensor


class Separable(nn.Sequential):
    """Depthwise k x k, then 1 x 1, each normalised, ReLU at the end; keeps the size for stride 1."""

    def __init__(self, channels: int, kernel: int = 5, stride: int = 1) -> None:
        """Build the block for `channels` in and out."""
        super().__init__(
            nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )


class PyramidPooling(nn.Module):
    """Adds context: maxima over growing windows and the mean of the map, joined by a 1 x 1 convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        """Build the block."""
        super().__init__()
        self.reduce = _pointwise(in_channels, out_channels)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.join = _pointwise(4 * out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H, W)."""
        x = self.reduce(x)
        near = self.pool(x)
        far = self.pool(near)
        everywhere = x.mean(dim=(2, 3), keepdim=True).expand_as(x)
        joined: Tensor = self.join(torch.cat((x, near, far, everywhere), dim=1))
        return joined


def _pointwise(in_channels: int, out_channels: int) -> nn.Sequential:
    """1 x 1 convolution, normalised, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)
    )


class Neck(nn.Module):
    """Three maps in, three maps of `width` channels out; each has seen the other two."""

    def __init__(self, in_channels: tuple[int, ...], width: int) -> None:
        """Build the neck."""
        super().__init__()
        self.lateral = nn.ModuleList((_pointwise(in_channels[0], width), _pointwise(in_channels[1], width)))
        self.top = PyramidPooling(in_channels[2], width)
        self.down = nn.ModuleList((Separable(width), Separable(width)))
        self.shrink = nn.ModuleList((Separable(width, stride=2), Separable(width, stride=2)))
        self.up = nn.ModuleList((Separable(width), Separable(width)))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps at strides 8, 16, 32 -> as many of `width` channels, same sizes."""
        coarse = self.top(maps[2])
        middle = self.down[1](self.lateral[1](maps[1]) + _twice(coarse))
        fine = self.down[0](self.lateral[0](maps[0]) + _twice(middle))
        middle = self.up[0](middle + self.shrink[0](fine))
        coarse = self.up[1](coarse + self.shrink[1](middle))
        return [fine, middle, coarse]


def _twice(x: Tensor) -> Tensor:
    """Every value becomes 2 x 2 values."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class Head(nn.Module):
    """Score and four log distances for every cell of one map."""

    def __init__(self, width: int) -> None:
        """Build the head."""
        super().__init__()
        self.shared = Separable(width)
        self.score = nn.Sequential(Separable(width), nn.Conv2d(width, 1, 1))
        self.sides = nn.Sequential(Separable(width), nn.Conv2d(width, 4, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, width, H, W) -> logits (N, H * W), log distances in strides (N, H * W, 4): left, top, right, bottom."""
        x = self.shared(x)
        return self.score(x).flatten(1), self.sides(x).flatten(2).transpose(1, 2)


class NeckAndHeads(nn.Module):
    """Everything after the backbone."""

    def __init__(self, in_channels: tuple[int, ...], width: int) -> None:
        """Build both."""
        super().__init__()
        self.neck = Neck(in_channels, width)
        self.heads = nn.ModuleList(Head(width) for _ in STRIDES)

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Maps at strides 8, 16, 32 -> logits (N, A), log distances (N, A, 4), stride by stride."""
        logits, sides = zip(*(head(x) for head, x in zip(self.heads, self.neck(maps))))
        return torch.cat(logits, dim=1), torch.cat(sides, dim=1)


BACKBONES: dict[str, Callable[[], ShuffleNetV2 | EfficientNetLite]] = {
    "shufflenet_v2_0.5x": ShuffleNetV2,
    "efficientnet_lite0": partial(EfficientNetLite, stages=6),
}


class PersonNet(nn.Module):
    """The detector up to, not including, thresholding and suppression.

    Attributes:
        width: channels of neck and heads.
        backbone_name: one of `BACKBONES`.
        backbone: its last three maps are at strides 8, 16 and 32.
        head: neck and heads.
    """

    def __init__(self, width: int = 96, backbone: str = "shufflenet_v2_0.5x") -> None:
        """Build it with random weights.

        Args:
            width: channels of neck and heads.
            backbone: one of `BACKBONES`; the default is that of cards which name none.
        """
        super().__init__()
        self.width, self.backbone_name = width, backbone
        self.backbone = BACKBONES[backbone]()
        self.head = NeckAndHeads(self.backbone.out_channels[-3:], width)

    def forward(self, images: Tensor) -> RawPersons:
        """Images float (N, 3, H, W) RGB 0-1, H and W multiples of 32 -> the output of every cell."""
        return self.answer(self.backbone(images)[-3:], images.shape[2:])

    def answer(self, maps: list[Tensor], size_hw: tuple[int, int] | torch.Size) -> RawPersons:
        """The output of every cell, from the backbone's maps at strides 8, 16, 32 of an input of `size_hw` px."""
        logits, sides = self.head(maps)
        centres, strides = cells(size_hw, maps[0].device)
        return RawPersons(logits.float(), boxes_from_sides(sides.float(), centres, strides), centres, strides)


def cells(size_hw: tuple[int, int] | torch.Size, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Where the cells of an input of `size_hw` lie, stride by stride, row by row.

    Returns:
        centres float (A, 2) xy px, strides float (A,) px.
    """
    centres, strides = [], []
    for stride in STRIDES:
        y = (torch.arange(size_hw[0] // stride, device=device) + 0.5) * stride
        x = (torch.arange(size_hw[1] // stride, device=device) + 0.5) * stride
        grid = torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).flip(-1).reshape(-1, 2)
        centres.append(grid)
        strides.append(torch.full((len(grid),), float(stride), device=device))
    return torch.cat(centres), torch.cat(strides)


def mirrored_cells(size_hw: tuple[int, int] | torch.Size, device: torch.device | None = None) -> Tensor:
    """For every cell of `cells`, which one lies where its mirror image is, left for right; int64 (A,)."""
    numbers, first = [], 0
    for stride in STRIDES:
        rows, columns = size_hw[0] // stride, size_hw[1] // stride
        grid = torch.arange(first, first + rows * columns, device=device).reshape(rows, columns)
        numbers.append(grid.flip(1).flatten())
        first += rows * columns
    return torch.cat(numbers)


def boxes_from_sides(log_sides: Tensor, centres_px: Tensor, strides_px: Tensor) -> Tensor:
    """Log distances (..., A, 4), in strides, to the left, top, right, bottom side -> xyxy px (..., A, 4)."""
    reach = log_sides.clamp(max=LOG_REACH).exp() * strides_px[:, None]
    return torch.cat((centres_px - reach[..., :2], centres_px + reach[..., 2:]), dim=-1)
