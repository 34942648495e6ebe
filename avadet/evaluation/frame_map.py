"""Frame-mAP at IoU 0.5 of AVA-style detections, under the rules of a named reference evaluator.

The references agree on the core: boxes without a positive area are dropped; within a keyframe and class each box
looks at the true box it overlaps most, matches it at IoU 0.5 or more if nobody did before, and is a false positive
otherwise; AP is the area under the falling envelope of precision; classes without ground truth stay out of the mean.
They differ in which rows count and who chooses first: see `PROTOCOLS`.

Equal scores: of two detections with the same score the later one counts first, as a stable ascending sort read from
the end gives it. The references leave this to an unstable sort, so their numbers depend on the processor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avadet.annotations.ava import NO_CLASS, AvaTable, Keyframes
from avadet.errors import unknown_name
from avadet.evaluation.ap import average_precision, claim_once, nearest_truth, precision_recall
from avadet.evaluation.best_rows import BestRows
from avadet.evaluation.result import FrameMapResult
from avadet.evaluation.rows import Rows, prepare
from avadet.types import BoolArray, IntArray, LabelMap

MIN_IOU = 0.5


@dataclass(frozen=True)
class Protocol:
    """The rules of one reference evaluator.

    Attributes:
        name: what the user writes.
        reference: whose rules these are.
        cap: rows a keyframe may have over all evaluated classes, the best ones; 0 = any number.
        best_first: whether boxes match in order of falling score (else in file order).
        listed_by: which ground-truth rows make a keyframe count: "any", or one of an "evaluated" class; detections
            elsewhere are ignored. "none" = no list, they are false positives.
        score_above: rows score more than this.
        mean_over_detected: whether classes without detections stay out of the mean (else they count as 0).
    """

    name: str
    reference: str
    cap: int = 0
    best_first: bool = True
    listed_by: str = "any"
    score_above: float = -np.inf
    mean_over_detected: bool = False


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("activitynet", "ActivityNet Evaluation/get_ava_performance.py", cap=50),
        Protocol("slowfast", "PySlowFast utils/ava_eval_helper.py", best_first=False, listed_by="none"),
        Protocol(
            "mmaction2",
            "mmaction2 evaluation/functional/ava_utils.py",
            listed_by="evaluated",
            score_above=0.002,
            mean_over_detected=True,
        ),
    )
}


def evaluate_frame_map(
    ground_truth: AvaTable,
    detections: AvaTable,
    labels: LabelMap,
    protocol: str = "activitynet",
    excluded: Keyframes | None = None,
) -> FrameMapResult:
    """Score detections against ground truth.

    Args:
        ground_truth: true boxes; rows of class 0 list a keyframe without boxes.
        detections: found boxes with scores; none count as 1.
        labels: the classes; those not evaluated, and ids that are not in the map, are left out.
        protocol: whose rules: "activitynet", "slowfast" or "mmaction2".
        excluded: keyframes that do not count at all.

    Raises:
        AvadetError: for an unknown protocol.
    """
    if protocol not in PROTOCOLS:
        raise unknown_name("protocol", protocol, PROTOCOLS)
    rules = PROTOCOLS[protocol]
    found, true, is_excluded = prepare(detections, ground_truth, labels, excluded)
    counts_there = _listed(true, rules, len(is_excluded)) & ~is_excluded
    counted = found.in_frames((found.classes >= 0) & (found.scores > rules.score_above) & counts_there[found.frames])
    best = BestRows(found, counted, rules.cap) if rules.cap else None
    chosen = counted if best is None else best.kept
    chosen = chosen[found.have_area()[chosen]]
    truth = true.in_frames((true.classes >= 0) & ~is_excluded[true.frames])
    blocks = zip(_by_class(chosen, found, len(labels)), _by_class(truth, true, len(labels)))
    scored = [_score_class(found, block, true, wanted, rules, best) for block, wanted in blocks]
    ap, num_gt, num_det, num_tp = np.array(scored, np.float64).reshape(-1, 4).T
    return FrameMapResult(
        labels,
        protocol,
        rules.reference,
        ap,
        num_gt.astype(np.int64),
        num_det.astype(np.int64),
        num_tp.astype(np.int64),
        mean_over_detected=rules.mean_over_detected,
        warnings=tuple(_warnings(detections, found, labels, true)),
    )


def _listed(true: Rows, rules: Protocol, num_frames: int) -> BoolArray:
    """The keyframes whose detections count; bool (num_frames,)."""
    listed = np.full(num_frames, rules.listed_by == "none")
    rows = true.classes >= 0 if rules.listed_by == "evaluated" else np.ones(len(true.frames), np.bool_)
    listed[true.frames[rows]] = True
    return listed


def _by_class(chosen: IntArray, rows: Rows, num_classes: int) -> list[IntArray]:
    """Split rows by class, keeping their order."""
    classes = rows.classes[chosen].astype(np.int16)
    order = np.argsort(classes, kind="stable")
    edges = np.searchsorted(classes[order], np.arange(1, num_classes))
    return np.split(chosen[order], edges)


def _score_class(
    found: Rows, block: IntArray, true: Rows, truth: IntArray, rules: Protocol, best: BestRows | None
) -> tuple[float, int, int, int]:
    """(AP, num_gt, num_det, num_tp) of one class: rows `block` of `found` against rows `truth` of `true`."""
    rising = np.argsort(found.scores[block], kind="stable")
    if best is not None:
        tied = _tied_frames(found, block[rising])
        if len(tied):
            block = best.arrange(block, tied)
            rising = np.argsort(found.scores[block], kind="stable")
    nearest, overlap = nearest_truth(found.boxes[block], found.frames[block], true.boxes[truth], true.frames[truth])
    choosing = np.argsort(-found.scores[block], kind="stable") if rules.best_first else np.arange(len(block))
    is_true = claim_once(nearest, overlap, choosing, MIN_IOU)
    if not len(truth):
        return float("nan"), 0, len(block), 0
    precision, recall = precision_recall(is_true[rising[::-1]], len(truth))
    return average_precision(precision, recall), len(truth), len(block), int(is_true.sum())


def _tied_frames(found: Rows, rising: IntArray) -> IntArray:
    """Keyframes in which neighbours of the rows `rising`, which are sorted by score and keyframe, score the same."""
    scores, frames = found.scores[rising], found.frames[rising]
    met = (scores[1:] == scores[:-1]) & (frames[1:] == frames[:-1])
    return np.asarray(frames[1:][met])


def _warnings(detections: AvaTable, found: Rows, labels: LabelMap, true: Rows) -> list[str]:
    """What a reference accepts in silence but is hardly meant, with counts."""
    known = np.isin(found.class_ids, [*labels.ids, NO_CLASS])
    listed = np.isin(found.frames, true.frames)
    scores = np.ones(len(found.scores)) if detections.scores is None else np.asarray(detections.scores)
    beyond = ((found.boxes < 0) | (found.boxes > 1)).any(axis=1)
    counts = {
        "rows have a class id that is not in the label map; they are left out": ~known,
        "rows lie on keyframes that the ground truth does not list": ~listed,
        "rows have a score that is NaN; it counts as the largest": np.isnan(scores),
        "rows have a score outside 0-1": (scores < 0) | (scores > 1),
        "rows have a box that reaches outside 0-1 (pixels?)": beyond,
        "rows have a box without area (x1 >= x2, y1 >= y2 or NaN); they are left out": ~found.have_area()
        & (found.class_ids != NO_CLASS),
    }
    return [f"{count} of {len(known)} {text}" for text, mask in counts.items() if (count := int(mask.sum()))]
