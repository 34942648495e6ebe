"""Precision-recall curves, thinned for drawing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avadet.evaluation.ap import precision_recall
from avadet.evaluation.matching import Matches
from avadet.types import Float64Array

MOST_POINTS = 200


@dataclass(frozen=True)
class Curve:
    """The falling envelope of precision of one class; the area under it is AP.

    Attributes:
        class_index: row of the label map.
        recall: float64 (P,) 0-1, rising.
        precision: float64 (P,) 0-1, falling: the precision up to that recall.
    """

    class_index: int
    recall: Float64Array
    precision: Float64Array


def curves(matches: Matches) -> tuple[Curve, ...]:
    """The curve of every class with ground truth, at most `MOST_POINTS` points each."""
    drawn = []
    for index, one in enumerate(matches.classes):
        if len(one.truth):
            precision, recall = precision_recall(one.is_true, len(one.truth))
            drawn.append(_thinned(index, precision[one.is_true], recall[one.is_true]))
    return tuple(drawn)


def _thinned(index: int, precision: Float64Array, recall: Float64Array) -> Curve:
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    # only where the envelope is about to fall is there something to see
    corners = np.flatnonzero(np.diff(envelope, append=-1.0) < 0)
    kept = corners[np.unique(np.linspace(0, len(corners) - 1, min(len(corners), MOST_POINTS)).round().astype(np.int64))]
    return Curve(index, recall[kept], envelope[kept])
