"""Regions of VIA 2: pictures, their rectangles and what these are said to be; from its JSON or its CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from avadet.annotations.csv_text import open_text
from avadet.annotations.footage import Misfit, short
from avadet.annotations.json_fields import finite
from avadet.errors import AvadetError

CSV_COLUMNS = ("filename", "region_shape_attributes", "region_attributes")
"""Columns by which a CSV of VIA 2 is known."""


class Picture(NamedTuple):
    """A picture: its file's name, its rectangles (xyxy px) with (attribute, text), how many other shapes it has."""

    name: str
    boxes: list[tuple[tuple[float, ...], list[tuple[str, str]]]]
    others: int


def regions_of(document: Any) -> list[Picture] | None:
    """The pictures of a project or of exported regions; None if it is neither.

    Raises:
        Misfit: if a rectangle's numbers are none.
    """
    if isinstance(document, dict) and isinstance(document.get("_via_img_metadata"), dict):
        document = document["_via_img_metadata"]
    entries = list(document.values()) if isinstance(document, dict) else []
    if not entries or not all(isinstance(one, dict) and {"filename", "regions"} <= one.keys() for one in entries):
        return None
    return [_picture(str(one["filename"]), _listed(one["regions"])) for one in entries]


def options_of(document: Any) -> dict[str, list[str]]:
    """The options of a project's attributes of regions that are a choice, by name."""
    attributes = document.get("_via_attributes") if isinstance(document, dict) else None
    own = attributes.get("region") if isinstance(attributes, dict) else None
    chosen = own.items() if isinstance(own, dict) else ()
    return {
        name: list(one["options"])
        for name, one in chosen
        if isinstance(one, dict) and isinstance(one.get("options"), dict) and one.get("type") != "text"
    }


def regions_of_csv(path: Path) -> dict[str, Any]:
    """A CSV of VIA 2 in the form of its JSON.

    Raises:
        AvadetError: if it cannot be read, or is neither such a CSV nor JSON.
    """
    pictures: dict[str, Any] = {}
    with open_text(path) as file:
        rows = csv.DictReader(file)
        if not {*CSV_COLUMNS} <= {*(rows.fieldnames or ())}:
            raise AvadetError(f"{path}:1: expected VIA's JSON, or its CSV with the columns {', '.join(CSV_COLUMNS)}")
        for row in rows:
            name = row["filename"] or ""
            picture = pictures.setdefault(name, {"filename": name, "regions": []})
            texts = {key: row.get(key) or "{}" for key in CSV_COLUMNS[1:]}
            region = {key.removeprefix("region_"): _object(text) for key, text in texts.items()}
            if region["shape_attributes"]:
                shape, own = region["shape_attributes"], region["attributes"]
                picture["regions"].append({"shape_attributes": shape, "region_attributes": own})
    return pictures


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {"name": short(text)}
    return value if isinstance(value, dict) else {}


def _listed(regions: Any) -> Iterable[Any]:
    """The regions, which VIA 1 kept by number."""
    return regions.values() if isinstance(regions, dict) else regions if isinstance(regions, list) else ()


def _picture(name: str, regions: Iterable[Any]) -> Picture:
    boxes: list[tuple[tuple[float, ...], list[tuple[str, str]]]] = []
    others = 0
    for region in regions:
        shape = region.get("shape_attributes") if isinstance(region, dict) else None
        if not isinstance(shape, dict) or shape.get("name") != "rect":
            others += 1
            continue
        numbers = [finite(shape.get(key)) for key in ("x", "y", "width", "height")]
        if None in numbers:
            raise Misfit(f"{name}: a rectangle is {short(shape)}, expected x, y, width and height")
        x, y, width, height = [float(value) for value in numbers if value is not None]
        boxes.append(((x, y, x + width, y + height), _texts(region.get("region_attributes"))))
    return Picture(name, boxes, others)


def _texts(values: Any) -> list[tuple[str, str]]:
    """(attribute, text) each; of tick boxes every one that is ticked."""
    found: list[tuple[str, str]] = []
    for name, value in values.items() if isinstance(values, dict) else ():
        if isinstance(value, dict):
            found += [(name, str(option)) for option, ticked in value.items() if ticked]
        elif value not in (None, ""):
            found.append((name, str(value)))
    return found
