"""ShuffleNetV2 in its original arrangement, as a 2-D trunk for the small bundled models.

Ma et al., "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design", ECCV 2018. In the authors'
arrangement a block first deals its channels out in turn (even ones pass by, odd ones are worked on) and then
concatenates; torchvision's module concatenates first and shuffles after, so weights do not carry over by renaming.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from avadet.errors import AvadetError


class ShuffleBlock(nn.Module):
    """One ShuffleNetV2 unit.

    With stride 1 the even channels pass by and the odd ones go through `main`; with stride 2 all channels go
    through both `proj` and `main`, which halves the map.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        """Build the unit.

        Args:
            in_channels: channels that come in.
            out_channels: channels that go out; equal to `in_channels` when stride is 1.
            stride: 1 or 2.
        """
        super().__init__()
        passed = in_channels if stride == 2 else in_channels // 2
        worked = out_channels - passed if stride == 2 else out_channels // 2
        self.main = nn.Sequential(
            nn.Conv2d(passed, out_channels // 2, 1, bias=False),
            nn.BatchNorm2d(out_channels // 2),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels // 2, out_channels // 2, 3, stride, 1, groups=out_channels // 2, bias=False),
            nn.BatchNorm2d(out_channels // 2),
            nn.Conv2d(out_channels // 2, worked, 1, bias=False),
            nn.BatchNorm2d(worked),
            nn.ReLU(inplace=True),
        )
        self.proj = _projection(passed) if stride == 2 else None
        self.before_main: nn.Module = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H / stride, W / stride)."""
        if self.proj is not None:
            return torch.cat((self.proj(x), self.main(self.before_main(x))), dim=1)
        return torch.cat((x[:, ::2], self.main(self.before_main(x[:, 1::2]))), dim=1)


def _projection(channels: int) -> nn.Sequential:
    """The by-pass of a stride-2 unit: depthwise 3x3 that halves the map, then 1x1."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, 2, 1, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


class ShuffleNetV2(nn.Module):
    """The trunk up to stage 4, without the last 1x1 convolution and the classifier."""

    def __init__(
        self, channels: tuple[int, int, int] = (48, 96, 192), blocks: tuple[int, int, int] = (4, 8, 4)
    ) -> None:
        """Build the trunk.

        Args:
            channels: channels of stages 2, 3 and 4 (strides 8, 16, 32); (48, 96, 192) is the published 0.5x width.
            blocks: units in each stage.
        """
        super().__init__()
        self.out_channels = channels
        self.stem = nn.Sequential(
            nn.Conv2d(3, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        )
        widths = (24, *channels)
        self.stages = nn.ModuleList(
            nn.Sequential(*(ShuffleBlock(before if i == 0 else width, width, 2 if i == 0 else 1) for i in range(count)))
            for before, width, count in zip(widths, channels, blocks)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W) RGB 0-1 -> maps of stages 2, 3, 4: (N, C_i, H / 8, W / 8), ... / 16, ... / 32."""
        maps = []
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def load_imagenet_start(trunk: ShuffleNetV2, tensors: Mapping[str, Tensor]) -> None:
    """Fill `trunk` from a 0.5x state dict in the original layout (`first_conv.*`, `stage2.0.branch_main.*`, ...).

    The file is meant for BGR input on a 0-1 scale without mean and standard deviation; the colour order of the
    first convolution is turned round here, so that the trunk takes RGB.

    Args:
        trunk: a trunk of the 0.5x width.
        tensors: the state dict.

    Raises:
        AvadetError: if names or shapes are not those of the trunk.
    """
    renamed = {_own_name(name): value for name, value in tensors.items()}
    try:
        renamed["stem.0.weight"] = renamed["stem.0.weight"].flip(1)
        trunk.load_state_dict(renamed)
    except (KeyError, RuntimeError) as error:
        raise AvadetError(f"not a ShuffleNetV2 0.5x state dict: {error}") from error


def _own_name(name: str) -> str:
    """`stage3.1.branch_main.4.bias` -> `stages.1.1.main.4.bias`; `first_conv.0.weight` -> `stem.0.weight`."""
    head, _, rest = name.partition(".")
    if head == "first_conv":
        return f"stem.{rest}"
    stage = int(head.removeprefix("stage")) - 2 if head.removeprefix("stage").isdigit() else head
    return f"stages.{stage}.{rest.replace('branch_main', 'main').replace('branch_proj', 'proj')}"
