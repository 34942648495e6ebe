"""What readers and writers of other annotation tools' files have in common.

Tools keep pixels with two or three decimals and know neither order nor style of a CSV's rows. Whatever a tool's own
fields do not hold goes along as a note: one text attribute of the box, named `avadet`, with JSON in it. The note says
what the tool's fields were when it was written. Where they still are that, nothing was changed and the note's exact
numbers are taken; where they differ, somebody has edited them, and what the tool's fields say is what counts.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from avadet.annotations.action_names import ActionNames, split_names
from avadet.annotations.ava_rows import AvaRows, raise_any
from avadet.annotations.coco_entries import PERSON, CocoReader
from avadet.annotations.csv_text import number_of
from avadet.annotations.footage import Footage, Misfit, Unsaid
from avadet.annotations.json_fields import finite, is_whole, rounded_from
from avadet.errors import AvadetError

NOTE = "avadet"
"""Name of the attribute that keeps what a tool's own fields do not hold."""

ACTIONS, PERSON_ID, SCORES = "actions", "person_id", "scores"
"""Names of the attributes of people that are written for eyes and hands."""

_KEPT = ("bbox_norm", "action_ids", "rows", "cells")


class Document:
    """A COCO document (see `annotations.coco`) that the reader of another format fills, and what is wrong meanwhile.

    Attributes:
        content: the document.
        footage: what is known of videos.
        left_out: what of the file is not in the document, and how often.
        problems: one line each.
    """

    def __init__(self, path: Path, footage: Footage | None) -> None:
        """Begin with nothing.

        Args:
            path: the file.
            footage: what it leaves unsaid.
        """
        self._path = path
        self._pictures: dict[tuple[str, float], str] = {}
        self.footage = footage or Footage()
        self.content: dict[str, Any] = {"info": {}, "images": [], "annotations": []}
        self.content["categories"] = [{"id": 1, "name": PERSON}]
        self.left_out: Counter[str] = Counter()
        self.problems: list[str] = []

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        """Where something of the file is read: a misfit becomes a line that names the place."""
        try:
            yield
        except Unsaid as unsaid:
            line = f"{self._path}: {unsaid}"
            self.problems += [] if line in self.problems else [line]
        except Misfit as misfit:
            self.problems.append(f"{self._path}{place}: {misfit}")

    def keyframe_of_picture(self, name: str) -> tuple[str, float]:
        """As `Footage.keyframe_of_picture`; of two pictures that mean one keyframe, the later is a misfit."""
        keyframe = self.footage.keyframe_of_picture(name)
        other = self._pictures.setdefault(keyframe, name)
        if other != name:
            raise Misfit(
                f"pictures {other} and {name} both are {keyframe[0]} at {keyframe[1]:g} s; give them own names"
            )
        return keyframe

    def add_image(self, video_id: Any, time_s: Any, size_hw: tuple[float, float] | None = None) -> int:
        """Add a keyframe and give its id."""
        images = self.content["images"]
        shape = {} if size_hw is None else {"height": size_hw[0], "width": size_hw[1]}
        images.append({"id": len(images) + 1, "video_id": video_id, "time_s": time_s, **shape})
        return len(images)

    def add_person(self, image_id: int, seen: Seen, note: dict[str, Any]) -> None:
        """Add a person: as the note has it, and what has been edited as it is seen."""
        self.content["annotations"].append(person_entry(image_id, seen, note))

    def rows(self, names: ActionNames) -> AvaRows:
        """The rows of what was filled in.

        Raises:
            AvadetError: if there are problems (up to 20).
        """
        raise_any(self.problems)
        reader = CocoReader(self._path, self._path, self.content, names, self.footage)
        read = reader.read(self.content["annotations"])
        return replace(read, left_out=self.left_out + Counter(read.left_out))


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
        entry["person_id"] = person_id_of(seen.person_id)
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


def _score(text: str) -> float | None:
    return finite_number(text, "scores") if text.strip() else None


def person_id_of(text: str) -> int | str:
    """A person's id: the number where it is one, else the text.

    Raises:
        Misfit: if it is a number that is not whole.
    """
    number = number_of(text)
    if not math.isfinite(number):
        return text.strip()
    if number != int(number):
        raise Misfit(f"person_id is '{text}', expected a whole number or a text")
    return int(text) if text.strip().lstrip("+-").isdecimal() else int(number)


def finite_number(text: str | None, name: str) -> float:
    """A number that is written as text.

    Raises:
        Misfit: if it is none.
    """
    number = number_of(text or "")
    if not math.isfinite(number):
        raise Misfit(f"{name} is '{'' if text is None else text}', expected a finite number")
    return number


def wrong_file(path: Path, expected: str, got: str) -> AvadetError:
    """The error for a file that is something else."""
    return AvadetError(f"{path}: expected {expected}, got {got}")
