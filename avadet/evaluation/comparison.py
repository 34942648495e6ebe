"""Is one result better than another: their difference on the same resamples of the videos (see `bootstrap`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avadet.errors import AvadetError
from avadet.evaluation.bootstrap import (
    LEVEL,
    RESAMPLES,
    Interval,
    Resampled,
    draw,
    ends_json,
    group_classes,
    interval,
    resample,
    spread_of_truth,
    videos_note,
    videos_that_count,
)
from avadet.evaluation.frame_map import result_of
from avadet.evaluation.matching import Matches
from avadet.evaluation.result import FrameMapResult, or_none, percent
from avadet.types import BoolArray, Float64Array, LabelMap

_DECIMALS = 12  # of differences: rounding errors are none
_SURE = {"B": "B is better", "A": "A is better", "": "no difference that these videos can show"}


@dataclass(frozen=True)
class Change:
    """One number of two results.

    Attributes:
        a: of the first, 0-1.
        b: of the second, 0-1.
        interval: lower and upper end of b - a; NaN where fewer than 2 videos have true boxes of it.
        a_better: share of the resamples in which a is larger, of those that have it; NaN like the interval.
        b_better: the same of b.
        num_videos: videos with true boxes of it.
    """

    a: float
    b: float
    interval: Interval
    a_better: float
    b_better: float
    num_videos: int

    @property
    def difference(self) -> float:
        """B minus a."""
        return round(self.b - self.a, _DECIMALS)

    @property
    def better(self) -> str:
        """Which is better, "A" or "B"; "" if the interval holds 0 or there is none."""
        low, high = self.interval
        return "B" if low > 0 else "A" if high < 0 else ""

    @property
    def verdict(self) -> str:
        """The answer in words; differences in percent."""
        if np.isnan(self.difference):
            return "nothing to compare: no class has true boxes"
        low, high = self.interval
        if np.isnan(low):
            return f"B - A is {_signed(self.difference)}; whether that is chance these videos cannot say"
        if low == high == 0:
            return "no difference: every resample gives both the same"
        ends = f"{LEVEL:.0%} {_signed(low)} to {_signed(high)}"
        return f"{_SURE[self.better]}: B - A is {_signed(self.difference)} ({ends})"

    def json(self) -> dict[str, object]:
        """Everything, ready for `json.dumps`; None stands for NaN."""
        return {
            "a": or_none(self.a),
            "b": or_none(self.b),
            "difference": or_none(self.difference),
            "interval": ends_json(self.interval),
            "a_better": or_none(self.a_better),
            "b_better": or_none(self.b_better),
            "better": self.better,
            "num_videos": self.num_videos,
        }


@dataclass(frozen=True)
class Comparison:
    """Two results on the same ground truth.

    Attributes:
        a: the first result.
        b: the second.
        level: share of the resamples that the intervals hold.
        resamples: how many were drawn, the same for both.
        num_videos: videos that they were drawn from.
        mAP: the mean over classes.
        groups: the mean of each group of classes.
        classes: by row of the label map, the classes with true boxes; the largest gain of b first.
    """

    a: FrameMapResult
    b: FrameMapResult
    level: float
    resamples: int
    num_videos: int
    mAP: Change
    groups: dict[str, Change]
    classes: dict[int, Change]

    @property
    def verdict(self) -> str:
        """The answer in words."""
        return self.mAP.verdict

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the numbers should know, one line each."""
        there = not np.isnan(self.mAP.interval[0])
        known = [change for change in self.classes.values() if not np.isnan(change.interval[0])]
        lone, sure = len(self.classes) - len(known), sum(change.better != "" for change in known)
        by_chance = (1 - self.level) * len(known)
        a, b = self.a.in_mean, self.b.in_mean
        notes = {
            f"classes without an interval, as their true boxes are all in one video: {lone}": there and lone,
            f"classes that differ: {sure} of {len(known)}; by chance alone about {by_chance:.1f} would": sure,
            videos_note(self.num_videos, self.mAP.interval): True,
            f"A has {a.sum()} classes in the mean, B {b.sum()}: those without detections stay out": (a != b).any(),
        }
        return tuple(text for text, holds in notes.items() if text and holds)

    def json(self) -> dict[str, object]:
        """Everything, ready for `json.dumps`; None stands for NaN, keys of the classes are their ids."""
        labels = self.a.labels
        return {
            "protocol": self.a.protocol,
            "level": self.level,
            "resamples": self.resamples,
            "num_videos": self.num_videos,
            "verdict": self.verdict,
            "mAP": self.mAP.json(),
            "groups": {group: change.json() for group, change in self.groups.items()},
            "classes": {
                str(labels.ids[row]): {"name": labels.names[row], "num_gt": int(self.a.num_gt[row]), **change.json()}
                for row, change in self.classes.items()
            },
            "notes": list(self.notes),
        }

    def table(self) -> str:
        """A text table in percent: classes by falling difference, the groups, the mean, and the verdict."""
        labels = self.a.labels
        means = {f"mean of {group}": change for group, change in self.groups.items()} | {"frame-mAP@0.5": self.mAP}
        width = max(map(len, [*(labels.names[row] for row in self.classes), *means]))
        lines = [_header(width)]
        lines += [self._class_line(row, change, labels, width) for row, change in self.classes.items()]
        lines += [f"{'':>4}  {name:<{width}}  {'':<7} {'':>8} {_cells(change)}" for name, change in means.items()]
        lines += ["", self.verdict]
        lines.append(f"from {self.resamples} resamples of {self.num_videos} videos, the same for A and B")
        lines += self.notes
        lines.append(f"protocol {self.a.protocol} ({self.a.reference})")
        return "\n".join(line.rstrip() for line in lines)

    def _class_line(self, row: int, change: Change, labels: LabelMap, width: int) -> str:
        start = f"{labels.ids[row]:>4}  {labels.names[row]:<{width}}  {labels.groups[row]:<7}"
        return f"{start} {self.a.num_gt[row]:>8} {_cells(change)}"


def compare(matches_a: Matches, matches_b: Matches, resamples: int = RESAMPLES, seed: int = 0) -> Comparison:
    """Compare two results on the same resamples of the videos.

    Args:
        matches_a: who found whom, the first.
        matches_b: the second, of the same ground truth by the same rules.
        resamples: how many, at least 1.
        seed: of the draws; the same videos and seed give the same draws.

    Raises:
        AvadetError: if labels, rules or ground truth differ, or `resamples` is not positive.
    """
    _check_same_truth(matches_a, matches_b)
    videos = videos_that_count(matches_a, matches_b)
    weights = draw(len(videos), resamples, seed)
    pair = _Pair(
        (result_of(matches_a), result_of(matches_b)),
        (resample(matches_a, videos, weights), resample(matches_b, videos, weights)),
        spread_of_truth(matches_a, videos),
    )
    a, b = pair.results
    groups = {**group_classes(matches_a), **group_classes(matches_b)}
    classes = {index: pair.of_class(index) for index in np.flatnonzero(~np.isnan(a.ap)).tolist()}
    return Comparison(
        a,
        b,
        LEVEL,
        resamples,
        len(videos),
        pair.of_mean(np.ones(len(a.ap), np.bool_)),
        {group: pair.of_mean(chosen) for group, chosen in groups.items()},
        dict(sorted(classes.items(), key=lambda item: -item[1].difference)),
    )


@dataclass(frozen=True)
class _Pair:
    """Both results, what the resamples give for each, and which videos have true boxes of which class, bool (K, V)."""

    results: tuple[FrameMapResult, FrameMapResult]
    drawn: tuple[Resampled, Resampled]
    spread: BoolArray

    def of_mean(self, classes: BoolArray) -> Change:
        """The mean over some classes, bool (K,)."""
        a, b = (_mean(one, classes) for one in self.results)
        drawn_a, drawn_b = (one.mean(classes) for one in self.drawn)
        return _change(a, b, drawn_b - drawn_a, self.spread[classes])

    def of_class(self, index: int) -> Change:
        """AP of one class."""
        a, b = (float(one.ap[index]) for one in self.results)
        drawn_a, drawn_b = (one.ap[:, index] for one in self.drawn)
        return _change(a, b, drawn_b - drawn_a, self.spread[index][None])


def _mean(result: FrameMapResult, classes: BoolArray) -> float:
    chosen = result.ap[result.in_mean & classes]
    return float(chosen.mean()) if len(chosen) else float("nan")


def _change(a: float, b: float, differences: Float64Array, spread: BoolArray) -> Change:
    """One number: both values, and b - a of each resample; `spread` as `bootstrap.interval` has it."""
    differences = differences.round(_DECIMALS)
    ends, a_better, b_better = interval(differences, spread), float("nan"), float("nan")
    if not np.isnan(ends[0]):
        known = differences[~np.isnan(differences)]
        a_better, b_better = float((known < 0).mean()), float((known > 0).mean())
    return Change(a, b, ends, a_better, b_better, int(spread.any(axis=0).sum()))


def _check_same_truth(a: Matches, b: Matches) -> None:
    """Raise unless both were matched to the same true boxes by the same rules."""
    if a.rules != b.rules:
        raise AvadetError(f"two results compare under one protocol only, got {a.rules.name} and {b.rules.name}")
    if a.labels != b.labels:
        counts = f"{len(a.labels)} and {len(b.labels)} classes"
        raise AvadetError(f"two results compare with one label map only, got two that differ ({counts})")
    if not _same_truth(a, b):
        counts = f"{len(a.true.frames)} and {len(b.true.frames)} rows"
        raise AvadetError(f"two results compare on one ground truth only, got two that differ ({counts})")


def _same_truth(a: Matches, b: Matches) -> bool:
    """Whether row by row class, box, video and exclusion are equal, and which rows share a keyframe."""
    if not np.array_equal(a.true.class_ids, b.true.class_ids) or not np.array_equal(a.true.boxes, b.true.boxes):
        return False
    for one, other in ((_true_videos(a), _true_videos(b)), (_true_excluded(a), _true_excluded(b))):
        if not np.array_equal(one, other):
            return False
    first = [np.unique(one.true.frames, return_index=True, return_inverse=True)[1:] for one in (a, b)]
    first_a, first_b = (rows[inverse] for rows, inverse in first)
    return bool(np.array_equal(first_a, first_b))


def _true_videos(matches: Matches) -> BoolArray:
    """Name of the video of each row of the ground truth."""
    return np.array(matches.video_names, dtype=object)[matches.frame_videos[matches.true.frames]]


def _true_excluded(matches: Matches) -> BoolArray:
    """Which rows of the ground truth are excluded."""
    return matches.is_excluded[matches.true.frames]


def _header(width: int) -> str:
    numbers = (
        f"{'videos':>6}  {'A':>6} {'B':>6}  {'B - A':>7}  {'95% interval':^18}  {'A > B':>6}  {'B > A':>6}  better"
    )
    return f"{'id':>4}  {'class':<{width}}  {'group':<7} {'num_gt':>8} {numbers}"


def _cells(change: Change) -> str:
    """Videos, both values, their difference with its interval, how often each is better, and which one it is."""
    low, high = change.interval
    ends = f"{'-':^18}" if np.isnan(low) else f"{_signed(low):>7} to {_signed(high):>7}"
    values = f"{percent(change.a)} {percent(change.b)}  {_signed(change.difference):>7}"
    shares = f"{percent(change.a_better)}  {percent(change.b_better)}"
    return f"{change.num_videos:>6}  {values}  {ends}  {shares}  {change.better}"


def _signed(share: float) -> str:
    """A difference in percent, with its sign even where it rounds to 0; "0.00" = none at all, "-" = NaN."""
    if np.isnan(share):
        return "-"
    return f"{100 * share:+.2f}" if share else "0.00"
