"""Augmentation of a clip and its boxes together: one draw, the same for all frames.

Pixels are continuous: a box covers [x1, x2), the centre of pixel i lies at i + 0.5, and images are resampled the
way `cv2.resize` with INTER_LINEAR does it at inference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from avadet import boxes as box_math
from avadet.types import Float32Array, Float64Array, UInt8Array

_LUMA = np.array([0.299, 0.587, 0.114])
_GREY = 128


@dataclass(frozen=True)
class Augmentation:
    """How much training clips vary. Every range is drawn from once per clip.

    Attributes:
        size_hw: (h, w) px of what comes out.
        zoom: range of the scale; 1 = the frame just covers `size_hw`, above 1 = a crop, below 1 = a grey border.
        short_side: range of the shorter side of the frame that is cropped, px, even; None = as `zoom` has it.
        keep_one: whether one person, drawn, must stay in view; False = the crop falls anywhere on the frame.
        min_visible: people of whom less than this share is in view are dropped; 0 = only those out of view.
        aspect: widest stretch of one axis against the other.
        flip: probability of mirroring.
        box_jitter: standard deviation of each box side, as a share of the box's size.
        speed: range of the factor on the time between sampled frames.
        brightness: largest exponent of the factor exp(u) on all values.
        contrast: largest change of contrast, as a share.
        saturation: largest change of saturation, as a share.
        grayscale: probability of no colour at all.
        cutout: probability of a grey rectangle over all frames.
        cutout_size: largest side of that rectangle, as a share of the clip's.
    """

    size_hw: tuple[int, int]
    zoom: tuple[float, float] = (1.0, 1.0)
    short_side: tuple[float, float] | None = None
    keep_one: bool = True
    min_visible: float = 0.3
    aspect: float = 1.0
    flip: float = 0.0
    box_jitter: float = 0.0
    speed: tuple[float, float] = (1.0, 1.0)
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    grayscale: float = 0.0
    cutout: float = 0.0
    cutout_size: float = 0.4


FIELD_RECIPE = Augmentation((224, 224), short_side=(256.0, 320.0), keep_one=False, min_visible=0.0, flip=0.5)
"""What SlowFast's models of AVA were trained with (PySlowFast, configs/AVA; mmaction2 crops 256 px)."""


@dataclass(frozen=True)
class Window:
    """A map from frame to clip: x' = scale_x * x + shift_x, y' = scale_y * y + shift_y, continuous pixels."""

    scale_x: float
    scale_y: float
    shift_x: float
    shift_y: float

    def flipped(self, width: int) -> Window:
        """The same window, mirrored left to right in a clip of `width` px."""
        return Window(-self.scale_x, self.scale_y, width - self.shift_x, self.shift_y)

    def boxes(self, boxes_px: Float32Array) -> Float32Array:
        """float32 (N, 4) xyxy px of the frame -> px of the clip, not clipped."""
        x = boxes_px[:, 0::2] * self.scale_x + self.shift_x
        y = boxes_px[:, 1::2] * self.scale_y + self.shift_y
        return np.stack([x.min(1), y.min(1), x.max(1), y.max(1)], axis=1).astype(np.float32)

    def image(self, image: UInt8Array, size_hw: tuple[int, int]) -> UInt8Array:
        """uint8 (H, W, 3) -> (h, w, 3); what lies outside the frame is grey."""
        height, width = size_hw
        shift_x = self.shift_x + 0.5 * self.scale_x - 0.5
        shift_y = self.shift_y + 0.5 * self.scale_y - 0.5
        matrix = np.array([[self.scale_x, 0, shift_x], [0, self.scale_y, shift_y]])
        border = (_GREY,) * 3
        return np.asarray(cv2.warpAffine(image, matrix, (width, height), None, cv2.INTER_LINEAR, borderValue=border))

    def frames(self, frames: UInt8Array, size_hw: tuple[int, int]) -> UInt8Array:
        """uint8 (T, H, W, 3) -> (T, h, w, 3), each as `image` does it."""
        return np.stack([self.image(frame, size_hw) for frame in frames])


@dataclass(frozen=True)
class Change:
    """One draw of an augmentation: what is done to every frame of a clip, and where its people end up.

    Frames may be moved one by one, as they are decoded, and coloured together.

    Attributes:
        size_hw: (h, w) px of what comes out.
        window: where the frame goes.
        colour: float64 (3, 4), see `draw_colour`.
        cut: (top, left, bottom, right) px of a grey rectangle, or None.
        boxes_px: float32 (M, 4) xyxy px of the clip, of the people that stay.
        kept: bool (N,), which of the people stay.
    """

    size_hw: tuple[int, int]
    window: Window
    colour: Float64Array
    cut: tuple[int, int, int, int] | None
    boxes_px: Float32Array
    kept: NDArray[np.bool_]

    def move(self, image: UInt8Array) -> UInt8Array:
        """A frame, uint8 (H, W, 3) -> (h, w, 3), in its old colours."""
        return self.window.image(image, self.size_hw)

    def finish(self, frames: UInt8Array) -> UInt8Array:
        """Moved frames, uint8 (T, h, w, 3), coloured and cut out; they may be changed in place."""
        frames = recolour(frames, self.colour)
        if self.cut is not None:
            top, left, bottom, right = self.cut
            frames[:, top:bottom, left:right] = _GREY
        return frames


def augment_clip(
    rng: np.random.Generator, frames: UInt8Array, boxes_px: Float32Array, augmentation: Augmentation
) -> tuple[UInt8Array, Float32Array, NDArray[np.bool_]]:
    """Crop, scale, flip and colour a clip, and move its boxes along.

    Args:
        rng: where every draw comes from.
        frames: uint8 (T, H, W, 3).
        boxes_px: float32 (N, 4) xyxy px of the frames; one of them, drawn, stays in view.
        augmentation: how much.

    Returns:
        frames uint8 (T, h, w, 3); boxes float32 (M, 4) px of them, M <= N; bool (N,), which boxes remain. Those
        of which less than `min_visible` is in view are dropped, never the drawn one.
    """
    change = draw_change(rng, (frames.shape[1], frames.shape[2]), boxes_px, augmentation)
    moved = change.window.frames(frames, change.size_hw)
    return change.finish(moved), change.boxes_px, change.kept


def draw_change(
    rng: np.random.Generator, source_hw: tuple[int, int], boxes_px: Float32Array, augmentation: Augmentation
) -> Change:
    """Draw what happens to a clip, before any of its pixels are at hand.

    Args:
        rng: where every draw comes from.
        source_hw: (height, width) px of the frames.
        boxes_px: float32 (N, 4) xyxy px of the frames.
        augmentation: how much.
    """
    size_hw = augmentation.size_hw
    anchor = int(rng.integers(len(boxes_px))) if len(boxes_px) and augmentation.keep_one else None
    target = boxes_px[anchor] if anchor is not None else None
    window = draw_window(rng, source_hw, target, augmentation)
    moved = window.boxes(boxes_px)
    inside = box_math.clip_px(moved, size_hw)
    kept = (box_math.area(inside) > 0) & (box_math.area(inside) >= augmentation.min_visible * box_math.area(moved))
    if anchor is not None:
        kept[anchor] = True
    colour = draw_colour(rng, augmentation)
    cut = draw_cut(rng, size_hw, augmentation.cutout_size) if rng.random() < augmentation.cutout else None
    boxes_px = jitter_boxes(rng, inside[kept], augmentation.box_jitter, size_hw)
    return Change(size_hw, window, colour, cut, boxes_px, kept)


def draw_window(
    rng: np.random.Generator, source_hw: tuple[int, int], box_px: Float32Array | None, augmentation: Augmentation
) -> Window:
    """Draw scale, stretch, place and mirroring such that the box (4,) px of the frame stays in view if it fits.

    Without a box the window falls anywhere on the frame.
    """
    height, width = augmentation.size_hw
    if augmentation.short_side is not None:
        scale = rng.uniform(*augmentation.short_side) / min(source_hw)
    else:
        cover = max(height / source_hw[0], width / source_hw[1])
        scale = cover * _draw_ratio(rng, *augmentation.zoom)
    stretch = math.sqrt(_draw_ratio(rng, 1 / augmentation.aspect, augmentation.aspect))
    scale_x, scale_y = scale * stretch, scale / stretch
    if box_px is None:
        left = _draw_between(rng, 0.0, source_hw[1] - width / scale_x)
        top = _draw_between(rng, 0.0, source_hw[0] - height / scale_y)
        return _flip(rng, Window(scale_x, scale_y, -left * scale_x, -top * scale_y), augmentation)
    x1, y1, x2, y2 = box_px.tolist()  # Python floats: comparisons with float32 would round the other side
    left = _draw_start(rng, source_hw[1], width / scale_x, x1, x2)
    top = _draw_start(rng, source_hw[0], height / scale_y, y1, y2)
    return _flip(rng, Window(scale_x, scale_y, -left * scale_x, -top * scale_y), augmentation)


def _flip(rng: np.random.Generator, window: Window, augmentation: Augmentation) -> Window:
    """Mirror a window, or not."""
    return window.flipped(augmentation.size_hw[1]) if rng.random() < augmentation.flip else window


def _draw_ratio(rng: np.random.Generator, low: float, high: float) -> float:
    """A factor between low and high, even on a logarithmic scale."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _draw_start(rng: np.random.Generator, length: float, size: float, low: float, high: float) -> float:
    """Where a window of `size` px begins on an axis of `length` px so that it holds [low, high], if it can.

    A window smaller than the axis stays on it; a larger one holds all of it. A window smaller than [low, high]
    stays within that.
    """
    first, last = sorted((0.0, length - size))
    begin, end = sorted((high - size, low))
    begin, end = min(max(begin, first), last), min(max(end, first), last)
    return float(rng.uniform(begin, end))


def _draw_between(rng: np.random.Generator, one: float, other: float) -> float:
    return float(rng.uniform(min(one, other), max(one, other)))


def draw_colour(rng: np.random.Generator, augmentation: Augmentation) -> Float64Array:
    """Draw a colour change as one matrix (3, 4): rgb' = m[:, :3] @ rgb + m[:, 3], values 0-255."""
    saturation = 1 + rng.uniform(-1, 1) * augmentation.saturation
    if rng.random() < augmentation.grayscale:
        saturation = 0.0
    contrast = 1 + rng.uniform(-1, 1) * augmentation.contrast
    brightness = math.exp(rng.uniform(-1, 1) * augmentation.brightness)
    colour = saturation * np.eye(3) + (1 - saturation) * np.tile(_LUMA, (3, 1))
    offset = np.full((3, 1), _GREY * (1 - contrast))
    return brightness * np.concatenate([contrast * colour, offset], axis=1)


def recolour(frames: UInt8Array, colour: Float64Array) -> UInt8Array:
    """Apply a matrix of `draw_colour` to uint8 (T, H, W, 3), rounded, cut at 0 and 255; no change = no copy."""
    if np.array_equal(colour, np.eye(3, 4)):
        return frames
    count, height, width, _ = frames.shape
    out = cv2.transform(frames.reshape(count * height, width, 3), colour)
    return np.asarray(out, np.uint8).reshape(frames.shape)


def draw_cut(rng: np.random.Generator, size_hw: tuple[int, int], largest: float) -> tuple[int, int, int, int]:
    """Draw a rectangle (top, left, bottom, right) px with sides up to `largest` of the clip's."""
    height, width = size_hw
    size_y, size_x = (int(side * rng.uniform(0, largest)) for side in (height, width))
    top, left = int(rng.integers(height - size_y + 1)), int(rng.integers(width - size_x + 1))
    return top, left, top + size_y, left + size_x


def jitter_boxes(
    rng: np.random.Generator, boxes_px: Float32Array, amount: float, size_hw: tuple[int, int]
) -> Float32Array:
    """Move each side of each box (N, 4) by a normal draw of `amount` of the box's size; stays in the frame.

    A box that would turn inside out or vanish keeps at least 1 px.
    """
    size = boxes_px[:, 2:] - boxes_px[:, :2]
    moved = boxes_px + rng.normal(size=boxes_px.shape) * amount * np.concatenate([size, size], axis=1)
    height, width = size_hw
    low = np.clip(moved[:, :2], 0, [width - 1, height - 1])
    high = np.clip(moved[:, 2:], low + 1, [width, height])
    return np.concatenate([low, high], axis=1).astype(np.float32)
