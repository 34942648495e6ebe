"""CSN (Tran et al., "Video Classification with Channel-Separated Convolutional Networks", ICCV 2019).

A bottleneck ResNet whose 3x3x3 convolutions are depthwise: channels meet in 1x1x1 convolutions only. The
interaction-reduced one (ir) leaves it at that; the interaction-preserved one (ip) puts a 1x1x1 convolution before
every depthwise one. Blocks are pytorchvideo's.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from avadet.models.backbones.dilation import without_stride
from avadet.models.backbones.slow import R50, STAGES, random_weights
from avadet.models.detectors.two_stage import KINETICS_MEAN, KINETICS_STD, ActionDetector
from avadet.models.heads.build import build_head

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)
    warnings.simplefilter("ignore", DeprecationWarning)
    from pytorchvideo.models.resnet import create_bottleneck_block, create_res_stage
    from pytorchvideo.models.stem import create_res_basic_stem

R101 = (3, 4, 23, 3)
R152 = (3, 8, 36, 3)


class ChannelSeparatedNet(nn.Module):
    """A pooled stem and four stages, each of which but the first halves time and space.

    Attributes:
        out_channels: channels of its one map.
        strides: (rows, columns) px of one of its cells.
    """

    def __init__(
        self, *, depths: Sequence[int] = R101, width: int = 64, preserved: bool = False, fine: bool = True
    ) -> None:
        """Build it with random weights.

        Args:
            depths: residual blocks of each stage.
            width: channels of the stem; stage i ends with 4 * width * 2**i.
            preserved: whether interactions between channels are preserved (ip) or reduced (ir).
            fine: whether the last stage gives up its spatial stride, for cells of 16 px instead of 32.
        """
        super().__init__()
        self.stem = create_res_basic_stem(
            in_channels=3, out_channels=width, conv_kernel_size=(3, 7, 7), conv_padding=(1, 3, 3)
        )
        channels = width
        for index, (name, depth) in enumerate(zip(STAGES, depths)):
            self.add_module(name, _stage(depth, channels, width * 2**index, 1 if index == 0 else 2, preserved))
            channels = 4 * width * 2**index
        if fine:
            without_stride(self.get_submodule("res5"))
        self.out_channels = (channels,)
        self.strides = ((16, 16) if fine else (32, 32),)
        random_weights(self)

    def forward(self, clip: Tensor) -> list[Tensor]:
        """Normalised clip (B, 3, T, H, W) -> one map (B, C, T / 8, H / 16, W / 16), H / 32 unless `fine`."""
        features: Tensor = self.stem(clip)
        for name in STAGES:
            features = getattr(self, name)(features)
        return [features]


def _stage(depth: int, before: int, inner: int, stride: int, preserved: bool) -> nn.Sequential:
    """Bottleneck blocks of `inner` channels inside and four times as many behind."""
    stage = create_res_stage(
        depth=depth,
        dim_in=before,
        dim_inner=inner,
        dim_out=4 * inner,
        bottleneck=create_bottleneck_block,
        conv_a_kernel_size=(1, 1, 1),
        conv_a_stride=(1, 1, 1),
        conv_a_padding=(0, 0, 0),
        conv_b=_preserving if preserved else nn.Conv3d,
        conv_b_kernel_size=(3, 3, 3),
        conv_b_stride=(stride, stride, stride),
        conv_b_padding=(1, 1, 1),
        conv_b_num_groups=inner,
    )
    return nn.Sequential(*stage.res_blocks)


def _preserving(*, in_channels: int, out_channels: int, **depthwise: Any) -> nn.Sequential:
    """A 1x1x1 convolution over all channels with its norm, then the depthwise one."""
    return nn.Sequential(
        nn.Conv3d(in_channels, in_channels, 1, bias=False),
        nn.BatchNorm3d(in_channels),
        nn.Conv3d(in_channels, out_channels, **depthwise),
    )


def csn(
    num_classes: int,
    *,
    mean: Sequence[float] = KINETICS_MEAN,
    std: Sequence[float] = KINETICS_STD,
    head: dict[str, Any] | None = None,
    **backbone: Any,
) -> ActionDetector:
    """An action model on a CSN of any size.

    Args:
        num_classes: K, logits a box.
        mean: of RGB on a 0-1 scale.
        std: of RGB on a 0-1 scale.
        head: options of `build_head`.
        backbone: arguments of `ChannelSeparatedNet`.
    """
    net = ChannelSeparatedNet(**backbone)
    return ActionDetector(net, build_head(net.out_channels, num_classes, head), mean, std)


def ir_csn_50(num_classes: int, **options: Any) -> ActionDetector:
    """ir-CSN-50, 32 frames every 2 at 224 px: 12.475 M parameters with 80 classes."""
    return csn(num_classes, **{"depths": R50, **options})


def ir_csn_101(num_classes: int, **options: Any) -> ActionDetector:
    """ir-CSN-101, 32 frames every 2 at 224 px: 21.558 M parameters with 80 classes."""
    return csn(num_classes, **options)


def ir_csn_152(num_classes: int, **options: Any) -> ActionDetector:
    """ir-CSN-152, 32 frames every 2 at 224 px: 29.048 M parameters with 80 classes."""
    return csn(num_classes, **{"depths": R152, **options})


def ip_csn_152(num_classes: int, **options: Any) -> ActionDetector:
    """ip-CSN-152, 32 frames every 2 at 224 px: 32.361 M parameters with 80 classes."""
    return csn(num_classes, **{"depths": R152, "preserved": True, **options})
