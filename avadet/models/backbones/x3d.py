"""X3D (Feichtenhofer, "X3D: Expanding Architectures for Efficient Video Recognition", CVPR 2020).

A tiny 2-D net grown along one axis at a time until it was cheapest for its accuracy: all convolutions over space and
time are depthwise, every other block weighs its channels by what the whole clip shows (squeeze and excitation).
Blocks are pytorchvideo's. Behind the last stage stands the paper's conv5, which makes its thin map wide; what comes
behind its pooling belongs to the classifier and stays away.
"""

from __future__ import annotations

from torch import Tensor, nn

from avadet.models.backbones.backbone import Stride
from avadet.models.backbones.dilation import without_stride
from avadet.models.backbones.residual_stages import STAGES, StagedBackbone, create_x3d, random_weights


class X3d(StagedBackbone):
    """The stem, four stages, and conv5; no stride in time."""

    def __init__(
        self, *, width: int = 12, width_factor: float = 2.0, depth_factor: float = 2.2, output_stride: int = 16
    ) -> None:
        """Build it with random weights.

        Args:
            width: channels of the first stage before they are multiplied.
            width_factor: multiplies all channels.
            depth_factor: multiplies the blocks of the stages: 1, 2, 5 and 3 of them.
            output_stride: px of a cell, 32 or 16, for which the last stage gives up its stride.
        """
        super().__init__()
        # SiLU is Swish; pytorchvideo's own one hides its formula from exporters.
        built = create_x3d(
            stem_dim_in=width, width_factor=width_factor, depth_factor=depth_factor, inner_act=nn.SiLU, dropout_rate=0
        )
        self.stem = built.blocks[0]
        for name, stage in zip(STAGES, built.blocks[1:5]):
            self.add_module(name, nn.Sequential(*stage.res_blocks))
        pool = built.blocks[5].pool
        self.conv5 = nn.Sequential()
        for name, part in (("conv", pool.pre_conv), ("norm", pool.pre_norm), ("act", pool.pre_act)):
            self.conv5.add_module(name, part)
        if output_stride == 16:
            without_stride(self.get_submodule("res5"))
        self.out_channels = (pool.pre_conv.out_channels,)
        self.strides = (Stride(1, output_stride, output_stride),)
        random_weights(self)

    def forward(self, clip: Tensor) -> list[Tensor]:
        """Normalised clip (B, 3, T, H, W) -> one map (B, C, T, H / `output_stride`, W / `output_stride`)."""
        return [self.conv5(one_map) for one_map in super().forward(clip)]
