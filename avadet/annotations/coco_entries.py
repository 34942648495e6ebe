"""The images and annotations of a COCO document as rows, and what is wrong with them, entry by entry.

`annotations.coco` tells the form. Readers of other tools' files make such a document and have its rows from here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar, cast
from urllib.parse import unquote

from avadet.annotations.ava_rows import AvaRow, AvaRows, CsvStyle, raise_any, with_fitting_cells
from avadet.annotations.csv_rows import MAX_PROBLEMS, LastColumn
from avadet.types import LabelMap

PERSON = "person"
_SECONDS = re.compile(r"\d+(?:\.\d+)?")
_NAME_AND_SECONDS = re.compile(rf"(.+)_({_SECONDS.pattern})")
_NUMBERED = ("img", "image", "frame")
_MOST_DECIMALS = 20
_LARGEST_ACTION_ID = 2**31 - 1  # of what reads the CSV
_Read = TypeVar("_Read")
_Id = int | str


class Misfit(ValueError):
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


class CocoReader:
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
                self._problems.append(f"{images_path}: image {short(image_id)}: expected every id once, got it again")
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
                    raise Misfit(f"expected an object, got {short(entry)}")
                yield read(position, entry)
            except Misfit as misfit:
                named = isinstance(entry, dict) and "id" in entry
                place = f"{kind} {short(entry['id'])}" if named else f"{kind} number {position + 1} of the list"
                self._problems.append(f"{path}: {place}: {misfit}")
                if len(self._problems) == MAX_PROBLEMS:
                    return

    def _annotation(self, position: int, entry: dict[str, Any]) -> tuple[list[_Placed], LastColumn | None]:
        """The rows of one annotation, none if it is left out; and what their eighth column is."""
        image_id = _id_of(entry, "image_id")
        if image_id not in self._images:
            raise Misfit(f"image_id is {short(image_id)}, expected the id of an image")
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
                raise Misfit(f"action_ids is {short(ids)}, expected a list of whole numbers or null")
            return ids
        category = _id_of(entry, "category_id")
        if category not in self._names:
            raise Misfit(f"category_id is {short(category)}, expected the id of a category")
        name = self._names[category]
        if PERSON in self._names.values():
            return [None] if name == PERSON else []
        action = category if self._action_of is None else self._action_of.get(name)
        if not _is_action(action):
            wanted = "a whole number as its id" if self._action_of is None else "a name of the label map"
            raise Misfit(f"its category is {short(category)} '{name}', expected {wanted}")
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
    time, box, score = (n if is_whole(n) and 0 <= cast(int, n) <= _MOST_DECIMALS else None for n in digits)
    return "person_id" if note.get("last") == "person_id" else "score", CsvStyle(time or 0, box, score)


def _read_category(position: int, entry: dict[str, Any]) -> tuple[_Id, str]:
    """(id, name) of an entry of `categories`."""
    name = entry.get("name")
    if not isinstance(name, str):
        raise Misfit(f"name is {short(name)}, expected a text")
    return _id_of(entry, "id"), name.strip()


def _read_image(position: int, entry: dict[str, Any]) -> tuple[_Id, _Image]:
    """(id, image) of an entry of `images`."""
    image_id = _id_of(entry, "id")
    video_id, time_s = _keyframe_of(entry)
    shape = (entry.get("height"), entry.get("width"))
    height, width = (finite(side) for side in shape)
    size = None if height is None or width is None else (height, width)
    if shape != (None, None) and (size is None or min(size) <= 0):
        raise Misfit(f"height and width are {short(shape)}, expected positive numbers")
    rows = _row_numbers(entry, None) if "rows" in entry else []
    return image_id, _Image(position, video_id, time_s, size, rows, entry.get("cells"))


def _keyframe_of(entry: dict[str, Any]) -> tuple[str, float]:
    """Video and seconds of an image."""
    video_id, time_s = entry.get("video_id"), finite(entry.get("time_s"))
    if "video_id" not in entry and "time_s" not in entry:
        video_id, time_s = keyframe_of_name(entry.get("file_name"))
    if not isinstance(video_id, str) or not video_id or time_s is None:
        got = f"{short(entry.get('video_id'))} and {short(entry.get('time_s'))}"
        raise Misfit(f"video_id and time_s are {got}, expected a name and seconds")
    if any("\ud800" <= letter <= "\udfff" for letter in video_id):
        raise Misfit(f"its video is {json.dumps(video_id)}, expected a name that UTF-8 can write")
    return video_id, time_s


def keyframe_of_name(file_name: Any) -> tuple[str, float]:
    """Video and seconds of VIDEO/SECONDS.jpg or VIDEO_SECONDS.jpg; folders before these do not matter."""
    expected = "expected video_id and time_s, or a file_name VIDEO/SECONDS.jpg or VIDEO_SECONDS.jpg"
    got = f"got file_name {short(file_name)}"
    if not isinstance(file_name, str):
        raise Misfit(f"{expected}; {got}")
    path = PurePosixPath(file_name.replace("\\", "/"))
    folder, stem = path.parent.name, path.stem if path.suffix[1:].isalpha() else path.name
    if folder and _SECONDS.fullmatch(stem):
        return unquote(folder), float(stem)
    match = _NAME_AND_SECONDS.fullmatch(stem)
    if match is None:
        raise Misfit(f"{expected}; {got}")
    if match[1] in (folder, *_NUMBERED):
        raise Misfit(f"{got} has the number of a frame, it seems; {expected}")
    return unquote(match[1]), float(match[2])


def _box_norm(entry: dict[str, Any], image: _Image) -> tuple[float, ...]:
    """The box of an annotation, xyxy 0-1 of the frame."""
    exact = _four_numbers(entry, "bbox_norm") if "bbox_norm" in entry else None
    if exact is not None and (exact[2] < exact[0] or exact[3] < exact[1]):
        raise Misfit(f"bbox_norm is {short(entry['bbox_norm'])}, expected xyxy, the smaller one first")
    if exact is not None and ("bbox" not in entry or image.size_hw is None):
        return exact
    x, y, w, h = _four_numbers(entry, "bbox")
    if w < 0 or h < 0:
        raise Misfit(f"bbox is {short(entry['bbox'])}, expected x, y, width and height, these not negative")
    if image.size_hw is None:
        raise Misfit("its image has no height and width; they are needed to make 0-1 of pixels")
    height, width = image.size_hw
    box = (x / width, y / height, (x + w) / width, (y + h) / height)
    if exact is None:
        return box
    meant_px = (exact[0] * width, exact[1] * height, (exact[2] - exact[0]) * width, (exact[3] - exact[1]) * height)
    return exact if all(rounded_from(got, want) for got, want in zip(cast(list[Any], entry["bbox"]), meant_px)) else box


def rounded_from(written: float, exact: float) -> bool:
    """Whether a number is the exact one with fewer decimals, so that nobody has changed it."""
    decimals = 0 if isinstance(written, int) else len(repr(written).partition(".")[2].partition("e")[0])
    return abs(written - exact) <= 0.5 * 10.0**-decimals + 1e-9 * max(abs(exact), 1.0)


def _last_values(entry: dict[str, Any], count: int) -> tuple[LastColumn | None, list[float | None]]:
    """What the eighth column of an annotation's rows is, and its values."""
    if "scores" in entry:
        scores = entry["scores"]
        fits = isinstance(scores, list) and len(scores) == count
        if not fits or any(s is not None and finite(s) is None for s in scores):
            raise Misfit(f"scores is {short(scores)}, expected a list of {count} numbers or null like action_ids")
        return "score", [finite(score) for score in scores]
    if "score" in entry:
        score = finite(entry["score"])
        if score is None:
            raise Misfit(f"score is {short(entry['score'])}, expected a finite number")
        return "score", [score] * count
    person_id = entry.get("person_id")
    if person_id is not None and (not is_whole(person_id) or finite(person_id) is None):
        raise Misfit(f"person_id is {short(person_id)}, expected a whole number")
    return None if person_id is None else "person_id", [person_id] * count


def _row_numbers(entry: dict[str, Any], count: int | None) -> list[float]:
    """The numbers of an entry's rows in the file it came from, `count` of them; infinite where it does not tell."""
    rows = entry.get("rows", [math.inf] * (count or 0))
    if "rows" in entry:
        fits = isinstance(rows, list) and all(is_whole(row) for row in rows)
        if not fits or count not in (None, len(rows)):
            wanted = "whole numbers" if count is None else f"{count} whole numbers like action_ids"
            raise Misfit(f"rows is {short(rows)}, expected a list of {wanted}")
    return list(rows)


def _kept_cells(cells: Any, number: float) -> tuple[str, ...] | None:
    """The cells that an entry keeps of a row."""
    kept = cells.get(str(number)) if isinstance(cells, dict) else None
    return tuple(kept) if isinstance(kept, list) and all(isinstance(cell, str) for cell in kept) else None


def _id_of(entry: dict[str, Any], key: str) -> _Id:
    """An id: a whole number or a text."""
    value = entry.get(key)
    if not is_whole(value) and not isinstance(value, str):
        got = short(value) if key in entry else "none"
        raise Misfit(f"expected {key}, a whole number or a text, got {got}")
    return cast(_Id, value)


def _four_numbers(entry: dict[str, Any], key: str) -> tuple[float, ...]:
    """A box's four numbers."""
    value = entry.get(key)
    numbers = [finite(number) for number in value] if isinstance(value, list) else []
    if len(numbers) != 4 or None in numbers:
        got = short(value) if key in entry else "missing"
        raise Misfit(f"{key} is {got}, expected four finite numbers")
    return tuple(cast(list[float], numbers))


def is_whole(value: Any) -> bool:
    """Whether a JSON value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_action(value: Any) -> bool:
    return is_whole(value) and abs(value) <= _LARGEST_ACTION_ID


def finite(value: Any) -> float | None:
    """A JSON number as float, None if it is none or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def short(value: Any) -> str:
    """A JSON value for a message, cut if long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
