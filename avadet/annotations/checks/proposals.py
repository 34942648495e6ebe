"""What may be wrong with proposals, boxes of people that a detector found: pixels, scores, names, times, places."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from avadet.annotations.ava import AvaTable, format_time
from avadet.annotations.checks.boxes import check_boxes
from avadet.annotations.checks.findings import (
    Reporter,
    Rowed,
    SplitRows,
    box_codes,
    has_box,
    keyframe_codes,
    number_alike,
)
from avadet.boxes import iou_of_pairs
from avadet.types import NORM_ROUNDING, BoolArray, Float64Array, IntArray

IOU = 0.5
"""From here on a proposal is where the person is, as frame-mAP has it."""

_GOOD = 0.8
_BAD = 0.5
_AT_ONCE = 200_000  # people whose pairs with proposals are compared in one go


class Recall(NamedTuple):
    """How many people the proposals find.

    Attributes:
        people: rows of the annotations, one a person and keyframe; int64 (p,).
        best: IoU of the best proposal with each, 0-1; float64 (p,).
        lonely: whether there is no proposal at that keyframe at all; bool (p,).
    """

    people: IntArray
    best: Float64Array
    lonely: BoolArray

    @property
    def share(self) -> float:
        """Share of people with a proposal at IoU 0.5, 0-1; NaN without people."""
        return float((self.best >= IOU).mean()) if len(self.best) else float("nan")


def check_proposals(reporter: Reporter, rows: SplitRows) -> None:
    """Look at the proposals of a split, if there are any."""
    table = rows.proposals
    if table is None:
        return
    rowed = Rowed(rows.proposals_file, table, np.zeros(len(table), np.int64) if table.lines is None else table.lines)
    check_boxes(reporter, rowed, "proposals")
    if table.scores is not None:
        wrong = ~(np.abs(table.scores - 0.5) <= 0.5 + NORM_ROUNDING)
        reporter.add_rows("proposals-score", "{rows} a score that is not from 0 to 1", wrong, rowed)
    of_split = np.isin(np.asarray(table.video_ids).astype(str), np.array(rows.video_ids, str))
    if not of_split.any():
        example = [rowed.example(0)] if len(table) else []
        reporter.add(
            "proposals-strange",
            f"no proposal is of a video of this split; names must be as in {rows.file}",
            example,
            len(table),
        )
        return
    _check_places(reporter, rows, rowed, of_split)


def _check_places(reporter: Reporter, rows: SplitRows, rowed: Rowed, of_split: BoolArray) -> None:
    """Compare with the annotations, if there are any."""
    if not len(rows.table):
        return
    fps = rows.data.spec.videos.fps
    listed, codes, excluded = keyframe_codes([rows.table, rowed.table, rows.excluded], fps)
    unlisted = of_split & ~np.isin(codes, listed) & ~np.isin(codes, excluded)
    found = proposal_recall(rows.table, rowed.table, fps)
    if len(found.people) and found.share < _GOOD:
        _report_recall(reporter, rows, found, bool(unlisted.mean() > 1 - _BAD))
    else:
        share = f"{unlisted.sum() / max(of_split.sum(), 1):.0%}"
        message = f"{{rows}} a keyframe that the annotations do not list ({share}); they are never used"
        reporter.add_rows("proposals-unlisted", message, unlisted, rowed, warn=True)


def _report_recall(reporter: Reporter, rows: SplitRows, found: Recall, elsewhere: bool) -> None:
    missed = found.people[found.best < IOU]
    lonely = int(found.lonely.sum())
    hint = "; are their times those of the annotations?" if elsewhere else ""
    if found.share < _BAD and not elsewhere:
        hint = "; are these the same videos, and boxes x1,y1,x2,y2 from 0 to 1?"
    reporter.add(
        "proposals-miss",
        f"{found.share:.1%} of {len(found.people):,} people have a proposal at IoU {IOU}; what no proposal finds is "
        f"never trained on or found ({lonely:,} of them at keyframes without any proposal){hint}",
        [f"{rows.where(row)}: {_key(rows.table, row)} has no proposal" for row in missed[: reporter.examples].tolist()],
        len(missed),
        warn=found.share >= _BAD,
    )


def _key(table: AvaTable, row: int) -> str:
    box = ",".join(f"{value:.3f}" for value in table.boxes_norm[row].tolist())
    return f"{table.video_ids[row]} at {format_time(float(table.times_s[row]))} s, box {box}"


def proposal_recall(truth: AvaTable, proposals: AvaTable, fps: float | None = None) -> Recall:
    """Compare people with proposals, keyframe by keyframe.

    Args:
        truth: annotations; a person with several actions counts once a keyframe.
        proposals: boxes of people.
        fps: frames per second of the videos; None = not known.
    """
    true_codes, found_codes = keyframe_codes([truth, proposals], fps)
    people = np.flatnonzero(has_box(truth))
    _, first = np.unique(number_alike([true_codes[people], box_codes(truth.boxes_norm[people])]), return_index=True)
    people = people[np.sort(first)]
    rows = np.flatnonzero(has_box(proposals))
    order = rows[np.argsort(found_codes[rows], kind="stable")]
    codes = found_codes[order]
    begin = np.searchsorted(codes, true_codes[people], "left")
    counts = np.searchsorted(codes, true_codes[people], "right") - begin
    best = np.zeros(len(people))
    for start in range(0, len(people), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        chosen = truth.boxes_norm[people[part]]
        best[part] = _best_iou(chosen, proposals.boxes_norm[order], begin[part], counts[part])
    return Recall(people, best, counts == 0)


def _best_iou(true: np.ndarray, found: np.ndarray, begin: IntArray, counts: IntArray) -> Float64Array:
    """IoU of each person (p, 4) with the best of found[begin : begin + count], 0 if there is none; (p,)."""
    owners = np.repeat(np.arange(len(true)), counts)
    ends = np.cumsum(counts)
    steps = np.arange(len(owners)) - np.repeat(ends - counts, counts)
    pairs = iou_of_pairs(np.asarray(true[owners], np.float64), np.asarray(found[begin[owners] + steps], np.float64))
    best = np.zeros(len(true))
    np.maximum.at(best, owners, np.nan_to_num(pairs))
    return best
