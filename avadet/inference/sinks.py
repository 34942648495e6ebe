"""Where results go: each sink takes the events of one video and writes one file, whole or not at all."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TextIO

import numpy as np

from avadet import boxes
from avadet.annotations.ava import detection_rows
from avadet.files import whole_file
from avadet.inference.pipeline import Event, TrackedPersons
from avadet.inference.schedule import Gap
from avadet.models.predict import final_scores
from avadet.types import ActionDetections, Float32Array, Frame, LabelMap

AVA_CSV_FLOOR = 0.002
"""Lowest score in an AVA csv. Average precision gains from weak detections, so the floor is far below any threshold
for people to read; the value is the one that mmaction2 uses for AVA."""


class Action(NamedTuple):
    """One class that a person was found to be doing."""

    name: str
    id: int
    group: str
    score: float


def named_actions(scores: Float32Array, labels: LabelMap, threshold: float) -> list[Action]:
    """Name the classes of one person that reach a threshold.

    Args:
        scores: float32 (K,) 0-1, in the order of `labels`.
        labels: the model's classes.
        threshold: lowest score, inclusive.

    Returns:
        the actions, best first; equal scores in the order of `labels`.
    """
    order = np.argsort(-scores, kind="stable")
    return [
        Action(labels.names[index], labels.ids[index], labels.groups[index], float(scores[index]))
        for index in order.tolist()
        if scores[index] >= threshold
    ]


class Sink(AbstractContextManager["Sink"]):
    """Takes the events of one video. What a sink does not care about, it ignores."""

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """End; on an error or Ctrl-C, drop everything."""
        return None

    def frame(self, frame: Frame) -> None:
        """Take the next frame."""

    def persons(self, tracked: TrackedPersons) -> None:
        """Take the people of the frame that came last."""

    def keyframe(self, detections: ActionDetections) -> None:
        """Take the next keyframe's results."""

    def gap(self, gap: Gap) -> None:
        """Take the gap after the frame that came last; results of keyframes before it may still come."""


class LastPicture:
    """Until when the last frame so far is on show: as long as the one before it, seconds."""

    def __init__(self, first_s: float = 0.0) -> None:
        """Let a single frame last for `first_s` seconds."""
        self._interval_s = first_s
        self._time_s: float | None = None

    @property
    def end_s(self) -> float:
        """The end, seconds; 0.0 before the first frame."""
        return 0.0 if self._time_s is None else self._time_s + self._interval_s

    def add(self, frame: Frame) -> None:
        """Take the next frame."""
        if self._time_s is not None and not frame.after_gap:
            self._interval_s = frame.time_s - self._time_s
        self._time_s = frame.time_s


def feed(events: Iterable[Event], sinks: Sequence[Sink]) -> Iterator[Event]:
    """Hand every event to every sink, then pass it on."""
    for event in events:
        for sink in sinks:
            if isinstance(event, Frame):
                sink.frame(event)
            elif isinstance(event, TrackedPersons):
                sink.persons(event)
            elif isinstance(event, Gap):
                sink.gap(event)
            else:
                sink.keyframe(event)
        yield event


class TextSink(Sink):
    """A UTF-8 text file under a temporary name until the video is done.

    Bytes of a file name that are no text come out as backslash escapes, as JSON has them.
    """

    def __init__(self, path: str | Path) -> None:
        """Write to `path`; the file is opened when the block is entered."""
        self._path = Path(path)
        self._stack = ExitStack()
        self._file: TextIO

    def __enter__(self) -> Self:
        partial = self._stack.enter_context(whole_file(self._path))
        self._file = self._stack.enter_context(
            partial.open("w", encoding="utf-8", errors="backslashreplace", newline="\n")
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)


class AvaCsvSink(TextSink):
    """STEM.ava.csv, the AVA detection format: video_id, seconds, x1, y1, x2, y2 (0-1), action_id, score.

    Where a person does exactly one of the classes, the class scores of a box sum to 1 whatever is in it, so they are
    multiplied by the score of the person unless `times_person` says otherwise.
    """

    def __init__(
        self, path: str | Path, labels: LabelMap, floor: float = AVA_CSV_FLOOR, times_person: bool | None = None
    ) -> None:
        """Write every class of every person that scores at least `floor`, 0-1.

        Args:
            path: of the file.
            labels: the classes.
            floor: see above; of the score that is written.
            times_person: whether that is the action's times the person's; None = if the classes exclude each other.
        """
        super().__init__(path)
        self._labels = labels
        self._floor = floor
        self._times_person = labels.exclusive if times_person is None else times_person

    def keyframe(self, detections: ActionDetections) -> None:
        """Write one row per person and class."""
        scores = final_scores(detections.scores, detections.person_scores, self._times_person)
        detections = dataclasses.replace(detections, scores=scores)
        self._file.writelines(f"{row}\n" for row in detection_rows(detections, self._labels, self._floor))


class JsonlSink(TextSink):
    """STEM.jsonl: one JSON object a line, one line a person and keyframe."""

    def __init__(self, path: str | Path, labels: LabelMap, threshold: float) -> None:
        """Write of every person the actions that score at least `threshold`, 0-1."""
        super().__init__(path)
        self._labels = labels
        self._threshold = threshold

    def keyframe(self, detections: ActionDetections) -> None:
        """Write one line per person."""
        for person in range(len(detections)):
            record = person_record(detections, person, self._labels, self._threshold)
            self._file.write(json.dumps(record, ensure_ascii=False) + "\n")


def person_record(detections: ActionDetections, person: int, labels: LabelMap, threshold: float) -> dict[str, object]:
    """Everything that was found of one person at one keyframe, ready for JSON.

    Returns:
        video: str; time_s: seconds; track_id: int, or None off any track; person_score: 0-1; box_px: xyxy pixels to
        a tenth; box_norm: xyxy 0-1; actions: those over the threshold, best first, each with name, id (the data
        set's own), group and score. Scores carry 4 decimals, box_norm 6.
    """
    box_norm = detections.boxes_norm[person]
    box_px = boxes.to_px(box_norm[None], detections.size_hw)[0]
    actions = named_actions(detections.scores[person], labels, threshold)
    return {
        "video": detections.key.video_id,
        "time_s": detections.key.time_s,
        "track_id": track_id_of(detections, person),
        "person_score": round(float(detections.person_scores[person]), 4),
        "box_px": [round(float(value), 1) for value in box_px],
        "box_norm": [round(float(value), 6) for value in box_norm],
        "actions": [action._replace(score=round(action.score, 4))._asdict() for action in actions],
    }


def track_id_of(detections: ActionDetections, person: int) -> int | None:
    """The track of a person, None off any track."""
    if detections.track_ids is None or detections.track_ids[person] < 0:
        return None
    return int(detections.track_ids[person])
