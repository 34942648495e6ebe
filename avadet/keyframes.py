"""When two times are the same keyframe, for every file and every command alike, and keyframes as numbers.

A keyframe is a time. Two files rarely write it with the same digits: 0.366666, 0.366667 and 0.37 are all frame 11 of a
video with 30 frames per second. The rule:

- Two times, of one file or of two, are the same keyframe when they are nearer than half a frame of that video, 10 ms
  where its rate is not known.
- Unless the times of a file go on and on at such steps, further than that in all: then it is a fast camera's, and each
  of its times is a keyframe of its own.
- Keyframes of two files pair one to one, each with the nearest, of equally near ones the earlier. What is near to one
  that another keyframe of its file is nearer to stays a keyframe of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avadet.types import Float64Array, IntArray

UNKNOWN_RATE_S = 0.01
"""Times nearer than this are the same keyframe where the video's frame rate is not known, seconds."""

ROUNDING_S = 1e-3
"""Times of a keyframe that differ by less than this differ by rounding, seconds; that is not worth a word."""

Rates = float | Mapping[str, float] | None
"""Frames per second: of every video, of each by its name, or not known."""

_MICROSECONDS = 1e6
_FARTHEST = 1e15  # microseconds, thirty years; int64 has room for the sum of thousands of videos


def tolerance_s(fps: float | None) -> float:
    """How near two times must be to be the same keyframe: nearer than this, seconds.

    Args:
        fps: frames per second of the video; None = not known.
    """
    return UNKNOWN_RATE_S if fps is None else 0.5 / fps


@dataclass(frozen=True)
class Joined:
    """Keyframes of several tables as numbers.

    Attributes:
        numbers: of each table int64 (n,), from 0 without gaps, in order of first appearance.
        twins: times that are the same keyframe as one of their own table 1 ms before or more.
        near: keyframes that joined one of another table although their times differ by more than a microsecond.
        farthest_s: by how much at most, seconds.
        crowded: keyframes that are near enough to one of another table, but stay alone since another is nearer.
    """

    numbers: list[IntArray]
    twins: int = 0
    near: int = 0
    farthest_s: float = 0.0
    crowded: int = 0

    def notes(self, of: str = "the ground truth") -> list[str]:
        """What a reader of the numbers should know, one line each; rounding is not worth one."""
        said = []
        if self.twins:
            are = _many(
                self.twins, "time is the keyframe of another near it", "times are the keyframes of others near them"
            )
            said.append(f"{are}; their boxes count together")
        if self.near and self.farthest_s >= ROUNDING_S:
            are = _many(self.near, "keyframe is", "keyframes are")
            said.append(f"{are} up to {1000 * self.farthest_s:.3g} ms off those of {of}; they count as the same")
        if self.crowded:
            are = _many(self.crowded, "keyframe lies", "keyframes lie")
            said.append(f"{are} near one of {of} that another is nearer to; they count as keyframes of their own")
        return said


def _many(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def join_keyframes(
    tables: Sequence[tuple[NDArray[Any], Float64Array]], fps: Rates = None, reference: int = 0
) -> Joined:
    """Give every keyframe a number, the same in every table.

    Args:
        tables: of each table the video ids (n,) and the times (n,) in seconds.
        fps: frames per second of the videos.
        reference: the table whose keyframes those of the others join; then the others in order.
    """
    names: dict[str, int] = {}
    runs = [_runs(ids, times, names) for ids, times in tables]
    lengths = [len(run[0]) for run in runs]
    videos = np.concatenate([run[0] for run in runs])
    micros = np.concatenate([run[1] for run in runs])
    _, moments = np.unique(micros, return_inverse=True)
    pairs = videos * (moments.max(initial=0) + 1) + moments
    _, first, which = np.unique(pairs, return_index=True, return_inverse=True)
    limits = _limits(names, fps)
    ends = np.cumsum(lengths)[:-1]
    merge = _Merge(_spread(videos[first], micros[first], limits), limits[videos[first]])
    if _any_near(videos[first], micros[first], limits):
        parts = np.split(which, ends)
        for number in [reference, *(number for number in range(len(runs)) if number != reference)]:
            own, place = np.unique(parts[number], return_inverse=True)
            parts[number] = merge.add(own)[place]
        _, first, which = np.unique(np.concatenate(parts), return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    numbers = [np.repeat(numbers, run[2]) for numbers, run in zip(np.split(rank[which], ends), runs)]
    return Joined(numbers, merge.twins, merge.near, merge.farthest / _MICROSECONDS, merge.crowded)


def same_times(
    tables: Sequence[tuple[NDArray[Any], Float64Array]], fps: Rates = None, reference: int = 0
) -> tuple[list[Float64Array], Joined]:
    """The times of every table with one time for each keyframe: that of the reference, else that which stands first.

    Args:
        tables: of each table the video ids (n,) and the times (n,) in seconds.
        fps: frames per second of the videos.
        reference: the table whose times are taken.

    Returns:
        of each table float64 (n,) seconds; and how they were joined.
    """
    joined = join_keyframes(tables, fps, reference)
    order = [*(number for number in reversed(range(len(tables))) if number != reference), reference]
    first_s = np.zeros(1 + max((int(numbers.max(initial=-1)) for numbers in joined.numbers), default=-1))
    for number in order:  # who is written later stays: the reference, and of each table what stands first
        first_s[joined.numbers[number][::-1]] = np.asarray(tables[number][1], np.float64)[::-1]
    return [first_s[numbers] for numbers in joined.numbers], joined


def nearest(times_s: Float64Array, moments_s: Float64Array, fps: float | None = None) -> IntArray:
    """The keyframe that each moment is: its position in `times_s`, -1 = none.

    Args:
        times_s: keyframes of one video, float64 (n,) seconds, increasing.
        moments_s: float64 (m,) seconds.
        fps: frames per second of the video.

    Returns:
        int64 (m,); of two that are equally near the earlier one.
    """
    if not len(times_s):
        return np.full(len(moments_s), -1, np.int64)
    place, apart = _nearest(np.asarray(times_s, np.float64), np.asarray(moments_s, np.float64))
    return np.where(apart < tolerance_s(fps), place, -1)


def _nearest(sorted_keys: NDArray[Any], keys: NDArray[Any]) -> tuple[IntArray, NDArray[Any]]:
    """Position of the key nearest to each, of equally near ones the lower, and how far apart they are."""
    after = np.searchsorted(sorted_keys, keys).clip(1, max(len(sorted_keys) - 1, 1))
    after = np.minimum(after, len(sorted_keys) - 1)
    before = np.maximum(after - 1, 0)
    to_before, to_after = np.abs(keys - sorted_keys[before]), np.abs(sorted_keys[after] - keys)
    lower = to_before <= to_after
    return np.where(lower, before, after), np.where(lower, to_before, to_after)


def _runs(ids: NDArray[Any], times: Float64Array, names: dict[str, int]) -> tuple[IntArray, IntArray, IntArray]:
    """Video number, moment and length of each stretch of rows of one keyframe; `names` learns new videos."""
    if not len(ids):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64)
    changes = (ids[1:] != ids[:-1]) | (times[1:] != times[:-1])
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    videos = np.array([names.setdefault(str(name), len(names)) for name in ids[starts]], np.int64)
    micros = np.clip(times[starts] * _MICROSECONDS, -_FARTHEST, _FARTHEST)
    return videos, np.rint(micros).astype(np.int64), np.diff(starts, append=len(ids))


def _limits(names: Mapping[str, int], fps: Rates) -> Float64Array:
    """Of each video how near two times must be, microseconds."""
    by_name = fps if isinstance(fps, Mapping) else dict.fromkeys(names if fps is not None else (), fps)
    return np.array([tolerance_s(by_name.get(name)) * _MICROSECONDS for name in names], np.float64)


def _any_near(videos: IntArray, micros: IntArray, limits: Float64Array) -> bool:
    """Whether two of these keyframes, sorted by video and moment, are near enough to be one."""
    gaps = np.diff(micros)
    return bool(((np.diff(videos) == 0) & (gaps < limits[videos[1:]])).any())


def _spread(videos: IntArray, micros: IntArray, limits: Float64Array) -> IntArray:
    """Sorted keyframes on one axis, the videos one after the other and too far apart to be near, int64 (k,)."""
    steps = np.diff(micros, prepend=micros[:1])
    steps[np.diff(videos, prepend=videos[:1]) != 0] = 2 * int(limits.max(initial=0)) + 2
    return np.cumsum(steps)


class _Merge:
    """Joins keyframes table by table.

    Attributes:
        twins, near, farthest, crowded: as in `Joined`, microseconds.
    """

    def __init__(self, places: IntArray, limits: Float64Array) -> None:
        """Begin without a table.

        Args:
            places: int64 (k,), the keyframes of all tables, rising, on one axis in microseconds.
            limits: float64 (k,), how near a keyframe must be to each, microseconds.
        """
        self.twins, self.near, self.farthest, self.crowded = 0, 0, 0, 0
        self._places, self._limits = places, limits
        self._known = self._leaders = np.zeros(0, np.int64)

    def add(self, own: IntArray) -> IntArray:
        """Join the keyframes of a table to those of the tables before.

        Args:
            own: int64 (n,), rising: which keyframes the table has.

        Returns:
            int64 (n,), the keyframe that each one is.
        """
        group = self._groups(own)
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        becomes = own[starts]
        if len(self._known) and len(own):
            place, apart = _nearest(self._places[self._known], self._places[own])
            leaders = self._leaders[place]
            best = np.lexsort((apart, group))[starts]  # of each group the one that is nearest to a known keyframe
            leaders, apart = leaders[best], apart[best]
            order = np.lexsort((apart, leaders))
            order = order[apart[order] < self._limits[becomes[order]]]
            pairs = order[np.diff(leaders[order], prepend=-1) != 0]
            becomes[pairs] = leaders[pairs]
            moved = apart[pairs][apart[pairs] > 1]
            self.near += len(moved)
            self.farthest = max(self.farthest, int(moved.max(initial=0)))
            self.crowded += len(order) - len(pairs)
        known, leaders = np.concatenate([self._known, own]), np.concatenate([self._leaders, becomes[group]])
        self._known, first = np.unique(known, return_index=True)
        self._leaders = leaders[first]
        return np.asarray(becomes[group])

    def _groups(self, own: IntArray) -> IntArray:
        """Number the keyframes of one table from 0, int64 (n,), those that are near each other alike.

        Where they go on and on at such steps, further than what is near, each is one of its own: a fast camera.
        """
        if not len(own):
            return own
        places, limits = self._places[own], self._limits[own]
        steps = np.diff(places, prepend=places[0] - _FARTHEST)
        starts = np.flatnonzero(steps >= limits)
        sizes = np.diff(starts, append=len(own))
        brief = places[starts + sizes - 1] - places[starts] < limits[starts]
        alone = np.repeat(~brief, sizes) | (steps >= limits)
        self.twins += int(np.count_nonzero(~alone & (steps >= ROUNDING_S * _MICROSECONDS)))
        return np.cumsum(alone) - 1
