"""Reading AVA-style CSV rows: fast when every row is as it should be, line by line to say what is wrong.

`annotations.csv_text` tells which separators, headers and comments are read.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avadet.annotations.csv_text import (
    Dialect,
    cells_of,
    dialect_of,
    is_number,
    number_of,
    numbered_ids,
    open_text,
)
from avadet.errors import AvadetError
from avadet.types import BoolArray, Float64Array, IntArray

MAX_PROBLEMS = 20
_COLUMNS = ("video_id", "seconds", "x1", "y1", "x2", "y2", "action_id")
_LARGEST_ID = 2**31 - 1


@dataclass(frozen=True)
class RowForm:
    """What the rows of a kind of file look like.

    Attributes:
        widths: how many columns a row may have: 2 (a keyframe without boxes), 6, 7 or 8.
        last: name of the eighth column: "score", "person_id", or both where what stands there decides. Ids may be text,
            which is numbered, and blank.
        boxes: what a box must be: "any" four numbers, even NaN; "ordered": finite, x1 <= x2 and y1 <= y2.
        whole_seconds: whether times must be whole numbers without a decimal point.
        blank_action: whether the action id may be left blank.
        blank_id: the class id of a box whose action is left blank, or whose row has no such column.
    """

    widths: tuple[int, ...]
    last: Literal["score", "person_id", "score or person_id"] = "score"
    boxes: Literal["any", "ordered"] = "any"
    whole_seconds: bool = False
    blank_action: bool = False
    blank_id: int = 0

    def expected(self) -> str:
        """The columns, for messages."""
        named = [*_COLUMNS, self.last]
        return " or ".join(f"{width} ({','.join(named[:width])})" for width in self.widths)


class Columns(NamedTuple):
    """The rows of a file as columns; n rows, in file order.

    Attributes:
        video_ids: object (n,) of str.
        times_s: float64 (n,) seconds.
        boxes: float64 (n, 4) xyxy; zeros in rows without a box.
        class_ids: int64 (n,); 0 where the row has none.
        last: float64 (n,), the eighth column; 1 in rows without it.
        has_last: bool (n,), which rows have an eighth column.
        widest: the largest number of columns of any row, 0 without rows.
        lines: int64 (n,), each row's line, from 1.
        text_ids: the numbers of ids of persons that are text.
    """

    video_ids: NDArray[np.object_]
    times_s: Float64Array
    boxes: Float64Array
    class_ids: IntArray
    last: Float64Array
    has_last: BoolArray
    widest: int
    lines: IntArray
    text_ids: Mapping[str, int]


class Problem(NamedTuple):
    """One thing that is wrong: line number (1-based), "column (number)" or "row", what it is, what it should be."""

    line: int
    column: str
    value: str
    expected: str


def read_rows(path: str | Path, form: RowForm) -> Columns:
    """Read an AVA-style CSV, plain or gzipped.

    Args:
        path: the file.
        form: what its rows look like.

    Raises:
        AvadetError: if the file cannot be read, or rows are not of that form: file, line, column, value and expected
            form of the first 20 of them.
    """
    dialect = dialect_of(Path(path))
    rows = _read_fast(Path(path), form, dialect)
    if rows is None or not _boxes_fit(rows.boxes, form):
        rows = _read_line_by_line(Path(path), form, dialect)
    return rows


def _read_fast(path: Path, form: RowForm, dialect: Dialect) -> Columns | None:
    """Read with whole-array operations; None if a row is not as wide as the first, or a value not a finite number."""
    with open_text(path) as file:
        first = next(cells_of(file, dialect), None)
    if first is None:
        return _columns([], {})
    width = len(first[1])
    if width < 6 or width not in form.widths:
        return None
    with open_text(path) as file:
        return _read_with_pandas(file, width, form, dialect)


def _read_with_pandas(file: IO[Any], width: int, form: RowForm, dialect: Dialect) -> Columns | None:
    """Rows of `width` columns; None if a line-by-line look is needed."""
    import pandas as pd

    # pandas 3 always parses decimals to the nearest double and deprecates the switch
    exact = {"float_precision": "round_trip"} if int(pd.__version__.split(".")[0]) < 3 else {}
    texts = (0, 1, 6) if form.whole_seconds else (0, 6)
    dtypes = {index: "str" if index in texts else "float64" for index in range(width)}
    options: Any = {"na_filter": False, "skip_blank_lines": False, "index_col": False, "skiprows": dialect.skipped}
    options |= {"sep": dialect.separator, "decimal": "," if dialect.decimal_comma else ".", **exact}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(file, header=None, names=list(range(width)), dtype=dtypes, **options)
    except (ValueError, OverflowError, pd.errors.ParserWarning):
        return None
    return _columns_of_frame(frame, form, dialect.skipped)


def _columns_of_frame(frame: Any, form: RowForm, skipped: int) -> Columns | None:
    """The columns of a pandas frame; None if a line-by-line look is needed."""
    count, width = frame.shape
    video_ids = frame[0].to_numpy(dtype=object)
    times_s = _whole_numbers(frame[1], form) if form.whole_seconds else frame[1].to_numpy(np.float64)
    boxes = np.ascontiguousarray(frame[[2, 3, 4, 5]].to_numpy(np.float64))
    class_ids = _whole_numbers(frame[6], form) if width > 6 else np.full(count, form.blank_id, np.int64)
    last = frame[7].to_numpy(np.float64) if width > 7 else np.ones(count)
    if times_s is None or class_ids is None or not np.isfinite(times_s).all() or (video_ids == "").any():
        return None
    lines, has_last = np.arange(1, count + 1, dtype=np.int64) + skipped, np.full(count, width > 7)
    return Columns(video_ids, times_s.astype(np.float64), boxes, class_ids, last, has_last, width, lines, {})


def _whole_numbers(column: Any, form: RowForm) -> IntArray | None:
    """A column of texts as int64, None unless each is a whole number as `_is_whole` has it."""
    import pandas as pd

    codes, texts = pd.factorize(column)
    if not all(_is_whole(text) or (form.blank_action and not text.strip()) for text in texts):
        return None
    return np.asarray(np.array([int(text.strip() or form.blank_id) for text in texts], np.int64)[codes])


def _boxes_fit(boxes: Float64Array, form: RowForm) -> bool:
    """Whether every box is what the form asks for."""
    if form.boxes == "any" or not len(boxes):
        return True
    return bool(np.isfinite(boxes).all() and (boxes[:, :2] <= boxes[:, 2:]).all())


def _read_line_by_line(path: Path, form: RowForm, dialect: Dialect) -> Columns:
    """Read with the csv module and check cell by cell.

    Raises:
        AvadetError: naming the first 20 rows that are wrong.
    """
    rows: list[tuple[Any, ...]] = []
    problems: list[Problem] = []
    with open_text(path) as file:
        for line, cells in cells_of(file, dialect):
            problem = _check_row(cells, line, form)
            if problem is None:
                rows.append(_parse_row(cells, line, form))
            else:
                problems.append(problem)
            if len(problems) == MAX_PROBLEMS:
                break
    text = next((row for row in rows if isinstance(row[7], str)), None)
    if text is not None and any(not isinstance(row[7], str) and row[7] % 1 for row in rows):
        problems.append(Problem(text[9], f"column 8 ({form.last})", f"'{text[7]}'", "a number, as others are scores"))
    if problems:
        raise AvadetError(_describe(path, problems))
    return _columns(rows, numbered_ids(row[7] for row in rows if isinstance(row[7], str) or row[8] > 7))


def _parse_row(cells: list[str], line: int, form: RowForm) -> tuple[Any, ...]:
    """(video id, time, x1, y1, x2, y2, class id, last, width, line) of a row that has been checked."""
    box = [float(cell) for cell in cells[2:6]] or [0.0] * 4
    no_class = form.blank_id if len(cells) > 2 else 0
    class_id = int(cells[6]) if len(cells) > 6 and cells[6].strip() else no_class
    width = len(cells) - (len(cells) > 7 and not cells[7].strip())
    last: float | str = cells[7] if width > 7 else 1.0
    last = float(last) if isinstance(last, float) or is_number(last) else last.strip()
    return cells[0], float(cells[1]), *box, class_id, last, width, line


def _columns(rows: list[tuple[Any, ...]], text_ids: Mapping[str, int]) -> Columns:
    """Stack parsed rows."""
    last = [text_ids[row[7]] if isinstance(row[7], str) else row[7] for row in rows]
    numbers = np.array([row[1:6] for row in rows], np.float64).reshape(-1, 5)
    return Columns(
        np.array([row[0] for row in rows], dtype=object),
        numbers[:, 0].copy(),
        numbers[:, 1:].copy(),
        np.array([row[6] for row in rows], np.int64),
        np.array(last, np.float64),
        np.array([row[8] > 7 for row in rows], np.bool_),
        max((row[8] for row in rows), default=0),
        np.array([row[9] for row in rows], np.int64),
        text_ids,
    )


def _check_row(cells: list[str], line: int, form: RowForm) -> Problem | None:
    """The first thing that is wrong with a row, or None."""
    if len(cells) not in form.widths:
        value = f"{len(cells)} columns ('{','.join(cells)[:80]}')"
        return Problem(line, "row", value, f"{form.expected()} columns")
    names = [*_COLUMNS, form.last]
    for index, cell in enumerate(cells):
        expected = _expected_cell(cell, index, form)
        if expected is not None:
            header = line == 1 and index == 1
            hint = f"; is this a header? it must name {','.join(names)} in order; `avadet data convert` reads others"
            return Problem(line, f"column {index + 1} ({names[index]})", f"'{cell}'", expected + hint * header)
    return _check_box(cells, line, form)


def _expected_cell(cell: str, index: int, form: RowForm) -> str | None:
    """What the cell should be, or None if it is."""
    if index == 0:
        return None if cell else "the video's name"
    if index == 6:
        fits = _is_whole(cell) or (form.blank_action and not cell.strip())
        return None if fits else "a whole number, the class id"
    if index == 1:
        if form.whole_seconds:
            return None if _is_whole(cell) else "whole seconds, such as 902 or 0902"
        return None if math.isfinite(number_of(cell)) else "seconds, such as 902 or 12.5"
    if 1 < index < 7 and form.boxes != "any":
        return None if math.isfinite(number_of(cell)) else "a finite number"
    is_id = index == 7 and (form.last == "person_id" or (form.last != "score" and cell.strip()))
    return None if is_number(cell) or is_id else "a number"


def _check_box(cells: list[str], line: int, form: RowForm) -> Problem | None:
    """What is wrong with the box of a row whose cells are numbers, or None."""
    if form.boxes == "any" or len(cells) < 6:
        return None
    box = [float(cell) for cell in cells[2:6]]
    for axis in (0, 1):
        low, high = box[axis], box[axis + 2]
        if high < low:
            name = f"columns {axis + 3} and {axis + 5} ({'xy'[axis]}1, {'xy'[axis]}2)"
            return Problem(line, name, f"'{cells[axis + 2]}' and '{cells[axis + 4]}'", "the smaller one first (xyxy)")
    return None


def _is_whole(cell: str) -> bool:
    """Whether the cell is a whole number of a sensible size."""
    try:
        return abs(int(cell)) <= _LARGEST_ID
    except ValueError:
        return False


def _describe(path: Path, problems: list[Problem]) -> str:
    """The message, one line a problem."""
    lines = [f"{path}:{one.line}: {one.column} is {one.value}, expected {one.expected}" for one in problems]
    if len(problems) == MAX_PROBLEMS:
        lines[-1] += f"; stopped at {MAX_PROBLEMS} bad rows, there may be more"
    return "\n".join(lines)
