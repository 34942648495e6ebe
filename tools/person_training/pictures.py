"""Labelled frames from folders of pictures: people drawn in by hand (YOLO txt, captions' boxes), or by the teacher."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from avadet import boxes
from avadet.errors import AvadetError
from avadet.types import BoolArray, Float32Array, UInt8Array
from avadet.video.sample import resize_short
from person_training.config import PictureSet
from person_training.frames import LabelledFrame, label
from person_training.sources import Teacher

LONG_SIDE = 640
GROUP_SCORE = 0.5  # of two persons inside a box: then it is the box of a group
INSIDE = 0.8
SHOWN = frozenset({".jpg", ".jpeg", ".png"})

Drawn = tuple[Float32Array, BoolArray]
"""Boxes float32 (N, 4) xyxy in 0-1, and bool (N,): whether each is one person for certain."""


def picture_frames(
    pictures: PictureSet, root: Path, teacher: Teacher | None = None
) -> Iterator[tuple[str, LabelledFrame]]:
    """Frames of one set of pictures.

    Args:
        pictures: which, and how they are labelled.
        root: folder that its paths are relative to.
        teacher: labels whom nobody drew in; None = only those drawn in count.

    Yields:
        (name of the source, frame).

    Raises:
        AvadetError: if the folder is missing.
    """
    paths = chosen_paths(pictures, root)
    phrases = read_phrases(root / pictures.phrases) if pictures.phrases else {}
    for source, path in paths:
        image = read_picture(path, pictures.short_side)
        if image is None:
            continue
        drawn = _drawn(pictures, path, phrases)
        if drawn is None:
            frame = teacher.label_or_empty(image) if teacher else None
        elif pictures.complete or teacher is None:
            frame = LabelledFrame(image, boxes.to_px(drawn[0], image.shape[:2]), drawn[1].astype(np.float32))
        else:
            frame = join(image, drawn, teacher, pictures.person_score)
        if frame is not None:
            yield f"{pictures.name}/{source}", frame


def chosen_paths(pictures: PictureSet, root: Path) -> list[tuple[str, Path]]:
    """(source, path) of every picture that is used: of each source at most `per_source`, spread by a hash."""
    folders = [root / folder for folder in pictures.folders]
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    if missing:
        raise AvadetError(f"no folder {', '.join(missing)}; check data.root and data.pictures")
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in SHOWN:
                found[source_of(path.stem, pictures.source)].setdefault(path.name, path)
    chosen = []
    for source in sorted(found.keys() - set(pictures.leave_out)):
        paths = sorted(found[source].values(), key=lambda path: zlib.crc32(path.name.encode()))
        chosen += [(source, path) for path in paths[: pictures.per_source or None]]
    return chosen[:: pictures.every]


def source_of(stem: str, pattern: str) -> str:
    """The source of a picture: the first group of `pattern`, searched in its name; the whole name if there is none."""
    match = re.search(pattern, stem) if pattern else None
    return match[1] if match else stem


def read_picture(path: Path, short_side: int) -> UInt8Array | None:
    """uint8 RGB, at most so large; None if it cannot be decoded."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None or min(image.shape[:2]) < 48:
        return None
    rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
    return rgb if min(rgb.shape[:2]) <= short_side else resize_short(rgb, short_side, LONG_SIDE)


def _drawn(pictures: PictureSet, path: Path, phrases: Mapping[str, Drawn]) -> Drawn | None:
    """Who is drawn in; None if nobody looked at the picture."""
    if pictures.labels == "phrases":
        return phrases.get(path.name)
    table = path.parent.parent / "labels" / f"{path.stem}.txt"
    if pictures.labels == "yolo" and table.is_file():
        return read_yolo(table, pictures.person_classes)
    return None


def read_yolo(path: Path, person_classes: Sequence[int]) -> Drawn:
    """Read a YOLO txt: rows of class, centre and size in 0-1, or class and a polygon.

    Class -1 is a crowd, uncertain. A polygon of four corners is a box that was sheared with its picture: what lies
    between the middles of its sides is taken, because its hull would be too large.

    Args:
        path: the file.
        person_classes: other classes are left out; empty = all are persons.
    """
    rows, certain = [], []
    for line in path.read_text().splitlines():
        numbers = [float(word) for word in line.split()]
        if len(numbers) < 5 or (person_classes and int(numbers[0]) not in (*person_classes, -1)):
            continue
        rows.append(_corners(numbers[1:]))
        certain.append(int(numbers[0]) >= 0)
    return np.clip(np.array(rows, np.float32).reshape(-1, 4), 0, 1), np.array(certain, bool)


def _corners(numbers: list[float]) -> list[float]:
    """xyxy of a box (four numbers), a box and its key points (an odd count), or a polygon (an even count)."""
    if len(numbers) == 4 or len(numbers) % 2:
        x, y, width, height = numbers[:4]
        return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    points = np.array(numbers).reshape(-1, 2)
    if len(points) == 4:
        points = (points + np.roll(points, 1, axis=0)) / 2
    return [*points.min(axis=0).tolist(), *points.max(axis=0).tolist()]


def read_phrases(path: Path) -> dict[str, Drawn]:
    """Read boxes of persons named in captions: JSON rows of file, w, h, box (xyxy px), single (False = a group)."""
    rows: dict[str, list[tuple[list[float], bool]]] = defaultdict(list)
    for row in json.loads(gzip.decompress(path.read_bytes())):
        scale = np.array([row["w"], row["h"]] * 2)
        rows[row["file"]].append(((np.array(row["box"]) / scale).tolist(), bool(row["single"])))
    return {
        name: (np.array([box for box, _ in found], np.float32), np.array([single for _, single in found]))
        for name, found in rows.items()
    }


def join(image: UInt8Array, drawn: Drawn, teacher: Teacher, person_score: float) -> LabelledFrame:
    """A picture with those drawn in and those whom the teacher sees besides.

    A drawn box that holds two whole persons of the teacher is that of a group, and uncertain like every box not drawn
    for certain; its members are those of the teacher.
    """
    corners = boxes.to_px(drawn[0], image.shape[:2])
    seen = teacher.look(image)
    sure = seen.boxes_px[seen.scores >= GROUP_SCORE]
    held = boxes.intersection(corners, sure) >= INSIDE * np.maximum(boxes.area(sure), 1e-6)[None]
    small = boxes.area(sure)[None] <= 0.7 * boxes.area(corners)[:, None]
    certain = drawn[1] & ((held & small).sum(axis=1) < 2)
    joined, worth = label(corners[certain], seen, person_score, teacher.maybe_score)
    unsure = corners[~certain]
    return LabelledFrame(
        image,
        np.concatenate((joined, unsure)).astype(np.float32),
        np.concatenate((worth, np.zeros(len(unsure)))).astype(np.float32),
    )
