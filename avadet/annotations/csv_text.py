"""How CSV files are written: their encoding, separator, decimal mark and header; and their rows as cells.

Commas, semicolons or tabs separate the cells; with the latter two, numbers may have decimal commas. Blank lines are
skipped, and so are lines that begin with # and are no rows, and a header that names AVA's columns in their order.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, cast

from avadet.errors import AvadetError

_GZIP_MAGIC = b"\x1f\x8b"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_SNIFFED = 20  # rows that tell the separator
_COMMA_NUMBER = re.compile(r"\s*[+-]?\d*,\d+\s*")
_SHOWN_IDS = 8

LastColumn = Literal["score", "person_id"]
"""What the eighth column of a file is."""

ROLES = {
    "video": ("video_id", "video", "video_name", "videoname", "file", "filename", "file_name", "clip", "name"),
    "time": (
        *("seconds", "time", "time_s", "timestamp", "second", "sec", "t"),
        *("middle_frame_timestamp", "frame_timestamp", "keyframe_timestamp"),
    ),
    "frame": ("frame", "frame_id", "frame_number", "frame_index", "frame_no", "frame_num"),
    "x1": ("x1", "xmin", "x_min", "left", "xtl"),
    "y1": ("y1", "ymin", "y_min", "top", "ytl"),
    "x2": ("x2", "xmax", "x_max", "right", "xbr"),
    "y2": ("y2", "ymax", "y_max", "bottom", "ybr"),
    "x": ("x",),
    "y": ("y",),
    "cx": ("cx", "x_center", "xcenter", "center_x"),
    "cy": ("cy", "y_center", "ycenter", "center_y"),
    "w": ("w", "width", "box_width"),
    "h": ("h", "height", "box_height"),
    "action_id": ("action_id", "class_id", "label_id", "category_id"),
    "action": ("action", "label", "class", "class_name", "action_name", "category", "activity"),
    "person_id": ("person_id", "track_id", "person", "track", "object_id", "entity_id"),
    "score": ("score", "confidence", "conf", "prob"),
}
"""What a column can be, and the names by which it is recognised without help."""

_IN_ORDER = (("video",), ("time",), ("x1",), ("y1",), ("x2",), ("y2",), ("action_id", "action"), ("person_id", "score"))


class Dialect(NamedTuple):
    """How a CSV is written.

    Attributes:
        separator: of cells.
        decimal_comma: whether numbers are written 0,5.
        skipped: lines before the first row: a header, and what is above it.
        last: what a header says of the eighth column.
    """

    separator: str
    decimal_comma: bool = False
    skipped: int = 0
    last: LastColumn | None = None


@contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """Open a text file, UTF-8 or with a mark UTF-16, plain or gzipped whatever its name.

    Raises:
        AvadetError: if it is missing, no text, or breaks off.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP_MAGIC
        with (gzip.open if packed else open)(path, "rb") as file:
            wide = cast(IO[bytes], file).read(2) in _UTF_16
            file.seek(0)
            with io.TextIOWrapper(file, encoding="utf-16" if wide else "utf-8-sig", newline="") as text:
                yield text
    except (OSError, EOFError, UnicodeError, zlib.error, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AvadetError(f"cannot read {path}: {reason}; expected a CSV file, plain or gzipped") from error


def dialect_of(path: Path) -> Dialect:
    """How an AVA-style CSV is written, inferred from its first rows.

    Raises:
        AvadetError: if it cannot be read.
    """
    with open_text(path) as file:
        lines = list(islice(file, 4 * _SNIFFED))
        own = [line for line in lines if line.strip() and not line.startswith("#")][: _SNIFFED + 1]
        split = {mark: [next(csv.reader([line], delimiter=mark)) for line in own] for mark in "\t;,"}
    separator = max(split, key=lambda mark: sum(map(is_row, split[mark])))
    if not any(map(is_row, split[separator])):
        separator = max(",;\t", key="".join(own[:1]).count)
    rows = split[separator]
    commas = separator != "," and any(_COMMA_NUMBER.fullmatch(cell) for cells in rows for cell in cells[1:])
    if not rows or is_row(rows[0]) or any(is_number(cell) for cell in rows[0]):
        return Dialect(separator, commas)
    names = [cell.strip().lower() for cell in rows[0]]
    roles = [next((role for role, known in ROLES.items() if name in known), name) for name in names]
    if not 2 <= len(names) <= len(_IN_ORDER) or any(one not in known for one, known in zip(roles, _IN_ORDER)):
        return Dialect(separator, commas)
    last = cast(LastColumn, roles[7]) if len(roles) > 7 else None
    return Dialect(separator, commas, lines.index(own[0]) + 1, last)


def is_row(cells: list[str]) -> bool:
    """Whether cells look like a row of AVA's."""
    return len(cells) in (2, 6, 7, 8) and is_number(cells[1].replace(",", "."))


def cells_of(file: Iterable[str], dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """The rows of an open CSV with their lines: blank lines, comments and the header left out, decimals with points."""
    reader = csv.reader(file, delimiter=dialect.separator)
    for cells in reader:
        is_comment = bool(cells) and cells[0].startswith("#") and not is_row(cells)
        if reader.line_num <= dialect.skipped or is_comment or not any(cell.strip() for cell in cells):
            continue
        if len(cells) > 2 and not any(cell.strip() for cell in cells[2:]):
            cells = cells[:2]  # spreadsheets fill short rows up
        while len(cells) > len(_IN_ORDER) and not cells[-1].strip():
            cells.pop()
        if dialect.decimal_comma:
            cells[1:] = [cell.replace(",", ".") if _COMMA_NUMBER.fullmatch(cell) else cell for cell in cells[1:]]
        yield reader.line_num, cells


def numbered_ids(ids: Iterable[Any]) -> dict[str, int]:
    """Numbers for the ids of persons that are text: after the largest number among them, in order of appearance."""
    listed = list(dict.fromkeys(ids))
    texts = [one for one in listed if isinstance(one, str)]
    largest = max((int(one) for one in listed if not isinstance(one, str) and math.isfinite(one)), default=0)
    return {text: max(largest, 0) + number for number, text in enumerate(texts, start=1)}


def told_ids(text_ids: Mapping[str, int]) -> str:
    """Which number stands for which text, in words; the first of them where there are many."""
    shown = ", ".join(f"'{text}' = {number}" for text, number in list(text_ids.items())[:_SHOWN_IDS])
    more = f" and {len(text_ids) - _SHOWN_IDS} more" if len(text_ids) > _SHOWN_IDS else ""
    return f"ids of persons that are text are numbered in order of appearance: {shown}{more}"


def number_of(cell: str) -> float:
    """The cell's number, NaN if it is none."""
    try:
        return float(cell)
    except ValueError:
        return math.nan


def is_number(cell: str) -> bool:
    """Whether Python reads the cell as a number; "nan" counts."""
    return not math.isnan(number_of(cell)) or cell.strip().lower() in ("nan", "+nan", "-nan")
