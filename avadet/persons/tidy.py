"""From a detector's raw arrays to `PersonBoxes` that can be trusted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avadet import boxes
from avadet.types import NORM_ROUNDING, PersonBoxes


def tidy(
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


def suppress(people: PersonBoxes, nms_iou: float) -> PersonBoxes:
    """Drop every box that overlaps a better one by more than `nms_iou`."""
    import torch
    from torchvision.ops import nms

    kept = nms(torch.from_numpy(people.boxes_px), torch.from_numpy(people.scores), nms_iou).numpy()
    return PersonBoxes(people.boxes_px[kept], people.scores[kept], people.size_hw)
