"""Scoring a model on keyframes of any data set, in training and in `avadet test`, by the evaluator of `avadet eval`.

Boxes and scores are rounded as files of detections write them before they are scored, so that the number of a run, of
`avadet test` and of `avadet eval` on its file is one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from avadet.annotations.ava import AvaTable
from avadet.annotations.splits import DataSplit
from avadet.data.batching import ClipLoader, OnError, batches_by_size, check_skipped, clip_sizes
from avadet.data.clips import BrokenSample, ClipDataset
from avadet.data.frame_cache import FrameCache
from avadet.data.index import AnnotationIndex
from avadet.errors import AvadetError
from avadet.evaluation.frame_map import evaluate_frame_map
from avadet.evaluation.result import FrameMapResult
from avadet.models.detectors.two_stage import ActionModel
from avadet.models.heads.lfb import BankWindow
from avadet.models.loaded import LoadedModel
from avadet.models.predict import final_scores, predict
from avadet.training.banks import Banks, with_window
from avadet.training.distributed import Processes
from avadet.training.scored_boxes import keyframe_numbers, track_numbers, video_names
from avadet.types import ClipSpec, Float32Array, Float64Array, IntArray, LabelMap

SCORE_DECIMALS = 9
BOX_DECIMALS = 6


@dataclass(frozen=True)
class Outcome:
    """What an evaluation says.

    Attributes:
        metrics: numbers by name, percent. "frame_map" is always among them; where a person does exactly one thing also
            "track_map", with scores averaged along each person's track, and on annotated boxes "accuracy", how often
            the best class is the true one.
        table: the average precision of every class, as text.
        truth: the annotations that were scored against; None = not kept.
        found: what the model says, one row a box and class.
        averaged: likewise with scores averaged along tracks, where that is scored.
        skipped: clips that cannot be read, on whose keyframes nothing is found.
    """

    metrics: dict[str, float]
    table: str
    truth: AvaTable | None = None
    found: AvaTable | None = None
    averaged: AvaTable | None = None
    skipped: tuple[BrokenSample, ...] = ()


Score = Callable[[ActionModel, bool], Outcome]
"""Scores a model; says how far it is on stderr if the flag is on. Every process must ask."""


@dataclass(frozen=True)
class ShiftedClip(ClipSpec):
    """A clip that lies `shift_s` seconds after the place where the keyframe is in its middle."""

    shift_s: float = 0.0

    def offsets_s(self) -> Float64Array:
        """Sampling times relative to the keyframe, seconds, (T,)."""
        return super().offsets_s() + self.shift_s


@dataclass(frozen=True)
class ClipScorer:
    """A model and the views of each clip over which its scores are averaged.

    Attributes:
        loaded: the model, on its device.
        batch_size: clips at a time.
        flip: also the mirrored clip.
        autocast: run under autocast to this type; None = as it is.
        short_sides: px, sizes of the clip; empty = the spec's own.
        shifts: moments that the clip is centred on, evenly over half of its length around the keyframe; 1 = the
            keyframe alone.
    """

    loaded: LoadedModel
    batch_size: int = 32
    flip: bool = False
    autocast: torch.dtype | None = None
    short_sides: tuple[int, ...] = ()
    shifts: int = 1

    def of(self, model: ActionModel) -> ClipScorer:
        """The same with another model's weights."""
        return replace(self, loaded=replace(self.loaded, model=model))

    @property
    def specs(self) -> list[ClipSpec]:
        """The clips whose scores are averaged; each may be mirrored besides."""
        spec = self.loaded.spec
        reach_s = spec.num_frames * spec.stride / spec.fps / 4
        shifts_s = np.linspace(-reach_s, reach_s, self.shifts).tolist() if self.shifts > 1 else [0.0]
        sides = self.short_sides or (spec.short_side,)
        return [
            ShiftedClip(**{**vars(spec), "short_side": side, "shift_s": shift_s})
            for side in sides
            for shift_s in shifts_s
        ]

    @property
    def views(self) -> str:
        """The views in words, e.g. "3 shifts x flip x 2 scales (224, 256)"."""
        sides = self.short_sides
        scales = f"{len(sides)} scale{'s' if len(sides) > 1 else ''} ({', '.join(map(str, sides))})" if sides else ""
        words = [f"{self.shifts} shifts" if self.shifts > 1 else "", "flip" if self.flip else "", scales]
        return " x ".join(filter(None, words)) or "1"

    def predict(self, clips: Tensor, rois: Tensor, window: BankWindow | None = None) -> Tensor:
        """Scores (R, K) of one batch; arguments as `models.predict`."""
        return predict(self.loaded, clips, rois, window, flip=self.flip, autocast=self.autocast)


@dataclass(frozen=True)
class ClipScore:
    """Scores keyframes of a split; a `Score`.

    Attributes:
        scorer: how, with any model.
        split: annotations and excluded keyframes.
        targets: keyframes and the boxes to score.
        labels: the classes of the data set; the model must have each of them, by name.
        protocol: whose rules, see `avadet eval`.
        processes: who takes part.
        workers: processes that make clips.
        banks: feature banks of the videos; None = the model reads none.
        times_person: whether a class's score is multiplied by that of the box.
        on_error: a clip that cannot be read is an error ("stop"), or nothing is found on its keyframe ("skip").
        max_skipped: share of the keyframes of which that may be so; more are an error.
        cache: of decoded frames; None = decode each clip.
    """

    scorer: ClipScorer
    split: DataSplit
    targets: AnnotationIndex
    labels: LabelMap
    protocol: str = "activitynet"
    processes: Processes = field(default_factory=Processes)
    workers: int = 0
    banks: Banks | None = None
    times_person: bool = False
    on_error: OnError = "stop"
    max_skipped: float = 1.0
    cache: FrameCache | None = None

    def __call__(self, model: ActionModel, progress: bool = False) -> Outcome:
        """Score a model, in eval mode and on the scorer's device.

        Raises:
            AvadetError: if the model lacks a class, or clips cannot be read and may not be skipped.
        """
        scores, skipped = self._scores(self.scorer.of(model), progress)
        seen = ~np.isin(np.arange(len(self.targets)), [one.keyframe for one in skipped])
        scores = scores[np.repeat(seen, np.diff(self.targets.starts))]
        targets = self.targets.select(np.flatnonzero(seen))
        truth, found = self._truth(), self._detections(targets, scores)
        result = self._result(truth, found)
        metrics = {"frame_map": _percent(result)}
        averaged = None
        if self.labels.exclusive:
            averaged = self._detections(targets, mean_by_track(scores, track_numbers(targets)))
            metrics["track_map"] = _percent(self._result(truth, averaged))
            if len(scores) and targets.labels.any(axis=1).all():  # annotated boxes
                right = targets.labels[np.arange(len(scores)), scores.argmax(axis=1)]
                metrics["accuracy"] = round(100 * float(right.mean()), 3)
        return Outcome(metrics, result.table() + "\n", truth, found, averaged, tuple(skipped))

    def _scores(self, scorer: ClipScorer, progress: bool) -> tuple[Float32Array, list[BrokenSample]]:
        """Mean scores (M, K) of all boxes over all views, and clips that some view of cannot be read."""
        columns, views, skipped = self._columns, [], dict[int, BrokenSample]()
        for spec in scorer.specs:
            scores, broken = self._view(scorer, spec, progress)
            views.append(scores)
            skipped |= {one.keyframe: one for one in broken}
        mean = np.asarray(np.mean(views, axis=0, dtype=np.float32))
        return np.ascontiguousarray(mean[:, columns]), [skipped[keyframe] for keyframe in sorted(skipped)]

    def _view(self, scorer: ClipScorer, spec: ClipSpec, progress: bool) -> tuple[Float32Array, list[BrokenSample]]:
        """Scores (M, L) of all boxes in clips as `spec` has them; every process does every n-th batch."""
        own_keyframes = np.flatnonzero(np.diff(self.targets.starts))
        peopled = self.targets.select(own_keyframes)  # the same boxes, row by row
        plan = batches_by_size(clip_sizes(peopled, spec), scorer.batch_size)(0)
        own = plan[self.processes.rank :: self.processes.count]
        scores = np.zeros((len(self.targets.labels), len(scorer.loaded.labels)), np.float32)
        loader = ClipLoader(
            ClipDataset(peopled, spec, cache=self.cache),
            lambda epoch: own,
            workers=self.workers,
            on_error=self.on_error,
            max_skipped=self.max_skipped,
        )
        with closing(loader):
            for batch in tqdm(loader.batches(), total=len(own), desc="scoring", disable=not progress, leave=False):
                if len(batch.clips):
                    found = scorer.predict(*with_window(batch, peopled, self.banks).inputs())
                    scores[batch.rows.numpy()] = found.cpu().numpy()
        broken = [replace(one, keyframe=int(own_keyframes[one.keyframe])) for one in loader.skipped.values()]
        if self.on_error == "skip":
            broken = [one for part in self.processes.gather(broken) for one in part]
            check_skipped(broken, len(self.targets), self.max_skipped)
        return np.asarray(np.sum(self.processes.gather(scores), axis=0, dtype=np.float32)), broken

    @cached_property
    def _columns(self) -> IntArray:
        """Where the model has each class of the data set, int64 (K,)."""
        own = self.scorer.loaded.labels.names
        missing = [name for name in self.labels.names if name not in own]
        if missing:
            raise AvadetError(
                f"{self.scorer.loaded.name} has {len(own)} classes, of the data set's {len(self.labels)} it lacks "
                f"{len(missing)} ({', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}); test it on a data "
                "set with its classes, or give that set's label map the same names"
            )
        return np.array([own.index(name) for name in self.labels.names], np.int64)

    def _result(self, truth: AvaTable, found: AvaTable) -> FrameMapResult:
        return evaluate_frame_map(truth, found, self.labels, self.protocol, self.split.excluded)

    def _detections(self, targets: AnnotationIndex, scores: Float32Array) -> AvaTable:
        """One row a box and class, to the decimals that files have."""
        final = final_scores(scores, targets.scores, self.times_person).astype(np.float64)
        classes, keyframes = len(self.labels), np.repeat(np.arange(len(targets)), np.diff(targets.starts))
        return AvaTable(
            np.repeat(video_names(targets)[keyframes], classes),
            np.repeat(targets.times_s[keyframes], classes),
            np.repeat(targets.boxes_norm.astype(np.float64).round(BOX_DECIMALS), classes, axis=0),
            np.tile(np.array(self.labels.ids, np.int64), len(keyframes)),
            final.reshape(-1).round(SCORE_DECIMALS),
        )

    def _truth(self) -> AvaTable:
        """The split's annotations, of the keyframes that are scored."""
        scored, rows = keyframe_numbers(self.targets, self.split.table)
        return self.split.table.rows(np.isin(rows, scored))


def mean_by_track(scores: Float32Array, tracks: IntArray) -> Float32Array:
    """Scores (M, K), those of equal track numbers (M,) replaced by their mean."""
    _, owner, counts = np.unique(tracks, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), scores.shape[1]))
    np.add.at(sums, owner, scores)
    return np.asarray((sums / counts[:, None])[owner], np.float32)


def _percent(result: FrameMapResult) -> float:
    return round(100 * result.mAP, 3)
