"""What may be wrong with boxes: pixels, numbers out of range, corners in the wrong order, nothing inside."""

from __future__ import annotations

import numpy as np

from avadet.annotations.checks.findings import Reporter, Rowed, has_box

_PIXELS_FROM = 2.0  # no rounding or box that reaches beyond the frame gives a coordinate above it
_SLACK = 1e-6


def check_boxes(reporter: Reporter, rowed: Rowed, of: str) -> None:
    """Look at every box of a file.

    Args:
        reporter: takes what is found.
        rowed: the file.
        of: "boxes" of the annotations or "proposals": the first word of the checks' names.
    """
    boxes = np.asarray(rowed.table.boxes_norm, np.float64)
    somebody = has_box(rowed.table)
    finite = np.asarray(np.isfinite(boxes).all(axis=1), np.bool_)
    pixels = somebody & finite & (np.where(finite[:, None], boxes, 0) > _PIXELS_FROM).any(axis=1)
    outside = somebody & finite & ~pixels & ((boxes < -_SLACK) | (boxes > 1 + _SLACK)).any(axis=1)
    inverted = somebody & finite & (boxes[:, :2] > boxes[:, 2:]).any(axis=1)
    empty = somebody & finite & ~inverted & (boxes[:, :2] == boxes[:, 2:]).any(axis=1)
    reporter.add_rows(f"{of}-no-number", "{rows} a coordinate that is no finite number", somebody & ~finite, rowed)
    reporter.add_rows(
        f"{of}-in-pixels",
        "{rows} a box in pixels; divide x by the frame's width and y by its height, all four must lie from 0 to 1",
        pixels,
        rowed,
    )
    reporter.add_rows(
        f"{of}-outside", "{rows} a box that reaches beyond the frame; cut it at 0 and 1", outside & ~inverted, rowed
    )
    order = "{rows} a box with x2 < x1 or y2 < y1; a box is x1,y1,x2,y2"
    reporter.add_rows(f"{of}-inverted", order + _size_hint(boxes, somebody & finite, inverted), inverted, rowed)
    reporter.add_rows(f"{of}-empty", "{rows} a box without width or height; nothing can match it", empty, rowed)


def _size_hint(boxes: np.ndarray, people: np.ndarray, inverted: np.ndarray) -> str:
    """Whether the last two columns look like width and height: then boxes end inside the frame if they are added."""
    ends = boxes[people][:, :2] + boxes[people][:, 2:]
    fits = bool((ends <= 1 + 1e-3).all()) and np.count_nonzero(inverted) > 0.1 * np.count_nonzero(people)
    return "; these look like x,y,width,height: add x1 to the third column and y1 to the fourth" if fits else ""
