"""Results that can be read while they grow, for runs that have no end of their own.

Each file grows as FILE.part, a whole line at a time, and gets its name when the stream ends. Where the program
is killed or fails, the .part stays, with everything up to then.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from avadet.errors import AvadetError
from avadet.inference.events import EventsSink
from avadet.inference.sinks import AvaCsvSink, JsonlSink, TextSink


def part_of(path: Path) -> Path:
    """Where a result lies as long as it grows."""
    return path.with_name(f"{path.name}.part")


class _GrowingSink(TextSink):
    """A text file that is there from the start: other sinks' lines, written out one by one."""

    def __enter__(self) -> Self:
        """Begin the file.

        Raises:
            AvadetError: if it cannot be written there.
        """
        part = part_of(self._path)
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            self._file = part.open("w", buffering=1, encoding="utf-8", errors="backslashreplace", newline="\n")
        except OSError as error:
            raise AvadetError(f"cannot write {part}: {error.strerror}; choose a folder you may write to") from error
        self._stack.push(self._give_name)
        self._stack.enter_context(self._file)
        return self

    def _give_name(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the closed file its name; after an error or a hard stop, leave it as it is."""
        if kind is None:
            part_of(self._path).replace(self._path)


class GrowingAvaCsv(AvaCsvSink, _GrowingSink):
    """STEM.ava.csv that grows."""


class GrowingJsonl(JsonlSink, _GrowingSink):
    """STEM.jsonl that grows."""


class GrowingEvents(EventsSink, _GrowingSink):
    """STEM.events.csv that grows by each event that is over."""
