"""How sure a result is: 95% intervals by bootstrap over videos, and whether one result is better than another.

Frames of a video are alike, so the videos are what is drawn at random: each resample draws as many videos as there are,
with replacement, and scores them as a data set in which a video stands as often as it was drawn. The interval is that
of the middle 95% of the resamples (percentile method: Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
chapter 13). Two results are compared on the same resamples, so what makes a video hard for both cancels out.

The score of a resample is exact and needs no copies. With w the times that each video was drawn, a true positive counts
w times, and so do the rows ahead of it: its precision is the weighted count of true positives up to it over the
weighted count of rows up to it, both of them whole numbers.

A class without true boxes in a resample stays out of its mean. Rare classes are often hard ones, so with few videos the
resamples score higher than the result, and the interval of the mAP lies around a value above it. Differences between
two results hardly suffer: both lose the same classes.

Equal scores keep the order of the result: copies of a row stand side by side where the row stood. A data set with real
copies gives the same AP where no class has equal scores within a keyframe; there, whole keyframes are copied, and
its AP may be another one of the range that orders of equal scores allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from avadet.errors import AvadetError
from avadet.evaluation.matching import Matches
from avadet.evaluation.result import or_none
from avadet.types import BoolArray, Float64Array, IntArray, LabelMap

LEVEL = 0.95
RESAMPLES = 1000
Interval = tuple[float, float]

_LEAST_VIDEOS = 2
_FEW_VIDEOS = 10
_ROWS_AT_ONCE = 256
_RESAMPLES_AT_ONCE = (64, 1000)
_PRODUCT_ROWS = 4
_PRODUCT_SIZE = 1 << 18  # multiplications; OpenBLAS keeps products of this size in one thread


@dataclass(frozen=True)
class Intervals:
    """Where AP lies, given that other videos might have been taken. NaN where fewer than 2 videos have true boxes.

    Attributes:
        level: share of the resamples that the intervals hold.
        resamples: how many were drawn.
        num_videos: videos that they were drawn from.
        mAP: lower and upper end, 0-1.
        ap: float64 (K, 2), the same by class; NaN too where AP is.
        groups: the same of the mean of each group of classes.
    """

    level: float
    resamples: int
    num_videos: int
    mAP: Interval
    ap: Float64Array
    groups: dict[str, Interval]

    @property
    def note(self) -> str:
        """What the number of videos means for the intervals; empty if they are enough."""
        return videos_note(self.num_videos, self.mAP)

    def json(self, labels: LabelMap) -> dict[str, object]:
        """Everything, ready for `json.dumps`; None stands for NaN, keys of the classes are their ids."""
        rows = [index for index, evaluated in enumerate(labels.evaluated) if evaluated]
        return {
            "level": self.level,
            "resamples": self.resamples,
            "num_videos": self.num_videos,
            "mAP": ends_json(self.mAP),
            "ap": {str(labels.ids[row]): ends_json(_ends(self.ap[row])) for row in rows},
            "group_mAP": {group: ends_json(ends) for group, ends in self.groups.items()},
            "note": self.note,
        }


@dataclass(frozen=True)
class Resampled:
    """What each resample of B gives.

    Attributes:
        ap: float64 (B, K), NaN where the resample has no true box of the class.
        in_mean: bool (B, K), which classes its mean is over.
    """

    ap: Float64Array
    in_mean: BoolArray

    def mean(self, classes: BoolArray | None = None) -> Float64Array:
        """Mean AP of each resample, over `classes`, bool (K,), alone if given; float64 (B,), NaN without classes."""
        chosen = self.in_mean if classes is None else self.in_mean & classes
        total = np.where(chosen, self.ap, 0.0).sum(axis=1)
        counts = chosen.sum(axis=1)
        return np.asarray(np.divide(total, counts, out=np.full(len(total), np.nan), where=counts > 0))


def bootstrap(matches: Matches, resamples: int = RESAMPLES, seed: int = 0) -> Intervals:
    """Draw resamples of the videos and see how far the result moves.

    Args:
        matches: who found whom.
        resamples: how many, at least 1.
        seed: of the draws; the same videos and seed give the same draws.

    Raises:
        AvadetError: if `resamples` is not positive.
    """
    videos = videos_that_count(matches)
    drawn = resample(matches, videos, draw(len(videos), resamples, seed))
    spread = spread_of_truth(matches, videos)
    return Intervals(
        LEVEL,
        resamples,
        len(videos),
        interval(drawn.mean(), spread),
        np.array([interval(ap, row[None]) for ap, row in zip(drawn.ap.T, spread)]).reshape(-1, 2),
        {name: interval(drawn.mean(chosen), spread[chosen]) for name, chosen in group_classes(matches).items()},
    )


def videos_that_count(*several: Matches) -> tuple[str, ...]:
    """Names of the videos of the ground truth and of detections that count, of any of the matches, sorted."""
    names: set[str] = set()
    for matches in several:
        seen = np.zeros(len(matches.is_excluded), np.bool_)
        seen[matches.true.frames] = True
        seen &= ~matches.is_excluded
        for one in matches.classes:
            seen[matches.found.frames[one.rows]] = True
        names.update(matches.video_names[number] for number in np.unique(matches.frame_videos[seen]))
    return tuple(sorted(names))


def draw(num_videos: int, resamples: int, seed: int) -> IntArray:
    """How often each resample has each video; int64 (resamples, num_videos), rows sum to num_videos.

    Raises:
        AvadetError: if `resamples` is not positive.
    """
    if resamples < 1:
        raise AvadetError(f"resamples must be 1 or more, got {resamples}")
    if not num_videos:
        return np.zeros((resamples, 0), np.int64)
    return np.random.default_rng(seed).multinomial(num_videos, np.full(num_videos, 1 / num_videos), resamples)


def resample(matches: Matches, videos: Sequence[str], weights: IntArray) -> Resampled:
    """AP of data sets in which videos stand several times or not at all.

    Args:
        matches: who found whom.
        videos: V names, among them all `videos_that_count` of these matches.
        weights: int64 (B, V), how often each data set has each video.
    """
    columns = _columns(matches, videos)
    ap = np.full((len(weights), len(matches.classes)), np.nan)
    in_mean = np.zeros(ap.shape, np.bool_)
    at_once = int(np.clip(_PRODUCT_SIZE // (_PRODUCT_ROWS * max(len(videos), 1)), *_RESAMPLES_AT_ONCE))
    for first in range(0, len(weights), at_once):
        part = slice(first, first + at_once)
        by_video = np.ascontiguousarray(weights[part].T, np.float64)
        for index, one in enumerate(matches.classes):
            if len(one.truth):
                true, rows = columns[matches.true.frames[one.truth]], columns[matches.found.frames[one.rows]]
                counts = [_count(some, len(videos)) for some in (true, rows, rows[one.is_true])]
                num_true, num_det, num_tp = _times(np.array(counts), by_video)
                area = _area(one.is_true, rows, num_tp, by_video)
                np.divide(area, num_true, out=ap[part, index], where=num_true > 0)
                in_mean[part, index] = (num_true > 0) & ((num_det > 0) | (not matches.rules.mean_over_detected))
    return Resampled(ap, in_mean)


def _columns(matches: Matches, videos: Sequence[str]) -> IntArray:
    """Position in `videos` of each keyframe's video, -1 for none; int64 (number of keyframes,)."""
    position = {name: index for index, name in enumerate(videos)}
    numbers = np.array([position.get(name, -1) for name in matches.video_names], np.int64)
    return numbers[matches.frame_videos]


def _count(columns: IntArray, num_videos: int) -> Float64Array:
    """How often each video occurs; float64 (V,) of whole numbers, for exact products at the speed of BLAS."""
    return np.bincount(columns, minlength=num_videos).astype(np.float64)


def _times(counts: Float64Array, weights: Float64Array) -> Float64Array:
    """Matrix product (n, V) by (V, B) -> (n, B), in pieces so small that BLAS computes them in this thread.

    One large product would be shared out to threads hundreds of times, and where other programs keep the processors
    busy each of those waits for the slowest: measured three times as long.
    """
    padded = np.zeros((-(-len(counts) // _PRODUCT_ROWS) * _PRODUCT_ROWS, len(weights)))
    padded[: len(counts)] = counts
    pieces = padded.reshape(-1, _PRODUCT_ROWS, len(weights)) @ weights
    return pieces.reshape(-1, weights.shape[1])[: len(counts)]


def _area(is_true: BoolArray, columns: IntArray, num_tp: Float64Array, weights: Float64Array) -> Float64Array:
    """Sum over the true positives of one class of weight times envelope of precision: AP times true boxes.

    Only true positives need a row of numbers: the envelope of precision changes nowhere else. They are taken from the
    worst to the best, some at a time, and carry the envelope along. One that a resample lacks does no harm: its
    precision is no higher than that of the last one before it that the resample has.

    Args:
        is_true: bool (n,), true positives marked, best score first.
        columns: int64 (n,), the video of each row.
        num_tp: float64 (B,), true positives of each resample.
        weights: float64 (V, B), how often each resample has each video.

    Returns:
        float64 (B,).
    """
    num_videos = len(weights)
    places = np.flatnonzero(is_true)
    area, envelope, hits_before = np.zeros(len(num_tp)), np.zeros(len(num_tp)), num_tp
    seen_before = _count(columns[: places.max(initial=-1) + 1], num_videos)
    for last in range(len(places), 0, -_ROWS_AT_ONCE):
        first = max(last - _ROWS_AT_ONCE, 0)
        rows = slice(places[first - 1] + 1 if first else 0, places[last - 1] + 1)
        # rows between two true positives belong to the later one
        owner: IntArray = np.cumsum(is_true[rows]) - is_true[rows]
        cells = _count(owner * num_videos + columns[rows], (last - first) * num_videos).reshape(-1, num_videos)
        seen_before = seen_before - cells.sum(axis=0)
        seen = _times(seen_before + np.cumsum(cells, axis=0), weights)
        weight = weights[columns[places[first:last]]]
        hits_before = hits_before - weight.sum(axis=0)
        precision = _summed_down(weight, hits_before)
        precision /= np.maximum(seen, 1, out=seen)
        envelope = _raise_to_envelope(precision, envelope)
        area += np.einsum("ij,ij->j", weight, precision)
    return area


def _summed_down(values: Float64Array, before: Float64Array) -> Float64Array:
    """Running sums of the rows, from `before` on; row by row, which numpy does three times as fast as cumsum."""
    sums = values.copy()
    sums[0] += before
    for above, row in pairwise(sums):
        row += above
    return sums


def _raise_to_envelope(precision: Float64Array, after: Float64Array) -> Float64Array:
    """Raise every row, in place, to the largest of those below it and `after`; returns the first row."""
    np.maximum(precision[-1], after, out=precision[-1])
    for row, below in zip(precision[-2::-1], precision[:0:-1]):
        np.maximum(row, below, out=row)
    return np.array(precision[0])


def spread_of_truth(matches: Matches, videos: Sequence[str]) -> BoolArray:
    """Which videos have true boxes of which class; bool (K, V)."""
    columns = _columns(matches, videos)
    spread = [_count(columns[matches.true.frames[one.truth]], len(videos)) > 0 for one in matches.classes]
    return np.array(spread, np.bool_).reshape(len(matches.classes), len(videos))


def interval(values: Float64Array, spread: BoolArray) -> Interval:
    """The middle 95% of the resamples in which there is a value.

    Args:
        values: float64 (B,).
        spread: bool (classes, V), which videos have true boxes of what the values are about. With all of them in one
            video, every resample that has a value has the same true boxes, so that the values say nothing: NaN.
    """
    known = values[~np.isnan(values)]
    if not len(known) or spread.any(axis=0).sum() < _LEAST_VIDEOS:
        return float("nan"), float("nan")
    return _ends(np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))


def _ends(values: Float64Array) -> Interval:
    return float(values[0]), float(values[1])


def ends_json(ends: Interval) -> list[float | None]:
    """Both ends as JSON knows them."""
    return [or_none(end) for end in ends]


def group_classes(matches: Matches) -> dict[str, BoolArray]:
    """Classes of each group that has a mean, bool (K,) each, in the order of `FrameMapResult.group_map`."""
    groups = np.array(matches.labels.groups)
    needs_rows = matches.rules.mean_over_detected
    counts = [len(one.truth) > 0 and (len(one.rows) > 0 or not needs_rows) for one in matches.classes]
    return {str(name): groups == name for name in dict.fromkeys(groups[counts])}


def videos_note(num_videos: int, ends: Interval) -> str:
    """Why there is no interval, or that it is too narrow; empty if videos are enough.

    A 95% percentile interval of a mean holds the truth 74% of the time with 3 values, 83% with 5, 90% with 10.
    """
    if np.isnan(ends[0]):
        least = f"{_LEAST_VIDEOS} videos with true boxes at least"
        return f"no intervals: they take {least}; the files have {num_videos} in all"
    few = f"{num_videos} videos are few: intervals from fewer than {_FEW_VIDEOS} are too narrow"
    return few if num_videos < _FEW_VIDEOS else ""
