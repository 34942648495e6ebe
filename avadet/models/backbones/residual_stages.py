"""Residual nets on pytorchvideo's blocks: a stem, four stages of bottlenecks, and their random weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from avadet.models.backbones.backbone import Backbone

with warnings.catch_warnings():
    # pytorchvideo decorates functions with torch.jit.script, which torch announces to be going; not the user's concern.
    warnings.simplefilter("ignore", FutureWarning)
    warnings.simplefilter("ignore", DeprecationWarning)
    from pytorchvideo.models.r2plus1d import create_2plus1d_bottleneck_block
    from pytorchvideo.models.resnet import create_bottleneck_block, create_res_stage
    from pytorchvideo.models.stem import create_res_basic_stem
    from pytorchvideo.models.weight_init import init_net_weights
    from pytorchvideo.models.x3d import create_x3d

__all__ = ["create_2plus1d_bottleneck_block", "create_res_basic_stem", "create_x3d"]

R50 = (3, 4, 6, 3)
R101 = (3, 4, 23, 3)
R152 = (3, 8, 36, 3)
STAGES = ("res2", "res3", "res4", "res5")


class StagedBackbone(Backbone):
    """A stem and four stages, one behind the other."""

    stem: nn.Module
    res2: nn.Sequential
    res3: nn.Sequential
    res4: nn.Sequential
    res5: nn.Sequential

    def forward(self, clip: Tensor) -> list[Tensor]:
        """Normalised clip (B, 3, T, H, W) -> the map of the last stage."""
        return [self.res5(self.res4(self.res3(self.res2(self.stem(clip)))))]


def residual_stage(
    depth: int,
    dim_in: int,
    dim_inner: int,
    *,
    temporal_kernels: Sequence[int] = (1,),
    bottleneck: Callable[..., nn.Module] = create_bottleneck_block,
    **conv_b: Any,
) -> nn.Sequential:
    """Bottleneck blocks of `dim_inner` channels inside and four times as many behind.

    Args:
        depth: blocks.
        dim_in: channels before the first.
        dim_inner: channels inside.
        temporal_kernels: of the first convolution of the blocks, repeated until the stage is full.
        bottleneck: makes a block.
        conv_b: of the second convolution: `conv_b_stride`, ..., see pytorchvideo's `create_res_stage`.
    """
    stage = create_res_stage(
        depth=depth,
        dim_in=dim_in,
        dim_inner=dim_inner,
        dim_out=4 * dim_inner,
        bottleneck=bottleneck,
        conv_a_kernel_size=[(kernel, 1, 1) for kernel in temporal_kernels],
        conv_a_stride=(1, 1, 1),
        conv_a_padding=[(kernel // 2, 0, 0) for kernel in temporal_kernels],
        **conv_b,
    )
    return nn.Sequential(*stage.res_blocks)


def random_weights(net: nn.Module) -> None:
    """Fill convolutions as He et al. (2015) and norms with ones, but zeros for the last norm of a residual block."""
    init_net_weights(net, style="resnet")
