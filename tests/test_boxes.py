"""Box arithmetic against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from each_case import each_case

from avadet import boxes
from avadet.types import BoxRule


def test_area_by_hand() -> None:
    assert boxes.area(np.array([[0, 0, 2, 3], [1, 1, 1, 5], [4, 0, 2, 3]], float)).tolist() == [6.0, 0.0, 0.0]


def test_iou_by_hand() -> None:
    first = np.array([[0, 0, 2, 2], [0, 0, 4, 2]], float)
    second = np.array([[1, 1, 3, 3], [0, 0, 2, 2], [5, 5, 6, 6]], float)
    # 1 of 4 + 4 - 1, the same box, apart; 2 of 8 + 4 - 2, 4 of 8, apart
    assert boxes.iou(first, second) == pytest.approx(np.array([[1 / 7, 1.0, 0.0], [2 / 10, 0.5, 0.0]]))


def test_boxes_that_only_touch_share_nothing() -> None:
    left, right = np.array([[0, 0, 1, 1]], float), np.array([[1, 0, 2, 1]], float)
    assert boxes.iou(left, right).item() == 0.0


def test_two_empty_boxes_have_iou_zero_not_nan() -> None:
    point = np.array([[1, 1, 1, 1]], float)
    assert boxes.iou(point, point).item() == 0.0
    assert boxes.iou_of_pairs(point, point).item() == 0.0


def test_no_boxes_are_fine() -> None:
    none = np.zeros((0, 4))
    assert boxes.iou(none, np.ones((3, 4))).shape == (0, 3)
    assert boxes.iou_of_pairs(none, none).shape == (0,)


def test_iou_of_pairs_is_the_diagonal() -> None:
    rng = np.random.default_rng(0)
    first, second = (np.sort(rng.random((50, 2, 2)), axis=1).reshape(50, 4) for _ in range(2))
    assert (boxes.iou_of_pairs(first, second) == np.diagonal(boxes.iou(first, second))).all()


def test_iou_does_not_care_who_is_first_nor_about_shift_and_scale() -> None:
    rng = np.random.default_rng(1)
    first, second = (np.sort(rng.random((20, 2, 2)), axis=1).reshape(20, 4) for _ in range(2))
    assert boxes.iou(first, second) == pytest.approx(boxes.iou(second, first).T)
    assert boxes.iou(first, second) == pytest.approx(boxes.iou(first * 7 + 3, second * 7 + 3))


def test_to_norm_and_back() -> None:
    pixels = np.array([[32, 24, 160, 240]], float)
    norm = boxes.to_norm(pixels, (240, 320))
    assert norm.tolist() == [pytest.approx([0.1, 0.1, 0.5, 1.0])]
    assert norm.dtype == np.float32
    assert boxes.to_px(norm, (240, 320)) == pytest.approx(pixels)


def test_clip_cuts_at_the_edges() -> None:
    assert boxes.clip_px(np.array([[-5, -1, 400, 300]]), (240, 320)).tolist() == [[0, 0, 320, 240]]


def test_boxes_of_a_clip_by_hand() -> None:
    # 100x200 (h, w) to 30x61: x by 0.305, y by 0.3. One factor for both is 0.305; indices end at 199 and 99, 60 and 29.
    frame_px = np.array([[20, 10, 60, 50], [100, 40, 200, 100], [-8, -2, 250, 99]], float)
    exact = boxes.clip_boxes(frame_px, (100, 200), (30, 61))
    np.testing.assert_allclose(exact[:2], [[6.1, 3, 18.3, 15], [30.5, 12, 61, 30]], atol=1e-5)
    alike = boxes.clip_boxes(frame_px, (100, 200), (30, 61), "pyslowfast")
    expected = [[6.1, 3.05, 18.3, 15.25], [30.5, 12.2, 60, 29], [0, 0, 60, 29]]
    np.testing.assert_allclose(alike, expected, atol=1e-5)
    assert exact.dtype == alike.dtype == np.float32


def test_one_factor_is_that_of_the_longer_side() -> None:
    box = np.array([[10.0, 20, 30, 40]])
    assert boxes.scale_by_long_side(box, (200, 100), (61, 30)).tolist() == [pytest.approx([3.05, 6.1, 9.15, 12.2])]
    assert boxes.scale_by_long_side(box, (100, 100), (50, 50)).tolist() == [[5, 10, 15, 20]]


@each_case("rule", ["exact", "pyslowfast"])
def test_no_boxes_stay_no_boxes(rule: BoxRule) -> None:
    assert boxes.clip_boxes(np.zeros((0, 4)), (100, 200), (30, 61), rule).shape == (0, 4)


def test_both_rules_agree_inside_a_frame_whose_sides_divide() -> None:
    rng = np.random.default_rng(2)
    inside = np.sort(rng.uniform(0, 90, (40, 2, 2)), axis=1).reshape(40, 4)
    for frame_hw, clip_hw in (((100, 200), (50, 100)), ((200, 100), (50, 25))):
        exact, alike = (boxes.clip_boxes(inside, frame_hw, clip_hw, rule) for rule in ("exact", "pyslowfast"))
        np.testing.assert_allclose(exact, alike, atol=1e-5)
