"""Where the points were lost: by hand, and as a law: the parts sum to 1 - AP."""

from __future__ import annotations

import numpy as np
import pytest
from each_case import each_case
from eval_tables import AWAY, HERE, LABELS, LOOSE, NEAR, Row, random_problem, table

from avadet.evaluation.frame_map import result_of
from avadet.evaluation.losses import PARTS, Losses, false_positive_prices, split_losses
from avadet.evaluation.matching import Matches, match
from avadet.evaluation.protocols import PROTOCOLS

STAND, SIT, TALK = 12, 11, 79
FAR = (0.0, 0.92, 0.05, 0.99)


def matched(true: list[Row], found: list[Row], protocol: str = "activitynet") -> Matches:
    return match(table(*true), table(*found), LABELS, protocol)


def stand_parts(true: list[Row], found: list[Row]) -> dict[str, float]:
    """The parts of class "stand" that are not 0."""
    losses = split_losses(matched(true, found))
    return {name: part for name, part in zip(PARTS, losses.parts[0].tolist()) if part}


def test_a_perfect_result_loses_nothing() -> None:
    assert stand_parts([("v", 1, HERE, STAND, 1)], [("v", 1, HERE, STAND, 0.9)]) == {}


def test_each_kind_of_miss() -> None:
    true = [("v", 1, HERE, STAND, 1)]
    assert stand_parts(true, [("v", 1, FAR, STAND, 0.9)]) == {"person not found": 1.0}
    assert stand_parts(true, [("v", 1, LOOSE, STAND, 0.9)]) == {"box too loose": 1.0}
    assert stand_parts(true, [("v", 1, LOOSE, SIT, 0.9)]) == {"box too loose": 1.0}
    assert stand_parts(true, [("v", 1, NEAR, SIT, 0.9)]) == {"found, action not said": 1.0}
    assert stand_parts(true, []) == {"person not found": 1.0}


@each_case(
    ("box", "kind"),
    [(NEAR, "duplicate"), (LOOSE, "box too loose"), (AWAY, "other action"), (FAR, "background")],
)
def test_each_kind_of_false_positive(box: tuple[float, float, float, float], kind: str) -> None:
    # one true box found at rank 2: AP 1/2, all of the loss is the row above it
    true = [("v", 1, HERE, STAND, 1), ("v", 1, AWAY, SIT, 1)]
    found: list[Row] = [("v", 1, HERE, STAND, 0.5), ("v", 1, box, STAND, 0.9)]
    if kind == "duplicate":  # the better row takes the true box, so a second person makes the duplicate cost
        true.append(("w", 1, HERE, STAND, 1))
        found = [("v", 1, HERE, STAND, 0.9), ("v", 1, NEAR, STAND, 0.8), ("w", 1, HERE, STAND, 0.7)]
    parts = stand_parts(true, found)
    # duplicate: the second of two true boxes is found at precision 2/3, so 1/3 of a half is lost
    assert parts == pytest.approx({kind: 1 / 6 if kind == "duplicate" else 0.5})


def test_the_price_of_a_false_positive_by_hand() -> None:
    # ranks: hit, miss, miss, hit, miss; 3 true boxes. Precision at the hits 1 and 1/2: AP = (1 + 1/2) / 3 = 1/2.
    # The second hit loses 1/2 of a third, shared by the two misses above it; one true box is missing: 1/3.
    prices = false_positive_prices(np.array([True, False, False, True, False]), 3)
    assert prices.tolist() == pytest.approx([0, 1 / 12, 1 / 12, 0, 0])
    # hit at rank 2, then hits to rank 4: the envelope at the first hit is 3/4, the one miss pays for all three
    prices = false_positive_prices(np.array([False, True, True, True]), 3)
    assert prices.tolist() == pytest.approx([1 / 4, 0, 0, 0])


def test_confusions_name_what_the_person_does() -> None:
    true = [("v", 1, HERE, STAND, 1), ("v", 1, AWAY, SIT, 1), ("v", 1, AWAY, TALK, 1)]
    found = [("v", 1, HERE, STAND, 0.5), ("v", 1, AWAY, STAND, 0.9)]
    losses = split_losses(matched(true, found))
    # standing and sitting are poses: the one who sits and talks is taken for standing because of sitting
    np.testing.assert_allclose(losses.confusions[0], [0, 0.5, 0, 0])
    # who only talks has no pose to be confused with
    losses = split_losses(matched([true[0], true[2]], found))
    np.testing.assert_allclose(losses.confusions[0], [0, 0, 0.5, 0])
    # who stands and talks is wrongly said to sit: only the pose counts
    true = [("v", 1, HERE, SIT, 1), ("v", 1, AWAY, STAND, 1), ("v", 1, AWAY, TALK, 1)]
    losses = split_losses(matched(true, [("v", 1, HERE, SIT, 0.5), ("v", 1, AWAY, SIT, 0.9)]))
    np.testing.assert_allclose(losses.confusions[1], [0.5, 0, 0, 0])


@each_case("protocol", PROTOCOLS)
@each_case("seed", range(4))
def test_the_parts_sum_to_the_whole(seed: int, protocol: str) -> None:
    true, found = random_problem(seed)
    rounded = [(*row[:4], round(row[4], 2)) for row in found]  # many equal scores
    for rows in (found, rounded, found[:20], []):
        matches = matched(true, rows, protocol)
        result, losses = result_of(matches), split_losses(matches)
        np.testing.assert_allclose(losses.parts.sum(axis=1), 1 - result.ap, atol=1e-12)
        np.testing.assert_allclose(losses.confusions.sum(axis=1), losses.parts[:, 3], atol=1e-12)
        if not np.isnan(result.mAP):
            assert losses.mean(result.in_mean).sum() == pytest.approx(1 - result.mAP, abs=1e-12)


def test_classes_without_truth_have_no_losses() -> None:
    losses = split_losses(matched([("v", 1, HERE, STAND, 1)], [("v", 1, HERE, SIT, 0.9)]))
    assert np.isnan(losses.parts[1:]).all()
    assert not np.isnan(losses.parts[0]).any()
    assert np.isnan(Losses(losses.parts, losses.confusions).mean(np.zeros(4, np.bool_))).all()
