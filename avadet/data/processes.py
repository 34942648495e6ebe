"""Jobs in processes of their own, such that one that is killed costs its job and no other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Generic, NoReturn, TypeVar

from avadet.errors import AvadetError

Task = TypeVar("Task")
Result = TypeVar("Result")

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What tells a run to stop."""

START_S = 120.0
"""Seconds in which a worker must have started; one that has not hangs."""

_READY = "ready"
_GRACE_S = 5.0  # for a process to clean up behind itself
_POLL_S = 1.0


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Processes that the block starts have `STOP_SIGNALS` blocked; one that comes to this process waits for its end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class ProcessDied(Exception):
    """What came of a task whose process was killed or crashed; says how it ended."""


def outcomes(
    work: Callable[[Task], Result], tasks: Sequence[Task], processes: int
) -> Generator[tuple[Task, Result | ProcessDied], None, None]:
    """Do tasks in processes that start anew (no fork: decoder threads do not survive one), as they finish.

    When this generator is closed, or an error or signal ends it, the processes clean up behind themselves and end;
    likewise when this process is gone. Signals are for this process to heed; those it starts heed SIGTERM alone.

    Args:
        work: what to do; it and the tasks are pickled.
        tasks: what to do it with.
        processes: how many tasks at a time.

    Yields:
        a task and what came of it.

    Raises:
        AvadetError: if a process does not start.
    """
    waiting, running = deque(tasks), list[_Process[Task, Result]]()
    try:
        while waiting or any(process.is_busy for process in running):
            while len(running) < min(processes, len(running) + len(waiting)):
                running.append(_Process(work))
            for process in running:
                if process.is_idle and waiting:
                    process.give(waiting.popleft())
            for process in _changed(running):
                task, outcome = process.take()
                if isinstance(outcome, ProcessDied):
                    running.remove(process)
                    process.end()
                if task is not None and outcome is not None:
                    yield task, outcome
    finally:
        for process in running:
            process.ask_to_end()
        for process in running:
            process.end()


class _Process(Generic[Task, Result]):
    """A process that waits for tasks."""

    def __init__(self, work: Callable[[Task], Result]) -> None:
        """Start it."""
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, work), daemon=True)
        self._task: Task | None = None
        self._is_ready = False
        self._until_s = time.monotonic() + START_S
        resource_tracker.ensure_running()  # with the first process, else, which would begin with signals unblocked
        try:
            with signals_blocked():
                self._process.start()
        finally:
            other.close()

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a task."""
        return self._is_ready and self._task is None

    @property
    def is_busy(self) -> bool:
        """Whether it has a task in hand."""
        return self._task is not None

    def check_start(self) -> None:
        """Raise AvadetError if it hangs as it starts."""
        if not self._is_ready and time.monotonic() > self._until_s:
            raise AvadetError(f"a worker process has not started within {START_S:g} s; use fewer workers, or one")

    def give(self, task: Task) -> None:
        """Hand it a task; where it has died meanwhile, `take` says so."""
        self._task = task
        with suppress(OSError):
            self.connection.send(task)

    def take(self) -> tuple[Task | None, Result | ProcessDied | None]:
        """Its task and what came of it, after it has changed; (None, None) if it has become ready.

        Raises:
            AvadetError: if it ended before it was ready.
        """
        try:
            said = self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            how = _ending(self._process.exitcode)
            if not self._is_ready:
                raise AvadetError(f"a worker process {how} as it started; use fewer workers, or one") from None
            return self._task, ProcessDied(f"its process {how}")
        task, self._task = self._task, None
        if not self._is_ready:
            self._is_ready = True
            return None, None
        return task, said

    def ask_to_end(self) -> None:
        """Let it end, after it has cleaned up if it is at work."""
        self.connection.close()
        if not self._is_ready:
            self._process.kill()  # it has nothing to clean up yet, and heeds nothing else
        elif self.is_busy:
            self._process.terminate()

    def end(self) -> None:
        """Wait for its end, which is forced if need be."""
        self._process.join(_GRACE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _changed(running: Sequence[_Process[Task, Result]]) -> list[_Process[Task, Result]]:
    """The processes that have something to say, or have died."""
    ready = wait([process.connection for process in running], _POLL_S)
    for process in running:
        process.check_start()
    return [process for process in running if process.connection in ready]


def _ending(code: int | None) -> str:
    """How a process ended, by its exit code."""
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name
    return f"was killed ({name}{', perhaps because memory ran out' if -code == signal.SIGKILL else ''})"


def _serve(connection: Connection, work: Callable[[Task], Result]) -> None:
    """Do tasks as they come, until no more can."""
    for number in STOP_SIGNALS:
        signal.signal(number, _clean_up if number == signal.SIGTERM else signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    with suppress(EOFError, OSError):
        connection.send(_READY)
        while True:
            connection.send(work(connection.recv()))


def _clean_up(number: int, frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
