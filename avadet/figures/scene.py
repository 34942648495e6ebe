"""Whole pictures: people before a backdrop, seen by a camera that shakes, blurs and hisses; with the truth.

`random_scene` makes clips for action models and tests, `random_frame` single pictures for person detectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from avadet.errors import AvadetError
from avadet.figures.actions import ACTIONS, move
from avadet.figures.backdrop import random_backdrop
from avadet.figures.body import body_parts, prop_parts
from avadet.figures.camera import Camera, random_camera
from avadet.figures.look import random_look
from avadet.figures.paint import Part, clip_boxes, outline_boxes, paint
from avadet.figures.skeleton import pose, random_build
from avadet.figures.view import View
from avadet.types import BoolArray, Float32Array, Float64Array, UInt8Array

CLIP_ACTIONS = tuple(ACTIONS)
FRAME_ACTIONS = tuple(name for name in ACTIONS if name != "push")  # seen from before, the load would hide the person
MIN_INSIDE = 0.15


@dataclass(frozen=True)
class FigureClip:
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
    """One person ready to be painted.

    Attributes:
        label: the action.
        body: parts of the body, which the box surrounds.
        behind: things painted before the body.
        beside: things painted among the body's parts, by depth.
        foot_y: row of the feet at the start, px; larger = nearer to the camera.
    """

    label: str
    body: list[Part]
    behind: list[Part]
    beside: list[Part]
    foot_y: float


def make_person(rng: np.random.Generator, action: str, t: Float64Array, view: View, centred: bool = False) -> Person:
    """Draw body and clothes of a person who does `action`.

    Args:
        rng: draws motion, build and clothes.
        action: a JHMDB-21 name.
        t: float64 (T,), moments, seconds.
        view: where the person is at time 0; when `centred`, where half-way through `t`.
        centred: for people who travel.
    """
    motion = move(action, t, rng)
    build, look = random_build(rng), random_look(rng)
    joints = pose(motion, build)
    view = view.shifted_to(joints.pelvis[len(t) // 2]) if centred else view
    behind: list[Part] = []
    beside: list[Part] = []
    for prop in motion.props:
        (behind if prop.behind else beside).extend(prop_parts(prop, joints, view, look.light))
    return Person(action, body_parts(joints, build, look, view), behind, beside, view.foot_px[1])


def _paint_people(image: UInt8Array, people: Sequence[Person], frame: int, warp: Float64Array) -> None:
    """Paint everybody, those with higher feet (farther away) first."""
    for person in sorted(people, key=lambda each: each.foot_y):
        for part in person.behind:
            paint(image, [part], frame, warp)
        paint(image, [*person.beside, *person.body], frame, warp)


def _warped(boxes_px: Float64Array, warps: Float64Array) -> Float64Array:
    """Boxes (T, 4) moved by the scalings and shifts (T, 2, 3) of the camera."""
    gain, shift = warps[:, 0, 0, None], warps[:, :, 2]
    return np.asarray(boxes_px * gain + np.concatenate([shift, shift], axis=1))


def _facing(rng: np.random.Generator, action: str) -> float:
    """A yaw: people who travel go mostly across the picture, others face mostly the camera."""
    if action == "push" or (action in ("walk", "run", "climb_stairs") and rng.random() < 0.75):
        return float(rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0, 0.35))
    if rng.random() < 0.7:
        return float(rng.normal(0, 0.9))
    return float(rng.uniform(-np.pi, np.pi))


def _place(
    rng: np.random.Generator, action: str, size_hw: tuple[int, int], slot: tuple[float, float], horizon: float
) -> View:
    """Where a person stands half-way through the clip: whole or cut by the frame, inside the slot (x from, to, px)."""
    height, width = size_hw
    tall = height * float(np.exp(rng.uniform(np.log(0.38), np.log(0.95))))
    reach = {"pullup": 1.45, "climb_stairs": 1.3, "jump": 1.25, "shoot_ball": 1.25, "wave": 1.1}.get(action, 1.0)
    tall /= 0.5 + 0.5 * reach
    foot_y = float(rng.uniform(min(0.97, reach * tall / height + 0.03), 1.0) * height)
    if rng.random() < 0.12:
        tall, foot_y = tall * rng.uniform(1.2, 1.7), foot_y + rng.uniform(0.1, 0.6) * height
    middle = float(rng.uniform(0.35, 0.65) * (slot[1] - slot[0]) + slot[0])
    vanish = (float(width * rng.uniform(0.35, 0.65)), horizon)
    return View(_facing(rng, action), tall, (middle, foot_y), vanish, float(rng.uniform(4, 12)))


def _hidden_too_much(boxes: Float64Array, inside: Float64Array) -> bool:
    """Whether somebody is out of the picture for most of the clip, or two stand in the same place. (T, N, 4)."""
    if (np.median(inside, axis=0) < 0.35).any():
        return True
    middle = boxes[len(boxes) // 2]
    for first in range(len(middle)):
        for second in range(first):
            low = np.maximum(middle[first, :2], middle[second, :2])
            high = np.minimum(middle[first, 2:], middle[second, 2:])
            shared = np.prod(np.clip(high - low, 0, None))
            areas = [np.prod(box[2:] - box[:2]) for box in (middle[first], middle[second])]
            if shared > 0.45 * min(areas):
                return True
    return False


def _people(
    rng: np.random.Generator, labels: Sequence[str], size_hw: tuple[int, int], t: Float64Array, horizon: float
) -> list[Person]:
    """Place one person for each label, side by side, trying again where they stand badly."""
    people: list[Person] = []
    for _ in range(8):
        slots = np.linspace(0, size_hw[1], len(labels) + 1)
        order = rng.permutation(len(labels))
        people = [
            make_person(rng, label, t, _place(rng, label, size_hw, (slots[k], slots[k + 1]), horizon), centred=True)
            for label, k in zip(labels, order)
        ]
        boxes = np.stack([outline_boxes(person.body, len(t)) for person in people], axis=1)
        if not _hidden_too_much(boxes, clip_boxes(boxes, size_hw)[1]):
            break
    return people


def _count(rng: np.random.Generator, num_people: int | tuple[int, int]) -> int:
    """A number of people from a number or an inclusive range."""
    low, high = (num_people, num_people) if isinstance(num_people, int) else num_people
    if not 0 <= low <= high:
        raise AvadetError(f"num_people must be a count or (least, most), got {num_people}")
    return int(rng.integers(low, high + 1))


def render(
    people: Sequence[Person],
    backdrop: UInt8Array,
    camera: Camera,
    size_hw: tuple[int, int],
    fps: float,
    exposures: int = 1,
) -> FigureClip:
    """Paint people before a backdrop as a camera sees them; its length is the clip's.

    Args:
        people: who is painted, with `exposures` moments a frame.
        backdrop: uint8 RGB of `camera.backdrop_hw(size_hw)`.
        camera: T frames.
        size_hw: (height, width) px.
        fps: frames per second.
        exposures: moments that are averaged in each frame, for motion blur.
    """
    num_frames = len(camera.warps)
    frames = np.empty((num_frames, *size_hw, 3), np.uint8)
    for frame in range(num_frames):
        still = camera.background(backdrop, frame, size_hw)
        image = still.copy()
        _paint_people(image, people, frame * exposures, camera.warps[frame])
        for extra in range(1, exposures):
            again = still.copy()
            _paint_people(again, people, frame * exposures + extra, camera.warps[frame])
            image = np.asarray(cv2.addWeighted(image, extra / (extra + 1), again, 1 / (extra + 1), 0), np.uint8)
        frames[frame] = camera.develop(image, frame)
    boxes = np.zeros((num_frames, len(people), 4))
    for index, person in enumerate(people):
        moments = outline_boxes(person.body, num_frames * exposures).reshape(num_frames, exposures, 4)
        around = np.concatenate([moments[..., :2].min(axis=1), moments[..., 2:].max(axis=1)], axis=1)
        boxes[:, index] = _warped(around, camera.warps)
    norm, inside = clip_boxes(boxes, size_hw)
    labels = tuple(person.label for person in people)
    return FigureClip(frames, norm, inside > MIN_INSIDE, labels, fps)


def random_scene(
    rng: np.random.Generator,
    size_hw: tuple[int, int],
    num_frames: int,
    fps: float = 30.0,
    num_people: int | tuple[int, int] = (1, 3),
    actions: Sequence[str] | None = None,
) -> FigureClip:
    """A clip of people who each do one thing.

    Args:
        rng: draws everything; the same state gives the same clip.
        size_hw: (height, width) px.
        num_frames: T, at least 1.
        fps: frames per second of the clip.
        num_people: how many, or (least, most), inclusive.
        actions: JHMDB-21 names to choose from; None = all.

    Raises:
        AvadetError: for an unknown action, no frames, or a count that makes no sense.
    """
    if num_frames < 1 or fps <= 0:
        raise AvadetError(f"a scene needs num_frames >= 1 and fps > 0, got {num_frames} and {fps}")
    choices = list(actions or CLIP_ACTIONS)
    labels = [str(rng.choice(choices)) for _ in range(_count(rng, num_people))]
    horizon = float(rng.uniform(0.1, 0.55) * size_hw[0])
    exposures = 2 if rng.random() < 0.3 else 1
    t = ((np.arange(num_frames)[:, None] + 0.5 * np.arange(exposures) / exposures) / fps).ravel()
    people = _people(rng, labels, size_hw, t, horizon) if labels else []
    camera = random_camera(rng, size_hw, num_frames, fps)
    backdrop = random_backdrop(rng, camera.backdrop_hw(size_hw), horizon)
    return render(people, backdrop, camera, size_hw, fps, exposures)


def _crowd_view(rng: np.random.Generator, size_hw: tuple[int, int], horizon: float, count: int) -> View:
    """Where somebody in a single picture stands: near and cut off, at middle distance, or far and small."""
    height, width = size_hw
    share = rng.random()
    if share < 0.2:
        tall = height * rng.uniform(1.0, 2.0)
        foot = rng.uniform(0.95, 1.15) * height + max(0.0, tall - height) * rng.uniform(0.5, 1.0)
    elif share < 0.75:
        tall = height * rng.uniform(0.4, 0.95)
        foot = rng.uniform(tall / height, 1.03) * height
    else:
        tall = height * rng.uniform(0.12, 0.4)
        foot = rng.uniform(max(0.4, tall / height), 0.98) * height
    if count > 3:
        tall *= 0.75
    yaw = float(rng.normal(0, 1.0) if rng.random() < 0.5 else rng.uniform(-np.pi, np.pi))
    x = float(rng.uniform(0.03, 0.97) * width)
    return View(yaw, float(tall), (x, float(foot)), (0.5 * width, horizon), float(rng.uniform(4, 12)))


def random_frame(
    rng: np.random.Generator, size_hw: tuple[int, int], num_people: int | tuple[int, int] = (1, 8)
) -> tuple[UInt8Array, Float32Array]:
    """One picture of people for training a person detector: crowds, close-ups cut by the frame, small far people.

    Args:
        rng: draws everything; the same state gives the same picture.
        size_hw: (height, width) px.
        num_people: how many to place, or (least, most); small crowds are likelier.

    Returns:
        image uint8 (H, W, 3) RGB, and boxes_norm float32 (N, 4) of those of whom enough can be seen.
    """
    count = min(_count(rng, num_people), _count(rng, num_people))
    horizon = float(rng.uniform(0.1, 0.55) * size_hw[0])
    camera = random_camera(rng, size_hw, 1, 30.0, shaky=False)
    image = camera.background(random_backdrop(rng, camera.backdrop_hw(size_hw), horizon), 0, size_hw)
    people: list[Person] = []
    boxes = np.zeros((0, 4))
    for _ in range(count):
        person = make_person(rng, str(rng.choice(FRAME_ACTIONS)), np.array([rng.uniform(0, 0.8)]),
                             _crowd_view(rng, size_hw, horizon, count))  # fmt: skip
        box = outline_boxes(person.body, 1)
        if _covered(box[0], boxes) < 0.55:
            people.append(person)
            boxes = np.concatenate([boxes, box])
    _paint_people(image, people, 0, camera.warps[0])
    norm, inside = clip_boxes(_warped(boxes, np.repeat(camera.warps, len(boxes), 0)), size_hw)
    return camera.develop(image, 0), norm[_counts(norm, inside, size_hw)]


def _counts(norm: Float32Array, inside: Float64Array, size_hw: tuple[int, int]) -> BoolArray:
    """Which boxes (N, 4) show enough of a person to be asked for."""
    height_px = (norm[:, 3] - norm[:, 1]) * size_hw[0]
    width_px = (norm[:, 2] - norm[:, 0]) * size_hw[1]
    return np.asarray((inside > MIN_INSIDE) & (height_px > 8) & (width_px > 3))


def _covered(box: Float64Array, others: Float64Array) -> float:
    """Largest share that `box` (4,) and one of `others` (N, 4) have of the smaller of the two."""
    if not len(others):
        return 0.0
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1)
    return float((shared / np.minimum(areas, np.prod(box[2:] - box[:2]))).max())
