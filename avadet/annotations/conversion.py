"""Between the files of annotation tools and AVA's rows: which format a file has, reading it, writing another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from avadet.annotations import coco, cvat, table_csv, via, via2, via_write
from avadet.annotations.action_names import ActionNames
from avadet.annotations.ava_rows import AvaRows, keyframe_numbers, read_ava_rows, write_ava_rows
from avadet.annotations.csv_text import LastColumn, cells_of, dialect_of, is_number, is_row, open_text
from avadet.annotations.footage import Footage
from avadet.errors import AvadetError
from avadet.types import LabelMap

Format = Literal["ava", "coco", "cvat", "via", "csv"]
FORMATS: tuple[Format, ...] = get_args(Format)
TITLES: dict[Format, str] = {
    "ava": "AVA's CSV",
    "coco": "COCO JSON",
    "cvat": "CVAT XML",
    "via": "VGG Image Annotator JSON",
    "csv": "a CSV with header",
}
_BY_SUFFIX: dict[str, Format] = {".csv": "ava", ".json": "coco", ".xml": "cvat"}
_HEAD = 4096
_ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class Reading:
    """How to read a file.

    Attributes:
        names: finds the ids of actions.
        labels: the label map.
        footage: what files leave unsaid of videos.
        last: of AVA's CSV: what the eighth column is.
        images: of COCO's lists of detections: the COCO file with the images.
        columns: of a CSV with header: which column is what.
        units: likewise, of boxes.
    """

    names: ActionNames = field(default_factory=ActionNames)
    labels: LabelMap | None = None
    footage: Footage = field(default_factory=Footage)
    last: LastColumn | None = None
    images: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    units: table_csv.Units | None = None


class Read(NamedTuple):
    """The rows of a file, and how it was understood where that was not told."""

    rows: AvaRows
    understood: str


def format_of_content(path: Path) -> Format:
    """What format a file has, by what stands in it.

    Raises:
        AvadetError: if it cannot be read, or is none of `FORMATS`.
    """
    if not path.is_file():
        raise AvadetError(f"cannot read {path}: no such file")
    with path.open("rb") as packed:
        if packed.read(4) == _ZIP:
            raise AvadetError(f"{path} is a zip archive; unpack it and give the file in it, such as annotations.xml")
    with open_text(path) as file:
        head = file.read(_HEAD)
    start = head.lstrip()
    if start.startswith("<"):
        return "cvat"
    if start.startswith(("{", "[")):
        return _format_of_json(path, start)
    with open_text(path) as file:
        _, cells = next(cells_of(file, dialect_of(path)._replace(skipped=0)), (0, []))
    if not start or is_row(cells):
        return "ava"
    if {*via2.CSV_COLUMNS} <= set(cells):
        return "via"
    if len(cells) > 2 and not any(is_number(cell) for cell in cells):
        return "csv"
    raise AvadetError(
        f"{path}: cannot tell its format from '{start.rstrip()[:60]}'; name it: --from {'|'.join(FORMATS)}"
    )


def _format_of_json(path: Path, start: str) -> Format:
    document = coco.read_json(path)
    if isinstance(document, list) or {"images", "annotations"} & document.keys():
        return "coco"
    if {"metadata", "file", "_via_img_metadata"} & document.keys() or via2.project_of(document) is not None:
        return "via"
    raise AvadetError(
        f"{path}: JSON of neither COCO ('images' and 'annotations') nor VIA ('metadata' and 'file'); got {start[:60]!r}"
    )


def format_of_name(path: Path) -> Format:
    """What format to write, by the file's suffix.

    Raises:
        AvadetError: if the suffix does not tell.
    """
    if path.suffix.lower() not in _BY_SUFFIX:
        raise AvadetError(f"{path}: expected a .csv, .json or .xml file to write; else name the format: --to")
    return _BY_SUFFIX[path.suffix.lower()]


def read_annotations(path: Path, kind: Format, how: Reading) -> Read:
    """Read a file of any format.

    Raises:
        AvadetError: if it cannot be read or is malformed; one line a problem, up to 20.
    """
    if kind == "ava":
        return Read(read_ava_rows(path, how.last), "")
    if kind == "csv":
        rows, table = table_csv.read_table_csv(path, how.names, how.footage, how.columns, how.units)
        return Read(rows, table.told())
    readers: dict[Format, Callable[[], AvaRows]] = {
        "coco": lambda: coco.read_coco(path, how.names, how.images, how.footage),
        "cvat": lambda: cvat.read_cvat(path, how.names, how.footage),
        "via": lambda: via.read_via(path, how.names, how.footage),
    }
    return Read(readers[kind](), "")


def told_counts(rows: AvaRows) -> str:
    """How much there is of what, in words."""
    boxes = {(key, row.box_norm, row.last) for key, row in zip(keyframe_numbers(rows.rows), rows.rows) if row.box_norm}
    tracks = {(row.video_id, row.last) for row in rows.rows if rows.last == "person_id" and row.last is not None}
    counts = {
        "row": len(rows.rows),
        "box": len({box[:2] for box in boxes} if rows.last == "score" else boxes),
        "keyframe": len(set(keyframe_numbers(rows.rows))),
        "video": len({row.video_id for row in rows.rows}),
        "class": len({row.action_id for row in rows.rows} - {None}),
        "track": len(tracks),
    }
    many = {"box": "boxes", "class": "classes"}
    said = [f"{n} {kind if n == 1 else many.get(kind, kind + 's')}" for kind, n in counts.items()]
    idle = sum(row.box_norm is not None and row.action_id is None for row in rows.rows)
    persons = "1 is a person" if idle == 1 else f"{idle} are persons"
    return ", ".join(said) + (f"; {persons} without an action" if idle else "")


def write_annotations(
    path: Path,
    kind: Format,
    rows: AvaRows,
    labels: LabelMap | None = None,
    size_hw: tuple[int, int] = coco.NOMINAL_SIZE_HW,
    sizes_hw: Mapping[str, tuple[int, int]] | None = None,
) -> None:
    """Write rows in any format, whole or not at all.

    Args:
        path: the file.
        kind: the format.
        rows: the rows.
        labels: names the actions.
        size_hw: (height, width) px of frames, for formats of pixels.
        sizes_hw: those of videos that have others, by name.

    Raises:
        AvadetError: if it cannot be written.
    """
    names = ActionNames(labels)
    if kind == "ava":
        write_ava_rows(path, rows)
    elif kind == "csv":
        table_csv.write_table_csv(path, rows, names)
    else:
        document: dict[str, Any] = coco.to_coco(rows, labels, size_hw, sizes_hw)
        if kind == "coco":
            coco.write_coco(path, document)
        else:
            (cvat.write_cvat if kind == "cvat" else via_write.write_via)(path, document, names)
