"""Clip and boxes move together."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from each_case import each_case

from avadet.data.transforms import (
    FIELD_RECIPE,
    Augmentation,
    Window,
    augment_clip,
    draw_change,
    draw_colour,
    draw_window,
    jitter_boxes,
    recolour,
)

PLAIN = Augmentation(size_hw=(60, 80))
STRONG = Augmentation(size_hw=(60, 80), zoom=(0.6, 2.0), aspect=1.3, flip=0.5)


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _painted(box: tuple[int, int, int, int], frames: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """A white rectangle on black, frames (T, 120, 160, 3), and its box (1, 4)."""
    clip = np.zeros((frames, 120, 160, 3), np.uint8)
    clip[:, box[1] : box[3], box[0] : box[2]] = 255
    return clip, np.array([box], np.float32)


def test_window_by_hand() -> None:
    window = Window(scale_x=2.0, scale_y=0.5, shift_x=-10.0, shift_y=3.0)
    box = np.array([[10, 20, 30, 40]], np.float32)
    assert window.boxes(box).tolist() == [[10, 13, 50, 23]]
    assert window.flipped(80).boxes(box).tolist() == [[30, 13, 70, 23]]


def test_flip_twice_is_the_identity() -> None:
    frames = _rng().integers(0, 256, (2, 60, 80, 3)).astype(np.uint8)
    whole = Window(1.0, 1.0, 0.0, 0.0)
    once = whole.flipped(80).frames(frames, (60, 80))
    np.testing.assert_array_equal(once, frames[:, :, ::-1])
    np.testing.assert_array_equal(whole.flipped(80).frames(once, (60, 80)), frames)
    assert whole.flipped(80).flipped(80) == whole


def test_without_crop_the_picture_is_that_of_inference() -> None:
    frames = cv2.GaussianBlur(_rng().integers(0, 256, (120, 160, 3)).astype(np.uint8), (0, 0), 2)[None]
    out, _, _ = augment_clip(_rng(), frames, np.array([[10, 10, 50, 50]], np.float32), PLAIN)
    expected = cv2.resize(frames[0], (80, 60), interpolation=cv2.INTER_LINEAR)
    assert np.abs(out[0].astype(int) - expected).max() <= 1


@each_case("seed", range(40))
def test_a_painted_box_stays_around_its_paint(seed: int) -> None:
    frames, boxes = _painted((50, 30, 90, 80))
    out, moved, kept = augment_clip(_rng(seed), frames, boxes, STRONG)
    assert out.shape == (2, 60, 80, 3) and kept.all()
    white = out[1, :, :, 0] > 200  # the border outside the frame is 128
    rows, columns = np.flatnonzero(white.any(1)), np.flatnonzero(white.any(0))
    painted = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    np.testing.assert_allclose(moved[0], painted, atol=1.01)
    np.testing.assert_array_equal(out[0], out[1])


@each_case("seed", range(40))
def test_a_person_that_fits_is_whole_in_view(seed: int) -> None:
    box = np.array([140, 5, 158, 40], np.float32)
    window = draw_window(_rng(seed), (120, 160), box, replace(STRONG, zoom=(1.0, 1.5)))
    x1, y1, x2, y2 = window.boxes(box[None])[0]
    assert x1 >= -1e-3 and y1 >= -1e-3 and x2 <= 80 + 1e-3 and y2 <= 60 + 1e-3


def test_no_box_makes_a_window_impossible() -> None:
    rng = _rng()
    for _ in range(2000):
        corners = rng.choice([0, 1 / 3, 0.1, 0.7, 1], size=(2, 2)) * [320, 240]
        box = np.concatenate([corners.min(0), corners.max(0)]).astype(np.float32)
        window = draw_window(rng, (240, 320), box, Augmentation((112, 144), zoom=(0.8, 1.4), aspect=1.15))
        assert np.isfinite(window.boxes(box[None])).all()


def test_a_crop_stays_on_the_frame_and_a_wide_view_holds_it() -> None:
    frames, boxes = np.full((1, 120, 160, 3), 255, np.uint8), np.array([[0, 0, 20, 20]], np.float32)
    for seed in range(20):
        close, _, _ = augment_clip(_rng(seed), frames, boxes, replace(PLAIN, zoom=(1.2, 2.0)))
        assert close.min() == 255
        wide, _, _ = augment_clip(_rng(seed), frames, boxes, replace(PLAIN, zoom=(0.5, 0.5)))
        assert 0.22 < (wide == 255).mean() <= 0.25  # a quarter, less a blurred rim


def test_people_out_of_view_are_dropped_with_their_labels() -> None:
    frames = np.zeros((1, 120, 160, 3), np.uint8)
    boxes = np.array([[0, 0, 10, 10], [150, 110, 160, 120]], np.float32)
    for seed in range(10):
        _, moved, kept = augment_clip(_rng(seed), frames, boxes, replace(PLAIN, zoom=(4.0, 4.0)))
        assert len(moved) == kept.sum() == 1


def test_the_drawn_person_stays_however_little_of_him_is_in_view() -> None:
    boxes = np.array([[0, 0, 160, 120], [20, 10, 150, 110]], np.float32)
    close = replace(PLAIN, zoom=(4.0, 4.0), min_visible=0.9)
    for seed in range(10):
        change = draw_change(_rng(seed), (120, 160), boxes, close)
        assert change.kept.sum() == len(change.boxes_px) == 1
        assert not draw_change(_rng(seed), (120, 160), boxes, replace(close, keep_one=False)).kept.any()


def test_people_stay_by_the_share_of_them_that_is_in_view() -> None:
    corners = _rng().uniform(0, 100, (30, 2))
    boxes = np.concatenate([corners, corners + 20], axis=1).astype(np.float32)
    recipe = replace(PLAIN, zoom=(1.5, 2.5), keep_one=False, min_visible=0.5)
    both = set()
    for seed in range(10):
        change = draw_change(_rng(seed), (120, 160), boxes, recipe)
        moved = change.window.boxes(boxes)
        inside = np.clip(moved, 0, [80, 60, 80, 60])
        share = np.prod(inside[:, 2:] - inside[:, :2], axis=1) / np.prod(moved[:, 2:] - moved[:, :2], axis=1)
        np.testing.assert_array_equal(change.kept, share >= 0.5)
        both |= set(np.digitize(share[(share > 0) & (share < 1)], [0.5]).tolist())
    assert both == {0, 1}


def test_a_clip_without_people() -> None:
    frames = np.zeros((1, 120, 160, 3), np.uint8)
    out, moved, kept = augment_clip(_rng(), frames, np.zeros((0, 4), np.float32), STRONG)
    assert out.shape == (1, 60, 80, 3) and moved.shape == (0, 4) and len(kept) == 0


def test_colour_by_hand() -> None:
    frames = np.array([[[[255, 0, 0], [0, 255, 0], [10, 20, 30]]]], np.uint8)
    np.testing.assert_array_equal(recolour(frames, draw_colour(_rng(), PLAIN)), frames)
    grey = recolour(frames, draw_colour(_rng(), replace(PLAIN, grayscale=1.0)))
    assert grey[0, 0].tolist() == [[76, 76, 76], [150, 150, 150], [18, 18, 18]]  # .299, .587, .114
    twice = np.concatenate([2 * np.eye(3), np.full((3, 1), -20.0)], axis=1)
    assert recolour(frames, twice)[0, 0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 20, 40]]


def test_cutout_is_grey_and_the_same_in_all_frames() -> None:
    frames, boxes = np.zeros((3, 120, 160, 3), np.uint8), np.array([[50, 30, 90, 80]], np.float32)
    shares = []
    for seed in range(30):
        out, _, _ = augment_clip(_rng(seed), frames, boxes, replace(PLAIN, cutout=1.0, cutout_size=0.5))
        assert (out == out[0]).all() and set(np.unique(out)) <= {0, 128}
        shares.append((out[0, :, :, 0] == 128).mean())
    assert max(shares) <= 0.25 and max(shares) > 0.1


def test_jitter_keeps_boxes_in_the_frame_and_the_right_way_round() -> None:
    boxes = np.array([[0, 0, 80, 60], [79, 59, 80, 60], [10, 10, 20, 30]], np.float32)
    for seed in range(50):
        out = jitter_boxes(_rng(seed), boxes, 0.6, (60, 80))
        assert (out[:, 2:] - out[:, :2] >= 1 - 1e-4).all()
        assert out.min() >= 0 and (out[:, 2:] <= [80, 60]).all()
    np.testing.assert_array_equal(jitter_boxes(_rng(), boxes, 0.0, (60, 80)), boxes)


@pytest.mark.parametrize("source_hw", [(240, 320), (480, 270), (256, 256)])
def test_the_fields_recipe_crops_anywhere_at_a_drawn_size(source_hw: tuple[int, int]) -> None:
    """PySlowFast: the shorter side becomes 256 to 320 px, even; then 224x224 from anywhere, mirrored or not."""
    nobody = np.zeros((0, 4), np.float32)
    windows = [draw_change(_rng(seed), source_hw, nobody, FIELD_RECIPE).window for seed in range(400)]
    scales = np.array([window.scale_y for window in windows])
    short = scales * min(source_hw)
    assert short.min() >= 256 and short.max() <= 320 and abs(short.mean() - 288) < 4
    assert all(abs(window.scale_x) == pytest.approx(window.scale_y) for window in windows)
    mirrored = np.array([window.scale_x < 0 for window in windows])
    assert abs(mirrored.mean() - 0.5) < 0.1
    places = []
    for window in windows:
        left = min(-window.shift_x / window.scale_x, (224 - window.shift_x) / window.scale_x)
        top = -window.shift_y / window.scale_y
        size = 224 / window.scale_y
        assert -1e-6 <= left <= source_hw[1] - size + 1e-6 and -1e-6 <= top <= source_hw[0] - size + 1e-6
        places.append((left / (source_hw[1] - size), top / (source_hw[0] - size)))
    np.testing.assert_allclose(np.mean(places, axis=0), 0.5, atol=0.06)


def test_people_out_of_the_fields_crop_are_dropped_and_slivers_kept() -> None:
    boxes = np.array([[0, 0, 320, 240], [0, 0, 40, 240], [280, 0, 320, 240]], np.float32)
    seen = [draw_change(_rng(seed), (240, 320), boxes, FIELD_RECIPE) for seed in range(100)]
    assert all(change.kept[0] for change in seen)
    for change in seen:
        inside = np.clip(change.window.boxes(boxes), 0, 224)
        visible = (inside[:, 2] > inside[:, 0]) & (inside[:, 3] > inside[:, 1])
        np.testing.assert_array_equal(change.kept, visible)
        assert len(change.boxes_px) == change.kept.sum()
    assert not all(change.kept[1] for change in seen) and any(change.kept[1] for change in seen)


@each_case("seed", range(6))
def test_frames_one_by_one_are_the_clip_at_once(seed: int) -> None:
    frames = _rng().integers(0, 256, (3, 90, 120, 3)).astype(np.uint8)
    boxes = np.array([[10, 10, 60, 80], [70, 20, 110, 85]], np.float32)
    recipe = replace(STRONG, brightness=0.3, saturation=0.3, cutout=0.5, box_jitter=0.1)
    whole, moved, kept = augment_clip(_rng(seed), frames, boxes, recipe)
    change = draw_change(_rng(seed), (90, 120), boxes, recipe)
    np.testing.assert_array_equal(change.finish(np.stack([change.move(frame) for frame in frames])), whole)
    np.testing.assert_array_equal(change.boxes_px, moved)
    np.testing.assert_array_equal(change.kept, kept)
