"""Laws of frame-mAP, for every protocol that keeps them, on problems that hypothesis makes up.

Ties decide what can be promised. The range `ap_tie_lo`..`ap_tie_hi` keeps every law with equal scores; without equal
scores the range is one number, the AP. Two things hang on the order of rows by design and are kept out of the way:
PySlowFast lets the boxes of a keyframe choose in file order, and of two true boxes equally near a box takes the first
(hence `nudged`). Which of several equal scores ActivityNet's limit of 50 rows cuts off is its heap's affair.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pytest

pytest.importorskip("hypothesis", reason="hypothesis makes up the problems; part of the test extra")
from hypothesis import given, settings
from hypothesis import strategies as st

from avadet.annotations.ava import NO_CLASS, AvaTable, Keyframes
from avadet.evaluation.frame_map import FrameMapResult, evaluate_frame_map
from avadet.evaluation.protocols import PROTOCOLS
from avadet.types import LabelMap

LABELS = LabelMap(
    ("stand", "sit", "talk", "crawl"), (12, 11, 79, 2), ("pose", "pose", "person", "pose"), (True,) * 3 + (False,)
)
VIDEOS, TIMES_S = ("a", "b"), (1.0, 2.0, 2.5)
Box = tuple[float, float, float, float]
NOWHERE = (0.0, 0.0, 0.0, 0.0)
CORNER = (0.94, 0.94, 1.0, 1.0)  # apart from every other box

quick = settings(max_examples=40, deadline=None, derandomize=True, database=None)
every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)
best_first = pytest.mark.parametrize("protocol", ["activitynet", "mmaction2"])


class Row(NamedTuple):
    video: str
    time_s: float
    class_id: int
    box: Box
    score: float

    @property
    def key(self) -> tuple[str, float]:
        return self.video, self.time_s


@dataclass(frozen=True)
class Problem:
    true: list[Row]
    found: list[Row]
    excluded: list[tuple[str, float]]


def row_of(video: str, time_s: float, class_id: int, left: float, step: int, level: int) -> Row:
    """A box of width 0.35 that is moved by steps of 0.02; six steps apart, IoU falls below a half."""
    box = (left + step / 50, 0.1, left + step / 50 + 0.35, 0.8)
    return Row(video, time_s, class_id, box if class_id != NO_CLASS else NOWHERE, 0.1 + level / 10)


def nudged(true: list[Row]) -> list[Row]:
    """True boxes moved by 0.001-0.004 so that no box is equally near to two of them."""
    shifts = [0.001 * math.sqrt(index + 1) for index in range(len(true))]
    moved = [(r.box[0] + shift, r.box[1], r.box[2] + shift, r.box[3]) for r, shift in zip(true, shifts)]
    return [row._replace(box=box) if row.class_id != NO_CLASS else row for row, box in zip(true, moved)]


rows = st.builds(
    row_of,
    st.sampled_from(["a", "a", "b"]),
    st.sampled_from([1.0, 1.0, 1.0, 2.0, 2.5]),  # most on one keyframe, so that they contend
    st.sampled_from([12, 12, 12, 12, 79, 79, 11, 2, NO_CLASS]),
    st.sampled_from([0.05, 0.3]),
    st.integers(0, 12),
    st.integers(0, 5),
)
# more rows than ActivityNet's limit on one keyframe; level by level, so that all may tie
crowd = [row_of("a", 1.0, 79 if n % 3 else 12, 0.3, n % 13, n % 6) for n in range(54)]


@st.composite
def problems(draw: st.DrawFn, ties: bool, crowds: bool = True) -> Problem:
    """Several classes, empty and unlisted and excluded keyframes; equal scores, or none."""
    found = draw(st.lists(rows, min_size=5, max_size=16))
    if crowds and draw(st.booleans()):
        found = [*found[:3], *crowd, *found[3:]]
    if not ties:
        found = [row._replace(score=row.score + (n * 37 % 101) / 2000) for n, row in enumerate(found)]
    true = draw(st.lists(rows, min_size=4, max_size=8))
    excluded = draw(st.lists(st.tuples(st.sampled_from(VIDEOS), st.sampled_from(TIMES_S)), max_size=2))
    return Problem(nudged(true), found, excluded)


anything = st.one_of(problems(ties=True), problems(ties=False))


def table(source: list[Row]) -> AvaTable:
    return AvaTable(
        np.array([row.video for row in source], dtype=object),
        np.array([row.time_s for row in source], np.float64),
        np.array([row.box for row in source], np.float64).reshape(-1, 4),
        np.array([row.class_id for row in source], np.int64),
        np.array([row.score for row in source], np.float64),
    )


def evaluate(problem: Problem, protocol: str) -> FrameMapResult:
    videos = np.array([video for video, _ in problem.excluded], dtype=object)
    excluded = Keyframes(videos, np.array([time_s for _, time_s in problem.excluded], np.float64))
    return evaluate_frame_map(table(problem.true), table(problem.found), LABELS, protocol, excluded)


def assert_counts(result: FrameMapResult, base: FrameMapResult, times: int = 1) -> None:
    for name in ("num_gt", "num_det", "num_tp"):
        assert getattr(result, name).tolist() == (times * getattr(base, name)).tolist(), name


def assert_range(result: FrameMapResult, base: FrameMapResult) -> None:
    """The same AP up to the order of equal scores; where none are equal, the same AP."""
    for name in ("ap_tie_lo", "ap_tie_hi"):
        assert getattr(result, name) == pytest.approx(getattr(base, name), abs=1e-12, nan_ok=True), name
    inside = (result.ap_tie_lo <= result.ap + 1e-12) & (result.ap <= result.ap_tie_hi + 1e-12)
    assert (inside | np.isnan(result.ap)).all()


def assert_equal(result: FrameMapResult, base: FrameMapResult) -> None:
    assert_counts(result, base)
    assert_range(result, base)
    assert result.ap == pytest.approx(base.ap, abs=1e-12, nan_ok=True)


def no_higher(values: np.ndarray, base: np.ndarray) -> bool:
    return bool(((values <= base + 1e-12) | np.isnan(base)).all())


@every_protocol
@quick
@given(anything, st.sampled_from(VIDEOS), st.sampled_from(TIMES_S), st.integers(0, 100))
def test_a_lowest_scored_false_positive_never_raises_ap(
    protocol: str, problem: Problem, video: str, time_s: float, place: int
) -> None:
    place %= len(problem.found) + 1
    miss = Row(video, time_s, 12, CORNER, 0.01)
    base = evaluate(problem, protocol)
    worse = evaluate(replace(problem, found=[*problem.found[:place], miss, *problem.found[place:]]), protocol)
    assert worse.num_tp.tolist() == base.num_tp.tolist()
    assert no_higher(worse.ap_tie_lo, base.ap_tie_lo)
    assert no_higher(worse.ap_tie_hi, base.ap_tie_hi)
    assert_range(worse, base)  # an envelope of precision does not even fall
    assert 0 <= worse.num_det[0] - base.num_det[0] <= 1


@every_protocol
@quick
@given(st.one_of(problems(ties=True, crowds=False), problems(ties=False, crowds=False)))
def test_a_lowest_scored_copy_of_a_box_never_raises_ap(protocol: str, problem: Problem) -> None:
    """The person that the first one found is taken. (Of a full keyframe the first one may have been cut off.)"""
    base = evaluate(problem, protocol)
    again = [row._replace(score=0.01) for row in problem.found]
    worse = evaluate(replace(problem, found=[*problem.found, *again]), protocol)
    assert worse.num_tp.tolist() == base.num_tp.tolist()
    assert no_higher(worse.ap_tie_lo, base.ap_tie_lo)
    assert no_higher(worse.ap_tie_hi, base.ap_tie_hi)


def shuffled(source: list[Row], order: list[int], keep_choice: bool = False) -> list[Row]:
    """Rows in another order; `keep_choice` leaves those of one keyframe and class in theirs, with others between."""
    moved = [source[index] for index in order if index < len(source)]
    if not keep_choice:
        return moved
    queues: defaultdict[tuple[object, ...], list[Row]] = defaultdict(list)
    for row in source:
        queues[(row.key, row.class_id)].append(row)
    return [queues[(row.key, row.class_id)].pop(0) for row in moved]


orders = st.permutations(range(16 + len(crowd)))


@every_protocol
@quick
@given(problems(ties=False), orders, orders)
def test_the_order_of_rows_changes_nothing(
    protocol: str, problem: Problem, order: list[int], true_order: list[int]
) -> None:
    """All scores differ. PySlowFast lets boxes of a keyframe choose in file order: theirs stays."""
    found = shuffled(problem.found, order, keep_choice=not PROTOCOLS[protocol].best_first)
    moved = replace(problem, found=found, true=shuffled(problem.true, true_order))
    assert_equal(evaluate(moved, protocol), evaluate(problem, protocol))


@best_first
@quick
@given(problems(ties=True, crowds=False), orders)
def test_the_order_of_rows_with_equal_scores_stays_within_the_range(
    protocol: str, problem: Problem, order: list[int]
) -> None:
    result = evaluate(replace(problem, found=shuffled(problem.found, order)), protocol)
    base = evaluate(problem, protocol)
    assert_range(result, base)
    assert_counts(result, base)


@settings(quick, max_examples=150)
@given(anything, orders)
def test_file_order_decides_who_finds_not_how_many(problem: Problem, order: list[int]) -> None:
    result = evaluate(replace(problem, found=shuffled(problem.found, order)), "slowfast")
    assert_counts(result, evaluate(problem, "slowfast"))


def renamed(problem: Problem, names: dict[str, str]) -> Problem:
    true, found = ([row._replace(video=names[row.video]) for row in some] for some in (problem.true, problem.found))
    return Problem(true, found, [(names[video], time_s) for video, time_s in problem.excluded])


@every_protocol
@quick
@given(anything, st.sampled_from([("b", "a"), ("x,1", "x"), ("zebra", "10"), ("a ", "a")]))
def test_names_of_videos_change_nothing(protocol: str, problem: Problem, names: tuple[str, str]) -> None:
    result = evaluate(renamed(problem, dict(zip(VIDEOS, names))), protocol)
    base = evaluate(problem, protocol)
    assert_counts(result, base)
    assert np.array_equal(result.ap, base.ap, equal_nan=True)


@every_protocol
@quick
@given(anything, st.data())
def test_a_strictly_monotone_change_of_scores_changes_nothing(
    protocol: str, problem: Problem, data: st.DataObject
) -> None:
    """mmaction2 takes scores above 0.002 only: they stay above it."""
    least = 0.0021 if protocol == "mmaction2" else -5.0
    levels = sorted({row.score for row in problem.found})
    bends = data.draw(st.tuples(st.floats(0.01, 100.0), st.floats(0.3, 3.0)))
    new = dict(zip(levels, [least + bends[0] * level ** bends[1] for level in levels]))
    assert len(set(new.values())) == len(levels)
    changed = replace(problem, found=[row._replace(score=new[row.score]) for row in problem.found])
    assert_equal(evaluate(changed, protocol), evaluate(problem, protocol))


@every_protocol
@quick
@given(anything)
def test_the_data_set_twice_changes_nothing(protocol: str, problem: Problem) -> None:
    """As new videos. The copies tie with the originals, so the range is what stays; it is one number without ties."""
    copy = renamed(problem, {"a": "copy of a", "b": "copy of b"})
    twice = Problem(problem.true + copy.true, problem.found + copy.found, problem.excluded + copy.excluded)
    result, base = evaluate(twice, protocol), evaluate(problem, protocol)
    assert_counts(result, base, times=2)
    assert_range(result, base)


def test_the_problems_are_not_trivial() -> None:
    """What the laws are tried on: true and false positives, ties, a full keyframe, exclusions that matter."""
    seen: set[str] = set()

    @quick
    @given(anything)
    def look(problem: Problem) -> None:
        result = evaluate(problem, "activitynet")
        without = evaluate(replace(problem, excluded=[]), "activitynet")
        capped = evaluate(problem, "mmaction2")
        marks = {
            "found": result.num_tp.sum() > 0,
            "missed": (result.num_tp < result.num_gt).any(),
            "false positives": (result.num_tp < result.num_det).any(),
            "a tie that matters": bool((result.ap_tie_lo < result.ap_tie_hi).any()),
            "an exclusion that matters": without.num_det.sum() > result.num_det.sum(),
            "a full keyframe": capped.num_det.sum() > result.num_det.sum(),
            "an empty keyframe": any(row.class_id == NO_CLASS for row in problem.true),
        }
        seen.update(name for name, there in marks.items() if there)

    look()
    assert len(seen) == 7, seen
