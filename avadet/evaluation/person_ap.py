"""How well people are found, whatever they do: COCO's AP of one category, person, on AVA-style boxes.

True people are the distinct boxes of a keyframe (with a person id: the distinct pairs of box and id), since AVA has a
row for every action. Found people are the distinct boxes of a keyframe likewise. The score of a box is the best of its
rows: in a file of person boxes all of them have the detector's score; in a file of action detections it is the score
of the likeliest action, which stands in for a person's score that the file does not have.

Only keyframes that the ground truth lists and nobody excluded are looked at; a listed keyframe without people counts:
boxes there are false positives. Matching and AP are those of pycocotools (T.-Y. Lin et al., "Microsoft COCO: Common
Objects in Context", ECCV 2014; <https://cocodataset.org/#detection-eval>): the best 100 boxes of a keyframe, a box
takes the free true box it overlaps most, precision is read off at 101 recalls. Of boxes with the same score the one
that stands first in the file counts first.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avadet.annotations.ava import AvaTable, Keyframes
from avadet.annotations.coco import NOMINAL_SIZE_HW
from avadet.boxes import beyond_frame
from avadet.keyframes import Rates, join_keyframes
from avadet.types import NORM_ROUNDING, BoolArray, Float64Array, IntArray

THRESHOLDS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Least scores at which recall and precision are told."""

_MOST_BOXES = 100
_STATS = (
    ("ap", "AP at IoU 0.5:0.95"),
    ("ap_50", "AP at IoU 0.5"),
    ("ap_75", "AP at IoU 0.75"),
    ("ap_small", "AP of small people"),
    ("ap_medium", "AP of medium people"),
    ("ap_large", "AP of large people"),
    ("ar_1", "recall with 1 box"),
    ("ar_10", "recall with 10 boxes"),
    ("ar_100", "recall with 100 boxes"),
)


@dataclass(frozen=True)
class PersonApResult:
    """COCO's numbers for people.

    Attributes:
        stats: by name, 0-1, NaN where there is nobody to find: `ap` (mean over IoU 0.5, 0.55, ..., 0.95), `ap_50`,
            `ap_75`, `ap_small` (under 32 x 32 px), `ap_medium`, `ap_large` (over 96 x 96 px), and `ar_1`, `ar_10`,
            `ar_100`: mean recall over the same IoUs with so many boxes a keyframe.
        num_keyframes: keyframes that were looked at.
        num_people: true people in them.
        num_boxes: boxes in them.
        size_hw: (height, width) px of the frame in which small, medium and large are measured.
        num_at: int64 (T,), boxes with at least each of `THRESHOLDS` as score, the best 100 of a keyframe.
        num_found_at: int64 (T,), those of them that have found somebody at IoU 0.5.
        warnings: what looks wrong in the files, one line each.
    """

    stats: dict[str, float]
    num_keyframes: int
    num_people: int
    num_boxes: int
    size_hw: tuple[int, int]
    num_at: IntArray
    num_found_at: IntArray
    warnings: tuple[str, ...] = ()

    @property
    def recall(self) -> Float64Array:
        """Share of the people that are found at IoU 0.5 by boxes of each of `THRESHOLDS`; NaN without people."""
        return _share(self.num_found_at, np.full(len(self.num_at), self.num_people))

    @property
    def precision(self) -> Float64Array:
        """Share of the boxes of each of `THRESHOLDS` that have found somebody; NaN without boxes."""
        return _share(self.num_found_at, self.num_at)

    def json(self) -> dict[str, object]:
        """Everything, ready for `json.dumps`; None stands for NaN."""
        by_score = zip(THRESHOLDS, self.num_at.tolist(), self.recall.tolist(), self.precision.tolist())
        return {
            **{name: _or_none(value) for name, value in self.stats.items()},
            "num_keyframes": self.num_keyframes,
            "num_people": self.num_people,
            "num_boxes": self.num_boxes,
            "size_hw": list(self.size_hw),
            "by_score": [
                {"score": score, "num_boxes": count, "recall": _or_none(recall), "precision": _or_none(precision)}
                for score, count, recall, precision in by_score
            ],
            "warnings": list(self.warnings),
        }

    def table(self) -> str:
        """A text table in percent: COCO's numbers, then recall and precision at IoU 0.5 by least score."""
        lines = [f"{text:<24} {_percent(self.stats[name])}" for name, text in _STATS]
        lines.append(
            f"{'score':>5} {'boxes':>9} {'recall':>7} {'precision':>9}  at IoU 0.5, boxes of that score or more"
        )
        for score, count, recall, precision in zip(THRESHOLDS, self.num_at, self.recall, self.precision):
            lines.append(f"{score:>5.2f} {count:>9} {_percent(recall):>7} {_percent(precision):>9}")
        height, width = self.size_hw
        lines.append(
            f"{self.num_people} people and {self.num_boxes} boxes in {self.num_keyframes} keyframes; "
            f"small (to 32x32 px) and large (from 96x96 px) as if every frame were {width}x{height}"
        )
        return "\n".join(lines)


def evaluate_persons(
    ground_truth: AvaTable,
    boxes: AvaTable,
    excluded: Keyframes | None = None,
    size_hw: tuple[int, int] = NOMINAL_SIZE_HW,
    fps: Rates = None,
) -> PersonApResult:
    """Score boxes of people against ground truth, with pycocotools.

    Args:
        ground_truth: true boxes; rows without a box list a keyframe.
        boxes: found boxes with scores; none count as 1.
        excluded: keyframes that do not count at all.
        size_hw: (height, width) px of a nominal frame: small, medium and large are areas of it. Nothing else hangs
            on it, as AVA's boxes are 0-1 of frames whose size no file tells.
        fps: frames per second of the videos, by which times of the files are the same keyframe; None = not known.
    """
    tables = [(table.video_ids, table.times_s) for table in (boxes, ground_truth, excluded) if table is not None]
    joined = join_keyframes(tables, fps, reference=1)
    numbers = joined.numbers
    listed = np.setdiff1d(numbers[1], numbers[2]) if excluded is not None else np.unique(numbers[1])
    true, found = _People.of(ground_truth, numbers[1]), _People.of(boxes, numbers[0])
    warnings = [*joined.notes(), *_warnings(true, found, numbers[1])]
    ids = None if ground_truth.person_ids is None else np.asarray(ground_truth.person_ids, np.float64)
    true = true.distinct(np.isin(true.frames, listed) & true.have_area(), ids)
    found = found.distinct(np.isin(found.frames, listed) & found.have_area() & ~np.isnan(found.scores))
    crowded = np.bincount(found.frames)
    if beyond := int((crowded - _MOST_BOXES).clip(0).sum()):
        warnings.append(f"{beyond} of {len(found.frames)} boxes are not among the best {_MOST_BOXES} of their keyframe")
    stats, num_at, num_found_at = _by_pycocotools(true, found, listed, size_hw)
    counts = (len(listed), len(true.frames), len(found.frames))
    return PersonApResult(stats, *counts, size_hw, num_at, num_found_at, tuple(warnings))


@dataclass(frozen=True)
class _People:
    """Boxes: number of the keyframe int64 (n,), xyxy 0-1 float64 (n, 4), score float64 (n,)."""

    frames: IntArray
    boxes: Float64Array
    scores: Float64Array

    @classmethod
    def of(cls, table: AvaTable, frames: IntArray) -> _People:
        """The rows of a table, those that only name a keyframe among them."""
        scores = np.ones(len(table)) if table.scores is None else np.asarray(table.scores, np.float64)
        return cls(frames, np.asarray(table.boxes_norm, np.float64), scores)

    def have_box(self) -> BoolArray:
        """Which rows have a box; the others have zeros."""
        return np.asarray((self.boxes != 0).any(axis=1))

    def have_area(self) -> BoolArray:
        """Which boxes have x1 < x2 and y1 < y2; NaN and infinite ones have not."""
        x1, y1, x2, y2 = self.boxes.T
        return np.asarray((x1 < x2) & (y1 < y2) & np.isfinite(self.boxes).all(axis=1))

    def distinct(self, rows: BoolArray, ids: Float64Array | None = None) -> _People:
        """The marked rows, one for each keyframe, box (and id), with the best score, where each stands first."""
        chosen = np.flatnonzero(rows)
        columns = [self.frames[chosen], *self.boxes[chosen].T, *([] if ids is None else [ids[chosen]])]
        first, which = _groups(columns)
        scores = np.full(len(first), -np.inf)
        np.maximum.at(scores, which, self.scores[chosen])
        return _People(self.frames[chosen[first]], self.boxes[chosen[first]], scores)


def _groups(columns: Sequence[NDArray[Any]]) -> tuple[IntArray, IntArray]:
    """Rows that agree in every column: the first row of each group, rising, and the group of each row."""
    order = np.lexsort(list(columns))
    changed = np.zeros(len(order), np.bool_)
    changed[:1] = True
    for column in columns:
        changed[1:] |= column[order[1:]] != column[order[:-1]]
    first = order[changed]  # lexsort is stable, so the first of a group in `order` is its first row
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    which = np.empty(len(order), np.int64)
    which[order] = rank[np.cumsum(changed) - 1]
    return np.sort(first), which


def _by_pycocotools(
    true: _People, found: _People, listed: IntArray, size_hw: tuple[int, int]
) -> tuple[dict[str, float], IntArray, IntArray]:
    """COCO's numbers; how many boxes have each least score; how many of those have found somebody at IoU 0.5."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        sides = []
        for people in (true, found):
            side = COCO()
            side.dataset = _dataset(people, listed, size_hw)
            side.createIndex()
            sides.append(side)
        run = COCOeval(*sides, iouType="bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    stats = {name: float(value) if value >= 0 else float("nan") for (name, _), value in zip(_STATS, run.stats)}
    any_size = [image for image in run.evalImgs[: len(listed)] if image is not None]
    scores = np.array([score for image in any_size for score in image["dtScores"]], np.float64)
    matched = np.array([match > 0 for image in any_size for match in image["dtMatches"][0]], np.bool_)
    at = scores >= np.array(THRESHOLDS)[:, None]
    return stats, at.sum(axis=1), (at & matched).sum(axis=1)


def _dataset(people: _People, listed: IntArray, size_hw: tuple[int, int]) -> dict[str, Any]:
    """People as COCO has them; the ids start at 1, as pycocotools takes 0 for "nobody"."""
    height, width = size_hw
    corners = people.boxes * [width, height, width, height]
    boxes_xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    areas = boxes_xywh[:, 2] * boxes_xywh[:, 3]
    rows = zip(people.frames.tolist(), boxes_xywh.tolist(), areas.tolist(), people.scores.tolist())
    common = {"category_id": 1, "iscrowd": 0}
    return {
        "info": {},
        "images": [{"id": frame} for frame in listed.tolist()],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {"id": number, "image_id": frame, "bbox": box, "area": area, "score": score, **common}
            for number, (frame, box, area, score) in enumerate(rows, start=1)
        ],
    }


def _warnings(true: _People, found: _People, true_frames: IntArray) -> list[str]:
    """What is accepted but is hardly meant, with counts."""
    unlisted = ~np.isin(found.frames, true_frames)
    beyond, in_pixels = beyond_frame(found.boxes)
    masks = {
        "rows lie on keyframes that the ground truth does not list; they are left out": unlisted,
        "rows have a score that is NaN; they are left out": np.isnan(found.scores),
        "rows have a score outside 0-1": np.abs(found.scores - 0.5) > 0.5 + NORM_ROUNDING,
        "rows have a box that reaches outside 0-1; it is scored as it is": beyond & ~in_pixels,
        "rows have a box that reaches outside 0-1, in pixels; divide x by the width, y by the height": in_pixels,
        "rows have a box without area (x1 >= x2, y1 >= y2 or NaN); they are left out": found.have_box()
        & ~found.have_area(),
    }
    rows = len(found.frames)
    told = [f"{count} of {rows} {text}" for text, mask in masks.items() if (count := int(mask.sum()))]
    if nobody := int((true.have_box() & ~true.have_area()).sum()):
        told.append(f"{nobody} of {len(true.frames)} rows of the ground truth have a box without area; left out")
    return told


def _share(part: IntArray, whole: IntArray) -> Float64Array:
    return np.asarray(np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0))


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


def _percent(value: float) -> str:
    return f"{'-':>6}" if np.isnan(value) else f"{100 * value:6.2f}"
