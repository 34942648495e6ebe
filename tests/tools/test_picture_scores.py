"""Scores on pictures in which everybody is drawn in, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from person_training.picture_scores import THRESHOLDS, score_pictures

from avadet.types import PersonBoxes

SIZE_HW = (200, 200)


def people(*rows: tuple[float, float, float, float, float]) -> PersonBoxes:
    table = np.array(rows, np.float32).reshape(-1, 5)
    return PersonBoxes(table[:, :4].copy(), table[:, 4].copy(), SIZE_HW)


def drawn(*rows: tuple[float, float, float, float], certain: bool = True):
    return np.array(rows, np.float32).reshape(-1, 4), np.full(len(rows), certain)


A, B, ELSEWHERE = (0, 0, 50, 100), (100, 0, 150, 100), (0, 150, 50, 190)


def test_right_false_and_missed_boxes_by_threshold() -> None:
    found = [people((*A, 0.9), (*ELSEWHERE, 0.6), (*B, 0.3)), people((*ELSEWHERE, 0.2))]
    score = score_pictures(found, [drawn(A, B), drawn()])
    at = {round(float(t), 2): i for i, t in enumerate(THRESHOLDS)}
    assert score.persons == 2
    assert [score.recall[at[t]] for t in (0.1, 0.5, 0.95)] == [1, 0.5, 0]
    assert [score.false[at[t]] for t in (0.1, 0.5, 0.7)] == [1, 0.5, 0]
    assert [score.precision[at[t]] for t in (0.1, 0.5, 0.7, 0.95)] == [0.5, 0.5, 1, 1]
    # by score right, false, right, false: precision 1 up to recall 0.5, then 2/3; 101 recalls, 51 of them up to 0.5
    assert score.ap_50 == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert score.threshold_for(0.4) == pytest.approx(0.61)
    assert score.threshold_for(0.5) == pytest.approx(0.21)
    assert score.threshold_for(1.0) == pytest.approx(0.05)


def test_a_second_box_on_a_person_is_false() -> None:
    score = score_pictures([people((*A, 0.9), (*A, 0.8))], [drawn(A)])
    assert score.false[0] == 1
    assert score.recall[0] == 1


def test_boxes_on_those_who_are_uncertain_do_not_count() -> None:
    corners, certain = drawn(A, (90, 0, 200, 110))
    score = score_pictures([people((*A, 0.9), (*B, 0.8))], [(corners, certain & [True, False])])
    assert score.persons == 1
    assert score.false[0] == 0
    assert score.ap_50 == pytest.approx(1.0)


def test_without_anybody_there_is_no_average_precision() -> None:
    score = score_pictures([people()], [drawn()])
    assert np.isnan(score.ap)
    assert score.precision[0] == 1
