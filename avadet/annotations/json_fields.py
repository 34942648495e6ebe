"""Fields of entries of JSON documents: ids, numbers, boxes, sizes, attributes; and what is wrong with them."""

from __future__ import annotations

import math
from typing import Any, cast

from avadet.annotations.action_names import ACTION_ATTRIBUTES, PERSON_ID_ATTRIBUTES, plain_name
from avadet.annotations.footage import Misfit, short

Id = int | str


def rounded_from(written: float, exact: float) -> bool:
    """Whether a number is the exact one with fewer decimals, so that it was not edited."""
    decimals = 0 if isinstance(written, int) else len(repr(written).partition(".")[2].partition("e")[0])
    return abs(written - exact) <= 0.5 * 10.0**-decimals + 1e-9 * max(abs(exact), 1.0)


def row_numbers(entry: dict[str, Any], count: int | None) -> list[float]:
    """The numbers of an entry's rows in the file it came from, `count` of them; infinite where it does not tell."""
    rows = entry.get("rows", [math.inf] * (count or 0))
    if "rows" in entry:
        fits = isinstance(rows, list) and all(is_whole(row) for row in rows)
        if not fits or count not in (None, len(rows)):
            wanted = "whole numbers" if count is None else f"{count} whole numbers like action_ids"
            raise Misfit(f"rows is {short(rows)}, expected a list of {wanted}")
    return list(rows)


def kept_cells(cells: Any, number: float) -> tuple[str, ...] | None:
    """The cells that an entry keeps of a row."""
    kept = cells.get(str(number)) if isinstance(cells, dict) else None
    return tuple(kept) if isinstance(kept, list) and all(isinstance(cell, str) for cell in kept) else None


def id_of(entry: dict[str, Any], key: str) -> Id:
    """An id: a whole number or a text."""
    value = entry.get(key)
    if not is_whole(value) and not isinstance(value, str):
        got = short(value) if key in entry else "none"
        raise Misfit(f"expected {key}, a whole number or a text, got {got}")
    return cast(Id, value)


def four_numbers(entry: dict[str, Any], key: str) -> tuple[float, ...]:
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


def finite(value: Any) -> float | None:
    """A JSON number as float, None if it is none or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def size_of(entry: dict[str, Any]) -> tuple[float, float] | None:
    """(height, width) px of an image or video, None if it does not tell."""
    shape = (entry.get("height"), entry.get("width"))
    height, width = (finite(side) for side in shape)
    if shape == (None, None):
        return None
    if height is None or width is None or min(height, width) <= 0:
        raise Misfit(f"height and width are {short(shape)}, expected positive numbers")
    return height, width


def attributes_of(entry: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, text) of what an annotation says of a person: in `attributes`, or in fields of its own."""
    given = entry.get("attributes")
    fields = dict(given) if isinstance(given, dict) else {}
    fields |= {ACTION_ATTRIBUTES[0]: given} if isinstance(given, list) else {}
    known = (*ACTION_ATTRIBUTES, *PERSON_ID_ATTRIBUTES)
    fields |= {key: value for key, value in entry.items() if key not in ("id", "category") and plain_name(key) in known}
    found: list[tuple[str, str]] = []
    for name, value in fields.items():
        ticked = value.items() if isinstance(value, dict) else ()
        values = [key for key, on in ticked if on] or (value if isinstance(value, list) else [value])
        found += [(name, _text(one)) for one in values if isinstance(one, str | int | float)]
    return found


def _text(value: str | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
