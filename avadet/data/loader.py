"""From samples to batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from avadet.data.dataset import ClipSample
from avadet.models.heads.lfb import BankWindow
from avadet.types import Float32Array, UInt8Array


@dataclass(frozen=True)
class ClipBatch:
    """What a training step takes.

    Attributes:
        clips: uint8 (B, 3, T, H, W) RGB.
        rois: float32 (R, 5): index in the batch + xyxy px of the clip.
        labels: float32 (R, K), 0 or 1.
        window: what the clips may look up in their videos' feature banks; None = the model reads none.
    """

    clips: Tensor
    rois: Tensor
    labels: Tensor
    window: BankWindow | None = field(default=None, kw_only=True)

    def to(self, device: torch.device) -> ClipBatch:
        """The same batch on `device`; does not wait if it lies in pinned memory."""
        moved = (part.to(device, non_blocking=True) for part in (self.clips, self.rois, self.labels))
        return ClipBatch(*moved, window=None if self.window is None else self.window.to(device))

    def inputs(self) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, BankWindow]:
        """What a model is called with."""
        return (self.clips, self.rois) if self.window is None else (self.clips, self.rois, self.window)

    def pin_memory(self) -> ClipBatch:
        """The same batch in page-locked memory (the name that torch's loader looks for)."""
        return ClipBatch(self.clips.pin_memory(), self.rois.pin_memory(), self.labels.pin_memory())


def collate(samples: Sequence[ClipSample]) -> ClipBatch:
    """Join samples of one size into a batch; the pixels stay channel-last in memory."""
    frames = torch.from_numpy(np.stack([sample.frames for sample in samples]))
    labels = np.concatenate([sample.labels for sample in samples]).astype(np.float32)
    rois = stack_rois([sample.boxes_px for sample in samples])
    return ClipBatch(frames.permute(0, 4, 1, 2, 3), torch.from_numpy(rois), torch.from_numpy(labels))


def stack_rois(boxes_px: Sequence[Float32Array]) -> Float32Array:
    """Boxes (N_i, 4) of each clip -> float32 (sum N_i, 5) with the clip's index in front."""
    owners = np.repeat(np.arange(len(boxes_px)), [len(boxes) for boxes in boxes_px])
    rows = [owners[:, None].astype(np.float32), np.concatenate([*boxes_px, np.zeros((0, 4), np.float32)])]
    return np.concatenate(rows, axis=1).astype(np.float32)


def gather_clips(frames: UInt8Array | Tensor, indices: Tensor) -> Tensor:
    """Frames (L, H, W, 3) of a video and indices (N, T) -> clips (N, 3, T, H, W)."""
    return torch.as_tensor(frames)[indices].permute(0, 4, 1, 2, 3)
