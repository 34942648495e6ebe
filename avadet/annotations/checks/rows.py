"""What may be wrong with the rows of the annotations: classes, people, moments, and rows that stand there twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from avadet.annotations.ava import NO_CLASS, AvaTable, format_time
from avadet.annotations.checks.findings import (
    Reporter,
    Rowed,
    SplitRows,
    box_codes,
    has_box,
    keyframe_codes,
    number_alike,
)
from avadet.annotations.specs import KeyframesSpec
from avadet.keyframes import tolerance_s
from avadet.labels import DEFAULT_LABEL_MAP, read_label_map
from avadet.types import BoolArray, IntArray, LabelMap

_LISTED = 8


def check_classes(reporter: Reporter, rowed: Rowed, labels: LabelMap) -> None:
    """Look for class ids that the label map does not have, and people without one."""
    class_ids = rowed.table.class_ids
    people = has_box(rowed.table)
    unlabelled = people & (class_ids == NO_CLASS)
    unknown = (class_ids != NO_CLASS) & ~np.isin(class_ids, labels.ids)
    used = set(np.unique(class_ids[people]).tolist())
    hint = _id_hint(used, labels)
    if hint and unlabelled.any():
        unknown |= unlabelled
        unlabelled[:] = False
    reporter.add_rows("class-unknown", f"{{rows}} a class id that is not in the label map{hint}", unknown, rowed)
    reporter.add_rows(
        "class-missing",
        "{rows} a person without an action (class id 0); or do your ids count from 0?",
        unlabelled,
        rowed,
        warn=True,
    )


def check_examples(reporter: Reporter, tables: Sequence[AvaTable], labels: LabelMap) -> None:
    """Look for evaluated classes that no row of a split has."""
    used = {int(one) for table in tables for one in np.unique(table.class_ids[has_box(table)])}
    if not used or _id_hint(used, labels):
        return
    without = [f"{i} {name}" for i, name, counts in zip(labels.ids, labels.names, labels.evaluated) if counts]
    without = [text for text in without if int(text.partition(" ")[0]) not in used]
    if not without:
        return
    evaluated = sum(labels.evaluated)
    more = ""
    if len(labels) == 80 and evaluated == 60 and max(used, default=0) in (59, 60):
        more = "; no id is above 60: were AVA's 60 evaluated classes renumbered? their ids have gaps up to 80"
    reporter.add(
        "class-without-example",
        f"{len(without)} of {evaluated} evaluated classes {'has' if len(without) == 1 else 'have'} no example{more}",
        [", ".join(without[:_LISTED]) + (", ..." if len(without) > _LISTED else "")],
        len(without),
        warn=True,
    )


def _id_hint(used: set[int], labels: LabelMap) -> str:
    """What ids that do not fit may come from."""
    low, high = min(labels.ids), max(labels.ids)
    if used <= set(labels.ids):
        return ""
    if NO_CLASS in used and low == 1 and max(used) == high - 1:
        return f"; they count from 0 to {high - 1}, the map from 1 to {high}: add 1 to every id"
    if low not in used and min(used) == low + 1 and max(used) == high + 1:
        return f"; they are one too high (the map has {low} to {high}): take 1 off every id"
    if used <= {NO_CLASS, *labels.ids}:
        return ""
    foreign = used - {NO_CLASS, *labels.ids}
    if len(labels) == 60 and foreign <= set(read_label_map(DEFAULT_LABEL_MAP).ids):
        return f"; the map has AVA's 60 evaluated classes, the files all 80: use labels: {DEFAULT_LABEL_MAP}"
    known = f"{low} to {high}" if len(labels) == high - low + 1 else f"{len(labels)} ids from {low} to {high}"
    return f"; it has {known}: is it the right one?"


def check_repeats(reporter: Reporter, rowed: Rowed, labels: LabelMap) -> None:
    """Look for rows that stand there twice, people in two places at once, and people with too many actions."""
    table = rowed.table
    rows = np.flatnonzero(has_box(table))
    keyframe, box = keyframe_codes([table])[0][rows], box_codes(table.boxes_norm[rows])
    person = None if table.person_ids is None else table.person_ids[rows]
    who = np.zeros(len(rows), np.int64) if person is None else person
    repeats = _later_of_alike(number_alike([keyframe, box, table.class_ids[rows], who]))
    reporter.add_rows(
        "rows-twice",
        "{rows} a duplicate: the same person, box and action; only one of them can match",
        rows[repeats],
        rowed,
    )
    if person is not None:
        _check_two_places(reporter, rowed, rows, number_alike([keyframe, who]), box)
    if labels.exclusive:
        both = number_alike([keyframe, box, who])
        first = _first_of_alike(both)
        several = table.class_ids[rows] != table.class_ids[rows[first]]
        reporter.add_rows(
            "actions-several",
            "{rows} a second action of a person, but in this label map a person has exactly one (exclusive: true)",
            rows[several],
            rowed,
        )


def _check_two_places(reporter: Reporter, rowed: Rowed, rows: IntArray, person: IntArray, box: IntArray) -> None:
    ids = np.zeros(0, np.int64) if rowed.table.person_ids is None else rowed.table.person_ids[rows]
    elsewhere = (ids >= 0) & (box != box[_first_of_alike(person)])  # -1 is nobody in particular
    hint = "; every row has the same id: leave column 8 out" if len(np.unique(ids)) == 1 else ""
    reporter.add_rows(
        "person-in-two-places",
        f"{{rows}} a second box of a person at one keyframe: ids must tell people apart{hint}",
        rows[elsewhere],
        rowed,
    )


def _first_of_alike(codes: IntArray) -> IntArray:
    """For each row the first one with its number, int64 (n,)."""
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    return np.asarray(first[inverse], np.int64)


def _later_of_alike(codes: IntArray) -> BoolArray:
    """Rows whose number a row before has, bool (n,)."""
    return np.asarray(_first_of_alike(codes) != np.arange(len(codes)))


def check_moments(reporter: Reporter, rowed: Rowed, spec: KeyframesSpec, fps: float | None = None) -> None:
    """Look for keyframes where the data set has none, by the rule for what is the same keyframe."""
    near_s = tolerance_s(fps)
    times = rowed.table.times_s
    low = -np.inf if spec.first_s is None else spec.first_s
    high = np.inf if spec.last_s is None else spec.last_s
    outside = (times <= low - near_s) | (times >= high + near_s)
    bounds = " ".join(
        [
            *([] if spec.first_s is None else [f"from {format_time(spec.first_s)} s"]),
            *([] if spec.last_s is None else [f"to {format_time(spec.last_s)} s"]),
        ]
    )
    reporter.add_rows(
        "keyframes-outside", f"{{rows}} a keyframe outside those of the data set, {bounds}", outside, rowed
    )
    if spec.every_s is not None:
        steps = (times - (spec.first_s or 0.0)) / spec.every_s
        off = ~outside & (np.abs(steps - np.rint(steps)) * spec.every_s >= near_s)
        step = format_time(spec.every_s)
        reporter.add_rows(
            "keyframes-off-grid", f"{{rows}} a keyframe between the data set's, one every {step} s", off, rowed
        )
    if not np.isfinite(low):
        reporter.add_rows("keyframes-negative", "{rows} a time below 0", times <= -near_s, rowed)


def check_excluded(reporter: Reporter, rows: SplitRows, rowed: Rowed) -> None:
    """Look for annotations of keyframes that are excluded."""
    codes, excluded = keyframe_codes([rowed.table, rows.excluded], rows.data.spec.videos.fps)
    reporter.add_rows(
        "excluded-annotated",
        "{rows} an excluded keyframe; it is neither trained on nor scored",
        np.isin(codes, excluded) & has_box(rowed.table),
        rowed,
        warn=True,
    )
