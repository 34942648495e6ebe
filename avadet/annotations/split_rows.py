"""The files of one split as they stand: nothing is left out or put right. The rules judge them, `splits` uses them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from avadet.annotations.ava import TRUE_ROWS, AvaTable, Keyframes, read_excluded, read_ground_truth
from avadet.annotations.box_files import read_box_rows
from avadet.annotations.csv_rows import RowForm
from avadet.annotations.rules.issues import LinedTable, number_names
from avadet.annotations.specs import DataSet, SplitSpec
from avadet.annotations.tubes import TubeRows, read_tube_rows, tube_spec_of
from avadet.annotations.video_lists import read_video_list
from avadet.errors import AvadetError
from avadet.types import IntArray

NO_KEYFRAMES = Keyframes(np.zeros(0, object), np.zeros(0))
_EMPTY = AvaTable(np.zeros(0, object), np.zeros(0), np.zeros((0, 4)), np.zeros(0, np.int64))
_ANY_BOX = replace(TRUE_ROWS, boxes="any")

Unreadable = Callable[[str, AvadetError], None]
"""Called with a file that cannot be read, "annotations", "excluded" or "proposals", and why."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class SplitRows:
    """A split as its files have it.

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
        proposals: boxes of persons; None = there are none.
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

    @property
    def annotated(self) -> LinedTable:
        """The annotations with their lines."""
        return LinedTable(self.file, self.table, self.lines)

    @property
    def proposed(self) -> LinedTable | None:
        """The proposals with their lines."""
        if self.proposals is None:
            return None
        return LinedTable(self.proposals_file, self.proposals, np.asarray(self.proposals.lines, np.int64))

    def where(self, row: int) -> str:
        """A row of the annotations as "FILE:LINE"."""
        line = int(self.lines[row])
        return f"{self.file}:{line}" if line else str(self.file)

    def first_rows(self) -> dict[str, int]:
        """The first row of each annotated video."""
        codes, names = number_names(self.table.video_ids)
        _, rows = np.unique(codes, return_index=True)
        return dict(zip(names, rows.tolist()))


def _raise(what: str, error: AvadetError) -> None:
    raise error


def read_files(data: DataSet, name: str, unreadable: Unreadable = _raise) -> SplitRows | None:
    """Read the files of a split that joins none.

    Args:
        data: the data set.
        name: its split.
        unreadable: called with what cannot be read, by default raises it; exclusions and proposals are left out then.

    Returns:
        the rows; None where the annotations cannot be read.

    Raises:
        AvadetError: as `unreadable` has it.
    """
    spec = data.split(name)
    try:
        rows = read_split_rows(data, spec, _ANY_BOX)
        video_ids = tuple(split_video_ids(data, spec, rows))
    except AvadetError as error:
        unreadable("annotations", error)
        return None
    files: Mapping[str, Path | None] = {
        key: None if (file := getattr(spec, key)) is None else Path(os.path.normpath(data.path(file)))
        for key in ("annotations", "videos", "excluded", "proposals")
    }

    def read(what: str, reader: Callable[[Path], _T], otherwise: _T) -> _T:
        file = files[what]
        try:
            return otherwise if file is None else reader(file)
        except AvadetError as error:
            unreadable(what, error)
            return otherwise

    no_boxes: AvaTable | None = None
    return SplitRows(
        data=data,
        name=name,
        number=spec.number,
        file=files["annotations"],
        table=rows.table,
        lines=rows.lines,
        video_ids=video_ids,
        list_file=files["videos"],
        excluded=read("excluded", read_excluded, NO_KEYFRAMES),
        excluded_file=files["excluded"],
        proposals=read("proposals", read_box_rows, no_boxes),
        proposals_file=files["proposals"],
    )


def read_split_rows(data: DataSet, split: SplitSpec, form: RowForm | None = None) -> TubeRows:
    """Read a split's annotations as rows, whatever their form; none where they are not public.

    Args:
        data: the data set.
        split: a part of it.
        form: what rows of an AVA CSV must look like, None = ground truth.

    Raises:
        AvadetError: if the file is missing or malformed.
    """
    if split.annotations is None:
        return TubeRows(_EMPTY, np.zeros(0, np.int64), None)
    path = data.path(split.annotations)
    if data.spec.tubes is None:
        table = read_ground_truth(path, form)
        return TubeRows(table, np.asarray(table.lines, np.int64), None)
    spec = tube_spec_of(data.name, data.spec)
    rows = read_tube_rows(path, data.labels, spec, split.part, split.number)
    return rows if split.videos is None else rows.of_videos(read_video_list(data.path(split.videos)))


def split_video_ids(data: DataSet, split: SplitSpec, rows: TubeRows) -> list[str]:
    """The videos of a split, sorted: those of its list, of the tubes' own list, or else those annotated.

    Raises:
        AvadetError: if the list cannot be read.
    """
    if split.videos is not None:
        return read_video_list(data.path(split.videos))
    return sorted({str(name) for name in rows.table.video_ids}) if rows.video_ids is None else rows.video_ids
