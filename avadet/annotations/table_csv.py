"""Any CSV with a header, one row a box: the columns' meaning is told by their names or by the user.

Times are seconds or numbers of frames; boxes are corners, or a corner and a size, or a centre and a size, in pixels or
0-1 of the frame; actions are names or ids. A row without a box only names a keyframe. Cells that are already what AVA's
CSV has go over as they stand.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from avadet.annotations.action_names import ActionNames
from avadet.annotations.ava_rows import AvaRow, AvaRows, cleaned, raise_any, row_cells, style_of, with_fitting_cells
from avadet.annotations.csv_text import ROLES, LastColumn, cells_of, dialect_of, numbered_ids, open_text, told_ids
from avadet.annotations.footage import Footage, Misfit, video_name
from avadet.annotations.foreign import Document, finite_number, person_id_of
from avadet.errors import AvadetError, unknown_name
from avadet.files import whole_file
from avadet.types import PIXELS_FROM

Units = Literal["px", "norm"]

_BOXES = (("x1", "y1", "x2", "y2"), ("x1", "y1", "w", "h"), ("x", "y", "w", "h"), ("cx", "cy", "w", "h"))
_HEADER = ("video_id", "seconds", "x1", "y1", "x2", "y2", "action_id", "action")


class Table(NamedTuple):
    """How a CSV is to be understood.

    Attributes:
        columns: role (a key of `ROLES`) to the name of its column.
        box: the four roles that make a box.
        units: of boxes.
    """

    columns: Mapping[str, str]
    box: tuple[str, ...]
    units: Units

    def told(self) -> str:
        """In words, for the user."""
        listed = ", ".join(f"{role}={column}" for role, column in self.columns.items())
        return f"{listed}; boxes {' '.join(self.box)} in {'pixels' if self.units == 'px' else 'parts of the frame'}"


def write_table_csv(path: str | Path, table: AvaRows, names: ActionNames) -> None:
    """Write rows as a CSV with a header, whole or not at all.

    Args:
        path: the file.
        table: the rows.
        names: names the actions in a column of their own.

    Raises:
        AvadetError: if it cannot be written.
    """
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*_HEADER, table.last])
        for row in table.rows:
            cells = [*(row.cells or row_cells(row, table))]
            cells += [""] * (8 - len(cells))
            name = "" if row.action_id is None else names.name(row.action_id)
            writer.writerow([*cells[:7], name, cells[7]])


def read_table_csv(
    path: str | Path,
    names: ActionNames,
    footage: Footage | None = None,
    columns: Mapping[str, str] | None = None,
    units: Units | None = None,
) -> tuple[AvaRows, Table]:
    """Read a CSV with a header; plain or gzipped.

    Args:
        path: the file.
        names: finds the ids of actions.
        footage: the size of frames for pixels, the rate for frames, the video of a file without such a column.
        columns: role (a key of `ROLES`) to column, where the columns' names do not tell.
        units: of boxes; None = pixels if any number is beyond 2.

    Returns:
        the rows in file order, and how they were understood.

    Raises:
        AvadetError: if the file cannot be read, columns are missing, or cells are malformed (file, line, what; up to
            20).
    """
    file = Path(path)
    lines, header, rows = _rows_of(file)
    roles = _roles(file, header, columns or {})
    box = next((four for four in _BOXES if set(four) <= roles.keys()), None)
    if box is None and {"x1", "y1", "x2", "y2", "x", "y", "cx", "cy", "w", "h"} & roles.keys():
        raise AvadetError(f"{file}:1: no columns for a whole box; expected {_either()}; got {', '.join(header)}")
    own = footage or Footage()
    if "video" not in roles and own.video_id is None:
        raise AvadetError(f"{file}:1: no column names the video; add --columns video=COLUMN or --video NAME")
    if not {"time", "frame"} & roles.keys():
        raise AvadetError(f"{file}:1: no column for the time; add --columns time=COLUMN or --columns frame=COLUMN")
    is_own = header[:-1] == list(_HEADER)
    last: LastColumn = "score" if "score" in roles else "person_id"
    found = Table(roles, box or (), units or ("norm" if is_own else _guessed_units(rows, roles, box or ())))
    reader = _Reader(found, names, own, last, is_own)
    read: list[AvaRow] = []
    document = Document(file, own)
    for line, row in zip(lines, rows):
        with document.at(f":{line}"):
            read.append(reader.row(row))
    raise_any(document.problems)
    ids = numbered_ids(row.last for row in read if last == "person_id" and row.last is not None)
    read = [row._replace(last=ids.get(row.last, row.last), cells=None) for row in read] if ids else read  # type: ignore[call-overload]
    left_out = Counter[str]()
    if not is_own:
        read, left_out = cleaned(read, last)
    own_rows = tuple(with_fitting_cells(row, last) for row in read)
    cells = [row.cells for row in own_rows if row.cells is not None]
    notes = (told_ids(ids),) if ids else ()
    return AvaRows(own_rows, last, style_of(cells, last), left_out, notes), found


def _rows_of(path: Path) -> tuple[list[int], list[str], list[dict[str, str]]]:
    """Line numbers, header and rows of a CSV."""
    dialect = dialect_of(path)._replace(skipped=0)
    with open_text(path) as file:
        placed = list(cells_of(file, dialect))
    header = [cell.strip() for cell in placed[0][1]] if placed else []
    if len(set(header)) != len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise AvadetError(f"{path}:1: two columns are called '{twice}'; expected every name once")
    return [line for line, _ in placed[1:]], header, [dict(zip(header, cells)) for _, cells in placed[1:]]


def _roles(path: Path, header: Sequence[str], told: Mapping[str, str]) -> dict[str, str]:
    """Which column is what."""
    for role, column in told.items():
        if role not in ROLES:
            raise unknown_name("meaning of a column", role, ROLES)
        if column not in header:
            raise unknown_name(f"column of {path}", column, header)
    by_name = {name.lower(): name for name in reversed(header) if name not in told.values()}
    found = {role: next((by_name[name] for name in known if name in by_name), None) for role, known in ROLES.items()}
    roles = {role: told.get(role, column) for role, column in found.items()}
    own = {role: column for role, column in roles.items() if column is not None}
    if "time" in own and "frame" in own and "frame" in told and "time" not in told:
        del own["time"]
    return own


def _either() -> str:
    return " or ".join(" ".join(four) for four in _BOXES)


def _guessed_units(rows: Sequence[Mapping[str, str]], roles: Mapping[str, str], box: Sequence[str]) -> Units:
    """Pixels if a number of a box is larger than any part of a frame."""
    for row in rows:
        for role in box:
            try:
                if float(row.get(roles[role]) or 0) > PIXELS_FROM:
                    return "px"
            except ValueError:
                continue  # told later, with its line
    return "norm"


class _Reader:
    """Makes rows of AVA's CSV of rows of another."""

    def __init__(self, table: Table, names: ActionNames, footage: Footage, last: LastColumn, is_own: bool) -> None:
        self._is_own = is_own
        self._table = table
        self._names = names
        self._footage = footage
        self._last = last

    def row(self, row: Mapping[str, str]) -> AvaRow:
        """One row.

        Raises:
            Misfit: if a cell is not what its column is.
        """
        texts = {role: (row.get(column) or "") for role, column in self._table.columns.items()}
        video_id = self._video_id(texts)
        time_s = self._time_s(texts, video_id)
        box = self._box_norm(texts, video_id)
        action = self._action_id(texts) if box is not None else None
        text = texts.get(self._last, "").strip() if box is not None else ""
        last: Any = None
        if text:
            last = person_id_of(text) if self._last == "person_id" else finite_number(text, self._last)
        return AvaRow(video_id, time_s, box, action, last, self._cells(texts, video_id, box, action, last))

    def _cells(
        self,
        texts: Mapping[str, str],
        video_id: str,
        box: tuple[float, ...] | None,
        action: int | None,
        last: float | None,
    ) -> tuple[str, ...] | None:
        """The row as AVA's CSV has it, where the cells are that already."""
        if self._table.units == "px" or self._table.box not in ((), _BOXES[0]) or "time" not in texts:
            return None
        cells = [video_id, texts["time"].strip()]
        if box is not None:
            cells += [texts[role].strip() for role in _BOXES[0]]
            if action is not None or last is not None or not self._is_own:
                own = texts.get("action_id", "").strip()
                cells.append(own if own or action is None else str(action))
            if last is not None:
                cells.append(texts[self._last].strip())
        return tuple(cells)

    def _video_id(self, texts: Mapping[str, str]) -> str:
        if "video" not in texts:
            return self._footage.video_id or ""
        if not texts["video"].strip():
            raise Misfit(f"{self._table.columns['video']} is blank, expected the video's name")
        name = texts["video"]
        return name if self._is_own else video_name(name)

    def _time_s(self, texts: Mapping[str, str], video_id: str) -> float:
        if "time" in texts:
            return finite_number(texts["time"], self._table.columns["time"])
        frame = finite_number(texts["frame"], self._table.columns["frame"])
        if frame != int(frame):
            raise Misfit(f"{self._table.columns['frame']} is '{texts['frame']}', expected a frame's whole number")
        return self._footage.time_s(video_id, int(frame))

    def _box_norm(self, texts: Mapping[str, str], video_id: str) -> tuple[float, ...] | None:
        """The box, xyxy 0-1; None if its cells are blank."""
        given = [texts[role] for role in self._table.box]
        if not any(text.strip() for text in given):
            return None
        a, b, c, d = (finite_number(text, self._table.columns[role]) for role, text in zip(self._table.box, given))
        if self._table.box[2] == "w":
            if c < 0 or d < 0:
                raise Misfit(f"the box is {c:g} wide and {d:g} high, expected sizes that are not negative")
            a, b = (a - c / 2, b - d / 2) if self._table.box[0] == "cx" else (a, b)
            c, d = a + c, b + d
        if c < a or d < b:
            raise Misfit(f"the box is {a:g}, {b:g}, {c:g}, {d:g}, expected the smaller of x and of y first")
        if self._table.units == "norm":
            return a, b, c, d
        height, width = self._footage.known_size_hw(video_id)
        return a / width, b / height, c / width, d / height

    def _action_id(self, texts: Mapping[str, str]) -> int | None:
        """The action by its id, else by its name; both must mean one."""
        number, name = texts.get("action_id", "").strip(), texts.get("action", "").strip()
        if not number:
            return self._names.action_id(name) if name else None
        value = finite_number(number, "action_id")
        if value != int(value):
            raise Misfit(f"action_id is '{number}', expected a whole number")
        if name and self._names.knows(name) and self._names.action_id(name) != value:
            raise Misfit(f"action_id is {number} but action is '{name}', whose id is {self._names.action_id(name)}")
        return int(value)
