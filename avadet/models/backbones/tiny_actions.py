"""The small bundled backbone: ShuffleNetV2 0.5x whose frames look at their neighbours by shifting channels in time.

Temporal shift is Lin et al., "TSM: Temporal Shift Module for Efficient Video Understanding", ICCV 2019: inside the
working branch of a unit one eighth of the channels comes from the next frame and one eighth from the frame before.
It adds no weights and no multiplications to the 2-D net.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from avadet.errors import AvadetError
from avadet.models.backbones.backbone import UNCHANGED, Allowed, Backbone, Stride
from avadet.models.backbones.shufflenet import ShuffleBlock, ShuffleNetV2, load_imagenet_start


class TemporalShift(nn.Module):
    """Exchange channels between neighbouring frames of (B * T, C, H, W); beyond the clip's ends there are zeros."""

    def __init__(self, num_frames: int, divisor: int = 8) -> None:
        """Set up the exchange.

        Args:
            num_frames: T; the frames of one clip lie next to each other.
            divisor: C // divisor channels come from the next frame, as many from the one before.
        """
        super().__init__()
        self.num_frames = num_frames
        self.divisor = divisor

    def forward(self, x: Tensor) -> Tensor:
        """(B * T, C, H, W) -> the same shape."""
        share = int(x.shape[1]) // self.divisor
        frames = x.reshape(-1, self.num_frames, *x.shape[1:])
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            # Graphs have operators for padding; writing into a tensor takes them three times as many.
            following = functional.pad(frames[:, 1:, :share], (0, 0, 0, 0, 0, 0, 0, 1))
            preceding = functional.pad(frames[:, :-1, share : 2 * share], (0, 0, 0, 0, 0, 0, 1, 0))
            return torch.cat([following, preceding, frames[:, :, 2 * share :]], dim=2).flatten(0, 1)
        # Writing into a tensor of the same strides keeps a channels-last layout, which torch.cat would lose.
        shifted = torch.zeros_like(frames)
        shifted[:, :-1, :share] = frames[:, 1:, :share]
        shifted[:, 1:, share : 2 * share] = frames[:, :-1, share : 2 * share]
        shifted[:, :, 2 * share :] = frames[:, :, 2 * share :]
        return shifted.flatten(0, 1)


class ShiftedShuffleNet(Backbone):
    """A 2-D trunk over the frames, with temporal shift in its stride-1 units; it normalises pixels itself."""

    pixels = UNCHANGED
    init_from_image = "shufflenetv2"

    def __init__(self, num_frames: int = 8, stages: Sequence[int] = (3, 4), shift_divisor: int = 8) -> None:
        """Build the trunk at its published 0.5x width.

        Args:
            num_frames: T of every clip it will see.
            stages: stages whose maps come out, of 2, 3, 4 (strides 8, 16, 32).
            shift_divisor: see `TemporalShift`.
        """
        super().__init__()
        if not stages or not set(stages) <= {2, 3, 4}:
            raise AvadetError(f"stages must be some of 2, 3, 4, got {list(stages)}")
        self.num_frames = Allowed(exactly=num_frames)
        self.stages = tuple(stages)
        self._frozen: list[nn.Module] = []
        self.trunk = ShuffleNetV2()
        self.out_channels = tuple(self.trunk.out_channels[stage - 2] for stage in stages)
        self.strides = tuple(Stride(1, 2 ** (stage + 1), 2 ** (stage + 1)) for stage in stages)
        for module in self.trunk.modules():
            if isinstance(module, ShuffleBlock) and module.proj is None:
                module.before_main = TemporalShift(num_frames, shift_divisor)

    def freeze(self, stages: int) -> None:
        """Keep the first parts of the trunk as they are: weights and BatchNorm statistics.

        Args:
            stages: 0 = none, 1 = the stem, 2 = and stage 2, up to 4.
        """
        self._frozen = [self.trunk.stem, *self.trunk.stages][: max(0, stages)]
        for part in self._frozen:
            part.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> ShiftedShuffleNet:
        """Switch to training; frozen parts stay in eval mode."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    def forward(self, x: Tensor) -> list[Tensor]:
        """float (B, 3, T, H, W) -> one map (B, C_i, T, H / stride, W / stride) for each of `stages`.

        Raises:
            AvadetError: if T is not the number of frames the model was built for.
        """
        self.check(x)
        maps = self.trunk(x.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last))
        chosen = [maps[stage - 2] for stage in self.stages]
        return [one_map.unflatten(0, (-1, x.shape[2])).transpose(1, 2) for one_map in chosen]

    def fill_from_image(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """Take over the authors' ShuffleNetV2 0.5x, see `load_imagenet_start`."""
        load_imagenet_start(self.trunk, tensors)
        return []
