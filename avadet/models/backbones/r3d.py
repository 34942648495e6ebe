"""R3D, MC3 and R(2+1)D (Tran et al., "A Closer Look at Spatiotemporal Convolutions", CVPR 2018).

One ResNet of basic blocks, three kinds of convolution: over space and time at once ("3d"), over space alone ("2d"),
or over space and then over time with a ReLU between ("2plus1d"), as wide between as gives both the same number of
weights. Blocks are torchvision's, and so are the names of all tensors: its Kinetics checkpoints fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torchvision.models.video import resnet as blocks

from avadet.errors import unknown_name
from avadet.models.backbones.backbone import TORCHVISION_KINETICS, Backbone, Stride

CONVOLUTIONS: dict[str, Any] = {
    "3d": blocks.Conv3DSimple,
    "2d": blocks.Conv3DNoTemporal,
    "2plus1d": blocks.Conv2Plus1D,
}
R18 = (2, 2, 2, 2)


class VideoResNet(Backbone):
    """A stem and four stages of basic blocks; the last map has stride 16, and 8 in time where kernels see time."""

    pixels = TORCHVISION_KINETICS

    def __init__(
        self,
        *,
        kinds: Sequence[str] = ("3d",) * 4,
        split_stem: bool = False,
        depths: Sequence[int] = R18,
        width: int = 64,
        own_middle: bool = False,
    ) -> None:
        """Build it with random weights.

        Args:
            kinds: of the convolutions of each stage: "3d", "2d" or "2plus1d".
            split_stem: whether the stem too looks over space and then over time.
            depths: blocks of each stage.
            width: channels of the stem and of the first stage; each further stage doubles them.
            own_middle: whether the second convolution of a widening block counts its channels between space and time
                from its own input, as in the paper and its released weights, not from the block's, as in torchvision.
        """
        super().__init__()
        for kind in kinds:
            if kind not in CONVOLUTIONS:
                raise unknown_name("kind of convolution", kind, CONVOLUTIONS)
        self.stem = _split_stem(width) if split_stem else _stem(width)
        channels = width
        for index, (kind, depth) in enumerate(zip(kinds, depths)):
            planes = width * 2**index
            stage = _stage(CONVOLUTIONS[kind], channels, planes, depth, stride=1 if index == 0 else 2)
            if own_middle and kind == "2plus1d" and index > 0:
                split = blocks.Conv2Plus1D(planes, planes, middle_channels(planes, planes))
                stage.get_submodule("0.conv2").add_module("0", split)
            self.add_module(f"layer{index + 1}", stage)
            channels = planes
        self.out_channels = (channels,)
        self.strides = (Stride(2 ** sum(kind != "2d" for kind in kinds[1:]), 16, 16),)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, clip: Tensor) -> list[Tensor]:
        """Normalised clip (B, 3, T, H, W) -> one map (B, 8 * width, T / 8, H / 16, W / 16), T whole for "2d"."""
        features: Tensor = self.stem(clip)
        for index in (1, 2, 3, 4):
            features = getattr(self, f"layer{index}")(features)
        return [features]


def middle_channels(before: int, after: int) -> int:
    """Channels between space and time that give a 3x3x3 convolution's number of weights, rounded down (eq. 1)."""
    return (27 * before * after) // (9 * before + 3 * after)


def _stage(convolution: Any, before: int, planes: int, depth: int, stride: int) -> nn.Sequential:
    """Basic blocks; the first one takes the stride and widens, with a 1x1x1 convolution as its shortcut."""
    shortcut = None
    if stride != 1 or before != planes:
        strides = convolution.get_downsample_stride(stride)
        shortcut = nn.Sequential(nn.Conv3d(before, planes, 1, strides, bias=False), nn.BatchNorm3d(planes))
    first = blocks.BasicBlock(before, planes, convolution, stride, shortcut)
    return nn.Sequential(first, *(blocks.BasicBlock(planes, planes, convolution) for _ in range(depth - 1)))


def _stem(width: int) -> nn.Sequential:
    """A 3x7x7 convolution of stride 2 in space."""
    return nn.Sequential(
        nn.Conv3d(3, width, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False), nn.BatchNorm3d(width), nn.ReLU(inplace=True)
    )


def _split_stem(width: int) -> nn.Sequential:
    """1x7x7 of stride 2 in space, then 3x1x1; 45 channels between where the full model has 64 behind."""
    between = width * 45 // 64
    return nn.Sequential(
        nn.Conv3d(3, between, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
        nn.BatchNorm3d(between),
        nn.ReLU(inplace=True),
        nn.Conv3d(between, width, (3, 1, 1), padding=(1, 0, 0), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
    )
