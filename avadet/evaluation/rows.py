"""Detections or true boxes as the evaluator sees them: keyframes numbered, classes looked up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from avadet.annotations.ava import AvaTable, Keyframes
from avadet.keyframes import Rates, join_keyframes
from avadet.types import BoolArray, Float64Array, IntArray, LabelMap

_LARGEST_TABLE = 1 << 16


@dataclass(frozen=True)
class Rows:
    """Parallel columns, in file order.

    Attributes:
        frames: int64 (n,), number of the keyframe.
        classes: int64 (n,), row of the label map; -1 = not evaluated or not in it.
        class_ids: int64 (n,), as the file has them.
        boxes: float64 (n, 4) xyxy.
        scores: float64 (n,); NaN counts as the largest score, as numpy sorts it.
    """

    frames: IntArray
    classes: IntArray
    class_ids: IntArray
    boxes: Float64Array
    scores: Float64Array

    def in_frames(self, rows: BoolArray) -> IntArray:
        """Numbers of the marked rows, sorted by keyframe and in file order within each."""
        chosen = np.flatnonzero(rows)
        frames = self.frames[chosen]
        if (frames[1:] >= frames[:-1]).all():
            return chosen
        return chosen[np.argsort(frames, kind="stable")]

    def have_area(self) -> BoolArray:
        """Which boxes have x1 < x2 and y1 < y2; NaN has not."""
        return self._have_area

    @cached_property
    def _have_area(self) -> BoolArray:
        x1, y1, x2, y2 = self.boxes.T
        return np.asarray((x1 < x2) & (y1 < y2))


def prepare(
    detections: AvaTable,
    ground_truth: AvaTable,
    labels: LabelMap,
    excluded: Keyframes | None,
    fps: Rates = None,
) -> tuple[Rows, Rows, BoolArray, list[str]]:
    """Number the keyframes of all tables together.

    Returns:
        detections, ground truth, which keyframes are excluded: bool (number of keyframes,), and what a reader should
        know of times that differ.
    """
    tables = [(table.video_ids, table.times_s) for table in (detections, ground_truth, excluded) if table is not None]
    joined = join_keyframes(tables, fps, reference=1)
    numbers = joined.numbers
    is_excluded = np.zeros(max((int(n.max(initial=-1)) for n in numbers), default=-1) + 1, np.bool_)
    if excluded is not None:
        is_excluded[numbers[2]] = True
    found, true = _rows(detections, numbers[0], labels), _rows(ground_truth, numbers[1], labels)
    return found, true, is_excluded, joined.notes()


def _rows(table: AvaTable, frames: IntArray, labels: LabelMap) -> Rows:
    scores = np.ones(len(table)) if table.scores is None else np.asarray(table.scores, np.float64)
    unordered = np.isnan(scores)
    return Rows(
        frames,
        evaluated_classes(table.class_ids, labels),
        table.class_ids,
        np.asarray(table.boxes_norm, np.float64),
        np.where(unordered, np.inf, scores) if unordered.any() else scores,
    )


def evaluated_classes(class_ids: IntArray, labels: LabelMap) -> IntArray:
    """Row of the label map for each class id, -1 where the class is not evaluated or not in the map; int64 (n,)."""
    known = sorted((class_id, index) for index, class_id in enumerate(labels.ids) if labels.evaluated[index])
    if not known:
        return np.full(len(class_ids), -1, np.int64)
    ids, indices = np.array(known, np.int64).T
    if ids[0] >= 0 and ids[-1] < _LARGEST_TABLE:
        table = np.full(ids[-1] + 2, -1, np.int64)
        table[ids] = indices
        return table[np.clip(class_ids, -1, ids[-1] + 1)]  # both ends are the table's last entry
    nearest = np.searchsorted(ids, class_ids).clip(max=len(ids) - 1)
    return np.asarray(np.where(ids[nearest] == class_ids, indices[nearest], -1))
