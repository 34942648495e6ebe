"""The data set that the rules allow, written beside the one that they do not, with a list of every change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avadet.annotations.ava import NO_CLASS, box_cells, csv_line, format_time
from avadet.annotations.csv_text import cells_of, dialect_of, open_text
from avadet.annotations.division_files import path_from, write_moved_spec
from avadet.annotations.rules.book import judge
from avadet.annotations.rules.boxes import JudgedBoxes
from avadet.annotations.rules.issues import Ledger, LinedTable, has_box
from avadet.annotations.rules.lists import shared_videos
from avadet.annotations.rules.video_meta import VideoMeta
from avadet.annotations.specs import DataSet
from avadet.annotations.split_rows import SplitRows, read_files
from avadet.annotations.splits import ReadMetadata, split_metadata
from avadet.errors import AvadetError
from avadet.files import whole_file
from avadet.types import Float64Array

CHANGES = "changes.csv"
_ENDS = {"annotations": ".csv", "proposals": "_proposals.csv", "videos": "_videos.txt"}  # of the new files, by key

Judged = Callable[[SplitRows], Ledger]
"""Another rule, of decoded pictures."""


@dataclass(frozen=True)
class Change:
    """One thing that is other than before.

    Attributes:
        file: what was changed; the row's old file, or the spec.
        line: of that file, from 1; 0 = it has no lines.
        what: which rule asked for it.
        before: the row or value as it stood.
        after: as it stands now; "" = it was dropped.
    """

    file: str
    line: int
    what: str
    before: str
    after: str = ""


@dataclass(frozen=True)
class _Split:
    """A split, its videos and what the rules say of it."""

    rows: SplitRows
    known: Mapping[str, VideoMeta]
    ledger: Ledger

    def rules_of(self, of: LinedTable) -> NDArray[np.object_]:
        """By which rule each row of a file is dropped, "" = it stays; (n,)."""
        why = np.full(len(of.table), "", object)
        for issue in self.ledger.issues:
            mended = issue.check.endswith("-in-pixels") or (issue.check == "class-unknown" and self.ledger.id_shift)
            mended = mended or (issue.check == "boxes-inverted" and self.ledger.has_sizes)
            rows = self.ledger.rows.get((of.file, issue.check))
            if issue.action in ("drop", "error") and not mended and rows is not None:
                why[rows[why[rows] == ""]] = issue.check
        return why


def repair(
    data: DataSet,
    out: Path,
    read_metadata: ReadMetadata,
    changed: Callable[[Sequence[str]], DataSet],
    deep: Judged | None = None,
) -> tuple[Path, list[Change]]:
    """Write the data set that the rules allow.

    Args:
        data: the data set, of AVA CSVs; its files stay as they are, and its videos where they are.
        out: the folder to write to, another one.
        read_metadata: reads the metadata of videos.
        changed: gives the same data set with changes of its spec.
        deep: judges decoded pictures; None = they are not decoded.

    Returns:
        OUT/NAME.yaml, and every change, which OUT/changes.csv lists as well.

    Raises:
        AvadetError: if files cannot be read or written, or no person would be left.
    """
    data.refuse_joined("repair")
    if data.spec.tubes is not None:
        raise AvadetError(f"{data.name}: its annotations are tubes of another form; convert them to AVA's CSV first")
    if out.resolve() == data.root.resolve():
        raise AvadetError(f"{out} is the data set's own folder; choose another for the repaired one")
    changes: list[Change] = []
    splits = _judged(data, read_metadata, deep)
    errors = [issue for one in splits for issue in one.ledger.issues if issue.severity == "error"]
    fixes = tuple(dict.fromkeys(fix for issue in errors for fix in issue.fix))
    if fixes:  # where the clock or the map is another, other rows are wrong
        changes += [Change(f"{data.name}.yaml", 0, "spec", "", fix) for fix in fixes]
        data = changed(fixes)
        splits = _judged(data, read_metadata, deep)
    for number, one in enumerate(splits):
        _drop_shared(one, splits[number + 1 :])
    files = {one.rows.name: _files(one, changes) for one in splits}
    for name, lines in files.items():
        if "annotations" in lines and not any("," in line.partition(",")[2] for line in lines["annotations"]):
            raise AvadetError(f"split {name}: no person would be left; see `avadet data check`")
    return _write(data, out, files, changes), changes


def _judged(data: DataSet, read_metadata: ReadMetadata, deep: Judged | None) -> list[_Split]:
    splits = []
    for name in data.spec.splits:
        rows = read_files(data, name)
        assert rows is not None  # it is raised
        known = split_metadata(rows, read_metadata)
        ledger = judge(rows, known)
        if deep is not None:
            more = deep(rows)
            ledger.issues += more.issues
            ledger.rows |= more.rows
        splits.append(_Split(rows, known, ledger))
    return splits


def _drop_shared(one: _Split, later: Sequence[_Split]) -> None:
    """Note rows of videos that a later split has, which is the one to score on."""
    shared = sorted({name for other in later for name in shared_videos(one.rows, other.rows)})
    for of in (one.rows.annotated, one.rows.proposed):
        if of is not None and shared:
            names = np.asarray(of.table.video_ids).astype(str)
            message = f"{{rows}} one of {len(shared)} videos that a later split has as well"
            one.ledger.add_rows("splits-share-videos", "drop", message, np.isin(names, np.array(shared, str)), of)


def _files(one: _Split, changes: list[Change]) -> dict[str, list[str]]:
    """The lines of a split's files as they become, by their keys in the spec; notes what changes."""
    files = {}
    for key, of in (("annotations", one.rows.annotated), ("proposals", one.rows.proposed)):
        if of is not None and of.file is not None:
            files[key] = list(_lines(one, of, changes))
    if one.rows.list_file is not None and (one.rows.file, "splits-share-videos") in one.ledger.rows:
        gone = one.ledger.rows[one.rows.file, "splits-share-videos"]
        names = {str(name) for name in one.rows.table.video_ids[gone]}
        files["videos"] = [name for name in one.rows.video_ids if name not in names]
    return files


def _lines(one: _Split, of: LinedTable, changes: list[Change]) -> Iterator[str]:
    """The rows of a file that stay, put right."""
    why, (boxes, mended) = one.rules_of(of), _mended(one, of)
    ids = of.table.class_ids.copy()
    if of.file == one.rows.file and one.ledger.id_shift:
        named = has_box(of.table) & (ids >= NO_CLASS)
        ids[named] += one.ledger.id_shift
        mended[named & (mended == "")] = "class-unknown"
    for row, cells in enumerate(_cells(of)):
        before, line = csv_line(cells), int(of.lines[row])
        if why[row]:
            changes.append(Change(str(of.file), line, why[row], before))
            continue
        if mended[row]:
            action = [str(int(ids[row]))] if ids[row] > NO_CLASS else cells[6:7]
            cells = [*cells[:2], *box_cells(boxes[row]), *action, *cells[7:]]
        after = csv_line(cells)
        if after != before:
            changes.append(Change(str(of.file), line, mended[row], before, after))
        yield after


def _mended(one: _Split, of: LinedTable) -> tuple[Float64Array, NDArray[np.object_]]:
    """Boxes put right, (n, 4), and the rule by which each was, "" = it was not; (n,)."""
    boxes = np.array(of.table.boxes_norm, np.float64)
    persons, mended = has_box(of.table), np.full(len(boxes), "", object)
    if of.file == one.rows.file and one.ledger.has_sizes:
        boxes[persons, 2:] += boxes[persons, :2]
        mended[persons] = "boxes-inverted"
    pixels = persons & JudgedBoxes(boxes).in_pixels & (one.rules_of(of) == "")
    if pixels.any():
        sizes = _sizes(one, of)
        unknown = np.flatnonzero(pixels & ~np.isfinite(sizes).all(axis=1))
        if len(unknown):
            raise AvadetError(
                f"{of.example(int(unknown[0]))}: the box is in pixels of a frame of unknown size; set "
                "videos.size_hw=[HEIGHT,WIDTH]"
            )
        boxes[pixels] /= sizes[pixels]
    mended[pixels] = "boxes-in-pixels"
    mended[persons & JudgedBoxes(boxes).outside & (mended == "")] = "boxes-outside"
    changed = mended != ""
    boxes[changed] = np.clip(boxes[changed], 0, 1)
    return boxes, mended


def _sizes(one: _Split, of: LinedTable) -> Float64Array:
    """Width, height, width, height of each row's frame, px; NaN = not known; (n, 4)."""
    by_name = {name: meta.info.size_hw for name, meta in one.known.items() if meta.info is not None}
    given, unknown = one.rows.data.spec.videos.size_hw, (np.nan, np.nan)
    found: list[tuple[float, float]] = [given or by_name.get(str(name)) or unknown for name in of.table.video_ids]
    return np.array(found, np.float64)[:, [1, 0, 1, 0]]


def _cells(of: LinedTable) -> Iterator[list[str]]:
    """The cells of each row: as they stand in a CSV of AVA's form, else written anew."""
    own: dict[int, list[str]] = {}
    assert of.file is not None
    if of.lines.any():
        with open_text(of.file) as text:
            own = dict(cells_of(text, dialect_of(of.file)))
    persons = has_box(of.table)
    for row, line in enumerate(of.lines.tolist()):
        cells = own.get(line, [])
        as_it_stands = len(cells) in (2, 6, 7, 8) and cells[0] == of.table.video_ids[row]
        yield cells if as_it_stands else _written(of, row, bool(persons[row]))


def _written(of: LinedTable, row: int, is_person: bool) -> list[str]:
    table = of.table
    cells = [str(table.video_ids[row]), format_time(float(table.times_s[row]))]
    if is_person:
        cells += [*box_cells(table.boxes_norm[row]), str(int(table.class_ids[row])) if table.class_ids[row] > 0 else ""]
        cells += [] if table.person_ids is None else [str(int(table.person_ids[row]))]
        cells += [] if table.scores is None else [repr(float(table.scores[row]))]
    return cells


def _write(data: DataSet, out: Path, files: Mapping[str, Mapping[str, list[str]]], changes: Sequence[Change]) -> Path:
    """Write rows, changes and, last, the spec."""
    splits: dict[str, Any] = {}
    for name, split in data.spec.splits.items():
        values = split.model_dump(mode="json", exclude_defaults=True)
        for key in ("annotations", "proposals", "excluded", "videos"):
            file, lines = getattr(split, key), files[name].get(key)
            if lines is not None:
                values[key] = (
                    f"{name}.csv" if key == "annotations" else f"{name}_{key}.{'csv' if key != 'videos' else 'txt'}"
                )
                _write_lines(out / values[key], lines)
            elif file is not None:
                values[key] = path_from(data, file, out)
        if changes:
            values.pop("counts", None)  # it is no longer what was counted
        splits[name] = values
    rows = [
        ("file", "line", "what", "before", "after"),
        *((c.file, c.line, c.what, c.before, c.after) for c in changes),
    ]
    _write_lines(out / CHANGES, [csv_line(row) for row in rows])
    path = out / f"{data.name}.yaml"
    write_moved_spec(path, data, splits)
    return path


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    with whole_file(path) as partial:
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
