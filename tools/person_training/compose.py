"""Pictures made of several frames: mosaics, people side by side, people pasted in front of others.

Few clips show several people, fewer show them overlapping. These compositions make such pictures from clips of single
people. Paste without outlines gives people a halo of their own background; the same is therefore done with
person-free patches, so that the halo itself says nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import cv2
import numpy as np

from avadet import boxes
from avadet.types import Float32Array, UInt8Array
from person_training.frames import LabelledFrame, decode, encode
from person_training.windows import close_window, cut, empty_window, person_window, zoomed_window

Draw = Callable[[], LabelledFrame]
"""Gives another random frame each time it is called."""

HIDDEN = 0.75  # share of a box that something pasted may cover before the person becomes uncertain
CORNER_POWER = 4.0  # shape of a pasted patch: 2 = ellipse, large = rectangle


def mosaic(rng: np.random.Generator, draw: Draw, size_hw: tuple[int, int]) -> LabelledFrame:
    """Four windows of four frames, meeting at a random point; every fifth one shows no person if it can."""
    split_y, split_x = (round(side * rng.uniform(0.3, 0.7)) for side in size_hw)
    rows, columns = (0, split_y, size_hw[0]), (0, split_x, size_hw[1])
    canvas = _Canvas(size_hw)
    for i in range(4):
        top, left = rows[i // 2], columns[i % 2]
        tile_hw = rows[i // 2 + 1] - top, columns[i % 2 + 1] - left
        canvas.put(_tile(rng, draw(), tile_hw), top, left)
    return canvas.frame()


def _tile(rng: np.random.Generator, frame: LabelledFrame, size_hw: tuple[int, int]) -> LabelledFrame:
    window = empty_window(rng, frame, size_hw) if rng.random() < 0.2 else None
    return cut(frame, window or zoomed_window(rng, frame, size_hw, (0.9, 2.2), 1.2), size_hw)


def side_by_side(rng: np.random.Generator, draw: Draw, size_hw: tuple[int, int]) -> LabelledFrame:
    """Two or three upright strips next to each other, each on a person, whole or to the waist."""
    count = 2 if rng.random() < 0.7 else 3
    cuts = np.linspace(0, size_hw[1], count + 1) + np.r_[0, rng.uniform(-0.1, 0.1, count - 1) * size_hw[1], 0]
    edges = cuts.round().astype(int).tolist()
    canvas = _Canvas(size_hw)
    for left, right in itertools.pairwise(edges):
        strip_hw = size_hw[0], right - left
        frame = draw()
        window = close_window(rng, frame, strip_hw, (0.3, 1.0)) if rng.random() < 0.4 else None
        window = window or person_window(rng, frame, strip_hw, (1.0, 1.8))
        canvas.put(cut(frame, window or zoomed_window(rng, frame, strip_hw, (0.8, 1.8), 1.2), strip_hw), 0, left)
    return canvas.frame()


class _Canvas:
    """A picture that labelled pieces are put into."""

    def __init__(self, size_hw: tuple[int, int]) -> None:
        self._image = np.empty((*size_hw, 3), np.uint8)
        self._boxes: list[Float32Array] = []
        self._worth: list[Float32Array] = []

    def put(self, piece: LabelledFrame, top: int, left: int) -> None:
        height, width = piece.image.shape[:2]
        self._image[top : top + height, left : left + width] = piece.image
        self._boxes.append(piece.boxes_px + np.array([left, top, left, top], np.float32))
        self._worth.append(piece.worth)

    def frame(self) -> LabelledFrame:
        return LabelledFrame(self._image, np.concatenate(self._boxes), np.concatenate(self._worth))


def paste_person(rng: np.random.Generator, frame: LabelledFrame, donor: LabelledFrame) -> LabelledFrame:
    """Put a person of `donor` into `frame`, if both allow it: beside or in front of somebody, about as large."""
    rows = np.flatnonzero(donor.certain & (boxes.area(donor.boxes_px) >= 900))
    if not len(rows):
        return frame
    chosen = rng.choice(rows)
    person = donor.boxes_px[chosen]
    height = _height_like(rng, frame)
    zoom = height / (person[3] - person[1])
    if not 0.3 <= zoom <= 2.5:
        return frame
    patch_hw = round(height), max(round((person[2] - person[0]) * zoom), 4)
    patch = cut(LabelledFrame(donor.image, person[None], np.ones(1, np.float32)), _as_window(person), patch_hw)
    left, top = _beside(rng, frame, patch_hw)
    return paste_patch(frame, patch.image, left, top, float(donor.worth[chosen]))


def paste_empty(rng: np.random.Generator, frame: LabelledFrame, donor: LabelledFrame) -> LabelledFrame:
    """Put a person-free patch of `donor` into `frame`, shaped like a person, at a random place."""
    size_hw = frame.image.shape[:2]
    height = int(size_hw[0] * rng.uniform(0.15, 0.7))
    patch_hw = height, max(int(height * rng.uniform(0.3, 0.8)), 4)
    window = empty_window(rng, donor, patch_hw)
    if window is None:
        return frame
    patch = cut(donor, window, patch_hw)
    left, top = rng.uniform(-0.2, 0.9, 2) * size_hw[::-1]
    return paste_patch(frame, patch.image, round(left), round(top), None)


def _as_window(box: Float32Array) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(side) for side in box)
    return x1, y1, x2, y2


def _height_like(rng: np.random.Generator, frame: LabelledFrame) -> float:
    """A height, px, like that of somebody in the frame, else a random part of the frame."""
    certain = frame.boxes_px[frame.certain]
    if not len(certain):
        return float(frame.image.shape[0] * rng.uniform(0.2, 0.9))
    box = certain[rng.integers(len(certain))]
    return float(np.clip((box[3] - box[1]) * rng.uniform(0.7, 1.3), 16, 1.2 * frame.image.shape[0]))


def _beside(rng: np.random.Generator, frame: LabelledFrame, patch_hw: tuple[int, int]) -> tuple[int, int]:
    """Left, top px for a patch: mostly half beside, half in front of somebody, else anywhere."""
    certain = frame.boxes_px[frame.certain]
    frame_h, frame_w = frame.image.shape[:2]
    if not len(certain) or rng.random() < 0.25:
        left, top = rng.uniform(-0.2, 0.8) * frame_w, rng.uniform(0, 1) * max(frame_h - patch_hw[0], 1)
        return round(left), round(top)
    x1, _, x2, y2 = certain[rng.integers(len(certain))]
    shift = rng.choice((-1, 1)) * rng.uniform(0.35, 1.05) * (x2 - x1 + patch_hw[1]) / 2
    bottom = y2 + rng.uniform(-0.15, 0.15) * patch_hw[0]
    return round((x1 + x2) / 2 + shift - patch_hw[1] / 2), round(bottom - patch_hw[0])


def paste_patch(frame: LabelledFrame, patch: UInt8Array, left: int, top: int, worth: float | None) -> LabelledFrame:
    """Blend in a patch with soft, rounded edges; whoever it hides becomes uncertain. `worth` None: nobody is in it."""
    frame_h, frame_w = frame.image.shape[:2]
    height, width = patch.shape[:2]
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + width, frame_w), min(top + height, frame_h)
    if max(x2 - x1, 0) * max(y2 - y1, 0) < 0.4 * height * width:
        return frame
    part = slice(y1 - top, y2 - top), slice(x1 - left, x2 - left)
    alpha = soft_mask((height, width))[part][..., None]
    image = frame.image.copy()
    below = image[y1:y2, x1:x2].astype(np.float32)
    image[y1:y2, x1:x2] = (below + alpha * (patch[part] - below)).astype(np.uint8)
    place = np.array([[x1, y1, x2, y2]], np.float32)
    covered = boxes.intersection(frame.boxes_px, place)[:, 0] / np.maximum(boxes.area(frame.boxes_px), 1e-6)
    left_over = np.where(covered <= HIDDEN, frame.worth, 0).astype(np.float32)
    if worth is None:
        return LabelledFrame(image, frame.boxes_px, left_over)
    joined = np.append(left_over, np.float32(worth))
    return LabelledFrame(image, np.concatenate((frame.boxes_px, place)), joined)


def soft_mask(size_hw: tuple[int, int]) -> Float32Array:
    """Opacity of a pasted patch: 1 inside, falling to 0 at rounded edges; float32 (H, W)."""
    y, x = (np.abs(np.linspace(-1, 1, side, dtype=np.float32)) ** CORNER_POWER for side in size_hw)
    return np.asarray(np.clip((1.0 - (y[:, None] + x[None, :])) * 2.5, 0, 1), np.float32)


def recolour(rng: np.random.Generator, image: UInt8Array) -> UInt8Array:
    """Change brightness, contrast, colour balance and sharpness a little, as cameras and codecs do; uint8 RGB."""
    gain = rng.uniform(0.65, 1.4) * rng.uniform(0.9, 1.1, 3)
    curve = np.arange(256)[:, None] * gain + rng.uniform(-25, 25)
    table = np.clip(curve, 0, 255).astype(np.uint8)
    changed = np.asarray(cv2.LUT(image, np.ascontiguousarray(table[None])), np.uint8)
    choice = rng.random()
    if choice < 0.12:
        grey = cv2.cvtColor(changed, cv2.COLOR_RGB2GRAY)
        return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)
    if choice < 0.24:
        return np.asarray(cv2.blur(changed, (int(rng.integers(2, 5)), int(rng.integers(2, 5)))), np.uint8)
    if choice < 0.4:
        return decode(encode(changed, quality=int(rng.integers(15, 60))))
    return changed
