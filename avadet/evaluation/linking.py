"""Linking detections of single frames into tubes, class by class.

The greedy linking that the field uses: G. Singh et al., "Online real-time multiple spatiotemporal action localisation
and prediction", ICCV 2017, and V. Kalogeiton et al., "Action tubelet detector for spatio-temporal action localization",
ICCV 2017, with tubelets of one frame. Frame by frame, the tubes of a video and class, best mean score first, each take
the best-scored free box that overlaps their last one enough; boxes left over start tubes. The tubes of all videos and
classes grow side by side, so that a frame costs a few array operations. Unlike the second paper, tubes of one class
are not suppressed against each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from avadet.annotations.ava import AvaTable
from avadet.boxes import iou_of_pairs
from avadet.errors import AvadetError
from avadet.evaluation.rows import evaluated_classes
from avadet.keyframes import join_keyframes
from avadet.types import BoolArray, Float32Array, Float64Array, IntArray, LabelMap, Tube

_OFF_GRID, _MOST_OFF_GRID = 0.25, 1 / 3  # frames; share of rows that may be so far off before it is another clock
_TIME_DECIMALS = 6


@dataclass(frozen=True)
class Linking:
    """How boxes become tubes. A frame here is a keyframe of the detections.

    Attributes:
        nms_iou: of boxes of one class in a frame that overlap more than this, only the best stays (Singh et al.: 0.45).
        top_per_frame: boxes of a class that a frame keeps, the best ones (10 in both papers).
        link_iou: least IoU of a box and the last box of the tube it continues (Kalogeiton et al.: 0.2).
        patience: a tube ends when it has had no box for this many frames in a row (5 in both papers); shorter gaps are
            filled by linear interpolation.
        min_frames: tubes of fewer frames are dropped (Kalogeiton et al.: 15).
        min_score: tubes of a lower score are dropped (Kalogeiton et al.: 0.01).
    """

    nms_iou: float = 0.45
    top_per_frame: int = 10
    link_iou: float = 0.2
    patience: int = 5
    min_frames: int = 1
    min_score: float = 0.01


@dataclass(frozen=True)
class Trimming:
    """When an action is on, in a tube that covers the person's whole stay; by two labels a frame, on and off.

    As Singh et al. do, the labels are those that score best in all (Viterbi): a frame that is on earns its score, as a
    share of the tube's highest one, less `level`; each change between on and off costs `switch_cost`. Every stretch
    that is on becomes a tube.

    Attributes:
        level: 0-1 of the tube's highest score. 0.5 is Singh et al.'s choice for scores that reach 1.
        switch_cost: how much a change of label costs (Singh et al.: 3).
    """

    level: float = 0.5
    switch_cost: float = 3.0


@dataclass(frozen=True)
class _Boxes:
    """Boxes to be linked, by frame, then lane, best score first; n rows.

    Attributes:
        frames: int64 (n,), frame number of the video, from 0.
        lanes: int64 (n,), one number for each video and class.
        boxes: float64 (n, 4) xyxy, 0-1.
        scores: float64 (n,).
        times_s: float64 (n,).
    """

    frames: IntArray
    lanes: IntArray
    boxes: Float64Array
    scores: Float64Array
    times_s: Float64Array

    def __len__(self) -> int:
        return len(self.frames)

    def take(self, rows: IntArray | BoolArray) -> _Boxes:
        """Some of the rows."""
        return _Boxes(self.frames[rows], self.lanes[rows], self.boxes[rows], self.scores[rows], self.times_s[rows])


def link_detections(
    table: AvaTable,
    labels: LabelMap,
    fps: float,
    linking: Linking | None = None,
    trimming: Trimming | None = None,
) -> list[Tube]:
    """Link the detections of every video and class that is evaluated.

    Boxes are cut at the frame's edges; boxes without area and rows without a finite score are left out. A tube's score
    is the mean of its frames' scores; frames that were filled in have interpolated ones.

    Args:
        table: detections. The order of rows does not matter.
        labels: the classes.
        fps: frames per second that keyframes are named in: 30 for JHMDB-21, 25 for UCF101-24 and MultiSports. If only
            every second frame was looked at, those are the frames that `Linking` speaks of.
        linking: None = the defaults.
        trimming: None = none.

    Returns:
        tubes, by video name, class and start.

    Raises:
        AvadetError: if more than a third of the times are a quarter of a frame or more off every frame at `fps`.
    """
    rules = linking or Linking()
    names, found = _sorted_boxes(table, labels, fps)
    step = _usual_step(found)
    found = _best_of_frame(found, rules)
    owner = _link(found, rules.patience * step, rules.link_iou)
    order = np.lexsort((found.frames, owner))
    found, edges = found.take(order), np.flatnonzero(np.diff(owner[order], prepend=-1, append=-1))
    tubes: list[tuple[int, Tube]] = []
    for first, end in pairwise(edges.tolist()):
        video, class_index = divmod(int(found.lanes[first]), len(labels))
        parts = _tubes(found.take(np.arange(first, end)), step, fps, rules, trimming)
        tubes += [(int(found.lanes[first]), Tube(names[video], class_index, *part)) for part in parts]
    tubes.sort(key=lambda entry: (entry[0], entry[1].times_s[0]))
    return [tube for _, tube in tubes]


def spans(first: IntArray, counts: IntArray) -> IntArray:
    """first[0], first[0] + 1, ... (counts[0] of them), first[1], ...: int64 (sum of counts,)."""
    starts = np.cumsum(counts) - counts
    along: IntArray = np.arange(int(counts.sum())) + np.repeat(first - starts, counts)
    return along


def _sorted_boxes(table: AvaTable, labels: LabelMap, fps: float) -> tuple[list[str], _Boxes]:
    """Video names, sorted, and the rows that can be linked; lane = video number * K + class."""
    scores = np.ones(len(table)) if table.scores is None else np.asarray(table.scores, np.float64)
    boxes = np.clip(np.asarray(table.boxes_norm, np.float64), 0, 1)
    classes = evaluated_classes(table.class_ids, labels)
    rows = np.flatnonzero((classes >= 0) & np.isfinite(scores) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    names, videos = _number_videos(table, rows)
    frames = _frame_numbers(table, rows, fps)
    lanes = videos * len(labels) + classes[rows]
    # equal scores: by box, so that the order of rows in the file does not matter
    order = np.lexsort((*boxes[rows].T, -scores[rows], lanes, frames))
    rows = rows[order]
    return names, _Boxes(frames[order], lanes[order], boxes[rows], scores[rows], table.times_s[rows])


def _number_videos(table: AvaTable, rows: IntArray) -> tuple[list[str], IntArray]:
    """Names of the videos, sorted, and the place of each row's video among them."""
    names = table.video_ids[rows]
    by_appearance = join_keyframes([(names, np.zeros(len(rows)))]).numbers[0]
    _, first = np.unique(by_appearance, return_index=True)
    shown = [str(names[row]) for row in first]
    rank = np.argsort(np.argsort(np.array(shown, dtype=object)))
    return sorted(shown), rank[by_appearance] if len(rows) else by_appearance


def _frame_numbers(table: AvaTable, rows: IntArray, fps: float) -> IntArray:
    """The nearest frame to each time, from 0; times of another clock, as rounding never leaves them, are refused."""
    exact = table.times_s[rows] * fps
    frames = np.rint(exact)
    wrong = np.flatnonzero(np.abs(exact - frames) >= _OFF_GRID - 1e-6)
    if len(wrong) > _MOST_OFF_GRID * len(rows):
        row = rows[wrong[0]]
        raise AvadetError(
            f"detections at {table.times_s[row]:g} s of video '{table.video_ids[row]}' are on no frame at {fps:g} "
            "frames per second; frame n, counted from 1, is named (n - 1) / fps"
        )
    return np.asarray(frames, np.int64)


def _usual_step(found: _Boxes) -> int:
    """Frames from one keyframe of a video to the next, as most of them have it."""
    order = np.lexsort((found.frames, found.lanes))
    steps = np.diff(found.frames[order])
    steps = steps[(np.diff(found.lanes[order]) == 0) & (steps > 0)]
    return int(np.bincount(steps).argmax()) if len(steps) else 1


def _best_of_frame(found: _Boxes, rules: Linking) -> _Boxes:
    """The boxes of each frame and class that greedy suppression leaves, at most so many."""
    starts = np.flatnonzero((np.diff(found.frames, prepend=-1) != 0) | (np.diff(found.lanes, prepend=-1) != 0))
    sizes = np.diff(starts, append=len(found))
    kept = np.ones(len(found), np.bool_)
    for place in range(int(sizes.max(initial=0)) - 1):
        crowded = np.flatnonzero(sizes > place + 1)
        best = starts[crowded] + place
        crowded, best = crowded[kept[best]], best[kept[best]]
        counts = sizes[crowded] - place - 1
        others = spans(best + 1, counts)
        overlap = iou_of_pairs(found.boxes[np.repeat(best, counts)], found.boxes[others])
        kept[others[overlap > rules.nms_iou]] = False
    before: IntArray = np.cumsum(kept) - kept
    rank: IntArray = before - np.repeat(before[starts], sizes)
    return found.take(kept & (rank < rules.top_per_frame))


def _link(found: _Boxes, reach: int, link_iou: float) -> IntArray:
    """Number of the tube of each box, from 0; int64 (n,).

    Args:
        found: the boxes.
        reach: frames after which a tube without a box is over.
        link_iou: least overlap with a tube's last box.
    """
    owner = np.full(len(found), -1, np.int64)
    totals, counts = np.zeros(len(found)), np.zeros(len(found), np.int64)
    last = np.zeros(0, np.int64)
    started = 0
    changes = np.diff(found.frames, prepend=found.frames[:1] - 1, append=found.frames[-1:] + 1)
    for low, high in pairwise(np.flatnonzero(changes).tolist()):
        last = last[found.frames[last] >= found.frames[low] - reach]
        means = totals[owner[last]] / counts[owner[last]]
        last = last[np.lexsort((owner[last], -means, found.lanes[last]))]
        taken = _take(found, last, low, high, link_iou)
        goes_on = taken >= 0
        owner[taken[goes_on]] = owner[last[goes_on]]
        fresh = low + np.flatnonzero(owner[low:high] < 0)
        owner[fresh] = started + np.arange(len(fresh))
        started += len(fresh)
        totals[owner[low:high]] += found.scores[low:high]
        counts[owner[low:high]] += 1
        last = np.concatenate([np.where(goes_on, taken, last), fresh])
    return owner


def _take(found: _Boxes, last: IntArray, low: int, high: int, link_iou: float) -> IntArray:
    """The box among rows low to high that each tube takes, -1 for none; int64 (number of tubes,).

    Args:
        found: the boxes.
        last: rows of the tubes' last boxes, by lane, the tube that chooses first ahead.
        low: first row of the frame.
        high: the row after its last.
        link_iou: least overlap.
    """
    taken = np.full(len(last), -1, np.int64)
    lanes = found.lanes[low:high]
    first = np.searchsorted(lanes, found.lanes[last], side="left")
    counts = np.searchsorted(lanes, found.lanes[last], side="right") - first
    tubes, rows = np.repeat(np.arange(len(last)), counts), low + spans(first, counts)
    fits = iou_of_pairs(found.boxes[last[tubes]], found.boxes[rows]) >= link_iou
    tubes, rows = tubes[fits], rows[fits]
    is_free = np.ones(high - low, np.bool_)
    while len(tubes):
        # one choice in every lane: its first tube that can still choose takes its best box
        leads = np.diff(found.lanes[rows], prepend=-1) != 0
        taken[tubes[leads]] = rows[leads]
        is_free[rows[leads] - low] = False
        open_pairs = (taken[tubes] < 0) & is_free[rows - low]
        tubes, rows = tubes[open_pairs], rows[open_pairs]
    return taken


def _tubes(
    linked: _Boxes, step: int, fps: float, rules: Linking, trimming: Trimming | None
) -> Iterator[tuple[float, Float64Array, Float32Array]]:
    """(score, times, boxes) of each tube that one chain of boxes gives, in order of time."""
    frames = np.unique(np.concatenate([linked.frames, np.arange(linked.frames[0], linked.frames[-1], step)]))
    if len(frames) == len(linked):
        boxes, scores, times_s = linked.boxes, linked.scores, linked.times_s
    else:
        boxes = np.stack([np.interp(frames, linked.frames, side) for side in linked.boxes.T], axis=1)
        scores = np.interp(frames, linked.frames, linked.scores)
        times_s = np.round(frames / fps, _TIME_DECIMALS)
        times_s[np.searchsorted(frames, linked.frames)] = linked.times_s
    is_on = np.ones(len(frames), np.bool_) if trimming is None else active_frames(scores, trimming)
    edges = np.flatnonzero(np.diff(is_on, prepend=False, append=False))
    for first, end in edges.reshape(-1, 2).tolist():
        score = float(scores[first:end].mean())
        if end - first >= rules.min_frames and score >= rules.min_score:
            yield score, times_s[first:end], boxes[first:end].astype(np.float32)


def active_frames(scores: Float64Array, trimming: Trimming) -> BoolArray:
    """In which frames of a tube its action is on; bool (L,). The best labelling of all, see `Trimming`.

    Args:
        scores: float64 (L,), at least 0.
        trimming: level and cost of a change.
    """
    peak = scores.max(initial=0)
    gains = (scores / peak if peak > 0 else np.ones(len(scores))) - trimming.level
    off, on = 0.0, 0.0
    changed: list[tuple[bool, bool]] = []
    for gain in gains.tolist():
        to_off, to_on = on - trimming.switch_cost > off, off - trimming.switch_cost > on
        off, on = max(off, on - trimming.switch_cost), max(on, off - trimming.switch_cost) + gain
        changed.append((to_off, to_on))
    states = []
    state = on >= off
    for to_off, to_on in reversed(changed):
        states.append(state)
        state = state != (to_on if state else to_off)
    return np.array(states[::-1], np.bool_)
