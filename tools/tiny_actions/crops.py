"""Step `crops`: a square cut around each person of a picture, with room for augmentation; labels by eye join them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from avadet.files import whole_file
from avadet.models.detectors.person_crops import square_windows
from avadet.persons.load import load_detector
from avadet.types import Float64Array, PersonDetector, UInt8Array
from tiny_actions.labels import FOLDER, attach, read_labels
from tiny_actions.persons import Ledger, Person, Report, read_persons, write_persons

NET_PX = 160
MARGIN = 1.3
ROOM = 1.3
STORED_PX = 208
"""Rows and columns of a stored crop: `NET_PX` times `ROOM`."""

SMALLEST_PX = 12
SHRINK_BELOW = 0.6
MOST_SHRUNK = 1 / 16
DETECTOR_PX = 416
UPSCALED_UNDER_PX = 300
MAIN_SCORE = 0.3


def square_around(box: Sequence[float], margin: float) -> Float64Array:
    """The window of `square_windows` around one box, xyxy px, float64."""
    return square_windows(torch.tensor([list(box)], dtype=torch.float64), margin)[0].numpy()


def cut(image: UInt8Array, window: Float64Array, side_px: int, border: int = cv2.BORDER_CONSTANT) -> UInt8Array:
    """Cut a window out of a picture, as `detectors.person_crops.crop` does but for how pixels are averaged.

    Where the result is much smaller than the window, the picture is shrunk by areas first.

    Args:
        image: uint8 (H, W, 3) or (H, W).
        window: xyxy px; may reach beyond the picture, and need not be square where pixels are not.
        side_px: rows and columns of the result.
        border: what lies beyond the picture; OpenCV's constant, black by default.
    """
    x1, y1, x2, y2 = window
    scale = min(1.0, max(side_px / max(x2 - x1, y2 - y1), MOST_SHRUNK))
    if scale < SHRINK_BELOW:
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        factors = small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]
        x1, x2, y1, y2 = x1 * factors[0], x2 * factors[0], y1 * factors[1], y2 * factors[1]
        image = small  # type: ignore[assignment]
    step_x, step_y = (x2 - x1) / side_px, (y2 - y1) / side_px
    matrix = np.array([[step_x, 0, x1 + step_x / 2 - 0.5], [0, step_y, y1 + step_y / 2 - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, (side_px, side_px), flags=flags, borderMode=border)  # type: ignore[return-value]


def main_person(image: UInt8Array, detect: PersonDetector) -> list[float] | None:
    """Box of the largest sure person: the highest root of area times score; None if no score reaches 0.3.

    Small pictures are enlarged for the detector.
    """
    longest = max(image.shape[:2])
    factor = 1.0 if longest >= UPSCALED_UNDER_PX else DETECTOR_PX / longest
    enlarged = image if factor == 1.0 else cv2.resize(image, None, fx=factor, fy=factor)
    found = detect(np.ascontiguousarray(enlarged))
    if not len(found) or found.scores.max() < MAIN_SCORE:
        return None
    boxes = found.boxes_px / (enlarged.shape[0] / image.shape[0])
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return [float(side) for side in boxes[np.argmax(np.sqrt(area) * found.scores)]]


def person_crop(image: UInt8Array, person: Person) -> UInt8Array | None:
    """The stored crop of a person; None for one too small. The picture may be squashed against `size_hw`."""
    window = square_around(person.box, MARGIN * ROOM)
    if max(person.height_px(), person.width_px()) * MARGIN * ROOM < SMALLEST_PX:
        return None
    height, width = person.size_hw
    stretch = np.array([image.shape[1] / width, image.shape[0] / height] * 2)
    return cut(image, window * stretch, STORED_PX)


def cut_all(persons: Sequence[Person], data: Path, detect: PersonDetector, path: Path, ledger: Ledger) -> list[Person]:
    """Write the crops of all persons into one uint8 array (N, 208, 208, 3) RGB at `path`; returns those who have one.

    A box is found for who has none.
    """
    kept: list[Person] = []
    last: tuple[str, UInt8Array | None] = ("", None)
    crops = np.memmap(path, np.uint8, "w+", shape=(max(len(persons), 1), STORED_PX, STORED_PX, 3))
    for person in persons:
        file = str(data / person.source / person.file)
        if last[0] != file:
            picture = cv2.imread(file)
            last = (file, None if picture is None else np.ascontiguousarray(picture[..., ::-1]))
        image = last[1]
        if image is None:
            ledger.leave_out(person.source, "pictures that cannot be read")
            continue
        person.size_hw = person.size_hw or list(image.shape[:2])
        person.box = person.box or main_person(image, detect) or []
        crop = person_crop(image, person) if person.box else None
        if crop is None:
            ledger.leave_out(person.source, "too small" if person.box else "in which nobody was found")
            continue
        crops[len(kept)] = crop
        kept.append(person)
        ledger.take(person.source)
    crops.flush()
    return kept


def open_crops(work: Path, count: int) -> UInt8Array:
    """The stored crops, (N, 208, 208, 3), mapped from the file."""
    return np.memmap(work / "crops.raw", np.uint8, "r", shape=(count, STORED_PX, STORED_PX, 3))


def run(data: Path, work: Path, detector: Path, report: Report) -> None:
    """Write `crops.raw` and `crops.jsonl`; needs the step `pictures`."""
    cv2.setNumThreads(1)
    ledger = Ledger()
    (work / "crops.jsonl").unlink(missing_ok=True)  # never beside crops of another run
    persons = read_persons(work / "pictures.jsonl")
    with whole_file(work / "crops.raw") as partial:
        kept = cut_all(persons, data, load_detector(detector), partial, ledger)
        os.truncate(partial, max(len(kept), 1) * STORED_PX * STORED_PX * 3)
    sources = {person.source for person in kept}
    labels = [label for label in read_labels(FOLDER / "pictures.csv") if label.source in sources]
    found = attach(kept, labels, ledger)
    write_persons(work / "crops.jsonl", kept)
    for line in [*ledger.lines(), f"{found:,} of {len(labels):,} labels by eye found their person"]:
        report(line)
