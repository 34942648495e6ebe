"""Drawing people into a frame: a box and a label each, in the colour of their track."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from avadet.errors import AvadetError
from avadet.types import Float32Array, IntArray, UInt8Array

Colour = tuple[int, int, int]
_Corner = tuple[int, int]

NO_TRACK: Colour = (200, 200, 200)
"""RGB of people who are on no track."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_HUE_STEP = 0.6180339887498949  # the golden ratio's: hues of neighbouring ids lie far apart, none comes twice
_TEXT_SHARE = 1 / 28  # height of a capital letter as a share of the frame's shorter side, about
_MIN_LETTER_PX, _MAX_LETTER_PX = 9, 48
_MAX_LABEL_SHARE = 0.5  # width of a label as a share of the frame's, at most, where its text can be cut


@dataclass(frozen=True)
class _Style:
    """Sizes in px that depend on the frame alone."""

    scale: float
    stroke: int
    border: int
    pad: int
    line: int
    rise: int


def track_colour(track_id: int) -> Colour:
    """RGB 0-255 of a track: always the same for an id, well apart for ids near each other; grey for -1."""
    if track_id < 0:
        return NO_TRACK
    lightness = (0.55, 0.7, 0.45)[track_id // 8 % 3]
    red, green, blue = colorsys.hls_to_rgb(track_id * _HUE_STEP % 1.0, lightness, 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_people(
    image: UInt8Array,
    boxes_px: Float32Array,
    captions: Sequence[Sequence[str]],
    track_ids: IntArray | None = None,
) -> UInt8Array:
    """Draw people's boxes and labels into a copy of a frame.

    A label stands above its box, else below it, else inside, wherever it lies within the frame and covers other
    labels least. Text grows with the frame; lines too wide for half the frame are cut, marked by "..".

    Args:
        image: uint8 (H, W, 3) RGB; stays as it is.
        boxes_px: float32 (N, 4) xyxy, pixels of the image.
        captions: N lists of lines, top line first; an empty list gives a box without label.
        track_ids: int64 (N,), -1 = on no track; None colours by position.

    Returns:
        uint8 (H, W, 3) RGB.

    Raises:
        AvadetError: if there is not one caption and one track id for every box.
    """
    ids = np.arange(len(boxes_px)) if track_ids is None else track_ids
    if not len(boxes_px) == len(captions) == len(ids):
        raise AvadetError(f"{len(boxes_px)} boxes need as many captions and ids, got {len(captions)} and {len(ids)}")
    drawn = image.copy()
    height, width = image.shape[:2]
    style = _style(height, width)
    corners = np.clip(np.rint(boxes_px), 0, [width - 1, height - 1] * 2).astype(int)
    for (x1, y1, x2, y2), track_id in zip(corners.tolist(), ids):
        cv2.rectangle(drawn, (x1, y1), (x2, y2), track_colour(int(track_id)), style.border)
    taken: list[tuple[int, int, int, int]] = []
    for box, lines, track_id in zip(corners.tolist(), captions, ids):
        if len(lines):
            label = _label(tuple(lines), track_colour(int(track_id)), style, width, height)
            x, y = _place(box, label.shape[:2], (height, width), taken)
            taken.append((x, y, x + label.shape[1], y + label.shape[0]))
            drawn[y : y + label.shape[0], x : x + label.shape[1]] = label
    return drawn


@lru_cache(maxsize=16)
def _style(height: int, width: int) -> _Style:
    letter = min(max(min(height, width) * _TEXT_SHARE, _MIN_LETTER_PX), _MAX_LETTER_PX)
    (_, unit), below = cv2.getTextSize("H", _FONT, 1.0, 1)
    scale = letter / unit
    stroke = max(1, round(letter / 12))
    (_, rise), below = cv2.getTextSize("Hg", _FONT, scale, stroke)
    pad = max(2, round(letter / 4))
    return _Style(scale, stroke, max(1, round(letter / 7)), pad, rise + below + max(1, pad // 2), rise)


@lru_cache(maxsize=512)
def _label(lines: tuple[str, ...], colour: Colour, style: _Style, width: int, height: int) -> UInt8Array:
    """The picture of a label, at most as large as the frame; kept, as labels stay the same for many frames."""
    fitted = [_fit(text, style, int(width * _MAX_LABEL_SHARE) - 2 * style.pad) for text in lines]
    widest = max(_text_width(text, style) for text in fitted)
    size_hw = (len(lines) * style.line + style.pad, widest + 2 * style.pad)
    label = np.full((*size_hw, 3), colour, np.uint8)
    dark_on_light = np.dot(colour, (0.299, 0.587, 0.114)) > 110
    ink = (0, 0, 0) if dark_on_light else (255, 255, 255)
    for row, text in enumerate(fitted):
        at = (style.pad, style.pad // 2 + 1 + row * style.line + style.rise)
        cv2.putText(label, text, at, _FONT, style.scale, ink, style.stroke, cv2.LINE_AA)
    label = label[:height, :width]
    label.flags.writeable = False
    return label


def _text_width(text: str, style: _Style) -> int:
    return int(cv2.getTextSize(text, _FONT, style.scale, style.stroke)[0][0])


def _fit(text: str, style: _Style, room_px: int) -> str:
    """The text, or as much of its beginning as fits, two dots, and its last word if that is short (a score)."""
    if _text_width(text, style) <= room_px:
        return text
    start, _, end = text.rpartition(" ")
    tail = f".. {end}" if start and len(end) <= 4 else ".."
    for length in range(len(text) - len(tail), 0, -1):
        if _text_width(text[:length] + tail, style) <= room_px:
            return text[:length] + tail
    return text[:1]


def _place(
    box: Sequence[int], label_hw: tuple[int, int], frame_hw: tuple[int, int], taken: Sequence[Sequence[int]]
) -> _Corner:
    """Top left corner for a label: of the places around its box the first that covers other labels least."""
    x1, y1, _, y2 = box
    height, width = label_hw
    highest_x, highest_y = frame_hw[1] - width, frame_hw[0] - height
    x = min(x1, highest_x)
    inside_y = min(y1, highest_y)
    places = [(x, y) for y in (y1 - height, y2 + 1) if 0 <= y <= highest_y]
    places += [(x, inside_y), (x, max(min(y2 - height, highest_y), 0))]
    return min(places, key=lambda place: _covered((*place, place[0] + width, place[1] + height), taken))


def _covered(label: Sequence[int], taken: Sequence[Sequence[int]]) -> int:
    """Area in px that a label would share with those already placed."""
    return sum(
        max(min(label[2], other[2]) - max(label[0], other[0]), 0)
        * max(min(label[3], other[3]) - max(label[1], other[1]), 0)
        for other in taken
    )
