"""The result by kinds of classes, of true boxes and of keyframes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from avadet import boxes as box_math
from avadet.evaluation.ap import average_precision, precision_recall
from avadet.evaluation.matching import Matches
from avadet.evaluation.people import People, true_people
from avadet.evaluation.result import FrameMapResult
from avadet.types import BoolArray, Float64Array, IntArray

SIZES = {"small": (0.0, 0.04), "medium": (0.04, 0.25), "large": (0.25, np.inf)}
"""Share of the frame's area: a person 0.2 of the frame wide and high is medium, one half of it wide and high large."""

CROWDS = {"1 person": (1, 1), "2 people": (2, 2), "3 or 4": (3, 4), "5 or more": (5, np.inf)}


@dataclass(frozen=True)
class Slice:
    """One part of the ground truth.

    Attributes:
        name: what it is.
        num_gt: true boxes in it.
        recall: share of them that were found at any score; NaN if there are none.
        mAP: mean AP over its classes; NaN where false positives belong to no part.
    """

    name: str
    num_gt: int
    recall: float
    mAP: float


def slices(matches: Matches, result: FrameMapResult) -> dict[str, tuple[Slice, ...]]:
    """The result by group of classes, by how common they are, by size of the box, by people in the keyframe.

    Head, middle and tail are thirds of the classes with ground truth, by number of true boxes. AP by people in the
    keyframe is computed from those keyframes alone.
    """
    people = true_people(matches)
    return {
        "group": _by_classes(result, _groups(result)),
        "ground truth": _by_classes(result, _thirds(result)),
        "box size": _by_size(matches),
        "people in the frame": _by_crowd(matches, people),
    }


def _groups(result: FrameMapResult) -> dict[str, BoolArray]:
    groups = np.array(result.labels.groups)
    return {name: result.in_mean & (groups == name) for name in result.group_map()}


def _thirds(result: FrameMapResult) -> dict[str, BoolArray]:
    counted = np.flatnonzero(result.in_mean)
    common_first = counted[np.argsort(-result.num_gt[counted], kind="stable")]
    chosen = {}
    for name, rows in zip(("head", "middle", "tail"), np.array_split(common_first, 3)):
        chosen[name] = np.isin(np.arange(len(result.ap)), rows)
    return chosen


def _by_classes(result: FrameMapResult, chosen: Mapping[str, BoolArray]) -> tuple[Slice, ...]:
    return tuple(
        _slice(name, int(result.num_gt[rows].sum()), int(result.num_tp[rows].sum()), result.ap[rows])
        for name, rows in chosen.items()
    )


def _slice(name: str, num_gt: int, num_tp: int, ap: Float64Array) -> Slice:
    recall = num_tp / num_gt if num_gt else float("nan")
    return Slice(name, num_gt, recall, float(ap.mean()) if len(ap) else float("nan"))


def _by_size(matches: Matches) -> tuple[Slice, ...]:
    truth = np.concatenate([one.truth for one in matches.classes])
    was_found = np.zeros(len(matches.true.frames), np.bool_)
    for one in matches.classes:
        was_found[one.claimed[one.is_true]] = True
    area = box_math.area(matches.true.boxes[truth])
    rows = []
    for name, (low, high) in SIZES.items():
        inside = (area >= low) & (area < high)
        rows.append(_slice(name, int(inside.sum()), int(was_found[truth[inside]].sum()), np.zeros(0)))
    return tuple(rows)


def _by_crowd(matches: Matches, people: People) -> tuple[Slice, ...]:
    counts = np.bincount(people.frames, minlength=len(matches.is_excluded))
    return tuple(_in_frames(matches, (counts >= low) & (counts <= high), name) for name, (low, high) in CROWDS.items())


def _in_frames(matches: Matches, chosen: BoolArray, name: str) -> Slice:
    """AP and recall from some keyframes alone."""
    ap: list[float] = []
    totals: IntArray = np.zeros(2, np.int64)
    for one in matches.classes:
        num_gt = int(chosen[matches.true.frames[one.truth]].sum())
        if not num_gt:
            continue
        is_true = one.is_true[chosen[matches.found.frames[one.rows]]]
        totals += (num_gt, int(is_true.sum()))
        if len(is_true) or not matches.rules.mean_over_detected:
            ap.append(average_precision(*precision_recall(is_true, num_gt)))
    return _slice(name, int(totals[0]), int(totals[1]), np.array(ap))
