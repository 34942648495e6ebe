"""Average precision: who matches whom, and the area under the precision-recall curve. Arrays only, no loops."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avadet.boxes import iou_of_pairs
from avadet.types import BoolArray, Float64Array, IntArray

FloatArray = NDArray[np.floating]


def nearest_truth(
    boxes: FloatArray, frames: IntArray, true_boxes: FloatArray, true_frames: IntArray
) -> tuple[IntArray, Float64Array]:
    """For each box, the true box of its frame with the largest IoU; the first of several equals.

    Args:
        boxes: float (n, 4) xyxy.
        frames: int64 (n,), which frame each lies in.
        true_boxes: float (m, 4) xyxy.
        true_frames: int64 (m,), rising.

    Returns:
        row of `true_boxes` int64 (n,), -1 where the frame has none, and the IoU float64 (n,), 0 there.
    """
    nearest = np.full(len(boxes), -1, np.int64)
    overlap = np.zeros(len(boxes), np.float64)
    first = np.searchsorted(true_frames, frames, side="left")
    counts = np.searchsorted(true_frames, frames, side="right") - first
    some = np.flatnonzero(counts)
    if not len(some):
        return nearest, overlap
    counts = counts[some]
    starts = np.cumsum(counts) - counts
    truth = np.arange(counts.sum()) + np.repeat(first[some] - starts, counts)
    ious = iou_of_pairs(boxes[np.repeat(some, counts)], true_boxes[truth])
    best = np.maximum.reduceat(ious, starts)
    at_best = np.flatnonzero(ious == np.repeat(best, counts))
    first_best = at_best[np.searchsorted(at_best, starts)]
    nearest[some] = truth[first_best]
    overlap[some] = best
    return nearest, overlap


def claim_once(nearest: IntArray, overlap: Float64Array, order: IntArray, min_iou: float = 0.5) -> BoolArray:
    """Mark true positives: a true box goes to the first box, in `order`, whose nearest it is and that overlaps enough.

    A box whose nearest true box is taken is a false positive; it gets no second choice (PASCAL VOC).

    Args:
        nearest: int64 (n,), row of the nearest true box, -1 for none.
        overlap: float64 (n,), its IoU.
        order: int64 (n,), rows in the order in which they choose.
        min_iou: least IoU of a match, inclusive.

    Returns:
        bool (n,), true positive or not.
    """
    is_true = np.zeros(len(nearest), np.bool_)
    choosing = order[(overlap[order] >= min_iou) & (nearest[order] >= 0)]
    _, winners = np.unique(nearest[choosing], return_index=True)
    is_true[choosing[winners]] = True
    return is_true


def precision_recall(is_true: BoolArray, num_true: int) -> tuple[Float64Array, Float64Array]:
    """Precision and recall after each detection.

    Args:
        is_true: bool (n,), true positives marked, best score first.
        num_true: number of true boxes, at least 1.

    Returns:
        precision and recall, float64 (n,) each, 0-1.
    """
    hits = np.cumsum(is_true, dtype=np.float64)
    return hits / np.arange(1, len(is_true) + 1), hits / num_true


def average_precision(precision: Float64Array, recall: Float64Array) -> float:
    """Area under the precision-recall curve, 0-1; precision is made falling first (PASCAL VOC 2010 and later).

    Args:
        precision: float64 (n,) after each detection.
        recall: float64 (n,), not falling.
    """
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    gained = np.diff(recall, prepend=0.0)
    return float(np.sum(gained * envelope))


def tie_range(is_true: BoolArray, scores: FloatArray, num_true: int, ap: float) -> tuple[float, float]:
    """The lowest and highest AP that other orders of equal scores give.

    Which of several equal detections takes a true box does not change how many of them do, so the extremes put every
    score's true positives last, or first.

    Args:
        is_true: bool (n,), true positives marked, best score first.
        scores: float (n,), falling.
        num_true: number of true boxes, at least 1.
        ap: the AP of the order given, which the range contains.
    """
    starts = np.flatnonzero(np.diff(scores, prepend=np.nan) != 0)
    lengths = np.diff(starts, append=len(scores))
    hits = np.add.reduceat(is_true, starts, dtype=np.int64) if len(starts) else np.zeros(0, np.int64)
    if not ((hits > 0) & (hits < lengths)).any():
        return ap, ap
    rank = np.arange(1, hits.sum() + 1)
    misses = lengths - hits
    through = np.cumsum(misses)
    late, early = (rank / (rank + np.repeat(before, hits)) for before in (through, through - misses))
    lowest, highest = (float(np.maximum.accumulate(one[::-1]).sum() / num_true) for one in (late, early))
    return min(lowest, ap), max(highest, ap)
