"""The single-pathway 3-D ResNets: Slow (Feichtenhofer et al., 2019), I3D and C2D (Wang et al., 2018).

One module covers them, because they differ in the length of a few temporal kernels only. It is also each of the two
pathways of SlowFast. The residual blocks are pytorchvideo's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from avadet.models.backbones.backbone import Allowed, Stride
from avadet.models.backbones.inflate import load_from_image, resnet_name
from avadet.models.backbones.nonlocal_block import with_nonlocal_blocks
from avadet.models.backbones.residual_stages import (
    R50,
    STAGES,
    StagedBackbone,
    create_res_basic_stem,
    random_weights,
    residual_stage,
)

TemporalKernels = Sequence[Sequence[int]]
"""For each of the four stages the temporal kernels of its blocks, repeated until the stage is full."""


class ResNet3d(StagedBackbone):
    """A bottleneck ResNet over (time, height, width): a stem and four stages; the last keeps stride 16."""

    init_from_image = "torchvision resnet"

    def __init__(
        self,
        *,
        width: int = 64,
        depths: Sequence[int] = R50,
        stem_kernel: int = 1,
        temporal_kernels: TemporalKernels = ((1,), (1,), (3,), (3,)),
        temporal_pool: int = 1,
        lateral_channels: Sequence[int] = (0, 0, 0, 0),
        last_dilation: int = 2,
        nonlocal_after: Sequence[Sequence[int]] = ((), (), (), ()),
        nonlocal_options: dict[str, Any] | None = None,
    ) -> None:
        """Build it with random weights (He et al., 2015; last norm of each block at zero).

        Args:
            width: channels of the stem; stage i ends with 4 * width * 2**i.
            depths: residual blocks of each stage.
            stem_kernel: temporal kernel of the stem.
            temporal_kernels: temporal kernels of the first convolution of the blocks.
            temporal_pool: frames that are max-pooled into one after the first stage; 1 = none.
            lateral_channels: channels that another pathway adds to the input of each stage.
            last_dilation: spatial dilation of the last stage; 2 keeps the view of the stride it gave up.
            nonlocal_after: for each stage the blocks, counted from 0, that a non-local block follows.
            nonlocal_options: arguments of `NonLocal`.
        """
        super().__init__()
        self.stem = create_res_basic_stem(
            in_channels=3,
            out_channels=width,
            conv_kernel_size=(stem_kernel, 7, 7),
            conv_padding=(stem_kernel // 2, 3, 3),
        )
        channels = width
        for index, (name, depth) in enumerate(zip(STAGES, depths)):
            dim_in, dilation = channels + lateral_channels[index], last_dilation if index == 3 else 1
            stride = 2 if index in (1, 2) else 1
            channels = 4 * width * 2**index
            stage = residual_stage(
                depth,
                dim_in,
                width * 2**index,
                temporal_kernels=temporal_kernels[index],
                conv_b_stride=(1, stride, stride),
                conv_b_padding=(0, dilation, dilation),
                conv_b_dilation=(1, dilation, dilation),
            )
            self.add_module(
                name, with_nonlocal_blocks(stage, channels, nonlocal_after[index], dict(nonlocal_options or {}))
            )
        self.temporal_pool = nn.MaxPool3d((temporal_pool, 1, 1)) if temporal_pool > 1 else nn.Identity()
        self.out_channels = (channels,)
        self.strides = (Stride(temporal_pool, 16, 16),)
        self.num_frames = Allowed(least=temporal_pool)
        random_weights(self)

    def forward(self, clip: Tensor) -> list[Tensor]:
        """Normalised clip (B, 3, T, H, W) -> one map (B, 32 * width, T, H / 16, W / 16); I3D and C2D halve T."""
        self.check(clip)
        features = self.temporal_pool(self.res2(self.stem(clip)))
        return [self.res5(self.res4(self.res3(features)))]

    def fill_from_image(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """Inflate torchvision's ResNet of the same depth."""
        return load_from_image(self, tensors, rename=resnet_name)
