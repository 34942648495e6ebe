"""Upper bounds: what the same detections would score if half of the work had been perfect."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from avadet.evaluation.ap import average_precision, claim_once, nearest_truth, precision_recall
from avadet.evaluation.matching import Matches, match_rows
from avadet.evaluation.people import Boxes, People, found_people, true_people
from avadet.evaluation.protocols import MIN_IOU
from avadet.evaluation.rows import Rows
from avadet.types import BoolArray, Float64Array, IntArray


@dataclass(frozen=True)
class Bounds:
    """AP of each class if ...; float64 (K,) each, NaN where AP is.

    Attributes:
        perfect_actions: the boxes are as they were found, but each says exactly what the person in it does: the share
            of true boxes whose person some found box overlaps by IoU 0.5, one box a person, and no false positives.
        true_boxes: every person has exactly the true box, with the scores of the found box that overlaps the person
            most, and there are no other boxes. People whom no found box overlaps at all stay missed: what a model
            would have said of them is not in the file.
    """

    perfect_actions: Float64Array
    true_boxes: Float64Array


def upper_bounds(matches: Matches) -> Bounds:
    """Compute both."""
    people, found = true_people(matches), found_people(matches)
    return Bounds(_perfect_actions(matches, people, found), _true_boxes(matches, people, found))


def _perfect_actions(matches: Matches, people: People, found: Boxes) -> Float64Array:
    person, overlap = nearest_truth(found.boxes, found.frames, people.boxes, people.frames)
    claims = claim_once(person, overlap, np.argsort(-overlap, kind="stable"), MIN_IOU)
    seen = np.zeros(len(people.boxes), np.bool_)
    seen[person[claims]] = True
    return np.array([_mean(seen[people.of_truth[one.truth]]) for one in matches.classes])


def _mean(values: BoolArray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _true_boxes(matches: Matches, people: People, found: Boxes) -> Float64Array:
    """Move every person's best box onto the person, drop the rest, score again."""
    person, overlap = nearest_truth(found.boxes, found.frames, people.boxes, people.frames)
    best = claim_once(person, overlap, np.argsort(-overlap, kind="stable"), np.nextafter(0.0, 1.0))
    kept = np.sort(found.rows[best[found.of_rows]])
    place = _places(found, len(matches.found.frames))[kept]
    moved = _only(matches.found, kept, people.boxes[person[place]])
    classes = match_rows(moved, matches.true, len(matches.labels), matches.rules, matches.is_excluded)
    return np.array(
        [
            average_precision(*precision_recall(one.is_true, len(one.truth))) if len(one.truth) else float("nan")
            for one in classes
        ]
    )


def _places(found: Boxes, num_rows: int) -> IntArray:
    """Position in `found.boxes` of every row of the table; -1 for rows that were not looked at."""
    places = np.full(num_rows, -1, np.int64)
    places[found.rows] = found.of_rows
    return places


def _only(table: Rows, kept: IntArray, boxes: Float64Array) -> Rows:
    """Some rows of a table, with other boxes."""
    columns = {name: getattr(table, name)[kept] for name in ("frames", "classes", "class_ids", "scores")}
    return replace(table, boxes=boxes, **columns)
