"""Being told to stop: a run finishes its step, writes a checkpoint, and leaves."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from avadet.data.processes import STOP_SIGNALS


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
    """While it is entered, SIGTERM, SIGHUP and Ctrl-C are noted instead of followed, unless the system ignores them.

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
            followed = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._note) for number in followed}
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
