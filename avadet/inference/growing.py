"""Results that can be read while they grow, for runs that have no end of their own.

Each file grows as FILE.part, a whole line at a time, and gets its name when the stream ends. Where the program
is killed or fails, the .part stays, with everything up to then.
"""

from __future__ import annotations

from typing import Self

from avadet.files import growing_file
from avadet.inference.events import EventsSink
from avadet.inference.sinks import AvaCsvSink, JsonlSink, TextSink


class _GrowingSink(TextSink):
    """A text file that is there from the start: other sinks' lines, written out one by one."""

    def __enter__(self) -> Self:
        """Begin the file.

        Raises:
            AvadetError: if it cannot be written there.
        """
        part = self._stack.enter_context(growing_file(self._path))
        file = part.open("w", buffering=1, encoding="utf-8", errors="backslashreplace", newline="\n")
        self._file = self._stack.enter_context(file)
        return self


class GrowingAvaCsv(AvaCsvSink, _GrowingSink):
    """STEM.ava.csv that grows."""


class GrowingJsonl(JsonlSink, _GrowingSink):
    """STEM.jsonl that grows."""


class GrowingEvents(EventsSink, _GrowingSink):
    """STEM.events.csv that grows by each event that is over."""
