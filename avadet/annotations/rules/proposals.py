"""What may be wrong with proposals, boxes of people that a detector found: pixels, scores, names, times, places."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from avadet.annotations.ava import AvaTable, format_time
from avadet.annotations.rules.boxes import check_boxes
from avadet.annotations.rules.issues import Ledger, LinedTable, box_codes, has_box, keyframe_codes, number_alike
from avadet.annotations.split_rows import SplitRows
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


def check_proposals(ledger: Ledger, rows: SplitRows) -> None:
    """Look at the proposals of a split, if there are any."""
    proposed = rows.proposed
    if proposed is None:
        return
    table = proposed.table
    check_boxes(ledger, proposed, "proposals")
    if table.scores is not None:
        none = np.isnan(table.scores) & has_box(table)
        wrong = has_box(table) & ~none & ~(np.abs(table.scores - 0.5) <= 0.5 + NORM_ROUNDING)
        ledger.add_rows("proposals-no-score", "drop", "{rows} a score that is no number", none, proposed)
        ledger.add_rows("proposals-score", "error", "{rows} a score that is not from 0 to 1", wrong, proposed)
    if not _of_split(rows, proposed).any():
        example = [proposed.example(0)] if len(table) else []
        message = f"no proposal is of a video of this split; names must be as in {rows.file}"
        ledger.add("proposals-strange", "keep", message, example, len(table))


def _of_split(rows: SplitRows, proposed: LinedTable) -> BoolArray:
    """Proposals of videos that the split has, bool (n,)."""
    return np.isin(np.asarray(proposed.table.video_ids).astype(str), np.array(rows.video_ids, str))


def check_places(ledger: Ledger, rows: SplitRows) -> None:
    """Compare proposals with the annotations, if there are any of both."""
    proposed = rows.proposed
    if proposed is None or not len(rows.table) or not (of_split := _of_split(rows, proposed)).any():
        return
    fps = rows.data.spec.videos.fps
    listed, codes, excluded = keyframe_codes([rows.table, proposed.table, rows.excluded], fps)
    unlisted = of_split & ~np.isin(codes, listed) & ~np.isin(codes, excluded)
    found = proposal_recall(rows.table, proposed.table, fps)
    if len(found.people) and found.share < _GOOD:
        _report_recall(ledger, rows, found, bool(unlisted.mean() > 1 - _BAD))
    else:
        share = f"{unlisted.sum() / max(of_split.sum(), 1):.0%}"
        message = f"{{rows}} a keyframe that the annotations do not list ({share})"
        ledger.add_rows("proposals-unlisted", "keep", message, unlisted, proposed)


def _report_recall(ledger: Ledger, rows: SplitRows, found: Recall, elsewhere: bool) -> None:
    missed = found.people[found.best < IOU]
    lonely = int(found.lonely.sum())
    hint = "; are their times those of the annotations?" if elsewhere else ""
    if found.share < _BAD and not elsewhere:
        hint = "; are these the same videos, and boxes x1,y1,x2,y2 from 0 to 1?"
    ledger.add(
        "proposals-miss",
        "keep",
        f"{found.share:.1%} of {len(found.people):,} people have a proposal at IoU {IOU}; what no proposal finds is "
        f"never trained on or found ({lonely:,} of them at keyframes without any proposal){hint}",
        [f"{rows.where(row)}: {_key(rows.table, row)} has no proposal" for row in missed[: ledger.examples].tolist()],
        len(missed),
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
