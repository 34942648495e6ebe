"""Where a run's batches come from: one order for all processes, micro-batches of it for each, from any step on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from avadet.data.batching import ClipBatch, ClipLoader, Plan
from avadet.data.clips import BrokenSample
from avadet.data.index import AnnotationIndex
from avadet.errors import AvadetError
from avadet.training.banks import Banks, with_window
from avadet.types import IntArray


@dataclass(frozen=True)
class Share:
    """How one step's batch is divided: first among processes, then into parts whose gradients are summed.

    Attributes:
        batch_size: clips of a step, of all processes and parts together.
        parts: of each process.
        rank: this process's number.
        processes: how many.
    """

    batch_size: int
    parts: int = 1
    rank: int = 0
    processes: int = 1

    def __post_init__(self) -> None:
        pieces = self.parts * self.processes
        if self.batch_size % pieces:
            raise AvadetError(
                f"data.batch_size {self.batch_size} cannot be divided among {self.processes} processes with "
                f"train.accumulate={self.parts}; it must be a multiple of {pieces}"
            )

    @property
    def part_size(self) -> int:
        """Clips in a part."""
        return self.batch_size // (self.parts * self.processes)

    def plan(self, samples: EpochSamples, seed: int) -> Plan:
        """The keyframes of an epoch in an order drawn from (seed, epoch) alone, this process's parts of each batch.

        A last batch that is not full is left out (BatchNorm needs company). All processes' parts of a step together
        are what one process with the same batch size sees in it.

        Raises:
            AvadetError: if there are not enough keyframes for one batch.
        """
        if len(samples) < self.batch_size:
            raise AvadetError(f"an epoch has {len(samples)} samples, fewer than data.batch_size {self.batch_size}")
        own = slice(self.rank * self.parts, (self.rank + 1) * self.parts)

        def plan(epoch: int) -> list[IntArray]:
            order = samples.order(seed, epoch)
            whole = order[: len(order) - len(order) % self.batch_size]
            return list(
                whole.reshape(-1, self.parts * self.processes, self.part_size)[:, own].reshape(-1, self.part_size)
            )

        return plan


@dataclass(frozen=True)
class EpochSamples:
    """Which keyframes an epoch has.

    Attributes:
        video_rows: int64 (F,), the video of each keyframe.
        per_video: keyframes drawn from each video in an epoch; 0 = all of them. A video with fewer gives some twice.
    """

    video_rows: IntArray
    per_video: int = 0

    def __len__(self) -> int:
        """Samples in an epoch."""
        return self.per_video * len(np.unique(self.video_rows)) if self.per_video else len(self.video_rows)

    def order(self, seed: int, epoch: int) -> IntArray:
        """Keyframes in the order of an epoch, int64 (len,), drawn from (seed, epoch) alone."""
        rng = np.random.default_rng((seed, epoch))
        if not self.per_video:
            return rng.permutation(len(self.video_rows))
        shuffled = np.lexsort((rng.random(len(self.video_rows)), self.video_rows))
        first, counts = np.unique(self.video_rows[shuffled], return_index=True, return_counts=True)[1:]
        chosen = shuffled[first[:, None] + np.arange(self.per_video) % counts[:, None]]
        return rng.permutation(chosen.reshape(-1))


@dataclass(frozen=True)
class Feed:
    """The micro-batches of a run, part by part.

    Attributes:
        loader: makes them.
        index: where their keyframes are.
        banks: of their videos; None = the model reads none.
    """

    loader: ClipLoader
    index: AnnotationIndex
    banks: Banks | None = None

    def parts(self, epoch: int, first_part: int = 0) -> Iterator[ClipBatch]:
        """The parts of an epoch from one on, in order; where every clip is skipped, a black one without boxes."""
        for part in self.loader.batches(epoch, first_part):
            yield with_window(part if len(part.clips) else self._black(part), self.index, self.banks)

    @property
    def skipped(self) -> dict[int, BrokenSample]:
        """Keyframes that could not be read so far, and why."""
        return self.loader.skipped

    def close(self) -> None:
        """End the processes that make batches."""
        self.loader.close()

    def _black(self, part: ClipBatch) -> ClipBatch:
        """A part of one clip on which nobody is, for steps that all processes take together."""
        spec, augmentation = self.loader.dataset.spec, self.loader.dataset.augmentation
        assert augmentation is not None
        clips = torch.zeros(1, 3, spec.num_frames, *augmentation.size_hw, dtype=torch.uint8)
        return replace(part, clips=clips, keyframes=torch.tensor([part.broken[0].keyframe]))
