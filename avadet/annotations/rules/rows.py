"""What may be wrong with the rows of the annotations: classes, persons, moments, and rows that stand there twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from avadet.annotations.ava import NO_CLASS, AvaTable, format_time
from avadet.annotations.rules.boxes import JudgedBoxes
from avadet.annotations.rules.issues import Ledger, LinedTable, box_codes, has_box, keyframe_codes, number_alike
from avadet.annotations.specs import KeyframesSpec
from avadet.annotations.split_rows import SplitRows
from avadet.keyframes import tolerance_s
from avadet.labels import DEFAULT_LABEL_MAP, read_label_map
from avadet.types import BoolArray, IntArray, LabelMap

TELLS_NOTHING = "there is nothing to distinguish, and frame-mAP only measures boxes"

_LISTED = 8
_MANY = 10  # persons from which on it is reported that all of them have a class
_REPEATED = (
    "{rows} a duplicate: the same person, box and action; training counts it once, a score as often as it stands there"
)


def check_classes(ledger: Ledger, rows: LinedTable, labels: LabelMap) -> None:
    """Look for class ids that the label map does not have, and persons without an action.

    A person whose action is blank, -1 or 0 has none that is known: a negative in training, no target of a score. Only
    where zeros look like the first class of ids that count from 0 they are an error.
    """
    class_ids, persons = rows.table.class_ids, has_box(rows.table)
    idle = persons & (class_ids <= NO_CLASS)
    unknown = (class_ids > NO_CLASS) & ~np.isin(class_ids, labels.ids)
    hint, shift, fix = _id_hint(_used([rows.table]), labels)
    if shift == 1:
        unknown |= idle & (class_ids == NO_CLASS)
        idle &= ~unknown
    message = f"{{rows}} a class id that is not in the label map{hint}"
    ledger.add_rows("class-unknown", "error", message, unknown, rows, fix)
    ledger.id_shift = shift if unknown.any() else 0
    if idle.any() and not (persons & ~idle).any():
        message = "no person has an action (every class id is blank, -1 or 0): there is nothing to learn or to score"
        ledger.add("class-none", "error", message, [rows.example(int(np.flatnonzero(idle)[0]))], int(idle.sum()))
        return
    zeros = "; or do your ids count from 0?" if (class_ids[idle] == NO_CLASS).any() else ""
    message = f"{{rows}} a person without an action; a negative in training, no target of a score{zeros}"
    ledger.add_rows("class-missing", "keep", message, idle, rows)


def _used(tables: Sequence[AvaTable]) -> set[int]:
    """Class ids of persons; a blank one and -1 are none, 0 may be one."""
    return {int(one) for table in tables for one in np.unique(table.class_ids[has_box(table)]) if one >= NO_CLASS}


def _id_hint(used: set[int], labels: LabelMap) -> tuple[str, int, tuple[str, ...]]:
    """What ids that do not fit may come from, what to add to each to mend it, and changes of the spec that mend it."""
    low, high = min(labels.ids), max(labels.ids)
    if used <= set(labels.ids):
        return "", 0, ()
    if NO_CLASS in used and low == 1 and max(used) == high - 1:
        way_out = "add 1 to every id, or leave the id blank where a person has no action"
        return f"; they count from 0 to {high - 1}, the map from 1 to {high}: {way_out}", 1, ()
    if low not in used and min(used) == low + 1 and max(used) == high + 1:
        return f"; they are one too high (the map has {low} to {high}): take 1 off every id", -1, ()
    foreign = used - {NO_CLASS, *labels.ids}
    if not foreign:
        return "", 0, ()
    if len(labels) == 60 and foreign <= set(read_label_map(DEFAULT_LABEL_MAP).ids):
        hint = f"; the map has AVA's 60 evaluated classes, the files all 80: use labels: {DEFAULT_LABEL_MAP}"
        return hint, 0, (f"labels={DEFAULT_LABEL_MAP}",)
    known = f"{low} to {high}" if len(labels) == high - low + 1 else f"{len(labels)} ids from {low} to {high}"
    return f"; it has {known}: is it the right one?", 0, ()


def check_examples(ledger: Ledger, tables: Sequence[AvaTable], labels: LabelMap) -> None:
    """Look for evaluated classes that no row of a split has."""
    used = _used(tables)
    if not used or _id_hint(used, labels)[0]:
        return
    without = [(i, name) for i, name, counts in zip(labels.ids, labels.names, labels.evaluated) if counts]
    without = [(i, name) for i, name in without if i not in used]
    if not without:
        return
    evaluated = sum(labels.evaluated)
    more = ""
    if len(labels) == 80 and evaluated == 60 and max(used, default=0) in (59, 60):
        more = "; no id is above 60: were AVA's 60 evaluated classes renumbered? their ids have gaps up to 80"
    shown = ", ".join(f"{i} {name}" for i, name in without[:_LISTED]) + (", ..." if len(without) > _LISTED else "")
    have = "has" if len(without) == 1 else "have"
    message = f"{len(without)} of {evaluated} evaluated classes {have} no example{more}"
    ledger.add("class-without-example", "keep", message, [shown], len(without))


def check_everybody(ledger: Ledger, rows: LinedTable, labels: LabelMap) -> None:
    """Look for classes that every person has."""
    chosen = np.flatnonzero(has_box(rows.table))
    codes, boxes = keyframe_codes([rows.table])[0][chosen], box_codes(rows.table.boxes_norm[chosen])
    person, classes = number_alike([codes, boxes]), rows.table.class_ids[chosen]
    count = int(person.max(initial=-1)) + 1
    each, owners = np.unique(np.stack([classes, person]), axis=1), np.zeros(len(labels), np.int64)
    for index, class_id in enumerate(labels.ids):
        owners[index] = np.count_nonzero(each[0] == class_id)
    names = [name for name, own in zip(labels.names, owners.tolist()) if own == count]
    if names and (count >= _MANY or len(labels) == 1):
        refused = "; loss.kind=cross_entropy is refused" if len(labels) == 1 else ""
        message = f"every person has the class {' and '.join(names[:_LISTED])}: {TELLS_NOTHING}{refused}"
        ledger.add("class-of-everybody", "keep", message, [str(rows.file)], count)


def check_repeats(ledger: Ledger, lined: LinedTable, labels: LabelMap) -> None:
    """Look for rows that stand there twice, persons in two places at once, and persons with too many actions."""
    table = lined.table
    rows = np.flatnonzero(has_box(table))
    keyframe, box = keyframe_codes([table])[0][rows], box_codes(table.boxes_norm[rows])
    classes = np.maximum(table.class_ids[rows], NO_CLASS)  # blank, -1 and 0 are one thing
    who = np.zeros(len(rows), np.int64) if table.person_ids is None else table.person_ids[rows]
    twice = _repeated(number_alike([keyframe, box, classes, who]))
    ledger.add_rows("rows-twice", "drop", _REPEATED, rows[twice], lined)
    if table.person_ids is not None:
        elsewhere = (who >= 0) & (box != box[_first_of_alike(number_alike([keyframe, who]))])  # -1: not known who
        hint = "; every row has the same id: leave column 8 out" if len(np.unique(who)) == 1 else ""
        message = f"{{rows}} a second box of a person at one keyframe: ids must tell people apart{hint}"
        ledger.add_rows("person-in-two-places", "keep", message, rows[elsewhere], lined)
    if labels.exclusive:
        named = classes > NO_CLASS
        first = _first_of_alike(number_alike([keyframe[named], box[named]]))  # by the box, as it is learned
        several = classes[named] != classes[named][first]
        message = "{rows} a second action of a person, but in this label map a person has exactly one (exclusive: true)"
        ledger.add_rows("actions-several", "error", message, rows[named][several], lined)


def _first_of_alike(codes: IntArray) -> IntArray:
    """For each row the first one with its number, int64 (n,)."""
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    return np.asarray(first[inverse], np.int64)


def _repeated(codes: IntArray) -> BoolArray:
    """Rows whose number a row before has, bool (n,)."""
    return np.asarray(_first_of_alike(codes) != np.arange(len(codes)))


def check_moments(ledger: Ledger, rows: LinedTable, spec: KeyframesSpec, fps: float | None = None) -> None:
    """Look for keyframes where the data set has none, by the rule for what is the same keyframe."""
    near_s, times = tolerance_s(fps), rows.table.times_s
    low = -np.inf if spec.first_s is None else spec.first_s
    high = np.inf if spec.last_s is None else spec.last_s
    outside = (times <= low - near_s) | (times >= high + near_s)
    bounds = [] if spec.first_s is None else [f"from {format_time(spec.first_s)} s"]
    bounds += [] if spec.last_s is None else [f"to {format_time(spec.last_s)} s"]
    message = f"{{rows}} a keyframe outside those of the data set, {' '.join(bounds)}"
    ledger.add_rows("keyframes-outside", "error", f"{message} (keyframes.first_s and last_s)", outside, rows)
    if spec.every_s is not None:
        steps = (times - (spec.first_s or 0.0)) / spec.every_s
        off = ~outside & (np.abs(steps - np.rint(steps)) * spec.every_s >= near_s)
        message = f"{{rows}} a keyframe between the data set's, one every {format_time(spec.every_s)} s"
        ledger.add_rows("keyframes-off-grid", "error", f"{message} (keyframes.every_s)", off, rows)
    if not np.isfinite(low):
        ledger.add_rows("keyframes-negative", "error", "{rows} a time below 0", times <= -near_s, rows)


def check_excluded(ledger: Ledger, rows: SplitRows) -> None:
    """Look for annotations of keyframes that are excluded."""
    codes, excluded = keyframe_codes([rows.table, rows.excluded], rows.data.spec.videos.fps)
    ledger.add_rows(
        "excluded-annotated",
        "drop",
        "{rows} an excluded keyframe; it is neither trained on nor scored",
        np.isin(codes, excluded) & has_box(rows.table),
        rows.annotated,
    )


def truth_notes(table: AvaTable, labels: LabelMap) -> list[str]:
    """What an evaluator makes of rows of a ground truth that a data set should not have, one line each.

    The published protocols leave out classes that they do not know, and count every other row as often as it stands.
    """
    persons = has_box(table)
    rows = np.flatnonzero(persons)
    columns = [keyframe_codes([table])[0], box_codes(table.boxes_norm), np.maximum(table.class_ids, NO_CLASS)]
    columns += [] if table.person_ids is None else [table.person_ids]
    twice = np.zeros(len(table), np.bool_)
    twice[rows] = _repeated(number_alike([column[rows] for column in columns]))
    unknown = (table.class_ids > NO_CLASS) & ~np.isin(table.class_ids, labels.ids)
    found = {
        "are duplicates; each of them counts": twice,
        "are persons without an action; they are no target": persons & (table.class_ids <= NO_CLASS),
        "have a class id that is not in the label map; they are left out": unknown,
        "have a box without area or outside the frame; nothing can find it": persons
        & JudgedBoxes(table.boxes_norm).useless,
    }
    return [
        f"{count} of {len(table)} rows of the ground truth {text} (line {int(np.flatnonzero(mask)[0]) + 1})"
        for text, mask in found.items()
        if (count := np.count_nonzero(mask))
    ]
