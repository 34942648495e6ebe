"""Projects of the VGG Image Annotator as AVA's rows and back: VIA 3's JSON, and VIA 2's, which is only read.

In VIA 3 a region is an entry of `metadata`: `vid` names a view and by it a file, `z` the seconds of a video's frame,
`xy` the shape, `av` the values of attributes. A written project has a file per video and the attributes `action`
(tick boxes), `person_id` or `scores`, and the note of `annotations.foreign`; what belongs to keyframes without people
is in a note of the file itself.

VIA: A. Dutta and A. Zisserman, "The VIA Annotation Software for Images, Audio and Video", ACM MM 2019; format at
<https://gitlab.com/vgg/via/-/blob/master/via-3.x.y/CodeDoc.md>.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from avadet.annotations.action_names import (
    PERSON_ID_ATTRIBUTES,
    ActionNames,
    chosen_actions,
    named_as_actions,
    person_id_text,
    plain_name,
)
from avadet.annotations.ava_rows import AvaRows
from avadet.annotations.coco import read_json
from avadet.annotations.csv_text import open_text
from avadet.annotations.footage import Footage, Misfit, short, video_name
from avadet.annotations.foreign import NOTE, SCORES, Document, Seen, read_note, wrong_file
from avadet.annotations.json_fields import finite
from avadet.annotations.via2 import project_of, regions_of_csv

ACTION = "action"
TEXT, TICKED = 1, 2  # kinds of attributes
VIDEO = 4  # kind of file
RECTANGLE, _EXTREME_RECTANGLE = 2, 8  # shapes
_DECIMALS = 3


def read_via(path: str | Path, names: ActionNames, footage: Footage | None = None) -> AvaRows:
    """Read a project of VIA 3, or of VIA 2, or VIA 2's regions alone; plain or gzipped.

    Every rectangle is a person; other shapes are left out. Actions and ids are attributes, see
    `action_names.chosen_actions`. A temporal segment gives its actions to the rectangles whose moment lies in it, of
    the same person where it says who; one that holds none is left out. The video and the moment of a picture are given
    by its name (`Footage.keyframe_of_picture`).

    Args:
        path: the file.
        names: finds the ids of actions.
        footage: the size of frames, which VIA does not keep; the frame rate, for pictures named by frame numbers.

    Raises:
        AvadetError: if it is no such file, or regions are malformed (file, which one, what; up to 20).
    """
    file = Path(path)
    document = read_json(path) if _is_json(file) else regions_of_csv(file)
    if not (isinstance(document, dict) and all(isinstance(document.get(key), dict) for key in ("metadata", "file"))):
        found = project_of(document)
        if found is None:
            expected = "a project of VIA, an object with 'metadata' and 'file', or with '_via_img_metadata'"
            raise wrong_file(file, expected, short(document))
        document = found
    reader = _Reader(file, names, footage)
    reader.project(document)
    return reader.document.rows(names)


def _is_json(path: Path) -> bool:
    with open_text(path) as file:
        return file.read(4096).lstrip()[:1] in ("{", "[", "")


class _Attribute(NamedTuple):
    """An attribute: its name, the texts of its options, whether several may be ticked."""

    name: str
    options: dict[str, str]
    is_ticked: bool


class _Segment(NamedTuple):
    """A stretch of a video in which something is done.

    Attributes:
        start_s: seconds.
        end_s: seconds.
        actions: what is done.
        others: further attributes; boxes that have them as well must have the same values.
        person: who does it, "" = everybody.
    """

    start_s: float
    end_s: float
    actions: list[str]
    others: dict[str, str]
    person: str


class _Reader:
    """Fills a COCO document and gathers what is wrong."""

    def __init__(self, path: Path, names: ActionNames, footage: Footage | None) -> None:
        self._names = names
        self._images: dict[tuple[str, float], int] = {}
        self._sizes_hw: dict[str, Any] = {}
        self._choices: set[str] = set()
        self._several: set[str] = set()
        self._segments: dict[str, list[_Segment]] = {}
        self._used: set[int] = set()
        self.document = Document(path, footage)

    def choose(self, given: set[str], options: dict[str, list[str]]) -> None:
        """Know the attributes, and the options of those that have some."""
        wanted = self.document.footage.attributes
        named = not wanted and named_as_actions(given)
        self._choices = set() if named or wanted else {name for name, texts in options.items() if texts}
        meant = self._choices or {name for name in options if name in wanted}
        texts = [text for name in meant for text in dict.fromkeys(options[name])]
        self._several = {text for text in texts if texts.count(text) > 1}

    def project(self, content: dict[str, Any]) -> None:
        """A project of VIA 3."""
        attributes = {key: _attribute(value) for key, value in _objects(content.get("attribute"))}
        if NOTE in {one.name for one in attributes.values()}:
            options = next((one.options for one in attributes.values() if one.name == ACTION), {})
            self._names.learn((text, int(key)) for key, text in options.items() if key.isdecimal())
        files = dict(_objects(content["file"]))
        views = dict(_objects(content.get("view")))
        entries = [(key, one, _file_of(one, views, files)) for key, one in _objects(content["metadata"])]
        used = {str(key) for _, one, _ in entries for key in one.get("av") or () if isinstance(one.get("av"), dict)}
        self.choose(
            {one.name for key, one in attributes.items() if key in used},
            {one.name: list(one.options.values()) for one in attributes.values()},
        )
        for key, one, file in entries:
            with self.document.at(f": metadata {key}"):
                self._file_note(one, attributes, file)
                self._add_segment(one, attributes, file)
        for file in files.values():
            with self.document.at(f": file {short(file.get('fname'))}"):
                if file.get("type") != VIDEO:
                    self._add_image(*self.document.keyframe_of_picture(str(file.get("fname", ""))))
        for key, one, file in entries:
            with self.document.at(f": metadata {key}"):
                self._add_region(one, file, attributes)
        idle = sum(id(one) not in self._used for segments in self._segments.values() for one in segments)
        self.document.left_out["temporal segments without a box of theirs"] += idle

    def _file_note(self, entry: dict[str, Any], attributes: dict[str, _Attribute], file: dict[str, Any] | None) -> None:
        """The note of a file: keyframes with rows of their own, sizes, the CSV's style."""
        if file is None or entry.get("xy") or entry.get("z"):
            return
        note = read_note(dict(_texts(entry, attributes)).get(NOTE))
        video_id = _video_id(file, note)
        size = note.get("size_hw")
        if isinstance(size, list) and len(size) == 2 and all((finite(side) or 0) > 0 for side in size):
            self._sizes_hw[video_id] = tuple(size)
        for keyframe in note.get("keyframes", []) if isinstance(note.get("keyframes"), list) else []:
            if isinstance(keyframe, dict) and finite(keyframe.get("time_s")) is not None:
                number = self._add_image(video_id, keyframe["time_s"])
                kept = {key: keyframe[key] for key in ("rows", "cells") if key in keyframe}
                self.document.content["images"][number - 1] |= kept
        if "csv" in note:
            self.document.content["info"]["csv"] = note["csv"]

    def _add_segment(
        self, entry: dict[str, Any], attributes: dict[str, _Attribute], file: dict[str, Any] | None
    ) -> None:
        """A temporal segment of a video."""
        z = entry.get("z")
        if entry.get("xy") or not isinstance(z, list) or len(z) < 2:
            return
        ends = [finite(one) for one in z]
        start_s, end_s = ends[0], ends[-1]
        if file is None or start_s is None or end_s is None or end_s < start_s:
            raise Misfit(f"a temporal segment is z {short(z)} of vid {short(entry.get('vid'))}, expected two moments")
        texts, wanted = _texts(entry, attributes), self.document.footage.attributes
        said = [(name, text) for name, text in texts if plain_name(name) not in PERSON_ID_ATTRIBUTES]
        choices = {one.name for one in attributes.values() if one.options}
        meant = {
            name for name, _ in said if (name in wanted if wanted else name in choices or named_as_actions([name]))
        }
        meant = meant or ({name for name, _ in said} if not wanted and len({name for name, _ in said}) == 1 else set())
        others = {name: text for name, text in said if name not in meant}
        actions = [text for name, text in said if name in meant]
        segment = _Segment(start_s, end_s, actions, others, person_id_text(dict(texts)))
        self._segments.setdefault(str(file.get("fid", file.get("fname"))), []).append(segment)

    def _segment_texts(
        self, file: dict[str, Any], time_s: float, texts: list[tuple[str, str]]
    ) -> list[tuple[str, str]]:
        """The actions that the segments around a box of such attributes give it."""
        own_texts = dict(texts)
        person = person_id_text(own_texts)
        own = self._segments.get(str(file.get("fid", file.get("fname"))), [])
        last_s = max((one.end_s for one in own), default=0.0)
        around = [
            one
            for one in own
            if one.person in ("", person)
            and (one.start_s <= time_s < one.end_s or time_s == one.end_s == last_s)
            and all(own_texts.get(name, text) in ("", text) for name, text in one.others.items())
        ]
        self._used |= {id(one) for one in around}
        name = next(iter(self.document.footage.attributes), ACTION)
        return [(name, text) for one in around for text in one.actions]

    def _add_region(
        self, entry: dict[str, Any], file: dict[str, Any] | None, attributes: dict[str, _Attribute]
    ) -> None:
        """A region of VIA 3."""
        shape = entry.get("xy")
        if not shape:
            return  # a file's note, or a segment
        if file is None:
            raise Misfit(f"vid is {short(entry.get('vid'))}, expected the id of a view with a file")
        texts = _texts(entry, attributes)
        video_id, time_s = self._moment(entry, file, read_note(dict(texts).get(NOTE)))
        box = _box_px(shape)
        image_id = self._add_image(video_id, time_s)
        if box is None:
            self.document.left_out["shapes that are no rectangle"] += 1
            return
        more = self._segment_texts(file, time_s, texts)
        self._add_person(image_id, video_id, box, [*texts, *more], _said(entry, attributes))

    def _moment(self, entry: dict[str, Any], file: dict[str, Any], note: dict[str, Any]) -> tuple[str, float]:
        """Video and seconds of a region."""
        z = entry.get("z") or []
        if file.get("type") != VIDEO and not z:
            return self.document.keyframe_of_picture(str(file.get("fname", "")))
        time_s = finite(z[0]) if isinstance(z, list) and len(z) == 1 else None
        if time_s is None:
            raise Misfit(f"z is {short(z)}, expected one moment of the video in seconds")
        return self.document.footage.video_id or _video_id(file, note), time_s

    def _add_image(self, video_id: str, time_s: float) -> int:
        """The id of a keyframe, added if it is new."""
        key = (video_id, time_s)
        if key not in self._images:
            self._images[key] = self.document.add_image(video_id, time_s)
        return self._images[key]

    def _add_person(
        self, image_id: int, video_id: str, box: tuple[float, ...], texts: list[tuple[str, str]], said: str
    ) -> None:
        """A person: box in pixels, attributes as (name, text), and what the field of actions says as it stands."""
        footage = self.document.footage
        size_hw = self._sizes_hw.get(video_id) or footage.known_size_hw(video_id)
        self.document.content["images"][image_id - 1] |= {"height": size_hw[0], "width": size_hw[1]}
        own = {plain_name(name): text for name, text in texts}
        values = [
            (name, f"{name}: {text}" if self._names.is_numbering and text in self._several else text)
            for name, text in texts
            if plain_name(name) not in (SCORES, NOTE)
        ]

        def action_ids() -> list[int]:
            return chosen_actions(values, self._names, footage.attributes, self._choices)

        seen = Seen(box, size_hw, said, action_ids, person_id_text(dict(texts)), own.get(SCORES, ""))
        self.document.add_person(image_id, seen, read_note(own.get(NOTE)))


def _objects(value: Any) -> list[tuple[str, dict[str, Any]]]:
    """The entries of an object that are objects."""
    return [(key, one) for key, one in value.items() if isinstance(one, dict)] if isinstance(value, dict) else []


def _attribute(entry: dict[str, Any]) -> _Attribute:
    options = entry.get("options")
    named = {str(key): str(text) for key, text in options.items()} if isinstance(options, dict) else {}
    return _Attribute(str(entry.get("aname", "")), named, entry.get("type") == TICKED)


def _file_of(entry: dict[str, Any], views: dict[str, Any], files: dict[str, Any]) -> dict[str, Any] | None:
    """The file that an entry of `metadata` belongs to."""
    listed = views.get(str(entry.get("vid")), {}).get("fid_list")
    found = files.get(str(listed[0])) if isinstance(listed, list) and listed else None
    return found if isinstance(found, dict) else None


def _video_id(file: dict[str, Any], note: dict[str, Any]) -> str:
    """The name of a video's file without its suffix; as it was where a note tells that avadet wrote it."""
    name = str(file.get("fname", ""))
    return name.removesuffix(".mp4") if note else video_name(name)


def _texts(entry: dict[str, Any], attributes: dict[str, _Attribute]) -> list[tuple[str, str]]:
    """(name, text) of an entry's attributes, each ticked option for itself."""
    values = entry.get("av")
    found = []
    for key, value in values.items() if isinstance(values, dict) else ():
        one = attributes.get(str(key), _Attribute(str(key), {}, False))
        listed = value if isinstance(value, list) else str(value).split(",") if one.is_ticked else [value]
        parts = ["" if part is None else str(part) for part in listed]
        found += [(one.name, text) for part in parts if (text := one.options.get(part, part))]
    return found


def _said(entry: dict[str, Any], attributes: dict[str, _Attribute]) -> str:
    """What the field of actions says, as it stands."""
    values = entry.get("av")
    keys = [key for key, one in attributes.items() if one.name == ACTION]
    return str(values.get(keys[0], "")) if keys and isinstance(values, dict) else ""


def _box_px(shape: Any) -> tuple[float, ...] | None:
    """A rectangle, xyxy px; None for other shapes.

    Raises:
        Misfit: if it is no shape.
    """
    numbers = [finite(value) for value in shape] if isinstance(shape, list) else []
    if not numbers or None in numbers:
        raise Misfit(f"xy is {short(shape)}, expected the number of a shape and its pixels")
    kind, *rest = [float(value) for value in numbers if value is not None]
    if kind == _EXTREME_RECTANGLE and len(rest) >= 4:
        xs, ys = rest[::2], rest[1::2]
        return min(xs), min(ys), max(xs), max(ys)
    if kind != RECTANGLE:
        return None
    if len(rest) != 4:
        raise Misfit(f"xy is {short(shape)}, expected [2, x, y, width, height]")
    x, y, width, height = rest
    return x, y, round(x + width, 2 * _DECIMALS), round(y + height, 2 * _DECIMALS)  # a sum of decimals is a decimal
