"""Two video nets on GoogLeNet: I3D (Carreira & Zisserman, CVPR 2017) and S3D (Xie et al., ECCV 2018).

I3D inflates every filter and pool of the 2-D net to a cube, but leaves time alone in the first two pools. S3D splits
each cube into a filter over space and one over time. Blocks are torchvision's; S3D's tensors have the names of
torchvision's, whose Kinetics checkpoint fits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor, nn
from torchvision.models.googlenet import BasicConv2d, Inception
from torchvision.models.video.s3d import SepInceptionBlock3D, TemporalSeparableConv
from torchvision.ops.misc import Conv3dNormActivation

from avadet.models.backbones.backbone import TORCHVISION_KINETICS, Allowed, Backbone, Stride
from avadet.models.backbones.dilation import dilate
from avadet.models.backbones.inflate import inflated, load_from_image

STEM = (64, 64, 192)
"""Channels of the three convolutions before the first block."""

GROUPS = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)
"""Blocks 3a-3b, 4a-4e, 5a-5b (Szegedy et al., CVPR 2015, table 1): channels of the 1x1 branch, before and after the
first 3x3, before and after the second (5x5 in the paper), and behind the pool."""

DEPTHS = (2, 5, 2)
"""Blocks of each group; (2, 5, 0) ends at stride 16 with block 4e, as AVA's first baseline (Gu et al., CVPR 2018)."""

S3D_MOMENTUM = 0.001
"""Share of a batch in the running statistics of S3D's norms: as published, for runs of very many steps."""


class InceptionNet(Backbone):
    """What both share: a sequence of layers, of which the last two blocks may stay at stride 16."""

    pixels = TORCHVISION_KINETICS
    num_frames = Allowed(least=5)

    def __init__(self, features: nn.Sequential, out_channels: int, output_stride: int, last: int = DEPTHS[2]) -> None:
        """Take over a trunk.

        Args:
            features: clip -> map; ends with the last pool and the last group, or without both.
            out_channels: of that map.
            output_stride: px of a cell, 32 or 16, for which the last pool gives up its spatial stride.
            last: blocks of the last group.
        """
        super().__init__()
        self.features = features
        self.out_channels = (out_channels,)
        self.strides = (Stride(8, output_stride, output_stride) if last > 0 else Stride(4, 16, 16),)
        if output_stride == 16 and last > 0:
            # One cell more at the far ends, so that a pool over two cells leaves as many as it found.
            pad = nn.ReplicationPad3d((0, 1, 0, 1, 0, 0))
            place = len(features) - last - 1
            ceil_mode = bool(features[place].ceil_mode)
            features[place] = nn.Sequential(pad, nn.MaxPool3d((2, 2, 2), (2, 1, 1), ceil_mode=ceil_mode))
            for block in features[place + 1 :]:
                dilate(block)

    def forward(self, clip: Tensor) -> list[Tensor]:
        """Normalised clip (B, 3, T, H, W) -> one map (B, C, T / 8, H / `output_stride`, W / `output_stride`).

        Raises:
            AvadetError: for fewer than 5 frames.
        """
        self.check(clip)
        return [self.features(clip)]


def googlenet_trunk(width: float = 1.0, depths: Sequence[int] = DEPTHS) -> tuple[nn.Sequential, int]:
    """The convolutional part of torchvision's GoogLeNet, layer by layer, and the channels of its map.

    Args:
        width: multiplies all channels.
        depths: blocks of each group, no more than in `GROUPS`.
    """
    first, second, channels = (_scaled(count, width) for count in STEM)
    trunk = nn.Sequential(
        BasicConv2d(3, first, kernel_size=7, stride=2, padding=3),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        BasicConv2d(first, second, kernel_size=1),
        BasicConv2d(second, channels, kernel_size=3, padding=1),
        nn.MaxPool2d(3, 2, ceil_mode=True),
    )
    for index, group in enumerate(GROUPS):
        if index > 0 and depths[index] > 0:
            trunk.append(nn.MaxPool2d(3 if index == 1 else 2, 2, ceil_mode=True))
        for block in group[: depths[index]]:
            sizes = [_scaled(count, width) for count in block]
            trunk.append(Inception(channels, *sizes))
            channels = sizes[0] + sizes[2] + sizes[4] + sizes[5]
    return trunk, channels


def i3d_trunk(width: float = 1.0, depths: Sequence[int] = DEPTHS) -> tuple[nn.Sequential, int]:
    """`googlenet_trunk` inflated; the first two pools (layers 1 and 4) leave time alone."""
    pictures, channels = googlenet_trunk(width, depths)
    cube = inflated(pictures, flat=("1", "4"))
    random_filters(cube)
    return cube, channels  # type: ignore[return-value]


def s3d_trunk(
    width: float = 1.0, depths: Sequence[int] = DEPTHS, momentum: float = S3D_MOMENTUM
) -> tuple[nn.Sequential, int]:
    """S3D's layers in torchvision's order, and the channels of its map."""
    first, second, channels = (_scaled(count, width) for count in STEM)
    norm = partial(nn.BatchNorm3d, eps=0.001, momentum=momentum)
    trunk = nn.Sequential(
        TemporalSeparableConv(3, first, 7, 2, 3, norm),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        Conv3dNormActivation(first, second, kernel_size=1, norm_layer=norm),
        TemporalSeparableConv(second, channels, 3, 1, 1, norm),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
    )
    for index, group in enumerate(GROUPS):
        if index > 0 and depths[index] > 0:
            trunk.append(nn.MaxPool3d(3, 2, 1) if index == 1 else nn.MaxPool3d(2, 2))
        for block in group[: depths[index]]:
            sizes = [_scaled(count, width) for count in block]
            trunk.append(SepInceptionBlock3D(channels, *sizes, norm))
            channels = sizes[0] + sizes[2] + sizes[4] + sizes[5]
    random_filters(trunk)
    return trunk, channels


def random_filters(net: nn.Module) -> None:
    """Fill convolutions as He et al. (2015); norms start at one."""
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


def _scaled(channels: int, width: float) -> int:
    """A share of this many channels, one at least."""
    return max(1, round(channels * width))


class I3d(InceptionNet):
    """I3D as first published, on Inception."""

    init_from_image = "torchvision googlenet"

    def __init__(self, *, width: float = 1.0, depths: Sequence[int] = DEPTHS, output_stride: int = 16) -> None:
        """Build it with random weights.

        Args:
            width: multiplies all channels.
            depths: blocks of each group, no more than in `GROUPS`.
            output_stride: px of a cell, 32 or 16, for which the last pool gives up its spatial stride.
        """
        super().__init__(*i3d_trunk(width, depths), output_stride, depths[2])

    def fill_from_image(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """Inflate torchvision's GoogLeNet."""
        return load_from_image(self, tensors, rename=googlenet_name)


class S3d(InceptionNet):
    """S3D, every cube split into a filter over space and one over time."""

    def __init__(
        self,
        *,
        width: float = 1.0,
        depths: Sequence[int] = DEPTHS,
        output_stride: int = 16,
        momentum: float = S3D_MOMENTUM,
    ) -> None:
        """Build it with random weights.

        Args:
            width: multiplies all channels.
            depths: blocks of each group, no more than in `GROUPS`.
            output_stride: px of a cell, 32 or 16, for which the last pool gives up its spatial stride.
            momentum: share of each batch in what norms remember of all; short runs need more, such as 0.1.
        """
        super().__init__(*s3d_trunk(width, depths, momentum), output_stride, depths[2])


GOOGLENET_LAYERS = {
    **{"0": "conv1", "2": "conv2", "3": "conv3", "5": "inception3a", "6": "inception3b"},
    **{str(8 + index): f"inception4{letter}" for index, letter in enumerate("abcde")},
    **{"14": "inception5a", "15": "inception5b"},
}
"""Number of a layer of `I3d` -> its name in torchvision's GoogLeNet."""


def googlenet_name(name: str) -> str:
    """Name of a tensor of `I3d` -> its name in torchvision's GoogLeNet."""
    return re.sub(r"^features\.(\d+)\.", lambda found: f"{GOOGLENET_LAYERS.get(found[1], found[0])}.", name)
