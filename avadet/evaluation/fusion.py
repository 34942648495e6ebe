"""Several files of detections as one: rows of the same keyframe, box and class become one row with their mean score.

Keyframes are joined by the rule of `avadet.keyframes`. Boxes are the same where they agree to the six decimals that
files have; of those left over, boxes of one keyframe are paired one to one in order of falling IoU, down to 0.99 (files
that write fewer decimals). A row that a file repeats pairs with the repetition of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from avadet.annotations.ava import NO_CLASS, AvaTable
from avadet.boxes import iou_of_pairs
from avadet.errors import AvadetError
from avadet.keyframes import join_keyframes
from avadet.types import BoolArray, Float64Array, IntArray

MIN_IOU = 0.99
_DECIMALS = 6
_SCORE_DECIMALS = 12  # of means, so that what files wrote stays as it is


@dataclass(frozen=True)
class Fusion:
    """What became of several files.

    Attributes:
        table: the rows of all files, in order of first appearance; box and time as the first file that has it wrote
            them.
        partial: int64 (number of files,), rows of the table that each file lacks.
        loose: boxes that were paired though they differ.
    """

    table: AvaTable
    partial: IntArray
    loose: int


def fuse(
    tables: Sequence[AvaTable],
    weights: Sequence[float] | None = None,
    mean: Literal["arithmetic", "geometric"] = "arithmetic",
    absent: Literal["error", "mean", "zero"] = "error",
) -> Fusion:
    """Join detections.

    Args:
        tables: of each file; no scores count as 1. Rows without a class only name a keyframe and are left out.
        weights: of each file; None = all alike.
        mean: which mean of the scores.
        absent: rows that some file lacks are an error, or have the mean of the files that have them ("mean"), or of all
            files, with 0 where the row is missing ("zero").

    Raises:
        AvadetError: for weights that are no weights, a score that is NaN or under 0, or rows that some file lacks.
    """
    factors = _factors(weights, len(tables))
    named = [table.rows(np.asarray(table.class_ids) != NO_CLASS) for table in tables]
    boxes, loose = _same_boxes(named)
    which, first = _same_rows(boxes, named)
    table_of = np.repeat(np.arange(len(named)), [len(table) for table in named])
    counts = np.bincount(which, minlength=len(first))
    partial = len(first) - np.bincount(table_of, minlength=len(named))
    if partial.any() and absent == "error":
        lacks = ", ".join(f"file {number + 1} lacks {count}" for number, count in enumerate(partial) if count)
        raise AvadetError(
            f"{np.count_nonzero(counts < len(named))} of {len(first)} rows are not in every file ({lacks}); fuse files "
            "of the same boxes, or say what absent rows count: --partial mean or --partial zero"
        )
    all_scores = np.concatenate([_scores(table) for table in named])
    whole = AvaTable(
        np.concatenate([np.asarray(table.video_ids, object) for table in named])[first],
        np.concatenate([table.times_s for table in named])[first],
        np.concatenate([table.boxes_norm for table in named])[first],
        np.concatenate([table.class_ids for table in named])[first],
        _mean(which, all_scores, factors[table_of], mean, absent == "zero"),
    )
    return Fusion(whole, partial.astype(np.int64), loose)


def _factors(weights: Sequence[float] | None, count: int) -> Float64Array:
    factors = np.ones(count) if weights is None else np.asarray(weights, np.float64)
    if len(factors) != count or not (np.isfinite(factors).all() and (factors >= 0).all() and factors.sum() > 0):
        raise AvadetError(f"weights must be {count} numbers from 0, one a file and not all 0, got {weights}")
    return np.asarray(factors / factors.sum())


def _scores(table: AvaTable) -> Float64Array:
    scores = np.ones(len(table)) if table.scores is None else np.asarray(table.scores, np.float64)
    wrong = np.flatnonzero(~(np.isfinite(scores) & (scores >= 0)))
    if len(wrong):
        raise AvadetError(
            f"a mean needs scores from 0, got {scores[wrong[0]]} for video '{table.video_ids[wrong[0]]}' at "
            f"{table.times_s[wrong[0]]:g} s ({len(wrong)} such rows)"
        )
    return scores


def _mean(which: IntArray, scores: Float64Array, factors: Float64Array, mean: str, of_all: bool) -> Float64Array:
    """Mean of the scores of each row; `of_all`: absent ones count as 0."""
    weight = np.bincount(which, factors)
    with np.errstate(divide="ignore", invalid="ignore"):
        if mean == "arithmetic":
            means = np.bincount(which, factors * scores) / (1.0 if of_all else weight)
        else:
            logs = np.where(factors > 0, factors * np.log(scores), 0.0)
            means = np.exp(np.bincount(which, logs) / weight)
            means = np.where(of_all & ~np.isclose(weight, 1), 0.0, means)
    return np.asarray(np.where(weight > 0, means, 0.0).round(_SCORE_DECIMALS))


def _same_boxes(tables: Sequence[AvaTable]) -> tuple[IntArray, int]:
    """A number for the box of each row of all tables, int64 (n,), and how many boxes were paired by overlap alone."""
    frames = np.concatenate(join_keyframes([(table.video_ids, table.times_s) for table in tables]).numbers)
    sides = np.concatenate([np.asarray(table.boxes_norm, np.float64).reshape(-1, 4) for table in tables])
    sides_known = np.nan_to_num(sides, nan=-1.0).clip(-1e6, 1e6)
    keys = np.column_stack([frames, np.rint(sides_known * 10.0**_DECIMALS).astype(np.int64)])
    runs = np.flatnonzero(np.append(True, (np.diff(keys, axis=0) != 0).any(axis=1))[: len(keys)])
    first, numbers = _groups(keys[runs])  # a file has the classes of a box one after the other
    first, numbers = runs[first], np.repeat(numbers, np.diff(runs, append=len(keys)))
    table_of = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    leaders, loose = np.arange(len(first)), 0
    known = np.unique(numbers[table_of == 0])
    for table in range(1, len(tables)):
        own = np.unique(numbers[table_of == table])
        new, free = np.setdiff1d(own, known), np.setdiff1d(known, own)
        mine, theirs = _paired(frames[first], sides[first], new, free)
        leaders[mine] = theirs
        loose += len(mine)
        known = np.union1d(known, np.setdiff1d(new, mine))
    return leaders[numbers], loose


def _paired(frames: IntArray, sides: Float64Array, new: IntArray, free: IntArray) -> tuple[IntArray, IntArray]:
    """Pair boxes of one keyframe, numbers `new` with numbers `free`, one to one, best overlap first."""
    free = free[np.argsort(frames[free], kind="stable")]
    low = np.searchsorted(frames[free], frames[new])
    sizes = np.searchsorted(frames[free], frames[new], side="right") - low
    mine = np.repeat(new, sizes)
    theirs = free[np.repeat(low - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())]
    overlap = iou_of_pairs(sides[mine], sides[theirs])
    order = np.argsort(-overlap, kind="stable")
    order = order[overlap[order] >= MIN_IOU]
    mine, theirs = mine[order], theirs[order]
    pairs: list[tuple[IntArray, IntArray]] = []
    while len(mine):  # a pair that is the best of both is one; then those that are left
        best = _firsts(mine) & _firsts(theirs)
        pairs.append((mine[best], theirs[best]))
        rest = ~np.isin(mine, mine[best]) & ~np.isin(theirs, theirs[best])
        mine, theirs = mine[rest], theirs[rest]
    none = np.zeros(0, np.int64)
    return np.concatenate([none, *(one for one, _ in pairs)]), np.concatenate([none, *(other for _, other in pairs)])


def _firsts(values: IntArray) -> BoolArray:
    """Which entries are the first of their value."""
    first = np.zeros(len(values), np.bool_)
    first[np.unique(values, return_index=True)[1]] = True
    return first


def _same_rows(boxes: IntArray, tables: Sequence[AvaTable]) -> tuple[IntArray, IntArray]:
    """Of each row of all tables the number of the fused row, int64 (n,), and where each of these first stands."""
    class_ids = np.concatenate([np.asarray(table.class_ids, np.int64) for table in tables])
    table_of = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    order = np.lexsort((table_of, class_ids, boxes))
    same = np.diff(np.column_stack([boxes, class_ids, table_of])[order], axis=0, prepend=-1).any(axis=1)
    runs = np.flatnonzero(same)
    repetition = np.empty(len(order), np.int64)  # of a box and class within its file
    repetition[order] = np.arange(len(order)) - np.repeat(runs, np.diff(runs, append=len(order)))
    first, which = _groups(np.column_stack([boxes, class_ids, repetition]))
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[which], np.sort(first)


def _groups(keys: IntArray) -> tuple[IntArray, IntArray]:
    """Group equal rows of keys (n, c): the first row of each group, groups sorted by value; the group of each row."""
    order = np.lexsort(keys.T[::-1])
    new = np.ones(len(order), np.bool_)
    new[1:] = (np.diff(keys[order], axis=0) != 0).any(axis=1)
    group = np.empty(len(order), np.int64)
    group[order] = np.cumsum(new) - 1
    return order[new], group
