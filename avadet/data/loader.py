"""From samples to batches: order, worker processes, collation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from avadet.data.dataset import ClipSample, KeyframeDataset, SampleKey
from avadet.models.lfb import BankWindow
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


class EpochSampler(Sampler[SampleKey]):
    """Every (epoch, index) of an epoch once, in an order that depends on seed and epoch alone.

    The epoch travels in the key, so worker processes that live on from epoch to epoch need not be told of it.
    """

    def __init__(self, length: int, seed: int) -> None:
        """Start at epoch 0; set `epoch` before each pass."""
        self._length = length
        self._seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        """Keys in an epoch."""
        return self._length

    def __iter__(self) -> Iterator[SampleKey]:
        """The keys of the current epoch."""
        order = np.random.default_rng((self._seed, self.epoch)).permutation(self._length)
        return iter([(self.epoch, int(index)) for index in order])


def train_loader(
    dataset: KeyframeDataset, sampler: EpochSampler, batch_size: int, workers: int, pin: bool = False
) -> DataLoader[ClipBatch]:
    """Batches of one epoch at a time; a last batch that is not full is left out (BatchNorm needs company)."""
    return DataLoader(
        dataset,  # type: ignore[arg-type]  # keys are (epoch, index) pairs
        batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        drop_last=True,
        pin_memory=pin,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        worker_init_fn=use_one_thread if workers else None,
    )


def use_one_thread(_worker: int) -> None:
    """Worker processes are the parallelism; threads inside them only get in each other's way."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
