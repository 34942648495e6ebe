"""Drawn crowds for the training of the bundled person detector."""

import numpy as np
from person_training.crowds import random_crowd

SIZE = (120, 160)


def test_single_pictures_are_deterministic_varied_and_inside():
    counts, heights = [], []
    for seed in range(40):
        image, boxes = random_crowd(np.random.default_rng(seed), SIZE)
        assert image.shape == (*SIZE, 3) and image.dtype == np.uint8
        assert boxes.dtype == np.float32 and boxes.shape[1:] == (4,)
        assert boxes.size == 0 or (boxes.min() >= 0 and boxes.max() <= 1)
        counts.append(len(boxes))
        heights.extend(boxes[:, 3] - boxes[:, 1])
    again, boxes_again = random_crowd(np.random.default_rng(39), SIZE)
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(boxes, boxes_again)
    assert min(counts) <= 1 and max(counts) >= 4
    assert min(heights) < 0.25 and max(heights) > 0.9


def test_nobody_can_be_asked_for():
    image, boxes = random_crowd(np.random.default_rng(0), SIZE, 0)
    assert boxes.shape == (0, 4) and image.shape == (*SIZE, 3)
