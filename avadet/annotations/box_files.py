"""Files of person boxes in place of a detector: what their columns are, and which boxes are of use.

A row is `video_id,seconds[,x1,y1,x2,y2[,action_id[,last]]]`, without header. `avadet detect-persons` writes such files,
and ground truth and detections of AVA are such files too, so that column 8 may be a score or a person's id. The rules
for it and for boxes that make no sense are described in data_specs/annotation_files.md; every command that takes boxes
reads them here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avadet.annotations.ava import NO_CLASS, AvaTable
from avadet.annotations.csv_rows import Columns, LastColumn, RowForm, open_text, read_rows
from avadet.annotations.rules.boxes import JudgedBoxes, counted, refuse_pixels
from avadet.errors import AvadetError
from avadet.keyframes import join_keyframes
from avadet.types import NORM_ROUNDING, Float64Array

BOX_ROWS = RowForm(widths=(2, 6, 7, 8), blank_action=True)
"""Rows of a file of person boxes: only a keyframe; a box; its action, which may be blank; its score or person's id."""

_SAME_SIDE = 1e-6  # files write six decimals
ZERO_OR_ONE = "column 8 has nothing but whole 0 and 1"
"""What may be scores or ids of persons."""

_ALL_IDS = "column 8 holds ids of persons, no scores: every box counts as certain"
_IDS_0_1 = f"{ZERO_OR_ONE}, taken for ids of persons: every box counts as certain; write scores with a point (1.0)"
_SCORES_0_1 = f"{ZERO_OR_ONE}, which boxes of one keyframe share: taken for scores; leave the column away if it is ids"


def read_boxes(path: str | Path) -> AvaTable:
    """Read person boxes to be used in place of a detector, as far as they are of use.

    A person with several actions has several rows with the same box, as in AVA. Rows of two columns, and rows whose box
    is 0, 0, 0, 0, name a keyframe where nobody is; so do, from here on, rows whose box is left out: that is no number,
    has its corners swapped, no area, or nothing inside the frame. Boxes that reach out of the frame are cut.

    Returns:
        the rows; `scores` is None where no row has a score. `notes` says what column 8 was taken for where that is not
        plain, and counts what was left out or cut.

    Raises:
        AvadetError: if the file is unreadable, rows are malformed, boxes are in pixels, scores not from 0 to 1, or no
            box is of use, with line numbers.
    """
    return usable_boxes(path, read_box_rows(path))


def usable_boxes(path: str | Path, table: AvaTable) -> AvaTable:
    """Rows of `read_box_rows` as `read_boxes` gives them, row by row the same ones."""
    boxes = np.asarray(table.boxes_norm, np.float64)
    refuse_pixels(path, boxes)
    judged = JudgedBoxes(boxes)
    useless = judged.useless
    scores = table.scores
    if scores is not None:
        useless = useless | (np.isnan(scores) & ~judged.nobody)
        scores = _checked_scores(path, np.where(useless, 0.0, scores))
    notes = (*table.notes, *judged.notes(), *_score_notes(table, judged))
    if useless.any() and (useless | judged.nobody).all():
        raise AvadetError(f"{path}: no row has a box of use: {'; '.join(notes)}")
    return AvaTable(
        table.video_ids,
        table.times_s,
        np.where(useless[:, None], 0.0, np.clip(boxes, 0, 1)),
        np.where(useless, NO_CLASS, table.class_ids),
        scores,
        table.person_ids,
        notes,
    )


def read_box_rows(path: str | Path) -> AvaTable:
    """Read person boxes as they stand, for evaluators, which have rules for what makes no sense.

    Returns:
        the rows, with `scores` or `person_ids` by what column 8 is; both are None where there is none.

    Raises:
        AvadetError: if the file is unreadable or rows are malformed, with line numbers.
    """
    rows = read_rows(path, BOX_ROWS)
    kind, doubtful = last_column(path, rows)
    columns = (rows.video_ids, rows.times_s, rows.boxes, rows.class_ids)
    if kind == "person_id":
        ids = np.where(rows.has_last, rows.last, -1).astype(np.int64)
        note = _IDS_0_1 if doubtful else _ALL_IDS
        return AvaTable(*columns, person_ids=ids, notes=(note,) if (rows.last != 1).any() else ())
    scores = rows.last if kind == "score" else None
    return AvaTable(*columns, scores=scores, notes=(_SCORES_0_1,) if doubtful else ())


def last_column(path: str | Path, rows: Columns) -> tuple[LastColumn | None, bool]:
    """What the eighth column of a file is, by what stands in it.

    Whole numbers that tell the boxes of every keyframe apart are ids of persons, unless they are all 0 or 1 and written
    with a point; so are zeros alone, as scores they would say nothing. Everything else is scores.

    Args:
        path: the file, which is read again if it has nothing but 0 and 1.
        rows: its rows.

    Returns:
        "score", "person_id", or None without such a column; and whether it might as well be the other.
    """
    values = rows.last[rows.has_last]
    if not len(values):
        return None, False
    if not (np.isfinite(values).all() and (values == np.rint(values)).all()):
        return "score", False
    shared = _several_share(rows)
    if values.max() > 1 or values.min() < 0:
        return "score" if shared else "person_id", False
    if _written_with_point(Path(path)):
        return "score", False
    return "score" if shared and values.any() else "person_id", bool((values != 1).any())


def _several_share(rows: Columns) -> bool:
    """Whether two boxes of a keyframe have the same number in column 8; negative ones tell nobody apart."""
    chosen = np.flatnonzero(rows.has_last & (rows.last >= 0))
    keyframes = join_keyframes([(rows.video_ids, rows.times_s)]).numbers[0][chosen]
    boxes, last = rows.boxes[chosen], rows.last[chosen]
    order = np.lexsort((*boxes.T, last, keyframes))
    same = (np.diff(keyframes[order]) == 0) & (np.diff(last[order]) == 0)
    return bool((np.abs(np.diff(boxes[order], axis=0))[same] > _SAME_SIDE).any())


def _written_with_point(path: Path) -> bool:
    """Whether a cell of the eighth column is more than digits."""
    with open_text(path) as file:
        cells = (line.rstrip("\r\n").rpartition(",")[2] for line in file if line.count(",") >= 7)
        return any(not cell.strip().lstrip("+-").isdecimal() for cell in cells)


def _score_notes(table: AvaTable, judged: JudgedBoxes) -> list[str]:
    if table.scores is None:
        return []
    mask = np.isnan(table.scores) & ~judged.nobody & ~judged.useless
    return [counted(mask, "a score that is no number; left out")] if mask.any() else []


def _checked_scores(path: str | Path, scores: NDArray[np.floating]) -> Float64Array:
    """Scores with rounding cut off.

    Raises:
        AvadetError: for scores outside 0-1.
    """
    wrong = np.flatnonzero(np.abs(scores - 0.5) > 0.5 + NORM_ROUNDING)
    if len(wrong):
        way_out = "; divide percent by 100" if 1 < scores.max() <= 100 and scores.min() >= 0 else ""
        if (scores == np.rint(scores)).all():
            way_out += "; leave the column away if it holds ids that persons of one keyframe share"
        raise AvadetError(
            f"{path}:{wrong[0] + 1}: column 8 (score) is {scores[wrong[0]]:g}, expected a number from 0 to 1{way_out}"
        )
    return np.asarray(np.clip(scores, 0, 1), np.float64)
