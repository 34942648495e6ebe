"""Files of person boxes in place of a detector: what their columns are, and which boxes are of use.

A row is `video_id,seconds[,x1,y1,x2,y2[,action_id[,last]]]`. `avadet detect-persons` writes such files, and ground
truth and detections of AVA are such files too, so that column 8 may be a score or a person's id. The rules for it and
for boxes that make no sense are described in data_specs/annotation_files.md; every command that takes boxes reads them
here. mmaction2's proposals, a pickle of {"VIDEO,SECONDS": float (n, 4 or 5) xyxy and score}, are read as well.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avadet.annotations.ava import NO_CLASS, AvaTable, where_of
from avadet.annotations.csv_rows import Columns, RowForm, read_rows
from avadet.annotations.csv_text import LastColumn, cells_of, dialect_of, number_of, open_text, told_ids
from avadet.annotations.rules.boxes import JudgedBoxes, counted, refuse_pixels
from avadet.errors import AvadetError
from avadet.keyframes import join_keyframes
from avadet.types import NORM_ROUNDING, Float64Array

BOX_SUFFIXES = (".csv", ".gz", ".pkl", ".pickle")
"""Endings of files of boxes."""

BOX_ROWS = RowForm(widths=(2, 6, 7, 8), last="score or person_id", blank_action=True)
"""Rows of a file of person boxes: only a keyframe; a box; its action, which may be blank; its score or person's id."""

_PICKLES = (".pkl", ".pickle")
_PROPOSALS = "a dict of 'VIDEO,SECONDS' to boxes, as mmaction2's proposals are"
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
    refuse_pixels(path, boxes, table.lines)
    judged = JudgedBoxes(boxes, table.lines)
    useless = judged.useless
    scores = table.scores
    if scores is not None:
        useless = useless | (np.isnan(scores) & ~judged.no_box)
        scores = _checked_scores(path, np.where(useless, 0.0, scores), table)
    notes = (*table.notes, *judged.notes(), *_score_notes(table, judged))
    if useless.any() and (useless | judged.no_box).all():
        raise AvadetError(f"{path}: no row has a box of use: {'; '.join(notes)}")
    return AvaTable(
        table.video_ids,
        table.times_s,
        np.where(useless[:, None], 0.0, np.clip(boxes, 0, 1)),
        np.where(useless, NO_CLASS, table.class_ids),
        scores,
        table.person_ids,
        notes,
        table.lines,
    )


def read_box_rows(path: str | Path) -> AvaTable:
    """Read person boxes as they stand, for evaluators, which have rules for what makes no sense.

    Returns:
        the rows, with `scores` or `person_ids` by what column 8 is; both are None where there is none.

    Raises:
        AvadetError: if the file is unreadable or rows are malformed, with line numbers.
    """
    if Path(path).suffix in _PICKLES:
        return _read_proposals(Path(path))
    rows = read_rows(path, BOX_ROWS)
    kind, doubtful = last_column(path, rows)
    columns = (rows.video_ids, rows.times_s, rows.boxes, rows.class_ids)
    if kind == "person_id":
        ids = np.where(rows.has_last, rows.last, -1).astype(np.int64)
        notes = [_IDS_0_1 if doubtful else _ALL_IDS] if (rows.last != 1).any() else []
        notes += [told_ids(rows.text_ids)] if rows.text_ids else []
        return AvaTable(*columns, person_ids=ids, notes=tuple(notes), lines=rows.lines)
    scores = rows.last if kind == "score" else None
    return AvaTable(*columns, scores=scores, notes=(_SCORES_0_1,) if doubtful else (), lines=rows.lines)


def _read_proposals(path: Path) -> AvaTable:
    """Proposals of a pickle, which is read without running what is in it; a keyframe without boxes is a row of zeros.

    Raises:
        AvadetError: if it is something else; the message names the entry.
    """
    from avadet.plain_pickle import read_plain_pickle

    content = read_plain_pickle(path)
    if not isinstance(content, dict):
        raise AvadetError(f"{path}: expected {_PROPOSALS}, got a {type(content).__name__}")
    keys, arrays = [], []
    for video_id, time_s, value in _proposals_of(path, content):
        try:
            array = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            array = np.zeros(0)
        if array.size == 0 and array.ndim <= 2 and isinstance(value, np.ndarray | list | tuple):
            array = np.zeros((0, 4))
        if array.ndim != 2 or array.shape[1] not in (4, 5):
            raise AvadetError(
                f"{path}: '{video_id},{time_s:g}' must be (n, 4) x1,y1,x2,y2 or (n, 5) with scores, got "
                f"{getattr(value, 'shape', type(value).__name__)}"
            )
        keys.append((video_id, time_s))
        arrays.append(array if len(array) else np.array([[0.0, 0, 0, 0, 1]]))
    scored = any(array.shape[1] == 5 and array[:, :4].any() for array in arrays)
    rows = np.concatenate([np.zeros((0, 5)), *(np.c_[one, np.ones(len(one))][:, :5] for one in arrays)])
    counts = [len(array) for array in arrays]
    names = np.empty(len(keys), dtype=object)
    names[:] = [video_id for video_id, _ in keys]
    return AvaTable(
        np.repeat(names, counts),
        np.repeat(np.array([time_s for _, time_s in keys], np.float64), counts),
        rows[:, :4],
        np.full(len(rows), NO_CLASS, np.int64),
        scores=rows[:, 4] if scored else None,
        lines=np.zeros(len(rows), np.int64),
    )


def _proposals_of(path: Path, content: dict[Any, Any]) -> Iterator[tuple[str, float, Any]]:
    """(video, seconds, boxes) of each keyframe; keys are "VIDEO,SECONDS", (VIDEO, SECONDS), or VIDEO of a dict."""
    for key, value in content.items():
        if isinstance(value, dict):
            pairs = [(key, second, boxes) for second, boxes in value.items()]
        else:
            video, _, second = key.rpartition(",") if isinstance(key, str) else ("", "", "")
            video, second = key if isinstance(key, tuple) and len(key) == 2 else (video, second)
            pairs = [(video, second, value)]
        for video, second, boxes in pairs:
            time_s = number_of(str(second))
            if not isinstance(video, str) or not video or not np.isfinite(time_s):
                raise AvadetError(f"{path}: expected {_PROPOSALS}, got the key {reprlib.repr((video, second))}")
            yield video, time_s, boxes


def last_column(path: str | Path, rows: Columns) -> tuple[LastColumn | None, bool]:
    """What the eighth column of a file is, by what stands in it.

    Whole numbers that tell the boxes of every keyframe apart are ids of persons, unless they are all 0 or 1 and written
    with a point; so are zeros alone, as scores they would say nothing. Everything else is scores.

    Args:
        path: the file, which is read again if it has nothing but 0 and 1.
        rows: its rows.

    Returns:
        "score", "person_id", or None without such a column; and whether it might as well be the other. Text is ids, and
        a header that names the column is believed.
    """
    values = rows.last[rows.has_last]
    if not len(values):
        return None, False
    last = dialect_of(Path(path)).last
    if not (np.isfinite(values).all() and (values == np.rint(values)).all()):
        return "score", False
    if rows.text_ids or last is not None:
        return "person_id" if rows.text_ids else last, False
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
        cells = (cells[7] for _, cells in cells_of(file, dialect_of(path)) if len(cells) > 7)
        return any(not cell.strip().lstrip("+-").isdecimal() for cell in cells)


def _score_notes(table: AvaTable, judged: JudgedBoxes) -> list[str]:
    if table.scores is None:
        return []
    mask = np.isnan(table.scores) & ~judged.no_box & ~judged.useless
    return [counted(mask, "a score that is no number; left out", lines=table.lines)] if mask.any() else []


def _checked_scores(path: str | Path, scores: NDArray[np.floating], table: AvaTable) -> Float64Array:
    """Scores with rounding cut off.

    Raises:
        AvadetError: for scores outside 0-1.
    """
    wrong = np.flatnonzero(np.abs(scores - 0.5) > 0.5 + NORM_ROUNDING)
    if len(wrong):
        way_out = "; divide percent by 100" if 1 < scores.max() <= 100 and scores.min() >= 0 else ""
        if (scores == np.rint(scores)).all():
            way_out += "; leave the column away if it holds ids that persons of one keyframe share"
        where = where_of(wrong[0], table.lines)
        raise AvadetError(
            f"{path}{where}: column 8 (score) is {scores[wrong[0]]:g}, expected a number from 0 to 1{way_out}"
        )
    return np.asarray(np.clip(scores, 0, 1), np.float64)
