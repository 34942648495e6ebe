"""What `python tools/train_persons.py --score` counts, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from person_training.packs import is_held_out
from person_training.score import (
    ClipScore,
    ScoredFrame,
    actor_recall,
    match,
    score_clip,
    threshold_for,
)

from avadet.types import Float32Array, PersonBoxes

NOBODY = np.zeros((0, 4), np.float32)


def people(*rows: tuple[float, float, float, float, float]) -> PersonBoxes:
    table = np.array(rows, np.float32).reshape(-1, 5)
    return PersonBoxes(table[:, :4].copy(), table[:, 4].copy(), (100, 100))


def boxes(*rows: tuple[float, float, float, float]) -> Float32Array:
    return np.array(rows, np.float32).reshape(-1, 4)


def test_each_box_answers_for_one_person() -> None:
    wanted = boxes((0, 0, 10, 10), (1, 0, 11, 10))
    assert match(boxes((0, 0, 10, 10)), wanted) == [(0, 0)]
    assert sorted(match(boxes((1, 0, 11, 10), (0, 0, 10, 10)), wanted)) == [(0, 1), (1, 0)]
    assert match(NOBODY, wanted) == []


def test_score_of_one_frame() -> None:
    frame = ScoredFrame(
        "clip",
        found=people((0, 0, 10, 10, 0.9), (50, 50, 60, 60, 0.8), (80, 80, 90, 90, 0.7), (30, 30, 40, 40, 0.6),
                     (20, 0, 30, 10, 0.1)),
        teacher=people((0, 0, 10, 11, 0.9), (20, 0, 30, 10, 0.5), (50, 50, 61, 60, 0.12)),
        annotated_px=boxes((80, 80, 90, 91)),
    )  # fmt: skip
    score = score_clip([frame], threshold=0.5)
    assert score == ClipScore(frames=1, confident=2, found=1, shown=4, false=1)
    assert score.crowd_recall == 0.5
    assert score_clip([frame], threshold=0.05).crowd_recall == 1


def test_frames_with_one_confident_person_are_no_crowd() -> None:
    frame = ScoredFrame("clip", people(), people((0, 0, 10, 10, 0.9), (20, 0, 30, 10, 0.49)), NOBODY)
    assert score_clip([frame], 0.5) == ClipScore(1, 0, 0, 0, 0)
    assert math.isnan(score_clip([frame], 0.5).crowd_recall)


def test_the_total_is_over_frames() -> None:
    total = ClipScore.total([ClipScore(1, 4, 1, 3, 2), ClipScore(3, 0, 0, 1, 0)])
    assert total == ClipScore(4, 4, 1, 4, 2)
    assert total.false_a_frame == 0.5


def test_threshold_for_a_budget_of_boxes() -> None:
    found = [people((0, 0, 1, 1, 0.9), (0, 0, 1, 1, 0.3)), people((0, 0, 1, 1, 0.6))]
    assert threshold_for(found, 1.0) == pytest.approx(0.6)
    assert threshold_for(found, 1.5) == pytest.approx(0.3)
    assert threshold_for(found, 2.5) == 0.0


def test_actor_recall() -> None:
    found = [people((0, 0, 10, 10, 0.9)), people((0, 0, 10, 10, 0.4)), people()]
    actors = [boxes((0, 0, 10, 12)), boxes((0, 0, 10, 10)), boxes((5, 5, 9, 9))]
    assert actor_recall(found, actors, 0.3) == pytest.approx(2 / 3)
    assert actor_recall(found, actors, 0.5) == pytest.approx(1 / 3)


def test_who_is_held_out_depends_on_the_name_alone() -> None:
    shares = np.mean([is_held_out(f"video{i}", 0.2) for i in range(2000)])
    assert 0.15 < shares < 0.25
    assert is_held_out("video7", 0.2) == is_held_out("video7", 0.2)
    assert not is_held_out("video", 0.0)
