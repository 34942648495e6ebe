"""Video-mAP: average precision of tubes, and the frame-mAP of the detections that they were linked from.

The overlap of two tubes is the mean IoU of their boxes in the frames that they share, times the frames they share over
the frames that either covers. The scripts of ACT-detector and MOC (JHMDB-21, UCF101-24) count frames; MultiSports'
`evaluate.py` counts the steps between them, one less each (`counts_last_frame=False`), so that tubes which share one
frame do not overlap. All three use this product for JHMDB's trimmed clips too. Their scripts suppose tubes without
gaps; there the numbers are the same.

Matching is PASCAL VOC's: a tube looks at the true tube of its video and class that it overlaps most, finds it if the
overlap reaches the threshold and no better-scored tube did before, and is a false positive otherwise; AP is the area
under the falling envelope of precision. MultiSports does so. ACT's and MOC's scripts let a tube look at the true tubes
that are still free, and take the area under the curve itself by trapezoids; their AP can be higher or lower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from avadet.annotations.ava import AvaTable, read_detections
from avadet.annotations.rules.boxes import refuse_pixels
from avadet.annotations.tube_units import TubeSpec
from avadet.annotations.tubes import read_tube_ground_truth, tube_table
from avadet.boxes import iou_of_pairs
from avadet.errors import AvadetError
from avadet.evaluation.ap import average_precision, claim_once, precision_recall
from avadet.evaluation.frame_map import evaluate_frame_map
from avadet.evaluation.linking import Linking, Trimming, link_detections, spans
from avadet.evaluation.result import FrameMapResult, or_none
from avadet.keyframes import join_keyframes
from avadet.types import Float64Array, IntArray, LabelMap, Tube

THRESHOLDS = (0.2, 0.5, 0.75)
RANGE = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
RANGE_NAME = "0.5:0.95"


@dataclass(frozen=True)
class VideoMapResult:
    """AP of tubes by class, and what it was computed from.

    Attributes:
        labels: the classes, K of them.
        thresholds: T least overlaps of a match.
        ap: float64 (T, K) 0-1; NaN for classes that are not evaluated or have no true tube.
        ap_range: float64 (K,), the mean AP over the overlaps 0.5, 0.55, ..., 0.95.
        num_gt: int64 (K,), true tubes.
        num_tubes: int64 (K,), found tubes that counted.
        num_tp: int64 (T, K), those that found a true tube.
        frames: frame-mAP of the detections, None where only tubes were given.
        warnings: what looks wrong, one line each.
    """

    labels: LabelMap
    thresholds: tuple[float, ...]
    ap: Float64Array
    ap_range: Float64Array
    num_gt: IntArray
    num_tubes: IntArray
    num_tp: IntArray
    frames: FrameMapResult | None = None
    warnings: tuple[str, ...] = ()

    @property
    def mAP(self) -> dict[str, float]:
        """Mean AP over the classes with true tubes, 0-1, by overlap ("0.2", ..., "0.5:0.95"); NaN without any."""
        return {name: _mean(values) for name, values in self._rows().items()}

    def json(self) -> dict[str, object]:
        """Everything, ready for `json.dumps`; None stands for NaN, keys of the classes are their ids."""
        shown = [index for index, evaluated in enumerate(self.labels.evaluated) if evaluated]
        ids = [str(self.labels.ids[index]) for index in shown]
        hits = {f"{threshold:g}": values for threshold, values in zip(self.thresholds, self.num_tp)}
        counts = {"num_gt": self.num_gt, "num_tubes": self.num_tubes}
        return {
            "video_mAP": {name: or_none(value) for name, value in self.mAP.items()},
            "frame_mAP": None if self.frames is None else or_none(self.frames.mAP),
            "ap": {
                name: {i: or_none(float(values[row])) for i, row in zip(ids, shown)}
                for name, values in self._rows().items()
            },
            **{name: {i: int(values[row]) for i, row in zip(ids, shown)} for name, values in counts.items()},
            "num_tp": {name: {i: int(values[row]) for i, row in zip(ids, shown)} for name, values in hits.items()},
            "names": {i: self.labels.names[row] for i, row in zip(ids, shown)},
            "frames": None if self.frames is None else self.frames.json(),
            "warnings": list(self.warnings),
        }

    def table(self) -> str:
        """A text table: one line a class that is evaluated, then the means, in percent."""
        rows = self._rows()
        width = max([len(name) for name in self.labels.names] + [len("frame-mAP@0.5")])
        heads = " ".join(f"{'AP@' + name:>11}" for name in rows)
        lines = [f"{'id':>4}  {'class':<{width}}  {'num_gt':>7} {'num_tubes':>9}  {heads}"]
        for row, (class_id, name) in enumerate(zip(self.labels.ids, self.labels.names)):
            if self.labels.evaluated[row]:
                shares = " ".join(_percent(values[row]) for values in rows.values())
                counts = f"{self.num_gt[row]:>7} {self.num_tubes[row]:>9}"
                lines.append(f"{class_id:>4}  {name:<{width}}  {counts}  {shares}")
        means = " ".join(_percent(value) for value in self.mAP.values())
        lines.append(f"{'':>4}  {'video-mAP':<{width}}  {self.num_gt.sum():>7} {self.num_tubes.sum():>9}  {means}")
        if self.frames is not None:
            lines.append(f"{'':>4}  {'frame-mAP@0.5':<{width}}  {'':>17}  {_percent(self.frames.mAP)}")
        lines.append(f"{(~np.isnan(self.ap_range)).sum()} classes in the mean")
        return "\n".join(lines)

    def _rows(self) -> dict[str, Float64Array]:
        """AP by class, for each threshold and for the range."""
        return {f"{threshold:g}": values for threshold, values in zip(self.thresholds, self.ap)} | {
            RANGE_NAME: self.ap_range
        }


def evaluate_video_map(
    truth: Sequence[Tube],
    tubes: Sequence[Tube],
    labels: LabelMap,
    thresholds: Sequence[float] = THRESHOLDS,
    counts_last_frame: bool = True,
    fps: float | None = None,
) -> VideoMapResult:
    """Score found tubes against true ones.

    Args:
        truth: true tubes.
        tubes: found tubes. Those in videos without any true tube are left out. Of equal scores the later one counts
            first, as in frame-mAP.
        labels: the classes; those not evaluated are left out.
        thresholds: least overlaps of a match, inclusive.
        counts_last_frame: how lengths are counted, see the module.
        fps: frames per second, by which moments of two tubes are the same frame (`avadet.keyframes`); None = not known.

    Raises:
        AvadetError: if a threshold is not above 0.
    """
    if min(thresholds, default=1.0) <= 0:
        raise AvadetError(f"thresholds of overlap must be above 0, got {', '.join(map(str, thresholds))}")
    listed = {tube.video_id for tube in truth}
    counted = [tube for tube in tubes if tube.video_id in listed]
    all_thresholds = [*thresholds, *RANGE]
    ap = np.full((len(all_thresholds), len(labels)), np.nan)
    num_tp = np.zeros((len(all_thresholds), len(labels)), np.int64)
    num_gt, num_tubes = np.zeros((2, len(labels)), np.int64)
    for index in np.flatnonzero(labels.evaluated).tolist():
        true = [tube for tube in truth if tube.class_index == index]
        found = [tube for tube in counted if tube.class_index == index]
        num_gt[index], num_tubes[index] = len(true), len(found)
        if true:
            ap[:, index], num_tp[:, index] = _score(true, found, all_thresholds, counts_last_frame, fps)
    few = len(thresholds)
    away = len(tubes) - len(counted)
    warnings = [f"{away} of {len(tubes)} tubes lie in videos without ground truth; they are left out"] if away else []
    return VideoMapResult(
        labels,
        tuple(thresholds),
        ap[:few],
        ap[few:].mean(axis=0),
        num_gt,
        num_tubes,
        num_tp[:few],
        warnings=tuple(warnings),
    )


def score_tubes(
    detections: Path,
    ground_truth: Path,
    labels: LabelMap,
    spec: TubeSpec,
    split: int | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
    linking: Linking | None = None,
    trimming: Trimming | None = None,
) -> VideoMapResult:
    """Read frame detections and true tubes, link the detections and score both tubes and frames.

    Frame-mAP follows the scripts of the field: any number of boxes a frame, and boxes in frames without a true one are
    false positives.

    Args:
        detections: AVA detections, keyframes named (frame number - 1) / fps.
        ground_truth: see `annotations.tubes.read_tube_ground_truth`.
        labels: the classes.
        spec: the data set's, see `annotations.tubes.read_tube_spec`.
        split: of ground truth that has several.
        thresholds: least overlaps of a match.
        linking: how boxes become tubes; None = the defaults.
        trimming: None = the defaults, but no trimming where actions fill their clips.

    Raises:
        AvadetError: if a file is malformed, detections are on no frame, or the files have no video in common.
    """
    truth = read_tube_ground_truth(ground_truth, labels, spec, split)
    found = read_detections(detections)
    refuse_pixels(detections, found.boxes_norm, found.lines)
    in_truth = _of_videos(found, {tube.video_id for tube in truth})
    if not len(in_truth) and len(found):
        example = f"{found.video_ids[0]!r} and {truth[0].video_id!r}" if truth else "the ground truth has none"
        raise AvadetError(f"{detections} and {ground_truth} have no video in common ({example}); names must be equal")
    trim = trimming or (None if spec.fills_clip else Trimming())
    tubes = link_detections(in_truth, labels, spec.fps, linking, trim)
    result = evaluate_video_map(truth, tubes, labels, thresholds, spec.counts_last_frame, spec.fps)
    frames = _frame_map(truth, in_truth, labels, spec.fps)
    return replace(result, frames=frames, warnings=(*_left_out(found, in_truth), *frames.warnings))


def overlaps(
    tubes: Sequence[Tube], truth: Sequence[Tube], counts_last_frame: bool = True, fps: float | None = None
) -> tuple[IntArray, IntArray, Float64Array]:
    """Spatio-temporal IoU of every found and true tube that share a frame of a video.

    Args:
        tubes: found.
        truth: true.
        counts_last_frame: how lengths are counted, see the module.
        fps: frames per second, by which moments are the same frame (`avadet.keyframes`); None = not known.

    Returns:
        of each pair its place in `tubes` and in `truth`, int64, rising, and the overlap float64, 0-1.
    """
    (frames, owners, boxes), (true_frames, true_owners, true_boxes) = _rows_of(fps, tubes, truth)
    by_frame = np.argsort(true_frames, kind="stable")
    true_frames = true_frames[by_frame]
    first = np.searchsorted(true_frames, frames, side="left")
    counts = np.searchsorted(true_frames, frames, side="right") - first
    rows, true_rows = np.repeat(np.arange(len(frames)), counts), by_frame[spans(first, counts)]
    pairs = owners[rows] * len(truth) + true_owners[true_rows]
    pairs, which = np.unique(pairs, return_inverse=True)
    sums = np.bincount(which, iou_of_pairs(boxes[rows], true_boxes[true_rows]), minlength=len(pairs))
    shared = np.bincount(which, minlength=len(pairs))
    of_tubes, of_truth = np.divmod(pairs, max(len(truth), 1))
    either = np.bincount(owners, minlength=len(tubes))[of_tubes] + np.bincount(true_owners)[of_truth] - shared
    if counts_last_frame:
        return of_tubes, of_truth, sums / either
    # tubes of one frame both: no step at all, and no overlap
    share = np.divide(shared - 1, either - 1, out=np.zeros(len(pairs)), where=either > 1)
    return of_tubes, of_truth, sums / shared * share


def _rows_of(fps: float | None, *groups: Sequence[Tube]) -> list[tuple[IntArray, IntArray, Float64Array]]:
    """Of each group of tubes, true ones last, box by box: number of the frame, place of the tube, box (n, 4)."""
    tables = []
    for tubes in groups:
        names = np.empty(len(tubes), dtype=object)
        names[:] = [tube.video_id for tube in tubes]
        lengths = [len(tube.times_s) for tube in tubes]
        owners = np.repeat(np.arange(len(tubes)), lengths)
        times_s = np.concatenate([np.zeros(0), *(tube.times_s for tube in tubes)])
        boxes = np.concatenate([np.zeros((0, 4)), *(tube.boxes_norm for tube in tubes)]).astype(np.float64)
        tables.append((names[owners], times_s, owners, boxes))
    numbers = join_keyframes([table[:2] for table in tables], fps, reference=len(tables) - 1).numbers
    return [(frames, owners, boxes) for frames, (_, _, owners, boxes) in zip(numbers, tables)]


def _score(
    truth: Sequence[Tube],
    tubes: Sequence[Tube],
    thresholds: Sequence[float],
    counts_last_frame: bool,
    fps: float | None,
) -> tuple[list[float], list[int]]:
    """AP and true positives of one class at each threshold."""
    nearest = np.full(len(tubes), -1, np.int64)
    best = np.zeros(len(tubes))
    of_tubes, of_truth, overlap = overlaps(tubes, truth, counts_last_frame, fps)
    # the largest overlap comes last and stays; of equal ones the first true tube
    order = np.lexsort((-of_truth, overlap))
    nearest[of_tubes[order]] = of_truth[order]
    best[of_tubes[order]] = overlap[order]
    falling = np.argsort(np.array([tube.score for tube in tubes], np.float64), kind="stable")[::-1]
    hits = [claim_once(nearest, best, falling, threshold)[falling] for threshold in thresholds]
    ap = [average_precision(*precision_recall(one, len(truth))) for one in hits]
    return ap, [int(one.sum()) for one in hits]


def _frame_map(truth: Sequence[Tube], found: AvaTable, labels: LabelMap, fps: float) -> FrameMapResult:
    """Frame-mAP by the rules of the field's tube scripts."""
    true = tube_table(truth, labels)
    scores = np.ones(len(found)) if found.scores is None else found.scores
    falling = np.argsort(scores, kind="stable")[::-1]
    # "slowfast" counts all frames and boxes and matches in the order of rows, here that of falling scores
    result = evaluate_frame_map(true, found.rows(falling), labels, "slowfast", fps=fps)
    return replace(result, protocol="tubes", reference="as ACT-detector ACT.py frameAP; AP of PASCAL VOC")


def _of_videos(table: AvaTable, video_ids: set[str]) -> AvaTable:
    return table.rows(np.flatnonzero([video_id in video_ids for video_id in table.video_ids]))


def _left_out(found: AvaTable, counted: AvaTable) -> list[str]:
    away = len(found) - len(counted)
    return [f"{away} of {len(found)} rows lie in videos without ground truth; they are left out"] if away else []


def _mean(values: Float64Array) -> float:
    counted = values[~np.isnan(values)]
    return float(counted.mean()) if len(counted) else float("nan")


def _percent(value: float) -> str:
    return f"{'-':>11}" if np.isnan(value) else f"{100 * value:11.2f}"
