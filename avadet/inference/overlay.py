"""The annotated video: boxes that follow people between detections, with what each one is doing."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from avadet import boxes
from avadet.inference.pipeline import TrackedPersons
from avadet.inference.schedule import Gap
from avadet.inference.sinks import Sink, named_actions
from avadet.types import ActionDetections, Float32Array, Frame, IntArray, LabelMap, PersonBoxes, VideoInfo
from avadet.video.draw import draw_people
from avadet.video.write import VideoWriter

MAX_ACTIONS = 3
MAX_HELD_BYTES = 512 * 2**20
SAME_PERSON_IOU = 0.5
NO_TRACK = -1


class Drawn(NamedTuple):
    """People to draw into one frame: boxes_px float32 (N, 4) xyxy pixels, track_ids int64 (N,), -1 = none."""

    boxes_px: Float32Array
    track_ids: IntArray


@dataclass(frozen=True)
class OverlayTiming:
    """How far apart in time things may lie and still belong together, seconds.

    Attributes:
        wait_s: a frame waits this long for detections and results that come after it.
        hold_box_s: a box stays this long after the last detection, where no later one is known.
        hold_caption_s: a caption shows this long before and after its keyframe.
    """

    wait_s: float
    hold_box_s: float
    hold_caption_s: float

    @classmethod
    def of(cls, every_s: float, clip_after_s: float) -> OverlayTiming:
        """Choose for keyframes `every_s` apart whose clips reach `clip_after_s` beyond them."""
        reach_s = min(every_s, 1.0)
        return cls(wait_s=reach_s + clip_after_s, hold_box_s=reach_s, hold_caption_s=min(max(every_s, 1.0), 2.0))


class _Held(NamedTuple):
    """A frame that waits; nothing is drawn into a bare one."""

    frame: Frame
    is_bare: bool = False


class VideoSink(Sink):
    """STEM.mp4: the video with boxes, track ids and the best actions of each person; sound kept.

    Frames are held until the detection and the keyframe result that follow them are known, at most `wait_s` and
    MAX_HELD_BYTES; what comes later than that comes too late for them.
    """

    def __init__(
        self,
        path: str | Path,
        info: VideoInfo,
        labels: LabelMap,
        threshold: float,
        timing: OverlayTiming,
        fragmented: bool = False,
    ) -> None:
        """Write to `path` the video `info.path` with every action that scores at least `threshold`.

        `fragmented` is `VideoWriter`'s.
        """
        self._path = Path(path)
        self._info = info
        self._timing = timing
        self._fragmented = fragmented
        self._held: deque[_Held] = deque()
        self._boxes = BoxTrail(timing.hold_box_s)
        self._captions = CaptionTrail(labels, threshold, timing.hold_caption_s)
        self._stack = ExitStack()
        self._writer: VideoWriter

    def __enter__(self) -> Self:
        """Open the file under a temporary name."""
        sound = self._info.path if self._info.has_audio else None
        writer = VideoWriter(self._path, self._info.size_hw, self._info.fps, sound, self._fragmented)
        self._writer = self._stack.enter_context(writer)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Write what is still held and finish the file; on an error or Ctrl-C, remove it."""
        with self._stack:
            while kind is None and self._held:
                self._let_go(self._held.popleft())
            return self._stack.pop_all().__exit__(kind, error, trace)

    def frame(self, frame: Frame) -> None:
        """Hold the frame; write those that are done waiting."""
        self._held.append(_Held(frame))
        while self._may_go(self._held[0].frame):
            self._let_go(self._held.popleft())

    def gap(self, gap: Gap) -> None:
        """Show the last frame once more where it ends, without what was drawn into it: nobody acts through a gap."""
        self._boxes.gap(gap)
        if self._held:
            last = self._held[-1].frame
            self._held.append(_Held(replace(last, time_s=gap.start_s), is_bare=True))

    def persons(self, tracked: TrackedPersons) -> None:
        """Remember where people are."""
        self._boxes.add(tracked)

    def keyframe(self, detections: ActionDetections) -> None:
        """Remember what people do."""
        self._captions.add(detections)

    def _may_go(self, first: Frame) -> bool:
        """Whether all that the first held frame may show is known, or it has waited long enough."""
        if len(self._held) < 2:
            return False
        known = min(self._boxes.latest_s, self._captions.latest_s) >= first.time_s
        waited = self._held[-1].frame.time_s - first.time_s >= self._timing.wait_s
        return known or waited or len(self._held) * first.image.nbytes > MAX_HELD_BYTES

    def _let_go(self, held: _Held) -> None:
        if held.is_bare:
            self._writer.write(held.frame.image, held.frame.time_s)
        else:
            self._write(held.frame)

    def _write(self, frame: Frame) -> None:
        people = self._boxes.at(frame.time_s)
        image = frame.image
        if len(people.boxes_px):
            height, width = image.shape[:2]
            boxes_norm = boxes.to_norm(people.boxes_px, (height, width))
            captions = [
                with_track(int(track), self._captions.of(int(track), box, frame.time_s))
                for track, box in zip(people.track_ids, boxes_norm)
            ]
            image = draw_people(image, people.boxes_px, captions, people.track_ids)
        self._writer.write(image, frame.time_s)
        self._boxes.forget_before(frame.time_s)
        self._captions.forget_before(frame.time_s)


def with_track(track: int, lines: Sequence[str]) -> list[str]:
    """Put a person's number before the first line: "#3 walk 0.90"; no number without a track."""
    if track < 0:
        return list(lines)
    return [" ".join([f"#{track}", *lines[:1]]), *lines[1:]]


class BoxTrail:
    """Detections over time, and the boxes between them.

    Between two detections the box of a track that is in both moves in a straight line. A person who is in only one
    of them is shown on that one's half of the time between.
    """

    def __init__(self, hold_s: float) -> None:
        """Keep boxes for `hold_s` seconds after the last detection that is known."""
        self._hold_s = hold_s
        self._seen: deque[TrackedPersons] = deque()
        self._gaps: deque[Gap] = deque()
        self.latest_s = -np.inf

    def gap(self, gap: Gap) -> None:
        """Let no box move from one side of a gap to the other, or stay over it."""
        self._gaps.append(gap)

    def add(self, tracked: TrackedPersons) -> None:
        """Add the next detection in time."""
        self._seen.append(tracked)
        self.latest_s = tracked.time_s

    def forget_before(self, time_s: float) -> None:
        """Let go of detections that no frame from `time_s` on needs."""
        while len(self._seen) > 1 and self._seen[1].time_s <= time_s:
            self._seen.popleft()
        while len(self._gaps) > 1 and self._gaps[1].is_before(time_s):
            self._gaps.popleft()

    def at(self, time_s: float) -> Drawn:
        """People at a moment, seconds."""
        sides = [gap.is_before(time_s) for gap in self._gaps]
        here = [one for one in self._seen if [gap.is_before(one.time_s) for gap in self._gaps] == sides]
        before = max((one for one in here if one.time_s <= time_s), key=lambda one: one.time_s, default=None)
        after = min((one for one in here if one.time_s > time_s), key=lambda one: one.time_s, default=None)
        if before is not None and after is not None:
            return _between(before, after, (time_s - before.time_s) / (after.time_s - before.time_s))
        only = before or after
        if only is None or abs(only.time_s - time_s) > self._hold_s:
            return _drawn([])
        return _drawn(list(zip(only.persons.boxes_px, track_ids_of(only.persons))))


def continued(before: IntArray, after: IntArray) -> IntArray:
    """Rows int64 (N,) in the next detection of the tracks (N,) of one, -1 where it does not have the track."""
    rows = {int(track): row for row, track in reversed(list(enumerate(after))) if track >= 0}
    return np.array([rows.pop(int(track), -1) for track in before], np.int64)


def _between(before: TrackedPersons, after: TrackedPersons, part: float) -> Drawn:
    """Persons at `part` (0-1) of the way from one detection to the next."""
    ids, later = track_ids_of(before.persons), track_ids_of(after.persons)
    first, last = before.persons.boxes_px, after.persons.boxes_px
    shown = []
    rows = continued(ids, later)
    for box, track, row in zip(first, ids, rows):
        if row >= 0:
            shown.append(((1 - part) * box + part * last[row], track))
        elif part <= 0.5:
            shown.append((box, track))
    if part > 0.5:
        shown += [(last[row], later[row]) for row in np.setdiff1d(np.arange(len(later)), rows)]
    return _drawn(shown)


def track_ids_of(persons: ActionDetections | PersonBoxes) -> IntArray:
    """Track ids, -1 where there are none; int64 (N,)."""
    return np.full(len(persons), NO_TRACK) if persons.track_ids is None else persons.track_ids


def _drawn(shown: Sequence[tuple[Float32Array, int]]) -> Drawn:
    boxes_px = np.array([box for box, _ in shown], np.float32).reshape(-1, 4)
    return Drawn(boxes_px, np.array([track for _, track in shown], np.int64))


class CaptionTrail:
    """Keyframe results over time, and what to write beside a person at a moment."""

    def __init__(self, labels: LabelMap, threshold: float, hold_s: float) -> None:
        """Caption with the best actions over `threshold`, up to `hold_s` seconds from their keyframe."""
        self._labels = labels
        self._threshold = threshold
        self._hold_s = hold_s
        self._seen: deque[ActionDetections] = deque()
        self.latest_s = -np.inf

    def add(self, detections: ActionDetections) -> None:
        """Add the next keyframe in time."""
        self._seen.append(detections)
        self.latest_s = detections.key.time_s

    def forget_before(self, time_s: float) -> None:
        """Let go of keyframes too old for frames from `time_s` on."""
        while self._seen and self._seen[0].key.time_s < time_s - self._hold_s:
            self._seen.popleft()

    def of(self, track: int, box_norm: Float32Array, time_s: float) -> list[str]:
        """Lines for a person: from the keyframe nearest in time on which the person was seen.

        Args:
            track: track id; -1 = none, then the box must overlap one of the keyframe's.
            box_norm: (4,) xyxy 0-1.
            time_s: moment, seconds.
        """
        for detections in sorted(self._seen, key=lambda one: abs(one.key.time_s - time_s)):
            if abs(detections.key.time_s - time_s) > self._hold_s:
                break
            person = _find(detections, track, box_norm)
            if person is not None:
                actions = named_actions(detections.scores[person], self._labels, self._threshold)
                return [f"{action.name} {action.score:.2f}" for action in actions[:MAX_ACTIONS]]
        return []


def _find(detections: ActionDetections, track: int, box_norm: Float32Array) -> int | None:
    """Row of a person in a keyframe's results: by track id, else by overlap; None = not there."""
    ids = track_ids_of(detections)
    rows = np.flatnonzero(ids == track)
    if track >= 0 or not len(rows):
        return int(rows[0]) if len(rows) else None
    overlap = boxes.iou(box_norm[None], detections.boxes_norm[rows])[0]
    return int(rows[overlap.argmax()]) if overlap.max() >= SAME_PERSON_IOU else None
