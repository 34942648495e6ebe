"""The processes of a run: one, or as many as `torchrun` started, on one machine or several."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist

from avadet.errors import AvadetError

T = TypeVar("T")

_SET_BY_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
_PATIENCE = timedelta(hours=2)  # the others wait while the first process writes, or scores longer than they


@dataclass(frozen=True)
class Processes:
    """Who takes part in a run.

    Attributes:
        rank: this process's number.
        count: of all of them.
        local_rank: its number among those of this machine, which names its GPU.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """The device of this process where the run asks for `name`: with several processes a GPU each."""
        if self.count == 1 or name.startswith("cpu") or not torch.cuda.is_available():
            return name
        if name not in ("auto", "cuda"):
            raise AvadetError(f"device {name} is one for all {self.count} processes; use device=cuda, a GPU each")
        return f"cuda:{self.local_rank}"

    def total(self, values: Tensor) -> Tensor:
        """The sum of all processes' values; every process must ask."""
        if self.count == 1:
            return values
        summed = values.detach().clone()
        dist.all_reduce(summed)
        return summed

    def gather(self, item: T) -> list[T]:
        """Every process's item, in the order of ranks; anything that pickles."""
        if self.count == 1:
            return [item]
        items: list[Any] = [None] * self.count
        dist.all_gather_object(items, item)
        return items

    def copy_from_first(self, module: nn.Module) -> None:
        """Give every process the buffers of the first one's module."""
        if self.count > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, 0)


@contextmanager
def joined_processes(device: str) -> Iterator[Processes]:
    """Join the processes that `torchrun` started, for as long as the block runs; one process by itself otherwise.

    They talk over nccl on GPUs, over gloo on CPUs.

    Args:
        device: the run's.
    """
    if not set(_SET_BY_TORCHRUN) <= os.environ.keys():
        yield Processes()
        return
    processes = Processes(*(int(os.environ[name]) for name in _SET_BY_TORCHRUN))
    on_gpu = torch.cuda.is_available() and not device.startswith("cpu")
    if on_gpu:
        torch.cuda.set_device(processes.local_rank)
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=_PATIENCE)
    try:
        yield processes
    finally:
        dist.destroy_process_group()
