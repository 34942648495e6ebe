"""Whole pictures: persons before a backdrop, seen by a camera that shakes, blurs and hisses; with the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from avadet.errors import AvadetError
from avadet.synthetic.actions import ACTIONS, move
from avadet.synthetic.appearance import random_appearance
from avadet.synthetic.backdrop import random_backdrop
from avadet.synthetic.camera import Camera, View, backdrop_hw, random_camera
from avadet.synthetic.figure import body_parts, prop_part
from avadet.synthetic.paint import Part, clip_boxes, outline_boxes, paint
from avadet.synthetic.skeleton import pose, random_build
from avadet.types import BoolArray, Float32Array, Float64Array, UInt8Array

MIN_INSIDE = 0.15
_REACH = {"pullup": 1.45, "jump": 1.25, "wave": 1.1}  # body heights above the ground

Size = tuple[int, int]


@dataclass(frozen=True)
class SyntheticClip:
    """A rendered clip and what is true of it.

    Attributes:
        frames: uint8 (T, H, W, 3) RGB.
        boxes_norm: float32 (T, N, 4) xyxy, 0-1, tight around the body inside the frame, hidden parts included.
        visible: bool (T, N), whether enough of the person is inside the frame to count.
        labels: N JHMDB-21 class names.
        fps: frames per second.
    """

    frames: UInt8Array
    boxes_norm: Float32Array
    visible: BoolArray
    labels: tuple[str, ...]
    fps: float

    @property
    def times_s(self) -> Float64Array:
        """Time of each frame, float64 (T,)."""
        return np.arange(len(self.frames)) / self.fps


@dataclass(frozen=True)
class Person:
    """One person ready to be painted: parts of the body, which the box surrounds, and its props."""

    label: str
    body: list[Part]
    props: list[Part]
    foot_y_px: float


def make_person(rng: np.random.Generator, action: str, t: Float64Array, view: View, centred: bool = False) -> Person:
    """A person of drawn body and clothes who does `action` at moments `t`, float64 (T,) seconds.

    `view` says where the person is at time 0; when `centred`, where half-way through `t`.
    """
    motion = move(action, t, rng)
    build, worn = random_build(rng), random_appearance(rng)
    joints = pose(motion, build)
    view = view.shifted_to(joints.pelvis[len(t) // 2]) if centred else view
    props = [prop_part(prop, joints, view, worn.light) for prop in motion.props]
    return Person(action, body_parts(joints, build, worn, view), props, view.foot_px[1])


def paint_persons(image: UInt8Array, persons: Sequence[Person], moment: int, warp: Float64Array) -> None:
    """Paint everybody, those with higher feet (farther away) first."""
    for person in sorted(persons, key=lambda each: each.foot_y_px):
        paint(image, [*person.props, *person.body], moment, warp)


def warped(boxes_px: Float64Array, warps: Float64Array) -> Float64Array:
    """Boxes (T, 4) moved by the scalings and shifts (T, 2, 3) of the camera."""
    return np.asarray(boxes_px * warps[:, 0, 0, None] + np.tile(warps[:, :, 2], 2))


def _place(rng: np.random.Generator, action: str, size_hw: Size, slot: tuple[float, float], horizon: float) -> View:
    """Where a person stands half-way through the clip: whole or cut by the frame, inside the slot (x from, to, px)."""
    height, width = size_hw
    tall = height * float(np.exp(rng.uniform(np.log(0.38), np.log(0.95))))
    reach = _REACH.get(action, 1.0)
    tall /= 0.5 + 0.5 * reach
    foot_y = float(rng.uniform(min(0.97, reach * tall / height + 0.03), 1.0) * height)
    if rng.random() < 0.12:
        tall, foot_y = tall * rng.uniform(1.2, 1.7), foot_y + rng.uniform(0.1, 0.6) * height
    middle = float(rng.uniform(0.35, 0.65) * (slot[1] - slot[0]) + slot[0])
    vanish = (float(width * rng.uniform(0.35, 0.65)), horizon)
    if action in ("walk", "run") and rng.random() < 0.75:  # mostly across the picture
        yaw = float(rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0, 0.35))
    else:
        yaw = float(rng.normal(0, 0.9) if rng.random() < 0.7 else rng.uniform(-np.pi, np.pi))
    return View(yaw, tall, (middle, foot_y), vanish, float(rng.uniform(4, 12)))


def _stand_badly(boxes_px: Float64Array, size_hw: Size) -> bool:
    """Whether a person is out of the picture for most of the clip, or two stand in the same place. (T, N, 4)."""
    if (np.median(clip_boxes(boxes_px, size_hw)[1], axis=0) < 0.35).any():
        return True
    middle = boxes_px[len(boxes_px) // 2]
    low, high = np.maximum(middle[:, None, :2], middle[:, :2]), np.minimum(middle[:, None, 2:], middle[:, 2:])
    shared, area = np.prod(np.clip(high - low, 0, None), axis=-1), np.prod(middle[:, 2:] - middle[:, :2], axis=-1)
    return bool(np.triu(shared > 0.45 * np.minimum(area[:, None], area), 1).any())


def _persons(
    rng: np.random.Generator, labels: Sequence[str], size_hw: Size, t: Float64Array, horizon: float
) -> list[Person]:
    """Place one person for each label, side by side, trying again where they stand badly."""
    persons: list[Person] = []
    for _ in range(8 if labels else 0):
        slots = np.linspace(0, size_hw[1], len(labels) + 1)
        order = rng.permutation(len(labels))
        persons = [
            make_person(rng, label, t, _place(rng, label, size_hw, (slots[k], slots[k + 1]), horizon), centred=True)
            for label, k in zip(labels, order)
        ]
        if not _stand_badly(np.stack([outline_boxes(person.body) for person in persons], axis=1), size_hw):
            break
    return persons


def draw_count(rng: np.random.Generator, num_persons: int | tuple[int, int]) -> int:
    """A number of persons from a number or an inclusive range."""
    low, high = (num_persons, num_persons) if isinstance(num_persons, int) else num_persons
    if not 0 <= low <= high:
        raise AvadetError(f"num_persons must be a count or (least, most), got {num_persons}")
    return int(rng.integers(low, high + 1))


def render(persons: Sequence[Person], backdrop: UInt8Array, camera: Camera, size_hw: Size, fps: float) -> SyntheticClip:
    """Paint persons before a backdrop of `backdrop_hw(size_hw)`, uint8 RGB, as a camera of T frames sees them."""
    num_frames = len(camera.warps)
    frames = np.empty((num_frames, *size_hw, 3), np.uint8)
    for frame in range(num_frames):
        image = camera.background(backdrop, frame, size_hw)
        paint_persons(image, persons, frame, camera.warps[frame])
        frames[frame] = camera.develop(image, frame)
    boxes = np.zeros((num_frames, len(persons), 4))
    for index, person in enumerate(persons):
        boxes[:, index] = warped(outline_boxes(person.body), camera.warps)
    norm, inside = clip_boxes(boxes, size_hw)
    return SyntheticClip(frames, norm, inside > MIN_INSIDE, tuple(person.label for person in persons), fps)


def random_scene(
    rng: np.random.Generator,
    size_hw: Size,
    num_frames: int,
    fps: float = 30.0,
    num_persons: int | tuple[int, int] = (1, 3),
    actions: Sequence[str] | None = None,
) -> SyntheticClip:
    """A clip of persons who each do one thing.

    Args:
        rng: draws everything; the same state gives the same clip.
        size_hw, num_frames, fps: of the clip: (height, width) px, at least one frame, frames per second.
        num_persons: how many, or (least, most), inclusive.
        actions: names of `ACTIONS` to choose from; None = all.

    Raises:
        AvadetError: for an unknown action, no frames, or a count that makes no sense.
    """
    if num_frames < 1 or fps <= 0:
        raise AvadetError(f"a scene needs num_frames >= 1 and fps > 0, got {num_frames} and {fps}")
    choices = list(actions or ACTIONS)
    labels = [str(rng.choice(choices)) for _ in range(draw_count(rng, num_persons))]
    horizon = float(rng.uniform(0.1, 0.55) * size_hw[0])
    persons = _persons(rng, labels, size_hw, np.arange(num_frames) / fps, horizon)
    camera = random_camera(rng, size_hw, num_frames, fps)
    return render(persons, random_backdrop(rng, backdrop_hw(size_hw), horizon), camera, size_hw, fps)
