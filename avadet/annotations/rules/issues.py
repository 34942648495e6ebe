"""What a rule says: one issue a kind of trouble, with how often, where, what becomes of it, and the way out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from avadet.annotations.ava import NO_CLASS, AvaTable, Keyframes, box_cells, format_time
from avadet.errors import AvadetError
from avadet.keyframes import join_keyframes
from avadet.types import BoolArray, IntArray

Action = Literal["keep", "clip", "drop", "error"]
Severity = Literal["error", "warning"]

DOES: dict[Action, str] = {
    "keep": "training takes them as they are",
    "clip": "training clips them",
    "drop": "training leaves them out",
    "error": "training stops",
}
"""What training, testing and preparing do with rows that an issue is about."""

_SHOWN = 8  # issues of one error


@dataclass(frozen=True)
class Issue:
    """One kind of trouble in one split.

    Attributes:
        check: which rule, e.g. "boxes-in-pixels".
        action: what every command that reads the split does with the rows: it keeps, clips or drops them, or stops.
        split: where; "" = between splits.
        message: what is wrong and what to do about it, one line.
        count: how many rows, keyframes or videos have it.
        examples: the first of them, each with its file and line.
        fix: changes of the spec that put it right, as `section.key=value`; empty = none is known.
    """

    check: str
    action: Action
    split: str
    message: str
    count: int
    examples: tuple[str, ...] = ()
    fix: tuple[str, ...] = ()

    @property
    def severity(self) -> Severity:
        """Whether it stops the training; a warning may be meant."""
        return "error" if self.action == "error" else "warning"

    def json(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self) | {"severity": self.severity}

    def line(self) -> str:
        """Everything in one line, for commands that go on or stop at once."""
        does = {"clip": "; clipped", "drop": "; left out"}.get(self.action, "")
        where = f" ({self.examples[0]})" if self.examples else ""
        return f"{self.split}: {self.message}{does}{where}"


def refuse(issues: Sequence[Issue]) -> None:
    """Raise one AvadetError for the issues that are errors, if there are any; one line each."""
    errors = [issue for issue in issues if issue.severity == "error"]
    if errors:
        more = [f"and {len(errors) - _SHOWN} more kinds of errors"] if len(errors) > _SHOWN else []
        way_out = "`avadet data check` shows all of it, `avadet data repair` writes the data set without what is wrong"
        raise AvadetError("\n".join([*(issue.line() for issue in errors[:_SHOWN]), *more, way_out]))


@dataclass(frozen=True)
class LinedTable:
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


class Ledger:
    """Gathers the issues of one split, and which rows each of them is about.

    Attributes:
        split: its name.
        examples: how many of each kind are shown.
        issues: so far.
        rows: of each file the rows that each rule is about: (file, rule) -> their numbers.
        id_shift: what to add to every class id, if the ids are one off; 0 = they are not.
        has_sizes: whether boxes look like x, y, width, height.
    """

    def __init__(self, split: str, examples: int = 3) -> None:
        """Start with no issues."""
        self.split = split
        self.examples = examples
        self.issues: list[Issue] = []
        self.rows: dict[tuple[Path | None, str], IntArray] = {}
        self.id_shift = 0
        self.has_sizes = False

    def add(
        self,
        check: str,
        action: Action,
        message: str,
        examples: Sequence[str] = (),
        count: int | None = None,
        fix: Sequence[str] = (),
    ) -> None:
        """Note one kind of trouble; without `count` every example is one case."""
        number = len(examples) if count is None else count
        shown = tuple(examples[: self.examples])
        self.issues.append(Issue(check, action, self.split, message, number, shown, tuple(fix)))

    def add_rows(
        self,
        check: str,
        action: Action,
        message: str,
        rows: BoolArray | IntArray,
        of: LinedTable,
        fix: Sequence[str] = (),
    ) -> None:
        """Note rows of a file, if there are any.

        Args:
            check: which rule.
            action: what becomes of them.
            message: with `{rows}` ("1 row has", "3 rows have") and `{total}` to be filled in.
            rows: which rows; bool (n,) or their numbers.
            of: the file they stand in.
            fix: changes of the spec that put it right.
        """
        numbers = np.flatnonzero(rows) if rows.dtype == np.bool_ else np.asarray(rows, np.int64)
        if len(numbers):
            have = "1 row has" if len(numbers) == 1 else f"{len(numbers):,} rows have"
            text = message.replace("{rows}", have).replace("{total}", f"{len(of.table):,}")
            shown = [of.example(int(row)) for row in numbers[: self.examples]]
            self.rows[of.file, check] = numbers
            self.add(check, action, text, shown, len(numbers), fix)

    def notes(self) -> list[str]:
        """What becomes of what, one line an issue."""
        return [issue.line() for issue in self.issues]

    def chosen(self, of: LinedTable, wanted: Callable[[Issue], bool]) -> BoolArray:
        """Rows of a file that the issues are about for which `wanted` holds, bool (n,)."""
        mask = np.zeros(len(of.table), np.bool_)
        for issue in self.issues:
            if wanted(issue) and (of.file, issue.check) in self.rows:
                mask[self.rows[of.file, issue.check]] = True
        return mask


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
    """Rows that are a person, not just the name of a keyframe; bool (n,)."""
    return np.asarray((table.class_ids > NO_CLASS) | (np.nan_to_num(table.boxes_norm, nan=1.0) != 0).any(axis=1))
