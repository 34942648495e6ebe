"""Crops, windows, movement against the camera, augmentation, and the costs of the motion stream."""

from __future__ import annotations

import io
import math
import random

import cv2
import numpy as np
import pytest
import torch
from each_case import each_case
from tiny_actions import augment, crops, motion, targets, windows
from tiny_actions.camera import background_motion, own_motion
from tiny_actions.classes import pose_column
from tiny_actions.persons import Person

from avadet.models.detectors.person_crops import crop, square_windows
from avadet.types import PersonBoxes, UInt8Array


def blobs(size_hw: tuple[int, int], seed: int = 0) -> UInt8Array:
    """A picture with corners everywhere."""
    noise = np.random.default_rng(seed).integers(0, 255, (size_hw[0] // 6, size_hw[1] // 6, 3), np.uint8)
    return cv2.resize(noise, size_hw[::-1], interpolation=cv2.INTER_CUBIC)  # type: ignore[return-value]


def window(**values: object) -> Person:
    basis = {"source": "fights", "file": "a.mp4", "group": "g", "box": [0.0, 0.0, 20.0, 60.0], "seconds": 1.0}
    return Person(**{**basis, **values})  # type: ignore[arg-type]


def test_a_crop_is_where_the_model_crops() -> None:
    rows, columns = np.mgrid[0:120, 0:200]
    image = np.stack([columns, rows, (rows + columns) // 2], axis=2).astype(np.uint8)
    box = [60.0, 30.0, 100.0, 95.0]
    cut = crops.cut(image, crops.square_around(box, 1.3), 160)
    clip = torch.from_numpy(image).permute(2, 0, 1)[None, :, None].float()
    expected = crop(clip, square_windows(torch.tensor([box]), 1.3), 160)[0, :, 0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(cut, expected, atol=1)


def test_a_crop_of_a_squashed_picture_is_square_in_the_true_one() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[20:60, 40:60] = 255  # in the true picture, twice as wide, a square of 40 px
    person = Person("flickr8k", "a.jpg", "g", [80.0, 20.0, 120.0, 60.0], [100, 200])
    stored = crops.person_crop(image, person)
    assert stored is not None and stored.shape == (208, 208, 3)
    lit = np.flatnonzero(stored[104, :, 0] > 127), np.flatnonzero(stored[:, 104, 0] > 127)
    side = 208 / 1.69
    assert [len(one) for one in lit] == pytest.approx([side, side], abs=3)


def test_the_main_person_is_large_and_sure() -> None:
    boxes = np.array([[0, 0, 10, 10], [20, 0, 60, 40], [0, 50, 90, 100]], np.float32)
    scores = np.array([0.9, 0.8, 0.2], np.float32)
    found = crops.main_person(np.zeros((400, 400, 3), np.uint8), lambda frame: PersonBoxes(boxes, scores, (400, 400)))
    assert found == [20, 0, 60, 40]  # sqrt(1600) * 0.8 = 32 > sqrt(4500) * 0.2 > 10 * 0.9
    doubtful = PersonBoxes(boxes, scores / 4, (400, 400))
    assert crops.main_person(np.zeros((400, 400, 3), np.uint8), lambda frame: doubtful) is None


def test_frames_of_a_window_are_four_thirtieths_apart() -> None:
    times = np.arange(60) / 30
    assert windows.frame_indices(times, 30 / 30) == [16, 20, 24, 28, 32, 36, 40, 44]
    assert windows.frame_indices(times, 0.0) == [0, 0, 0, 0, 2, 6, 10, 14]
    halved = windows.frame_indices(np.arange(30) / 15, 1.0)
    assert halved == [8, 10, 12, 14, 16, 18, 20, 22]


def test_moments_of_a_track() -> None:
    box = np.array([0.0, 0.0, 20.0, 50.0])
    track = [windows.Sight(6 * n, 0.2 * n, box, 0.9) for n in range(11)]
    taken = list(windows.moments(track, 2.0, 0.5))
    assert [round(sight.seconds, 1) for sight, _, _ in taken] == [0.6, 1.2]
    assert [round(end.seconds, 1) for end in taken[0][1:]] == [0.2, 1.0]
    small = [sight._replace(box=box * [1, 1, 1, 0.9]) for sight in track]
    assert list(windows.moments(small, 2.0, 0.5)) == list(windows.moments(track[:4], 2.0, 0.5)) == []


def test_a_person_who_keeps_up_with_the_camera_walks_and_one_left_behind_stands() -> None:
    scene = blobs((240, 480))
    before, after = scene[:, 40:360].copy(), scene[:, 60:380].copy()  # the camera pans 20 px to the right
    walker, stander = [100.0, 60.0, 140.0, 160.0], [200.0, 60.0, 240.0, 160.0]
    left_behind = [180.0, 60.0, 220.0, 160.0]
    for image, boxes in ((before, (walker, stander)), (after, (walker, left_behind))):
        for x1, y1, x2, y2 in np.array(boxes, int):
            image[y1:y2, x1:x2] = 90
    camera = background_motion(before, after, [walker, stander, left_behind])
    assert camera is not None
    np.testing.assert_allclose(camera, [[1, 0, -20], [0, 1, 0]], atol=0.3)
    assert own_motion(walker, walker, camera, 0.5) == pytest.approx((20 / 100 / 0.5, 0), abs=0.01)
    assert own_motion(stander, left_behind, camera, 0.5) == pytest.approx((0, 0), abs=0.01)


def test_growth_is_that_beyond_the_zoom() -> None:
    camera = np.array([[1.1, 0, 0], [0, 1.1, 0]])
    moved, growth = own_motion([0, 0, 50, 100], [0, 0, 55, 110], camera, 1.0)
    assert (moved, growth) == pytest.approx((0, 0), abs=1e-9)
    growth = own_motion([0, 0, 50, 100], [0, 0, 60.5, 121], camera, 0.5)[1]
    assert growth == pytest.approx(math.log(1.1) / 0.5)


def test_a_plain_background_tells_nothing_of_the_camera() -> None:
    plain = np.full((100, 100, 3), 90, np.uint8)
    assert background_motion(plain, plain, []) is None


def test_movement_labels_who_walks_and_who_does_not() -> None:
    walks = targets.motion_labels(window(displacement=0.6, growth=0.0), upright=0.8)
    assert (walks.pose, walks.pose_weight, walks.on_the_spot) == ({14: 0.9, 10: 0.1}, 0.7, 0)
    assert targets.motion_labels(window(displacement=1.4, growth=0.0), upright=0.8).pose == {10: 0.7, 14: 0.3}
    assert targets.motion_labels(window(displacement=0.6, growth=0.0), upright=0.2).pose == {}
    rests = targets.motion_labels(window(displacement=0.02, growth=0.01), upright=0.8)
    assert (rests.pose, rests.on_the_spot) == ({}, 1)
    assert targets.motion_labels(window(displacement=0.02, growth=0.3), upright=0.8).on_the_spot == 0
    assert targets.motion_labels(window(displacement=None), upright=0.8).on_the_spot == 0
    shakes = targets.motion_labels(window(source="ut_interaction", label="0", displacement=0.2), upright=0.8)
    assert (shakes.present, shakes.on_the_spot) == ([68], 0.3)
    assert targets.motion_labels(window(source="jhmdb21", label="sit"), upright=0.8).pose == {}  # sitting down


@each_case("seed", range(8))
def test_augmentation_keeps_size_and_range(seed: int) -> None:
    stored = np.random.default_rng(seed).integers(0, 256, (208, 208, 3), np.uint8)
    grey = np.random.default_rng(seed).integers(0, 256, (8, 80, 80), np.uint8)
    seen = augment.vary(stored, random.Random(seed), np.random.default_rng(seed))
    assert (seen.shape, seen.dtype) == ((160, 160, 3), np.float32)
    assert seen.min() >= 0 and seen.max() <= 255
    again = augment.vary(stored, random.Random(seed), np.random.default_rng(seed))
    np.testing.assert_array_equal(seen, again)
    head = augment.head_and_shoulders(stored, random.Random(seed))
    assert (head.shape, head.dtype) == ((160, 160, 3), np.float32)
    moved = augment.vary_motion(grey, random.Random(seed), np.random.default_rng(seed))
    assert (moved.shape, moved.dtype) == ((8, 64, 64), np.float32)
    assert moved.min() > -0.8 and moved.max() < 1.8


def test_the_middle_is_what_the_net_sees_in_use() -> None:
    stored = np.zeros((208, 208, 3), np.uint8)
    stored[24:184, 24:184] = 1
    assert augment.centre(stored).min() == 1 and augment.centre(stored).shape == (160, 160, 3)
    grey = np.zeros((8, 80, 80), np.uint8)
    grey[:, 8:72, 8:72] = 1
    assert augment.centre(grey, 64).min() == 1 and augment.centre(grey, 64).shape == (8, 64, 64)


def test_the_cost_of_walking_on_the_spot() -> None:
    parts = torch.full((2, 15), 0.5 / 12)
    parts[:, [pose_column(14), pose_column(10), pose_column(7)]] = torch.tensor([0.3, 0.15, 0.05])
    cost = motion.not_locomotion(parts.log(), torch.tensor([1.0, 0.3]))
    assert float(cost) == pytest.approx(1.3 * -math.log(1 - 0.5), rel=1e-5)
    assert float(motion.not_locomotion(parts.log(), torch.zeros(2))) == 0


def test_a_frozen_window_teaches_only_that_nothing_moves() -> None:
    table = targets.empty_targets(1)
    table.pose[0, pose_column(14)], table.pose_weight[0] = 1, 2
    targets.set_actions(table, 0, [69], [67], 1.0, 0.5)
    logits = torch.zeros(1, 15), torch.zeros(1, 66)
    nothing = logits
    frozen = motion.costs(logits, nothing, table, torch.zeros(1), torch.tensor([True]))
    assert float(frozen) == pytest.approx(-math.log(1 - 3 / 15), rel=1e-5)
    shown = motion.costs(logits, nothing, table, torch.zeros(1), torch.tensor([False]))
    expected = 2 * math.log(15) + 0.5 * (4 * 1.0 + 0.5) * math.log(2)
    assert float(shown) == pytest.approx(expected, rel=1e-5)


def test_scores_of_the_motion_stream_by_hand() -> None:
    assert motion.area_under_roc(torch.tensor([0.9, 0.4]), torch.tensor([0.4, 0.1])) == pytest.approx(3.5 / 4)
    assert motion.average_precision(torch.tensor([0.9, 0.8, 0.7]), torch.tensor([1.0, 0, 1])) == pytest.approx(5 / 6)


def test_windows_are_written_as_they_are_read() -> None:
    files = windows.WindowFiles(io.BytesIO(), io.BytesIO())
    frames = [np.full((60, 80, 3), 10 * number, np.uint8) for number in range(8)]
    files.add(frames, [30.0, 20.0, 50.0, 40.0])
    stored = np.frombuffer(files.crops.getvalue(), np.uint8).reshape(8, 176, 176, 3)  # type: ignore[attr-defined]
    greys = np.frombuffer(files.greys.getvalue(), np.uint8).reshape(8, 80, 80)  # type: ignore[attr-defined]
    assert stored[:, 88, 88, 0].tolist() == greys[:, 40, 40].tolist() == list(range(0, 80, 10))
