"""Making a video's feature bank (`data.feature_banks`): the first of the two passes that a model with a bank wants.

A bank takes memory for every person of every keyframe: 9 kB each where the model that makes it has 2304 features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace

import numpy as np
from torch import Tensor

from avadet.data.feature_banks import FeatureBank
from avadet.errors import AvadetError
from avadet.inference.pipeline import Event, stream
from avadet.models.detectors.two_stage import ActionDetector, ActionModel
from avadet.models.loaded import LoadedModel
from avadet.persons.precomputed import PrecomputedBoxes
from avadet.types import ActionDetections, Float32Array, PersonDetector
from avadet.video.reader import Reader

Watch = Callable[[Iterator[Event]], Iterator[Event]]
"""Hands on the events of a pass as they come, and may show how far it is, or end it by an exception."""


class _Recorder(ActionModel):
    """Keeps the features of every box that it is asked about; its scores mean nothing."""

    def __init__(self, model: ActionDetector) -> None:
        super().__init__()
        self.model = model
        self.num_classes = model.num_classes
        self.found: list[Float32Array] = [np.zeros((0, model.head.own_features), np.float32)]

    def forward(self, clips: Tensor, rois: Tensor) -> Tensor:
        features = self.model.box_features(clips, rois)
        self.found.append(features.float().cpu().numpy())
        return features.new_zeros(len(rois), self.num_classes)


def bank_of_video(
    video: Reader,
    model: LoadedModel,
    persons: PersonDetector | PrecomputedBoxes,
    *,
    every_s: float = 1.0,
    keyframes_s: Iterable[float] | None = None,
    batch: int = 1,
    overlap: bool = True,
    watch: Watch = iter,
) -> FeatureBank:
    """Walk over a video once and keep the features of everybody on every keyframe.

    Args:
        video: the open video; read from its start to its end.
        model: whose features; an `ActionDetector`, as loaded or made ready by torch.
        persons: a detector, or boxes known beforehand; see `pipeline.stream`.
        every_s: seconds between keyframes.
        keyframes_s: keyframe times, increasing, instead of every `every_s`.
        batch: keyframes that go through the model at once.
        overlap: as of `pipeline.stream`; changes nothing in the bank.
        watch: what the events of the pass go through.

    Raises:
        AvadetError: if the model is a graph or of several detectors, or no frame can be decoded.
    """
    if not isinstance(model.model, ActionDetector):
        raise AvadetError(f"{model.name} cannot make a feature bank: it is no single detector that torch runs")
    recorder = _Recorder(model.model)
    loaded, times_s = replace(model, model=recorder), []
    events = stream(video, loaded, persons, every_s=every_s, keyframes_s=keyframes_s, batch=batch, overlap=overlap)
    with closing(events):
        for event in watch(events):
            if isinstance(event, ActionDetections):
                times_s += [event.key.time_s] * len(event.boxes_norm)
    return FeatureBank(video.info.video_id, np.array(times_s, np.float64), np.concatenate(recorder.found))
