"""From the names of actions in other tools' files to ids, and back."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from avadet.annotations.coco_entries import Misfit
from avadet.types import LabelMap

_SEPARATOR = ";"  # AVA's names have commas


class ActionNames:
    """The ids of named actions: those of a label map, or else numbers given in the order of asking."""

    def __init__(self, labels: LabelMap | None = None, numbering: bool = False) -> None:
        """Know a label map.

        Args:
            labels: the classes; None = actions must be whole numbers, unless `numbering`.
            numbering: without `labels`: give every new name the next number, from 1.
        """
        self.is_numbering = numbering and labels is None
        self._is_open = labels is None
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
        wanted = f"a whole number; else {way_out}" if self._is_open else "a name or an id of the label map"
        raise Misfit(f"action '{text}', expected {wanted}")

    def name(self, action_id: int) -> str:
        """The name of an action; its number if it has none."""
        return self._names.get(action_id, str(action_id))

    def learn(self, named: Iterable[tuple[str, int]]) -> None:
        """Without a label map: know names and ids that a file tells of itself."""
        for name, number in named:
            if self._is_open and not self.is_numbering:
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
            return number if self._is_open or number in self._names else None
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
