"""A divided split as files: two AVA CSVs and the YAML of a data set that has them."""

from __future__ import annotations

import csv
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avadet.annotations.ava import AvaTable, box_cells, csv_line, format_time
from avadet.annotations.csv_rows import open_text
from avadet.annotations.dividing import choose_validation, source_group
from avadet.annotations.rules.issues import has_box, number_names
from avadet.annotations.specs import DataSet, SplitSpec
from avadet.annotations.split_rows import read_split_rows
from avadet.annotations.tubes import TubeRows
from avadet.errors import AvadetError
from avadet.files import whole_file
from avadet.labels import label_map_names
from avadet.types import IntArray, LabelMap

PARTS = ("train", "val")


@dataclass(frozen=True)
class Division:
    """What was written.

    Attributes:
        spec: the YAML.
        files: the CSV of each part.
        videos: number of videos in each part.
        rows: number of rows in each part.
        one_sided: names of classes that have examples, but not in both parts.
    """

    spec: Path
    files: dict[str, Path]
    videos: dict[str, int]
    rows: dict[str, int]
    one_sided: tuple[str, ...]


def split_to_divide(data: DataSet, name: str | None) -> str:
    """The split that is meant: the one that is named, the only one, or "train".

    Raises:
        AvadetError: if there is no such split, or none is meant for certain.
    """
    if name is not None:
        data.split(name)
        return name
    if len(data.spec.splits) == 1:
        return next(iter(data.spec.splits))
    if "train" in data.spec.splits and "val" not in data.spec.splits:
        return "train"
    raise AvadetError(f"{data.name} has the splits {', '.join(data.spec.splits)}; say which to divide: --split NAME")


def write_division(
    data: DataSet, name: str, share: float, out: str | Path, seed: int = 0, groups: Mapping[str, str] | None = None
) -> Division:
    """Divide a split's annotated videos and write train.csv, val.csv and a YAML that `open_data_set` reads.

    Args:
        data: the data set.
        name: its split.
        share: of the rows to be held out, 0-1.
        out: folder to write to.
        seed: draws among equals.
        groups: source of each video; None = by its name, see `dividing.source_group`.

    Raises:
        AvadetError: if annotations are missing or malformed, cannot be divided, or files cannot be written.
    """
    split, folder = data.split(name), Path(out)
    rows = read_split_rows(data, split)
    codes, video_ids = number_names(rows.table.video_ids)
    counts = class_counts(rows.table, codes, len(video_ids), data.labels)
    own = {video_id: source_group(video_id) for video_id in video_ids} if groups is None else groups
    held_out = set(choose_validation(video_ids, counts, own, share, seed))
    is_val = np.array([video_id in held_out for video_id in video_ids], np.bool_)
    files = {part: folder / f"{part}.csv" for part in PARTS}
    for part, chosen in zip(PARTS, (~is_val, is_val)):
        _write_rows(data, split, rows, files[part], set(np.flatnonzero(chosen[codes]).tolist()))
    spec = folder / f"{data.name}.yaml"
    _write_spec(spec, data, name)
    both = np.stack([counts[~is_val].sum(axis=0), counts[is_val].sum(axis=0)]) > 0
    lonely = np.flatnonzero(both.any(axis=0) & ~both.all(axis=0)).tolist()
    return Division(
        spec,
        files,
        dict(zip(PARTS, (int((~is_val).sum()), int(is_val.sum())))),
        dict(zip(PARTS, (int((~is_val)[codes].sum()), int(is_val[codes].sum())))),
        tuple(data.labels.names[index] for index in lonely),
    )


def class_counts(table: AvaTable, codes: IntArray, num_videos: int, labels: LabelMap) -> IntArray:
    """Rows of each class in each video, int64 (videos, K); classes that the map lacks do not count."""
    counts = np.zeros((num_videos, len(labels)), np.int64)
    order = np.argsort(labels.ids)
    ids = np.asarray(labels.ids)[order]
    place = np.clip(np.searchsorted(ids, table.class_ids), 0, len(ids) - 1)
    known = has_box(table) & (ids[place] == table.class_ids)
    np.add.at(counts, (codes[known], order[place[known]]), 1)
    return counts


def _write_rows(data: DataSet, split: SplitSpec, rows: TubeRows, path: Path, chosen: Collection[int]) -> None:
    """Write some rows: as they stand in an AVA CSV, else in its form."""
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        if data.spec.tubes is None and split.annotations is not None:
            with open_text(data.path(split.annotations)) as text:
                file.writelines(f"{csv_line(cells)}\n" for row, cells in enumerate(csv.reader(text)) if row in chosen)
        else:
            file.writelines(f"{_line(rows.table, row)}\n" for row in sorted(chosen))


def _line(table: AvaTable, row: int) -> str:
    person = [] if table.person_ids is None else [int(table.person_ids[row])]
    time, box = format_time(float(table.times_s[row])), box_cells(table.boxes_norm[row])
    return csv_line([table.video_ids[row], time, *box, int(table.class_ids[row]), *person])


def _write_spec(path: Path, data: DataSet, name: str) -> None:
    """Write the data set's YAML with the parts in place of the split; paths count from the new file."""
    divided = data.split(name)
    splits: dict[str, Any] = {part: _moved(data, divided, path.parent) for part in PARTS}
    for part in PARTS:
        number = {} if divided.number == 1 else {"number": divided.number}
        splits[part] = {"annotations": f"{part}.csv"} | number | splits[part]
    for other, spec in data.spec.splits.items():
        if other != name and other not in PARTS and spec.number == divided.number:
            facts = spec.model_dump(mode="json", exclude_defaults=True)
            splits[other] = facts | _moved(data, spec, path.parent, ("annotations", "videos"))
    write_moved_spec(path, data, splits)


def write_moved_spec(path: Path, data: DataSet, splits: dict[str, Any]) -> None:
    """Write a data set's YAML into another folder, with other splits; its videos stay where they are.

    Args:
        path: the new YAML.
        data: the data set.
        splits: values of the new splits, whose paths count from the new folder.

    Raises:
        AvadetError: if it cannot be written.
    """
    import yaml

    values = data.spec.model_dump(mode="json", exclude_defaults=True)
    videos = values.get("videos", {}) | {"folder": path_from(data, data.spec.videos.folder, path.parent)}
    if data.spec.videos.starts is not None:
        videos["starts"] = path_from(data, data.spec.videos.starts, path.parent)
    if data.spec.videos.frames.lists:
        videos["frames"] = {"lists": [path_from(data, one, path.parent) for one in data.spec.videos.frames.lists]}
    if isinstance(data.spec.labels, str) and data.spec.labels not in label_map_names():
        values["labels"] = path_from(data, Path(data.spec.labels), path.parent)
    values |= {"videos": videos, "splits": splits}
    with whole_file(path) as partial:
        text = yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)
        partial.write_text(text, encoding="utf-8")


def _moved(data: DataSet, split: SplitSpec, folder: Path, more: tuple[str, ...] = ()) -> dict[str, str]:
    """The files of a split that are used on, as they are found from another folder."""
    files = {key: getattr(split, key) for key in ("excluded", "proposals", *more)}
    return {key: path_from(data, file, folder) for key, file in files.items() if file is not None}


def path_from(data: DataSet, file: Path, folder: Path) -> str:
    """A file of a data set as it is found from another folder."""
    return Path(os.path.relpath(data.path(file).resolve(), folder.resolve())).as_posix()
