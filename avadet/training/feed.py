"""Where a run's batches come from: one order for all processes, parts of it for each, from any step on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from avadet.data.loader import ClipBatch, collate
from avadet.data.workers import BatchLoader, Samples
from avadet.errors import AvadetError
from avadet.types import IntArray

Plan = Callable[[int], Sequence[IntArray]]
"""Which samples make each part of an epoch's batches, one process's parts in order."""


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

    def plan(self, length: int, seed: int) -> Plan:
        """Every sample once an epoch, in an order drawn from (seed, epoch) alone, this process's parts of each batch.

        A last batch that is not full is left out (BatchNorm needs company). All processes' parts of a step together
        are what one process with the same batch size sees in it.

        Raises:
            AvadetError: if there are not enough samples for one batch.
        """
        if length < self.batch_size:
            raise AvadetError(f"an epoch has {length} samples, fewer than data.batch_size {self.batch_size}")
        own = slice(self.rank * self.parts, (self.rank + 1) * self.parts)

        def plan(epoch: int) -> list[IntArray]:
            order = np.random.default_rng((seed, epoch)).permutation(length)
            whole = order[: length - length % self.batch_size]
            return list(
                whole.reshape(-1, self.parts * self.processes, self.part_size)[:, own].reshape(-1, self.part_size)
            )

        return plan


class Feed(Protocol):
    """Batches of a run, part by part."""

    def parts(self, epoch: int, first_part: int = 0) -> Iterator[ClipBatch]:
        """The parts of an epoch from one on, in order."""

    def indices(self, epoch: int, part: int) -> IntArray:
        """Which samples make a part."""

    def close(self) -> None:
        """End the processes that make batches."""


class SampleFeed:
    """Parts made from samples of one size, in worker processes."""

    def __init__(self, samples: Samples, plan: Plan, workers: int = 0, pin: bool = False) -> None:
        """Start no process yet.

        Args:
            samples: where clips come from, by (epoch, index).
            plan: which of them make a part.
            workers: processes that make them; 0 = this one does.
            pin: whether parts go to page-locked memory.
        """
        self._plan = plan
        self._loader = BatchLoader(samples, collate, workers, pin=pin, prefetch=4)

    def parts(self, epoch: int, first_part: int = 0) -> Iterator[ClipBatch]:
        """The parts of an epoch from one on, in order."""
        planned = self._plan(epoch)[first_part:]
        return self._loader.batches([[(epoch, int(index)) for index in part] for part in planned])

    def indices(self, epoch: int, part: int) -> IntArray:
        """Which samples make a part."""
        return self._plan(epoch)[part]

    def close(self) -> None:
        """End the processes that make batches."""
        self._loader.close()
