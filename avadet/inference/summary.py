"""What a person wants to read at the end: who did what, from when to when."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from avadet.inference.person_count import PersonCount
from avadet.inference.schedule import Gap, GapCount
from avadet.inference.sinks import Sink, named_actions, track_id_of
from avadet.types import ActionDetections, Frame, LabelMap


@dataclass
class Span:
    """A stretch of keyframes on which a person's best action stayed the same.

    Attributes:
        action: name of the class, "" where none reached the threshold.
        start_s: time of the first keyframe, seconds.
        end_s: time of the last keyframe, seconds.
        best_score: highest score in between, 0-1.
    """

    action: str
    start_s: float
    end_s: float
    best_score: float


@dataclass
class Summary(Sink):
    """Counts, and per track the best action over time. Writes no file.

    Attributes:
        labels: the model's classes.
        threshold: lowest score of an action that counts.
        end_s: time of the last frame seen, seconds.
        gaps: of the recording.
        num_frames: frames seen.
        num_keyframes: keyframes seen.
        people: how many there are.
        spans: per track id the stretches, in order of time. People off any track have none.
    """

    labels: LabelMap
    threshold: float
    end_s: float = 0.0
    num_frames: int = 0
    num_keyframes: int = 0
    people: PersonCount = field(default_factory=PersonCount)
    spans: dict[int, list[Span]] = field(default_factory=dict)
    gaps: GapCount = field(default_factory=GapCount)
    _last_seen_s: dict[int, float] = field(default_factory=dict)
    _gaps: deque[Gap] = field(default_factory=deque)
    _last_keyframe_s: float = -1.0

    @property
    def recorded_s(self) -> float:
        """Time of the last frame seen less the gaps before it, seconds."""
        return self.end_s - self.gaps.total_s

    def frame(self, frame: Frame) -> None:
        """Count."""
        self.end_s = frame.time_s
        self.num_frames += 1

    def keyframe(self, detections: ActionDetections) -> None:
        """Lengthen or begin the stretch of every person."""
        time_s = detections.key.time_s
        while self._gaps and self._gaps[0].is_before(time_s):
            self._gaps.popleft()
            self._last_seen_s.clear()
        self.num_keyframes += 1
        self.people.add(detections)
        for person in range(len(detections)):
            track = track_id_of(detections, person)
            actions = named_actions(detections.scores[person], self.labels, self.threshold)
            if track is not None:
                self._extend(track, time_s, *((actions[0].name, actions[0].score) if actions else ("", 0.0)))
        self._last_keyframe_s = time_s

    def gap(self, gap: Gap) -> None:
        """Count, and end every stretch."""
        self.gaps.add(gap)
        self._gaps.append(gap)

    def _extend(self, track: int, time_s: float, action: str, score: float) -> None:
        spans = self.spans.setdefault(track, [])
        unbroken = self._last_seen_s.get(track) in (self._last_keyframe_s, time_s)
        self._last_seen_s[track] = time_s
        if spans and unbroken and spans[-1].action == action:
            spans[-1].end_s = time_s
            spans[-1].best_score = max(spans[-1].best_score, score)
        else:
            spans.append(Span(action, time_s, time_s, score))
