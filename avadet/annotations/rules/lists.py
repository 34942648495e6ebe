"""What may be wrong between files: lists of videos, splits that share videos, numbers that are not the data set's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from avadet.annotations.ava import AvaTable, format_time
from avadet.annotations.rules.issues import (
    Action,
    Issue,
    Ledger,
    box_codes,
    has_box,
    keyframe_codes,
    number_alike,
    number_names,
)
from avadet.annotations.specs import CountsSpec
from avadet.annotations.split_rows import SplitRows

_COMPLETE = 0.99  # with less of what it should have, a split is not complete


def check_persons(ledger: Ledger, rows: SplitRows) -> None:
    """Look whether anybody is annotated, in videos that the split has."""
    if rows.file is None:
        return
    if not has_box(rows.table).any():
        message = "the annotations contain no person: there is nothing to train on or score"
        ledger.add("annotations-empty", "error", message, [str(rows.file)])
        return
    first = rows.first_rows()
    strange = sorted(set(first) - set(rows.video_ids))
    if strange:
        shown = [f"{rows.where(first[name])}: {name}" for name in strange]
        action: Action = "error" if len(strange) == len(first) else "drop"
        message = f"{len(strange)} annotated videos are not in the split's list of videos"
        ledger.add("videos-not-listed", action, message, shown)
        names = np.asarray(rows.table.video_ids).astype(str)
        ledger.rows[rows.file, "videos-not-listed"] = np.flatnonzero(np.isin(names, np.array(strange, str)))


def check_lists(ledger: Ledger, rows: SplitRows) -> None:
    """Look for listed videos without annotations."""
    without = sorted(set(rows.video_ids) - set(rows.first_rows()))
    if without and len(rows.table):
        message = f"{len(without)} of {len(rows.video_ids)} listed videos have no annotations"
        ledger.add(
            "videos-without-rows", "keep", message, [f"{rows.list_file or rows.file}: {name}" for name in without]
        )


def check_counts(ledger: Ledger, sources: Sequence[SplitRows], expected: CountsSpec) -> None:
    """Compare what is there, in all files of a split together, with what a complete split has."""
    counted = count_splits(sources)
    has_rows = any(len(rows.table) for rows in sources)
    for name, number in expected.model_dump().items():
        if number is None or number == counted[name] or (not has_rows and name not in ("videos", "excluded")):
            continue
        nearly = number > 0 and _COMPLETE <= counted[name] / number <= 1 / _COMPLETE
        verdict = "a few are missing" if counted[name] < number else "more than there should be"
        ledger.add(
            "counts",
            "keep",
            f"{counted[name]:,} {name}, a complete split has {number:,}: "
            + (verdict if nearly else "incomplete, or another version"),
            [str(rows.excluded_file if name == "excluded" else rows.file or rows.list_file) for rows in sources],
            abs(number - counted[name]),
        )


def count_splits(sources: Sequence[SplitRows]) -> dict[str, int]:
    """What `count_split` counts, in all files of a split together."""
    counts = [count_split(rows.table, len(rows.video_ids), len(rows.excluded.times_s)) for rows in sources]
    return {name: sum(one[name] for one in counts) for name in counts[0]}


def count_split(table: AvaTable, videos: int, excluded: int) -> dict[str, int]:
    """How many videos, keyframes, boxes, rows, tubes and excluded keyframes a split has."""
    people = has_box(table)
    keyframes = keyframe_codes([table])[0]
    persons = np.zeros(len(table), np.int64) if table.person_ids is None else table.person_ids
    boxes = number_alike([keyframes[people], box_codes(table.boxes_norm[people]), persons[people]])
    names = np.asarray(table.video_ids)[people]
    tubes = number_alike([number_names(names)[0], table.class_ids[people], persons[people]])
    return {
        "videos": videos,
        "keyframes": len(np.unique(keyframes)),
        "boxes": len(np.unique(boxes)),
        "rows": int(people.sum()),
        "tubes": len(np.unique(tubes)),
        "excluded": excluded,
    }


def check_between(splits: Sequence[SplitRows], examples: int = 3) -> list[Issue]:
    """Look for videos that two splits share; splits of another number divide the same videos anew."""
    issues = []
    for one, other in combinations(splits, 2):
        shared = shared_videos(one, other)
        if not shared:
            continue
        first, second = one.first_rows(), other.first_rows()
        shown = tuple(
            f"{_place(one, first, name)} and {_place(other, second, name)}: {name}" for name in shared[:examples]
        )
        many = f"{len(shared)} videos are in both"
        if one.name == other.name:
            message = f"{many} of two splits that {one.name} joins: rows of one name could not be distinguished"
            issues.append(Issue("videos-in-two-parts", "error", one.name, message, len(shared), shown))
        else:
            message = shares_videos(len(shared), one.name, other.name)
            issues.append(Issue("splits-share-videos", "error", "", message, len(shared), shown))
    return issues


def shares_videos(count: int, one: str, other: str) -> str:
    """What is wrong with two splits that share so many videos."""
    return f"{count} videos are in both {one} and {other}: the score would be measured on training videos"


def shared_videos(one: SplitRows, other: SplitRows) -> list[str]:
    """Videos of two splits of one number, sorted."""
    return sorted(set(one.video_ids) & set(other.video_ids)) if one.number == other.number else []


def _place(rows: SplitRows, first: dict[str, int], name: str) -> str:
    return rows.where(first[name]) if name in first else str(rows.list_file or rows.file)


def check_excluded_videos(splits: Sequence[SplitRows], examples: int) -> list[Issue]:
    """Look for excluded keyframes of videos that no split has."""
    known = np.array(sorted({name for rows in splits for name in rows.video_ids}), str)
    issues = []
    for rows in splits:
        names, times = np.asarray(rows.excluded.video_ids).astype(str), rows.excluded.times_s
        foreign = np.flatnonzero(~np.isin(names, known)).tolist()
        if foreign:
            message = f"{len(foreign)} of {len(names)} excluded keyframes are of videos that no split has"
            shown = tuple(
                f"{rows.excluded_file}:{row + 1}: {names[row]},{format_time(float(times[row]))}"
                for row in foreign[:examples]
            )
            issues.append(Issue("excluded-unknown", "keep", rows.name, message, len(foreign), shown))
    return issues
