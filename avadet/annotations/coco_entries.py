"""The images and annotations of a COCO document as rows, and what is wrong with them, entry by entry.

`annotations.coco` tells the form. Readers of other tools' files make such a document and have its rows from here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from avadet.annotations.action_names import ActionNames, chosen_actions, person_id_text
from avadet.annotations.ava_rows import AvaRow, AvaRows, CsvStyle, cleaned, raise_any, with_fitting_cells
from avadet.annotations.csv_rows import MAX_PROBLEMS
from avadet.annotations.csv_text import LastColumn, numbered_ids, told_ids
from avadet.annotations.footage import Footage, Misfit, Unsaid, short, video_name
from avadet.annotations.json_fields import (
    Id,
    attributes_of,
    finite,
    four_numbers,
    id_of,
    is_whole,
    kept_cells,
    rounded_from,
    row_numbers,
    size_of,
)

PERSON = "person"
PERSON_NAMES = (PERSON, "persons", "people", "pedestrian", "human", "actor")
"""Labels of persons, in small letters, in files whose other labels are things."""

_TIMES = ("time_s", "timestamp", "time", "seconds")
_FRAMES = ("frame_id", "frame_index", "frame_number", "frame_idx", "frame")
_MOST_DECIMALS = 20
_LARGEST_ACTION_ID = 2**31 - 1  # of what reads the CSV
_Read = TypeVar("_Read")


class _Placed(NamedTuple):
    """A row and what orders it: its number in the file, the image and the annotation it comes from."""

    number: float
    image: int
    annotation: int
    row: AvaRow


class _Video(NamedTuple):
    """A video that a COCO file describes: its name, (height, width) px, frames per second."""

    video_id: str
    size_hw: tuple[float, float] | None
    fps: float | None


class _Image(NamedTuple):
    """A keyframe of a COCO file; `size_hw` is None where it is not known, `rows` are those without a box."""

    position: int
    video_id: str
    time_s: float
    size_hw: tuple[float, float] | None
    rows: list[float]
    cells: Any


class CocoReader:
    """Turns the images and annotations of one file into rows and gathers what is wrong with them."""

    def __init__(
        self, path: Path, images_path: Path, document: dict[str, Any], names: ActionNames, footage: Footage
    ) -> None:
        """Read categories, videos and images.

        Raises:
            AvadetError: if some are malformed.
        """
        self._path, self._names, self._footage = path, names, footage
        self._problems: list[str] = []
        self._left_out: Counter[str] = Counter()
        self._last, self._style, self._is_own = _info_csv(document)
        self._categories = dict(self._each(images_path, "category", document["categories"], _read_category))
        self._has_people = any(name.lower() in PERSON_NAMES for name in self._categories.values())
        videos = document.get("videos")
        listed = videos if isinstance(videos, list) else []
        self._videos = dict(self._each(images_path, "video", listed, _read_video))
        fps_of = {video.video_id: video.fps for video in self._videos.values()}
        self._footage = replace(footage, fps=lambda name: footage.fps(name) or fps_of.get(name))
        self._images: dict[Id, _Image] = {}
        for image_id, image in self._each(images_path, "image", document["images"], self._image):
            if self._images.setdefault(image_id, image) is not image:
                self._problems.append(f"{images_path}: image {short(image_id)}: expected every id once, got it again")
        raise_any(self._problems)

    def read(self, entries: list[Any]) -> AvaRows:
        """All rows, in order; those that do not come from a CSV as `ava_rows.cleaned` leaves them.

        Raises:
            AvadetError: if annotations are malformed.
        """
        placed: list[_Placed] = []
        kinds: set[LastColumn] = set()
        for rows, kind in self._each(self._path, "annotation", entries, self._annotation):
            placed += rows
            kinds |= {kind} if kind else set()
        if len(kinds) > 1:
            self._problems.append(f"{self._path}: some annotations have a score, others a person_id; expected one kind")
        raise_any(self._problems)
        placed += self._keyframes_alone({item.image for item in placed})
        last = kinds.pop() if kinds else self._last
        placed.sort(key=lambda item: item[:3])
        ids = numbered_ids(item.row.last for item in placed if last == "person_id" and item.row.last is not None)
        table = [one.row._replace(last=ids.get(cast(Any, one.row.last), one.row.last)) for one in placed]
        count = sum(math.isfinite(item.number) for item in placed)
        made, changed = cleaned(table[count:], last)
        own = (with_fitting_cells(row, last) for row in (*table[:count], *made))
        notes = (told_ids(ids),) if ids else ()
        return AvaRows(tuple(own), last, self._style, self._left_out + changed, notes)

    def _each(
        self, path: Path, kind: str, entries: list[Any], read: Callable[[int, dict[str, Any]], _Read]
    ) -> Iterator[_Read]:
        """What `read(position, entry)` gives for each entry; misfits become problems."""
        for position, entry in enumerate(entries):
            try:
                if not isinstance(entry, dict):
                    raise Misfit(f"expected an object, got {short(entry)}")
                yield read(position, entry)
            except Unsaid as unsaid:
                line = f"{path}: {unsaid}"
                self._problems += [] if line in self._problems else [line]
            except Misfit as misfit:
                named = isinstance(entry, dict) and "id" in entry
                place = f"{kind} {short(entry['id'])}" if named else f"{kind} number {position + 1} of the list"
                self._problems.append(f"{path}: {place}: {misfit}")
                if len(self._problems) == MAX_PROBLEMS:
                    return

    def _annotation(self, position: int, entry: dict[str, Any]) -> tuple[list[_Placed], LastColumn | None]:
        """The rows of one annotation, none if it is left out; and what their eighth column is."""
        image_id = id_of(entry, "image_id")
        if image_id not in self._images:
            raise Misfit(f"image_id is {short(image_id)}, expected the id of an image")
        image = self._images[image_id]
        attributes = attributes_of(entry)
        reason, action_ids = self._actions(entry, attributes)
        if reason:
            self._left_out[reason] += 1
            return [], None
        box = _box_norm(entry, image)
        kind, last = _last_values(entry, len(action_ids), person_id_text(dict(attributes)))
        numbers = row_numbers(entry, len(action_ids))
        rows = [
            AvaRow(image.video_id, image.time_s, box, action, value, kept_cells(entry.get("cells"), number))
            for action, value, number in zip(action_ids, last, numbers)
        ]
        return [_Placed(n, image.position, position, row) for n, row in zip(numbers, rows)], kind

    def _actions(self, entry: dict[str, Any], attributes: list[tuple[str, str]]) -> tuple[str, list[int | None]]:
        """Why an annotation is left out, or its actions; [None] for a person without."""
        if entry.get("iscrowd") or entry.get("ignore"):
            return "crowds, or to be ignored", []
        if "action_ids" in entry:
            ids = entry["action_ids"]
            if not isinstance(ids, list) or not ids or any(i is not None and not _is_action(i) for i in ids):
                raise Misfit(f"action_ids is {short(ids)}, expected a list of whole numbers or null")
            return "", ids
        category = id_of(entry, "category_id")
        if category not in self._categories:
            raise Misfit(f"category_id is {short(category)}, expected the id of a category")
        name = self._categories[category]
        if self._has_people and name.lower() not in PERSON_NAMES:
            return f"boxes of '{name}'", []
        if "bbox" not in entry and "segmentation" in entry:
            return "shapes without a box", []
        own: list[int | None] = [] if self._has_people else [self._action_of(category, name)]
        found = chosen_actions(attributes, self._names, self._footage.attributes)
        return "", list(dict.fromkeys([*own, *found])) or [None]

    def _action_of(self, category: Id, name: str) -> int:
        """The action that a category is: by its name in the label map, else by its id."""
        if self._names.has_labels or self._names.is_numbering:
            if not self._names.is_numbering and not self._names.knows(name):
                raise Misfit(f"its category is {short(category)} '{name}', expected a name of the label map")
            return self._names.action_id(name)
        if not _is_action(category):
            raise Misfit(f"its category is {short(category)} '{name}', expected a whole number as its id")
        return cast(int, category)

    def _image(self, position: int, entry: dict[str, Any]) -> tuple[Id, _Image]:
        """(id, image) of an entry of `images`."""
        image_id = id_of(entry, "id")
        video_id, time_s = self._keyframe(entry)
        size = size_of(entry)
        if size is None:
            known = {video.video_id: video.size_hw for video in self._videos.values()}
            size = known.get(video_id) or self._footage.size_hw(video_id)
        rows = row_numbers(entry, None) if "rows" in entry else []
        return image_id, _Image(position, video_id, time_s, size, rows, entry.get("cells"))

    def _keyframe(self, entry: dict[str, Any]) -> tuple[str, float]:
        """Video and seconds of an image, by its own fields, the table of videos, or the picture's name."""
        if self._is_own or (isinstance(entry.get("video_id"), str) and "time_s" in entry):
            video_id, time_s = entry.get("video_id"), finite(entry.get("time_s"))
            if not isinstance(video_id, str) or not video_id or time_s is None:
                got = f"{short(video_id)} and {short(entry.get('time_s'))}"
                raise Misfit(f"video_id and time_s are {got}, expected a name and seconds")
            return (video_id if self._is_own else video_name(video_id)), time_s
        named, video = entry.get("video_id"), None
        if named is not None and (is_whole(named) or isinstance(named, str)) and named in self._videos:
            video = self._videos[named].video_id
        elif isinstance(named, str) and named:
            video = video_name(named)
        elif named is not None and "file_name" not in entry:
            raise Misfit(f"video_id is {short(named)}, expected a name, or the id of an entry of 'videos'")
        return self._moment(entry, video)

    def _moment(self, entry: dict[str, Any], video: str | None) -> tuple[str, float]:
        """Video and seconds of an image whose video may be known already."""
        time = next((entry[key] for key in _TIMES if key in entry), None)
        frame = next((entry[key] for key in _FRAMES if key in entry), None)
        by_name = time is None and frame is None
        if by_name or video is None:
            name = entry.get("file_name")
            if not isinstance(name, str):
                wanted = "video_id with time_s or frame_id, or a file_name VIDEO/NUMBER.jpg"
                raise Misfit(f"expected {wanted}; got video_id {short(entry.get('video_id'))}, file_name {short(name)}")
            named = self._footage if video is None else replace(self._footage, video_id=video)
            video, of_name = (named if by_name else replace(named, numbers="seconds")).keyframe_of_picture(name)
            if by_name:
                return video, of_name
        time_s = finite(time)
        if time_s is not None:
            return video, time_s
        if not is_whole(frame):
            raise Misfit(f"time and frame are {short(time)} and {short(frame)}, expected seconds or a frame's number")
        return video, self._footage.time_s(video, cast(int, frame))

    def _keyframes_alone(self, with_people: set[int]) -> Iterator[_Placed]:
        """The rows that only name a keyframe: those that the file had, and one for each image without people."""
        for image in self._images.values():
            alone = not image.rows and image.position not in with_people
            for number in [math.inf] if alone else image.rows:
                cells = kept_cells(image.cells, number)
                row = AvaRow(image.video_id, image.time_s, None, None, None, cells)
                yield _Placed(number, image.position, -1, row)


def _info_csv(document: dict[str, Any]) -> tuple[LastColumn, CsvStyle, bool]:
    """What `to_coco` noted of the CSV, and whether it did; the usual style for notes that make no sense."""
    info = document.get("info")
    note = info.get("csv") if isinstance(info, dict) else None
    is_own = isinstance(note, dict)
    note = note if isinstance(note, dict) else {}
    digits = [note.get(name) for name in CsvStyle._fields]
    time, box, score = (n if is_whole(n) and 0 <= cast(int, n) <= _MOST_DECIMALS else None for n in digits)
    return "person_id" if note.get("last") == "person_id" else "score", CsvStyle(time or 0, box, score), is_own


def _read_category(position: int, entry: dict[str, Any]) -> tuple[Id, str]:
    """(id, name) of an entry of `categories`."""
    name = entry.get("name")
    if not isinstance(name, str):
        raise Misfit(f"name is {short(name)}, expected a text")
    return id_of(entry, "id"), name.strip()


def _read_video(position: int, entry: dict[str, Any]) -> tuple[Id, _Video]:
    """(id, video) of an entry of `videos`."""
    name = next((entry[key] for key in ("name", "file_name", "video_name") if isinstance(entry.get(key), str)), None)
    if not name:
        raise Misfit("expected its name, or its file_name")
    fps = next((finite(entry[key]) for key in ("fps", "frame_rate", "framerate") if key in entry), None)
    return id_of(entry, "id"), _Video(video_name(name), size_of(entry), fps if fps and fps > 0 else None)


def _box_norm(entry: dict[str, Any], image: _Image) -> tuple[float, ...]:
    """The box of an annotation, xyxy 0-1 of the frame."""
    exact = four_numbers(entry, "bbox_norm") if "bbox_norm" in entry else None
    if exact is not None and (exact[2] < exact[0] or exact[3] < exact[1]):
        raise Misfit(f"bbox_norm is {short(entry['bbox_norm'])}, expected xyxy, the smaller one first")
    if exact is not None and ("bbox" not in entry or image.size_hw is None):
        return exact
    x, y, w, h = four_numbers(entry, "bbox")
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


def _last_values(entry: dict[str, Any], count: int, who: str) -> tuple[LastColumn | None, list[Any]]:
    """What the eighth column of an annotation's rows is, and its values; ids may be text."""
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
    if not (person_id is None or isinstance(person_id, str) or (is_whole(person_id) and finite(person_id) is not None)):
        raise Misfit(f"person_id is {short(person_id)}, expected a whole number or a text")
    if person_id is None and who:
        person_id = int(who) if who.lstrip("+-").isdecimal() else who
    return None if person_id is None else "person_id", [person_id] * count


def _is_action(value: Any) -> bool:
    return is_whole(value) and abs(value) <= _LARGEST_ACTION_ID
