"""When to look for persons and actions: moments of the clock, where there are pictures.

Keyframes lie at 0, `every`, 2 `every`, ... seconds, each served by the frame nearest to it. Where frames are more than
a second apart, as in a time-lapse, a frame serves the nearest alone and not all those that nobody recorded. A video
shorter than `every` gets its middle. In a gap (`video.timestamps`) there is none; a stretch between two gaps that
would be left without one gets its last frame. Only pictures decide: not what a header says of their number or of the
end. Whatever the stamps do, the work from one frame to the next is the same.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from avadet.errors import AvadetError
from avadet.types import Frame, VideoInfo
from avadet.video.sample import nearest_indices
from avadet.video.timestamps import GAP_S, typical

if TYPE_CHECKING:
    from avadet.video.reader import Reader

_ROUNDING_S = 0.00075  # files may store times in whole milliseconds, so the end of one may seem this much later
_SAME_S = 1e-6
_NEAR_S = 0.6 * GAP_S  # every moment of a second between two frames is nearer than this to the one that serves it
_KNOWN = 8  # intervals that tell how long the last frame is on show


class Gap(NamedTuple):
    """A stretch of time of which nothing was recorded, seconds: from the end of the last frame before to the next."""

    start_s: float
    end_s: float

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end_s - self.start_s

    def is_before(self, time_s: float) -> bool:
        """Whether a moment at which there is a picture, or nearly, comes after it."""
        return (self.start_s + self.end_s) / 2 < time_s


@dataclass
class GapCount:
    """What a run is to say of gaps.

    Attributes:
        number: how many there are.
        total_s: how long they are together, seconds.
        longest: the longest of them; None = there is none.
    """

    number: int = 0
    total_s: float = 0.0
    longest: Gap | None = None

    def add(self, gap: Gap) -> None:
        """Count a gap."""
        self.number += 1
        self.total_s += gap.seconds
        if self.longest is None or gap.seconds > self.longest.seconds:
            self.longest = gap


class Seen(NamedTuple):
    """A frame and what comes after it.

    Attributes:
        frame: the frame.
        next_s: time of the next one; infinite after the last.
        interval_s: how long a frame lasts here, seconds.
        gap_after: whether the next one comes after a gap.
    """

    frame: Frame
    next_s: float
    interval_s: float
    gap_after: bool = False

    @property
    def is_last(self) -> bool:
        """Whether the video ends here."""
        return self.next_s == math.inf

    @property
    def ends(self) -> bool:
        """Whether the video or a stretch of it ends here."""
        return self.is_last or self.gap_after

    @property
    def gap(self) -> Gap:
        """The gap after it."""
        return Gap(self.frame.time_s + self.interval_s, self.next_s)

    def serves(self, time_s: float) -> bool:
        """Whether no later frame is nearer to a moment, by the rule that centres clips; the last lasts one interval."""
        if self.ends:
            return time_s <= self.frame.time_s + self.interval_s + _SAME_S
        both_s = np.array([self.frame.time_s, self.next_s])
        return time_s < self.next_s and int(nearest_indices(both_s, np.array([time_s]))[0]) == 0


def look_ahead(frames: Iterator[Frame], info: VideoInfo) -> Iterator[Seen]:
    """Give every frame once the next one is known."""
    intervals_s: deque[float] = deque(maxlen=_KNOWN)
    first_s = 1.0 / float(info.fps)
    previous = next(frames, None)
    for frame in frames:
        assert previous is not None
        if not frame.after_gap:
            intervals_s.append(frame.time_s - previous.time_s)
        yield Seen(previous, frame.time_s, typical(intervals_s) if intervals_s else first_s, frame.after_gap)
        previous = frame
    if previous is not None:
        yield Seen(previous, math.inf, typical(intervals_s) if intervals_s else first_s)


class Schedule(ABC):
    """Increasing moments that frames serve, one after the other.

    Attributes:
        next_s: the next moment, seconds; infinite after the last.
        any_taken: whether any has had its frame.
        taken_here: whether any has had its frame since the last gap.
    """

    def __init__(self) -> None:
        """Begin before the first moment."""
        self.next_s = math.inf
        self.any_taken = self.taken_here = False

    def take(self, seen: Seen) -> list[float]:
        """Take the moments, seconds, that a frame serves, and leave out those of the gap before it."""
        if seen.frame.after_gap:
            self.taken_here = False
            self._leave_out(seen.frame.time_s - seen.interval_s / 2)
        taken = self._take(seen)
        self.taken_here = self.taken_here or bool(taken)
        self.any_taken = self.any_taken or bool(taken)
        return taken

    @abstractmethod
    def _leave_out(self, until_s: float) -> None:
        """Leave out what comes before a moment."""

    @abstractmethod
    def _take(self, seen: Seen) -> list[float]:
        """Take what the frame serves."""


class Moments(Schedule):
    """Moments known beforehand, or given by a live source; of several near one frame each is served by it."""

    def __init__(self, times_s: Iterable[float]) -> None:
        """Take increasing times, seconds; the next is asked for when the last one has its frame."""
        super().__init__()
        self._times = iter(times_s)
        self._go_on()

    def _go_on(self) -> None:
        self.next_s = next(self._times, math.inf)

    def _leave_out(self, until_s: float) -> None:
        while self.next_s < until_s:
            self._go_on()

    def _take(self, seen: Seen) -> list[float]:
        taken = []
        while self.next_s < math.inf and seen.serves(self.next_s):
            taken.append(self.next_s)
            self._go_on()
        return taken


class Steps(Schedule):
    """0, `step_s`, 2 `step_s`, ...: at a frame those that are due and near it, or of those further off the nearest."""

    def __init__(self, step_s: float, at_end: bool = False) -> None:
        """Set the step, seconds, and whether a moment at the very end counts as one before it."""
        super().__init__()
        self._step_s = step_s
        self._before_end_s = -_SAME_S if at_end else _ROUNDING_S
        self._move_to(0)

    def _move_to(self, count: int) -> None:
        self._count = count
        self.next_s = count * self._step_s

    def _leave_out(self, until_s: float) -> None:
        self._move_to(max(self._count, math.ceil(until_s / self._step_s)))

    def _take(self, seen: Seen) -> list[float]:
        time_s, step_s = seen.frame.time_s, self._step_s
        last_s = time_s + seen.interval_s - self._before_end_s if seen.ends else seen.next_s
        reach_s = seen.interval_s if _NEAR_S < seen.interval_s <= GAP_S else _NEAR_S
        first = max(self._count, math.ceil((time_s - reach_s) / step_s))
        last = math.floor(min(last_s, time_s + reach_s) / step_s)
        nearest = max(self._count, min(round(time_s / step_s), math.floor(last_s / step_s)))
        for counts in (range(first, last + 1), (nearest,), (nearest - 1,)):
            due = [count for count in counts if count >= self._count and count * step_s <= last_s]
            due = [count for count in due if seen.serves(count * step_s)]
            if due:
                self._move_to(due[-1] + 1)
                return [count * step_s for count in due]
        return []


def keyframe_steps(video: Reader, every_s: float) -> Schedule:
    """The keyframes of a video at every step, or its middle if its pictures end before the first one.

    A source that can be read only once has no `pictures` to count beforehand, and gets its steps.

    Raises:
        AvadetError: if `every_s` is not a positive number of seconds.
    """
    if not (every_s > 0 and math.isfinite(every_s)):
        raise AvadetError(f"the time between keyframes must be a positive number of seconds, got {every_s}")
    if not hasattr(video, "pictures"):
        return Steps(every_s)
    times_s: list[float] = []
    for picture in video.pictures():
        times_s.append(picture.time_s)
        if picture.after_gap or picture.time_s >= every_s:
            return Steps(every_s)
    if not times_s:
        return Steps(every_s)
    intervals_s = [after - before for before, after in itertools.pairwise(times_s[-_KNOWN - 1 :])]
    end_s = times_s[-1] + (typical(intervals_s) if intervals_s else 1.0 / float(video.info.fps))
    return Steps(every_s) if end_s >= every_s - _ROUNDING_S else Moments([end_s / 2])
