"""Who does what from when to when: scores along a track become events, written as STEM.events.csv.

The rules, of which `EventRules` holds the numbers:

1. **A moment belongs to the keyframe nearest to it.** A keyframe's evidence reaches half-way to its neighbours, before
   the first and after the last keyframe to the end of the video if that is no further than the one neighbour, else as
   far as on the other side; never more than `reach_s`, never past the ends of the video. So an action seen on a single
   keyframe lasts one second at one keyframe a second.
2. **Two thresholds.** An event begins on a keyframe on which the action scores at least `threshold`, and goes on as
   long as it scores at least `leave_share * threshold`, so that a score that wavers around the threshold is one event.
   Where a person does exactly one of the classes (`LabelMap.exclusive`), only the best class of a keyframe counts,
   and events of one person never overlap.
3. **Gaps.** One keyframe on which the track is not seen does not end an event; two in a row do. A keyframe on which
   the person is seen and the score is low ends it, and so does a stretch of time that no keyframe's evidence covers,
   such as a gap of the recording (`schedule.Gap`), into which none reaches.
4. **Short events are dropped**: those under `shortest_s`, unless the beginning or the end of the video cuts them off.

The two thresholds are those of Canny's edges (1986), applied in one direction of time. People on no track have no
events.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from avadet.annotations.ava import csv_line, format_time
from avadet.errors import AvadetError
from avadet.inference.schedule import Gap
from avadet.inference.sinks import LastPicture, TextSink, track_id_of
from avadet.types import ActionDetections, BoolArray, Float32Array, Float64Array, Frame, LabelMap

COLUMNS = (
    *("video", "track_id", "action", "action_id", "group"),
    *("start_s", "end_s", "mean_score", "peak_score", "peak_s"),
)
TOLERANCE_S = 1e-6
LEVEL_TOLERANCE = 1e-7
"""Scores are float32: one that was meant to be at a threshold may lie so far below."""


@dataclass(frozen=True)
class EventRules:
    """Numbers of the rules above.

    Attributes:
        leave_share: part of the threshold under which an event ends, 0-1.
        reach_s: how far the evidence of a keyframe reaches at most, to either side, seconds.
        shortest_s: events shorter than this are dropped, seconds.
    """

    leave_share: float = 0.7
    reach_s: float = 5.0
    shortest_s: float = 0.25

    def __post_init__(self) -> None:
        if not 0 <= self.leave_share <= 1:
            raise AvadetError(f"leave_share must lie in [0, 1], got {self.leave_share}")
        if not (self.reach_s > 0 and self.shortest_s >= 0):
            raise AvadetError(
                f"reach_s must be positive and shortest_s not negative, got {self.reach_s} and {self.shortest_s}"
            )


class ActionEvent(NamedTuple):
    """One person doing one thing for a while.

    Attributes:
        video_id: the video's name.
        track_id: the person.
        class_index: row of the label map, 0-based.
        start_s: where it begins, seconds.
        end_s: where it ends, seconds.
        mean_score: mean over the keyframes on which the person was seen meanwhile, 0-1.
        peak_score: highest score, 0-1.
        peak_s: time of the first keyframe that has it, seconds.
    """

    video_id: str
    track_id: int
    class_index: int
    start_s: float
    end_s: float
    mean_score: float
    peak_score: float
    peak_s: float


class Evidence(NamedTuple):
    """What a keyframe says of events, for every threshold at once.

    Attributes:
        detections: the keyframe.
        start_s: where the time begins that belongs to it, seconds.
        end_s: where that time ends.
        rows: the row of each track in `detections`.
        lost: tracks whose events end before this keyframe, missed for too long or by a gap.
        fresh: bool (N,), whether a track begins here, or anew after it was lost.
        levels: float64 (N, K), the highest threshold at which each person is in an event of each class here; 0 on no
            track, -1 where another class excludes it.
    """

    detections: ActionDetections
    start_s: float
    end_s: float
    rows: dict[int, int]
    lost: frozenset[int]
    fresh: BoolArray
    levels: Float64Array


@dataclass
class _Track:
    """Levels float64 (K,) of a track on the last keyframe that saw it, and whether it was missed since."""

    levels: Float64Array
    missed: bool = False


class EvidenceTracker:
    """Turns keyframes into evidence as they come; what it remembers is bounded by the persons in sight.

    At threshold m a class is on where it scores m, or was on before and scores `leave_share` m. So the highest m at
    which it is on is max(score, min(the one before, score / leave_share)).
    """

    def __init__(self, labels: LabelMap, rules: EventRules | None = None) -> None:
        """Weigh scores of `labels` by `rules`."""
        self._exclusive = labels.exclusive
        self._rules = rules or EventRules()
        self._tracks: dict[int, _Track] = {}
        self._waiting: ActionDetections | None = None
        self._step_s: float | None = None
        self._covered_s = 0.0
        self._gaps: deque[Gap] = deque()

    def add(self, detections: ActionDetections) -> list[Evidence]:
        """Take the next keyframe in time; returns the evidence of the one before it."""
        known = []
        if self._waiting is not None:
            step_s = detections.key.time_s - self._waiting.key.time_s
            known = [self._evidence(self._waiting, step_s, np.inf)]
            self._step_s = step_s
        self._waiting = detections
        return known

    def gap(self, gap: Gap) -> None:
        """Take a gap before the keyframe after it is added; those before it may still be added as well."""
        self._gaps.append(gap)

    def finish(self, end_s: float) -> list[Evidence]:
        """Take the end of the video, seconds; returns the evidence of the last keyframe, if there is one."""
        last, self._waiting = self._waiting, None
        return [] if last is None else [self._evidence(last, None, max(end_s, last.key.time_s))]

    def _evidence(self, detections: ActionDetections, after_s: float | None, video_end_s: float) -> Evidence:
        """The evidence of a keyframe `after_s` before the next one; None = it is the last."""
        start_s, end_s = self._cell(detections.key.time_s, after_s, video_end_s)
        rows: dict[int, int] = {}
        for row in range(len(detections)):
            track = track_id_of(detections, row)
            if track is not None:
                rows.setdefault(track, row)
        is_gap = start_s > self._covered_s + TOLERANCE_S
        self._covered_s = end_s
        lost = {track for track, one in self._tracks.items() if is_gap or (one.missed and track not in rows)}
        self._tracks = {track: one for track, one in self._tracks.items() if track not in lost}
        for one in self._tracks.values():
            one.missed = True
        levels, fresh = np.zeros(detections.scores.shape), np.zeros(len(detections), np.bool_)
        for track, row in rows.items():
            fresh[row] = track not in self._tracks
            before = None if fresh[row] else self._tracks[track].levels
            levels[row] = self._levels(detections.scores[row], before)
            self._tracks[track] = _Track(levels[row])
        return Evidence(detections, start_s, end_s, rows, frozenset(lost), fresh, levels)

    def _levels(self, scores: Float32Array, before: Float64Array | None) -> Float64Array:
        """Levels (K,) of a person's scores (K,) after those of the keyframe before."""
        own = scores.astype(np.float64)
        if self._exclusive and len(own):
            own[np.arange(len(own)) != own.argmax()] = -1
        share = self._rules.leave_share
        limit = own / share if share else np.where(own < 0, own, np.inf)
        return own if before is None else np.maximum(own, np.minimum(before, limit))

    def _cell(self, time_s: float, after_s: float | None, video_end_s: float) -> tuple[float, float]:
        """Start and end of the time that belongs to a keyframe, seconds."""
        before_s = self._step_s
        back_s = _open_side(time_s, after_s) if before_s is None else before_s / 2
        ahead_s = _open_side(video_end_s - time_s, before_s) if after_s is None else after_s / 2
        reach_s = self._rules.reach_s
        start_s, end_s = max(time_s - min(back_s, reach_s), 0.0), min(time_s + min(ahead_s, reach_s), video_end_s)
        while self._gaps and self._gaps[0].is_before(time_s):
            start_s = max(start_s, self._gaps.popleft().end_s)
        return start_s, min(end_s, self._gaps[0].start_s) if self._gaps else end_s


@dataclass
class _Open:
    """An event that may go on; `sum` of scores over `count` keyframes."""

    start_s: float
    end_s: float
    sum: float = 0.0
    count: int = 0
    peak_score: float = -1.0
    peak_s: float = 0.0

    def add(self, end_s: float, score: float, time_s: float) -> None:
        """Go on to the end of a keyframe's time."""
        self.end_s = end_s
        self.sum, self.count = self.sum + score, self.count + 1
        if score > self.peak_score:
            self.peak_score, self.peak_s = score, time_s


class EventFinder:
    """Turns keyframes into events as they come; what it remembers is bounded by the persons in sight."""

    def __init__(self, labels: LabelMap, threshold: float, rules: EventRules | None = None) -> None:
        """Find events of `labels` that begin at scores of at least `threshold`, 0-1."""
        self._threshold = threshold
        self._rules = rules or EventRules()
        self._tracker = EvidenceTracker(labels, self._rules)
        self._open: dict[tuple[int, int], _Open] = {}

    def add(self, detections: ActionDetections) -> list[ActionEvent]:
        """Take the next keyframe in time.

        Returns:
            the events that are now known to be over, in the order of their ends. Later calls give no earlier ends.
        """
        return [event for evidence in self._tracker.add(detections) for event in self._take(evidence)]

    def gap(self, gap: Gap) -> None:
        """Take a gap before the keyframe after it is added; those before it may still be added as well."""
        self._tracker.gap(gap)

    def finish(self, end_s: float) -> list[ActionEvent]:
        """Take the end of the video, seconds.

        Returns:
            all events that are left, in the order of their ends.
        """
        over = []
        for evidence in self._tracker.finish(end_s):
            key, over = evidence.detections.key, self._take(evidence)
            left = [self._close(key.video_id, who) for who in list(self._open)]
            over += self._long_enough(left, max(end_s, key.time_s))
        return over

    def _take(self, evidence: Evidence) -> list[ActionEvent]:
        """Go on with, begin and end events by what a keyframe says."""
        key, scores, rows = evidence.detections.key, evidence.detections.scores, evidence.rows
        on = evidence.levels >= self._threshold - LEVEL_TOLERANCE
        ended = [
            (track, class_index)
            for track, class_index in self._open
            if track in evidence.lost or (track in rows and not on[rows[track], class_index])
        ]
        over = [self._close(key.video_id, who) for who in ended]
        for track, row in rows.items():
            for class_index in np.flatnonzero(on[row]).tolist():
                event = self._open.setdefault((track, class_index), _Open(evidence.start_s, evidence.end_s))
                event.add(evidence.end_s, float(scores[row, class_index]), key.time_s)
        return self._long_enough(over)

    def _close(self, video_id: str, who: tuple[int, int]) -> ActionEvent:
        event = self._open.pop(who)
        mean = event.sum / event.count
        return ActionEvent(video_id, *who, event.start_s, event.end_s, mean, event.peak_score, event.peak_s)

    def _long_enough(self, over: list[ActionEvent], video_end_s: float = np.inf) -> list[ActionEvent]:
        """Drop what is too short; order by end, then start, person and class."""
        kept = [
            event
            for event in over
            if event.end_s - event.start_s >= self._rules.shortest_s - TOLERANCE_S
            or event.start_s <= 0
            or event.end_s >= video_end_s
        ]
        return sorted(kept, key=lambda event: (event.end_s, event.start_s, event.track_id, event.class_index))


def _open_side(room_s: float, step_s: float | None) -> float:
    """How far a keyframe reaches to the side where there is no other, `room_s` of video; `step_s` on its other side."""
    return room_s if step_s is None or room_s <= step_s + TOLERANCE_S else step_s / 2


def event_row(event: ActionEvent, labels: LabelMap) -> str:
    """An event as a CSV row without line end, in the order of COLUMNS: times to a millisecond, scores to 4 decimals."""
    index = event.class_index
    times = [format_time(round(time_s, 3)) for time_s in (event.start_s, event.end_s)]
    scores = [f"{score:.4f}" for score in (event.mean_score, event.peak_score)]
    named = [labels.names[index], labels.ids[index], labels.groups[index]]
    return csv_line([event.video_id, event.track_id, *named, *times, *scores, format_time(round(event.peak_s, 3))])


class EventsSink(TextSink):
    """STEM.events.csv: a header line, then one row an event, in the order in which events end."""

    def __init__(self, path: str | Path, labels: LabelMap, threshold: float, rules: EventRules | None = None) -> None:
        """Write the events that begin at scores of at least `threshold`, 0-1, by `rules`."""
        super().__init__(path)
        self._labels = labels
        self._finder = EventFinder(labels, threshold, rules)
        self._last = LastPicture()

    def __enter__(self) -> Self:
        """Open the file under a temporary name and write the header."""
        super().__enter__()
        self._file.write(csv_line(COLUMNS) + "\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Write what is still open and finish the file; on an error or Ctrl-C, remove it."""
        with self._stack:
            if kind is None:
                self._write(self._finder.finish(self._last.end_s))
            return self._stack.pop_all().__exit__(kind, error, trace)

    def frame(self, frame: Frame) -> None:
        """Remember where the video ends."""
        self._last.add(frame)

    def gap(self, gap: Gap) -> None:
        """End events there."""
        self._finder.gap(gap)

    def keyframe(self, detections: ActionDetections) -> None:
        """Write the events that are over."""
        self._write(self._finder.add(detections))

    def _write(self, events: list[ActionEvent]) -> None:
        self._file.writelines(f"{event_row(event, self._labels)}\n" for event in events)
