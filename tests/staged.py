"""Small worlds for tests of whole runs: videos, people finders and action models with known answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from avadet.models import zoo
from avadet.models.build import build
from avadet.models.cards import make_card
from avadet.models.checkpoints.weights import save_model
from avadet.models.zoo import LoadedModel
from avadet.types import ClipSpec, Frame, LabelMap, PersonBoxes, UInt8Array, VideoInfo
from avadet.video.reader import Picture
from avadet.video.timestamps import Gaps
from avadet.video.write import VideoWriter

SIZE_HW = (48, 64)
SPEC = ClipSpec(num_frames=4, stride=2, fps=10.0, short_side=24, mean=(0.45,) * 3, std=(0.225,) * 3)
"""Clips of frames at -0.4, -0.2, 0 and +0.2 s, half the size of the staged frames."""


def labels(*names: str, exclusive: bool = False) -> LabelMap:
    """A label map with ids 11, 12, ..."""
    count = len(names)
    return LabelMap(names, tuple(range(11, 11 + count)), ("pose",) * count, (True,) * count, exclusive)


class StagedVideo:
    """Stands in for VideoReader: frames at given times; every pixel of a frame holds the frame's index."""

    def __init__(self, times_s: Sequence[float], duration_s: float, size_hw: tuple[int, int] = SIZE_HW) -> None:
        self.info = VideoInfo(Path("staged.mp4"), size_hw, Fraction(10), len(times_s), 0.0, duration_s)
        self.damaged = 0
        self.walks = 0
        self._times_s = times_s

    def frames(self) -> Iterator[Frame]:
        self.walks += 1
        for index, (time_s, after_gap) in enumerate(self._times()):
            yield Frame(np.full((*self.info.size_hw, 3), index % 256, np.uint8), time_s, index, after_gap)

    def pictures(self) -> Iterator[Picture]:
        for time_s, after_gap in self._times():
            yield Picture(time_s, lambda: np.zeros((*self.info.size_hw, 3), np.uint8), after_gap)

    def _times(self) -> Iterator[tuple[float, bool]]:
        gaps, intervals_s = Gaps(), np.diff(self._times_s).tolist()
        for index, time_s in enumerate(self._times_s):
            known = intervals_s[index : index + 4]
            yield float(time_s), index > 0 and gaps.is_gap(intervals_s[index - 1], known)


def staged_video(seconds: float, fps: float = 10.0) -> StagedVideo:
    """A video of constant rate whose header tells the truth."""
    return StagedVideo([index / fps for index in range(round(seconds * fps))], seconds)


class StagedPeople:
    """A detector that finds the same people on every frame and remembers which frames it saw."""

    def __init__(self, *boxes_px: Sequence[float], score: float = 0.9) -> None:
        self._boxes_px = np.array(boxes_px, np.float32).reshape(-1, 4)
        self._score = score
        self.seen: list[int] = []

    def __call__(self, frame: UInt8Array) -> PersonBoxes:
        self.seen.append(int(frame[0, 0, 0]))
        scores = np.full(len(self._boxes_px), self._score, np.float32)
        return PersonBoxes(self._boxes_px, scores, frame.shape[:2])


class StagedModel(torch.nn.Module):
    """An action model that gives every person the same logits and remembers what it was shown."""

    def __init__(self, logits: Sequence[float]) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor(logits))
        self.clips: list[np.ndarray] = []
        self.rois: list[np.ndarray] = []

    def forward(self, clips: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
        self.clips.append(clips.numpy().copy())
        self.rois.append(rois.numpy().copy())
        return self.logits.expand(len(rois), -1)


def staged_model(logits: Sequence[float] = (0.0, 1.0), exclusive: bool = False, spec: ClipSpec = SPEC) -> LoadedModel:
    """A loaded model around StagedModel with classes "a", "b", ..."""
    names = [chr(ord("a") + index) for index in range(len(logits))]
    return LoadedModel(StagedModel(logits), spec, labels(*names, exclusive=exclusive), "staged", {}, SimpleNamespace())


RANDOM_SPEC = ClipSpec(num_frames=8, stride=1, fps=10.0, short_side=64, mean=(0.45,) * 3, std=(0.225,) * 3)


def random_model(num_classes: int = 21) -> LoadedModel:
    """The bundled architecture with random weights."""
    torch.manual_seed(0)
    model = build("tiny_actions", num_classes, pixels=RANDOM_SPEC.pixels).eval()
    return LoadedModel(model, RANDOM_SPEC, zoo.numbered_labels(num_classes), "random", {}, SimpleNamespace())


def write_random_model(path: Path) -> Path:
    """A file of `random_model`, to be loaded by its path."""
    loaded = random_model()
    save_model(path, loaded.model, make_card("random", "tiny_actions", {}, RANDOM_SPEC, loaded.labels))
    return path


def write_video(path: Path, seconds: float = 3.0, fps: int = 10, size_hw: tuple[int, int] = SIZE_HW) -> Path:
    """A file in which a bright square moves from left to right over a dark ground."""
    height, width = size_hw
    with VideoWriter(path, size_hw, fps) as writer:
        for index in range(round(seconds * fps)):
            image = np.full((height, width, 3), 30, np.uint8)
            left = round(index / (seconds * fps) * (width - 16))
            image[16:32, left : left + 16] = 220
            writer.write(image, index / fps)
    return path


class BrightSquare:
    """A detector for the square of `write_video`."""

    def __call__(self, frame: UInt8Array) -> PersonBoxes:
        rows, columns = np.nonzero(frame[..., 0] > 128)
        if not len(rows):
            return PersonBoxes.empty(frame.shape[:2])
        box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
        return PersonBoxes(box, np.array([0.9], np.float32), frame.shape[:2])
