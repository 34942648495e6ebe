"""Nets of pictures on videos: which frames they see, and where in the net frames meet.

- Single frame (the C2D of one picture), or all frames, each by itself.
- Early, slow and late fusion (Karpathy et al., "Large-scale Video Classification with Convolutional Neural Networks",
  CVPR 2014): frames meet at the pixels, by and by, or at the end.
- Segments (Wang et al., "Temporal Segment Networks", ECCV 2016): a few frames from all over the clip, scored one by
  one; a consensus of their logits.
- Conv pooling and LSTM (Ng et al., "Beyond Short Snippets", CVPR 2015): see `CellLstm` and `heads.over_time`.

One ResNet serves all. Where frames meet, a window of them is laid channel upon channel and the next convolution made
as much wider, which is a convolution over time. The papers' nets were AlexNet, Inception and GoogLeNet; the windows
are theirs. Blocks and names are torchvision's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from avadet.errors import AvadetError
from avadet.models.backbones.backbone import IMAGENET, Allowed, Backbone, Stride
from avadet.models.backbones.dilation import without_stride
from avadet.models.backbones.inflate import load_from_image
from avadet.models.backbones.lstm import new_lstm

R50 = (3, 4, 6, 3)
STAGES = ("conv1", "layer1", "layer2", "layer3", "layer4")
PLACES = (*STAGES, "end")
"""Before which part frames may meet; "end" is behind the last one."""

Window = Sequence[int]
"""(frames, stride): so many neighbouring frames meet, and the next so many start `stride` frames later."""


class FrameResNet(Backbone):
    """A ResNet over chosen frames of a clip, which may meet on the way."""

    pixels = IMAGENET
    init_from_image = "torchvision resnet"

    def __init__(
        self,
        *,
        depths: Sequence[int] = R50,
        bottleneck: bool = True,
        width_per_group: int = 64,
        frames: str | int = "all",
        windows: Mapping[str, Window] | None = None,
        output_stride: int = 16,
    ) -> None:
        """Build it with random weights, alike for all frames that meet.

        Args:
            depths: residual blocks of each stage.
            bottleneck: whether they are bottlenecks (R50 and up) or basic blocks (R18, R34).
            width_per_group: channels inside the bottlenecks of the first stage, 64 in all published sizes.
            frames: "all", "middle", "ends" (the first and the last), or a number of segments of equal length, of
                each of which one frame is seen: the middle one, in training any.
            windows: where frames meet: place (see `PLACES`) -> window.
            output_stride: px of a cell, 32 or 16, for which the last stage gives up its stride.
        """
        super().__init__()
        if not isinstance(frames, int) and frames not in ("all", "middle", "ends"):
            raise AvadetError(f"frames must be 'all', 'middle', 'ends' or a number of segments, got '{frames}'")
        self.frames = frames
        self.windows = {place: (int(window[0]), int(window[1])) for place, window in (windows or {}).items()}
        if not set(self.windows) <= set(PLACES):
            raise AvadetError(f"frames can meet before {', '.join(PLACES)}, got {', '.join(self.windows)}")
        net = ResNet(
            Bottleneck if bottleneck else BasicBlock, list(depths), num_classes=1, width_per_group=width_per_group
        )
        self.conv1, self.bn1, self.relu, self.maxpool = net.conv1, net.bn1, net.relu, net.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        channels = int(net.fc.in_features)
        if output_stride == 16:
            without_stride(self.layer4)
        for place, (extent, _) in self.windows.items():
            self._widen(place, extent)
        self.out_channels = (channels * self.windows.get("end", (1, 1))[0],)
        follows = frames == "all"
        time = math.prod(stride for _, stride in self.windows.values()) if follows else None
        self.strides = (Stride(time, output_stride, output_stride),)
        self.num_frames = Allowed(least=self._least() if follows else frames if isinstance(frames, int) else 1)

    def forward(self, clip: Tensor) -> list[Tensor]:
        """Normalised clip (B, 3, T, H, W) -> one map (B, C, T', H / 16, W / 16), T' the frames that are left.

        Raises:
            AvadetError: if the clip is shorter than the segments or a window wants it.
        """
        self.check(clip)
        x = self._chosen(clip)
        for place in STAGES:
            x = self._met(x, place)
            pictures = self._stage(place, x.transpose(1, 2).flatten(0, 1))
            x = pictures.view(clip.shape[0], -1, *pictures.shape[1:]).transpose(1, 2)
        return [self._met(x, "end")]

    def fill_from_image(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """Take over torchvision's ResNet of the same depth.

        The shortcut of a basic block whose frames meet stays as it is: there is none for a single frame.
        """
        return load_from_image(
            self, tensors, adapt=_widened_like, may_lack=lambda name: name.endswith("downsample.0.weight")
        )

    def _least(self) -> int:
        """Of how many frames one is left in the end."""
        least = 1
        for place in reversed(PLACES):
            extent, stride = self.windows.get(place, (1, 1))
            least = (least - 1) * stride + extent
        return least

    def _stage(self, place: str, pictures: Tensor) -> Tensor:
        """One part of the ResNet on pictures (N, C, H, W)."""
        if place == "conv1":
            pooled: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(pictures))))
            return pooled
        answer: Tensor = self.get_submodule(place)(pictures)
        return answer

    def _chosen(self, clip: Tensor) -> Tensor:
        """The frames of the clip that are to be seen."""
        length = clip.shape[2]
        if self.frames == "all":
            return clip
        if self.frames == "middle":
            return clip[:, :, length // 2 : length // 2 + 1]
        if self.frames == "ends":
            return torch.stack([clip[:, :, 0], clip[:, :, -1]], dim=2)
        return clip[:, :, segment_frames(length, int(self.frames), self.training).to(clip.device)]

    def _met(self, x: Tensor, place: str) -> Tensor:
        """(B, C, T, H, W) -> (B, C * extent, T', H, W), frame upon frame, if this is a place where they meet."""
        if place not in self.windows:
            return x
        extent, stride = self.windows[place]
        length = int(x.shape[2])
        if length < extent:
            raise AvadetError(f"{extent} frames meet before {place}, but only {length} are left; give longer clips")
        beyond = (length - extent) // stride * stride + 1
        return torch.cat([x[:, :, first : first + beyond : stride] for first in range(extent)], dim=1)

    def _widen(self, place: str, extent: int) -> None:
        """Have the convolutions behind a place take `extent` frames at once, all with the weights they have for one."""
        if place == "conv1":
            self.conv1 = widened(self.conv1, extent)
        elif place != "end":
            block: Any = self.get_submodule(place)[0]  # type: ignore[index]
            channels = block.conv1.in_channels
            block.conv1 = widened(block.conv1, extent)
            if block.downsample is None:
                shortcut = nn.Conv2d(channels, channels, 1, bias=False)
                nn.init.dirac_(shortcut.weight)
                block.downsample = nn.Sequential(widened(shortcut, extent))
            else:
                block.downsample[0] = widened(block.downsample[0], extent)


def segment_frames(num_frames: int, segments: int, randomly: bool) -> Tensor:
    """One frame of each of `segments` equal parts of a clip, int64 (segments,): the middle one, or any.

    Raises:
        AvadetError: if there are fewer frames than segments.
    """
    if not 1 <= segments <= num_frames:
        raise AvadetError(f"a clip of {num_frames} frames cannot be cut into {segments} segments")
    length = num_frames / segments
    inside = torch.rand(segments, dtype=torch.float64) if randomly else torch.full((segments,), 0.5).double()
    return ((torch.arange(segments) + inside) * length).long().clamp(max=num_frames - 1)


def widened(conv: nn.Conv2d, extent: int) -> nn.Conv2d:
    """A convolution over `extent` frames, channel upon channel, that gives for equal ones what `conv` gives for one."""
    wide = nn.Conv2d(
        conv.in_channels * extent,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        conv.dilation,  # type: ignore[arg-type]
        bias=False,
    )
    wide.weight = nn.Parameter(wide_filters(conv.weight.detach(), extent))
    return wide


def wide_filters(weight: Tensor, extent: int) -> Tensor:
    """Filters (O, I, h, w) -> (O, extent * I, h, w), repeated and divided by `extent`."""
    return weight.repeat(1, extent, 1, 1) / extent


def _widened_like(weight: Tensor, wide: Tensor) -> Tensor:
    """Filters for one frame as those of a convolution over several, see `wide_filters`; anything else as it is."""
    over_frames = weight.ndim == wide.ndim == 4 and wide.shape[1] % weight.shape[1] == 0
    return wide_filters(weight, wide.shape[1] // weight.shape[1]) if over_frames else weight


class EarlyFusion(FrameResNet):
    """All frames of a clip meet at the pixels."""

    def __init__(self, *, num_frames: int = 10, **options: Any) -> None:
        """Build it for clips of `num_frames` frames; the other options are those of `FrameResNet`."""
        super().__init__(**{"windows": {"conv1": (num_frames, num_frames)}, **options})


class CellLstm(Backbone):
    """A backbone with an LSTM behind each of its maps that reads every cell frame by frame."""

    pixels = IMAGENET

    def __init__(self, backbone: Backbone, units: int = 512, layers: int = 1) -> None:
        """Join them.

        Args:
            backbone: clip -> maps.
            units: size of the LSTMs' states; `out_channels` of each map.
            layers: LSTMs upon each other.
        """
        super().__init__()
        self.backbone = backbone
        self.lstms = nn.ModuleList(new_lstm(count, units, layers) for count in backbone.out_channels)
        self.out_channels = (units,) * len(backbone.out_channels)
        self.strides = tuple(stride._replace(time=None) for stride in backbone.strides)
        self.num_frames, self.sizes = backbone.num_frames, backbone.sizes

    def forward(self, clip: Tensor) -> list[Tensor]:
        """Normalised clip (B, 3, T, H, W) -> maps (B, units, 1, H_i, W_i)."""
        return [_last_states(lstm, one_map) for lstm, one_map in zip(self.lstms, self.backbone(clip))]


class FrameLstm(CellLstm):
    """`CellLstm` behind a `FrameResNet`."""

    def __init__(self, *, units: int = 512, layers: int = 1, **frames: Any) -> None:
        """Build it with random weights; the other arguments are those of `FrameResNet`."""
        super().__init__(FrameResNet(**frames), units, layers)


def _last_states(lstm: nn.Module, one_map: Tensor) -> Tensor:
    """(B, C, T, H, W) -> (B, units, 1, H, W)."""
    batch, _, _, height, width = one_map.shape
    cells = one_map.permute(0, 3, 4, 2, 1).flatten(0, 2)
    states: Tensor = lstm(cells)[0][:, -1]
    return states.view(batch, height, width, -1).permute(0, 3, 1, 2)[:, :, None]
