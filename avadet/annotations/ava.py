"""AVA's CSV files: detections, ground truth, boxes of people, excluded keyframes.

A row is `video_id,seconds,x1,y1,x2,y2,action_id,last` without header; boxes are 0-1 of the frame, seconds are whole
in AVA ("0902") and may be decimal elsewhere; `last` is the score of a detection and the person's id of ground truth.
The forms are described in data_specs/ava_v2.2/README.md.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avadet.annotations.csv_rows import Columns, RowForm, read_rows
from avadet.errors import AvadetError
from avadet.files import whole_file
from avadet.types import ActionDetections, BoolArray, Float64Array, IntArray, LabelMap

NO_CLASS = 0
"""Class id of a row that names a keyframe, and perhaps a box, but no action."""

TRUE_ROWS = RowForm(widths=(2, 6, 7, 8), last="person_id", boxes="ordered", blank_action=True, blank_id=-1)
"""Rows of a ground truth."""

_SCORE_DECIMALS = 6
_BOX_DECIMALS = 6
_TIME_DECIMALS = 6


@dataclass(frozen=True)
class AvaTable:
    """Rows of an AVA-style file as columns: one row a box and action, in file order.

    Attributes:
        video_ids: object or str (n,).
        times_s: float64 (n,) seconds; which of them are one keyframe says `avadet.keyframes`.
        boxes_norm: float (n, 4) xyxy, 0-1 of the frame; not checked (evaluators take what the file says).
        class_ids: int64 (n,), ids of the label map; 0 = the row only names a keyframe or a box; -1 likewise.
        scores: float (n,), or None where the file has none.
        person_ids: int64 (n,), -1 = not known; None where the file has none.
        notes: what its reader decided or left out, one line each.
    """

    video_ids: NDArray[Any]
    times_s: Float64Array
    boxes_norm: NDArray[np.floating]
    class_ids: IntArray
    scores: NDArray[np.floating] | None = None
    person_ids: IntArray | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that the columns are of one length."""
        count = len(self.video_ids)
        shapes = {"times_s": (count,), "boxes_norm": (count, 4), "class_ids": (count,)}
        shapes |= {name: (count,) for name in ("scores", "person_ids") if getattr(self, name) is not None}
        for name, shape in shapes.items():
            if np.shape(getattr(self, name)) != shape:
                raise AvadetError(f"{name} must be {shape} like video_ids, got {np.shape(getattr(self, name))}")

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.video_ids)

    def rows(self, keep: BoolArray | IntArray) -> AvaTable:
        """Only these rows, by number in any order, or as a mask (n,)."""
        return AvaTable(
            self.video_ids[keep],
            self.times_s[keep],
            self.boxes_norm[keep],
            self.class_ids[keep],
            scores=None if self.scores is None else self.scores[keep],
            person_ids=None if self.person_ids is None else self.person_ids[keep],
            notes=self.notes,
        )


@dataclass(frozen=True)
class Keyframes:
    """A list of keyframes.

    Attributes:
        video_ids: object or str (n,).
        times_s: float64 (n,) seconds.
    """

    video_ids: NDArray[Any]
    times_s: Float64Array


def read_detections(path: str | Path, form: RowForm | None = None) -> AvaTable:
    """Read detections: 8 columns; 7 mean score 1; 2 name a keyframe and change nothing. Gzip is read as it is.

    Boxes outside 0-1, inverted boxes and NaN are kept: the reference evaluators have rules for them.

    Args:
        path: the file.
        form: what rows must look like, for stricter readers.

    Raises:
        AvadetError: if the file is unreadable or rows are malformed (file, line, column, value; up to 20).
    """
    rows = read_rows(path, form or RowForm(widths=(2, 7, 8)))
    return AvaTable(rows.video_ids, rows.times_s, rows.boxes, rows.class_ids, scores=rows.last)


def read_ground_truth(path: str | Path, form: RowForm | None = None) -> AvaTable:
    """Read ground truth: 7 columns, 8 with a person id, 2 for a keyframe without boxes. Gzip is read as it is.

    A person without an action has 6 columns, or a blank action, or -1 or 0; the first two are read as -1.

    Args:
        path: the file.
        form: what rows must look like, for stricter readers.

    Raises:
        AvadetError: if the file is unreadable or rows are malformed or boxes inverted (up to 20).
    """
    rows = read_rows(path, form or TRUE_ROWS)
    return AvaTable(rows.video_ids, rows.times_s, rows.boxes, rows.class_ids, person_ids=_person_ids(rows))


def _person_ids(rows: Columns) -> IntArray | None:
    """The eighth column, if the file has one and all of it is whole numbers; -1 in rows without it."""
    if rows.widest < 8 or not np.isfinite(rows.last).all():
        return None
    ids = np.where(rows.has_last, rows.last, -1).astype(np.int64)
    return ids if (ids == rows.last)[rows.has_last].all() else None


def read_excluded(path: str | Path) -> Keyframes:
    """Read keyframes that are not to be scored: rows video_id,seconds.

    Raises:
        AvadetError: if the file is unreadable or rows are malformed (up to 20).
    """
    rows = read_rows(path, RowForm(widths=(2,)))
    return Keyframes(rows.video_ids, rows.times_s)


def format_time(time_s: float) -> str:
    """Seconds as the files write them: "902" for whole seconds, else rounded to 6 decimals ("12.5", "0.666667")."""
    return f"{time_s:z.{_TIME_DECIMALS}f}".rstrip("0").rstrip(".")


def csv_line(cells: Iterable[object]) -> str:
    """One CSV row without line end; cells with commas, quotes or line breaks are quoted."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)  # quotes the characters of its line end
    return text.getvalue().removesuffix("\r\n")


def box_cells(box_norm: NDArray[np.floating]) -> list[str]:
    """A box (4,) as cells with 6 decimals at most."""
    return [f"{value:.{_BOX_DECIMALS}f}".rstrip("0").rstrip(".") for value in box_norm.tolist()]


def detection_rows(detections: ActionDetections, labels: LabelMap, threshold: float = 0.0) -> list[str]:
    """The rows of one keyframe: people in order, each one's classes in the label map's order.

    Args:
        detections: what was found.
        labels: gives the class ids; as many classes as `detections.scores` has columns.
        threshold: least score to be written, 0-1.

    Returns:
        rows without line ends: video_id,seconds,x1,y1,x2,y2,action_id,score.

    Raises:
        AvadetError: if the numbers of classes differ.
    """
    if len(detections) and detections.scores.shape[1] != len(labels):
        raise AvadetError(f"scores have {detections.scores.shape[1]} classes, the label map {len(labels)}")
    time = format_time(detections.key.time_s)
    starts = [csv_line([detections.key.video_id, time, *box_cells(box)]) for box in detections.boxes_norm]
    people, classes = np.nonzero(detections.scores >= threshold)
    scores = detections.scores[people, classes].tolist()
    cells = zip(people.tolist(), classes.tolist(), scores)
    return [f"{starts[person]},{labels.ids[index]},{score:.{_SCORE_DECIMALS}f}" for person, index, score in cells]


def write_detections(
    path: str | Path, detections: Iterable[ActionDetections], labels: LabelMap, threshold: float = 0.0
) -> None:
    """Write an AVA detection file, whole or not at all.

    Args:
        path: the file to write.
        detections: keyframe by keyframe.
        labels: gives the class ids.
        threshold: least score to be written, 0-1.

    Raises:
        AvadetError: if the file cannot be written or classes do not match the label map.
    """
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for keyframe in detections:
            file.writelines(f"{row}\n" for row in detection_rows(keyframe, labels, threshold))


def write_table(path: str | Path, table: AvaTable) -> None:
    """Write rows as an AVA file that reads back as the same numbers, whole or not at all.

    Column 8 is the score, else the person's id, else left away; a row of class 0 keeps its box. Times have 6 decimals.

    Args:
        path: the file to write.
        table: boxes finite.
    """
    boxes, count = np.asarray(table.boxes_norm, np.float64), len(table)
    new = np.ones(count, np.bool_)  # whether a row is of another box than the row before
    new[1:] = (table.video_ids[1:] != table.video_ids[:-1]) | (np.diff(table.times_s) != 0)
    new[1:] |= (np.diff(boxes, axis=0) != 0).any(axis=1)
    starts = np.append(np.flatnonzero(new), count)
    last = np.asarray(table.scores, np.float64) if table.scores is not None else table.person_ids
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for start, end in pairwise(starts.tolist()):
            box = [repr(value) for value in boxes[start].tolist()]
            head = csv_line([table.video_ids[start], format_time(float(table.times_s[start])), *box])
            rows = [f"{head},{class_id}" for class_id in table.class_ids[start:end].tolist()]
            if last is not None:
                rows = [f"{row},{value!r}" for row, value in zip(rows, last[start:end].tolist())]
            file.write("\n".join(rows) + "\n")
