"""Frames seen one by one, and what becomes of them over time.

Per box: the mean of its logits in every frame (the consensus of TSN: Wang et al., "Temporal Segment Networks", ECCV
2016) or the last state of an LSTM that reads its features frame by frame (Ng et al., "Beyond Short Snippets", CVPR
2015). Per cell of the map: the same LSTM, in the backbone (`CellLstm`). The other way of Ng et al., conv pooling, is
the maximum of the maps over time: `RoIHead(time_pool="max")`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from avadet.errors import AvadetError
from avadet.models.backbones.frames import new_lstm
from avadet.models.heads.lfb import BankWindow
from avadet.models.heads.roi_head import RoIHead


def frame_by_frame(maps: Sequence[Tensor], rois: Tensor) -> tuple[list[Tensor], Tensor]:
    """Every frame of every map as a clip of its own, and every box in every frame of its clip.

    Args:
        maps: float (B, C_i, T, H_i, W_i), all of one T.
        rois: float (R, 5), batch index + xyxy px.

    Returns:
        maps (B * T, C_i, 1, H_i, W_i), and boxes (R * T, 5), the frames of one box next to each other.

    Raises:
        AvadetError: for maps of several lengths.
    """
    lengths = sorted({one_map.shape[2] for one_map in maps})
    if len(lengths) > 1:
        raise AvadetError(f"maps that are read frame by frame must have one length, got {lengths} frames")
    length = lengths[0]
    frames = [one_map.transpose(1, 2).flatten(0, 1)[:, :, None] for one_map in maps]
    moments = torch.arange(length, device=rois.device, dtype=rois.dtype)
    index = rois[:, :1] * length + moments
    boxes = rois[:, None, 1:].expand(-1, length, -1)
    return frames, torch.cat([index[..., None], boxes], dim=2).flatten(0, 1)


def window_of_frames(window: BankWindow, length: int) -> BankWindow:
    """The window of clips of so many frames for `frame_by_frame`: each frame sees what its clip sees."""
    moments = torch.arange(length, device=window.owner.device)
    owner = (window.owner[:, None] * length + moments).flatten()
    return BankWindow(owner, window.features.repeat_interleave(length, dim=0))


class ConsensusHead(RoIHead):
    """Scores every box in every frame by itself; the frames' logits become one."""

    def __init__(self, in_channels: Sequence[int], num_classes: int, *, consensus: str = "avg", **options: Any) -> None:
        """Build the head.

        Args:
            in_channels: channels of each map of the backbone.
            num_classes: K, logits a box.
            consensus: "avg" or "max" over the frames' logits.
            options: of `RoIHead`; `time_pool` has nothing to do.
        """
        super().__init__(in_channels, num_classes, **options)
        if consensus not in ("avg", "max"):
            raise AvadetError(f"consensus of frames must be 'avg' or 'max', got '{consensus}'")
        self.consensus = consensus

    def forward(
        self, maps: Sequence[Tensor], rois: Tensor, clip_hw: tuple[int, int], window: BankWindow | None = None
    ) -> Tensor:
        """Logits (R, K); arguments as `RoIHead.forward`, the maps of one length T."""
        frames, boxes = frame_by_frame(maps, rois.float())
        length = maps[0].shape[2]
        every = None if window is None else window_of_frames(window, length)
        logits = super().forward(frames, boxes, clip_hw, every).view(rois.shape[0], length, self.proj.out_features)
        return logits.amax(dim=1) if self.consensus == "max" else logits.mean(dim=1)


class LstmHead(RoIHead):
    """An LSTM reads each box's features frame by frame; its last state is classified."""

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        *,
        units: int = 512,
        layers: int = 1,
        context: bool = False,
        norm_input: bool = False,
        **options: Any,
    ) -> None:
        """Build the head.

        Args:
            in_channels: channels of each map of the backbone.
            num_classes: K, logits a box.
            units: size of the LSTM's state; 512 in the paper.
            layers: LSTMs upon each other; 5 in the paper.
            context: whether the mean of each whole frame joins the features of its boxes.
            norm_input: whether features pass a LayerNorm before the LSTM reads them (the paper's do not). Thousands of
                features that are all positive move a gate together: a few large steps of training close it for good.
            options: of `RoIHead`, but `acrn`, `acar` and `map_width`; `time_pool` has nothing to do.

        Raises:
            AvadetError: if one of these is asked for.
        """
        wrong = [name for name in ("acrn", "acar", "map_width") if options.get(name) is not None]
        if wrong:
            raise AvadetError(f"head.{wrong[0]} reads maps that an LSTM over boxes does not have; leave it out")
        super().__init__([units], num_classes, **options)
        self.context = context
        features = sum(in_channels) * (2 if context else 1)
        self.norm_input = nn.LayerNorm(features) if norm_input else None
        self.lstm = new_lstm(features, units, layers)

    def box_features(self, maps: Sequence[Tensor], rois: Tensor, clip_hw: tuple[int, int]) -> Tensor:
        """Features (R, units) of every box; arguments as `RoIHead.box_features`, the maps of one length T."""
        frames, boxes = frame_by_frame(maps, rois.float())
        features = super().box_features(frames, boxes, clip_hw).view(-1, maps[0].shape[2], self.lstm.input_size)
        if self.norm_input is not None:
            features = self.norm_input(features)
        # One row more, which is dropped again: an LSTM refuses a batch of none.
        states: Tensor = self.lstm(functional.pad(features, (0, 0, 0, 0, 0, 1)))[0]
        return states[:-1, -1]
