"""AVA-style CSV files row by row, each number as it is written: for conversions that must lose nothing.

`annotations.ava` reads the same files as columns, which is what everything that computes wants.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from avadet.annotations.ava import csv_line, format_time
from avadet.annotations.box_files import ZERO_OR_ONE, last_column
from avadet.annotations.csv_rows import MAX_PROBLEMS, Columns, RowForm, read_rows
from avadet.annotations.csv_text import LastColumn, cells_of, dialect_of, is_number, open_text, told_ids
from avadet.annotations.rules.boxes import JudgedBoxes, refuse_pixels
from avadet.boxes import beyond_frame
from avadet.errors import AvadetError
from avadet.files import whole_file
from avadet.keyframes import join_keyframes, tolerance_s

_WHOLE = re.compile(r"[+-]?\d+")
_PADDED = re.compile(r"0\d+")
_KEPT = "kept as it stands"
_DECIMAL = re.compile(r"-?\d+(?:\.(\d+))?")


class AvaRow(NamedTuple):
    """One row of an AVA-style file.

    Attributes:
        video_id: the video.
        time_s: seconds.
        box_norm: xyxy, 0-1 of the frame; None = the row only names a keyframe.
        action_id: None = blank or no such column.
        last: the eighth column, a score or a person's id; None = no such column.
        cells: the row as it stands in the file; None = as numbers are usually written.
    """

    video_id: str
    time_s: float
    box_norm: tuple[float, ...] | None
    action_id: int | None
    last: float | None
    cells: tuple[str, ...] | None = None


class CsvStyle(NamedTuple):
    """How a file writes its numbers.

    Attributes:
        time_digits: whole seconds are padded with zeros to so many digits; 0 = not padded.
        box_decimals: every box has so many decimals; None = as few as give the number back.
        score_decimals: the same of scores.
    """

    time_digits: int = 0
    box_decimals: int | None = None
    score_decimals: int | None = None


@dataclass(frozen=True)
class AvaRows:
    """The rows of an AVA-style file, one by one, in file order.

    Attributes:
        rows: the rows.
        last: what the eighth column is.
        style: how numbers are written.
        left_out: what of a file is not in the rows, and how often.
        notes: what the reader decided, and what is odd about the boxes, one line each.
    """

    rows: tuple[AvaRow, ...]
    last: LastColumn
    style: CsvStyle
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_ava_rows(path: str | Path, last: LastColumn | None = None) -> AvaRows:
    """Read the rows of ground truth, detections or person boxes: 2, 6, 7 or 8 columns, plain or gzipped.

    Args:
        path: the file.
        last: what the eighth column is; None = by what stands in it, see `box_files.last_column`.

    Raises:
        AvadetError: if the file is unreadable, rows are malformed, or boxes not finite, inverted (up to 20) or pixels.
    """
    form = RowForm(widths=(2, 6, 7, 8), last=last or "score or person_id", boxes="ordered", blank_action=True)
    columns = read_rows(path, form)  # says what is wrong with which cell
    refuse_pixels(path, columns.boxes, columns.lines)
    found, doubtful = last_column(path, columns)
    kind: LastColumn = last or found or "score"
    cells = _numbered(path, columns)
    problems = [
        f"{path}:{line}: column 8 ({kind}) is '{row[7]}', expected {what}"
        for line, row in zip(columns.lines.tolist(), cells)
        if len(row) > 7 and (what := _wrong_last(row[7], kind)) is not None
    ]
    raise_any(problems)
    notes = JudgedBoxes(columns.boxes, columns.lines).notes(_KEPT, _KEPT)
    notes += [told_ids(columns.text_ids)] if columns.text_ids else []
    if last is None and doubtful:
        notes.insert(
            0, f"{ZERO_OR_ONE}, taken for {'scores' if kind == 'score' else 'ids of persons'}; else say --last"
        )
    return AvaRows(tuple(_row_of_cells(row, kind) for row in cells), kind, style_of(cells, kind), notes=tuple(notes))


def _numbered(path: str | Path, columns: Columns) -> list[tuple[str, ...]]:
    """The cells of a file that has been read, ids of persons that are text as their numbers."""
    with open_text(Path(path)) as file:
        cells = [tuple(row) for _, row in cells_of(file, dialect_of(Path(path)))]
    ids = {text: str(number) for text, number in columns.text_ids.items()}
    return [(*row[:7], ids.get(row[7].strip(), row[7])) if len(row) > 7 else row for row in cells] if ids else cells


def keyframe_numbers(rows: Sequence[AvaRow]) -> list[int]:
    """A number for the keyframe of each row, from 0 in order of first appearance."""
    names = np.array([row.video_id for row in rows], dtype=object)
    times_s = np.array([row.time_s for row in rows], np.float64)
    numbers: list[int] = join_keyframes([(names, times_s)]).numbers[0].tolist()
    return numbers


def cleaned(rows: Sequence[AvaRow], last: LastColumn) -> tuple[list[AvaRow], Counter[str]]:
    """Rows of another tool's file as a data set may have them, and how many boxes had to be changed.

    Boxes end at the frame; those of which nothing is left only name their keyframe. What stands there twice is left out
    once, and of two boxes of one person at a keyframe the later loses its id.
    """
    boxes = np.array([row.box_norm or (0.0,) * 4 for row in rows], np.float64).reshape(-1, 4)
    inside = boxes.clip(0, 1)
    flat = (boxes[:, :2] == boxes[:, 2:]).any(axis=1)
    away = ~flat & (inside[:, :2] >= inside[:, 2:]).any(axis=1)
    outside = beyond_frame(boxes)[0].tolist()
    changed, kept, cut = Counter[str](), list[AvaRow](), inside.tolist()
    met: set[tuple[object, ...]] = set()
    counted: set[tuple[object, ...]] = set()
    places: dict[tuple[object, ...], tuple[float, ...]] = {}
    for index, (row, keyframe) in enumerate(zip(rows, keyframe_numbers(rows))):
        if row.box_norm is None:
            kept.append(row)
            continue
        box = tuple(cut[index])
        useless, who = bool(flat[index] or away[index]), (keyframe, row.box_norm, row.last)
        is_new = who not in counted
        counted.add(who)
        if not useless:
            row = row._replace(box_norm=box)
            if last == "person_id" and places.setdefault((keyframe, row.last), box) != box and row.last is not None:
                changed["ids of persons who have another box at that keyframe"] += is_new
                row = row._replace(last=None)
            key = (keyframe, *np.round(box, 6).tolist(), row.action_id, row.last)
            changed["boxes that reached out of the frame, cut"] += outside[index] and is_new
        else:
            row, key = row._replace(box_norm=None, action_id=None, last=None), (keyframe,)
            changed["boxes without width or height" if flat[index] else "boxes outside the frame"] += is_new
        if key in met:
            changed["rows that stand there already"] += not useless
            continue
        met.add(key)
        kept.append(row)
    boxed = {(row.video_id, row.time_s) for row in kept if row.box_norm is not None}
    alone = [row for row in kept if row.box_norm is not None or (row.video_id, row.time_s) not in boxed]
    return alone, +changed


def _wrong_last(cell: str, kind: LastColumn) -> str | None:
    """What an eighth column should be, or None if it is."""
    if not cell.strip():
        return None
    if kind == "person_id":
        return None if is_number(cell) and float(cell).is_integer() else "a whole number, the person's id"
    return None if math.isfinite(float(cell)) else "a finite number; JSON has no other"


def _row_of_cells(cells: tuple[str, ...], kind: LastColumn) -> AvaRow:
    """Parse a row whose cells have been checked."""
    box = tuple(float(cell) for cell in cells[2:6]) or None
    action = int(cells[6]) if len(cells) > 6 and cells[6].strip() else None
    last = (
        None
        if len(cells) < 8 or not cells[7].strip()
        else _person_id(cells[7])
        if kind == "person_id"
        else float(cells[7])
    )
    return AvaRow(cells[0], float(cells[1]), box, action, last, cells)


def _person_id(cell: str) -> int:
    """A whole number, be it written 7 or 7.0."""
    return int(cell) if _WHOLE.fullmatch(cell.strip()) else int(float(cell))


def style_of(cells: Sequence[tuple[str, ...]], kind: LastColumn) -> CsvStyle:
    """How the rows write their numbers, where they do it alike."""
    padded = [len(row[1]) for row in cells if _PADDED.fullmatch(row[1])]
    boxes = _decimals(cell for row in cells for cell in row[2:6])
    scores = _decimals(row[7] for row in cells if len(row) > 7) if kind == "score" else None
    return CsvStyle(max(padded, default=0), boxes, scores)


def _decimals(cells: Iterable[str]) -> int | None:
    """How many decimals all of the cells have; None if they differ."""
    found = {-1 if (m := _DECIMAL.fullmatch(cell)) is None else len(m[1] or "") for cell in cells}
    return found.pop() if len(found) == 1 and -1 not in found else None


def row_cells(row: AvaRow, table: AvaRows) -> tuple[str, ...]:
    """A row as it is usually written in the style of its file; keeps every digit of boxes and scores."""
    style = table.style
    time = format_time(row.time_s)
    cells = [row.video_id, time.zfill(style.time_digits) if time.isdigit() else time]
    if row.box_norm is None:
        return tuple(cells)
    cells += [_number_text(value, style.box_decimals) for value in row.box_norm]
    cells.append("" if row.action_id is None else str(row.action_id))
    if row.last is not None:
        cells.append(str(row.last) if table.last == "person_id" else _number_text(row.last, style.score_decimals))
    return tuple(cells)


def _number_text(value: float, decimals: int | None) -> str:
    """With so many decimals if they say it all, else as few digits as give the number back."""
    if decimals is not None and float(text := f"{value:.{decimals}f}") == value:
        return text
    return repr(float(value)).removesuffix(".0")


def write_ava_rows(path: str | Path, table: AvaRows) -> None:
    """Write rows as an AVA-style CSV, whole or not at all; rows that know their cells as these stand.

    Raises:
        AvadetError: if it cannot be written.
    """
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{csv_line(row.cells or row_cells(row, table))}\n" for row in table.rows)


def with_fitting_cells(row: AvaRow, last: LastColumn) -> AvaRow:
    """Drop a row's cells if they do not say what the row says: somebody has edited the one or the other."""
    if row.cells is None:
        return row
    try:
        written = _row_of_cells(row.cells, last)
        near = abs(written.time_s - row.time_s) < tolerance_s(None)  # rows of one keyframe may differ in digits
        same = near and written.video_id == row.video_id and written[2:5] == row[2:5]
    except (ValueError, IndexError, OverflowError):
        same = False
    return row if same else row._replace(cells=None)


def raise_any(problems: list[str]) -> None:
    """Raise the first problems as one error, if there are any.

    Raises:
        AvadetError: one line a problem.
    """
    if problems:
        more = f"; stopped at {MAX_PROBLEMS}, there may be more" if len(problems) >= MAX_PROBLEMS else ""
        raise AvadetError("\n".join(problems[:MAX_PROBLEMS]) + more)
