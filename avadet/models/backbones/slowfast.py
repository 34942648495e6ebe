"""SlowFast (Feichtenhofer et al., 2019): few frames through a wide pathway, all frames through a thin one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from avadet.errors import AvadetError, unknown_name
from avadet.models.backbones.backbone import Allowed, Backbone
from avadet.models.backbones.residual_stages import R50, STAGES, random_weights
from avadet.models.backbones.slow import ResNet3d, TemporalKernels

SAMPLINGS = ("linspace", "nearest")


def slow_frames(num_frames: int, alpha: int, sampling: str = "linspace") -> Tensor:
    """Which of `num_frames` the slow pathway sees: int64 (num_frames // alpha,).

    Args:
        num_frames: T.
        alpha: frames for one of the slow pathway.
        sampling: "linspace" spreads them evenly from the first frame to the last, as PySlowFast and pytorchvideo do;
            "nearest" takes every alpha-th from the first on, as mmaction2 does.

    Raises:
        AvadetError: unless `num_frames` is a multiple of `alpha` and `sampling` one of the two.
    """
    if num_frames < alpha or num_frames % alpha:
        raise AvadetError(f"a SlowFast clip must have a multiple of {alpha} frames, got {num_frames}")
    if sampling not in SAMPLINGS:
        raise unknown_name("sampling of slow frames", sampling, SAMPLINGS)
    if sampling == "nearest":
        return torch.arange(0, num_frames, alpha)
    return torch.linspace(0, num_frames - 1, num_frames // alpha).long()


class Lateral(nn.Module):
    """A time-strided convolution that takes fast features to the slow frame rate and appends them to the slow ones."""

    def __init__(self, channels: int, ratio: int, kernel: int, alpha: int, normed: bool = True) -> None:
        """Take `channels` fast channels to `ratio` times as many at 1 / `alpha` of the frames.

        `normed`: whether a norm and a ReLU follow the convolution; mmaction2 has neither.
        """
        super().__init__()
        self.conv = nn.Conv3d(
            channels, channels * ratio, (kernel, 1, 1), stride=(alpha, 1, 1), padding=(kernel // 2, 0, 0), bias=False
        )
        self.norm = nn.BatchNorm3d(channels * ratio) if normed else None

    def forward(self, slow: Tensor, fast: Tensor) -> Tensor:
        """(B, C, T, H, W) and (B, C', T * alpha, H, W) -> (B, C + ratio * C', T, H, W)."""
        carried = self.conv(fast)
        return torch.cat([slow, carried if self.norm is None else torch.relu(self.norm(carried))], dim=1)


class SlowFast(Backbone):
    """Two ResNets side by side, with lateral connections from fast to slow before each of the four stages."""

    def __init__(
        self,
        *,
        width: int = 64,
        fast_width: int = 8,
        depths: Sequence[int] = R50,
        alpha: int = 4,
        lateral_kernel: int = 7,
        lateral_ratio: int = 2,
        lateral_norm: bool = True,
        slow_sampling: str = "linspace",
        slow_kernels: TemporalKernels = ((1,), (1,), (3,), (3,)),
        fast_kernels: TemporalKernels = ((3,), (3,), (3,), (3,)),
        last_dilation: int = 2,
        nonlocal_after: Sequence[Sequence[int]] = ((), (), (), ()),
        nonlocal_options: dict[str, Any] | None = None,
    ) -> None:
        """Build it with random weights.

        Args:
            width: channels of the slow stem.
            fast_width: channels of the fast stem, an eighth of `width` in the paper.
            depths: residual blocks of each stage, the same in both pathways.
            alpha: frames of the fast pathway for one of the slow.
            lateral_kernel: temporal kernel of the lateral connections: 7 in R50 models, 5 in R101 ones.
            lateral_ratio: channels after a lateral connection for one before.
            lateral_norm: whether a norm and a ReLU follow the convolution of a lateral connection.
            slow_sampling: how the slow frames are chosen, see `slow_frames`.
            slow_kernels: temporal kernels of the slow stages.
            fast_kernels: temporal kernels of the fast stages.
            last_dilation: spatial dilation of the last stage of both pathways.
            nonlocal_after: for each slow stage the blocks that a non-local block follows.
            nonlocal_options: arguments of `NonLocal`.
        """
        super().__init__()
        self.alpha = alpha
        self.slow_sampling = slow_sampling
        fast_channels = [fast_width] + [4 * fast_width * 2**index for index in range(4)]
        self.slow = ResNet3d(
            width=width,
            depths=depths,
            temporal_kernels=slow_kernels,
            lateral_channels=[channels * lateral_ratio for channels in fast_channels[:4]],
            last_dilation=last_dilation,
            nonlocal_after=nonlocal_after,
            nonlocal_options=nonlocal_options,
        )
        fast: dict[str, Any] = {"width": fast_width, "depths": depths, "temporal_kernels": fast_kernels}
        self.fast = ResNet3d(**fast, stem_kernel=5, last_dilation=last_dilation)
        laterals = [Lateral(width, lateral_ratio, lateral_kernel, alpha, lateral_norm) for width in fast_channels[:4]]
        self.lateral = nn.ModuleDict(dict(zip(("stem", *STAGES), laterals)))
        self.out_channels = self.slow.out_channels + self.fast.out_channels
        self.strides = (self.slow.strides[0]._replace(time=alpha), *self.fast.strides)
        self.num_frames = Allowed(least=alpha, multiple_of=alpha)
        random_weights(self.lateral)

    def forward(self, clip: Tensor) -> list[Tensor]:
        """Normalised clip (B, 3, T, H, W) -> slow map at T / alpha frames and fast map at T, both at stride 16.

        Raises:
            AvadetError: unless T is a multiple of alpha.
        """
        self.check(clip)
        slow = clip[:, :, slow_frames(clip.shape[2], self.alpha, self.slow_sampling).to(clip.device)]
        fast = clip
        for name, lateral in (*self.lateral.items(), ("res5", None)):
            slow = getattr(self.slow, name)(slow)
            fast = getattr(self.fast, name)(fast)
            if lateral is not None:
                slow = lateral(slow, fast)
        return [slow, fast]
