"""Raw detector arrays become boxes inside the frame, finite, ordered, best first."""

import numpy as np

from avadet.persons.postprocess import nms, postprocess


def test_garbage_is_dropped_and_the_rest_cut_and_sorted():
    raw = np.array(
        [
            [10, 10, 50, 90],  # fine, second best
            [-20, 5, 30, 300],  # reaches out of the frame
            [np.nan, 0, 10, 10],
            [0, 0, np.inf, 10],
            [40, 40, 20, 60],  # inverted
            [200, 10, 260, 90],  # outside
            [60, 10, 70, 30],  # NaN score
            [60, 10, 70, 30],  # score over 1
            [60, 10, 70, 30],  # score under the threshold
        ]
    )
    scores = np.array([0.5, 0.9, 0.9, 0.9, 0.9, 0.9, np.nan, 1.5, 0.2])
    people = postprocess(raw, scores, (100, 200), threshold=0.3)
    np.testing.assert_array_equal(people.boxes_px, [[0, 5, 30, 100], [10, 10, 50, 90]])
    np.testing.assert_allclose(people.scores, [0.9, 0.5])
    assert people.size_hw == (100, 200) and people.track_ids is None


def test_nothing_in_nothing_out():
    people = postprocess(np.zeros((0, 4)), np.zeros(0), (10, 20))
    assert len(people) == 0 and people.boxes_px.shape == (0, 4)


def test_equal_scores_keep_their_order():
    raw = np.array([[0, 0, 5, 5], [1, 0, 6, 5], [2, 0, 7, 5]])
    people = postprocess(raw, np.full(3, 0.5), (10, 10))
    np.testing.assert_array_equal(people.boxes_px[:, 0], [0, 1, 2])


def test_a_score_at_the_threshold_is_enough():
    people = postprocess(
        np.array([[0, 0, 5, 5], [4, 0, 9, 5]]), np.array([0.5, 0.49], np.float32), (10, 10), threshold=0.5
    )
    assert people.scores.tolist() == [0.5]


def test_of_boxes_that_overlap_the_best_stays():
    boxes_px = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [30, 0, 40, 10], [6, 0, 16, 10]], np.float32)
    assert nms(boxes_px, np.array([0.5, 0.9, 0.6, 0.4]), 0.5).tolist() == [1, 2, 3]
    assert nms(boxes_px, np.array([0.5, 0.9, 0.6, 0.4]), 0.3).tolist() == [1, 2]


def test_a_score_a_rounding_over_one_becomes_one():
    assert postprocess(np.array([[0, 0, 5, 5]]), np.array([1.0000005]), (10, 10)).scores.tolist() == [1.0]
