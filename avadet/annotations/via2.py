"""Regions of VIA 2, of its JSON or its CSV, in the form of VIA 3."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from avadet.annotations.csv_text import open_text
from avadet.annotations.footage import short
from avadet.errors import AvadetError

_IMAGE, _RECTANGLE = 2, 2  # a kind of file, and a shape, of VIA 3
CSV_COLUMNS = ("filename", "region_shape_attributes", "region_attributes")
"""Columns by which a CSV of VIA 2 is known."""


def project_of(document: Any) -> dict[str, Any] | None:
    """A project of VIA 2, or its exported regions, in the form of VIA 3; None if it is neither.

    Values of tick boxes become lists; an option that is called by a number goes by its description.
    """
    own = document.get("_via_img_metadata") if isinstance(document, dict) else None
    pictures = list((own if isinstance(own, dict) else document).values()) if isinstance(document, dict) else []
    if not pictures or not all(isinstance(one, dict) and {"filename", "regions"} <= one.keys() for one in pictures):
        return None
    attributes = document.get("_via_attributes")
    known = attributes.get("region") if isinstance(attributes, dict) else None
    chosen = {
        name: one
        for name, one in (known if isinstance(known, dict) else {}).items()
        if isinstance(one, dict) and one.get("type") != "text"
    }
    options = {name: one["options"] for name, one in chosen.items() if isinstance(one.get("options"), dict)}
    texts = {
        name: {key: str(text) if key.isdecimal() and text else key for key, text in own.items()}
        for name, own in options.items()
    }
    project: dict[str, Any] = {"metadata": {}, "file": {}, "view": {}, "attribute": {}}
    for number, picture in enumerate(pictures):
        key = str(number)
        project["file"][key] = {"fid": key, "fname": str(picture["filename"]), "type": _IMAGE}
        project["view"][key] = {"fid_list": [key]}
        regions = picture["regions"]
        listed = list(regions.values()) if isinstance(regions, dict) else regions  # VIA 1 kept them by number
        for count, region in enumerate(listed if isinstance(listed, list) else ()):
            entry = region if isinstance(region, dict) else {}
            shape, values = entry.get("shape_attributes"), entry.get("region_attributes")
            av = {name: _ticked(value) for name, value in (values if isinstance(values, dict) else {}).items()}
            xy: list[Any] = [0]
            if isinstance(shape, dict) and shape.get("name") == "rect":
                xy = [_RECTANGLE, *(shape.get(side) for side in ("x", "y", "width", "height"))]
            project["metadata"][f"{count} of {picture['filename']}"] = {"vid": key, "z": [], "xy": xy, "av": av}
            for name in av:
                project["attribute"][name] = {"aname": name, "options": texts.get(name, {})}
    return project


def _ticked(value: Any) -> Any:
    """Of tick boxes those that are ticked."""
    return [option for option, ticked in value.items() if ticked] if isinstance(value, dict) else value


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
