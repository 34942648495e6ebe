"""CVAT's XML 1.1, for images and for videos, as AVA's rows and back.

For images, a picture is a keyframe and a box a person; for videos, a track is a person whose boxes are given at some
frames and move in a straight line between them, until a box that is marked as outside. What is a person's action is
told by the label of the box, or where some label is "person" by the box's attributes. Written files are those for
images; every person has the attributes `actions` (names with semicolons between them), `person_id` or `scores`, and the
note of `annotations.foreign`, which also is an attribute of a tag of pictures that need it.

The format: <https://docs.cvat.ai/docs/dataset_management/formats/xml_format/>.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from avadet.annotations.action_names import (
    ActionNames,
    chosen_actions,
    joined_names,
    named_as_actions,
    person_id_text,
    plain_name,
)
from avadet.annotations.ava_rows import AvaRows
from avadet.annotations.coco_entries import PERSON, PERSON_NAMES
from avadet.annotations.cvat_tracks import (
    MOST_FRAMES,
    KeyframeBox,
    Task,
    attributes_of,
    corners_of,
    keyframe_box_of,
    tasks_of,
    visible,
)
from avadet.annotations.footage import Footage, Misfit, Unsaid
from avadet.annotations.foreign import (
    ACTIONS,
    NOTE,
    PERSON_ID,
    SCORES,
    Document,
    Seen,
    dumps,
    finite_number,
    named_actions,
    names_of,
    note_of,
    read_note,
    scores_text,
    wrong_file,
)
from avadet.annotations.xml_tree import LINE, read_xml
from avadet.files import whole_file

_TAG = "keyframe"
_FRAME = re.compile(r"(?:.*/)?frame_(\d{1,9})(?:\.[A-Za-z]+)?")  # what CVAT calls frames of a video
_SHAPES = ("polygon", "polyline", "points", "cuboid", "ellipse", "mask", "skeleton")
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CORNERS = ("xtl", "ytl", "xbr", "ybr")


def write_cvat(path: str | Path, document: dict[str, Any], names: ActionNames) -> None:
    """Write a COCO document of `annotations.coco.to_coco` as CVAT for images 1.1, whole or not at all.

    Args:
        path: the file.
        document: the keyframes and people.
        names: names the actions; those without a name are written as numbers.

    Raises:
        AvadetError: if it cannot be written.
    """
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    _add_meta(root, len(document["images"]))
    people: dict[int, list[dict[str, Any]]] = {}
    for entry in document["annotations"]:
        people.setdefault(entry["image_id"], []).append(entry)
    for number, image in enumerate(document["images"]):
        shape = {"width": str(image["width"]), "height": str(image["height"])}
        element = SubElement(root, "image", {"id": str(number), "name": image["file_name"], **shape})
        _add_tag(element, image, document["info"] if number == 0 else {})
        for entry in people.get(image["id"], []):
            _add_box(element, entry, (image["height"], image["width"]), names)
    indent(root)
    with whole_file(path) as partial:
        ElementTree(root).write(partial, encoding="utf-8", xml_declaration=True)


def _add_meta(root: Element, num_images: int) -> None:
    """The labels and their attributes, which a task in CVAT must have for the file to be taken."""
    task = SubElement(SubElement(root, "meta"), "task")
    SubElement(task, "size").text = str(num_images)
    SubElement(task, "mode").text = "annotation"
    labels = SubElement(task, "labels")
    for name, attributes in ((PERSON, (ACTIONS, PERSON_ID, SCORES, NOTE)), (_TAG, (NOTE,))):
        label = SubElement(labels, "label")
        SubElement(label, "name").text = name
        listed = SubElement(label, "attributes")
        for attribute in attributes:
            element = SubElement(listed, "attribute")
            for key, value in (("name", attribute), ("mutable", "False"), ("input_type", "text")):
                SubElement(element, key).text = value
            SubElement(element, "default_value")
            SubElement(element, "values")


def _add_tag(element: Element, image: dict[str, Any], info: dict[str, Any]) -> None:
    """The note of a picture: its keyframe, rows without people, the file's style."""
    note: dict[str, Any] = {key: image[key] for key in ("rows", "cells") if key in image}
    note |= {"csv": info["csv"]} if "csv" in info else {}
    note |= {"name": image["file_name"], "video_id": image["video_id"], "time_s": image["time_s"]}
    _add_attribute(SubElement(element, "tag", {"label": _TAG, "source": "manual"}), NOTE, dumps(note))


def _add_box(parent: Element, entry: dict[str, Any], size_hw: tuple[int, int], names: ActionNames) -> None:
    x1, y1, x2, y2 = entry["bbox_norm"]
    height, width = size_hw
    corners = {key: f"{value:.2f}" for key, value in zip(_CORNERS, (x1 * width, y1 * height, x2 * width, y2 * height))}
    box = SubElement(parent, "box", {"label": PERSON, "source": "manual", "occluded": "0", **corners, "z_order": "0"})
    said = _NOT_XML.sub("?", joined_names(names_of(entry, names))).strip()
    _add_attribute(box, ACTIONS, said)
    if "person_id" in entry:
        _add_attribute(box, PERSON_ID, str(entry["person_id"]))
    if "scores" in entry:
        _add_attribute(box, SCORES, scores_text(entry))
    _add_attribute(box, NOTE, note_of(entry, said))


def _add_attribute(parent: Element, name: str, value: str) -> None:
    SubElement(parent, "attribute", {"name": name}).text = value


def read_cvat(path: str | Path, names: ActionNames, footage: Footage | None = None) -> AvaRows:
    """Read CVAT's XML for images or videos; plain or gzipped.

    Labels called "person" are persons, and their attributes say the actions: `actions` or another known name
    (`action_names.ACTION_ATTRIBUTES`) by its value, a ticked one by its name, and any other whose value is an action of
    the label map; other labels are left out then. Without such a label, labels are actions. Polygons and other shapes
    are left out. Pictures of a task whose source is a video are its frames. Frames are counted as the video counts
    them, whatever the task's first frame and step.

    Args:
        path: the file.
        names: finds the ids of actions.
        footage: the frame rate, for tracks and for pictures named by frame numbers.

    Raises:
        AvadetError: if it is no such file, or boxes are malformed (file, line, what; up to 20).
    """
    file = Path(path)
    root = read_xml(file)
    if root.tag != "annotations":
        raise wrong_file(file, "CVAT's XML, whose outermost element is <annotations>", f"<{root.tag}>")
    notes = (read_note(one.text) for one in root.iter("attribute") if one.get("name") == NOTE)
    names.learn(pair for note in notes for pair in named_actions(note))
    reader = _Reader(file, root, names, footage)
    with reader.document.at(_place(root)):
        reader.read(root)
    return reader.document.rows(names)


class _Reader:
    """Fills a COCO document and gathers what is wrong."""

    def __init__(self, path: Path, root: Element, names: ActionNames, footage: Footage | None) -> None:
        self._names = names
        self.document = Document(path, footage)
        has_notes = any(NOTE in (one.get("name"), one.findtext("name")) for one in root.iter("attribute"))
        if has_notes:  # avadet's own files name pictures by seconds
            self.document.footage = replace(self.document.footage, numbers="seconds")
        self._footage = self.document.footage
        used = [str(element.get("label")) for tag in ("box", "track") for element in root.iter(tag)]
        self._has_people = any(label.strip().lower() in PERSON_NAMES for label in used)
        meant = [one for one in root.iter("attribute") if one.findtext("input_type") in ("select", "radio")]
        choices = {(one.findtext("name") or "").strip() for one in meant}
        given = {str(one.get("name")) for one in root.iter("attribute")} | choices
        self._choices = set() if named_as_actions(given) else choices

    def read(self, root: Element) -> None:
        """All pictures, then all tracks."""
        tasks = tasks_of(root)
        for image in root.iter("image"):
            with self.document.at(_place(image)):
                self.image(image, _task_of(image, tasks))
        for task in tasks:
            with self.document.at(_place(task.element)):
                if task.tracks:
                    self.task(task)

    def image(self, element: Element, task: Task | None) -> None:
        """A picture, its tag and its boxes."""
        note = next(filter(None, (read_note(attributes_of(tag).get(NOTE)) for tag in element.iter("tag"))), {})
        name = element.get("name", "")
        size_hw = _size_hw(element)
        if note.get("name") == name and {"video_id", "time_s"} <= note.keys():
            keyframe = note["video_id"], note["time_s"]
        elif task is not None and task.is_video and self._footage.video_id is None and _FRAME.fullmatch(name):
            keyframe = task.video_id, self._footage.time_s(task.video_id, int(_FRAME.fullmatch(name)[1]))  # type: ignore[index]
        else:
            keyframe = self.document.keyframe_of_picture(name)
        image_id = self.document.add_image(*keyframe, size_hw)
        self.document.content["images"][-1] |= {key: note[key] for key in ("rows", "cells") if key in note}
        if "csv" in note:
            self.document.content["info"]["csv"] = note["csv"]
        for child in element:
            if child.tag == "box":
                with self.document.at(_place(child)):
                    own = attributes_of(child)
                    self._add_person(image_id, str(child.get("label")), corners_of(child), own, size_hw)
            elif child.tag in _SHAPES:
                self.document.left_out[f"shapes ({child.tag})"] += 1

    def task(self, task: Task) -> None:
        """The tracks of one video."""
        video_id = self._footage.video_id or task.video_id
        if not video_id:
            raise Unsaid("the file does not name its video; add --video NAME")
        size_hw = task.size_hw or self._footage.known_size_hw(video_id)
        grid = self._grid(task, video_id)
        moments: dict[int, list[tuple[Element, KeyframeBox]]] = {frame: [] for frame in grid or ()}
        for track in task.tracks:
            with self.document.at(_place(track)):
                for found in self._keyframe_boxes(track, task, grid):
                    moments.setdefault(found.frame, []).append((track, found))
            self.document.left_out.update(f"shapes ({child.tag})" for child in track if child.tag in _SHAPES)
        for frame in sorted(moments):
            image_id = self.document.add_image(video_id, self._footage.time_s(video_id, frame), size_hw)
            for track, found in moments[frame]:
                with self.document.at(_place(track)):
                    own = {PERSON_ID: track.get("id", ""), **attributes_of(track), **found.attributes}
                    self._add_person(image_id, str(track.get("label")), found.corners, own, size_hw)

    def _grid(self, task: Task, video_id: str) -> set[int] | None:
        """The frames at which keyframes are wanted, people or not; None = wherever people are."""
        every_s = self._footage.every_s
        if every_s is None:
            return None
        first, last = self._footage.first_frame, task.stop
        if last is None:
            last = max((keyframe_box_of(box).frame for track in task.tracks for box in track.iter("box")), default=0)
        if last - first > MOST_FRAMES:
            raise Misfit(f"the video has {last - first} frames; expected at most {MOST_FRAMES}")
        step = max(every_s / (self._footage.time_s(video_id, first + 1)), 1.0)
        count = max(int((last - first) / step + 1e-6) + 1, 0)
        return {frame for k in range(count) if (frame := first + round(k * step)) >= task.start}

    def _keyframe_boxes(self, track: Element, task: Task, grid: set[int] | None) -> Iterator[KeyframeBox]:
        """Where a track is at the frames that are wanted."""
        given = []
        for box in track.iter("box"):
            with self.document.at(_place(box)):
                given.append(keyframe_box_of(box))
        return visible(given, task, grid)

    def _add_person(
        self, image_id: int, label: str, corners: tuple[float, ...], own: dict[str, str], size_hw: tuple[int, int]
    ) -> None:
        """Add a box: a person, or nothing where persons have a label of their own."""
        label = label.strip()
        if self._has_people and label.lower() not in PERSON_NAMES:
            self.document.left_out[f"boxes of '{label}'"] += 1
            return
        scores = next((text for name, text in own.items() if plain_name(name) == SCORES), "")
        said = own.get(ACTIONS, "").strip()
        seen = Seen(corners, size_hw, said, lambda: self._action_ids(label, own), person_id_text(own), scores)
        self.document.add_person(image_id, seen, read_note(own.get(NOTE)))

    def _action_ids(self, label: str, own: dict[str, str]) -> list[int]:
        """The actions of a box, by its label and attributes."""
        attributes = [(name, value) for name, value in own.items() if plain_name(name) not in (SCORES, NOTE)]
        own_label = [] if self._has_people else [self._names.action_id(label)]
        found = chosen_actions(attributes, self._names, self._footage.attributes, self._choices)
        return list(dict.fromkeys([*own_label, *found]))


def _task_of(image: Element, tasks: list[Task]) -> Task | None:
    """The task that a picture belongs to."""
    own = [task for task in tasks if task.element.findtext("id") == image.get("task_id")]
    return own[0] if len(own) == 1 else tasks[0] if len(tasks) == 1 else None


def _place(element: Element) -> str:
    """An element and its line, for messages."""
    return f":{element.get(LINE)}: {element.tag}"


def _size_hw(element: Element) -> tuple[int, int]:
    """(height, width) px of a picture.

    Raises:
        Misfit: if they are not there.
    """
    size = [finite_number(element.get(name), name) for name in ("height", "width")]
    if min(size) < 1 or any(side != int(side) for side in size):
        raise Misfit(f"height and width are {size[0]:g} and {size[1]:g}, expected whole pixels")
    return int(size[0]), int(size[1])
