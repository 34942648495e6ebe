"""What may be wrong with boxes: pixels, numbers out of range, corners in the wrong order, nothing inside."""

from __future__ import annotations

import numpy as np

from avadet.annotations.box_files import JudgedBoxes
from avadet.annotations.checks.findings import Reporter, Rowed, has_box
from avadet.boxes import beyond_frame


def check_boxes(reporter: Reporter, rowed: Rowed, of: str) -> None:
    """Look at every box of a file.

    Args:
        reporter: takes what is found.
        rowed: the file.
        of: "boxes" of the annotations or "proposals": the first word of the checks' names.
    """
    boxes = np.asarray(rowed.table.boxes_norm, np.float64)
    somebody = has_box(rowed.table)
    judged, in_pixels = JudgedBoxes(boxes), beyond_frame(boxes)[1]
    reporter.add_rows(
        f"{of}-no-number", "{rows} a coordinate that is no finite number", somebody & judged.no_number, rowed
    )
    reporter.add_rows(
        f"{of}-in-pixels",
        "{rows} a box in pixels; divide x by the frame's width and y by its height, all four must lie from 0 to 1",
        somebody & in_pixels,
        rowed,
    )
    order = "{rows} a box with x2 < x1 or y2 < y1; a box is x1,y1,x2,y2" + judged.size_hint()
    reporter.add_rows(f"{of}-inverted", order, somebody & judged.swapped, rowed)
    flat = somebody & (judged.flat | judged.nobody)
    reporter.add_rows(f"{of}-empty", "{rows} a box without width or height; nothing can match it", flat, rowed)
    away = somebody & judged.away & ~in_pixels
    reporter.add_rows(f"{of}-away", "{rows} a box outside the frame; nobody can be seen there", away, rowed)
    reporter.add_rows(
        f"{of}-outside",
        "{rows} a box that reaches out of the frame; training and inference cut it at 0 and 1",
        somebody & judged.outside & ~in_pixels,
        rowed,
        warn=True,
    )
