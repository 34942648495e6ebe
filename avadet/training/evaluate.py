"""Scoring on JHMDB-21 from stored frames, for runs without data.spec."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from avadet import boxes as box_math
from avadet.annotations.ava import AvaTable
from avadet.annotations.jhmdb import FPS, JhmdbVideo, write_ground_truth
from avadet.data.dataset import readable_rows
from avadet.data.feature_banks import FeatureBank, bank_window
from avadet.data.frame_store import FrameStore, StoredVideo
from avadet.data.loader import gather_clips
from avadet.errors import AvadetError, unknown_name
from avadet.evaluation.frame_map import evaluate_frame_map
from avadet.evaluation.result import FrameMapResult
from avadet.models.detectors.two_stage import ActionDetector, ActionModel
from avadet.models.devices import device_of
from avadet.models.predict import final_scores
from avadet.persons.precomputed import PrecomputedBoxes
from avadet.training import scoring
from avadet.training.distributed import Processes
from avadet.training.scored_boxes import link_boxes
from avadet.training.scoring import Outcome
from avadet.types import (
    ActionDetections,
    ClipSpec,
    Float32Array,
    FrameKey,
    IntArray,
    LabelMap,
    PersonBoxes,
    PersonDetector,
)
from avadet.video.sample import clip_indices, resize_short


@dataclass(frozen=True)
class People:
    """The people of one video to be scored, one row a person and keyframe, in order of time.

    Attributes:
        rows: int64 (M,), the row of the video's annotation that names the keyframe.
        boxes_norm: float32 (M, 4) xyxy, 0-1 of the frame.
        person_scores: float32 (M,), 1 for given boxes.
        tracks: int64 (M,): rows with equal numbers are one person.
    """

    rows: IntArray
    boxes_norm: Float32Array
    person_scores: Float32Array
    tracks: IntArray


@dataclass(frozen=True)
class ScoredVideo:
    """A video, its people, and what the model says of each.

    Attributes:
        video: the annotation.
        rows: int64 (N,), rows of the annotation whose keyframes were looked at, people or not.
        people: who.
        scores: float32 (M, K) 0-1.
        size_hw: (height, width) px of the frames.
    """

    video: JhmdbVideo
    rows: IntArray
    people: People
    scores: Float32Array
    size_hw: tuple[int, int]


@dataclass(frozen=True)
class ClipScorer(scoring.ClipScorer):
    """The scorer of any data set, and how it scores videos whose frames are stored."""

    def score(self, video: JhmdbVideo, stored: StoredVideo, people: People) -> Float32Array:
        """Scores float32 (M, K), 0-1, of the people of one video; a feature bank is made of the same people."""
        bank = self._bank(video, stored, people)
        scores = [self._score_at(spec, video, stored, people, bank) for spec in self.specs]
        return np.asarray(np.mean(scores, axis=0, dtype=np.float32))

    def _score_at(
        self, spec: ClipSpec, video: JhmdbVideo, stored: StoredVideo, people: People, bank: FeatureBank | None
    ) -> Float32Array:
        """Scores (M, K) of clips as `spec` has them."""
        parts = [np.zeros((0, len(self.loaded.labels)), np.float32)]
        for batch in self._batches(spec, video, stored, people):
            window = None
            if bank is not None:
                window = bank_window([(bank, time_s) for time_s in batch.times_s], self.loaded.bank_window_s)
            parts.append(self.predict(batch.clips, batch.rois, window).cpu().numpy())
        return np.concatenate(parts)

    def _bank(self, video: JhmdbVideo, stored: StoredVideo, people: People) -> FeatureBank | None:
        """The features of the people, if the model reads a bank."""
        maker = self.loaded.bank
        if maker is None:
            return None
        assert isinstance(maker.model, ActionDetector)  # as it was loaded
        parts = [np.zeros((0, maker.model.head.own_features), np.float32)]
        for batch in self._batches(maker.spec, video, stored, people):
            with torch.inference_mode():
                parts.append(maker.model.box_features(batch.clips, batch.rois).float().cpu().numpy())
        return FeatureBank(video.video_id, video.times_s[people.rows], np.concatenate(parts))

    def _batches(self, spec: ClipSpec, video: JhmdbVideo, stored: StoredVideo, people: People) -> Iterator[_Batch]:
        """The people of a video with their clips, in order."""
        frames = np.stack([resize_short(frame, spec.short_side, spec.long_side) for frame in stored.frames])
        pixels = torch.from_numpy(frames).to(device_of(self.loaded.model))
        rows, batch_index = np.unique(people.rows, return_inverse=True)
        keys_s = stored.times_s[video.frame_indices[rows]]
        clips = [torch.from_numpy(clip_indices(stored.times_s, key_s, spec)) for key_s in keys_s]
        stored_hw, clip_hw = (stored.frames.shape[1], stored.frames.shape[2]), (frames.shape[1], frames.shape[2])
        boxes_px = box_math.clip_boxes(box_math.to_px(people.boxes_norm, stored_hw), stored_hw, clip_hw, spec.boxes)
        for first in range(0, len(rows), self.batch_size):
            chosen = (batch_index >= first) & (batch_index < first + self.batch_size)
            rois = np.column_stack([batch_index[chosen] - first, boxes_px[chosen]]).astype(np.float32)
            indices = torch.stack(clips[first : first + self.batch_size]).to(pixels.device)
            times_s = video.times_s[rows[first : first + self.batch_size]].tolist()
            yield _Batch(gather_clips(pixels, indices), torch.from_numpy(rois).to(pixels.device), times_s)


class _Batch(NamedTuple):
    """Clips (B, 3, T, H, W), boxes in them (R, 5), and the time of each clip's keyframe, seconds."""

    clips: Tensor
    rois: Tensor
    times_s: list[float]


def given_people(video: JhmdbVideo, rows: IntArray) -> People:
    """The true boxes of some rows of the annotation; the actor is one track."""
    return People(rows, video.boxes_norm[rows], np.ones(len(rows), np.float32), np.zeros(len(rows), np.int64))


def found_people(
    video: JhmdbVideo, rows: IntArray, stored: StoredVideo, persons: PersonDetector | PrecomputedBoxes
) -> People:
    """What a detector finds, or has found before, at some rows of the annotation, linked over time by overlap.

    Raises:
        AvadetError: if boxes found before do not tell of this video, or of less than half of those moments.
    """
    if isinstance(persons, PrecomputedBoxes):
        found = _known_people(video, rows, (stored.frames.shape[1], stored.frames.shape[2]), persons)
    else:
        found = [persons(np.ascontiguousarray(stored.frames[index])) for index in video.frame_indices[rows]]
    boxes_norm = [np.clip(box_math.to_norm(one.boxes_px, one.size_hw), 0, 1) for one in found]
    return People(
        np.repeat(rows, [len(one) for one in found]),
        np.concatenate([np.zeros((0, 4), np.float32), *boxes_norm]),
        np.concatenate([np.zeros(0, np.float32), *(one.scores for one in found)]),
        link_boxes(boxes_norm),
    )


def _known_people(
    video: JhmdbVideo, rows: IntArray, size_hw: tuple[int, int], persons: PrecomputedBoxes
) -> list[PersonBoxes]:
    """The people of every row's moment; nobody where the file names no such moment."""
    name = name_in_boxes(persons, video)
    times_s = video.times_s[rows]
    missing = ~persons.names(name, times_s, FPS)
    if 2 * missing.sum() > len(rows):
        raise AvadetError(
            f"the boxes of video '{name}' cover {len(rows) - missing.sum()} of its {len(rows)} scored moments (of "
            f"{times_s[missing][0]:g} s, for example, they do not); look for people in every frame: "
            "`avadet detect-persons --every 1/30`"
        )
    return [persons.at(name, time_s, size_hw, FPS) for time_s in times_s.tolist()]


def name_in_boxes(persons: PrecomputedBoxes, video: JhmdbVideo) -> str:
    """What a file of boxes calls a video: its id, or the name of its file without folder and ending.

    Raises:
        AvadetError: if it has neither.
    """
    known = persons.video_ids()
    if video.video_id not in known and video.path.stem not in known:
        raise unknown_name("video in the boxes file", video.path.stem, known)
    return video.video_id if video.video_id in known else video.path.stem


def score_videos(
    scorer: ClipScorer,
    videos: Sequence[JhmdbVideo],
    store: FrameStore,
    *,
    frame_step: int = 1,
    persons: PersonDetector | PrecomputedBoxes | None = None,
    progress: bool = False,
) -> list[ScoredVideo]:
    """Score the people of every video.

    Args:
        scorer: the model.
        videos: which.
        store: their frames.
        frame_step: annotated frames from one scored frame to the next.
        persons: finds the people, or has found them before; None = the annotated boxes.
        progress: whether to show a bar on stderr.
    """
    scored = []
    for video in tqdm(videos, desc="scoring", unit="video", disable=not progress, leave=False):
        stored = store.open(video.video_id, video.path)
        rows = readable_rows(video, stored)[::frame_step]
        people = given_people(video, rows) if persons is None else found_people(video, rows, stored, persons)
        scores = scorer.score(video, stored, people)
        scored.append(ScoredVideo(video, rows, people, scores, (stored.frames.shape[1], stored.frames.shape[2])))
    return scored


def average_tracks(scored: ScoredVideo) -> ScoredVideo:
    """The same video, each person's scores replaced by their mean over the person's track."""
    tracks, owner = np.unique(scored.people.tracks, return_inverse=True)
    sums = np.zeros((len(tracks), scored.scores.shape[1]))
    np.add.at(sums, owner, scored.scores)
    means = sums / np.bincount(owner, minlength=len(tracks))[:, None]
    return replace(scored, scores=means[owner].astype(np.float32))


def detections_table(scored: Sequence[ScoredVideo], labels: LabelMap, times_person: bool = True) -> AvaTable:
    """One row a person, keyframe and class; the score as `action_detections` has it, to the 6 decimals of a file."""
    num_classes = len(labels)
    counts = [len(one.people.rows) for one in scored]
    final = [final_scores(one.scores, one.people.person_scores, times_person) for one in scored]
    scores = np.concatenate(final).reshape(-1).astype(np.float64).round(6)
    return AvaTable(
        video_ids=np.repeat([one.video.video_id for one in scored], np.multiply(counts, num_classes)),
        times_s=np.repeat(np.concatenate([one.video.times_s[one.people.rows] for one in scored]), num_classes),
        boxes_norm=np.repeat(np.concatenate([one.people.boxes_norm for one in scored]), num_classes, axis=0),
        class_ids=np.tile(np.array(labels.ids, np.int64), sum(counts)),
        scores=scores,
    )


def action_detections(scored: ScoredVideo, times_person: bool = True) -> Iterator[ActionDetections]:
    """What a file of detections is written from, keyframe by keyframe.

    With `times_person` a class's score is multiplied by the person's, so that people who are none weigh less; given
    boxes have 1.
    """
    people = scored.people
    scores = final_scores(scored.scores, people.person_scores, times_person)
    for row in scored.rows:
        chosen = people.rows == row
        yield ActionDetections(
            FrameKey(scored.video.video_id, float(scored.video.times_s[row])),
            people.boxes_norm[chosen],
            people.person_scores[chosen],
            scores[chosen],
            scored.size_hw,
            people.tracks[chosen],
        )


def truth_table(scored: Sequence[ScoredVideo], labels: LabelMap) -> AvaTable:
    """One row a keyframe: the actor's true box and class."""
    counts = [len(one.rows) for one in scored]
    class_ids = np.array([labels.ids[one.video.class_index] for one in scored], np.int64)
    return AvaTable(
        video_ids=np.repeat([one.video.video_id for one in scored], counts),
        times_s=np.concatenate([one.video.times_s[one.rows] for one in scored]),
        boxes_norm=np.concatenate([one.video.boxes_norm[one.rows] for one in scored]),
        class_ids=np.repeat(class_ids, counts),
        scores=np.ones(sum(counts)),
    )


def write_truth(path: Path, scored: Sequence[ScoredVideo], labels: LabelMap) -> None:
    """Write `truth_table` as an AVA ground-truth file."""
    shown = [
        replace(one.video, boxes_norm=one.video.boxes_norm[one.rows], times_s=one.video.times_s[one.rows])
        for one in scored
    ]
    write_ground_truth(path, shown, labels)


def frame_map(scored: Sequence[ScoredVideo], labels: LabelMap, times_person: bool = True) -> FrameMapResult:
    """Frame-mAP@0.5 by the evaluator of `avadet eval`."""
    return evaluate_frame_map(truth_table(scored, labels), detections_table(scored, labels, times_person), labels)


def summarise(scored: Sequence[ScoredVideo], labels: LabelMap, times_person: bool = True) -> dict[str, float]:
    """The numbers of one evaluation.

    Returns:
        frame_map: frame-mAP@0.5, percent; track_map: the same with scores averaged over each person's track;
        accuracy (given boxes only): share of keyframes whose best class is the true one, percent.
    """
    averaged = [average_tracks(one) for one in scored]
    numbers = {
        "frame_map": round(100 * frame_map(scored, labels, times_person).mAP, 3),
        "track_map": round(100 * frame_map(averaged, labels, times_person).mAP, 3),
    }
    if all(np.array_equal(one.people.rows, one.rows) for one in scored):
        right = np.concatenate([one.scores.argmax(1) == one.video.class_index for one in scored])
        numbers["accuracy"] = round(100 * float(right.mean()), 3)
    return numbers


@dataclass(frozen=True)
class JhmdbScore:
    """Scores on annotated frames of JHMDB-like videos.

    Attributes:
        scorer: how, with any model.
        videos: which.
        store: their frames.
        labels: the classes.
        people: who was found before; None = the annotated people.
        frame_step: annotated frames from one scored frame to the next.
        processes: who takes part.
    """

    scorer: ClipScorer
    videos: Sequence[JhmdbVideo]
    store: FrameStore
    labels: LabelMap
    people: PrecomputedBoxes | None
    frame_step: int
    processes: Processes

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader of the people found before decided or left out, one line each."""
        return () if self.people is None else self.people.notes

    def __call__(self, model: ActionModel, progress: bool = False) -> Outcome:
        """Score a model, in eval mode and on the scorer's device."""
        rank, count = self.processes.rank, self.processes.count
        own = score_videos(
            cast(ClipScorer, self.scorer.of(model)),
            self.videos[rank::count],
            self.store,
            frame_step=self.frame_step,
            persons=self.people,
            progress=progress,
        )
        shares = self.processes.gather(own)
        scored = [shares[index % count][index // count] for index in range(len(self.videos))]
        return Outcome(summarise(scored, self.labels), frame_map(scored, self.labels).table() + "\n")
