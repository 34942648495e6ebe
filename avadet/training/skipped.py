"""The keyframes that a run left out because their clips cannot be read, listed in its folder."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from avadet.data.clips import BrokenSample
from avadet.errors import AvadetError
from avadet.files import whole_file
from avadet.training.distributed import Processes

_HEADER = ("split", "video_id", "time_s", "reason")


@dataclass
class SkippedList:
    """What was skipped so far, in all epochs and by all processes; the first one writes it whole whenever it grows.

    Attributes:
        path: CSV of split,video_id,time_s,reason.
        processes: who takes part.
        samples: by split, video and time.
    """

    path: Path
    processes: Processes
    samples: dict[tuple[str, str, float], BrokenSample] = field(default_factory=dict)

    def start(self) -> None:
        """Begin with none."""
        if self.processes.is_first:
            self.path.unlink(missing_ok=True)

    def resume(self) -> None:
        """Go on from the file, if there is one; every process must ask."""
        self.samples = self.processes.gather(self._read() if self.processes.is_first else {})[0]

    def add(self, split: str, samples: Sequence[BrokenSample]) -> list[BrokenSample]:
        """Take in what every process has skipped of a split; every process must ask.

        Returns:
            all that have been skipped of that split so far.
        """
        found = {(split, one.video_id, one.time_s): one for part in self.processes.gather(samples) for one in part}
        if found.keys() - self.samples.keys():
            self.samples |= found
            if self.processes.is_first:
                self._write()
        return [sample for key, sample in self.samples.items() if key[0] == split]

    def _write(self) -> None:
        rows = [(*key, self.samples[key].reason) for key in sorted(self.samples)]
        with whole_file(self.path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([_HEADER, *rows])

    def _read(self) -> dict[tuple[str, str, float], BrokenSample]:
        if not self.path.is_file():
            return {}
        try:
            with self.path.open(encoding="utf-8", newline="") as file:
                cells = list(csv.reader(file))[1:]
            rows = [(split, name, float(time_s), reason) for split, name, time_s, reason in cells]
        except (OSError, ValueError) as error:
            raise AvadetError(f"{self.path} cannot be read ({error}); remove it and resume once more") from error
        return {(split, name, time_s): BrokenSample(-1, name, time_s, reason) for split, name, time_s, reason in rows}
