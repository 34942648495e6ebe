"""Frame-mAP at IoU 0.5 of AVA-style detections, under the rules of a named reference evaluator (see `protocols`)."""

from __future__ import annotations

import numpy as np

from avadet.annotations.ava import NO_CLASS, AvaTable, Keyframes
from avadet.boxes import beyond_frame
from avadet.evaluation.ap import average_precision, precision_recall, tie_range
from avadet.evaluation.matching import ClassMatches, Matches, match
from avadet.evaluation.result import FrameMapResult
from avadet.evaluation.rows import Rows
from avadet.keyframes import Rates
from avadet.types import NORM_ROUNDING, LabelMap


def evaluate_frame_map(
    ground_truth: AvaTable,
    detections: AvaTable,
    labels: LabelMap,
    protocol: str = "activitynet",
    excluded: Keyframes | None = None,
    fps: Rates = None,
) -> FrameMapResult:
    """Score detections against ground truth.

    Args:
        ground_truth: true boxes; rows of class 0 list a keyframe without boxes.
        detections: found boxes with scores; none count as 1.
        labels: the classes; those not evaluated, and ids that are not in the map, are left out.
        protocol: whose rules: "activitynet", "slowfast" or "mmaction2".
        excluded: keyframes that do not count at all.
        fps: frames per second of the videos, by which times of the files are the same keyframe; None = not known.

    Raises:
        AvadetError: for an unknown protocol.
    """
    return result_of(match(ground_truth, detections, labels, protocol, excluded, fps))


def result_of(matches: Matches) -> FrameMapResult:
    """AP and counts of every class, from who found whom."""
    scored = [_score(one, matches.found) for one in matches.classes]
    ap, lowest, highest, num_gt, num_det, num_tp = np.array(scored, np.float64).reshape(-1, 6).T
    return FrameMapResult(
        matches.labels,
        matches.rules.name,
        matches.rules.reference,
        ap,
        num_gt.astype(np.int64),
        num_det.astype(np.int64),
        num_tp.astype(np.int64),
        ap_tie_lo=lowest,
        ap_tie_hi=highest,
        mean_over_detected=matches.rules.mean_over_detected,
        warnings=(*matches.notes, *_warnings(matches.found, matches.true, matches.labels)),
    )


def _score(one: ClassMatches, found: Rows) -> tuple[float, float, float, int, int, int]:
    """(AP, its tie range, num_gt, num_det, num_tp) of one class."""
    num_gt, num_det, is_true = len(one.truth), len(one.rows), one.is_true
    if not num_gt:
        return float("nan"), float("nan"), float("nan"), 0, num_det, 0
    ap = average_precision(*precision_recall(is_true, num_gt))
    lowest, highest = tie_range(is_true, found.scores[one.rows], num_gt, ap)
    return ap, lowest, highest, num_gt, num_det, int(is_true.sum())


def _warnings(found: Rows, true: Rows, labels: LabelMap) -> list[str]:
    """What a reference accepts in silence but is hardly meant, with counts."""
    known = np.isin(found.class_ids, [*labels.ids, NO_CLASS])
    listed = np.zeros(int(max(found.frames.max(initial=-1), true.frames.max(initial=-1))) + 1, np.bool_)
    listed[true.frames] = True
    beyond, in_pixels = beyond_frame(found.boxes)
    odd = np.flatnonzero((found.scores < -NORM_ROUNDING) | (found.scores > 1 + NORM_ROUNDING))
    odd = odd[np.isfinite(found.scores[odd])]
    ids = " (ids of persons?)" if (found.scores[odd] == np.rint(found.scores[odd])).all() else ""
    counts = {
        "rows have a class id that is not in the label map; they are left out": ~known,
        "rows lie on keyframes that the ground truth does not list": ~listed[found.frames],
        "rows have a score that is NaN or infinite; NaN counts as the largest": np.isinf(found.scores),
        f"rows have a score outside 0-1{ids}": odd >= 0,
        "rows have a box that reaches outside 0-1; it is scored as it is": beyond & ~in_pixels,
        "rows have a box that reaches outside 0-1, in pixels; divide x by the width, y by the height": in_pixels,
        "rows have a box without area (x1 >= x2, y1 >= y2 or NaN); they are left out": ~found.have_area()
        & (found.class_ids != NO_CLASS),
    }
    return [f"{count} of {len(known)} {text}" for text, mask in counts.items() if (count := np.count_nonzero(mask))]
