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

from avadet.types import ActionDetections, Float32Array, IntArray, PersonBoxes

TICK_S = 1e-4
"""Unit of the times in the page, seconds."""

SCORE_UNITS = 10_000
"""Scores 0-1 are whole numbers of this many parts."""

BOX_UNITS = 65_535
"""Coordinates 0-1 are whole numbers of this many parts."""

_TYPES = {
    "look_ticks": "<f8",
    "look_people": "<u2",
    "box_track": "<i4",
    "box_corners": "<u2",
    "key_ticks": "<f8",
    "key_people": "<u2",
    "person_track": "<i4",
    "person_corners": "<u2",
    "person_actions": "<u2",
    "action_class": "<u2",
    "action_score": "<u2",
}
_IN_MEMORY_BYTES = 1 << 18
_PIECE_BYTES = 3 << 14  # a multiple of 3: base64 of the pieces is then the base64 of the whole


class Look(NamedTuple):
    """A detection of people: when, seconds; boxes_norm float32 (N, 4) xyxy 0-1; track_ids int64 (N,), -1 = none."""

    time_s: float
    boxes_norm: Float32Array
    track_ids: IntArray


class Columns:
    """What a page shows, as columns of little-endian numbers, each in a temporary file once it is large.

    A look (detection) has `look_people` boxes, a keyframe `key_people` people, a person `person_actions` actions.
    Times are in `TICK_S`, corners (x1, y1, x2, y2) in 1 / `BOX_UNITS` of the frame, scores in 1 / `SCORE_UNITS`.
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

    def add_keyframe(self, detections: ActionDetections) -> None:
        """Add the next keyframe in time, with every action over the floor, best first."""
        self._add("key_ticks", _ticks(detections.key.time_s))
        self._add("key_people", len(detections))
        self._add("person_track", track_ids_of(detections))
        self._add("person_corners", _corners(detections.boxes_norm))
        for scores in detections.scores:
            order = np.argsort(-scores, kind="stable")
            kept = order[scores[order] >= self._floor]
            self._add("person_actions", len(kept))
            self._add("action_class", kept)
            self._add("action_score", np.rint(scores[kept] * SCORE_UNITS))

    def base64(self) -> Iterator[tuple[str, Iterator[str]]]:
        """Every column: its name, and the pieces of its base64 text."""
        for name, file in self._files.items():
            file.seek(0)
            yield name, _pieces(file)

    def _add(self, name: str, values: ArrayLike) -> None:
        self._files[name].write(np.asarray(values).astype(_TYPES[name]).tobytes())


def _pieces(file: SpooledTemporaryFile[bytes]) -> Iterator[str]:
    while piece := file.read(_PIECE_BYTES):
        yield base64.b64encode(piece).decode()


def track_ids_of(people: ActionDetections | PersonBoxes) -> IntArray:
    """Track ids, -1 where there are none; int64 (N,)."""
    return np.full(len(people), -1) if people.track_ids is None else people.track_ids


def _ticks(time_s: float) -> int:
    return max(round(time_s / TICK_S), 0)


def _corners(boxes_norm: Float32Array) -> NDArray[np.floating]:
    return np.asarray(np.rint(np.clip(boxes_norm, 0, 1).astype(np.float64) * BOX_UNITS))
