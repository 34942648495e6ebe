"""AVA's CSV rows as COCO JSON and back, without loss.

The form: an image is a keyframe (`video_id` and `time_s` beside COCO's own fields), an annotation is a person of
category "person". AVA has one row a box and action; rows of one keyframe with the same box and person id are one
annotation, whose `action_ids` (and `scores`, for detections) have one entry a row. `score` is the best of `scores`.

COCO's boxes are pixels and AVA's files do not know the frame's size, so `bbox` and `area` are those of a nominal
frame; `bbox_norm` is the box itself, xyxy 0-1. `rows` are the numbers of the rows in the file (from 1), which give its
order back. `info.csv` says how its numbers are written ("0902", three decimals); `cells` holds the rows that are
written otherwise, as they stand.

COCO: T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; format at
<https://cocodataset.org/#format-data>.
"""

from __future__ import annotations

import gzip
import json
import math
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar, cast
from urllib.parse import quote, unquote

from avadet.annotations.ava import format_time
from avadet.annotations.ava_rows import AvaRow, AvaRows, CsvStyle, LastColumn, raise_any, row_cells, with_fitting_cells
from avadet.annotations.csv_rows import MAX_PROBLEMS
from avadet.errors import AvadetError
from avadet.files import whole_file
from avadet.types import LabelMap

NOMINAL_SIZE_HW = (480, 640)
"""(height, width) px of frames whose size no file tells: that for which COCO's limits of small and large were made."""

_PERSON = "person"
_SECONDS = re.compile(r"\d+(?:\.\d+)?")
_NAME_AND_SECONDS = re.compile(rf"(.+)_({_SECONDS.pattern})")
_NUMBERED = ("img", "image", "frame")
_MOST_DECIMALS = 20
_LARGEST_ACTION_ID = 2**31 - 1  # of what reads the CSV
_Read = TypeVar("_Read")
_Id = int | str


def to_coco(
    table: AvaRows, labels: LabelMap | None = None, size_hw: tuple[int, int] = NOMINAL_SIZE_HW
) -> dict[str, Any]:
    """Rows as the content of a COCO file, ready for `write_coco`.

    Args:
        table: the rows.
        labels: names the actions, in a list `actions` beside the categories.
        size_hw: (height, width) px of the frames.
    """
    images: dict[tuple[str, float], dict[str, Any]] = {}
    people: dict[tuple[Any, ...], dict[str, Any]] = {}
    for number, row in enumerate(table.rows, start=1):
        if row.keyframe not in images:
            images[row.keyframe] = _image_entry(len(images) + 1, row, size_hw)
        image = images[row.keyframe]
        owner = image if row.box_norm is None else _person_entry(people, image, row, table.last, size_hw)
        owner.setdefault("rows", []).append(number)
        if row.cells is not None and row.cells != row_cells(row._replace(time_s=image["time_s"]), table):
            owner.setdefault("cells", {})[str(number)] = list(row.cells)
    document: dict[str, Any] = {
        "info": {"description": "AVA-style keyframes", "csv": {"last": table.last, **table.style._asdict()}},
        "images": list(images.values()),
        "annotations": list(people.values()),
        "categories": [{"id": 1, "name": _PERSON, "supercategory": _PERSON}],
    }
    if labels is not None:
        named = zip(labels.ids, labels.names, labels.groups)
        document["actions"] = [{"id": i, "name": name, "group": group} for i, name, group in named]
    return document


def _image_entry(image_id: int, row: AvaRow, size_hw: tuple[int, int]) -> dict[str, Any]:
    """An image of the COCO file."""
    folder = quote(row.video_id, safe="")
    if not folder.strip("."):
        folder = folder.replace(".", "%2E")  # "." and ".." would lead out of the folder of pictures
    name = f"{folder}/{format_time(row.time_s)}.jpg"
    shape = {"width": size_hw[1], "height": size_hw[0]}
    return {"id": image_id, "file_name": name, **shape, "video_id": row.video_id, "time_s": row.time_s}


def _person_entry(
    people: dict[tuple[Any, ...], dict[str, Any]],
    image: dict[str, Any],
    row: AvaRow,
    last: LastColumn,
    size_hw: tuple[int, int],
) -> dict[str, Any]:
    """The annotation of the row's person, with the row's action added to it."""
    assert row.box_norm is not None
    person_id = row.last if last == "person_id" else None
    key = (image["id"], row.box_norm, person_id)
    if key not in people:
        x1, y1, x2, y2 = row.box_norm
        height, width = size_hw
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


def read_coco(path: str | Path, labels: LabelMap | None = None, images: str | Path | None = None) -> AvaRows:
    """Read a COCO file: of `to_coco`, a foreign one, or a list of detections; plain or gzipped.

    Images of foreign files need `video_id` and `time_s`, or a file name VIDEO/SECONDS.jpg or VIDEO_SECONDS.jpg; their
    boxes are divided by the image's size. Where a category is called "person", its annotations are people without an
    action and the others are left out; otherwise the categories are actions. Crowd annotations are left out. An
    annotation with a score and a person id gives the score.

    Args:
        path: the file.
        labels: where categories are actions: their names are looked up here; None = category ids are action ids.
        images: for a list of detections, the COCO file that has their images and categories.

    Returns:
        the rows in the order of the CSV they came from; foreign ones by image, then by annotation. An image without
        people is a row of two columns.

    Raises:
        AvadetError: if the file is no COCO file, or images or annotations are malformed (file, id, what; up to 20).
    """
    document = _read_json(path)
    detections = document if isinstance(document, list) else None
    place = path
    if detections is not None:
        if images is None:
            raise AvadetError(f"{path} is a list of detections; name the COCO file of its images as well (--images)")
        document, place = _read_json(images), images
    for key in ("images", "categories", *(() if detections is not None else ("annotations",))):
        if not isinstance(document, dict) or not isinstance(document.get(key), list):
            raise AvadetError(f"{place}: expected a COCO file, an object with a list '{key}'; got {_short(document)}")
    entries = document["annotations"] if detections is None else detections
    return _CocoReader(Path(path), Path(place), document, labels).read(entries)


def _read_json(path: str | Path) -> Any:
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
        raise AvadetError(f"cannot read {path}: {reason}; expected a COCO JSON file, plain or gzipped") from error


class _Misfit(ValueError):
    """What is wrong with one image, annotation or category."""


class _Placed(NamedTuple):
    """A row and what orders it: its number in the file, the image and the annotation it comes from."""

    number: float
    image: int
    annotation: int
    row: AvaRow


class _Image(NamedTuple):
    """A keyframe of a COCO file; `size_hw` is None where the file has none, `rows` are those without a box."""

    position: int
    video_id: str
    time_s: float
    size_hw: tuple[float, float] | None
    rows: list[float]
    cells: Any


class _CocoReader:
    """Turns the images and annotations of one file into rows and gathers what is wrong with them."""

    def __init__(self, path: Path, images_path: Path, document: dict[str, Any], labels: LabelMap | None) -> None:
        """Read categories and images.

        Raises:
            AvadetError: if some are malformed.
        """
        self._path = path
        self._problems: list[str] = []
        self._last, self._style = _info_csv(document)
        self._action_of = None if labels is None else dict(zip(labels.names, labels.ids))
        self._names = dict(self._each(images_path, "category", document["categories"], _read_category))
        self._images: dict[_Id, _Image] = {}
        for image_id, image in self._each(images_path, "image", document["images"], _read_image):
            if self._images.setdefault(image_id, image) is not image:
                self._problems.append(f"{images_path}: image {_short(image_id)}: expected every id once, got it again")
        raise_any(self._problems)

    def read(self, entries: list[Any]) -> AvaRows:
        """All rows, in order.

        Raises:
            AvadetError: if annotations are malformed.
        """
        placed: list[_Placed] = []
        kinds: set[LastColumn] = set()
        num_left_out = 0
        for rows, kind in self._each(self._path, "annotation", entries, self._annotation):
            placed += rows
            kinds |= {kind} if kind else set()
            num_left_out += not rows
        if len(kinds) > 1:
            self._problems.append(f"{self._path}: some annotations have a score, others a person_id; expected one kind")
        raise_any(self._problems)
        placed += self._keyframes_alone({item.image for item in placed})
        last = kinds.pop() if kinds else self._last
        placed.sort(key=lambda item: item[:3])
        return AvaRows(tuple(with_fitting_cells(item.row, last) for item in placed), last, self._style, num_left_out)

    def _each(
        self, path: Path, kind: str, entries: list[Any], read: Callable[[int, dict[str, Any]], _Read]
    ) -> Iterator[_Read]:
        """What `read(position, entry)` gives for each entry; misfits become problems."""
        for position, entry in enumerate(entries):
            try:
                if not isinstance(entry, dict):
                    raise _Misfit(f"expected an object, got {_short(entry)}")
                yield read(position, entry)
            except _Misfit as misfit:
                named = isinstance(entry, dict) and "id" in entry
                place = f"{kind} {_short(entry['id'])}" if named else f"{kind} number {position + 1} of the list"
                self._problems.append(f"{path}: {place}: {misfit}")
                if len(self._problems) == MAX_PROBLEMS:
                    return

    def _annotation(self, position: int, entry: dict[str, Any]) -> tuple[list[_Placed], LastColumn | None]:
        """The rows of one annotation, none if it is left out; and what their eighth column is."""
        image_id = _id_of(entry, "image_id")
        if image_id not in self._images:
            raise _Misfit(f"image_id is {_short(image_id)}, expected the id of an image")
        image = self._images[image_id]
        action_ids = [] if entry.get("iscrowd") else self._action_ids(entry)
        if not action_ids:
            return [], None
        box = _box_norm(entry, image)
        kind, last = _last_values(entry, len(action_ids))
        numbers = _row_numbers(entry, len(action_ids))
        rows = [
            AvaRow(image.video_id, image.time_s, box, action, value, _kept_cells(entry.get("cells"), number))
            for action, value, number in zip(action_ids, last, numbers)
        ]
        return [_Placed(n, image.position, position, row) for n, row in zip(numbers, rows)], kind

    def _action_ids(self, entry: dict[str, Any]) -> list[int | None]:
        """The actions of an annotation, [None] for a person without, [] for something else than a person."""
        if "action_ids" in entry:
            ids = entry["action_ids"]
            if not isinstance(ids, list) or not ids or any(i is not None and not _is_action(i) for i in ids):
                raise _Misfit(f"action_ids is {_short(ids)}, expected a list of whole numbers or null")
            return ids
        category = _id_of(entry, "category_id")
        if category not in self._names:
            raise _Misfit(f"category_id is {_short(category)}, expected the id of a category")
        name = self._names[category]
        if _PERSON in self._names.values():
            return [None] if name == _PERSON else []
        action = category if self._action_of is None else self._action_of.get(name)
        if not _is_action(action):
            wanted = "a whole number as its id" if self._action_of is None else "a name of the label map"
            raise _Misfit(f"its category is {_short(category)} '{name}', expected {wanted}")
        return [cast(int, action)]

    def _keyframes_alone(self, with_people: set[int]) -> Iterator[_Placed]:
        """The rows that only name a keyframe: those that the file had, and one for each image without people."""
        for image in self._images.values():
            alone = not image.rows and image.position not in with_people
            for number in [math.inf] if alone else image.rows:
                cells = _kept_cells(image.cells, number)
                row = AvaRow(image.video_id, image.time_s, None, None, None, cells)
                yield _Placed(number, image.position, -1, row)


def _info_csv(document: dict[str, Any]) -> tuple[LastColumn, CsvStyle]:
    """What `to_coco` noted of the CSV; the usual style for foreign files and for notes that make no sense."""
    info = document.get("info")
    note = info.get("csv") if isinstance(info, dict) else None
    note = note if isinstance(note, dict) else {}
    digits = [note.get(name) for name in CsvStyle._fields]
    time, box, score = (n if _is_whole(n) and 0 <= cast(int, n) <= _MOST_DECIMALS else None for n in digits)
    return "person_id" if note.get("last") == "person_id" else "score", CsvStyle(time or 0, box, score)


def _read_category(position: int, entry: dict[str, Any]) -> tuple[_Id, str]:
    """(id, name) of an entry of `categories`."""
    name = entry.get("name")
    if not isinstance(name, str):
        raise _Misfit(f"name is {_short(name)}, expected a text")
    return _id_of(entry, "id"), name.strip()


def _read_image(position: int, entry: dict[str, Any]) -> tuple[_Id, _Image]:
    """(id, image) of an entry of `images`."""
    image_id = _id_of(entry, "id")
    video_id, time_s = _keyframe_of(entry)
    shape = (entry.get("height"), entry.get("width"))
    height, width = (_finite(side) for side in shape)
    size = None if height is None or width is None else (height, width)
    if shape != (None, None) and (size is None or min(size) <= 0):
        raise _Misfit(f"height and width are {_short(shape)}, expected positive numbers")
    rows = _row_numbers(entry, None) if "rows" in entry else []
    return image_id, _Image(position, video_id, time_s, size, rows, entry.get("cells"))


def _keyframe_of(entry: dict[str, Any]) -> tuple[str, float]:
    """Video and seconds of an image."""
    video_id, time_s = entry.get("video_id"), _finite(entry.get("time_s"))
    if "video_id" not in entry and "time_s" not in entry:
        video_id, time_s = _keyframe_of_name(entry.get("file_name"))
    if not isinstance(video_id, str) or not video_id or time_s is None:
        got = f"{_short(entry.get('video_id'))} and {_short(entry.get('time_s'))}"
        raise _Misfit(f"video_id and time_s are {got}, expected a name and seconds")
    if any("\ud800" <= letter <= "\udfff" for letter in video_id):
        raise _Misfit(f"its video is {json.dumps(video_id)}, expected a name that UTF-8 can write")
    return video_id, time_s


def _keyframe_of_name(file_name: Any) -> tuple[str, float]:
    """Video and seconds of VIDEO/SECONDS.jpg or VIDEO_SECONDS.jpg; folders before these do not matter."""
    expected = "expected video_id and time_s, or a file_name VIDEO/SECONDS.jpg or VIDEO_SECONDS.jpg"
    got = f"got file_name {_short(file_name)}"
    if not isinstance(file_name, str):
        raise _Misfit(f"{expected}; {got}")
    path = PurePosixPath(file_name.replace("\\", "/"))
    folder, stem = path.parent.name, path.stem if path.suffix[1:].isalpha() else path.name
    if folder and _SECONDS.fullmatch(stem):
        return unquote(folder), float(stem)
    match = _NAME_AND_SECONDS.fullmatch(stem)
    if match is None:
        raise _Misfit(f"{expected}; {got}")
    if match[1] in (folder, *_NUMBERED):
        raise _Misfit(f"{got} has the number of a frame, it seems; {expected}")
    return unquote(match[1]), float(match[2])


def _box_norm(entry: dict[str, Any], image: _Image) -> tuple[float, ...]:
    """The box of an annotation, xyxy 0-1 of the frame."""
    exact = _four_numbers(entry, "bbox_norm") if "bbox_norm" in entry else None
    if exact is not None and (exact[2] < exact[0] or exact[3] < exact[1]):
        raise _Misfit(f"bbox_norm is {_short(entry['bbox_norm'])}, expected xyxy, the smaller one first")
    if exact is not None and ("bbox" not in entry or image.size_hw is None):
        return exact
    x, y, w, h = _four_numbers(entry, "bbox")
    if w < 0 or h < 0:
        raise _Misfit(f"bbox is {_short(entry['bbox'])}, expected x, y, width and height, these not negative")
    if image.size_hw is None:
        raise _Misfit("its image has no height and width; they are needed to make 0-1 of pixels")
    height, width = image.size_hw
    box = (x / width, y / height, (x + w) / width, (y + h) / height)
    if exact is None:
        return box
    if max(abs(a - b) * side for a, b, side in zip(box, exact, (width, height) * 2)) > 0.5:
        raise _Misfit("bbox and bbox_norm are different boxes; take out the one that is not meant")
    return exact


def _last_values(entry: dict[str, Any], count: int) -> tuple[LastColumn | None, list[float | None]]:
    """What the eighth column of an annotation's rows is, and its values."""
    if "scores" in entry:
        scores = entry["scores"]
        fits = isinstance(scores, list) and len(scores) == count
        if not fits or any(s is not None and _finite(s) is None for s in scores):
            raise _Misfit(f"scores is {_short(scores)}, expected a list of {count} numbers or null like action_ids")
        return "score", [_finite(score) for score in scores]
    if "score" in entry:
        score = _finite(entry["score"])
        if score is None:
            raise _Misfit(f"score is {_short(entry['score'])}, expected a finite number")
        return "score", [score] * count
    person_id = entry.get("person_id")
    if person_id is not None and (not _is_whole(person_id) or _finite(person_id) is None):
        raise _Misfit(f"person_id is {_short(person_id)}, expected a whole number")
    return None if person_id is None else "person_id", [person_id] * count


def _row_numbers(entry: dict[str, Any], count: int | None) -> list[float]:
    """The numbers of an entry's rows in the file it came from, `count` of them; infinite where it does not tell."""
    rows = entry.get("rows", [math.inf] * (count or 0))
    if "rows" in entry:
        fits = isinstance(rows, list) and all(_is_whole(row) for row in rows)
        if not fits or count not in (None, len(rows)):
            wanted = "whole numbers" if count is None else f"{count} whole numbers like action_ids"
            raise _Misfit(f"rows is {_short(rows)}, expected a list of {wanted}")
    return list(rows)


def _kept_cells(cells: Any, number: float) -> tuple[str, ...] | None:
    """The cells that an entry keeps of a row."""
    kept = cells.get(str(number)) if isinstance(cells, dict) else None
    return tuple(kept) if isinstance(kept, list) and all(isinstance(cell, str) for cell in kept) else None


def _id_of(entry: dict[str, Any], key: str) -> _Id:
    """An id: a whole number or a text."""
    value = entry.get(key)
    if not _is_whole(value) and not isinstance(value, str):
        got = _short(value) if key in entry else "none"
        raise _Misfit(f"expected {key}, a whole number or a text, got {got}")
    return cast(_Id, value)


def _four_numbers(entry: dict[str, Any], key: str) -> tuple[float, ...]:
    """A box's four numbers."""
    value = entry.get(key)
    numbers = [_finite(number) for number in value] if isinstance(value, list) else []
    if len(numbers) != 4 or None in numbers:
        got = _short(value) if key in entry else "missing"
        raise _Misfit(f"{key} is {got}, expected four finite numbers")
    return tuple(cast(list[float], numbers))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_action(value: Any) -> bool:
    return _is_whole(value) and abs(value) <= _LARGEST_ACTION_ID


def _finite(value: Any) -> float | None:
    """A JSON number as float, None if it is none or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _short(value: Any) -> str:
    """A JSON value for a message, cut if long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
