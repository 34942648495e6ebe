"""Who found whom: the detections that count, in the order in which they count, and the true box that each one found.

This is the part of an evaluation that the rules of the reference evaluators decide. Everything that is said of a
result (AP, where the points were lost, intervals, curves) is computed from it.

Equal scores: of two detections with the same score the later one counts first, as a stable ascending sort read from
the end gives it. The references leave this to an unstable sort, so their numbers depend on the processor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avadet.annotations.ava import AvaTable, Keyframes
from avadet.evaluation.ap import claim_once, nearest_truth
from avadet.evaluation.best_rows import BestRows
from avadet.evaluation.protocols import MIN_IOU, Protocol, protocol_rules
from avadet.evaluation.rows import Rows, prepare
from avadet.keyframes import Rates
from avadet.types import BoolArray, Float64Array, IntArray, LabelMap


@dataclass(frozen=True)
class ClassMatches:
    """The detections and the true boxes of one class.

    Attributes:
        rows: int64 (n,), rows of `Matches.found` that count, the best score first; of equal scores the later row.
        truth: int64 (m,), rows of `Matches.true` that are to be found, by keyframe.
        claimed: int64 (n,), the row of `Matches.true` that each of `rows` found, -1 for a false positive.
    """

    rows: IntArray
    truth: IntArray
    claimed: IntArray

    @property
    def is_true(self) -> BoolArray:
        """Which of `rows` are true positives; bool (n,)."""
        return np.asarray(self.claimed >= 0)


@dataclass(frozen=True)
class Matches:
    """Detections against ground truth.

    Attributes:
        labels: the classes.
        rules: whose rules decided.
        found: every row of the detections.
        true: every row of the ground truth.
        classes: one entry for each class of `labels`; those that are not evaluated are empty.
        is_excluded: bool (number of keyframes,), what is not scored; `Rows.frames` are positions in it.
        frame_videos: int64 (number of keyframes,), number of each keyframe's video, from 0.
        video_names: the name of each number; "" for the number that keyframes share which only exclusions name.
        notes: what a reader should know of keyframes whose times differ from file to file.
    """

    labels: LabelMap
    rules: Protocol
    found: Rows
    true: Rows
    classes: tuple[ClassMatches, ...]
    is_excluded: BoolArray
    frame_videos: IntArray
    video_names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def num_videos(self) -> int:
        """Videos that detections, ground truth and exclusions name."""
        return int(self.frame_videos.max(initial=-1)) + 1

    @property
    def num_keyframes(self) -> int:
        """Keyframes that the ground truth lists and that are not excluded."""
        return len(np.unique(self.true.frames[~self.is_excluded[self.true.frames]]))


def match(
    ground_truth: AvaTable,
    detections: AvaTable,
    labels: LabelMap,
    protocol: str = "activitynet",
    excluded: Keyframes | None = None,
    fps: Rates = None,
) -> Matches:
    """Match detections to ground truth; arguments and errors as `frame_map.evaluate_frame_map`."""
    rules = protocol_rules(protocol)
    found, true, is_excluded, notes = prepare(detections, ground_truth, labels, excluded, fps)
    frame_videos, video_names = _videos([(found.frames, detections), (true.frames, ground_truth)], len(is_excluded))
    classes = match_rows(found, true, len(labels), rules, is_excluded)
    return Matches(labels, rules, found, true, classes, is_excluded, frame_videos, video_names, tuple(notes))


def match_rows(
    found: Rows, true: Rows, num_classes: int, rules: Protocol, is_excluded: BoolArray
) -> tuple[ClassMatches, ...]:
    """Match class by class.

    Args:
        found: detections.
        true: ground truth, its keyframes numbered like those of `found`.
        num_classes: K, rows of the label map.
        rules: which rows count, and in what order.
        is_excluded: bool (number of keyframes,).

    Returns:
        K entries.
    """
    counts_there = _listed(true, rules, len(is_excluded)) & ~is_excluded
    counted = found.in_frames((found.classes >= 0) & (found.scores > rules.score_above) & counts_there[found.frames])
    best = BestRows(found, counted, rules.cap) if rules.cap else None
    chosen = counted if best is None else best.kept
    chosen = chosen[found.have_area()[chosen]]
    truth = true.in_frames((true.classes >= 0) & ~is_excluded[true.frames])
    blocks = zip(_by_class(chosen, found, num_classes), _by_class(truth, true, num_classes))
    return tuple(_match_class(found, block, true, wanted, rules, best) for block, wanted in blocks)


def _videos(tables: list[tuple[IntArray, AvaTable]], num_frames: int) -> tuple[IntArray, tuple[str, ...]]:
    """Number of each keyframe's video, and the names; keyframes that only exclusions name share one more number."""
    names = np.full(num_frames, None, dtype=object)
    for frames, table in tables:
        changes = np.flatnonzero(frames[1:] != frames[:-1]) + 1
        starts = np.concatenate([np.arange(min(1, len(frames))), changes])
        names[frames[starts]] = np.asarray(table.video_ids)[starts]
    numbers: dict[object, int] = {}
    frame_videos = np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)
    return frame_videos, tuple("" if name is None else str(name) for name in numbers)


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


def _match_class(
    found: Rows, block: IntArray, true: Rows, truth: IntArray, rules: Protocol, best: BestRows | None
) -> ClassMatches:
    """Rows `block` of `found` against rows `truth` of `true`, both sorted by keyframe."""
    scores, frames = found.scores[block], found.frames[block]
    rising = np.argsort(scores, kind="stable")
    if best is not None:
        tied = _tied_frames(scores[rising], frames[rising])
        if len(tied):
            block = best.arrange(block, tied)
            scores, frames = found.scores[block], found.frames[block]
            rising = np.argsort(scores, kind="stable")
    nearest, overlap = nearest_truth(found.boxes[block], frames, true.boxes[truth], true.frames[truth])
    choosing = np.flatnonzero(overlap >= MIN_IOU)
    if rules.best_first:
        choosing = choosing[np.argsort(-scores[choosing], kind="stable")]
    is_true = claim_once(nearest, overlap, choosing, MIN_IOU)
    claimed = np.full(len(block), -1, np.int64)
    claimed[is_true] = truth[nearest[is_true]]
    falling = rising[::-1]
    return ClassMatches(block[falling], truth, claimed[falling])


def _tied_frames(scores: Float64Array, frames: IntArray) -> IntArray:
    """Keyframes in which neighbours of rows that are sorted by score and keyframe score the same."""
    met = (scores[1:] == scores[:-1]) & (frames[1:] == frames[:-1])
    return np.asarray(frames[1:][met])
