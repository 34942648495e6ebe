"""CSN (Tran et al., "Video Classification with Channel-Separated Convolutional Networks", ICCV 2019).

A bottleneck ResNet whose 3x3x3 convolutions are depthwise: channels meet in 1x1x1 convolutions only. The
interaction-reduced one (ir) leaves it at that; the interaction-preserved one (ip) puts a 1x1x1 convolution before
every depthwise one. Blocks are pytorchvideo's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from avadet.models.backbones.backbone import Stride
from avadet.models.backbones.dilation import without_stride
from avadet.models.backbones.residual_stages import (
    R101,
    STAGES,
    StagedBackbone,
    create_res_basic_stem,
    random_weights,
    residual_stage,
)


class ChannelSeparatedNet(StagedBackbone):
    """A pooled stem and four stages, each of which but the first halves time and space."""

    def __init__(
        self, *, depths: Sequence[int] = R101, width: int = 64, preserved: bool = False, output_stride: int = 16
    ) -> None:
        """Build it with random weights.

        Args:
            depths: residual blocks of each stage.
            width: channels of the stem; stage i ends with 4 * width * 2**i.
            preserved: whether interactions between channels are preserved (ip) or reduced (ir).
            output_stride: px of a cell, 32 or 16, for which the last stage gives up its spatial stride.
        """
        super().__init__()
        self.stem = create_res_basic_stem(
            in_channels=3, out_channels=width, conv_kernel_size=(3, 7, 7), conv_padding=(1, 3, 3)
        )
        channels = width
        for index, (name, depth) in enumerate(zip(STAGES, depths)):
            inner, stride = width * 2**index, 1 if index == 0 else 2
            stage = residual_stage(
                depth,
                channels,
                inner,
                conv_b=_preserving if preserved else nn.Conv3d,
                conv_b_kernel_size=(3, 3, 3),
                conv_b_stride=(stride, stride, stride),
                conv_b_padding=(1, 1, 1),
                conv_b_num_groups=inner,
            )
            self.add_module(name, stage)
            channels = 4 * width * 2**index
        if output_stride == 16:
            without_stride(self.get_submodule("res5"))
        self.out_channels = (channels,)
        self.strides = (Stride(8, output_stride, output_stride),)
        random_weights(self)


def _preserving(*, in_channels: int, out_channels: int, **depthwise: Any) -> nn.Sequential:
    """A 1x1x1 convolution over all channels with its norm, then the depthwise one."""
    return nn.Sequential(
        nn.Conv3d(in_channels, in_channels, 1, bias=False),
        nn.BatchNorm3d(in_channels),
        nn.Conv3d(in_channels, out_channels, **depthwise),
    )
