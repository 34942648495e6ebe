"""Upper bounds, slices and curves, by hand and against the result they belong to."""

from __future__ import annotations

import numpy as np
import pytest
from eval_tables import AWAY, HERE, LABELS, LOOSE, NEAR, Row, random_problem, table

from avadet.evaluation.bounds import upper_bounds
from avadet.evaluation.curves import MOST_POINTS, curves
from avadet.evaluation.frame_map import result_of
from avadet.evaluation.matching import Matches, match
from avadet.evaluation.slices import slices

STAND, SIT, TALK = 12, 11, 79


def matched(true: list[Row], found: list[Row]) -> Matches:
    return match(table(*true), table(*found), LABELS)


def test_perfect_actions_leave_the_people_who_were_not_found() -> None:
    true = [("v", 1, HERE, STAND, 1), ("v", 1, HERE, TALK, 1), ("v", 1, AWAY, STAND, 1)]
    bounds = upper_bounds(matched(true, [("v", 1, NEAR, SIT, 0.9)]))
    # the box says "sit" only, but somebody was found: standing and talking would be right, the other one is missing
    assert bounds.perfect_actions[0] == 0.5
    assert bounds.perfect_actions[2] == 1.0
    assert np.isnan(bounds.perfect_actions[1])


def test_one_box_finds_one_person() -> None:
    true = [("v", 1, HERE, STAND, 1), ("v", 1, NEAR, STAND, 1)]
    assert upper_bounds(matched(true, [("v", 1, HERE, STAND, 0.9)])).perfect_actions[0] == 0.5


def test_true_boxes_mend_loose_ones_and_drop_the_rest() -> None:
    true = [("v", 1, HERE, STAND, 1), ("v", 1, AWAY, STAND, 1)]
    found = [("v", 1, LOOSE, STAND, 0.5), ("v", 1, (0.0, 0.92, 0.05, 0.99), STAND, 0.9)]
    matches = matched(true, found)
    assert result_of(matches).ap[0] == 0
    assert upper_bounds(matches).true_boxes[0] == 0.5
    # actions stay as wrong as they were
    found = [("v", 1, HERE, SIT, 0.5), ("v", 1, AWAY, STAND, 0.9)]
    assert upper_bounds(matched(true, found)).true_boxes[0] == 0.5


@pytest.mark.parametrize("seed", range(3))
def test_perfect_detections_meet_every_bound(seed: int) -> None:
    true, _ = random_problem(seed)
    distinct = list(dict.fromkeys(true))
    bounds = upper_bounds(matched(distinct, distinct))
    np.testing.assert_array_equal(bounds.true_boxes[:3], 1)
    np.testing.assert_array_equal(bounds.perfect_actions[:3], 1)


def test_slices_by_hand() -> None:
    small, side, large = (0.1, 0.1, 0.2, 0.3), (0.7, 0.1, 0.95, 0.9), (0.0, 0.0, 0.6, 0.6)
    true = [("v", 1, small, STAND, 1), ("v", 2, large, STAND, 1), ("v", 2, side, SIT, 1), ("v", 2, side, TALK, 1)]
    found = [("v", 1, small, STAND, 0.9), ("v", 2, side, SIT, 0.8), ("v", 2, HERE, SIT, 0.9)]
    matches = matched(true, found)
    parts = slices(matches, result_of(matches))
    by_name = {(kind, one.name): (one.num_gt, one.recall, one.mAP) for kind, ones in parts.items() for one in ones}
    nan = pytest.approx(float("nan"), nan_ok=True)
    # AP: stand 1/2 (one of two found), sit 1/2 (a false positive above the hit), talk 0
    assert by_name["group", "pose"] == (3, 2 / 3, 0.5)
    assert by_name["group", "person"] == (1, 0.0, 0.0)
    assert by_name["ground truth", "head"] == (2, 0.5, 0.5)
    assert by_name["box size", "small"] == (1, 1.0, nan)
    assert by_name["box size", "medium"] == (2, 0.5, nan)
    assert by_name["box size", "large"] == (1, 0.0, nan)
    assert by_name["people in the frame", "1 person"] == (1, 1.0, 1.0)
    # in the second keyframe two people: stand 0, sit 1/2, talk 0
    assert by_name["people in the frame", "2 people"] == (3, pytest.approx(1 / 3), pytest.approx(1 / 6))
    assert by_name["people in the frame", "5 or more"] == (0, nan, nan)


def test_every_true_box_is_in_one_slice_of_each_kind() -> None:
    true, found = random_problem(7)
    matches = matched(true, found)
    result = result_of(matches)
    for kind, members in slices(matches, result).items():
        assert sum(one.num_gt for one in members) == result.num_gt.sum(), kind
        hits = sum(round(one.recall * one.num_gt) for one in members if one.num_gt)
        assert hits == result.num_tp.sum(), kind


def test_the_area_under_a_curve_is_the_ap() -> None:
    true, found = random_problem(3)
    matches = matched(true, found)
    for curve in curves(matches):
        area = (np.diff(curve.recall, prepend=0.0) * curve.precision).sum()
        assert area == pytest.approx(result_of(matches).ap[curve.class_index], abs=1e-12)


def test_curves_are_thinned() -> None:
    # ever more false positives between the hits: every hit is a corner
    ranks = np.cumsum(np.arange(1, 301))
    true = [("v", float(time), HERE, STAND, 1.0) for time in range(300)]
    is_hit = np.isin(np.arange(1, ranks[-1] + 1), ranks)
    boxes = np.where(is_hit, "hit", "miss")
    times = np.maximum(np.cumsum(is_hit) - 1, 0)
    found = [
        ("v", float(time), HERE if kind == "hit" else AWAY, STAND, 1 - rank / len(boxes))
        for rank, (kind, time) in enumerate(zip(boxes, times))
    ]
    matches = match(table(*true), table(*found), LABELS, "mmaction2")
    (curve,) = curves(matches)
    assert len(curve.recall) == MOST_POINTS
    assert curve.recall[-1] == pytest.approx(result_of(matches).num_tp[0] / 300)
    assert (np.diff(curve.recall) > 0).all()
    assert (np.diff(curve.precision) < 0).all()
