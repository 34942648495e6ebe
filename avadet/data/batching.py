"""Batches of clips that are the same for the same seed, whatever the number of workers and wherever one begins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from avadet.annotations.splits import DataVideo
from avadet.data.clips import BrokenSample, ClipDataset, ClipSample
from avadet.data.index import AnnotationIndex
from avadet.data.workers import BatchLoader
from avadet.errors import AvadetError
from avadet.models.heads.lfb import BankWindow
from avadet.types import ClipSpec, Float32Array, IntArray, UInt8Array
from avadet.video.sample import resized_hw

Plan = Callable[[int], Sequence[IntArray]]
"""Which keyframes make each batch of an epoch."""

OnError = Literal["stop", "skip"]


def _none() -> Tensor:
    return torch.zeros(0, dtype=torch.int64)


@dataclass(frozen=True)
class ClipBatch:
    """What a model takes, and where it comes from: B clips, R boxes on them.

    Attributes:
        clips: uint8 (B, 3, T, H, W) RGB.
        rois: float32 (R, 5): index in the batch + xyxy px of the clip.
        labels: float32 (R, K), 0 or 1.
        keyframes: int64 (B,), each clip's number in the annotation index.
        rows: int64 (R,), each RoI's row in the annotation index.
        broken: clips that should be in this batch and cannot be had.
        window: what the clips may look up in their videos' feature banks; None = the model reads none.
    """

    clips: Tensor
    rois: Tensor
    labels: Tensor
    keyframes: Tensor = field(default_factory=_none)
    rows: Tensor = field(default_factory=_none)
    broken: tuple[BrokenSample, ...] = ()
    window: BankWindow | None = None

    def inputs(self) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, BankWindow]:
        """What a model is called with."""
        return (self.clips, self.rois) if self.window is None else (self.clips, self.rois, self.window)

    def to(self, device: torch.device) -> ClipBatch:
        """The same batch on `device`; does not wait if it lies in pinned memory."""
        moved = self._each(lambda tensor: tensor.to(device, non_blocking=True))
        return moved if self.window is None else replace(moved, window=self.window.to(device))

    def pin_memory(self) -> ClipBatch:
        """The same batch in page-locked memory (the name that torch's loader looks for)."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> ClipBatch:
        tensors = (self.clips, self.rois, self.labels, self.keyframes, self.rows)
        clips, rois, labels, keyframes, rows = map(change, tensors)
        return ClipBatch(clips, rois, labels, keyframes, rows, self.broken, self.window)


def collate_clips(
    samples: Sequence[ClipSample | BrokenSample], num_classes: int, pad_rgb: tuple[int, int, int]
) -> ClipBatch:
    """Join clips into a batch.

    Clips of several sizes are padded at the right and the bottom to the largest height and width among them; boxes
    stay where they are in their clips. Only what a model sees at those edges changes, so plans that put clips of one
    size together (`batches_by_size`) give the same scores as single clips, others nearly.

    Args:
        samples: clips, and those that cannot be had.
        num_classes: K, for a batch without people.
        pad_rgb: colour of the padding, 0-255; what the model takes for zero.
    """
    whole = [sample for sample in samples if isinstance(sample, ClipSample)]
    labels = np.concatenate([np.zeros((0, num_classes), np.bool_), *(sample.labels for sample in whole)])
    rows = np.concatenate([np.zeros(0, np.int64), *(sample.rows for sample in whole)])
    return ClipBatch(
        torch.from_numpy(_stacked([sample.frames for sample in whole], pad_rgb)).permute(0, 4, 1, 2, 3),
        torch.from_numpy(stack_rois([sample.boxes_px for sample in whole])),
        torch.from_numpy(labels.astype(np.float32)),
        torch.tensor([sample.keyframe for sample in whole], dtype=torch.int64),
        torch.from_numpy(rows),
        tuple(sample for sample in samples if isinstance(sample, BrokenSample)),
    )


def stack_rois(boxes_px: Sequence[Float32Array]) -> Float32Array:
    """Boxes (N_i, 4) of each clip -> float32 (sum N_i, 5) with the clip's index in front."""
    owners = np.repeat(np.arange(len(boxes_px)), [len(boxes) for boxes in boxes_px])
    rows = [owners[:, None].astype(np.float32), np.concatenate([*boxes_px, np.zeros((0, 4), np.float32)])]
    return np.concatenate(rows, axis=1).astype(np.float32)


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


def clip_sizes(index: AnnotationIndex, spec: ClipSpec) -> IntArray:
    """(height, width) px of each keyframe's whole clip, int64 (F, 2), 0 for videos that cannot be read."""
    sizes, which = np.unique(frame_sizes(index), axis=0, return_inverse=True)
    resized = [resized_hw(size, spec.short_side, spec.long_side) if min(size) else size for size in sizes.tolist()]
    return np.array(resized, np.int64).reshape(-1, 2)[which.reshape(-1)]


def frame_sizes(index: AnnotationIndex, threads: int = 4) -> IntArray:
    """(height, width) px of each keyframe's video, int64 (F, 2), 0 for videos that cannot be read.

    Opens each video once.
    """
    used = np.unique(index.video_rows)
    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(_frame_hw, [index.videos[row] for row in used]))
    sizes = np.zeros((len(index.videos), 2), np.int64)
    sizes[used] = np.array(found, np.int64).reshape(-1, 2)
    return sizes[index.video_rows]


def _frame_hw(video: DataVideo) -> tuple[int, int]:
    try:
        with video.open(threads=1) as reader:
            return reader.info.size_hw
    except AvadetError:
        return 0, 0  # the loader says what is wrong, or skips it


class ClipLoader:
    """Batches of a data set, made in worker processes.

    Attributes:
        skipped: keyframes left out so far, and why.
    """

    def __init__(
        self,
        dataset: ClipDataset,
        plan: Plan,
        *,
        workers: int = 0,
        on_error: OnError = "stop",
        max_skipped: float = 1.0,
        pin: bool = False,
        prefetch: int = 2,
    ) -> None:
        """Start no process yet.

        Args:
            dataset: where clips come from.
            plan: which keyframes make a batch.
            workers: processes that make clips; 0 = this one does.
            on_error: a clip that cannot be had is an error ("stop"), or is left out of its batch and noted in `skipped`
                ("skip"). No other clip takes its place.
            max_skipped: share of the data set's keyframes that may be skipped; more are an error.
            pin: whether batches go to page-locked memory.
            prefetch: batches that each worker makes ahead.
        """
        self.dataset = dataset
        self.skipped: dict[int, BrokenSample] = {}
        self._plan = plan
        self._on_error = on_error
        self._max_skipped = max_skipped
        red, green, blue = (round(255 * value) for value in dataset.spec.mean)
        classes = dataset.index.labels.shape[1]
        joined = partial(collate_clips, num_classes=classes, pad_rgb=(red, green, blue))
        self._loader = BatchLoader(dataset, joined, workers, pin=pin, prefetch=prefetch)

    def batches(self, epoch: int = 0, first_batch: int = 0) -> Iterator[ClipBatch]:
        """The batches of an epoch from one on, in order; one of which every clip is skipped has none.

        Raises:
            AvadetError: for a clip that cannot be had, unless they are skipped; for too many that are.
        """
        planned = self._plan(epoch)[first_batch:]
        for batch in self._loader.batches([[(epoch, int(keyframe)) for keyframe in one] for one in planned]):
            if batch.broken:
                self._note(batch.broken)
            yield batch

    def _note(self, broken: Sequence[BrokenSample]) -> None:
        if self._on_error == "stop":
            first = broken[0]
            raise AvadetError(
                f"video {first.video_id}: {first.reason} (data.on_error=skip, or `avadet test --on-error skip`, leaves "
                "such clips out)"
            )
        self.skipped |= {sample.keyframe: sample for sample in broken}
        check_skipped(list(self.skipped.values()), len(self.dataset), self._max_skipped)

    def close(self) -> None:
        """End the processes that make clips; close the files that this one has open."""
        try:
            self._loader.close()
        finally:
            self.dataset.close()


def check_skipped(skipped: Sequence[BrokenSample], keyframes: int, max_skipped: float) -> None:
    """Raise AvadetError if more than a share of a data set's keyframes is skipped."""
    if len(skipped) > max_skipped * keyframes:
        raise AvadetError(
            f"{len(skipped)} of {keyframes} keyframes cannot be read, more than data.max_skipped={max_skipped:g} "
            f"allows; {'; '.join(describe_skipped(skipped)[:3])}; see `avadet data check --deep`, or allow more"
        )


def describe_skipped(skipped: Iterable[BrokenSample]) -> list[str]:
    """One line a video: how many of its clips were left out, and why the first of them."""
    by_video: dict[str, list[BrokenSample]] = {}
    for sample in skipped:
        by_video.setdefault(sample.video_id, []).append(sample)
    return [
        f"{len(samples)} clips of {video_id} left out: {samples[0].reason}" for video_id, samples in by_video.items()
    ]
