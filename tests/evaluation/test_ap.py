"""Average precision and matching: numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from each_case import each_case

from avadet.evaluation.ap import average_precision, claim_once, nearest_truth, precision_recall


def ap(marks: str, num_true: int) -> float:
    """AP of detections written best first, "+" true and "-" false."""
    return average_precision(*precision_recall(np.array([mark == "+" for mark in marks], np.bool_), num_true))


@each_case(
    ("marks", "num_true", "expected"),
    [
        ("+", 1, 1.0),
        ("+", 4, 0.25),
        ("-", 1, 0.0),
        ("", 3, 0.0),
        ("-+", 1, 0.5),
        ("+-+", 2, 0.5 * 1 + 0.5 * 2 / 3),
        # precision 1/1 1/2 1/3 2/4 3/5, made falling from the right: the steps at 2 and 3 both get 3/5
        ("+--++", 3, (1 + 0.6 + 0.6) / 3),
        ("-++", 2, 2 / 3),
    ],
)
def test_ap_by_hand(marks: str, num_true: int, expected: float) -> None:
    assert ap(marks, num_true) == pytest.approx(expected, abs=1e-15)


def test_precision_and_recall_by_hand() -> None:
    precision, recall = precision_recall(np.array([True, False, True]), 4)
    assert precision == pytest.approx([1, 1 / 2, 2 / 3])
    assert recall == pytest.approx([1 / 4, 1 / 4, 2 / 4])


def test_a_lowest_scored_false_positive_never_raises_ap() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        marks = "".join(rng.choice(["+", "-"], size=8))
        assert ap(marks + "-", 9) <= ap(marks, 9)


def test_the_nearest_truth_is_the_first_of_the_best() -> None:
    true_boxes = np.array([[0, 0, 1, 1], [0, 0, 2, 1], [0, 0, 2, 1], [5, 5, 6, 6]], float)
    true_frames = np.array([3, 3, 3, 7])
    boxes = np.array([[0, 0, 2, 1], [0, 0, 2, 1], [0, 0, 1, 1], [5, 5, 6, 6]], float)
    nearest, overlap = nearest_truth(boxes, np.array([3, 4, 3, 7]), true_boxes, true_frames)
    assert nearest.tolist() == [1, -1, 0, 3]
    assert overlap.tolist() == [1.0, 0.0, 1.0, 1.0]


def test_nothing_is_near_nothing() -> None:
    nearest, overlap = nearest_truth(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0, np.int64))
    assert len(nearest) == len(overlap) == 0


def test_a_true_box_is_claimed_once_and_there_is_no_second_choice() -> None:
    nearest = np.array([0, 0, 1, 0, -1])
    overlap = np.array([0.6, 0.9, 0.5, 0.49, 0.0])
    assert claim_once(nearest, overlap, np.array([0, 1, 2, 3, 4])).tolist() == [True, False, True, False, False]
    assert claim_once(nearest, overlap, np.array([1, 0, 2, 3, 4])).tolist() == [False, True, True, False, False]
