"""Rendered pictures: the truth fits the pixels, and the same seed gives the same picture."""

import numpy as np
import pytest
from each_case import each_case

from avadet.errors import AvadetError
from avadet.synthetic.actions import ACTIONS
from avadet.synthetic.backdrop import BACKDROPS, random_backdrop
from avadet.synthetic.camera import Camera, View, backdrop_hw
from avadet.synthetic.paint import clip_boxes, limb_layers
from avadet.synthetic.scene import make_person, random_scene, render

SIZE = (120, 160)


def tripod(num_frames):
    warps = np.repeat(np.eye(2, 3)[None], num_frames, axis=0)
    return Camera(warps, np.ones((num_frames, 3)), 0.0, np.zeros((0, *SIZE, 3), np.int16))


def drawn_box(on_black, on_white):
    """Box of what is at least half covered, from the same person on black and on white: coverage is what is left."""
    coverage = 1 - (on_white.astype(float) - on_black).mean(axis=-1) / 255
    rows, columns = np.nonzero(coverage > 0.5)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)


def test_a_limb_by_hand():
    ends, radii = (np.array([[10.0, 20]]), np.array([[30.0, 20]])), (np.array([4.0]), np.array([2.0]))
    outline = limb_layers(ends, radii, (1, 2, 3), (0.0, -1.0))[0].points[0]
    np.testing.assert_allclose([outline.min(axis=0), outline.max(axis=0)], [[6.2, 16], [31.9, 24]], atol=0.25)


def test_boxes_are_cut_at_the_frame():
    norm, inside = clip_boxes(np.array([[-10.0, 0, 10, 50], [0, 0, 100, 50], [200, 0, 220, 10]]), (50, 100))
    np.testing.assert_allclose(norm, [[0, 0, 0.1, 1], [0, 0, 1, 1], [1, 0, 1, 0.2]])
    np.testing.assert_allclose(inside, [0.5, 1, 0])


@each_case("action", ["walk", "wave", "jump", "pick", "pullup"])
@each_case("yaw", [0.0, 1.6, 3.0])
def test_box_is_tight_around_the_drawn_body(action, yaw):
    t = np.array([0.0, 0.2, 0.55])
    person = make_person(np.random.default_rng(3), action, t, View(yaw, 75.0, (80.0, 112.0), (80.0, 30.0), 8.0))
    body = type(person)(action, person.body, [], person.foot_y_px)
    size = (*backdrop_hw(SIZE), 3)
    black, white = (render([body], np.full(size, grey, np.uint8), tripod(3), SIZE, 5.0) for grey in (0, 255))
    for frame in range(3):
        box = black.boxes_norm[frame, 0] * [160, 120, 160, 120]
        np.testing.assert_allclose(box, drawn_box(black.frames[frame], white.frames[frame]), atol=0.75)


def test_a_scene_is_what_it_says():
    clip = random_scene(np.random.default_rng(0), SIZE, 6, 15.0, num_persons=2, actions=["walk", "wave"])
    assert clip.frames.shape == (6, *SIZE, 3) and clip.frames.dtype == np.uint8
    assert clip.boxes_norm.shape == (6, 2, 4) and clip.boxes_norm.dtype == np.float32
    assert clip.visible.shape == (6, 2) and clip.visible.dtype == bool
    assert len(clip.labels) == 2 and set(clip.labels) <= {"walk", "wave"}
    np.testing.assert_allclose(clip.times_s, np.arange(6) / 15)


@each_case("action", ACTIONS)
def test_every_action_renders_with_boxes_in_the_frame(action):
    clip = random_scene(np.random.default_rng(2), SIZE, 12, 12.0, num_persons=1, actions=[action])
    assert clip.labels == (action,)
    assert np.isfinite(clip.boxes_norm).all()
    assert clip.boxes_norm.min() >= 0 and clip.boxes_norm.max() <= 1
    assert (clip.boxes_norm[..., 2:] >= clip.boxes_norm[..., :2]).all()
    assert clip.visible[len(clip.visible) // 2].all(), "people are in the picture half-way through"
    assert np.abs(np.diff(clip.frames.astype(int), axis=0)).max() > 20, "nothing moves"


def test_same_seed_same_scene_other_seed_other_scene():
    first, again, other = (random_scene(np.random.default_rng(seed), SIZE, 3) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.frames, again.frames)
    np.testing.assert_array_equal(first.boxes_norm, again.boxes_norm)
    assert first.labels == again.labels
    assert (first.frames != other.frames).any()


def test_people_of_a_scene_do_not_stand_in_the_same_place():
    hidden = 0
    for seed in range(20):
        boxes = random_scene(np.random.default_rng(seed), SIZE, 3, num_persons=2).boxes_norm[1].astype(float)
        low, high = boxes[:, :2].max(axis=0), boxes[:, 2:].min(axis=0)
        shared = np.prod(np.clip(high - low, 0, None))
        hidden += shared > 0.5 * np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).min()
    assert hidden <= 1


def test_nobody_can_be_asked_for():
    clip = random_scene(np.random.default_rng(0), SIZE, 2, num_persons=0)
    assert clip.labels == () and clip.boxes_norm.shape == (2, 0, 4)


@each_case("make", BACKDROPS)
def test_every_backdrop_fills_the_picture(make):
    for size in ((90, 160), (200, 120)):
        image = make(np.random.default_rng(0), size, 0.3 * size[0])
        assert image.shape == (*size, 3) and image.dtype == np.uint8
        assert image.std() > 1


def test_backdrops_differ():
    means = [random_backdrop(np.random.default_rng(seed), SIZE, 40).mean() for seed in range(12)]
    assert np.std(means) > 10


@each_case(
    ("wrong", "says"),
    [
        ({"actions": ["fly"]}, "unknown action 'fly'"),
        ({"num_persons": (3, 1)}, r"num_persons must be a count or \(least, most\), got \(3, 1\)"),
        ({"num_frames": 0}, "num_frames >= 1"),
    ],
)
def test_what_cannot_be_rendered_is_refused(wrong, says):
    with pytest.raises(AvadetError, match=says):
        random_scene(np.random.default_rng(0), SIZE, **{"num_frames": 2, **wrong})
