"""A split in numbers: how much of it there is, how it is spread over classes, how large people are in it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from avadet import boxes
from avadet.annotations.ava import NO_CLASS
from avadet.annotations.rules.issues import box_codes, has_box, keyframe_codes, number_alike, number_names
from avadet.annotations.rules.lists import count_split
from avadet.annotations.rules.proposals import IOU, proposal_recall
from avadet.annotations.splits import DataSplit
from avadet.types import Float64Array, IntArray, LabelMap

Place = Literal["head", "middle", "tail", "none"]

_HEAD, _MIDDLE = 0.5, 0.9  # shares of all rows
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class ClassCount:
    """How often a class occurs.

    Attributes:
        class_id: its id.
        name: its name.
        evaluated: whether it counts in the data set's mAP.
        rows: boxes that have it.
        videos: videos in which it occurs.
        place: "head" = of the most frequent classes that hold half of all rows, "middle" = of those that hold the next
            40%, "tail" = of the rest; "none" = without an example.
    """

    class_id: int
    name: str
    evaluated: bool
    rows: int
    videos: int
    place: Place


@dataclass(frozen=True)
class ProposalCount:
    """How good proposals are.

    Attributes:
        boxes: how many there are.
        each_keyframe: of them a listed keyframe, on average.
        recall: share of people with one at IoU 0.5; None without people.
    """

    boxes: int
    each_keyframe: float
    recall: float | None


@dataclass(frozen=True)
class SplitStatistics:
    """A split in numbers.

    Attributes:
        name: of the split.
        counts: videos, keyframes, boxes, rows, tubes, excluded keyframes.
        hours: of video; None = not looked at.
        boxes_each_keyframe: mean number of people a keyframe, and the largest.
        labels_each_box: mean number of actions a person.
        heights: quantiles 5, 25, 50, 75, 95% of boxes' heights, 0-1 of the frame; empty without boxes.
        areas: likewise of their areas.
        classes: most frequent first.
        proposals: None = there are none.
    """

    name: str
    counts: dict[str, int]
    hours: float | None
    boxes_each_keyframe: tuple[float, int]
    labels_each_box: float
    heights: tuple[float, ...]
    areas: tuple[float, ...]
    classes: tuple[ClassCount, ...]
    proposals: ProposalCount | None

    def json(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    def table(self) -> str:
        """As text."""
        return "\n".join([*self._overview(), "", *_class_table(self.classes)])

    def _overview(self) -> list[str]:
        counts = [f"{self.counts[kind]:,} {kind}" for kind in ("videos", "keyframes", "boxes", "rows")]
        counts += [f"{self.counts['excluded']:,} excluded keyframes"] if self.counts["excluded"] else []
        mean, most = self.boxes_each_keyframe
        counts += [] if self.hours is None else [_length(self.hours)]
        lines = [f"{self.name}: {', '.join(counts)}"]
        if self.heights:
            lines += [
                f"  people a keyframe   {mean:.2f}, at most {most}",
                f"  actions a person    {self.labels_each_box:.2f}",
                f"  height of a person  {_percents(self.heights)} of the frame (5, 25, 50, 75, 95% of the boxes)",
                f"  area of a person    {_percents(self.areas)} of the frame",
            ]
        if self.proposals is not None:
            found = self.proposals
            recall = "" if found.recall is None else f"; they find {found.recall:.1%} of the people (IoU {IOU})"
            lines.append(f"  proposals           {found.boxes:,}, {found.each_keyframe:.2f} a keyframe{recall}")
        return lines


def split_statistics(split: DataSplit, labels: LabelMap, hours: float | None = None) -> SplitStatistics:
    """Count a split.

    Args:
        split: as it was read.
        labels: its classes.
        hours: of video, if somebody looked.
    """
    table = split.table
    people = np.flatnonzero(has_box(table))
    keyframes = keyframe_codes([table])[0]
    persons = np.zeros(len(people), np.int64) if table.person_ids is None else table.person_ids[people]
    codes = number_alike([keyframes[people], box_codes(table.boxes_norm[people]), persons])
    _, first = np.unique(codes, return_index=True)
    own = np.asarray(table.boxes_norm[people[first]], np.float64)
    crowd = np.bincount(number_alike([keyframes[people[first]]])) if len(first) else np.zeros(1, np.int64)
    num_keyframes, actions = len(np.unique(keyframes)), np.count_nonzero(table.class_ids[people] > NO_CLASS)
    return SplitStatistics(
        name=split.name,
        counts=count_split(table, len(split.videos), len(split.excluded.times_s)),
        hours=hours,
        boxes_each_keyframe=(len(first) / max(num_keyframes, 1), int(crowd.max())),
        labels_each_box=float(actions / max(len(first), 1)),
        heights=_quantiles(own[:, 3] - own[:, 1]),
        areas=_quantiles(np.asarray(boxes.area(own), np.float64)),
        classes=_count_classes(split, labels, people),
        proposals=_count_proposals(split, num_keyframes),
    )


def _quantiles(values: Float64Array) -> tuple[float, ...]:
    return tuple(np.quantile(values, _QUANTILES).round(6).tolist()) if len(values) else ()


def _count_classes(split: DataSplit, labels: LabelMap, people: IntArray) -> tuple[ClassCount, ...]:
    class_ids = split.table.class_ids[people]
    videos = number_names(split.table.video_ids[people])[0]
    pairs = np.unique(np.stack([class_ids, videos], axis=1), axis=0) if len(people) else np.zeros((0, 2), np.int64)
    found = [
        (int((class_ids == i).sum()), int((pairs[:, 0] == i).sum()), i, name, counts)
        for i, name, counts in zip(labels.ids, labels.names, labels.evaluated)
    ]
    found.sort(key=lambda one: (-one[0], one[2]))
    total, before = sum(one[0] for one in found), 0
    classes = []
    for rows, num_videos, class_id, name, counts in found:
        share = before / max(total, 1)
        place: Place = "none" if not rows else "head" if share < _HEAD else "middle" if share < _MIDDLE else "tail"
        classes.append(ClassCount(class_id, name, counts, rows, num_videos, place))
        before += rows
    return tuple(classes)


def _count_proposals(split: DataSplit, num_keyframes: int) -> ProposalCount | None:
    if split.proposals is None:
        return None
    found = proposal_recall(split.table, split.proposals)
    listed, codes = keyframe_codes([split.table, split.proposals])
    somebody = has_box(split.proposals)
    here = np.count_nonzero(np.isin(codes, listed) & somebody)
    recall = found.share if len(found.people) else None
    return ProposalCount(int(somebody.sum()), here / max(num_keyframes, 1), recall)


def _class_table(classes: tuple[ClassCount, ...]) -> list[str]:
    found, without = [one for one in classes if one.rows], [one for one in classes if not one.rows]
    total = max(sum(one.rows for one in found), 1)
    width = max([len(_shown(one)) for one in found] + [len("class")])
    lines = [f"  {'id':>4}  {'class':<{width}}  {'rows':>9}  {'share':>6}  {'videos':>6}  place"] if found else []
    for one in found:
        numbers = f"{one.rows:>9,}  {one.rows / total:>6.1%}  {one.videos:>6,}"
        lines.append(f"  {one.class_id:>4}  {_shown(one):<{width}}  {numbers}  {one.place}")
    if without:
        lines.append(f"  without an example ({len(without)}): {', '.join(_shown(one) for one in without)}")
    if not all(one.evaluated for one in classes):
        lines.append("  [classes in brackets] are not evaluated")
    return lines


def _shown(one: ClassCount) -> str:
    return one.name if one.evaluated else f"[{one.name}]"


def _length(hours: float) -> str:
    """1.5 hours, 12.3 minutes or 9 seconds."""
    minutes = hours * 60
    return (
        f"{hours:.1f} hours"
        if hours >= 1
        else f"{minutes:.1f} minutes"
        if minutes >= 1
        else f"{minutes * 60:.0f} seconds"
    )


def _percents(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.1%}" for value in values)
