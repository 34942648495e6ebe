"""From a split's table to what a loader needs: keyframes, and the people and labels of each, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from avadet import boxes as box_math
from avadet.annotations.ava import NO_CLASS, AvaTable
from avadet.annotations.rules.boxes import JudgedBoxes, refuse_pixels
from avadet.annotations.splits import DataSplit, DataVideo
from avadet.data.index import AnnotationIndex, ranges, row_starts
from avadet.errors import AvadetError
from avadet.types import BoolArray, Float32Array, IntArray, LabelMap

_MICRO = 1e6


@dataclass(frozen=True)
class ProposalRule:
    """Which proposals join the true boxes in training, and what they are said to do.

    The defaults give unlabelled people as negatives. PySlowFast (`datasets/ava_helper.py`) trains on the files' own
    labels: `matched="own"`. mmaction2 (MaxIoUAssignerAVA at 0.9, only positives in the loss) is
    `matched="labels", unmatched="drop"`. LFB's and PySlowFast's threshold is 0.9 or 0.8, see their configs.

    Attributes:
        threshold: least score, 0-1.
        matched: what becomes of a proposal that overlaps a true box by `least_iou`: it takes that box's "labels", is
            left out ("drop"), or keeps its "own", the classes that its rows of the proposal file name; these then
            decide alone, overlap does not matter.
        unmatched: what becomes of the others: "negative", a person who does nothing, or "drop". With `matched="own"`
            the others are those whose rows name no class.
        least_iou: 0-1.
    """

    threshold: float = 0.8
    matched: Literal["labels", "own", "drop"] = "labels"
    unmatched: Literal["negative", "drop"] = "negative"
    least_iou: float = 0.9


@dataclass(frozen=True)
class _People:
    """Boxes as columns, one row a person: n rows.

    Attributes:
        videos: int64 (n,), position in the split's videos.
        micros: int64 (n,), time in microseconds.
        boxes: float32 (n, 4), 0-1.
        labels: bool (n, K).
        scores: float32 (n,).
        ids: int64 (n,).
        named: (videos, micros) of every keyframe that the table names, with a box or without.
    """

    videos: IntArray
    micros: IntArray
    boxes: Float32Array
    labels: BoolArray
    scores: Float32Array
    ids: IntArray
    named: tuple[IntArray, IntArray]

    def rows(self, keep: BoolArray | IntArray) -> _People:
        """Only these rows; the keyframes stay named."""
        return replace(
            self,
            videos=self.videos[keep],
            micros=self.micros[keep],
            boxes=self.boxes[keep],
            labels=self.labels[keep],
            scores=self.scores[keep],
            ids=self.ids[keep],
        )

    def and_then(self, more: _People) -> _People:
        """These rows and more of them."""
        return _People(
            np.concatenate([self.videos, more.videos]),
            np.concatenate([self.micros, more.micros]),
            np.concatenate([self.boxes, more.boxes]),
            np.concatenate([self.labels, more.labels]),
            np.concatenate([self.scores, more.scores]),
            np.concatenate([self.ids, more.ids]),
            (np.concatenate([self.named[0], more.named[0]]), np.concatenate([self.named[1], more.named[1]])),
        )


def training_index(
    split: DataSplit, labels: LabelMap, rule: ProposalRule | None = None, *, keep_empty: bool = False
) -> AnnotationIndex:
    """The true boxes of a split and, by `rule`, its proposals.

    Rows of one box are one person with several labels. Excluded keyframes are dropped, and so are rows of videos that
    the split does not list, and boxes of which nothing lies inside the frame; others are cut at its edges.

    Args:
        split: what was read.
        labels: the classes; K of them.
        rule: how proposals join; None = they don't.
        keep_empty: keep keyframes on which nobody is.

    Raises:
        AvadetError: for a class that the label map lacks, boxes in pixels, or a rule without proposals.
    """
    people = _people(split, split.table, labels, "annotations")
    if rule is not None:
        people = _joined(people, _people(split, _proposals(split), labels, "proposals", rule.threshold), rule)
    return _index(split, people, keep_empty)


def scoring_index(
    split: DataSplit, labels: LabelMap, threshold: float, *, keep_best: bool = False, keep_empty: bool = False
) -> AnnotationIndex:
    """The proposals of a split, nothing said of what people do: what a model is to be scored on.

    Keyframes are those that annotations or proposals name, less the excluded.

    Args:
        split: what was read.
        labels: the classes.
        threshold: least score of a proposal, 0-1.
        keep_best: keep a keyframe's best proposal though it scores less, as mmaction2 does.
        keep_empty: keep keyframes without a proposal.

    Raises:
        AvadetError: if the split has no proposals, or for boxes in pixels.
    """
    table = _proposals(split)
    unnamed = AvaTable(
        table.video_ids, table.times_s, table.boxes_norm, np.full(len(table), NO_CLASS, np.int64), table.scores
    )
    people = _people(split, unnamed, labels, "proposals", least=0.0)
    keep = people.scores >= threshold
    if keep_best:
        keep |= _best_of(people)
    truth = _people(split, split.table, labels, "annotations")
    return _index(split, people.rows(keep).and_then(truth.rows(np.zeros(0, np.int64))), keep_empty)


def _proposals(split: DataSplit) -> AvaTable:
    if split.proposals is None:
        raise AvadetError(
            f"split {split.name} has no proposals; name their CSV in the spec: splits.{split.name}.proposals"
        )
    return split.proposals


def _people(split: DataSplit, table: AvaTable, labels: LabelMap, what: str, least: float = 0.0) -> _People:
    """Rows of a table, those of one box joined; where the table has scores, only those of `least` or more."""
    videos = _video_rows(split.videos, table.video_ids)
    micros = np.rint(np.asarray(table.times_s) * _MICRO).astype(np.int64)
    wanted = (videos >= 0) & ~_excluded(split, videos, micros)
    has_box = (np.asarray(table.boxes_norm) != 0).any(axis=1) | (table.class_ids > NO_CLASS)
    scores = np.ones(len(table)) if table.scores is None else np.asarray(table.scores)
    chosen = np.flatnonzero(wanted & has_box & (scores >= least))
    norm = np.asarray(table.boxes_norm, np.float64)
    refuse_pixels(what, np.where((wanted & has_box)[:, None], norm, 0.0))
    judged = JudgedBoxes(norm[chosen])
    chosen = chosen[~(judged.useless | judged.no_box)]
    boxes = np.clip(norm[chosen], 0, 1)
    classes = _class_rows(np.asarray(table.class_ids)[chosen], labels, what)
    first, person = _groups(videos[chosen], micros[chosen], *boxes.T)
    order = np.argsort(first)  # people in the order of the file
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    person, first = place[person], first[order]
    flags = np.zeros((len(first), len(labels)), np.bool_)
    flags[person[classes >= 0], classes[classes >= 0]] = True
    best = np.zeros(len(first), np.float32)
    np.maximum.at(best, person, scores[chosen].astype(np.float32))
    ids = np.full(len(table), -1, np.int64) if table.person_ids is None else table.person_ids
    rows = chosen[first]
    return _People(
        videos[rows],
        micros[rows],
        boxes[first].astype(np.float32),
        flags,
        best,
        ids[rows],
        (videos[wanted], micros[wanted]),
    )


def _video_rows(videos: Sequence[DataVideo], video_ids: NDArray[np.generic]) -> IntArray:
    """Position of each name among the videos, -1 = not there."""
    import pandas as pd

    codes, names = pd.factorize(np.asarray(video_ids, dtype=object))
    known = {video.video_id: row for row, video in enumerate(videos)}
    return np.array([known.get(str(name), -1) for name in names], np.int64)[codes]


def _excluded(split: DataSplit, videos: IntArray, micros: IntArray) -> BoolArray:
    """Which (video, time) pairs (n,) the split excludes."""
    out = _video_rows(split.videos, split.excluded.video_ids)
    times = np.rint(np.asarray(split.excluded.times_s) * _MICRO).astype(np.int64)
    _, group = _groups(np.concatenate([videos, out]), np.concatenate([micros, times]))
    return np.isin(group[: len(videos)], group[len(videos) :])


def _class_rows(class_ids: IntArray, labels: LabelMap, what: str) -> IntArray:
    """Positions in the label map, -1 for rows that name no class (0 or less, as in PySlowFast's lists)."""
    rows = np.full(len(class_ids), -1, np.int64)
    order = np.argsort(labels.ids)
    known = np.array(labels.ids, np.int64)[order]
    named = class_ids > NO_CLASS
    at = np.clip(np.searchsorted(known, class_ids[named]), 0, len(known) - 1)
    strange = known[at] != class_ids[named]
    if strange.any():
        raise AvadetError(
            f"{what}: class id {class_ids[named][strange][0]} is not in the label map of {len(labels)} classes "
            f"({strange.sum()} such rows); give the data set's own map as 'labels'"
        )
    rows[named] = order[at]
    return rows


def _joined(truth: _People, found: _People, rule: ProposalRule) -> _People:
    """True boxes, then those proposals that the rule takes."""
    if rule.matched == "own":
        known = found.labels.any(axis=1)
        return _merged(truth, found.rows(np.flatnonzero(known | (rule.unmatched == "negative"))))
    partner = _partners(truth, found, rule.least_iou)
    matched = partner >= 0
    labels, ids = np.zeros_like(found.labels), np.full(len(found.ids), -1, np.int64)
    labels[matched], ids[matched] = truth.labels[partner[matched]], truth.ids[partner[matched]]
    keep = np.flatnonzero(np.where(matched, rule.matched == "labels", rule.unmatched == "negative"))
    return _merged(truth, replace(found, labels=labels, ids=ids).rows(keep))


def _merged(first: _People, second: _People) -> _People:
    """Both tables as one; a box that stands in both is one person, with the labels of both."""
    both = first.and_then(second)
    earliest, person = _groups(both.videos, both.micros, *both.boxes.T)
    labels = np.zeros((len(earliest), both.labels.shape[1]), np.bool_)
    rows, classes = np.nonzero(both.labels)
    labels[person[rows], classes] = True
    order = np.argsort(earliest)
    return replace(both.rows(earliest[order]), labels=labels[order])


def _partners(truth: _People, found: _People, least_iou: float) -> IntArray:
    """For each proposal (m,) the true box of its keyframe that it overlaps most, if by `least_iou`, else -1."""
    count = len(truth.videos)
    _, keyframe = _groups(np.concatenate([truth.videos, found.videos]), np.concatenate([truth.micros, found.micros]))
    order = np.argsort(keyframe[:count], kind="stable")
    low = np.searchsorted(keyframe[:count][order], keyframe[count:])
    high = np.searchsorted(keyframe[:count][order], keyframe[count:], side="right")
    mine, theirs = np.repeat(np.arange(len(low)), high - low), order[ranges(low, high - low)]
    overlap = box_math.iou_of_pairs(found.boxes[mine].astype(np.float64), truth.boxes[theirs].astype(np.float64))
    best = np.full(len(low), -1, np.int64)
    rising = np.argsort(overlap, kind="stable")  # the last written is the largest
    rising = rising[overlap[rising] >= least_iou]
    best[mine[rising]] = theirs[rising]
    return best


def _best_of(people: _People) -> BoolArray:
    """Which of the people have the best score of their keyframe; of equal ones the first."""
    _, keyframe = _groups(people.videos, people.micros)
    order = np.lexsort([-people.scores.astype(np.float64), keyframe])
    leads = np.ones(len(order), np.bool_)
    leads[1:] = keyframe[order][1:] != keyframe[order][:-1]
    best = np.zeros(len(order), np.bool_)
    best[order[leads]] = True
    return best


def _index(split: DataSplit, people: _People, keep_empty: bool) -> AnnotationIndex:
    """Keyframes by video and time, each with its people in the order at hand."""
    count = len(people.videos)
    videos, micros = np.concatenate([people.videos, people.named[0]]), np.concatenate([people.micros, people.named[1]])
    first, keyframe = _groups(videos, micros)
    order = np.argsort(keyframe[:count], kind="stable")
    counts = np.bincount(keyframe[:count], minlength=len(first))
    shown = np.flatnonzero((counts > 0) | keep_empty)
    return AnnotationIndex(
        split.videos,
        videos[first][shown],
        micros[first][shown] / _MICRO,
        row_starts(counts[shown]),
        people.boxes[order],
        people.labels[order],
        people.scores[order],
        people.ids[order],
    )


def _groups(*columns: NDArray[np.generic]) -> tuple[IntArray, IntArray]:
    """Group equal rows of columns (n,).

    Returns:
        the first row of each group (g,), groups sorted by value; the group of each row (n,).
    """
    order = np.lexsort(columns[::-1])
    new = np.zeros(len(order), np.bool_)
    new[:1] = True
    for column in columns:
        new[1:] |= column[order][1:] != column[order][:-1]
    group = np.empty(len(order), np.int64)
    group[order] = np.cumsum(new) - 1
    return order[new], group
