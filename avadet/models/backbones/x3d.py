"""X3D (Feichtenhofer, "X3D: Expanding Architectures for Efficient Video Recognition", CVPR 2020).

A tiny 2-D net grown along one axis at a time until it was cheapest for its accuracy: all convolutions over space and
time are depthwise, every other block weighs its channels by what the whole clip shows (squeeze and excitation).
Blocks are pytorchvideo's. Behind the last stage stands the paper's conv5, which makes its thin map wide; what comes
behind its pooling belongs to the classifier and stays away.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from avadet.models.backbones.dilation import without_stride
from avadet.models.backbones.slow import STAGES, random_weights
from avadet.models.detectors.two_stage import KINETICS_MEAN, KINETICS_STD, ActionDetector
from avadet.models.heads.build import build_head

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)
    warnings.simplefilter("ignore", DeprecationWarning)
    from pytorchvideo.models.x3d import create_x3d


class X3d(nn.Module):
    """The stem, four stages, and conv5; no stride in time.

    Attributes:
        out_channels: channels of its one map, 2.25 times those of the last stage.
        strides: (rows, columns) px of one of its cells.
    """

    def __init__(
        self, *, width: int = 12, width_factor: float = 2.0, depth_factor: float = 2.2, fine: bool = True
    ) -> None:
        """Build it with random weights.

        Args:
            width: channels of the first stage before they are multiplied.
            width_factor: multiplies all channels.
            depth_factor: multiplies the blocks of the stages: 1, 2, 5 and 3 of them.
            fine: whether the last stage gives up its stride, for cells of 16 px instead of 32.
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
        if fine:
            without_stride(self.get_submodule("res5"))
        self.out_channels = (pool.pre_conv.out_channels,)
        self.strides = ((16, 16) if fine else (32, 32),)
        random_weights(self)

    def forward(self, clip: Tensor) -> list[Tensor]:
        """Normalised clip (B, 3, T, H, W) -> one map (B, C, T, H / 16, W / 16), or of H / 32 cells unless `fine`."""
        features: Tensor = self.stem(clip)
        for name in STAGES:
            features = getattr(self, name)(features)
        return [self.conv5(features)]


def x3d(
    num_classes: int,
    *,
    mean: Sequence[float] = KINETICS_MEAN,
    std: Sequence[float] = KINETICS_STD,
    head: dict[str, Any] | None = None,
    **backbone: Any,
) -> ActionDetector:
    """An action model on an X3D of any size.

    Args:
        num_classes: K, logits a box.
        mean: of RGB on a 0-1 scale.
        std: of RGB on a 0-1 scale.
        head: options of `build_head`.
        backbone: arguments of `X3d`.
    """
    net = X3d(**backbone)
    return ActionDetector(net, build_head(net.out_channels, num_classes, head), mean, std)


def x3d_xs(num_classes: int, **options: Any) -> ActionDetector:
    """X3D-XS, the net of X3D-M on 4 frames every 12 at 160 px: 2.125 M parameters with 80 classes."""
    return x3d(num_classes, **options)


def x3d_s(num_classes: int, **options: Any) -> ActionDetector:
    """X3D-S, the net of X3D-M on 13 frames every 6 at 160 px: 2.125 M parameters with 80 classes."""
    return x3d(num_classes, **options)


def x3d_m(num_classes: int, **options: Any) -> ActionDetector:
    """X3D-M, 16 frames every 5 at 224 px: 2.125 M parameters with 80 classes."""
    return x3d(num_classes, **options)


def x3d_l(num_classes: int, **options: Any) -> ActionDetector:
    """X3D-L, deeper, 16 frames every 5 at 312 px: 4.484 M parameters with 80 classes."""
    return x3d(num_classes, **{"depth_factor": 5.0, **options})


def x3d_xl(num_classes: int, **options: Any) -> ActionDetector:
    """X3D-XL, wider too, 16 frames every 5 at 312 px: 9.036 M parameters with 80 classes."""
    return x3d(num_classes, **{"depth_factor": 5.0, "width_factor": 2.9, **options})
