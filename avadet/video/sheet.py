"""Stills of annotated frames: proposals in dashes, a title above, many of them on one sheet, as PNG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from avadet.errors import AvadetError
from avadet.files import whole_file
from avadet.types import Float64Array, UInt8Array

Colour = tuple[int, int, int]

PLAIN: Colour = (40, 40, 40)
"""RGB behind a title."""

WARNING: Colour = (190, 30, 30)
"""RGB behind the title of a frame that is not to be used."""

_INK: Colour = (255, 255, 255)
_DASHES: Colour = (255, 255, 255)
_SHADOW: Colour = (0, 0, 0)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TITLE_PX = 28
_LEGIBLE_PX = 480  # of the shorter side, for labels to be read
_GAP_PX = 6


def enlarged(image: UInt8Array) -> UInt8Array:
    """A frame whose shorter side has 480 px at least, so that labels on it can be read; larger ones as they are.

    Args:
        image: uint8 (H, W, 3) RGB.
    """
    scale = _LEGIBLE_PX / min(image.shape[:2])
    if scale <= 1:
        return image
    size_wh = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_CUBIC), np.uint8)


def draw_dashed(image: UInt8Array, boxes_px: Float64Array) -> UInt8Array:
    """Draw boxes in white dashes with a dark edge into a copy of a frame.

    Args:
        image: uint8 (H, W, 3) RGB; stays as it is.
        boxes_px: float (N, 4) xyxy, pixels of the image; what lies outside is not seen.
    """
    drawn = image.copy()
    dash = max(min(image.shape[:2]) // 40, 6)
    for x1, y1, x2, y2 in boxes_px.tolist():
        for start, end in (((x1, y1), (x2, y1)), ((x2, y1), (x2, y2)), ((x2, y2), (x1, y2)), ((x1, y2), (x1, y1))):
            _dashed_line(drawn, start, end, dash)
    return drawn


def _dashed_line(image: UInt8Array, start: tuple[float, float], end: tuple[float, float], dash: int) -> None:
    """Draw a line in place, every other `dash` pixels of it."""
    length = math.hypot(end[0] - start[0], end[1] - start[1])
    at = np.array(start)
    step = (np.array(end) - at) / max(length, 1e-9)
    for begin in np.arange(0.0, length, 2.0 * dash):
        a, b = (np.rint(at + step * min(way, length)).astype(int).tolist() for way in (begin, begin + dash))
        cv2.line(image, a, b, _SHADOW, 3)
        cv2.line(image, a, b, _DASHES, 1)


def titled(image: UInt8Array, title: str, colour: Colour = PLAIN) -> UInt8Array:
    """A frame with a line of text above it, cut at the end where it is too long.

    Args:
        image: uint8 (H, W, 3) RGB.
        title: what to write; letters beyond ASCII become "?".
        colour: RGB behind the text.

    Returns:
        uint8 (H + 28, W, 3) RGB.
    """
    strip = np.full((_TITLE_PX, image.shape[1], 3), colour, np.uint8)
    text = title.encode("ascii", "replace").decode()
    while len(text) > 1 and cv2.getTextSize(text, _FONT, 0.5, 1)[0][0] > image.shape[1] - 12:
        text = text[:-1]
    cv2.putText(strip, text, (6, 19), _FONT, 0.5, _INK, 1, cv2.LINE_AA)
    return np.concatenate([strip, image])


def contact_sheet(images: Sequence[UInt8Array], cell_width_px: int = 480) -> UInt8Array:
    """Pictures side by side in a near-square grid, each as wide as the others.

    Args:
        images: uint8 (H, W, 3) RGB, of any sizes.
        cell_width_px: width of each on the sheet.

    Raises:
        AvadetError: if there are none.
    """
    if not images:
        raise AvadetError("a contact sheet needs at least one picture, got none")
    columns = math.ceil(math.sqrt(len(images)))
    cells = [_fitted(image, cell_width_px) for image in images]
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    width = columns * (cell_width_px + _GAP_PX) - _GAP_PX
    heights = [max(len(cell) for cell in row) for row in rows]
    sheet = np.full((sum(heights) + _GAP_PX * (len(rows) - 1), width, 3), 255, np.uint8)
    top = 0
    for row, height in zip(rows, heights):
        for number, cell in enumerate(row):
            left = number * (cell_width_px + _GAP_PX)
            sheet[top : top + len(cell), left : left + cell_width_px] = cell
        top += height + _GAP_PX
    return sheet


def _fitted(image: UInt8Array, width_px: int) -> UInt8Array:
    height_px = max(round(image.shape[0] * width_px / image.shape[1]), 1)
    shrinks = width_px < image.shape[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width_px, height_px), interpolation=way), np.uint8)


def write_png(path: str | Path, image: UInt8Array) -> None:
    """Write a picture, uint8 (H, W, 3) RGB, whole or not at all.

    Raises:
        AvadetError: if it cannot be written.
    """
    fine, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not fine:
        raise AvadetError(f"cannot write {path}: a picture of {image.shape} does not become a PNG")
    with whole_file(path) as partial:
        partial.write_bytes(data.tobytes())
