"""The distinct people of an evaluation: files have a row for each box and action, people have one box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avadet.evaluation.ap import nearest_truth
from avadet.evaluation.matching import Matches
from avadet.evaluation.rows import Rows
from avadet.types import BoolArray, Float64Array, IntArray

_ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Boxes:
    """Distinct boxes, by keyframe.

    Attributes:
        boxes: float64 (P, 4) xyxy.
        frames: int64 (P,), rising.
        rows: int64 (n,), rows of the table that were looked at.
        of_rows: int64 (n,), position in `boxes` of each of them.
    """

    boxes: Float64Array
    frames: IntArray
    rows: IntArray
    of_rows: IntArray

    def best_overlap_of(self, people: People) -> Float64Array:
        """The largest IoU that any of these boxes has with each person; float64 (number of people,)."""
        return nearest_truth(people.boxes, people.frames, self.boxes, self.frames)[1]


@dataclass(frozen=True)
class People(Boxes):
    """True people and what they do.

    Attributes:
        of_truth: int64 (rows of the ground truth,), the person of each row, -1 for rows that are not scored.
        does: bool (P, K), the evaluated classes of each.
        groups: the group of each class.
    """

    of_truth: IntArray
    does: BoolArray
    groups: tuple[str, ...]

    def rivals(self, persons: IntArray, class_index: int) -> BoolArray:
        """What these people do, of the group of a class if they do any of it, else whatever they do; bool (n, K)."""
        same_group = np.array([group == self.groups[class_index] for group in self.groups])
        doing = self.does[persons]
        within = doing & same_group
        return np.where(within.any(axis=1, keepdims=True), within, doing)


def distinct_boxes(table: Rows, rows: IntArray) -> Boxes:
    """Join rows that have the same box in the same keyframe."""
    order = rows[np.lexsort((*table.boxes[rows].T[::-1], table.frames[rows]))]
    frames, boxes = table.frames[order], table.boxes[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (frames[1:] != frames[:-1]) | (boxes[1:] != boxes[:-1]).any(axis=1)
    return Boxes(boxes[new], frames[new], order, np.cumsum(new) - 1)


def true_people(matches: Matches) -> People:
    """The people whose actions are scored."""
    true = matches.true
    joined = distinct_boxes(true, _all_rows([one.truth for one in matches.classes]))
    of_truth = np.full(len(true.frames), -1, np.int64)
    of_truth[joined.rows] = joined.of_rows
    does = np.zeros((len(joined.boxes), len(matches.labels)), np.bool_)
    does[joined.of_rows, true.classes[joined.rows]] = True
    return People(joined.boxes, joined.frames, joined.rows, joined.of_rows, of_truth, does, matches.labels.groups)


def found_people(matches: Matches) -> Boxes:
    """The boxes of every detection in keyframes that have true people, whatever its class and score."""
    found = matches.found
    peopled = np.zeros(len(matches.is_excluded), np.bool_)
    for one in matches.classes:
        peopled[matches.true.frames[one.truth]] = True
    return distinct_boxes(found, np.flatnonzero(peopled[found.frames] & found.have_area() & (found.class_ids != 0)))


def _all_rows(parts: list[IntArray]) -> IntArray:
    return np.concatenate([*parts, np.zeros(0, np.int64)])
