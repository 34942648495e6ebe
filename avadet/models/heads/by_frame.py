"""Clips taken apart into their frames, for heads that look at a box in every frame by itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from avadet.models.heads.lfb import BankWindow


def frame_by_frame(maps: Sequence[Tensor], rois: Tensor) -> tuple[list[Tensor], Tensor]:
    """Every frame of every map as a clip of its own, and every box in every frame of its clip.

    Args:
        maps: float (B, C_i, T, H_i, W_i), all of one T.
        rois: float (R, 5), batch index + xyxy px.

    Returns:
        maps (B * T, C_i, 1, H_i, W_i), and boxes (R * T, 5), the frames of one box next to each other.
    """
    length = maps[0].shape[2]
    frames = [one_map.transpose(1, 2).flatten(0, 1)[:, :, None] for one_map in maps]
    index = rois[:, :1] * length + torch.arange(length, device=rois.device, dtype=rois.dtype)
    boxes = rois[:, None, 1:].expand(-1, length, -1)
    return frames, torch.cat([index[..., None], boxes], dim=2).flatten(0, 1)


def window_by_frame(window: BankWindow, length: int) -> BankWindow:
    """The window of clips of so many frames for `frame_by_frame`: each frame sees what its clip sees."""
    frames = torch.arange(length, device=window.batch_index.device)
    batch_index = (window.batch_index[:, None] * length + frames).flatten()
    return BankWindow(batch_index, window.features.repeat_interleave(length, dim=0))
