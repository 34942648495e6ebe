"""Numbers on their way into the page: packed as they come, written at the end as base64, never all in memory.

An hour of video with four people in view and five detections a second is 72,000 boxes; as text they would take twice
the room that they take here, and the page would have to read every digit.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import ExitStack
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from avadet.inference.events import Evidence
from avadet.inference.overlay import track_ids_of
from avadet.types import Float32Array, IntArray

TICK_S = 1e-4
"""Unit of the times in the page, seconds."""

SCORE_UNITS = 10_000
"""Scores 0-1 are whole numbers of this many parts."""

LEVEL_SLACK = 2e-3
"""Levels are rounded down, so that none reaches a threshold that it does not; but for this part of a unit."""

BOX_UNITS = 65_535
"""Coordinates 0-1 are whole numbers of this many parts."""

_TYPES = {
    "look_ticks": "<f8",
    "look_people": "<u2",
    "look_back": "<u4",
    "look_ahead": "<u4",
    "box_track": "<i4",
    "box_corners": "<u2",
    "box_next": "<u2",
    "key_ticks": "<f8",
    "key_back": "<u4",
    "key_ahead": "<u4",
    "key_people": "<u2",
    "person_track": "<i4",
    "person_corners": "<u2",
    "person_fresh": "<u1",
    "person_actions": "<u2",
    "action_class": "<u2",
    "action_score": "<u2",
    "action_level": "<u2",
}
_IN_MEMORY_BYTES = 1 << 18
_PIECE_BYTES = 3 << 14  # a multiple of 3: base64 of the pieces is then the base64 of the whole


class Look(NamedTuple):
    """A detection of persons, and how the page goes from it to its neighbours.

    Attributes:
        time_s: when, seconds.
        boxes_norm: float32 (N, 4) xyxy, 0-1.
        track_ids: int64 (N,), -1 = none.
        next_rows: int64 (N,), rows in the next detection that the boxes move to; -1 = none.
        from_s: from when its boxes are shown to which none of the detection before moves.
        until_s: until when its boxes are shown that move nowhere.
    """

    time_s: float
    boxes_norm: Float32Array
    track_ids: IntArray
    next_rows: IntArray
    from_s: float
    until_s: float


class Columns:
    """What a page shows, as columns of little-endian numbers, each in a temporary file once it is large.

    A look (detection) has `look_people` boxes, a keyframe `key_people` people, a person `person_actions` actions.
    Times are in `TICK_S`, corners (x1, y1, x2, y2) in 1 / `BOX_UNITS` of the frame, scores and levels in 1 /
    `SCORE_UNITS`; `box_next` is a row of the next look, counted from 1, 0 = none. `look_back`, `key_ahead` and the
    like are steps from the moment itself. See `Look` and `events.Evidence`.
    """

    def __init__(self, floor: float) -> None:
        """Keep actions that score at least `floor`, 0-1."""
        self._floor = floor
        self._stack = ExitStack()
        self._files: dict[str, SpooledTemporaryFile[bytes]] = {}

    def __enter__(self) -> Self:
        """Open the temporary files."""
        for name in _TYPES:
            self._files[name] = self._stack.enter_context(SpooledTemporaryFile(_IN_MEMORY_BYTES))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove them."""
        self._stack.close()

    def add_look(self, look: Look) -> None:
        """Add the next detection in time."""
        self._add("look_ticks", _ticks(look.time_s))
        self._add("look_people", len(look.track_ids))
        self._add("box_track", look.track_ids)
        self._add("box_corners", _corners(look.boxes_norm))
        self._add_reach("look", look.time_s, look.from_s, look.until_s)
        self._add("box_next", look.next_rows + 1)

    def add_keyframe(self, evidence: Evidence) -> None:
        """Add the next keyframe in time, with every action over the floor or in an event over it, best first."""
        detections = evidence.detections
        self._add("key_ticks", _ticks(detections.key.time_s))
        self._add_reach("key", detections.key.time_s, evidence.start_s, evidence.end_s)
        self._add("key_people", len(detections))
        self._add("person_track", track_ids_of(detections))
        self._add("person_corners", _corners(detections.boxes_norm))
        self._add("person_fresh", evidence.fresh)
        for scores, levels in zip(detections.scores, evidence.levels):
            order = np.argsort(-scores, kind="stable")
            kept = order[(scores[order] >= self._floor) | (levels[order] >= self._floor)]
            self._add("person_actions", len(kept))
            self._add("action_class", kept)
            self._add("action_score", np.rint(scores[kept] * SCORE_UNITS))
            self._add("action_level", np.floor(np.maximum(levels[kept], 0) * SCORE_UNITS + LEVEL_SLACK))

    def base64(self) -> Iterator[tuple[str, Iterator[str]]]:
        """Every column: its name, and the pieces of its base64 text."""
        for name, file in self._files.items():
            file.seek(0)
            yield name, _pieces(file)

    def _add_reach(self, name: str, time_s: float, from_s: float, until_s: float) -> None:
        """Add how far something reaches back from its moment, and ahead."""
        self._add(f"{name}_back", _ticks(time_s) - _ticks(from_s))
        self._add(f"{name}_ahead", _ticks(until_s) - _ticks(time_s))

    def _add(self, name: str, values: ArrayLike) -> None:
        self._files[name].write(np.asarray(values).astype(_TYPES[name]).tobytes())


def _pieces(file: SpooledTemporaryFile[bytes]) -> Iterator[str]:
    while piece := file.read(_PIECE_BYTES):
        yield base64.b64encode(piece).decode()


def _ticks(time_s: float) -> int:
    return max(round(time_s / TICK_S), 0)


def _corners(boxes_norm: Float32Array) -> NDArray[np.floating]:
    return np.asarray(np.rint(np.clip(boxes_norm, 0, 1).astype(np.float64) * BOX_UNITS))
