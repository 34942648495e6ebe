"""Making a video's feature bank (`models.lfb`): the first of the two passes that a model with a bank wants."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace

import numpy as np
from torch import Tensor

from avadet.errors import AvadetError
from avadet.inference.pipeline import stream
from avadet.models.detector import ActionDetector, ActionModel
from avadet.models.lfb import FeatureBank
from avadet.models.zoo import LoadedModel
from avadet.persons.precomputed import PrecomputedBoxes
from avadet.types import ActionDetections, Float32Array, PersonDetector
from avadet.video.read import VideoReader


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
    video: VideoReader,
    model: LoadedModel,
    persons: PersonDetector | PrecomputedBoxes,
    *,
    every_s: float = 1.0,
    keyframes_s: Iterable[float] | None = None,
    batch: int = 1,
) -> FeatureBank:
    """Walk over a video once and keep the features of everybody on every keyframe.

    Args:
        video: the open video; read from its start to its end.
        model: whose features; an `ActionDetector`, as loaded or made ready by torch.
        persons: a detector, or boxes known beforehand; see `pipeline.stream`.
        every_s: seconds between keyframes.
        keyframes_s: keyframe times, increasing, instead of every `every_s`.
        batch: keyframes that go through the model at once.

    Raises:
        AvadetError: if the model is a graph or of several detectors, or no frame can be decoded.
    """
    if not isinstance(model.model, ActionDetector):
        raise AvadetError(f"{model.name} cannot make a feature bank: it is no single detector that torch runs")
    recorder = _Recorder(model.model)
    loaded, times_s = replace(model, model=recorder), []
    with closing(stream(video, loaded, persons, every_s=every_s, keyframes_s=keyframes_s, batch=batch)) as events:
        for event in events:
            if isinstance(event, ActionDetections):
                times_s += [event.key.time_s] * len(event.boxes_norm)
    return FeatureBank(video.info.path.stem, np.array(times_s, np.float64), np.concatenate(recorder.found))
