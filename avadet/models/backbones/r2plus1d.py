"""R(2+1)D with bottleneck blocks (Tran et al., CVPR 2018), as pytorchvideo trained it on Kinetics-400.

`r3d` has the nets of basic blocks of the same paper. Here the first convolution of a block is 1x1x1, the second looks
over time and space one after the other, and each of the four stages halves space, the last two halve time.
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
    from pytorchvideo.models.r2plus1d import create_2plus1d_bottleneck_block
    from pytorchvideo.models.resnet import create_res_stage
    from pytorchvideo.models.stem import create_res_basic_stem

TEMPORAL_STRIDES = (1, 1, 2, 2)


class SplitBottleneckNet(nn.Module):
    """A stem without pooling and four stages.

    Attributes:
        out_channels: channels of its one map.
        strides: (rows, columns) px of one of its cells.
    """

    def __init__(self, *, depths: Sequence[int] = R50, width: int = 64, fine: bool = True) -> None:
        """Build it with random weights.

        Args:
            depths: residual blocks of each stage.
            width: channels of the stem; stage i ends with 4 * width * 2**i.
            fine: whether the last stage gives up its spatial stride, for cells of 16 px instead of 32.
        """
        super().__init__()
        self.stem = create_res_basic_stem(
            in_channels=3, out_channels=width, conv_kernel_size=(1, 7, 7), conv_padding=(0, 3, 3), pool=None
        )
        channels = width
        for index, (name, depth) in enumerate(zip(STAGES, depths)):
            self.add_module(name, _stage(depth, channels, width * 2**index, TEMPORAL_STRIDES[index]))
            channels = 4 * width * 2**index
        if fine:
            without_stride(self.get_submodule("res5"))
        self.out_channels = (channels,)
        self.strides = ((16, 16) if fine else (32, 32),)
        random_weights(self)

    def forward(self, clip: Tensor) -> list[Tensor]:
        """Normalised clip (B, 3, T, H, W) -> one map (B, C, T / 4, H / 16, W / 16), H / 32 unless `fine`."""
        features: Tensor = self.stem(clip)
        for name in STAGES:
            features = getattr(self, name)(features)
        return [features]


def _stage(depth: int, before: int, inner: int, temporal_stride: int) -> nn.Sequential:
    """Bottleneck blocks of `inner` channels inside and four times as many behind."""
    stage = create_res_stage(
        depth=depth,
        dim_in=before,
        dim_inner=inner,
        dim_out=4 * inner,
        bottleneck=create_2plus1d_bottleneck_block,
        conv_a_kernel_size=(1, 1, 1),
        conv_a_stride=(1, 1, 1),
        conv_a_padding=(0, 0, 0),
        conv_b_kernel_size=(3, 3, 3),
        conv_b_stride=(temporal_stride, 2, 2),
        conv_b_padding=(1, 1, 1),
    )
    return nn.Sequential(*stage.res_blocks)


def r2plus1d_r50(
    num_classes: int,
    *,
    mean: Sequence[float] = KINETICS_MEAN,
    std: Sequence[float] = KINETICS_STD,
    head: dict[str, Any] | None = None,
    **backbone: Any,
) -> ActionDetector:
    """R(2+1)D R50, 16 frames every 4 at 224 px: 27.452 M parameters with 80 classes.

    Args:
        num_classes: K, logits a box.
        mean: of RGB on a 0-1 scale.
        std: of RGB on a 0-1 scale.
        head: options of `build_head`.
        backbone: arguments of `SplitBottleneckNet`.
    """
    net = SplitBottleneckNet(**backbone)
    return ActionDetector(net, build_head(net.out_channels, num_classes, head), mean, std)
