"""Where a run's batches come from: one order for all processes, parts of it for each, from any step on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from avadet.data.dataset import SampleKey
from avadet.data.loader import ClipBatch, collate, use_one_thread
from avadet.errors import AvadetError
from avadet.training.stopping import deaf_children
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


class Samples(Protocol):
    """A data set whose items are asked for by (epoch, index)."""

    def __len__(self) -> int:
        """Samples in an epoch."""

    def __getitem__(self, key: SampleKey) -> object:
        """The sample of (epoch, index)."""


class Feed(Protocol):
    """Batches of a run, part by part."""

    def parts(self, epoch: int, first_part: int = 0) -> Iterator[ClipBatch]:
        """The parts of an epoch from one on, in order."""

    def indices(self, epoch: int, part: int) -> IntArray:
        """Which samples make a part."""


@dataclass
class _Order(Sampler[list[SampleKey]]):
    """The parts that the loader is to make next."""

    parts: list[list[SampleKey]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        return iter(self.parts)


class SampleFeed:
    """Parts made from samples of one size, in worker processes."""

    def __init__(self, samples: Samples, plan: Plan, workers: int = 0, pin: bool = False) -> None:
        """Start no process yet.

        Args:
            samples: where clips come from.
            plan: which of them make a part.
            workers: processes that make them; 0 = this one does.
            pin: whether parts go to page-locked memory.
        """
        self._plan = plan
        self._order = _Order()
        self._loader: DataLoader[ClipBatch] = DataLoader(
            samples,  # type: ignore[arg-type]  # keys are (epoch, index) pairs
            batch_sampler=self._order,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=pin,
            persistent_workers=workers > 0,
            prefetch_factor=4 if workers else None,
            worker_init_fn=use_one_thread if workers else None,
            generator=torch.Generator(),  # its own: the run's must not depend on workers, nor on where it was resumed
        )

    def parts(self, epoch: int, first_part: int = 0) -> Iterator[ClipBatch]:
        """The parts of an epoch from one on, in order."""
        planned = self._plan(epoch)[first_part:]
        self._order.parts = [[(epoch, int(index)) for index in part] for part in planned]
        with deaf_children():
            parts = iter(self._loader)
        yield from parts

    def indices(self, epoch: int, part: int) -> IntArray:
        """Which samples make a part."""
        return self._plan(epoch)[part]
