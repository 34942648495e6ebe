"""Learning curves as a picture: one panel for each number that was logged of the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from avadet.types import UInt8Array
from avadet.video.sheet import write_png

_SIZE_HW = (260, 420)
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 16, 34, 30
_INK, _PALE, _LINE = (60, 60, 60), (225, 225, 225), (31, 119, 180)
_NOT_SHOWN = ("epoch", "seconds", "data_seconds")
_ROW = 2


def write_curves(path: Path, metrics: Sequence[Mapping[str, float]]) -> None:
    """Write a PNG of every number over the epochs; nothing if there is no epoch yet.

    Args:
        path: where to.
        metrics: what was logged of each epoch, "epoch" among it; a number may be missing from some.
    """
    names = list(dict.fromkeys(name for one in metrics for name in one if name not in _NOT_SHOWN))
    if not names:
        return
    last = max(2.0, float(metrics[-1]["epoch"]))
    panels = []
    for name in names:
        points = [(float(one["epoch"]), float(one[name])) for one in metrics if name in one]
        panels.append(panel(name, points, last))
    while len(panels) % _ROW:
        panels.append(np.full_like(panels[0], 255))
    rows = [np.hstack(panels[first : first + _ROW]) for first in range(0, len(panels), _ROW)]
    write_png(path, np.vstack(rows))


def panel(name: str, points: Sequence[tuple[float, float]], last: float) -> UInt8Array:
    """One curve, uint8 (260, 420, 3) RGB.

    Args:
        name: above it.
        points: (epoch, value), at least one.
        last: epoch at the right edge; 1 is at the left.
    """
    image = np.full((*_SIZE_HW, 3), 255, np.uint8)
    values = [value for _, value in points]
    low, high = min(values), max(values)
    if high - low < 1e-12:
        low, high = low - 0.5, high + 0.5
    for share in (0.0, 0.5, 1.0):
        y = _place_y(share)
        cv2.line(image, (_LEFT, y), (_SIZE_HW[1] - _RIGHT, y), _PALE, 1)
        _write(image, f"{low + share * (high - low):.4g}", (4, y + 4), 0.38)
    for epoch in (1.0, last):
        _write(image, f"{epoch:g}", (_place_x(epoch, last) - 6, _SIZE_HW[0] - 10), 0.38)
    _write(image, f"{name}: {values[-1]:.4g} in epoch {points[-1][0]:g}", (_LEFT, 20), 0.45)
    course = np.array([[_place_x(x, last), _place_y((y - low) / (high - low))] for x, y in points], np.int32)
    cv2.polylines(image, [course], False, _LINE, 2, cv2.LINE_AA)
    for x, y in course.tolist():
        cv2.circle(image, (x, y), 3, _LINE, -1, cv2.LINE_AA)
    return image


def _place_x(epoch: float, last: float) -> int:
    return round(_LEFT + (epoch - 1) / (last - 1) * (_SIZE_HW[1] - _LEFT - _RIGHT))


def _place_y(share: float) -> int:
    return round(_SIZE_HW[0] - _BOTTOM - share * (_SIZE_HW[0] - _TOP - _BOTTOM))


def _write(image: UInt8Array, text: str, where: tuple[int, int], size: float) -> None:
    cv2.putText(image, text, where, cv2.FONT_HERSHEY_SIMPLEX, size, _INK, 1, cv2.LINE_AA)
