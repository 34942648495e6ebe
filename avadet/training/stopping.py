"""Being told to stop: a run finishes its step, writes a checkpoint, and leaves."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from types import FrameType
from typing import Any, TypeVar

Item = TypeVar("Item")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def deaf_children() -> Iterator[None]:
    """Processes that the block starts hear neither SIGTERM nor Ctrl-C.

    Both usually go to a whole group of processes. Those that prepare batches must live on until the step is done that
    the run finishes; they end with the process that started them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begun_deaf(items: Iterator[Item]) -> Iterator[Item]:
    """The same items; processes that are started for the first one are `deaf_children`."""
    with deaf_children():
        first = list(islice(items, 1))
    return chain(first, items)


class Stopped(Exception):
    """A run that was told to stop, and did so in order.

    Attributes:
        code: the exit code: 128 + the signal's number.
    """

    def __init__(self, signal_number: int, message: str) -> None:
        """`message`: one line for the user."""
        super().__init__(message)
        self.code = 128 + signal_number


class StopRequests:
    """While it is entered, SIGTERM and Ctrl-C are noted instead of followed.

    The second one, and one that comes while nothing is noting (`patient` is off), is followed at once.

    Attributes:
        signal: number of the first one, 0 = none came.
        patient: whether to note.
    """

    def __init__(self) -> None:
        """Note nothing yet."""
        self.signal = 0
        self.patient = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequests:
        """Take over the signals; only the main thread may."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        """Give them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.patient and not self.signal:
            self.signal = number
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise SystemExit(128 + number)
