"""What a check says: one finding a kind of trouble, with how often, where, and the way out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from avadet.annotations.ava import NO_CLASS, AvaTable, Keyframes, box_cells, format_time
from avadet.annotations.specs import DataSet
from avadet.keyframes import join_keyframes
from avadet.types import BoolArray, IntArray

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One kind of trouble in one split.

    Attributes:
        check: which check, e.g. "boxes-in-pixels".
        severity: an "error" costs points or stops the training; a "warning" may be meant.
        split: where; "" = between splits.
        message: what is wrong and what to do about it, one line.
        count: how many rows, keyframes or videos have it.
        examples: the first of them, each with its file and line.
    """

    check: str
    severity: Severity
    split: str
    message: str
    count: int
    examples: tuple[str, ...] = ()

    def json(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@dataclass(frozen=True)
class SplitRows:
    """A split as its files have it: nothing is left out or put right.

    Attributes:
        data: the data set whose files they are.
        name: of the split; of the joining one where several are joined.
        number: which of several splits of the same videos it belongs to.
        file: the annotations, as messages call them.
        table: their rows; boxes may be anything.
        lines: int64 (n,), each row's line in the file, from 1; 0 = none.
        video_ids: the videos of the split, sorted.
        list_file: the list that names them; None = those annotated.
        excluded: keyframes that are not to be used; row i is line i + 1.
        excluded_file: their file.
        proposals: boxes of people; None = there are none.
        proposals_file: their file.
    """

    data: DataSet
    name: str
    number: int
    file: Path | None
    table: AvaTable
    lines: IntArray
    video_ids: tuple[str, ...]
    list_file: Path | None
    excluded: Keyframes
    excluded_file: Path | None
    proposals: AvaTable | None
    proposals_file: Path | None

    def where(self, row: int) -> str:
        """A row of the annotations as "FILE:LINE"."""
        line = int(self.lines[row])
        return f"{self.file}:{line}" if line else str(self.file)

    def first_rows(self) -> dict[str, int]:
        """The first row of each annotated video."""
        codes, names = number_names(self.table.video_ids)
        _, rows = np.unique(codes, return_index=True)
        return dict(zip(names, rows.tolist()))


class Reporter:
    """Gathers the findings of one split.

    Attributes:
        split: its name.
        examples: how many of each kind are shown.
        findings: so far.
    """

    def __init__(self, split: str, examples: int) -> None:
        """Start with no findings."""
        self.split = split
        self.examples = examples
        self.findings: list[Finding] = []

    def add(
        self, check: str, message: str, examples: Sequence[str] = (), count: int | None = None, warn: bool = False
    ) -> None:
        """Note one kind of trouble; without `count` every example is one case."""
        number = len(examples) if count is None else count
        severity: Severity = "warning" if warn else "error"
        shown = tuple(examples[: self.examples])
        self.findings.append(Finding(check, severity, self.split, message, number, shown))

    def add_rows(self, check: str, message: str, rows: BoolArray | IntArray, rowed: Rowed, warn: bool = False) -> None:
        """Note rows of a file that are wrong, if there are any.

        Args:
            check: which check.
            message: with `{count}`, `{total}` and `{rows}` ("1 row has", "3 rows have") to be filled in.
            rows: which rows; bool (n,) or their numbers.
            rowed: the file they stand in.
            warn: whether that may be meant.
        """
        numbers = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        if len(numbers):
            have = "1 row has" if len(numbers) == 1 else f"{len(numbers):,} rows have"
            text = message.replace("{rows}", have).replace("{total}", f"{len(rowed.table):,}")
            shown = [rowed.example(int(row)) for row in numbers[: self.examples]]
            self.add(check, text, shown, len(numbers), warn)


@dataclass(frozen=True)
class Rowed:
    """Rows of a file that are shown as they stand.

    Attributes:
        file: the file, None = none.
        table: its rows.
        lines: each row's line, from 1; 0 = none.
    """

    file: Path | None
    table: AvaTable
    lines: IntArray

    def example(self, row: int) -> str:
        """One row as "FILE:LINE: video,seconds[,x1,y1,x2,y2,class[,last]]"."""
        table, line = self.table, int(self.lines[row])
        cells = [str(table.video_ids[row]), format_time(float(table.times_s[row]))]
        if table.class_ids[row] != NO_CLASS or np.any(table.boxes_norm[row] != 0):
            cells += [*box_cells(table.boxes_norm[row]), str(int(table.class_ids[row]))]
            cells += [] if table.person_ids is None else [str(int(table.person_ids[row]))]
            cells += [] if table.scores is None else [f"{float(table.scores[row]):g}"]
        return f"{self.file}:{line}: {','.join(cells)}" if line else f"{self.file}: {','.join(cells)}"


def keyframe_codes(tables: Sequence[AvaTable | Keyframes], fps: float | None = None) -> list[IntArray]:
    """One number a keyframe, the same in every table; times of the others may be written otherwise than in the first.

    Args:
        tables: the annotations first.
        fps: frames per second of the videos; None = not known.
    """
    return join_keyframes([(table.video_ids, table.times_s) for table in tables], fps).numbers


def number_names(names: NDArray[Any]) -> tuple[IntArray, list[str]]:
    """Names as numbers, int64 (n,), and the name of each number."""
    import pandas as pd

    codes, known = pd.factorize(names)
    return np.asarray(codes, np.int64), [str(name) for name in known]


def number_alike(columns: Sequence[IntArray]) -> IntArray:
    """One number for rows that agree in every column, int64 (n,)."""
    import pandas as pd

    codes = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        values, known = pd.factorize(column)
        codes, _ = pd.factorize(codes * max(len(known), 1) + values)
    return np.asarray(codes, np.int64)


def box_codes(boxes: NDArray[np.floating]) -> IntArray:
    """One number for boxes that agree to a millionth of the frame, int64 (n,)."""
    finite = np.nan_to_num(np.asarray(boxes, np.float64), nan=-1.0, posinf=-2.0, neginf=-3.0)
    return number_alike([np.rint(np.clip(column, -1e9, 1e9) * 1e6).astype(np.int64) for column in finite.T])


def has_box(table: AvaTable) -> BoolArray:
    """Rows that are somebody, not just the name of a keyframe; bool (n,)."""
    return np.asarray((table.class_ids != NO_CLASS) | (np.nan_to_num(table.boxes_norm, nan=1.0) != 0).any(axis=1))
