"""A person detector on pictures in which everybody is drawn in: COCO's AP, and recall and precision by threshold."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from avadet import boxes
from avadet.types import BoolArray, Float32Array, Float64Array, PersonBoxes
from person_training.score import SAME_IOU

THRESHOLDS = np.linspace(0.05, 0.95, 91).round(4)
INSIDE = 0.5

Labels = Sequence[tuple[Float32Array, BoolArray]]
"""Of each picture: boxes (N, 4) px, and (N,) whether each is a person for certain; the others are not scored."""


@dataclass(frozen=True)
class PictureScore:
    """Numbers over pictures.

    Attributes:
        frames: pictures.
        persons: certain people in them.
        ap: mean AP at IoU 0.5, 0.55, ... 0.95, by pycocotools; uncertain people are COCO's crowds.
        ap_50: AP at IoU 0.5.
        recall: float64 (91,), at IoU 0.5, by `THRESHOLDS`.
        false: float64 (91,), false boxes a picture.
        precision: float64 (91,); 1 where nothing is found.
    """

    frames: int
    persons: int
    ap: float
    ap_50: float
    recall: Float64Array
    false: Float64Array
    precision: Float64Array

    def line(self, threshold: float) -> str:
        """The numbers in words, those at the threshold among them."""
        at = int(np.abs(THRESHOLDS - threshold).argmin())
        return (
            f"{self.frames} pictures, {self.persons} people: AP50 {100 * self.ap_50:.1f}, AP {100 * self.ap:.1f}; at "
            f"{threshold:.2f} recall {self.recall[at]:.3f}, precision {self.precision[at]:.3f}, "
            f"{self.false[at]:.2f} false boxes a picture"
        )

    def threshold_for(self, false_a_picture: float) -> float:
        """The lowest of `THRESHOLDS` with at most so many false boxes a picture; the highest if there is none."""
        few = self.false <= false_a_picture
        return float(THRESHOLDS[few.argmax()]) if few.any() else float(THRESHOLDS[-1])


def score_pictures(found: Sequence[PersonBoxes], labels: Labels) -> PictureScore:
    """Score what a detector found, down to a low score, in pictures."""
    rights, wrongs = [np.zeros(0)], [np.zeros(0)]
    for people, (corners, certain) in zip(found, labels):
        true, ignored = corners[certain], corners[~certain]
        hit = _right(people, true)
        inside = boxes.intersection(people.boxes_px, ignored) >= INSIDE * boxes.area(people.boxes_px)[:, None]
        rights.append(people.scores[hit])
        wrongs.append(people.scores[~hit & ~inside.any(axis=1)])
    right, wrong = np.concatenate(rights), np.concatenate(wrongs)
    persons = int(sum(certain.sum() for _, certain in labels))
    hits = (right[None] >= THRESHOLDS[:, None]).sum(axis=1)
    misses = (wrong[None] >= THRESHOLDS[:, None]).sum(axis=1)
    ap, ap_50 = coco_ap(found, labels)
    return PictureScore(
        len(found),
        persons,
        ap,
        ap_50,
        hits / max(persons, 1),
        misses / max(len(found), 1),
        np.where(hits + misses > 0, hits / np.maximum(hits + misses, 1), 1.0),
    )


def _right(people: PersonBoxes, true: Float32Array) -> BoolArray:
    """bool (N,): the boxes that find somebody: in order of score, each takes the free person it overlaps most."""
    right = np.zeros(len(people.scores), bool)
    overlap = boxes.iou(people.boxes_px, true)
    for row in range(len(right)):
        if overlap.shape[1] and overlap[row].max() >= SAME_IOU:
            right[row] = True
            overlap[:, overlap[row].argmax()] = 0
    return right


def coco_ap(found: Sequence[PersonBoxes], labels: Labels) -> tuple[float, float]:
    """AP and AP at IoU 0.5 by pycocotools, 0-1; NaN without certain people."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rows = [
        {"image_id": image, "bbox": box, "area": box[2] * box[3], "iscrowd": int(not sure), "category_id": 1}
        for image, (corners, certain) in enumerate(labels)
        for box, sure in zip(_xywh(corners), certain.tolist())
    ]
    boxes_found = [
        {"image_id": image, "bbox": box, "score": score, "category_id": 1}
        for image, people in enumerate(found)
        for box, score in zip(_xywh(people.boxes_px), people.scores.tolist())
    ]
    if not rows or not boxes_found:
        return (0.0, 0.0) if rows else (float("nan"), float("nan"))
    true = COCO()
    true.dataset = {
        "images": [{"id": image} for image in range(len(found))],
        "annotations": [{**row, "id": number + 1} for number, row in enumerate(rows)],
        "categories": [{"id": 1}],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        true.createIndex()
        scored = COCOeval(true, true.loadRes(boxes_found), "bbox")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    return float(scored.stats[0]), float(scored.stats[1])


def _xywh(corners: Float32Array) -> list[list[float]]:
    return np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), axis=1).tolist()
