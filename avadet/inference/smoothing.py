"""Scores made steady along a track.

x_j are the scores of one track at the keyframes t_j on which it was seen, W is the window in seconds, y_i what comes
out at t_i. Time decides, not the count of keyframes: one that missed the person takes no part and moves no weight.

- **mean**: y_i = mean of the x_j with |t_j - t_i| <= W / 2. Looks ahead, so results come up to W / 2 late.
- **ema**: y_i = sum of w_j x_j / sum of w_j over t_j <= t_i with w_j = exp(-(t_i - t_j) / (W / 2)): the exponential
  moving average of unevenly spaced values, normalised so that the first keyframe is itself. No delay. A track unseen
  for longer than FORGET_WINDOWS windows begins anew.

Both are averages with weights that sum to 1: scores stay in 0-1, and those that sum to 1 over the classes still do.
Boxes, person scores and people on no track stay as they are.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from avadet.errors import AvadetError, unknown_name
from avadet.inference.pipeline import Event
from avadet.inference.sinks import track_id_of
from avadet.types import ActionDetections, Float32Array, Float64Array

METHODS = ("mean", "ema")
WINDOW_S = 2.0
FORGET_WINDOWS = 5.0
TOLERANCE_S = 1e-6


@dataclass(frozen=True)
class Smoothing:
    """How to smooth.

    Attributes:
        method: one of METHODS.
        window_s: W, seconds. At one keyframe a second, 2 s of "mean" are a keyframe and its two neighbours.
    """

    method: str
    window_s: float = WINDOW_S

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown_name("smoothing method", self.method, METHODS)
        if not 0 < self.window_s < math.inf:
            raise AvadetError(f"the window of smoothing must be a positive number of seconds, got {self.window_s}")

    @property
    def delay_s(self) -> float:
        """How much later results come at most, seconds of video."""
        return self.window_s / 2 if self.method == "mean" else 0.0


def smoothed(
    events: Generator[Event, None, None], smoothing: Smoothing, step_s: float = 0.0
) -> Generator[Event, None, None]:
    """Smooth the scores in the events of one video.

    Args:
        events: what `pipeline.stream` yields; closed with this generator.
        smoothing: method and window.
        step_s: no two keyframes are closer than this, seconds. Where nothing more can fall into a window, its
            keyframe need not wait for the next one; 0 = not known.

    Yields:
        the same events; ActionDetections in their order with smoothed scores, perhaps later between the others, which
        pass at once. Memory is bounded by the keyframes of a window.
    """
    smoother = _Ema(smoothing.window_s) if smoothing.method == "ema" else _Mean(smoothing.window_s, step_s)
    with closing(events):
        for event in events:
            if isinstance(event, ActionDetections):
                yield from smoother.add(event)
            else:
                yield event
        yield from smoother.rest()


def _rows_of_tracks(detections: ActionDetections) -> dict[int, int]:
    """Row of each track in a keyframe; people on no track are left out."""
    tracks = [track_id_of(detections, person) for person in range(len(detections))]
    return {track: row for row, track in enumerate(tracks) if track is not None}


def _with_scores(detections: ActionDetections, of_rows: dict[int, Float64Array]) -> ActionDetections:
    """The keyframe with other scores, float64 (K,), in some of its rows."""
    scores = detections.scores.copy()
    for row, values in of_rows.items():
        scores[row] = np.clip(values, 0, 1)
    return replace(detections, scores=scores)


class _Seen(NamedTuple):
    """A keyframe, and the row of each track in it."""

    detections: ActionDetections
    rows: dict[int, int]

    @property
    def time_s(self) -> float:
        return self.detections.key.time_s


class _Mean:
    """The mean over a window that is centred on the keyframe."""

    def __init__(self, window_s: float, step_s: float) -> None:
        self._half_s = window_s / 2 + TOLERANCE_S
        self._step_s = step_s
        self._seen: deque[_Seen] = deque()
        self._waiting: deque[_Seen] = deque()

    def add(self, detections: ActionDetections) -> Iterator[ActionDetections]:
        """Take the next keyframe; give those whose windows are complete."""
        newest = _Seen(detections, _rows_of_tracks(detections))
        self._seen.append(newest)
        self._waiting.append(newest)
        next_s = newest.time_s + max(self._step_s - TOLERANCE_S, 0.0)
        while self._waiting and next_s > self._waiting[0].time_s + self._half_s:
            yield self._next()

    def rest(self) -> Iterator[ActionDetections]:
        """Give what is left at the end of the video."""
        while self._waiting:
            yield self._next()

    def _next(self) -> ActionDetections:
        middle = self._waiting.popleft()
        while self._seen[0].time_s < middle.time_s - self._half_s:
            self._seen.popleft()
        window = [one for one in self._seen if one.time_s <= middle.time_s + self._half_s]
        return _with_scores(middle.detections, {row: _mean(window, track) for track, row in middle.rows.items()})


def _mean(window: list[_Seen], track: int) -> Float64Array:
    """Mean scores, float64 (K,), of a track over the keyframes that saw it."""
    scores = [one.detections.scores[one.rows[track]] for one in window if track in one.rows]
    return np.asarray(np.mean(scores, axis=0, dtype=np.float64))


class _Running(NamedTuple):
    """Weighted sum of a track's scores, float64 (K,), sum of the weights, and the time they are for, seconds."""

    scores: Float64Array
    weight: float
    time_s: float

    def with_score(self, score: Float32Array, time_s: float, constant_s: float) -> _Running:
        """Let the past fade to `time_s`, and add a keyframe of weight 1."""
        faded = math.exp(-(time_s - self.time_s) / constant_s)
        return _Running(faded * self.scores + score, faded * self.weight + 1, time_s)


class _Ema:
    """The exponential moving average of each track's past."""

    def __init__(self, window_s: float) -> None:
        self._constant_s = window_s / 2
        self._forget_s = FORGET_WINDOWS * window_s
        self._running: dict[int, _Running] = {}

    def add(self, detections: ActionDetections) -> Iterator[ActionDetections]:
        """Take the next keyframe and give it smoothed."""
        time_s = detections.key.time_s
        self._running = {track: past for track, past in self._running.items() if time_s - past.time_s <= self._forget_s}
        averages = {}
        for track, row in _rows_of_tracks(detections).items():
            score = detections.scores[row]
            past = self._running.get(track, _Running(np.zeros(len(score)), 0.0, time_s))
            now = self._running[track] = past.with_score(score, time_s, self._constant_s)
            averages[row] = now.scores / now.weight
        yield _with_scores(detections, averages)

    def rest(self) -> Iterator[ActionDetections]:
        """Nothing waits."""
        return iter(())
