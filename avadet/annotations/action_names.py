"""From the names of actions in other tools' files to ids, and back."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from avadet.annotations.footage import Misfit
from avadet.types import LabelMap

_SEPARATOR = ";"  # AVA's names have commas

ACTION_ATTRIBUTES = (
    *("actions", "action", "activity", "activities", "behavior", "behaviour", "label", "class", "category"),
    *("temporal-segments", "action_name", "action_label", "action_labels"),
)
"""Attributes that say actions, in small letters."""

PERSON_ID_ATTRIBUTES = (
    *("person_id", "person id", "personid", "track_id", "track id", "trackid", "instance_id", "id", "pid", "person"),
    *("object_id", "identity", "ped_id"),
)
"""Attributes that identify a person, best first."""

_FLAGS = (
    "occluded",
    "outside",
    "keyframe",
    "truncated",
    "difficult",
    "crowd",
    "iscrowd",
    "hidden",
    "ignore",
    "rotation",
)


class ActionNames:
    """The ids of named actions: those of a label map, or else numbers given in the order of asking.

    Attributes:
        has_labels: whether there is a label map.
        is_numbering: whether new names are numbered.
        unused: attributes whose values are no actions, and how often they had one.
    """

    def __init__(self, labels: LabelMap | None = None, numbering: bool = False) -> None:
        """Know a label map.

        Args:
            labels: the classes; None = actions must be whole numbers, unless `numbering`.
            numbering: without `labels`: give every new name the next number, from 1.
        """
        self.is_numbering = numbering and labels is None
        self.unused: Counter[str] = Counter()
        self.has_labels = labels is not None
        named = [] if labels is None else list(zip(labels.names, labels.ids))
        self._ids = dict(named)
        self._ids_folded = {name.strip().casefold(): number for name, number in named}
        self._names = {number: name for name, number in named}

    def knows(self, text: str) -> bool:
        """Whether `action_id` has an id for that name without making one up."""
        return self._known(text) is not None

    def action_id(self, text: str) -> int:
        """The id of an action that is written by its name or its id.

        Raises:
            Misfit: if it has none.
        """
        known = self._known(text)
        if known is not None:
            return known
        if self.is_numbering:
            self._add(text.strip(), len(self._ids) + 1)
            return len(self._ids)
        way_out = "name a label map (--labels) or let the names be numbered (--new-labels)"
        wanted = f"a whole number; else {way_out}" if not self.has_labels else "a name or an id of the label map"
        raise Misfit(f"action '{text}', expected {wanted}")

    def name(self, action_id: int) -> str:
        """The name of an action; its number if it has none."""
        return self._names.get(action_id, str(action_id))

    def learn(self, named: Iterable[tuple[str, int]]) -> None:
        """Without a label map: know names and ids that a file tells of itself."""
        for name, number in named:
            if not self.has_labels and not self.is_numbering:
                self._add(name, number)

    def options(self) -> dict[int, str]:
        """All names by their ids."""
        return dict(self._names)

    def _add(self, name: str, number: int) -> None:
        self._ids[name] = self._ids_folded[name.casefold()] = number
        self._names[number] = name

    def _known(self, text: str) -> int | None:
        """The id of a name as it is, else in other case, else the number that the text is."""
        if text in self._ids:
            return self._ids[text]
        folded = text.strip().casefold()
        if folded in self._ids_folded:
            return self._ids_folded[folded]
        if not self.is_numbering and folded.isdecimal() and len(folded) < 10:
            number = int(folded)
            return number if not self.has_labels or number in self._names else None
        return None


def joined_names(names: Iterable[str]) -> str:
    """Names in one line, "stand; talk"; those that have semicolons, quotes or line breaks are quoted."""
    text = io.StringIO()
    csv.writer(text, delimiter=_SEPARATOR, lineterminator="\r\n").writerow(names)
    return text.getvalue().removesuffix("\r\n").replace("\r", " ").replace("\n", " ")


def split_names(text: str) -> list[str]:
    """The names that `joined_names` joined, spaces around them taken off; none in an empty text."""
    rows = list(csv.reader([text], delimiter=_SEPARATOR, skipinitialspace=True))
    return [name.strip() for name in (rows[0] if rows else []) if name.strip()]


def plain_name(text: str) -> str:
    """An attribute's name without regard to case and space around it."""
    return text.strip().lower()


def named_as_actions(attributes: Iterable[str]) -> bool:
    """Whether one of these attributes says by its name that it holds actions."""
    return any(plain_name(name) in ACTION_ATTRIBUTES for name in attributes)


def person_id_text(attributes: Mapping[str, str]) -> str:
    """Who a person is by the attributes of a box, "" = they do not say."""
    own = {plain_name(name): text.strip() for name, text in attributes.items()}
    named = (own.get(name, "") for name in PERSON_ID_ATTRIBUTES)
    return next((text for text in named if text and text.lower() not in ("true", "false")), "")


def chosen_actions(
    attributes: Sequence[tuple[str, str]], names: ActionNames, wanted: Collection[str], choices: Collection[str] = ()
) -> list[int]:
    """The actions among a box's attributes: ticked ones by the attribute's name, others by the value.

    Args:
        attributes: (name, value) each; a value may be several names with semicolons between them.
        names: knows the actions.
        wanted: the attributes that say actions; empty = those whose names or values tell.
        choices: attributes that offer a list of values; where names are numbered and no attribute is known by its name,
            all of these are actions.

    Raises:
        Misfit: if an attribute that says actions has a value that is none.
    """
    found: list[int] = []
    for name, value in attributes:
        plain, low = plain_name(name), value.strip().lower()
        if low in ("false", "") or plain in PERSON_ID_ATTRIBUTES:
            continue
        ticked = low == "true"
        asked = name in wanted if wanted else plain in ACTION_ATTRIBUTES or (names.is_numbering and name in choices)
        asked = asked or (ticked and names.is_numbering and not wanted and plain not in _FLAGS)
        texts = [name] if ticked else _split(name, value, names)
        full = [f"{name}: {text}" if not ticked and names.knows(f"{name}: {text}") else text for text in texts]
        taken = [t for t in full if asked or (not wanted and not t.strip().isdecimal() and names.knows(t))]
        if not taken and plain not in _FLAGS:
            names.unused[name] += 1
        found += [names.action_id(text) for text in taken]
    return list(dict.fromkeys(found))


def _split(name: str, value: str, names: ActionNames) -> list[str]:
    """The names in an attribute's value: between semicolons, unless the whole is a name."""
    parts = split_names(value)
    several = plain_name(name) == ACTION_ATTRIBUTES[0] or all(names.knows(part) for part in parts)
    return parts if several and not names.knows(value) else [value]
