"""From a detector's raw arrays to `PersonBoxes` that can be trusted."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from avadet import boxes
from avadet.types import NORM_ROUNDING, IntArray, PersonBoxes


def postprocess(
    boxes_px: NDArray[np.floating],
    scores: NDArray[np.floating],
    size_hw: tuple[int, int],
    threshold: float = 0.0,
    min_side_px: float = 1.0,
) -> PersonBoxes:
    """Keep the boxes that make sense, cut them at the frame, sort them by falling score.

    Dropped: rows with NaN or infinity, scores under `threshold` or outside 0-1 (beyond rounding), inverted boxes,
    and boxes of which less than `min_side_px` of width or height lies inside the frame.

    Args:
        boxes_px: float (N, 4) xyxy, pixels of the frame, as the network gave them.
        scores: float (N,).
        size_hw: (height, width) px of the frame.
        threshold: lowest score that is kept, 0-1.
        min_side_px: shortest side that is kept, px.

    Returns:
        the people, best first; equal scores keep their order.
    """
    boxes_px = np.asarray(boxes_px, np.float32).reshape(-1, 4)
    scores = np.asarray(scores, np.float32).reshape(-1)
    usable = np.isfinite(boxes_px).all(axis=1) & np.isfinite(scores)
    usable[usable] &= (scores[usable] >= threshold) & (np.abs(scores[usable] - 0.5) <= 0.5 + NORM_ROUNDING)
    inside, scores = boxes.clip_px(boxes_px[usable], size_hw), np.clip(scores[usable], 0.0, 1.0)
    large = (inside[:, 2:] - inside[:, :2] >= min_side_px).all(axis=1)
    inside, scores = inside[large], scores[large]
    order = np.argsort(-scores, kind="stable")
    return PersonBoxes(inside[order], scores[order], size_hw)


def nms(boxes_px: NDArray[np.floating], scores: NDArray[np.floating], nms_iou: float) -> IntArray:
    """Non-maximum suppression: which boxes overlap no better one by more than `nms_iou`.

    Args:
        boxes_px: float (N, 4) xyxy px.
        scores: float (N,).
        nms_iou: 0-1.

    Returns:
        rows (M,), best first; boxes that are not finite or inverted, and scores of 0, are dropped.
    """
    with np.errstate(invalid="ignore"):
        wide = np.concatenate([boxes_px[:, :2], boxes_px[:, 2:] - boxes_px[:, :2]], axis=1, dtype=np.float64)
    rows = np.flatnonzero(np.isfinite(wide).all(axis=1) & (wide[:, 2:] > 0).all(axis=1))
    kept = cv2.dnn.NMSBoxes(wide[rows], scores[rows].tolist(), 0.0, nms_iou)  # type: ignore[arg-type]
    return rows[np.asarray(kept, np.int64)]


def suppress(people: PersonBoxes, nms_iou: float) -> PersonBoxes:
    """Drop every box that overlaps a better one by more than `nms_iou`."""
    kept = nms(people.boxes_px, people.scores, nms_iou)
    return PersonBoxes(people.boxes_px[kept], people.scores[kept], people.size_hw)
