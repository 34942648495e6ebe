"""Person boxes that were found before: by another detector, or by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avadet import boxes
from avadet.errors import AvadetError, unknown_name
from avadet.persons.tidy import tidy
from avadet.types import Float64Array, IntArray, PersonBoxes

if TYPE_CHECKING:
    from avadet.annotations.ava import AvaTable

NEAR_S = 1e-3
"""Two times closer than this are the same keyframe, seconds: files write at least this many digits."""


class PrecomputedBoxes:
    """The boxes of an AVA-style file, by video and keyframe.

    AVA files repeat a person's box once per action, and a detector's file may carry one score per action: rows of a
    keyframe with the same box (to 1e-6 of the frame) become one person with the highest of their scores. Rows without a
    box (NaN, or less than a pixel) name a keyframe where nobody is.
    """

    def __init__(self, table: AvaTable) -> None:
        """Sort the rows of `table` (annotations.ava.read_boxes) by video and time. No scores count as 1."""
        self._boxes = np.asarray(table.boxes_norm, np.float64)
        scores = np.ones(len(self._boxes)) if table.scores is None else np.asarray(table.scores, np.float64)
        self._scores = np.where(np.isnan(scores), 1.0, scores)
        self._times_s = np.asarray(table.times_s, np.float64)
        names, which = np.unique(np.asarray(table.video_ids, dtype=str), return_inverse=True)
        order = np.lexsort((self._times_s, which))
        ends = np.cumsum(np.bincount(which, minlength=len(names)))
        self._rows = dict(zip(names.tolist(), np.split(order, ends[:-1]) if len(names) else []))

    def video_ids(self) -> tuple[str, ...]:
        """The videos that the file knows, sorted."""
        return tuple(self._rows)

    def times_s(self, video_id: str) -> Float64Array:
        """Keyframes of a video that have boxes: float64 (T,) seconds, increasing.

        Raises:
            AvadetError: if the file has no such video.
        """
        times_s = self._times_s[self._of(video_id)]
        fresh = np.diff(times_s, prepend=-np.inf) >= NEAR_S
        return np.asarray(times_s[fresh])

    def at(self, video_id: str, time_s: float, size_hw: tuple[int, int]) -> PersonBoxes:
        """The people of one keyframe, best first; none where the file has no box near `time_s`.

        Args:
            video_id: as the file writes it.
            time_s: seconds, as the file counts them.
            size_hw: (height, width) px of the frame.

        Raises:
            AvadetError: if the file has no such video.
        """
        rows = self._of(video_id)
        first, last = np.searchsorted(self._times_s[rows], [time_s - NEAR_S, time_s + NEAR_S])
        rows = rows[first:last]
        _, firsts, person = np.unique(self._boxes[rows].round(6), axis=0, return_index=True, return_inverse=True)
        scores = np.zeros(len(firsts))
        np.maximum.at(scores, person.reshape(-1), self._scores[rows])
        order = np.argsort(firsts)
        found = boxes.to_px(self._boxes[rows][firsts[order]], size_hw)
        return tidy(found, scores[order], size_hw)

    def _of(self, video_id: str) -> IntArray:
        """Row numbers of a video, by rising time."""
        if not self._rows:
            raise AvadetError(f"the boxes file has no rows, so none for video '{video_id}'")
        if video_id not in self._rows:
            raise unknown_name("video in the boxes file", video_id, self._rows)
        rows: IntArray = self._rows[video_id]
        return rows
