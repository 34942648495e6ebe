"""Single pictures of drawn persons for a detector: crowds, close-ups cut by the frame, small persons far away."""

from __future__ import annotations

import numpy as np

from avadet.synthetic.actions import ACTIONS
from avadet.synthetic.backdrop import random_backdrop
from avadet.synthetic.camera import View, backdrop_hw, random_camera
from avadet.synthetic.paint import clip_boxes, outline_boxes
from avadet.synthetic.scene import MIN_INSIDE, Person, draw_count, make_person, paint_persons, warped
from avadet.types import BoolArray, Float32Array, Float64Array, UInt8Array


def random_crowd(
    rng: np.random.Generator, size_hw: tuple[int, int], num_persons: int | tuple[int, int] = (1, 8)
) -> tuple[UInt8Array, Float32Array]:
    """One picture of persons and what is true of it.

    Args:
        rng: draws everything; the same state gives the same picture.
        size_hw: (height, width) px.
        num_persons: how many to place, or (least, most); small crowds are likelier.

    Returns:
        image uint8 (H, W, 3) RGB, and boxes_norm float32 (N, 4) of those of whom enough can be seen.
    """
    count = min(draw_count(rng, num_persons), draw_count(rng, num_persons))
    horizon = float(rng.uniform(0.1, 0.55) * size_hw[0])
    camera = random_camera(rng, size_hw, 1, 30.0)
    image = camera.background(random_backdrop(rng, backdrop_hw(size_hw), horizon), 0, size_hw)
    persons: list[Person] = []
    boxes = np.zeros((0, 4))
    for _ in range(count):
        t = np.array([rng.uniform(0, 0.8)])
        person = make_person(rng, str(rng.choice(list(ACTIONS))), t, _crowd_view(rng, size_hw, horizon, count))
        box = outline_boxes(person.body)
        if _covered(box[0], boxes) < 0.55:
            persons.append(person)
            boxes = np.concatenate([boxes, box])
    paint_persons(image, persons, 0, camera.warps[0])
    norm, inside = clip_boxes(warped(boxes, np.repeat(camera.warps, len(boxes), 0)), size_hw)
    return camera.develop(image, 0), norm[_counts(norm, inside, size_hw)]


def _crowd_view(rng: np.random.Generator, size_hw: tuple[int, int], horizon: float, count: int) -> View:
    """Where somebody stands: near and cut off, at middle distance, or far and small."""
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
