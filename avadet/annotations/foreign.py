"""What readers and writers of other annotation tools' files have in common.

Tools keep pixels with two or three decimals and know neither order nor style of a CSV's rows. Whatever a tool's own
fields do not hold goes along as a note: one text attribute of the box, named `avadet`, with JSON in it. The note says
what the tool's fields were when it was written. Where they still are that, nothing was changed and the note's exact
numbers are taken; where they differ, somebody has edited them, and what the tool's fields say is what counts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from avadet.annotations.action_names import ActionNames, split_names
from avadet.annotations.ava_rows import AvaRows, raise_any
from avadet.annotations.coco_entries import PERSON, CocoReader, Misfit, finite, is_whole, keyframe_of_name, rounded_from
from avadet.errors import AvadetError

NOTE = "avadet"
"""Name of the attribute that keeps what a tool's own fields do not hold."""

ACTIONS, PERSON_ID, SCORES = "actions", "person_id", "scores"
"""Names of the attributes of people that are written for eyes and hands."""

ACTION_ATTRIBUTES = ("action", "actions", "activity", "activities", "label", "class", "category")
PERSON_ID_ATTRIBUTES = (PERSON_ID, "person id", "track_id", "track id", "id")
_MOST_DIGITS = 9  # of a frame's number
_KEPT = ("bbox_norm", "action_ids", "rows", "cells")


@dataclass(frozen=True)
class Footage:
    """What annotation files often leave unsaid, given by the user or looked up in the videos.

    Attributes:
        size_hw: (height, width) px of a video's frames by its name, None = not known.
        fps: its frames per second, None = not known.
        first_frame: the number that files give the first frame.
        every_s: seconds from keyframe to keyframe of tracks, None = every frame.
        video_id: the video of files that name none.
        attributes: the attributes that say actions; empty = those whose names or values tell.
    """

    size_hw: Callable[[str], tuple[int, int] | None] = lambda video_id: None
    fps: Callable[[str], float | None] = lambda video_id: None
    first_frame: int = 0
    every_s: float | None = None
    video_id: str | None = None
    attributes: tuple[str, ...] = ()

    def known_size_hw(self, video_id: str) -> tuple[int, int]:
        """(height, width) px.

        Raises:
            Misfit: if it is not known.
        """
        size_hw = self.size_hw(video_id)
        if size_hw is None:
            raise _Unsaid(f"boxes of {video_id} are pixels of frames of unknown size; add --size WxH or --videos DIR")
        return size_hw

    def time_s(self, video_id: str, frame: int) -> float:
        """Seconds of a frame.

        Raises:
            Misfit: if the rate is not known.
        """
        fps = self.fps(video_id)
        if fps is None:
            raise _Unsaid(f"the file counts frames of {video_id}; to make seconds of them add --fps N or --videos DIR")
        return (frame - self.first_frame) / fps


class _Unsaid(Misfit):
    """What neither the file nor the user says of a video; told once, not for every box."""


class Problems:
    """What is wrong with a file, one line each."""

    def __init__(self, path: Path) -> None:
        """Begin with nothing.

        Args:
            path: the file.
        """
        self._path = path
        self.lines: list[str] = []

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        """Where something of the file is read: a misfit becomes a line that names the place."""
        try:
            yield
        except _Unsaid as unsaid:
            line = f"{self._path}: {unsaid}"
            self.lines += [] if line in self.lines else [line]
        except Misfit as misfit:
            self.lines.append(f"{self._path}{place}: {misfit}")


class Seen(NamedTuple):
    """A person as a tool's file shows it.

    Attributes:
        box_px: xyxy, pixels.
        size_hw: (height, width) px of the frame.
        said: what the field of actions says, as it stands.
        action_ids: finds the ids of these; only asked where the note does not have them.
        person_id: as it stands, "" = none.
        scores: one a action, as they stand, "" = none.
    """

    box_px: tuple[float, ...]
    size_hw: tuple[int, int]
    said: str
    action_ids: Callable[[], list[int]]
    person_id: str = ""
    scores: str = ""


def empty_document() -> dict[str, Any]:
    """A COCO document (see `annotations.coco`) for a reader to fill; category 2 is what is no person."""
    categories = [{"id": 1, "name": PERSON}, {"id": 2, "name": "other"}]
    return {"info": {}, "images": [], "annotations": [], "categories": categories}


def add_other(document: dict[str, Any], image_id: int) -> None:
    """Count something that is no person."""
    document["annotations"].append({"image_id": image_id, "category_id": 2})


def rows_of_document(path: Path, document: dict[str, Any], problems: Problems) -> AvaRows:
    """The rows of a filled document.

    Raises:
        AvadetError: if there are problems (up to 20).
    """
    raise_any(problems.lines)
    if isinstance(document["info"], dict) and "csv" not in document["info"]:
        document["info"] = {}
    return CocoReader(path, path, document, None).read(document["annotations"])


def note_of(entry: dict[str, Any], said: str) -> str:
    """The note of a person of a COCO document.

    Args:
        entry: the annotation.
        said: what the field of actions says in the tool's file.
    """
    return dumps({key: entry[key] for key in _KEPT if key in entry} | {"said": said})


def dumps(value: object) -> str:
    """JSON in one line of ASCII, which every format can hold."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False)


def read_note(text: str | None) -> dict[str, Any]:
    """A note; empty where there is none, or none that makes sense."""
    try:
        note = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}


def named_actions(note: dict[str, Any]) -> list[tuple[str, int]]:
    """The names and ids of actions that a note of a person tells."""
    ids, said = note.get("action_ids"), note.get("said")
    if not isinstance(ids, list) or not isinstance(said, str):
        return []
    known = [action for action in ids if is_whole(action)]
    names = split_names(said)
    return list(zip(names, known)) if len(names) == len(known) else []


def names_of(entry: dict[str, Any], names: ActionNames) -> list[str]:
    """The names of a person's actions."""
    return [names.name(action) for action in entry["action_ids"] if action is not None]


def scores_text(entry: dict[str, Any]) -> str:
    """The scores of a person of a COCO document, one an action."""
    return "; ".join("" if score is None else repr(score) for score in entry.get("scores", []))


def person_entry(image_id: int, seen: Seen, note: dict[str, Any]) -> dict[str, Any]:
    """The annotation of a COCO document of one person: as the note has it, and what has been edited as it is seen.

    Raises:
        Misfit: if what is seen makes no sense.
    """
    entry: dict[str, Any] = {"image_id": image_id, "category_id": 1}
    x1, y1, x2, y2 = seen.box_px
    if not (x2 >= x1 and y2 >= y1):
        raise Misfit(f"box is {x1:g}, {y1:g}, {x2:g}, {y2:g}, expected the left top corner first")
    exact = note.get("bbox_norm")
    if _is_same_box(seen, exact):
        entry["bbox_norm"] = exact
    else:
        entry["bbox"] = [x1, y1, x2 - x1, y2 - y1]
    entry |= _actions(seen, note)
    if seen.person_id.strip():
        entry["person_id"] = _whole(seen.person_id.strip())
    if seen.scores.strip():
        entry["scores"] = [_score(text) for text in seen.scores.split(";")]
    return entry


def _is_same_box(seen: Seen, exact: Any) -> bool:
    """Whether a box in pixels is what the note's box was written as."""
    if not isinstance(exact, list) or len(exact) != 4 or None in [finite(value) for value in exact]:
        return False
    height, width = seen.size_hw
    return all(rounded_from(got, want * side) for got, want, side in zip(seen.box_px, exact, (width, height) * 2))


def _actions(seen: Seen, note: dict[str, Any]) -> dict[str, Any]:
    """`action_ids`, `rows` and `cells`; an action that was added comes after the rows that were there."""
    ids, rows = note.get("action_ids"), note.get("rows")
    fits = _are_whole(rows) and _are_whole(ids, or_none=True) and len(ids or ()) == len(rows or ()) > 0
    kept = {"cells": note["cells"]} if "cells" in note else {}
    if fits and note.get("said") == seen.said:
        return {"action_ids": ids, "rows": rows, **kept}
    found: list[int | None] = [*seen.action_ids()] or [None]
    if not fits:
        return {"action_ids": found}
    own = dict(zip(ids or [], rows or []))
    return {"action_ids": found, "rows": [own.get(action, max(rows or [0])) for action in found], **kept}


def _are_whole(values: Any, or_none: bool = False) -> bool:
    """Whether a JSON value is a list of whole numbers, perhaps with nulls."""
    return isinstance(values, list) and all(is_whole(value) or (or_none and value is None) for value in values)


def _whole(text: str) -> int:
    number = finite_number(text, "person_id")
    if number != int(number):
        raise Misfit(f"person_id is '{text}', expected a whole number")
    return int(text) if text.lstrip("+-").isdecimal() else int(number)


def _score(text: str) -> float | None:
    return finite_number(text, "scores") if text.strip() else None


def finite_number(text: str | None, name: str) -> float:
    """A number that is written as text.

    Raises:
        Misfit: if it is none.
    """
    try:
        number = float(text or "")
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise Misfit(f"{name} is '{'' if text is None else text}', expected a finite number")
    return number


def keyframe_of_picture(name: str, footage: Footage) -> tuple[str, float]:
    """Video and seconds of a picture's name; with a frame rate at hand, of the frame's number in it.

    VIDEO/SECONDS.jpg and VIDEO_SECONDS.jpg are seconds; with a rate, the last digits of the name are a frame's number:
    VIDEO/frame_000031.png, VIDEO_31.jpg.

    Raises:
        Misfit: if the name does not tell.
    """
    stem = name.replace("\\", "/").rpartition("/")[2].rpartition(".")[0] or name
    digits = len(stem) - len(stem.rstrip("0123456789"))
    folder = name.replace("\\", "/").rpartition("/")[0].rpartition("/")[2]
    own = stem[: len(stem) - digits].rstrip("_-. ")
    video_id = footage.video_id or folder or own
    if 0 < digits <= _MOST_DIGITS and video_id and footage.fps(video_id) is not None:
        return video_id, footage.time_s(video_id, int(stem[-digits:]))
    if footage.video_id is not None and 0 < digits == len(stem) <= _MOST_DIGITS:
        return footage.video_id, float(stem)
    try:
        return keyframe_of_name(name)
    except Misfit as misfit:
        ways_out = [] if video_id else ["name the video: --video NAME"]
        if footage.fps(video_id) is None:
            ways_out.append("if names end with numbers of frames, add --fps N or --videos DIR")
        elif not digits:
            ways_out.append("with --fps, names end with the number of their frame")
        raise Misfit("; ".join([str(misfit), *ways_out])) from misfit


def chosen_actions(attributes: Sequence[tuple[str, str]], names: ActionNames, footage: Footage) -> list[int]:
    """The actions among a box's attributes: ticked ones by the attribute's name, others by the value.

    Args:
        attributes: (name, value) each; a value may be several names with semicolons between them.
        names: knows the actions.
        footage: says which attributes are meant.

    Raises:
        Misfit: if an attribute that says actions has a value that is none.
    """
    found: list[int] = []
    for name, value in attributes:
        ticked, plain = value.strip().lower() == "true", plain_name(name)
        asked = name in footage.attributes if footage.attributes else plain in ACTION_ATTRIBUTES
        if value.strip().lower() in ("false", "") or (footage.attributes and not asked):
            continue
        texts = [name] if ticked else _split(name, value, names)
        wanted = asked or (ticked and names.is_numbering)
        found += [names.action_id(text) for text in texts if wanted or (_is_named(text) and names.knows(text))]
    return list(dict.fromkeys(found))


def _is_named(text: str) -> bool:
    """Whether a text is more than a number, which in any attribute may count anything."""
    return not text.strip().isdecimal()


def _split(name: str, value: str, names: ActionNames) -> list[str]:
    """The names in an attribute's value: between semicolons, unless the whole is a name."""
    parts = split_names(value)
    several = plain_name(name) == ACTIONS or all(names.knows(part) for part in parts)
    return parts if several and not names.knows(value) else [value]


def plain_name(text: str) -> str:
    """An attribute's name without regard to case and space around it."""
    return text.strip().lower()


def wrong_file(path: Path, expected: str, got: str) -> AvadetError:
    """The error for a file that is something else."""
    return AvadetError(f"{path}: expected {expected}, got {got}")
