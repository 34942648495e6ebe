"""Curves, limbs and every action's motion: by hand where it can be, by law where not."""

import numpy as np
import pytest
from each_case import each_case

from avadet.errors import AvadetError
from avadet.labels import read_label_map
from avadet.synthetic.actions import ACTIONS, move
from avadet.synthetic.camera import View
from avadet.synthetic.curves import smooth, through
from avadet.synthetic.skeleton import ARM, LEG, Build, pose, prop_points, rotations, two_links

T = np.arange(0, 3, 1 / 30)


def joints_of(action, seed=0):
    return pose(move(action, T, np.random.default_rng(seed)), Build())


def test_smooth_is_flat_outside_and_half_way_in_the_middle():
    np.testing.assert_allclose(smooth(np.array([-1.0, 0, 0.5, 1, 2])), [0, 0, 0.5, 1, 1])


def test_curve_goes_through_its_keys_and_rests_outside():
    times, values = [0.0, 0.5, 2.0], [1.0, 3.0, -1.0]
    np.testing.assert_allclose(through(np.array([-5, 0, 0.5, 2.0, 9]), times, values), [1, 1, 3, -1, -1], atol=1e-12)


def test_periodic_curve_repeats_and_has_no_jump():
    times, values = [0.1, 0.4, 0.8], np.array([[0.0, 1], [2, 1], [1, 5]])
    u = np.linspace(0, 3, 3001)
    curve = through(u, times, values, period=1.0)
    np.testing.assert_allclose(curve[:1000], curve[1000:2000], atol=1e-9)
    assert np.abs(np.diff(curve, axis=0)).max() < 0.05
    np.testing.assert_allclose(through(np.array([1.4]), times, values, period=1.0), [[2, 1]], atol=1e-12)


def test_two_links_bend_towards_the_pole_by_pythagoras():
    start, target, pole = np.zeros((1, 3)), np.array([[8.0, 0, 0]]), np.array([[0, 0, 1.0]])
    middle, end = two_links(start, target, 5, 5, pole)
    np.testing.assert_allclose(middle, [[4, 0, 3]], atol=1e-9)
    np.testing.assert_allclose(end, target, atol=1e-9)


def test_two_links_stop_short_of_what_they_cannot_reach():
    middle, end = two_links(np.zeros((1, 3)), np.array([[99.0, 0, 0]]), 5, 5, np.array([[0, 0, 1.0]]))
    assert 9.9 < end[0, 0] < 10
    assert np.linalg.norm(middle) == pytest.approx(5)


def test_rotation_turns_forward_to_the_left_and_bends_up_to_forward():
    quarter, none = np.array([np.pi / 2]), np.zeros(1)
    np.testing.assert_allclose(rotations(quarter, none)[0] @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(rotations(none, quarter)[0] @ [0, 0, 1], [1, 0, 0], atol=1e-12)


def test_view_projects_by_hand():
    view = View(yaw=0.5 * np.pi, height_px=100, foot_px=(50, 200), horizon_px=(50, 100), distance=4)
    pixels, depth = view.project(np.array([[0, 0, 1.0], [0.5, 0, 0], [0, 4.0, 0]]))
    # Facing right: forward is to the right, the left hand is away from the camera; twice as far is half as large.
    np.testing.assert_allclose(pixels, [[50, 100], [100, 200], [50, 150]], atol=1e-9)
    np.testing.assert_allclose(depth, [0, 0, 4], atol=1e-9)
    assert view.shifted_to(np.array([0.5, 0, 0])).project(np.array([0.5, 0, 0]))[0][0] == pytest.approx(50)


def test_actions_are_classes_of_jhmdb():
    assert set(ACTIONS) <= set(read_label_map("jhmdb21").names)


def test_unknown_action_names_the_nearest():
    with pytest.raises(AvadetError, match="unknown action 'wlak'; did you mean walk"):
        move("wlak", T, np.random.default_rng(0))


@each_case("action", ACTIONS)
def test_every_action_moves_a_whole_body(action):
    for seed in range(3):
        motion = move(action, T, np.random.default_rng(seed))
        joints = pose(motion, Build())
        for name in ("wrists", "elbows", "knees", "ankles", "toes", "head", "fingers"):
            assert np.isfinite(getattr(joints, name)).all()
        for upper, lower, bone in (("shoulders", "elbows", 0.53 * ARM), ("elbows", "wrists", 0.47 * ARM),
                                   ("hips", "knees", 0.5 * LEG), ("knees", "ankles", 0.5 * LEG)):  # fmt: skip
            lengths = np.linalg.norm(getattr(joints, upper) - getattr(joints, lower), axis=-1)
            np.testing.assert_allclose(lengths, bone, rtol=1e-6)
        assert np.linalg.norm(np.diff(joints.wrists, axis=0), axis=-1).max() > 0.002, "hands must move"
        steps = np.linalg.norm(np.diff(joints.wrists - joints.pelvis[:, None], axis=0), axis=-1)
        assert steps.max() < 0.45, "hands must not jump from place to place"
        for prop in motion.props:
            assert np.isfinite(prop_points(prop, joints)).all()


@each_case(("action", "least"), [("walk", 1.0), ("run", 4.0)])
def test_travelling_actions_go_ahead(action, least):
    joints = joints_of(action)
    assert (np.diff(joints.pelvis[:, 0]) > 0).all()
    assert joints.pelvis[-1, 0] - joints.pelvis[0, 0] > least


def test_walking_feet_hardly_slide_while_they_carry():
    joints = joints_of("walk")
    lower = joints.ankles[:, :, 2].argmin(axis=1)
    slide = [joints.ankles[k + 1, lower[k], 0] - joints.ankles[k, lower[k], 0] for k in range(len(T) - 1)]
    assert np.median(np.abs(slide)) < 0.4 * np.median(np.diff(joints.pelvis[:, 0]))


def test_waving_moves_one_hand_above_the_shoulder():
    joints = joints_of("wave", seed=1)
    travel = np.abs(np.diff(joints.wrists, axis=0)).sum(axis=(0, 2))
    high, low = travel.argmax(), travel.argmin()
    assert travel[high] > 5 * travel[low]
    assert (joints.wrists[:, high, 2] > joints.shoulders[:, high, 2]).all()


def test_clapping_hands_meet_and_part():
    joints = joints_of("clap")
    apart = np.linalg.norm(joints.wrists[:, 0] - joints.wrists[:, 1], axis=-1)
    assert apart.min() < 0.06 < 0.15 < apart.max()


def test_jumping_leaves_the_ground_and_comes_back():
    lowest = joints_of("jump").ankles[:, :, 2].min(axis=1)
    assert lowest.max() > 0.14
    assert lowest.min() == pytest.approx(0.04, abs=0.01)


def test_picking_brings_a_hand_near_the_ground():
    assert joints_of("pick").fingers[:, :, 2].min() < 0.2


def test_pullup_keeps_the_hands_on_the_bar():
    joints = joints_of("pullup")
    assert np.ptp(joints.wrists[:, :, 2]) < 0.03
    assert np.ptp(joints.pelvis[:, 2]) > 0.15
