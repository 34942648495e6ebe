"""Person boxes that were found before: by another detector, or by hand."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from avadet import boxes
from avadet.errors import AvadetError, unknown_name
from avadet.keyframes import join_keyframes, nearest
from avadet.persons.postprocess import postprocess
from avadet.types import BoolArray, Float64Array, IntArray, PersonBoxes

if TYPE_CHECKING:
    from avadet.annotations.ava import AvaTable


class PrecomputedBoxes:
    """The boxes of an AVA-style file, by video and keyframe.

    AVA files repeat a person's box once per action, and a detector's file may carry one score per action: rows of a
    keyframe with the same box (to 1e-6 of the frame) become one person with the highest of their scores. Rows without a
    box (NaN, or less than a pixel) name a keyframe where nobody is. Which times are one keyframe says
    `avadet.keyframes`.

    Attributes:
        notes: what the reader of the file decided or left out, one line each.
    """

    def __init__(self, table: AvaTable, threshold: float = 0.0) -> None:
        """Sort rows by video and time.

        Args:
            table: of annotations.box_files.read_boxes. No scores count as 1.
            threshold: lowest score of a person, 0-1; keyframes stay though all of their people score less.
        """
        self.notes: tuple[str, ...] = tuple(table.notes)
        self._threshold = threshold
        self._boxes = np.asarray(table.boxes_norm, np.float64)
        scores = np.ones(len(self._boxes)) if table.scores is None else np.asarray(table.scores, np.float64)
        self._scores = np.where(np.isnan(scores), 1.0, scores)
        video_ids, times_s = np.asarray(table.video_ids, dtype=str), np.asarray(table.times_s, np.float64)
        numbers = join_keyframes([(video_ids, times_s)]).numbers[0]
        order = np.lexsort((times_s, np.unique(video_ids, return_inverse=True)[1]))
        starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
        rows = np.split(order, starts[1:]) if len(order) else []
        self._keyframes: dict[str, tuple[Float64Array, list[IntArray]]] = {}
        names = video_ids[order[starts]]
        ends = [*np.flatnonzero(names[1:] != names[:-1]) + 1, len(names)]
        for first, end in pairwise([0, *ends]) if len(names) else ():
            self._keyframes[str(names[first])] = (times_s[order[starts[first:end]]], rows[first:end])

    def video_ids(self) -> tuple[str, ...]:
        """The videos that the file knows, sorted."""
        return tuple(self._keyframes)

    def times_s(self, video_id: str) -> Float64Array:
        """Keyframes of a video that have boxes: float64 (T,) seconds, increasing.

        Raises:
            AvadetError: if the file has no such video.
        """
        return self._of(video_id)[0]

    def names(self, video_id: str, times_s: Float64Array, fps: float | None = None) -> BoolArray:
        """Which moments, float64 (n,) seconds, are keyframes of the file, bool (n,); arguments and errors as `at`."""
        return np.asarray(nearest(self._of(video_id)[0], times_s, fps) >= 0)

    def at(self, video_id: str, time_s: float, size_hw: tuple[int, int], fps: float | None = None) -> PersonBoxes:
        """The people of one keyframe, best first; none where the file has no such keyframe.

        Args:
            video_id: as the file writes it.
            time_s: seconds, as the file counts them.
            size_hw: (height, width) px of the frame.
            fps: frames per second of the video, half of one of which may lie between this moment and the file's; None =
                not known.

        Raises:
            AvadetError: if the file has no such video.
        """
        times_s, keyframes = self._of(video_id)
        found = int(nearest(times_s, np.array([time_s]), fps)[0])
        rows = keyframes[found] if found >= 0 else np.zeros(0, np.int64)
        _, firsts, person = np.unique(self._boxes[rows].round(6), axis=0, return_index=True, return_inverse=True)
        scores = np.zeros(len(firsts))
        np.maximum.at(scores, person.reshape(-1), self._scores[rows])
        order = np.argsort(firsts)
        found_px = boxes.to_px(self._boxes[rows][firsts[order]], size_hw)
        return postprocess(found_px, scores[order], size_hw, self._threshold)

    def _of(self, video_id: str) -> tuple[Float64Array, list[IntArray]]:
        """Keyframes of a video by rising time, and the rows of each."""
        if not self._keyframes:
            raise AvadetError(f"the boxes file has no rows, so none for video '{video_id}'")
        if video_id not in self._keyframes:
            raise unknown_name("video in the boxes file", video_id, self._keyframes)
        return self._keyframes[video_id]
