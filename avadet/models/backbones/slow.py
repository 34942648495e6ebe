"""The single-pathway 3-D ResNets: Slow (Feichtenhofer et al., 2019), I3D and C2D (Wang et al., 2018).

One module covers them, because they differ in the length of a few temporal kernels only. It is also each of the two
pathways of SlowFast. The residual blocks are pytorchvideo's.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from avadet.models.backbones.nonlocal_block import with_nonlocal_blocks
from avadet.models.detectors.two_stage import KINETICS_MEAN, KINETICS_STD, ActionDetector
from avadet.models.heads.build import build_head

with warnings.catch_warnings():
    # pytorchvideo decorates functions with torch.jit.script, which torch announces to be going; not the user's concern.
    warnings.simplefilter("ignore", FutureWarning)
    warnings.simplefilter("ignore", DeprecationWarning)
    from pytorchvideo.models.resnet import create_bottleneck_block, create_res_stage
    from pytorchvideo.models.stem import create_res_basic_stem
    from pytorchvideo.models.weight_init import init_net_weights

R50 = (3, 4, 6, 3)
STAGES = ("res2", "res3", "res4", "res5")

TemporalKernels = Sequence[Sequence[int]]
"""For each of the four stages the temporal kernels of its blocks, repeated until the stage is full."""


class ResNet3d(nn.Module):
    """A bottleneck ResNet over (time, height, width): a stem and four stages; the last keeps stride 16.

    Attributes:
        out_channels: channels of its one map.
        strides: (rows, columns) px of one of its cells.
    """

    stem: nn.Module
    res2: nn.Sequential
    res3: nn.Sequential
    res4: nn.Sequential
    res5: nn.Sequential

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
            channels = 4 * width * 2**index
            stage = _residual_stage(index, depth, dim_in, width, temporal_kernels[index], dilation)
            self.add_module(
                name, with_nonlocal_blocks(stage, channels, nonlocal_after[index], dict(nonlocal_options or {}))
            )
        self.temporal_pool = nn.MaxPool3d((temporal_pool, 1, 1)) if temporal_pool > 1 else nn.Identity()
        self.out_channels = (channels,)
        self.strides = ((16, 16),)
        random_weights(self)

    def forward(self, clip: Tensor) -> list[Tensor]:
        """Normalised clip (B, 3, T, H, W) -> one map (B, 32 * width, T, H / 16, W / 16); I3D and C2D halve T."""
        features = self.temporal_pool(self.res2(self.stem(clip)))
        return [self.res5(self.res4(self.res3(features)))]


def random_weights(net: nn.Module) -> None:
    """Fill convolutions as He et al. (2015) and norms with ones, but zeros for the last norm of a residual block."""
    init_net_weights(net, style="resnet")


def _residual_stage(
    index: int, depth: int, dim_in: int, width: int, kernels: Sequence[int], dilation: int
) -> nn.Sequential:
    """Stage `index` (0-3) of a ResNet of this width, as a sequence of blocks."""
    stride = 2 if index in (1, 2) else 1
    stage = create_res_stage(
        depth=depth,
        dim_in=dim_in,
        dim_inner=width * 2**index,
        dim_out=4 * width * 2**index,
        bottleneck=create_bottleneck_block,
        conv_a_kernel_size=[(kernel, 1, 1) for kernel in kernels],
        conv_a_stride=(1, 1, 1),
        conv_a_padding=[(kernel // 2, 0, 0) for kernel in kernels],
        conv_b_stride=(1, stride, stride),
        conv_b_padding=(0, dilation, dilation),
        conv_b_dilation=(1, dilation, dilation),
    )
    return nn.Sequential(*stage.res_blocks)


def resnet3d(
    num_classes: int,
    *,
    mean: Sequence[float] = KINETICS_MEAN,
    std: Sequence[float] = KINETICS_STD,
    head: dict[str, Any] | None = None,
    **backbone: Any,
) -> ActionDetector:
    """A single-pathway action model of any size.

    Args:
        num_classes: K, logits a box.
        mean: of RGB on a 0-1 scale.
        std: of RGB on a 0-1 scale.
        head: options of `build_head`.
        backbone: arguments of `ResNet3d`.
    """
    net = ResNet3d(**backbone)
    return ActionDetector(net, build_head(net.out_channels, num_classes, head), mean, std)


def slow_r50(num_classes: int, **options: Any) -> ActionDetector:
    """Slow R50: 31.798 M parameters with 80 classes; 4 frames every 16 in its AVA checkpoint."""
    return resnet3d(num_classes, **options)


def c2d_r50(num_classes: int, **options: Any) -> ActionDetector:
    """C2D R50: frames by themselves, pooled by twos after res2; 23.672 M parameters with 80 classes."""
    kernels = ((1,), (1,), (1,), (1,))
    return resnet3d(num_classes, **{"temporal_kernels": kernels, "temporal_pool": 2, **options})


def i3d_r50(num_classes: int, **options: Any) -> ActionDetector:
    """I3D R50: temporal kernels in every stage; 27.388 M parameters with 80 classes."""
    kernels = ((3,), (3, 1), (3, 1), (1, 3))
    return resnet3d(num_classes, **{"stem_kernel": 5, "temporal_kernels": kernels, "temporal_pool": 2, **options})
