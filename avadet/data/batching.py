"""Batches of clips that are the same for the same seed, whatever the number of workers and wherever one begins."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from avadet.annotations.splits import DataVideo
from avadet.data.clips import BrokenSample, ClipDataset, KeyframeSample
from avadet.data.keyframes import Targets
from avadet.data.loader import ClipBatch, stack_rois
from avadet.data.workers import BatchLoader
from avadet.errors import AvadetError
from avadet.types import ClipSpec, IntArray, UInt8Array
from avadet.video.sample import resized_hw

Plan = Callable[[int], Sequence[IntArray]]
"""Which keyframes make each batch of an epoch."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeyframeBatch(ClipBatch):
    """A batch that knows its keyframes.

    Attributes:
        keyframes: int64 (B,), each clip's number among the targets.
        rows: int64 (R,), each RoI's row among the targets.
        broken: clips that should be in this batch and cannot be had.
        step: number of the batch in its epoch.
    """

    keyframes: Tensor
    rows: Tensor
    broken: tuple[BrokenSample, ...] = ()
    step: int = 0

    def to(self, device: torch.device) -> KeyframeBatch:
        """The same batch on `device`; does not wait if it lies in pinned memory."""
        moved = self._each(lambda part: part.to(device, non_blocking=True))
        return moved if self.window is None else replace(moved, window=self.window.to(device))

    def pin_memory(self) -> KeyframeBatch:
        """The same batch in page-locked memory (the name that torch's loader looks for)."""
        return self._each(lambda part: part.pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> KeyframeBatch:
        clips, rois, labels = change(self.clips), change(self.rois), change(self.labels)
        return KeyframeBatch(clips, rois, labels, change(self.keyframes), change(self.rows), self.broken, self.step)


def collate_clips(
    samples: Sequence[KeyframeSample | BrokenSample], num_classes: int, pad_rgb: tuple[int, int, int]
) -> KeyframeBatch:
    """Join clips into a batch.

    Clips of several sizes are padded at the right and the bottom to the largest height and width among them; boxes
    stay where they are in their clips. Only what a model sees at those edges changes, so plans that put clips of one
    size together (`batches_by_size`) give the same scores as single clips, others nearly.

    Args:
        samples: clips, and those that cannot be had.
        num_classes: K, for a batch without people.
        pad_rgb: colour of the padding, 0-255; what the model takes for zero.
    """
    whole = [sample for sample in samples if isinstance(sample, KeyframeSample)]
    labels = np.concatenate([np.zeros((0, num_classes), np.bool_), *(sample.labels for sample in whole)])
    rows = np.concatenate([np.zeros(0, np.int64), *(sample.rows for sample in whole)])
    return KeyframeBatch(
        torch.from_numpy(_stacked([sample.frames for sample in whole], pad_rgb)).permute(0, 4, 1, 2, 3),
        torch.from_numpy(stack_rois([sample.boxes_px for sample in whole])),
        torch.from_numpy(labels.astype(np.float32)),
        torch.tensor([sample.keyframe for sample in whole], dtype=torch.int64),
        torch.from_numpy(rows),
        tuple(sample for sample in samples if isinstance(sample, BrokenSample)),
    )


def _stacked(clips: Sequence[UInt8Array], pad_rgb: tuple[int, int, int]) -> UInt8Array:
    """Clips (T, h, w, 3) -> (B, T, H, W, 3)."""
    shapes = {clip.shape for clip in clips}
    if len(shapes) == 1:
        return np.stack(clips)
    most = np.max([clip.shape for clip in clips], axis=0) if clips else np.zeros(4, np.int64)
    out = np.empty((len(clips), *most[:3], 3), np.uint8)
    out[:] = pad_rgb
    for clip, target in zip(clips, out):
        target[:, : clip.shape[1], : clip.shape[2]] = clip
    return out


def shuffled_batches(length: int, batch_size: int, seed: int) -> Plan:
    """For training: every keyframe once an epoch, in an order drawn from (seed, epoch) alone.

    A last batch that is not full is left out (BatchNorm needs company).

    Raises:
        AvadetError: if there are not enough keyframes for one batch.
    """
    if length < batch_size:
        raise AvadetError(f"an epoch has {length} keyframes, fewer than a batch of {batch_size}; lower the batch size")

    def plan(epoch: int) -> list[IntArray]:
        order = np.random.default_rng((seed, epoch)).permutation(length)
        return [order[first : first + batch_size] for first in range(0, length - batch_size + 1, batch_size)]

    return plan


def batches_by_size(sizes_hw: IntArray, batch_size: int) -> Plan:
    """For testing: every keyframe once, in order, those of one clip size together; the same in every epoch.

    Args:
        sizes_hw: int64 (F, 2), size of each keyframe's clip, see `clip_sizes`.
        batch_size: clips at most.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for keyframe, (height, width) in enumerate(sizes_hw.tolist()):
        groups.setdefault((height, width), []).append(keyframe)
    batches = [
        np.array(members[first : first + batch_size], np.int64)
        for members in groups.values()
        for first in range(0, len(members), batch_size)
    ]
    return lambda epoch: batches


def clip_sizes(targets: Targets, spec: ClipSpec, threads: int = 4) -> IntArray:
    """(height, width) px of each keyframe's whole clip, int64 (F, 2), 0 for videos that cannot be read.

    Opens each video once.
    """
    used = np.unique(targets.video_rows)
    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(partial(_clip_hw, spec=spec), [targets.videos[row] for row in used]))
    sizes = np.zeros((len(targets.videos), 2), np.int64)
    sizes[used] = np.array(found, np.int64).reshape(-1, 2)
    return sizes[targets.video_rows]


def _clip_hw(video: DataVideo, spec: ClipSpec) -> tuple[int, int]:
    try:
        with video.open(threads=1) as reader:
            return resized_hw(reader.info.size_hw, spec.short_side, spec.long_side)
    except AvadetError:
        return 0, 0  # the loader says what is wrong, or skips it


class ClipLoader:
    """Batches of a data set, made in worker processes.

    Attributes:
        skipped: clips left out of the latest epoch so far.
    """

    def __init__(
        self,
        dataset: ClipDataset,
        plan: Plan,
        *,
        workers: int = 0,
        on_error: Literal["raise", "skip"] = "raise",
        pin: bool = False,
        prefetch: int = 2,
    ) -> None:
        """Start no process yet.

        Args:
            dataset: where clips come from.
            plan: which keyframes make a batch.
            workers: processes that make clips; 0 = this one does.
            on_error: a clip that cannot be had is an error ("raise"), or is left out of its batch, counted, and named
                at the epoch's end ("skip"). No other clip takes its place.
            pin: whether batches go to page-locked memory.
            prefetch: batches that each worker makes ahead.
        """
        self._plan = plan
        self._on_error = on_error
        self.skipped: list[BrokenSample] = []
        red, green, blue = (round(255 * value) for value in dataset.spec.mean)
        classes = dataset.targets.labels.shape[1]
        joined = partial(collate_clips, num_classes=classes, pad_rgb=(red, green, blue))
        self._loader = BatchLoader(dataset, joined, workers, pin=pin, prefetch=prefetch)

    def steps(self, epoch: int = 0) -> int:
        """Batches in an epoch."""
        return len(self._plan(epoch))

    def batches(self, epoch: int = 0, first_step: int = 0) -> Iterator[KeyframeBatch]:
        """The batches of an epoch from `first_step` on, in order; those without a clip are not given.

        Raises:
            AvadetError: for a clip that cannot be had, unless they are skipped.
        """
        self.skipped = []
        planned = self._plan(epoch)[first_step:]
        keys = [[(epoch, int(keyframe)) for keyframe in batch] for batch in planned]
        for step, batch in enumerate(self._loader.batches(keys), start=first_step):
            if batch.broken and self._on_error == "raise":
                raise AvadetError(f"video {batch.broken[0].video_id}: {batch.broken[0].reason}")
            self.skipped.extend(batch.broken)
            if len(batch.clips):
                yield replace(batch, step=step)
        for line in describe_skipped(self.skipped):
            _LOG.warning("epoch %d: %s", epoch, line)

    def close(self) -> None:
        """End the processes that make clips."""
        self._loader.close()


def describe_skipped(skipped: Iterable[BrokenSample]) -> list[str]:
    """One line a video: how many of its clips were left out, and why the first of them."""
    by_video: dict[str, list[BrokenSample]] = {}
    for sample in skipped:
        by_video.setdefault(sample.video_id, []).append(sample)
    return [
        f"{len(samples)} clips of {video_id} left out: {samples[0].reason}" for video_id, samples in by_video.items()
    ]
