"""From frames and persons to scores: clips of keyframes, put together as frames come, and the action model on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from avadet import boxes
from avadet.data.feature_banks import FeatureBank, bank_window
from avadet.models.heads.lfb import BankWindow
from avadet.models.loaded import LoadedModel
from avadet.models.predict import predict
from avadet.types import ActionDetections, BoxRule, Clip, Float32Array, Frame, FrameKey, PersonBoxes
from avadet.video.sample import ClipBuffer


class Keyframe(NamedTuple):
    """A keyframe with its people and its clip; no clip where there is no person."""

    key: FrameKey
    persons: PersonBoxes
    clip: Clip | None


class Batch(NamedTuple):
    """Keyframes that go through the action model together."""

    keyframes: list[Keyframe]


class ClipCollector:
    """Collects frames and keyframes, and makes batches of the keyframes whose clips are complete."""

    def __init__(self, model: LoadedModel, batch: int) -> None:
        """Start without frames; a batch is of `batch` keyframes."""
        self._batch = batch
        self._buffer = ClipBuffer(model.spec)
        self._waiting: deque[tuple[FrameKey, PersonBoxes]] = deque()
        self._ready: list[Keyframe] = []

    def add(self, frame: Frame) -> None:
        """Show the next frame."""
        self._buffer.add(frame)

    def expect(self, keys: list[FrameKey], people: PersonBoxes) -> None:
        """Queue keyframes that share the same people."""
        self._waiting.extend((key, people) for key in keys)

    def batches(self, at_end: bool = False) -> Iterator[Batch]:
        """Yield the keyframes that are ready, in order; at the end of the video, all that are left."""
        while self._waiting and (at_end or self._is_ready(*self._waiting[0])):
            key, people = self._waiting.popleft()
            self._ready.append(Keyframe(key, people, self._buffer.clip(key.time_s) if len(people) else None))
        while len(self._ready) >= self._batch or (at_end and self._ready):
            chosen, self._ready = self._ready[: self._batch], self._ready[self._batch :]
            yield Batch(chosen)

    def forget_before(self, time_s: float) -> None:
        """Let go of frames that no clip around `time_s` or later, and none that waits, can need."""
        self._buffer.forget_before(self._waiting[0][0].time_s if self._waiting else time_s)

    def _is_ready(self, key: FrameKey, people: PersonBoxes) -> bool:
        return not len(people) or self._buffer.is_ready(key.time_s)


def results(model: LoadedModel, batch: Batch, bank: FeatureBank | None) -> Iterator[ActionDetections]:
    """What the model finds on the keyframes of a batch, in order; no scores where there is no person."""
    scores = iter(_scores(model, batch, bank))
    no_scores = np.zeros((0, len(model.labels)), np.float32)
    for key, people, clip in batch.keyframes:
        yield _detections(key, people, no_scores if clip is None else next(scores))


def _scores(model: LoadedModel, batch: Batch, bank: FeatureBank | None) -> list[Float32Array]:
    """Scores of the people of each keyframe that has some."""
    seen = [(one.clip, one.persons) for one in batch.keyframes if one.clip is not None]
    if bank is None or not seen:
        return score_clips(model, seen)
    moments = [(bank, one.key.time_s) for one in batch.keyframes if one.clip is not None]
    return score_clips(model, seen, bank_window(moments, model.bank_window_s))


def _detections(key: FrameKey, people: PersonBoxes, scores: Float32Array) -> ActionDetections:
    boxes_norm = np.clip(boxes.to_norm(people.boxes_px, people.size_hw), 0, 1)
    return ActionDetections(key, boxes_norm, people.scores, scores, people.size_hw, people.track_ids)


def score_clips(
    model: LoadedModel, clips: list[tuple[Clip, PersonBoxes]], window: BankWindow | None = None
) -> list[Float32Array]:
    """Run the action model on people in clips.

    Args:
        model: the action model; left in eval mode.
        clips: clips of one video with the people of their keyframe.
        window: what these clips may look up in the video's feature bank, on any device; None = nothing.

    Returns:
        scores float32 (N, K) 0-1 per clip, see `predict`.
    """
    if not clips:
        return []
    frames = np.stack([clip.frames for clip, _ in clips])
    rois = np.concatenate([_rois(index, clip, people, model.spec.boxes) for index, (clip, people) in enumerate(clips)])
    batch = torch.from_numpy(frames).permute(0, 4, 1, 2, 3)
    scores = predict(model, batch, torch.from_numpy(rois), window).cpu().numpy()
    ends = np.cumsum([len(people) for _, people in clips])
    return np.split(scores, ends[:-1])


def _rois(index: int, clip: Clip, people: PersonBoxes, rule: BoxRule) -> Float32Array:
    """Boxes as the model wants them: float32 (N, 5), batch index and xyxy in pixels of the clip."""
    height, width = clip.frames.shape[1:3]
    in_clip = boxes.clip_boxes(people.boxes_px, people.size_hw, (height, width), rule)
    return np.concatenate([np.full((len(in_clip), 1), index, np.float32), in_clip], axis=1)
