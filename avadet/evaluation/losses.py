"""Where the points were lost: 1 - AP of each class, split into causes that sum to the whole.

AP is the mean, over the true boxes of a class, of the precision that each one was found at: 0 for those never found,
the falling envelope of precision for the others. So 1 - AP is lost in two ways. A true box that was not found costs
1 / num_gt. One found at envelope precision p costs (1 - p) / num_gt, and that cost lies with the false positives ranked
above the point where the envelope takes its value; they share it evenly. Adding up, every false positive has a price,
every missed true box has a price, and the prices sum to 1 - AP exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avadet.evaluation.ap import nearest_truth
from avadet.evaluation.matching import ClassMatches, Matches
from avadet.evaluation.people import People, found_people, true_people
from avadet.evaluation.protocols import MIN_IOU
from avadet.types import BoolArray, Float64Array, IntArray

LOOSE_IOU = 0.1

PARTS = (
    "person not found",
    "box too loose",
    "found, action not said",
    "other action",
    "duplicate",
    "background",
)
"""The causes, in the order of the columns of `Losses.parts`.

person not found: a true box missed, and no found box of any class overlaps the person by IoU 0.1.
box too loose: a true box missed, the best found box of any class overlaps the person by 0.1 to 0.5; or a false
    positive that overlaps a person doing this by 0.1 to 0.5, and nobody by 0.5.
found, action not said: a true box missed although some found box overlaps the person by 0.5: this action has no row
    there, or one that went to a neighbour.
other action: a false positive that overlaps somebody by 0.5, but nobody who does this. Actions scored too low show up
    here: their people were found, but rows of people who do something else rank above them.
duplicate: a false positive that overlaps a person doing this by 0.5; another row found that person.
background: every other false positive.
"""
_NOT_FOUND, _LOOSE, _NOT_SAID, _OTHER, _DUPLICATE, _BACKGROUND = range(len(PARTS))


@dataclass(frozen=True)
class Losses:
    """What each cause costs.

    Attributes:
        parts: float64 (K, 6), 0-1, columns as `PARTS`; a row sums to 1 - AP. NaN where AP is.
        confusions: float64 (K, K): what class k (row) loses to people who do class j (column) instead; a row sums to
            its "other action". Of a person's actions those of the same group share the cost, or all if none is of it.
    """

    parts: Float64Array
    confusions: Float64Array

    def mean(self, in_mean: BoolArray) -> Float64Array:
        """Mean over classes, float64 (6,): the parts of 1 - mAP; NaN if there are no classes."""
        if not in_mean.any():
            return np.full(len(PARTS), np.nan)
        return np.asarray(self.parts[in_mean].mean(axis=0))


def split_losses(matches: Matches) -> Losses:
    """Split 1 - AP of every class."""
    people = true_people(matches)
    best_box = found_people(matches).best_overlap_of(people)
    parts, confusions = [], []
    for index, one in enumerate(matches.classes):
        if not len(one.truth):
            parts.append(np.full(len(PARTS), np.nan))
            confusions.append(np.full(len(matches.labels), np.nan))
            continue
        prices = false_positive_prices(one.is_true, len(one.truth))
        kinds, persons = _kinds(matches, one, people)
        missed = np.bincount(_missed(one, people, best_box), minlength=len(PARTS))
        parts.append(np.bincount(kinds, weights=prices, minlength=len(PARTS)) + missed / len(one.truth))
        other = kinds == _OTHER
        confusions.append(_confused_with(people.rivals(persons[other], index), prices[other]))
    return Losses(np.array(parts).reshape(-1, len(PARTS)), np.array(confusions).reshape(-1, len(matches.labels)))


def false_positive_prices(is_true: BoolArray, num_true: int) -> Float64Array:
    """What each detection costs its class: a share of 1 - AP, 0 for true positives.

    Args:
        is_true: bool (n,), true positives marked, best score first.
        num_true: number of true boxes, at least 1.

    Returns:
        float64 (n,); with 1 / num_true for each missed true box they sum to 1 - AP.
    """
    places = np.flatnonzero(is_true)
    precision = np.arange(1, len(places) + 1) / (places + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    # the place where the envelope takes its value: the next true positive whose own precision it is
    peaks = np.flatnonzero(precision == envelope)
    peak = peaks[np.searchsorted(peaks, np.arange(len(places)))]
    at_peak = np.bincount(peak, minlength=len(places)) / (num_true * (places + 1))
    ahead = np.zeros(len(is_true) + 1)
    np.add.at(ahead, places, at_peak)
    price = np.cumsum(ahead[::-1])[::-1][1:]
    return np.where(is_true, 0.0, price)


def _kinds(matches: Matches, one: ClassMatches, people: People) -> tuple[IntArray, IntArray]:
    """Column of `PARTS` of each detection (meaningless for true positives), and the person it overlaps most."""
    found, true = matches.found, matches.true
    boxes, frames = found.boxes[one.rows], found.frames[one.rows]
    _, same = nearest_truth(boxes, frames, true.boxes[one.truth], true.frames[one.truth])
    person, anybody = nearest_truth(boxes, frames, people.boxes, people.frames)
    kinds = np.full(len(boxes), _BACKGROUND)
    kinds[same >= LOOSE_IOU] = _LOOSE
    kinds[anybody >= MIN_IOU] = _OTHER
    kinds[same >= MIN_IOU] = _DUPLICATE
    return kinds, person


def _missed(one: ClassMatches, people: People, best_box: Float64Array) -> IntArray:
    """Column of `PARTS` of each true box that nothing found."""
    missed = np.setdiff1d(one.truth, one.claimed[one.is_true])
    overlap = best_box[people.of_truth[missed]]
    return np.where(overlap < LOOSE_IOU, _NOT_FOUND, np.where(overlap < MIN_IOU, _LOOSE, _NOT_SAID))


def _confused_with(rivals: BoolArray, prices: Float64Array) -> Float64Array:
    """Split each price evenly over the marked classes of its row; (n, K) and (n,) -> (K,)."""
    shares = prices / np.maximum(rivals.sum(axis=1), 1)
    return np.asarray(shares @ rivals)
