"""Boxes read from a file instead of found."""

from types import SimpleNamespace

import numpy as np
import pytest

from avadet.annotations.ava import read_ground_truth
from avadet.annotations.box_files import read_boxes
from avadet.errors import AvadetError
from avadet.persons.precomputed import PrecomputedBoxes


def table(rows, scores=None):
    """AVA-like columns of (video, time, x1, y1, x2, y2) rows."""
    return SimpleNamespace(
        video_ids=np.array([r[0] for r in rows], dtype=object),
        times_s=np.array([r[1] for r in rows], np.float64),
        boxes_norm=np.array([r[2:] for r in rows], np.float32).reshape(-1, 4),
        scores=None if scores is None else np.array(scores, np.float32),
        person_ids=None,
        notes=(),
    )


ROWS = [
    ("walk", 2.0, 0.5, 0.0, 1.0, 1.0),
    ("talk", 902.0, 0.1, 0.2, 0.3, 0.4),
    ("walk", 1.0, 0.0, 0.0, 0.5, 0.5),
    ("walk", 1.0, 0.5, 0.5, 1.0, 1.0),
    ("walk", 1.0, 0.0, 0.0, 0.5, 0.5),  # the first person's second action
]


def test_a_box_that_repeats_for_several_actions_is_one_person_with_the_best_score():
    boxes = PrecomputedBoxes(table(ROWS, scores=[0.9, 0.8, 0.3, 0.6, 0.7]))
    people = boxes.at("walk", 1.0, (100, 200))
    np.testing.assert_allclose(people.boxes_px, [[0, 0, 100, 50], [100, 50, 200, 100]])
    np.testing.assert_allclose(people.scores, [0.7, 0.6])


def test_without_scores_every_person_is_sure_and_keeps_the_order_of_the_file():
    people = PrecomputedBoxes(table(ROWS)).at("walk", 1.0, (100, 200))
    np.testing.assert_allclose(people.scores, [1, 1])
    assert people.boxes_px[0].tolist() == [0, 0, 100, 50]


def test_a_row_without_a_score_is_sure():
    people = PrecomputedBoxes(table(ROWS, scores=[0.9, 0.8, 0.3, np.nan, 0.7])).at("walk", 1.0, (100, 200))
    np.testing.assert_allclose(people.scores, [1.0, 0.7])


def test_times_are_sorted_and_unique():
    boxes = PrecomputedBoxes(table(ROWS))
    assert boxes.times_s("walk").tolist() == [1.0, 2.0]
    assert boxes.times_s("talk").tolist() == [902.0]
    assert boxes.video_ids() == ("talk", "walk")


def test_a_moment_without_boxes_is_empty_and_times_need_not_be_exact():
    boxes = PrecomputedBoxes(table(ROWS))
    assert len(boxes.at("walk", 1.5, (100, 200))) == 0
    assert len(boxes.at("walk", 1.0 + 1e-6, (100, 200))) == 2


def test_a_moment_is_the_nearest_keyframe_within_half_a_frame():
    boxes = PrecomputedBoxes(table([("v", 0.366666, 0, 0, 0.5, 1), ("v", 0.4, 0, 0, 1, 1)]))
    for time_s, fps, width in ((0.366667, None, 50), (0.39, None, 0), (0.391, None, 100), (0.39, 30.0, 100)):
        found = boxes.at("v", time_s, (100, 100), fps).boxes_px
        assert found[:, 2].tolist() == [width] * (width > 0)
    assert boxes.names("v", np.array([0.37, 0.38, 0.41]), 30.0).tolist() == [True, True, True]
    assert boxes.names("v", np.array([0.37, 0.38, 0.411])).tolist() == [True, False, False]


def test_digits_that_differ_within_the_file_are_one_keyframe():
    boxes = PrecomputedBoxes(table([("v", 0.366667, 0, 0, 0.5, 1), ("w", 1, 0, 0, 1, 1), ("v", 0.366666, 0, 0, 1, 1)]))
    assert boxes.times_s("v").tolist() == [0.366666]
    assert len(boxes.at("v", 0.3667, (100, 100))) == 2


def test_people_under_a_threshold_are_left_out_but_not_their_keyframe():
    boxes = PrecomputedBoxes(table(ROWS, scores=[0.9, 0.8, 0.3, 0.6, 0.7]), threshold=0.65)
    np.testing.assert_allclose(boxes.at("walk", 1.0, (100, 200)).scores, [0.7])
    assert len(PrecomputedBoxes(table(ROWS, scores=[0.1] * 5), 0.5).at("walk", 1.0, (100, 200))) == 0
    assert boxes.times_s("walk").tolist() == [1.0, 2.0]


def test_an_unknown_video_names_the_nearest():
    with pytest.raises(AvadetError, match=r"'walks'; did you mean walk"):
        PrecomputedBoxes(table(ROWS)).times_s("walks")


def test_hundreds_of_known_videos_do_not_fill_the_error():
    many = PrecomputedBoxes(table([(f"v{i:03d}", 0.0, 0, 0, 1, 1) for i in range(300)]))
    with pytest.raises(AvadetError, match="and 280 more") as caught:
        many.at("zzz", 0.0, (10, 10))
    assert len(str(caught.value)) < 300


def test_an_empty_file():
    with pytest.raises(AvadetError, match="no rows"):
        PrecomputedBoxes(table([])).times_s("walk")


def test_a_row_without_a_box_names_a_keyframe_where_nobody_is():
    boxes = PrecomputedBoxes(table([("walk", 3.0, np.nan, np.nan, np.nan, np.nan), ("walk", 4.0, 0, 0, 0, 0)]))
    assert boxes.times_s("walk").tolist() == [3.0, 4.0]
    assert len(boxes.at("walk", 3.0, (100, 200))) == len(boxes.at("walk", 4.0, (100, 200))) == 0


def test_a_file_on_disk(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text("clip,0902,0.25,0.1,0.5,0.9,12,0.5\nclip,0902,0.25,0.1,0.5,0.9,80,0.8\nclip,903,0,0,1,1,1,0.4\n")
    boxes = PrecomputedBoxes(read_boxes(path))
    assert boxes.times_s("clip").tolist() == [902, 903]
    people = boxes.at("clip", 902, (100, 200))
    np.testing.assert_allclose(people.boxes_px, [[50, 10, 100, 90]], rtol=1e-6)
    np.testing.assert_allclose(people.scores, [0.8])


@pytest.mark.shared
def test_official_annotations_give_every_person_once(shared):
    boxes = PrecomputedBoxes(read_ground_truth(shared / "data/ava/partial/ava_val_v2.2_1j20qq1JyX4_0902-0969.csv"))
    people = boxes.at("1j20qq1JyX4", 902.0, (360, 640))
    assert len(people) == len(np.unique(people.boxes_px, axis=0)) >= 1
    assert (people.scores == 1).all() and boxes.times_s("1j20qq1JyX4")[0] == 902.0
