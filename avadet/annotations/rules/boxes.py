"""What may be wrong with boxes: pixels, no numbers, corners in the wrong order, nothing inside, a side outside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avadet.annotations.ava import where_of
from avadet.annotations.rules.issues import Action, Ledger, LinedTable, has_box
from avadet.boxes import beyond_frame
from avadet.errors import AvadetError
from avadet.types import NORM_ROUNDING, PIXELS_FROM, BoolArray, IntArray

KINDS = ("no-number", "in-pixels", "inverted", "empty", "away", "outside")
"""Rules of boxes, after "boxes-" or "proposals-"."""

_SIDES = ("x1", "y1", "x2", "y2")


class JudgedBoxes:
    """Boxes and what is wrong with each; every array is bool (n,), and a box is in one of them at most.

    Attributes:
        no_box: 0, 0, 0, 0: the row only names its keyframe.
        no_number: a side is NaN or infinite.
        in_pixels: a side is so far outside that it can only be pixels.
        swapped: x2 < x1 or y2 < y1.
        flat: without width or height.
        away: nothing of it lies inside the frame.
        outside: it reaches out of the frame by more than rounding.
    """

    def __init__(self, boxes_norm: NDArray[np.floating], lines: IntArray | None = None) -> None:
        """Judge boxes.

        Args:
            boxes_norm: float (n, 4) xyxy, 0-1 of the frame.
            lines: int64 (n,), where they stand in a file; None = row i is number i + 1.
        """
        boxes = np.asarray(boxes_norm, np.float64)
        self._lines = lines
        self._boxes = boxes
        self.no_box: BoolArray = np.asarray((boxes == 0).all(axis=1))
        finite: BoolArray = np.asarray(np.isfinite(boxes).all(axis=1))
        low, high = boxes[:, :2], boxes[:, 2:]
        beyond, in_pixels = beyond_frame(boxes)
        with np.errstate(invalid="ignore"):
            self.no_number: BoolArray = np.asarray(~finite)
            self.swapped: BoolArray = np.asarray(finite & (low > high).any(axis=1))
            self.in_pixels: BoolArray = np.asarray(finite & in_pixels & ~self.swapped)
            fits = finite & ~self.no_box & ~self.swapped & ~self.in_pixels
            self.flat: BoolArray = np.asarray(fits & (low == high).any(axis=1))
            inside = np.clip(boxes, 0, 1)
            fits &= ~self.flat
            self.away: BoolArray = np.asarray(fits & (inside[:, :2] >= inside[:, 2:]).any(axis=1))
        self.outside: BoolArray = np.asarray(fits & ~self.away & beyond)

    @property
    def useless(self) -> BoolArray:
        """Which boxes hold no person although one is meant, bool (n,)."""
        return self.no_number | self.swapped | self.flat | self.away

    def notes(self, left_out: str = "left out", cut: str = "cut at 0 and 1", place: str = "line") -> list[str]:
        """How many have what, one line each, with the first of them.

        Args:
            left_out: what becomes of boxes that are of no use.
            cut: what becomes of those that reach out of the frame.
            place: what rows are numbered as, from 1.
        """
        said = {
            f"a box that is no finite number; {left_out}": self.no_number,
            f"a box with x2 < x1 or y2 < y1; {left_out}{self.size_hint()}": self.swapped,
            f"a box without width or height; {left_out}": self.flat,
            f"a box outside the frame; {left_out}": self.away,
            f"a box that reaches out of the frame; {cut}": self.outside,
        }
        return [counted(mask, text, place, self._lines) for text, mask in said.items() if mask.any()]

    def size_hint(self) -> str:
        """Whether the last two columns look like width and height: boxes end inside the frame if they are added."""
        hint = "; these look like x,y,width,height: add x1 to column 5 and y1 to column 6"
        return hint if self.has_sizes else ""

    @property
    def has_sizes(self) -> bool:
        """Whether boxes look like x, y, width, height."""
        people = ~self.no_box & ~self.no_number
        ends = self._boxes[people][:, :2] + self._boxes[people][:, 2:]
        fits = bool((ends <= 1 + NORM_ROUNDING).all())
        return fits and bool(np.count_nonzero(self.swapped) > 0.1 * np.count_nonzero(people))


def counted(mask: BoolArray, text: str, place: str = "line", lines: IntArray | None = None) -> str:
    """So many rows have something, the first of them in such a line."""
    rows = np.flatnonzero(mask)
    have = "1 row has" if len(rows) == 1 else f"{len(rows)} rows have"
    first = rows[0] + 1 if lines is None else lines[rows[0]]
    return f"{have} {text} ({place} {first}{' and on' if len(rows) > 1 else ''})"


def refuse_pixels(path: str | Path, boxes: NDArray[np.floating], lines: IntArray | None = None) -> None:
    """Raise AvadetError for boxes that can only be pixels; `lines` as `AvaTable` has them."""
    rows = np.flatnonzero(beyond_frame(boxes)[1])
    if not len(rows):
        return
    row = int(rows[0])
    side = int(np.flatnonzero(boxes[row] > PIXELS_FROM)[0])
    last = where_of(int(rows[-1]), lines).removeprefix(":").removeprefix(" row ")
    more = f" (and {len(rows) - 1} more such rows, to line {last})" if len(rows) > 1 else ""
    raise AvadetError(
        f"{path}{where_of(row, lines)}: column {side + 3} ({_SIDES[side]}) is '{boxes[row, side]:g}', expected from 0 "
        f"to 1; divide pixels by the frame's width (x) or height (y){more}"
    )


def check_boxes(ledger: Ledger, rows: LinedTable, of: str) -> None:
    """Look at every box of a file.

    Args:
        ledger: takes what is found.
        rows: the file.
        of: "boxes" of the annotations or "proposals": the first word of the rules' names. Proposals are a machine's:
            those of no use are dropped, where a person's box is an error.
    """
    persons, judged = has_box(rows.table), JudgedBoxes(np.asarray(rows.table.boxes_norm, np.float64))
    useless: Action = "drop" if of == "proposals" else "error"
    if of == "boxes":
        ledger.has_sizes = judged.has_sizes
    pixels = "{rows} a box in pixels; divide x by the frame's width and y by its height, all four must lie from 0 to 1"
    order = "{rows} a box with x2 < x1 or y2 < y1; a box is x1,y1,x2,y2" + judged.size_hint()
    found: list[tuple[Action, str, BoolArray]] = [
        (useless, "{rows} a coordinate that is no finite number", judged.no_number),
        ("error", pixels, judged.in_pixels),
        (useless, order, judged.swapped),
        ("drop", "{rows} a box without width or height; nothing can match it", judged.flat | judged.no_box),
        ("drop", "{rows} a box outside the frame; no person can be seen there", judged.away),
        ("clip", "{rows} a box that reaches out of the frame", judged.outside),
    ]
    for kind, (action, message, mask) in zip(KINDS, found, strict=True):
        ledger.add_rows(f"{of}-{kind}", action, message, persons & mask, rows)
