"""Box arithmetic on arrays of xyxy boxes. Coordinates are continuous: a box covers [x1, x2) x [y1, y2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avadet.types import NORM_ROUNDING, PIXELS_FROM, BoolArray, BoxRule

FloatArray = NDArray[np.floating]


def area(boxes: FloatArray) -> FloatArray:
    """Area of each box; (N, 4) -> (N,). Inverted boxes have area 0."""
    size = np.clip(boxes[:, 2:] - boxes[:, :2], 0.0, None)
    return np.asarray(size[:, 0] * size[:, 1])


def intersection(first: FloatArray, second: FloatArray) -> FloatArray:
    """Shared area of every pair; (N, 4) and (M, 4) -> (N, M)."""
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    size = np.clip(bottom_right - top_left, 0.0, None)
    return np.asarray(size[..., 0] * size[..., 1])


def iou(first: FloatArray, second: FloatArray) -> FloatArray:
    """Intersection over union of every pair, 0-1; (N, 4) and (M, 4) -> (N, M). Two empty boxes have IoU 0."""
    shared = intersection(first, second)
    union = area(first)[:, None] + area(second)[None, :] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def iou_of_pairs(first: FloatArray, second: FloatArray) -> FloatArray:
    """Intersection over union row by row, 0-1; (N, 4) and (N, 4) -> (N,). The same numbers as `iou` on its diagonal."""
    top_left = np.maximum(first[:, :2], second[:, :2])
    bottom_right = np.minimum(first[:, 2:], second[:, 2:])
    size = np.clip(bottom_right - top_left, 0.0, None)
    shared = size[:, 0] * size[:, 1]
    union = area(first) + area(second) - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def to_norm(boxes_px: FloatArray, size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Pixels of a frame of `size_hw` -> 0-1 of that frame; (N, 4). No clipping."""
    height, width = size_hw
    return (np.asarray(boxes_px, np.float64) / [width, height, width, height]).astype(np.float32)


def to_px(boxes_norm: FloatArray, size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """0-1 of a frame -> pixels of a frame of `size_hw`; (N, 4). No clipping."""
    height, width = size_hw
    return (np.asarray(boxes_norm, np.float64) * [width, height, width, height]).astype(np.float32)


def beyond_frame(boxes_norm: FloatArray) -> tuple[BoolArray, BoolArray]:
    """Which boxes (N, 4) reach out of the frame by more than rounding, and which of those can only be pixels.

    A side beyond 0 or 1 by `NORM_ROUNDING` at most is rounding. A person may reach out of the frame; a side above
    `PIXELS_FROM` is no part of it. NaN is not beyond; infinity is, but no pixel.
    """
    boxes = np.asarray(boxes_norm)
    # four bytes viewed as one number: quicker than any(axis=1)
    sides = np.ascontiguousarray((boxes < -NORM_ROUNDING) | (boxes > 1 + NORM_ROUNDING))
    beyond = sides.view(np.uint32)[:, 0] > 0
    in_pixels = np.zeros(len(boxes), np.bool_)
    rows = np.flatnonzero(beyond)
    in_pixels[rows] = ((boxes[rows] > PIXELS_FROM) & np.isfinite(boxes[rows])).any(axis=1)
    return np.asarray(beyond), in_pixels


def clip_norm(boxes_norm: FloatArray) -> NDArray[np.float64]:
    """Cut boxes at the frame's edges, all sides to [0, 1]; (N, 4). Those that can only be pixels stay as they are."""
    boxes = np.asarray(boxes_norm, np.float64)
    return np.where(beyond_frame(boxes)[1][:, None], boxes, np.clip(boxes, 0, 1))


def clip_px(boxes_px: FloatArray, size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Cut boxes at the frame's edges: x to [0, width], y to [0, height]; (N, 4)."""
    height, width = size_hw
    return np.clip(np.asarray(boxes_px, np.float32), 0, np.array([width, height, width, height], np.float32))


def clip_boxes(
    boxes_px: FloatArray, frame_hw: tuple[int, int], clip_hw: tuple[int, int], rule: BoxRule = "exact"
) -> NDArray[np.float32]:
    """Boxes of a frame -> boxes of the clip that the frame was resized into; (N, 4).

    "exact" scales either axis by what it was resized by. "pyslowfast" is what models of PySlowFast and pytorchvideo
    were tested with (PySlowFast's data set for AVA, pytorchvideo's example of detection): boxes reach to the index of
    the last pixel at most, width - 1, before and after scaling, and both axes are scaled by the factor of the longer
    side, whose size was rounded down. Of 1280x720 px at short side 256 the clip has 455x256; y is scaled by 455 / 1280
    rather than 256 / 720, which puts the lower edge of the frame 0.06 px higher, and clipping moves it by a pixel.

    Args:
        boxes_px: xyxy px of the frame.
        frame_hw: (height, width) px of the frame.
        clip_hw: (height, width) px of the clip.
        rule: see above.
    """
    if rule == "exact":
        return to_px(to_norm(boxes_px, frame_hw), clip_hw)
    inside = _within_indices(np.asarray(boxes_px, np.float64), frame_hw)
    return _within_indices(scale_by_long_side(inside, frame_hw, clip_hw), clip_hw).astype(np.float32)


def scale_by_long_side(
    boxes_px: FloatArray, frame_hw: tuple[int, int], clip_hw: tuple[int, int]
) -> NDArray[np.float64]:
    """Both axes times the factor by which the longer side of the frame was resized; (N, 4). No clipping."""
    longer = 0 if frame_hw[0] > frame_hw[1] else 1
    return np.asarray(boxes_px, np.float64) * (clip_hw[longer] / frame_hw[longer])


def _within_indices(boxes_px: NDArray[np.float64], size_hw: tuple[int, int]) -> NDArray[np.float64]:
    """Cut boxes to x in [0, width - 1], y in [0, height - 1]."""
    height, width = size_hw
    return np.clip(boxes_px, 0, np.array([width, height, width, height]) - 1.0)
