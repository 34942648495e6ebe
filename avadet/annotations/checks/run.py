"""Every check of a data set's files, without its videos; `avadet.data.checks` looks into those."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from avadet.annotations.ava import AvaTable, Keyframes, read_excluded
from avadet.annotations.box_files import read_box_rows
from avadet.annotations.checks.boxes import check_boxes
from avadet.annotations.checks.findings import Finding, Reporter, Rowed, SplitRows
from avadet.annotations.checks.lists import check_between, check_counts, check_excluded_videos, check_lists
from avadet.annotations.checks.proposals import check_proposals
from avadet.annotations.checks.rows import (
    check_classes,
    check_examples,
    check_excluded,
    check_moments,
    check_repeats,
)
from avadet.annotations.csv_rows import RowForm
from avadet.annotations.specs import DataSet, SplitSpec
from avadet.annotations.splits import read_split_rows, split_video_ids
from avadet.errors import AvadetError

EXAMPLES = 3
"""How many rows of each kind of trouble are shown, unless told otherwise."""

_ANY_BOX = RowForm(widths=(2, 7, 8), last="person_id", boxes="any")
_NONE = Keyframes(np.zeros(0, object), np.zeros(0))


@dataclass(frozen=True)
class Checked:
    """What the checks of a data set's files say.

    Attributes:
        splits: those that could be read; of one that joins others, each of these.
        findings: split by split, then between splits.
    """

    splits: tuple[SplitRows, ...]
    findings: tuple[Finding, ...]


def check_annotations(data: DataSet, names: Sequence[str] = (), examples: int = EXAMPLES) -> Checked:
    """Check the files of some splits.

    Args:
        data: the data set.
        names: which splits; none = all of them.
        examples: how many rows of each kind of trouble are shown.

    Raises:
        AvadetError: if there is no such split.
    """
    splits: list[SplitRows] = []
    findings: list[Finding] = []
    is_whole = set(names or data.spec.splits) == set(data.spec.splits)
    for name in names or data.spec.splits:
        spec = data.split(name)
        reporter = Reporter(name, examples)
        read = [read_for_checks(source, own, reporter) for source, own in data.sources(name)]
        rows = [replace(one, name=name, number=spec.number) for one in read if one is not None]
        for one in rows:
            _check_split(one, reporter)
        if len(rows) == len(read):
            _check_sum(spec, rows, reporter)
        is_whole = is_whole and len(rows) == len(read)
        splits += rows
        findings += reporter.findings
    if is_whole:
        findings += check_excluded_videos(splits, examples)
    return Checked(tuple(splits), (*findings, *check_between(splits, examples)))


def _check_split(rows: SplitRows, reporter: Reporter) -> None:
    """What can be said of the files of one data set."""
    rowed, data = Rowed(rows.file, rows.table, rows.lines), rows.data
    check_lists(reporter, rows)
    check_moments(reporter, rowed, data.spec.keyframes, data.spec.videos.fps)
    check_excluded(reporter, rows, rowed)
    check_boxes(reporter, rowed, "boxes")
    check_classes(reporter, rowed, data.labels)
    check_repeats(reporter, rowed, data.labels)
    check_proposals(reporter, rows)


def _check_sum(spec: SplitSpec, rows: Sequence[SplitRows], reporter: Reporter) -> None:
    """What can only be said of a split as a whole, whether one data set's or joined."""
    check_counts(reporter, rows, spec.counts)
    check_examples(reporter, [one.table for one in rows], rows[0].data.labels)
    if spec.join is not None:
        for one, label in zip(rows, spec.join):
            check_counts(reporter, [one], one.data.split(label.partition(":")[2]).counts)
        _check_proposals_of_all(spec.join, rows, reporter)


def _check_proposals_of_all(join: Sequence[str], rows: Sequence[SplitRows], reporter: Reporter) -> None:
    without = [label for label, one in zip(join, rows) if one.proposals_file is None]
    if without and len(without) < len(rows):
        message = f"{len(without)} of {len(rows)} joined splits have no proposals; give all of them some, or none"
        reporter.add("proposals-of-some", message, without)


def read_for_checks(data: DataSet, name: str, reporter: Reporter) -> SplitRows | None:
    """Read a split's files as they are; what cannot be read becomes a finding, and None where that is all."""
    spec = data.split(name)
    try:
        rows = read_split_rows(data, spec, _ANY_BOX)
        video_ids = tuple(split_video_ids(data, spec, rows))
    except AvadetError as error:
        _cannot_read(reporter, "annotations-unreadable", "the annotations", error)
        return None
    files = {key: _path(data, getattr(spec, key)) for key in ("annotations", "videos", "excluded", "proposals")}
    return SplitRows(
        data=data,
        name=name,
        number=spec.number,
        file=files["annotations"],
        table=rows.table,
        lines=rows.lines,
        video_ids=video_ids,
        list_file=files["videos"],
        excluded=_read_excluded(files["excluded"], reporter),
        excluded_file=files["excluded"],
        proposals=_read_proposals(files["proposals"], reporter),
        proposals_file=files["proposals"],
    )


def _path(data: DataSet, relative: Path | None) -> Path | None:
    return None if relative is None else Path(os.path.normpath(data.path(relative)))


def _read_excluded(path: Path | None, reporter: Reporter) -> Keyframes:
    if path is None:
        return _NONE
    try:
        return read_excluded(path)
    except AvadetError as error:
        _cannot_read(reporter, "excluded-unreadable", "the excluded keyframes", error)
        return _NONE


def _read_proposals(path: Path | None, reporter: Reporter) -> AvaTable | None:
    if path is None:
        return None
    try:
        return read_box_rows(path)
    except AvadetError as error:
        _cannot_read(reporter, "proposals-unreadable", "the proposals", error)
        return None


def _cannot_read(reporter: Reporter, check: str, what: str, error: AvadetError) -> None:
    lines = str(error).splitlines()
    reporter.add(check, f"{what} cannot be read; nothing else of them was checked", lines)
