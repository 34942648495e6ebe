"""Writing projects of the VGG Image Annotator, version 3; `annotations.via` tells the form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avadet.annotations.action_names import ActionNames
from avadet.annotations.coco import write_coco
from avadet.annotations.foreign import NOTE, PERSON_ID, SCORES, dumps, note_of, scores_text
from avadet.annotations.via import ACTION, RECTANGLE, TEXT, TICKED, VIDEO

_OF_FILE, _OF_REGION = "FILE1_Z0_XY0", "FILE1_Z1_XY1"
_DECIMALS = 3
_WRITTEN = {"1": ACTION, "2": PERSON_ID, "3": SCORES, "4": NOTE}
_FILE_NOTE = "5"


def write_via(path: str | Path, document: dict[str, Any], names: ActionNames) -> None:
    """Write a COCO document of `annotations.coco.to_coco` as a project of VIA 3, whole or not at all.

    Args:
        path: the file.
        document: the keyframes and people.
        names: names the actions; those without a name are written as numbers.

    Raises:
        AvadetError: if it cannot be written.
    """
    images = {image["id"]: image for image in document["images"]}
    videos: dict[str, list[dict[str, Any]]] = {}
    for image in images.values():
        videos.setdefault(image["video_id"], []).append(image)
    views = {video_id: str(number) for number, video_id in enumerate(videos, start=1)}
    metadata: dict[str, Any] = {}
    for video_id, own in videos.items():
        note = _file_note(own, document["info"] if not metadata else {})
        metadata[f"{views[video_id]}_note"] = _region(views[video_id], [], [], {_FILE_NOTE: dumps(note)})
    for entry in document["annotations"]:
        image = images[entry["image_id"]]
        view = views[image["video_id"]]
        metadata[f"{view}_{entry['id']}"] = _person(view, image, entry)
    used = {a for entry in document["annotations"] for a in entry["action_ids"] if a is not None}
    options = names.options() | {action: names.name(action) for action in used}
    project = {
        "project": {"pid": "__VIA_PROJECT_ID__", "pname": "people and actions", "data_format_version": "3.1.1"},
        "config": {"file": {"loc_prefix": {"1": "", "2": "", "3": "", "4": ""}}, "ui": {}},
        "attribute": _attributes({str(number): options[number] for number in sorted(options)}),
        "file": {view: _file(view, video_id) for video_id, view in views.items()},
        "metadata": metadata,
        "view": {view: {"fid_list": [view]} for view in views.values()},
    }
    project["project"]["vid_list"] = list(views.values())  # type: ignore[index]  # the order in which they are shown
    write_coco(path, project)


def _file(number: str, video_id: str) -> dict[str, Any]:
    name = f"{video_id}.mp4"
    return {"fid": number, "fname": name, "type": VIDEO, "loc": 1, "src": name}


def _attributes(options: dict[str, str]) -> dict[str, Any]:
    """The attributes of people and files."""

    def attribute(name: str, anchor: str, options: dict[str, str] | None = None) -> dict[str, Any]:
        kind = TEXT if options is None else TICKED
        return {"aname": name, "anchor_id": anchor, "type": kind, "desc": "", "options": options or {}} | {
            "default_option_id": ""
        }

    of_people = {key: attribute(name, _OF_REGION) for key, name in _WRITTEN.items()}
    return {**of_people, "1": attribute(ACTION, _OF_REGION, options), _FILE_NOTE: attribute(NOTE, _OF_FILE)}


def _file_note(images: list[dict[str, Any]], info: dict[str, Any]) -> dict[str, Any]:
    """What is to be kept of a video: the frames' size, keyframes that are more than their people, the CSV's style."""
    first = images[0]
    alone = [{key: one[key] for key in ("time_s", "rows", "cells") if key in one} for one in images if "rows" in one]
    note = {"video_id": first["video_id"], "size_hw": [first["height"], first["width"]], "keyframes": alone}
    return note | ({"csv": info["csv"]} if "csv" in info else {})


def _person(view: str, image: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """The region of a person."""
    (height, width), box = (image["height"], image["width"]), entry["bbox_norm"]
    x1, y1, x2, y2 = (round(value * side, _DECIMALS) for value, side in zip(box, (width, height) * 2))
    shape = [RECTANGLE, x1, y1, round(x2 - x1, _DECIMALS), round(y2 - y1, _DECIMALS)]
    said = ",".join(str(action) for action in entry["action_ids"] if action is not None)
    values = {"1": said, "4": note_of(entry, said)}
    if "person_id" in entry:
        values["2"] = str(entry["person_id"])
    if "scores" in entry:
        values["3"] = scores_text(entry)
    return _region(view, [image["time_s"]], shape, values)


def _region(view: str, z: list[float], xy: list[float], values: dict[str, str]) -> dict[str, Any]:
    return {"vid": view, "flg": 0, "z": z, "xy": xy, "av": values}
