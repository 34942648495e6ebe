"""AVA's CSV rows as COCO JSON and back, without loss.

The form: an image is a keyframe (`video_id` and `time_s` beside COCO's own fields), an annotation is a person of
category "person". AVA has one row a box and action; rows of one keyframe with the same box and person id are one
annotation, whose `action_ids` (and `scores`, for detections) have one entry a row. `score` is the best of `scores`.

COCO's boxes are pixels and AVA's files do not know the frame's size, so `bbox` and `area` are those of a nominal
frame; `bbox_norm` is the box itself, xyxy 0-1. `rows` are the numbers of the rows in the file (from 1), which give its
order back. A box that has been moved since, so that `bbox` is no longer `bbox_norm` however it is rounded, is where
`bbox` says. `info.csv` says how its numbers are written ("0902", three decimals); `cells` holds the rows that are
written otherwise, as they stand.

COCO: T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; format at
<https://cocodataset.org/#format-data>.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from avadet.annotations.action_names import ActionNames
from avadet.annotations.ava import format_time
from avadet.annotations.ava_rows import AvaRow, AvaRows, keyframe_numbers, row_cells
from avadet.annotations.coco_entries import PERSON, CocoReader
from avadet.annotations.csv_text import LastColumn
from avadet.annotations.footage import Footage, short
from avadet.errors import AvadetError
from avadet.files import whole_file
from avadet.types import LabelMap

NOMINAL_SIZE_HW = (480, 640)
"""(height, width) px of frames whose size no file tells: that for which COCO's limits of small and large were made."""


def to_coco(
    table: AvaRows,
    labels: LabelMap | None = None,
    size_hw: tuple[int, int] = NOMINAL_SIZE_HW,
    sizes_hw: Mapping[str, tuple[int, int]] | None = None,
) -> dict[str, Any]:
    """Rows as the content of a COCO file, ready for `write_coco`.

    Args:
        table: the rows.
        labels: names the actions, in a list `actions` beside the categories.
        size_hw: (height, width) px of the frames.
        sizes_hw: those of videos that have others, by name.
    """
    sizes_hw = sizes_hw or {}
    images: dict[int, dict[str, Any]] = {}
    people: dict[tuple[Any, ...], dict[str, Any]] = {}
    for number, (row, keyframe) in enumerate(zip(table.rows, keyframe_numbers(table.rows)), start=1):
        if keyframe not in images:
            images[keyframe] = _image_entry(len(images) + 1, row, sizes_hw.get(row.video_id, size_hw))
        image = images[keyframe]
        owner = image if row.box_norm is None else _person_entry(people, image, row, table.last)
        owner.setdefault("rows", []).append(number)
        if row.cells is not None and row.cells != row_cells(row._replace(time_s=image["time_s"]), table):
            owner.setdefault("cells", {})[str(number)] = list(row.cells)
    document: dict[str, Any] = {
        "info": {"description": "AVA-style keyframes", "csv": {"last": table.last, **table.style._asdict()}},
        "images": list(images.values()),
        "annotations": list(people.values()),
        "categories": [{"id": 1, "name": PERSON, "supercategory": PERSON}],
    }
    if labels is not None:
        named = zip(labels.ids, labels.names, labels.groups)
        document["actions"] = [{"id": i, "name": name, "group": group} for i, name, group in named]
    return document


def _image_entry(image_id: int, row: AvaRow, size_hw: tuple[int, int]) -> dict[str, Any]:
    """An image of the COCO file."""
    name = picture_name(row.video_id, row.time_s)
    shape = {"width": size_hw[1], "height": size_hw[0]}
    return {"id": image_id, "file_name": name, **shape, "video_id": row.video_id, "time_s": row.time_s}


def picture_name(video_id: str, time_s: float) -> str:
    """The file name of a keyframe's picture: VIDEO/SECONDS.jpg, the video's name escaped like in a URL."""
    folder = quote(video_id, safe="")
    if not folder.strip("."):
        folder = folder.replace(".", "%2E")  # "." and ".." would lead out of the folder of pictures
    return f"{folder}/{format_time(time_s)}.jpg"


def _person_entry(
    people: dict[tuple[Any, ...], dict[str, Any]],
    image: dict[str, Any],
    row: AvaRow,
    last: LastColumn,
) -> dict[str, Any]:
    """The annotation of the row's person, with the row's action added to it."""
    assert row.box_norm is not None
    person_id = row.last if last == "person_id" else None
    key = (image["id"], row.box_norm, person_id)
    if key not in people:
        x1, y1, x2, y2 = row.box_norm
        height, width = image["height"], image["width"]
        box_px = [x1 * width, y1 * height, (x2 - x1) * width, (y2 - y1) * height]
        entry = {"id": len(people) + 1, "image_id": image["id"], "category_id": 1, "bbox": box_px}
        entry |= {"area": box_px[2] * box_px[3], "iscrowd": 0, "bbox_norm": list(row.box_norm), "action_ids": []}
        people[key] = entry | ({} if person_id is None else {"person_id": person_id})
    person = people[key]
    person["action_ids"].append(row.action_id)
    if last == "score":
        _add_score(person, row.last)
    return person


def _add_score(person: dict[str, Any], score: float | None) -> None:
    """Add a row's score; a row without score counts as 1 where others have one."""
    scores = [*person.get("scores", [None] * (len(person["action_ids"]) - 1)), score]
    if any(value is not None for value in scores):
        person["scores"] = scores
        person["score"] = max(1.0 if value is None else value for value in scores)


def write_coco(path: str | Path, document: dict[str, Any]) -> None:
    """Write a COCO file, one image or annotation a line, whole or not at all.

    Raises:
        AvadetError: if it cannot be written.
    """
    parts = []
    for name, value in document.items():
        lines = [_dumps(entry) for entry in value] if isinstance(value, list) else []
        body = "[\n" + ",\n".join(lines) + "\n]" if lines else _dumps(value)
        parts.append(f"{_dumps(name)}: {body}")
    with whole_file(path) as partial:
        partial.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def read_coco(
    path: str | Path,
    names: ActionNames | None = None,
    images: str | Path | None = None,
    footage: Footage | None = None,
) -> AvaRows:
    """Read a COCO file: of `to_coco`, a foreign one, or a list of detections; plain or gzipped.

    Images of foreign files need `video_id` (a name, or the id of an entry of `videos`) and `time_s` or `frame_id`, or a
    file name (`Footage.keyframe_of_picture`); boxes are divided by the image's or video's size. Where a category is
    called "person", its annotations are persons, whose `attributes` say their actions and ids, and the others are left
    out; otherwise the categories are actions. Crowd annotations are left out. An annotation with a score and a person
    id gives the score.

    Args:
        path: the file.
        names: where categories or attributes are actions: finds their ids; without a label map the ids of categories
            are those of actions.
        images: for a list of detections, the COCO file that has their images and categories.
        footage: what the file does not tell: rates of frames, sizes.

    Returns:
        the rows in the order of the CSV they came from; foreign ones by image, then by annotation. An image without
        people is a row of two columns.

    Raises:
        AvadetError: if the file is no COCO file, or images or annotations are malformed (file, id, what; up to 20).
    """
    document = read_json(path)
    detections = document if isinstance(document, list) else None
    place = path
    if detections is not None:
        if images is None:
            raise AvadetError(f"{path} is a list of detections; name the COCO file of its images as well (--images)")
        document, place = read_json(images), images
    for key in ("images", "categories", *(() if detections is not None else ("annotations",))):
        if not isinstance(document, dict) or not isinstance(document.get(key), list):
            raise AvadetError(f"{place}: expected a COCO file, an object with a list '{key}'; got {short(document)}")
    entries = document["annotations"] if detections is None else detections
    return CocoReader(Path(path), Path(place), document, names or ActionNames(), footage or Footage()).read(entries)


def read_json(path: str | Path) -> Any:
    """Parse a JSON file, plain or gzipped.

    Raises:
        AvadetError: if it cannot be read or is no JSON.
    """
    try:
        data = Path(path).read_bytes()
        text = (gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data).decode("utf-8-sig")
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise AvadetError(f"{path}:{error.lineno}: not JSON at column {error.colno}: {error.msg}") from error
    except (OSError, EOFError, ValueError, zlib.error, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AvadetError(f"cannot read {path}: {reason}; expected a JSON file, plain or gzipped") from error
