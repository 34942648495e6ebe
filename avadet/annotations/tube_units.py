"""What a data set means by numbers of frames and by pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avadet.errors import AvadetError
from avadet.types import Float32Array


@dataclass(frozen=True)
class TubeSpec:
    """What a data set means by a frame number, a pixel box and the extent of an action.

    Attributes:
        fps: frames per second that keyframes are named in.
        size_hw: (height, width) px of every video; None = the ground truth says it of each.
        last_pixel_inside: whether x2 and y2 are the last pixel of the person (else the first one beyond).
        fills_clip: whether actions last from the first to the last frame, so that tubes are not to be trimmed.
        counts_last_frame: whether the data set's own script counts a tube's length in frames (else in steps from the
            first to the last frame, one less); see `evaluation.video_map`.
    """

    fps: float
    size_hw: tuple[int, int] | None = None
    last_pixel_inside: bool = False
    fills_clip: bool = False
    counts_last_frame: bool = True

    def __post_init__(self) -> None:
        """Check the frame rate, by which frame numbers are divided."""
        if not self.fps > 0:
            raise AvadetError(f"fps must be positive, got {self.fps}")


def to_norm(pixels: NDArray[np.floating], size_hw: tuple[int, int], last_pixel_inside: bool) -> Float32Array:
    """Boxes (L, 4) in pixels -> 0-1 of the frame, clipped at its edges."""
    height, width = size_hw
    corners = np.asarray(pixels, np.float64) + np.array([0, 0, 1, 1]) * last_pixel_inside
    return np.asarray(np.clip(corners / np.array([width, height, width, height]), 0, 1), np.float32)
