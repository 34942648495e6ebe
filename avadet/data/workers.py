"""Worker processes: started deaf to signals that are meant for the run, and gone with it, however it ends.

Ctrl-C, SIGTERM and SIGHUP usually go to a whole group of processes. What they end is for the main process to say, which
may finish a step before; workers heed it alone. They end when it asks, and by themselves when it is gone.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

import cv2
import torch
from torch.utils.data import DataLoader, Sampler

from avadet.data.processes import START_S, STOP_SIGNALS, signals_blocked
from avadet.errors import AvadetError

Batch = TypeVar("Batch")
Key = TypeVar("Key")

_GRACE_S = 0.5  # for workers to end by themselves
_PARENT_S = 1.0  # between two looks for the parent
_POLL_S = 0.5


class Samples(Protocol):
    """What items are asked of by their keys."""

    def __getitem__(self, key: Any, /) -> Any:
        """The sample of a key."""


class BatchLoader(Generic[Batch]):
    """Makes batches of samples in worker processes, which live on until `close`.

    Batches come in the order asked for and do not depend on the number of workers.
    """

    def __init__(
        self,
        samples: Samples,
        collate: Callable[[Any], Batch],
        workers: int = 0,
        *,
        pin: bool = False,
        prefetch: int = 2,
    ) -> None:
        """Start no process yet.

        Args:
            samples: where samples come from.
            collate: joins a list of them into a batch.
            workers: processes; 0 = this one makes them.
            pin: whether batches go to page-locked memory.
            prefetch: batches that each worker makes ahead.
        """
        self._order = _Order()
        self._started = multiprocessing.Semaphore(0) if workers else None
        self._loader: DataLoader[Batch] = DataLoader(
            samples,  # type: ignore[arg-type]  # keys are whatever the samples know
            batch_sampler=self._order,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=pin,
            persistent_workers=workers > 0,
            prefetch_factor=prefetch if workers else None,
            worker_init_fn=_Begin(self._started) if self._started is not None else None,
            generator=torch.Generator(),  # its own, so that a run's generator does not depend on it
        )
        self._iterator: Any = None

    def batches(self, keys: Sequence[Sequence[Any]]) -> Iterator[Batch]:
        """Batches of the samples of these keys.

        Raises:
            AvadetError: if workers do not start.
            Exception: whatever a sample raises; `avadet.failures` knows what torch makes of that.
        """
        self._order.keys = keys
        with signals_blocked():
            batches = iter(self._loader)
        if self._started is not None and self._iterator is None:
            self._iterator = batches
            self._await_start()
        try:
            yield from batches
        except RuntimeError as error:
            raise with_signal(error, getattr(batches, "_workers", ())) from error

    def _await_start(self) -> None:
        assert self._started is not None
        until_s = time.monotonic() + START_S
        for _ in range(self._loader.num_workers):
            while not self._started.acquire(timeout=_POLL_S):
                if not all(worker.is_alive() for worker in self._iterator._workers):
                    raise AvadetError("a worker process that makes batches ended before it began; use fewer, or none")
                if time.monotonic() > until_s:
                    raise AvadetError(
                        f"worker processes that make batches have not started within {START_S:g} s; use fewer, or "
                        "none, and see whether the machine is overloaded"
                    )

    def close(self) -> None:
        """End the workers: those that are idle at once, others after `_GRACE_S`; nothing of them is left."""
        iterator, self._iterator = self._iterator, None
        if iterator is None:
            return
        workers: list[Any] = iterator._workers
        timer = threading.Timer(_GRACE_S, lambda: [worker.terminate() for worker in workers])
        try:
            timer.start()
        except RuntimeError:  # no memory or process table left for a thread: no grace
            for worker in workers:
                worker.terminate()
        try:
            with suppress(RuntimeError):  # torch's, of a worker that was killed meanwhile
                iterator._shutdown_workers()
        finally:
            timer.cancel()
            for worker in workers:
                if worker.is_alive():
                    worker.kill()
                    worker.join()


def with_signal(error: RuntimeError, workers: Sequence[Any]) -> RuntimeError:
    """torch's error, with the signal that ended a worker where torch noticed the end before the signal."""
    if "exited unexpectedly" not in str(error):
        return error
    for worker in workers:
        worker.join(_GRACE_S)
        if worker.exitcode is not None and worker.exitcode < 0:
            name = signal.strsignal(-worker.exitcode)
            return RuntimeError(f"DataLoader worker (pid {worker.pid}) is killed by signal: {name}. ")
    return error


class _Order(Sampler[list[Any]]):
    """The batches that the loader is to make next."""

    def __init__(self) -> None:
        self.keys: Sequence[Sequence[Any]] = []

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[list[Any]]:
        return map(list, self.keys)


class _Begin:
    """What a worker of torch's loader does first."""

    def __init__(self, started: Any) -> None:
        self._started = started

    def __call__(self, _worker: int) -> None:
        use_one_thread()
        _heed_only_the_parent()
        self._started.release()


def use_one_thread() -> None:
    """Worker processes are the parallelism; threads inside them only get in each other's way."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def _heed_only_the_parent() -> None:
    """End this process, whose `STOP_SIGNALS` are blocked, when its parent sends SIGTERM or is gone.

    At once, whatever it is doing: a worker has nothing to clean up.
    """
    parent, started_by = multiprocessing.parent_process(), os.getppid()
    assert parent is not None

    def watch() -> None:
        while os.getppid() == started_by and parent.is_alive():
            came = signal.sigtimedwait(STOP_SIGNALS, _PARENT_S)
            if came is not None and came.si_signo == signal.SIGTERM and came.si_pid == parent.pid:
                break
        os._exit(0)

    threading.Thread(target=watch, name="parent", daemon=True).start()
