"""Drawing: readable at any size, inside the frame, the same every time."""

from __future__ import annotations

import colorsys
import itertools

import numpy as np
import pytest
from each_case import each_case

from avadet.errors import AvadetError
from avadet.video.draw import NO_TRACK, draw_people, track_colour

SIZES_HW = [(16, 16), (48, 64), (144, 176), (240, 320), (480, 640), (864, 500), (1080, 1920)]
LINES = ["#12", "talk to (e.g., self, a person, a group) 0.91", "stand 0.88"]


def grey(size_hw: tuple[int, int]) -> np.ndarray:
    return np.full((*size_hw, 3), 100, np.uint8)


def boxes_at(size_hw: tuple[int, int], *boxes_norm: tuple[float, float, float, float]) -> np.ndarray:
    height, width = size_hw
    return (np.array(boxes_norm).reshape(-1, 4) * [width, height, width, height]).astype(np.float32)


@each_case("size_hw", SIZES_HW)
@each_case(
    "box",
    [(0.3, 0.4, 0.6, 0.9), (0, 0, 1, 1), (0.95, 0.0, 1, 0.05), (0.9, 0.9, 1, 1), (-0.5, -0.5, 1.5, 1.5), (0.5,) * 4],
)
def test_any_box_in_any_frame(size_hw: tuple[int, int], box: tuple[float, float, float, float]) -> None:
    image = grey(size_hw)
    drawn = draw_people(image, boxes_at(size_hw, box), [LINES], np.array([3]))
    assert drawn.shape == image.shape and drawn.dtype == np.uint8
    assert (image == 100).all()
    assert (drawn == track_colour(3)).all(axis=2).any()


@pytest.mark.parametrize("size_hw", [(240, 320), (480, 640), (1080, 1920)])
def test_text_is_as_high_as_can_be_read(size_hw: tuple[int, int]) -> None:
    """The ink of a capital H: at least 7 px and about a thirtieth of the frame's shorter side."""
    drawn = draw_people(grey(size_hw), boxes_at(size_hw, (0.3, 0.5, 0.6, 0.9)), [["HHH"]], np.array([2]))
    ink = (drawn.astype(int).sum(axis=2) < 280).any(axis=1)
    assert max(7, min(size_hw) / 40) <= ink.sum() <= max(14, min(size_hw) / 20)


def test_label_stands_above_its_box_where_there_is_room() -> None:
    size_hw = (480, 640)
    drawn = draw_people(grey(size_hw), boxes_at(size_hw, (0.3, 0.5, 0.6, 0.9)), [["stand 0.9"]], np.array([2]))
    rows = np.flatnonzero((drawn == track_colour(2)).all(axis=2).sum(axis=1) > 20)
    assert 200 < rows.min() < 230


def test_labels_of_people_side_by_side_stay_apart() -> None:
    size_hw = (480, 640)
    boxes = boxes_at(size_hw, (0.3, 0.4, 0.5, 0.8), (0.31, 0.41, 0.55, 0.82))
    colours = [track_colour(1), track_colour(2)]
    both = draw_people(grey(size_hw), boxes, [LINES, LINES], np.array([1, 2]))
    for number, colour in enumerate(colours):
        alone = draw_people(grey(size_hw), boxes[number : number + 1], [LINES], np.array([number + 1]))
        kept = (both == colour).all(axis=2).sum() / (alone == colour).all(axis=2).sum()
        assert kept > 0.85


def test_nobody_changes_nothing() -> None:
    image = grey((48, 64))
    drawn = draw_people(image, np.zeros((0, 4), np.float32), [])
    assert drawn is not image
    np.testing.assert_array_equal(drawn, image)


def test_empty_caption_is_a_box_alone() -> None:
    drawn = draw_people(grey((240, 320)), boxes_at((240, 320), (0.2, 0.3, 0.8, 0.9)), [[]], np.array([1]))
    assert (drawn[:60] == 100).all() and (drawn[120, 160] == 100).all()
    assert (drawn[72] == track_colour(1)).all(axis=1).sum() > 150


def test_same_input_same_picture() -> None:
    size_hw, boxes = (240, 320), boxes_at((240, 320), (0.1, 0.1, 0.5, 0.9), (0.4, 0.3, 0.9, 0.95))
    pictures = [draw_people(grey(size_hw), boxes, [LINES, ["sit 0.5"]], np.array([4, -1])) for _ in range(2)]
    np.testing.assert_array_equal(*pictures)


def test_colours_of_neighbouring_tracks_are_distinct() -> None:
    colours = [track_colour(track_id) for track_id in range(300)]
    assert len(set(colours)) > 290
    hues = [colorsys.rgb_to_hls(*(np.array(colour) / 255))[0] for colour in colours]
    for first, second in itertools.pairwise(hues):
        assert 0.3 < abs(first - second) % 1.0 < 0.7
    assert track_colour(-1) == NO_TRACK


def test_lengths_must_agree() -> None:
    with pytest.raises(AvadetError, match="2 boxes need as many captions and ids, got 1 and 2"):
        draw_people(grey((48, 64)), np.zeros((2, 4), np.float32), [["stand"]])
