"""Cutting windows out of labelled frames: which part, and what becomes of the boxes."""

from __future__ import annotations

import cv2
import numpy as np

from avadet import boxes
from avadet.types import Float32Array, Float64Array, UInt8Array
from person_training.frames import LabelledFrame

GREY = (114, 114, 114)
SEEN = 0.35  # share of a box that must be left in a window for a certain person to stay certain
TRACE = 0.1  # the same for people who still fill much of the window, as in close-ups
LARGE = 0.3  # share of the window that is much
MIN_SIDE_PX = 6.0
FEATURELESS = 6.0  # grey levels of spread in a window below which nobody can be told from a wall

Window = tuple[float, float, float, float]
"""xyxy in pixels of a frame; may reach beyond it, which shows grey."""


def cut(frame: LabelledFrame, window: Window, size_hw: tuple[int, int]) -> LabelledFrame:
    """Show a window of a frame at `size_hw`; boxes move along and are cut at the window's edges.

    People of whom less than `SEEN` is left (`TRACE` if they fill `LARGE` of the window) become uncertain, as do those
    who end up under `MIN_SIDE_PX` px wide or in a picture of one colour. Below `TRACE`, boxes that are not large go.
    """
    x1, y1, x2, y2 = window
    scale = np.array([size_hw[1] / (x2 - x1), size_hw[0] / (y2 - y1)])
    matrix = np.array([[scale[0], 0, -x1 * scale[0]], [0, scale[1], -y1 * scale[1]]])
    image = frame.image
    if scale.min() < 0.6:
        image, matrix = _halved(image, matrix)
    shown = cv2.warpAffine(image, matrix, size_hw[::-1], flags=cv2.INTER_LINEAR, borderValue=GREY)
    moved = (frame.boxes_px - np.array([x1, y1, x1, y1])) * np.tile(scale, 2)
    corners, worth = _cut_boxes(moved, frame.worth, size_hw)
    if shown[::4, ::4].std() < FEATURELESS:
        worth[:] = 0
    return LabelledFrame(np.asarray(shown, np.uint8), corners, worth)


def _halved(image: UInt8Array, matrix: Float64Array) -> tuple[UInt8Array, Float64Array]:
    """Halve the picture before a strong reduction, so that it is averaged and not merely thinned out."""
    half = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    back = np.array([image.shape[1] / half.shape[1], image.shape[0] / half.shape[0], 1.0])
    return np.asarray(half, np.uint8), matrix * back


def _cut_boxes(moved: Float64Array, worth: Float32Array, size_hw: tuple[int, int]) -> tuple[Float32Array, Float32Array]:
    inside = boxes.clip_px(moved, size_hw)
    area = boxes.area(inside)
    left = area / np.maximum(boxes.area(moved), 1e-6)
    large = area >= LARGE * size_hw[0] * size_hw[1]
    wide = (inside[:, 2:] - inside[:, :2] >= MIN_SIDE_PX).all(axis=1)
    kept = ((left >= TRACE) | large) & (area >= 4)
    return inside[kept], (worth * (wide & (left >= np.where(large, TRACE, SEEN))))[kept]


def whole_window(frame: LabelledFrame, size_hw: tuple[int, int]) -> Window:
    """The smallest window of the shape of `size_hw` that shows the whole frame, centred."""
    height, width = frame.image.shape[:2]
    zoom = max(height / size_hw[0], width / size_hw[1])
    half_w, half_h = size_hw[1] * zoom / 2, size_hw[0] * zoom / 2
    return width / 2 - half_w, height / 2 - half_h, width / 2 + half_w, height / 2 + half_h


def zoomed_window(
    rng: np.random.Generator, frame: LabelledFrame, size_hw: tuple[int, int], zoom: tuple[float, float], aspect: float
) -> Window:
    """A random window: `zoom` > 1 shows less than the whole frame, < 1 the frame with grey around it.

    Args:
        rng: chooses.
        frame: what to look at.
        size_hw: shape of the window.
        zoom: lowest and highest magnification against `whole_window`, drawn evenly on a log scale.
        aspect: the window is stretched by at most this factor in width or height.
    """
    x1, y1, x2, y2 = whole_window(frame, size_hw)
    scale = np.exp(rng.uniform(*np.log(zoom)))
    stretch = np.exp(rng.uniform(-0.5, 0.5) * np.log(aspect))
    width, height = (x2 - x1) / scale * stretch, (y2 - y1) / scale / stretch
    frame_h, frame_w = frame.image.shape[:2]
    left = _place(rng, width, frame_w)
    top = _place(rng, height, frame_h)
    return left, top, left + width, top + height


def _place(rng: np.random.Generator, window: float, frame: float) -> float:
    """Where a window of this length begins: inside a longer frame, around a shorter one."""
    low, high = sorted((0.0, frame - window))
    return float(rng.uniform(low, high))


def close_window(
    rng: np.random.Generator, frame: LabelledFrame, size_hw: tuple[int, int], share: tuple[float, float]
) -> Window | None:
    """A window on the upper part of one person, as film shows people: head and shoulders, or to the waist.

    Args:
        rng: chooses the person and the part.
        frame: where to look.
        size_hw: shape of the window.
        share: lowest and highest part of the person's height that is shown, from the top of the box.

    Returns:
        the window, or None if the frame has no certain person high enough (60 px) to be looked at closely.
    """
    tall = np.flatnonzero(frame.certain & (frame.boxes_px[:, 3] - frame.boxes_px[:, 1] >= 60))
    if not len(tall):
        return None
    x1, y1, x2, y2 = frame.boxes_px[rng.choice(tall)]
    shown = (y2 - y1) * rng.uniform(*share)
    height = shown * rng.uniform(1.0, 1.3)
    width = height * size_hw[1] / size_hw[0]
    top = y1 - (height - shown) * rng.uniform(0.3, 1.0)
    centre = (x1 + x2) / 2 + rng.uniform(-0.25, 0.25) * width
    return float(centre - width / 2), float(top), float(centre + width / 2), float(top + height)


def person_window(
    rng: np.random.Generator, frame: LabelledFrame, size_hw: tuple[int, int], margin: tuple[float, float]
) -> Window | None:
    """A window around one whole person; `margin` 1.0 = as tight as the shape allows. None without certain people."""
    certain = np.flatnonzero(frame.certain)
    if not len(certain):
        return None
    x1, y1, x2, y2 = frame.boxes_px[rng.choice(certain)]
    height = max(y2 - y1, (x2 - x1) * size_hw[0] / size_hw[1], 24.0) * rng.uniform(*margin)
    width = height * size_hw[1] / size_hw[0]
    centre_x, centre_y = (x1 + x2) / 2, (y1 + y2) / 2
    centre_x += rng.uniform(-0.5, 0.5) * max(width - (x2 - x1), 0)
    centre_y += rng.uniform(-0.5, 0.5) * max(height - (y2 - y1), 0)
    return (
        float(centre_x - width / 2),
        float(centre_y - height / 2),
        float(centre_x + width / 2),
        float(centre_y + height / 2),
    )


def empty_window(
    rng: np.random.Generator, frame: LabelledFrame, size_hw: tuple[int, int], tries: int = 12
) -> Window | None:
    """A random window inside the frame that touches no box, certain or not; None if none is found."""
    frame_h, frame_w = frame.image.shape[:2]
    fit = min(frame_w / size_hw[1], frame_h / size_hw[0])
    for _ in range(tries):
        scale = fit * rng.uniform(0.25, 0.9)
        width, height = size_hw[1] * scale, size_hw[0] * scale
        left, top = rng.uniform(0, frame_w - width), rng.uniform(0, frame_h - height)
        window = np.array([[left, top, left + width, top + height]])
        if not boxes.intersection(window, frame.boxes_px).any():
            return float(left), float(top), float(left + width), float(top + height)
    return None
