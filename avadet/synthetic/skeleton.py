"""The body: proportions, and from how an action moves it to where every joint is.

Lengths are in body heights (a standing adult is 1.0 tall), angles in rad. A person's own axes: x forward, y to the
left, z up; the origin is the ground below the pelvis at time 0. Limbs come in pairs, left first. T = moments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avadet.types import BoolArray, Float64Array

LEFT, RIGHT = 0, 1

ANKLE_HEIGHT = 0.04
ARM = 0.32
LEG = 0.485
TORSO = 0.29
SHOULDER_HALF = 0.105
STANDING = ANKLE_HEIGHT + 0.998 * LEG + 0.005


@dataclass(frozen=True)
class Build:
    """Proportions of one body, as factors of the average adult; `girth` is the thickness of trunk and limbs."""

    girth: float = 1.0
    shoulders: float = 1.0
    hips: float = 1.0
    head: float = 1.0


def random_build(rng: np.random.Generator) -> Build:
    """Draw a body between slim and stout, sometimes a child's, whose head is large."""
    child = rng.random() < 0.12
    girth, shoulders, hips = (float(rng.uniform(*span)) for span in ((0.85, 1.35), (0.88, 1.12), (0.9, 1.15)))
    return Build(girth, shoulders, hips, float(rng.uniform(1.15, 1.35) if child else rng.uniform(0.92, 1.1)))


@dataclass(frozen=True)
class Prop:
    """A thing that belongs to an action: a ball, a bar.

    Attributes:
        kind: "ball" (1 point) or "stick" (2 points).
        points: float64 (T or 1, P, 3), person's axes; where `held`, relative to `hand`.
        radius: of the ball or stick.
        colour: uint8 RGB.
        hand: the one that holds it, LEFT or RIGHT.
        held: bool (T,), when it is held; None = never.
    """

    kind: str
    points: Float64Array
    radius: float = 0.02
    colour: tuple[int, int, int] = (90, 70, 50)
    hand: int = RIGHT
    held: BoolArray | None = None


@dataclass(frozen=True)
class Motion:
    """How an action moves a body.

    Attributes:
        pelvis: float64 (T, 3), its position.
        feet: float64 (T, 2, 3), positions of the ankles (shortened to what the legs reach).
        hands: float64 (T, 2, 3), wrists seen from their own shoulder in arm lengths: forward, outward, up of the chest.
        elbows: float64 (T, 2, 3), direction in which the elbows point, same axes as `hands`.
        lean, roll: float64 (T,), chest bent forward, to the left.
        turn, twist: float64 (T,), pelvis turned to the left; chest turned to the left of the pelvis.
        nod: float64 (T,), head bent down beyond the chest.
        toes: float64 (T, 2), toes pointing down.
        props: the things that belong to the action.
    """

    pelvis: Float64Array
    feet: Float64Array
    hands: Float64Array
    elbows: Float64Array
    lean: Float64Array
    roll: Float64Array
    turn: Float64Array
    twist: Float64Array
    nod: Float64Array
    toes: Float64Array
    props: tuple[Prop, ...] = ()


@dataclass(frozen=True)
class Joints:
    """Where the joints are, float64.

    Attributes:
        pelvis, waist, neck, head: (T, 3); `head` is the centre of the skull.
        shoulders, elbows, wrists, fingers, hips, knees, ankles, toes: (T, 2, 3).
        pelvis_axes, chest_axes, head_axes: (T, 3, 3), columns are the part's forward, left and up.
    """

    pelvis: Float64Array
    waist: Float64Array
    neck: Float64Array
    head: Float64Array
    shoulders: Float64Array
    elbows: Float64Array
    wrists: Float64Array
    fingers: Float64Array
    hips: Float64Array
    knees: Float64Array
    ankles: Float64Array
    toes: Float64Array
    pelvis_axes: Float64Array
    chest_axes: Float64Array
    head_axes: Float64Array


def rotations(yaw: Float64Array, pitch: Float64Array, roll: Float64Array | float = 0.0) -> Float64Array:
    """Rotation matrices (T, 3, 3): roll to the left, then bend forward by pitch, then turn left by yaw."""
    zero, one, tilt = np.zeros_like(yaw), np.ones_like(yaw), -roll + np.zeros_like(yaw)
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(tilt), np.sin(tilt)
    about_z = np.stack([cy, -sy, zero, sy, cy, zero, zero, zero, one], -1).reshape(-1, 3, 3)
    about_y = np.stack([cp, zero, sp, zero, one, zero, -sp, zero, cp], -1).reshape(-1, 3, 3)
    about_x = np.stack([one, zero, zero, zero, cr, -sr, zero, sr, cr], -1).reshape(-1, 3, 3)
    return np.asarray(about_z @ about_y @ about_x)


def two_links(
    start: Float64Array, target: Float64Array, upper: float, lower: float, pole: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Middle and end joint of a limb of two bones that reaches from `start` for `target`, each float64 (..., 3).

    `upper` and `lower` are the bones' lengths; a target too far away is pulled in. The middle joint points to `pole`.
    """
    reach = target - start
    length = np.linalg.norm(reach, axis=-1, keepdims=True)
    axis = reach / np.maximum(length, 1e-9)
    length = np.clip(length, abs(upper - lower) + 1e-6, 0.9995 * (upper + lower))
    along = (length**2 + upper**2 - lower**2) / (2 * length)
    out = np.sqrt(np.maximum(upper**2 - along**2, 0))
    side = pole - (pole * axis).sum(-1, keepdims=True) * axis
    side = side / np.maximum(np.linalg.norm(side, axis=-1, keepdims=True), 1e-9)
    return start + along * axis + out * side, start + length * axis


def _apply(axes: Float64Array, vectors: Float64Array) -> Float64Array:
    """Rotate vectors (T, ..., 3) by axes (T, 3, 3)."""
    return np.asarray(np.einsum("tij,t...j->t...i", axes, vectors))


def _pair(half_width: float, up: float, count: int) -> Float64Array:
    """(T, 2, 3): two points at +-half_width to the left and right."""
    return np.tile(np.array([[0, half_width, up], [0, -half_width, up]]), (count, 1, 1))


def pose(motion: Motion, build: Build) -> Joints:
    """Solve the joints of a body that moves so."""
    count, outward = len(motion.pelvis), np.array([[1.0, 1, 1], [1, -1, 1]])
    pelvis_axes = rotations(motion.turn, 0.35 * motion.lean)
    low_axes = rotations(motion.turn + 0.5 * motion.twist, 0.7 * motion.lean, 0.5 * motion.roll)
    chest_axes = rotations(motion.turn + motion.twist, motion.lean, motion.roll)
    head_axes = rotations(motion.turn + 0.5 * motion.twist, 0.6 * motion.lean + motion.nod, 0.3 * motion.roll)
    waist = motion.pelvis + low_axes[:, :, 2] * (0.42 * TORSO)
    neck = waist + chest_axes[:, :, 2] * (0.58 * TORSO)
    head = neck + 0.4 * (chest_axes[:, :, 2] + head_axes[:, :, 2]) * 0.06
    head = head + head_axes @ np.array([0.012, 0, 0.03 + 0.028 * build.head])

    shoulders = neck[:, None] + _apply(chest_axes, _pair(SHOULDER_HALF * build.shoulders, -0.012, count))
    wanted = shoulders + _apply(chest_axes, motion.hands * outward) * ARM
    elbow_poles = _apply(chest_axes, motion.elbows * outward)
    elbows, wrists = two_links(shoulders, wanted, 0.53 * ARM, 0.47 * ARM, elbow_poles)
    forearm = (wrists - elbows) / (0.47 * ARM)

    hips = motion.pelvis[:, None] + _apply(pelvis_axes, _pair(0.048 * build.hips, -0.005, count))
    level = rotations(motion.turn, 0 * motion.turn)
    flat = np.repeat(level[:, None, :, 0], 2, axis=1) + _apply(level, _pair(0.2, 0, count))
    knees, ankles = two_links(hips, motion.feet, 0.5 * LEG, 0.5 * LEG, flat)
    foot = flat * np.cos(motion.toes)[..., None]
    foot[..., 2] -= np.sin(motion.toes)
    toes = ankles + 0.105 * foot - np.array([0, 0, 0.6 * ANKLE_HEIGHT])
    return Joints(
        motion.pelvis, waist, neck, head, shoulders, elbows, wrists, wrists + 0.045 * forearm,
        hips, knees, ankles, toes, pelvis_axes, chest_axes, head_axes,
    )  # fmt: skip


def prop_points(prop: Prop, joints: Joints) -> Float64Array:
    """Where the points of a prop are, float64 (T, P, 3)."""
    points = np.broadcast_to(prop.points, (len(joints.pelvis), *prop.points.shape[1:]))
    if prop.held is None:
        return np.asarray(points)
    hand = 0.5 * (joints.wrists[:, prop.hand] + joints.fingers[:, prop.hand])
    return np.asarray(np.where(prop.held[:, None, None], points + hand[:, None], points))
