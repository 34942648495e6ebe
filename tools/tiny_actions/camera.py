"""How fast a person moves when the camera's own movement is taken away."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from avadet.types import Float64Array, UInt8Array

CORNERS, QUALITY, APART_PX = 200, 0.01, 8
FEWEST_CORNERS, FEWEST_AGREEING = 12, 10
TOLERANCE_PX = 2

Box = Sequence[float]


def background_motion(before: UInt8Array, after: UInt8Array, boxes: Sequence[Box]) -> Float64Array | None:
    """Shift, turn and zoom of what lies outside the boxes, from tracked corners.

    Args:
        before: uint8 (H, W, 3) RGB.
        after: the same, later.
        boxes: xyxy px, of all persons in either picture.

    Returns:
        (2, 3), takes a point of `before` to its place in `after`; None where too few corners agree.
    """
    first, second = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (before, after))
    mask = np.full(first.shape, 255, np.uint8)
    for box in boxes:
        x1, y1, x2, y2 = (int(side) for side in box)
        mask[max(y1, 0) : y2, max(x1, 0) : x2] = 0
    corners = cv2.goodFeaturesToTrack(first, CORNERS, QUALITY, APART_PX, mask=mask)
    if corners is None or len(corners) < FEWEST_CORNERS:
        return None
    moved, status, _ = cv2.calcOpticalFlowPyrLK(first, second, corners, None)  # type: ignore[call-overload]
    followed = status[:, 0] == 1
    if followed.sum() < FEWEST_CORNERS:
        return None
    matrix, agreeing = cv2.estimateAffinePartial2D(
        corners[followed], moved[followed], ransacReprojThreshold=TOLERANCE_PX
    )
    if matrix is None or agreeing.sum() < FEWEST_AGREEING:
        return None
    return np.asarray(matrix, np.float64)


def own_motion(before: Box, after: Box, camera: Float64Array, seconds: float) -> tuple[float, float]:
    """Displacement and growth of a box against the background.

    Args:
        before: xyxy px.
        after: xyxy px, `seconds` later.
        camera: of `background_motion`, between the same two pictures.
        seconds: between them.

    Returns:
        body heights a second that the centre moves, and the logarithm of its height a second that it grows.
    """
    first, second = np.asarray(before, np.float64), np.asarray(after, np.float64)
    heights = first[3] - first[1], second[3] - second[1]
    zoom = np.sqrt(abs(np.linalg.det(camera[:, :2])))
    expected = camera[:, :2] @ (first[:2] + first[2:]) / 2 + camera[:, 2]
    moved = float(np.linalg.norm((second[:2] + second[2:]) / 2 - expected))
    return moved / (sum(heights) / 2) / seconds, float(np.log(heights[1] / heights[0] / zoom)) / seconds
