"""A data set of moving squares for tests of whole runs: no files, no decoding; a class for each colour and way."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from avadet.annotations.ava import AvaTable, Keyframes
from avadet.annotations.specs import DataSet, DataSpec, SplitSpec
from avadet.annotations.splits import DataSplit, DataVideo
from avadet.config import Config
from avadet.data import batching
from avadet.data.clip_reader import OpenVideos
from avadet.data.frame_cache import CachedVideo
from avadet.data.keyframes import training_index
from avadet.training import loop
from avadet.training.data import RunData
from avadet.types import LabelMap, VideoInfo

FPS = 30.0
LENGTH = 8
SIZE_HW = (48, 64)
NAMES = ("left", "right", "still")
LABELS = LabelMap(NAMES, (1, 2, 3), ("action",) * 3, (True,) * 3, exclusive=True)
STEP = {"left": -4, "right": 4, "still": 0}
COLOUR = {"left": (250, 90, 60), "right": (80, 240, 90), "still": (90, 80, 250)}


def video(index: int) -> DataVideo:
    """Video `index`, of class `index % 3`."""
    name = NAMES[index % 3]
    return DataVideo(f"{name}/{index}", Path(f"{name}_{index}.mp4"))


def boxes_norm(index: int, length: int = LENGTH) -> np.ndarray:
    """The 20 px square of video `index` in each frame, (L, 4) of 48 x 64 px."""
    left = 22 + STEP[NAMES[index % 3]] * (np.arange(length) - length // 2)
    boxes_px = np.stack([left, np.full(length, 14), left + 20, np.full(length, 34)], axis=1)
    return (boxes_px / [64, 48, 64, 48]).clip(0, 1)


def times_s(length: int = LENGTH) -> np.ndarray:
    """Of the frames, each of which is a keyframe."""
    return (np.arange(length) / FPS).round(6)


def painted(one: DataVideo) -> CachedVideo:
    """A video's frames; the background differs from video to video."""
    index = int(one.video_id.split("/")[1])
    rng = np.random.default_rng(index)
    frames = np.tile(rng.integers(0, 60, (*SIZE_HW, 3)).astype(np.uint8), (LENGTH, 1, 1, 1))
    for frame, box in zip(frames, boxes_norm(index)):
        x1, y1, x2, y2 = (box * [64, 48, 64, 48]).round().astype(int)
        frame[y1:y2, x1:x2] = COLOUR[NAMES[index % 3]]
    info = VideoInfo(one.path, SIZE_HW, Fraction(30), LENGTH, 0.0, LENGTH / FPS)
    return CachedVideo(info, times_s(), frames)


def split(name: str, indices: range) -> DataSplit:
    """A split of some videos."""
    videos, count = [video(index) for index in indices], LENGTH * len(indices)
    table = AvaTable(
        np.repeat(np.array([one.video_id for one in videos], object), LENGTH),
        np.tile(times_s(), len(videos)),
        np.concatenate([boxes_norm(index) for index in indices]),
        np.repeat(np.array([index % 3 + 1 for index in indices], np.int64), LENGTH),
        person_ids=np.zeros(count, np.int64),
    )
    return DataSplit(name, tuple(videos), table, Keyframes(np.zeros(0, object), np.zeros(0)))


def run_data(train: int = 12, scored: int = 3) -> RunData:
    """Learn from the first `train` videos, be scored on the next `scored`."""
    spec = DataSpec(labels=NAMES, splits={"train": SplitSpec(videos=Path("none.txt"))})
    learnt, judged = split("train", range(train)), split("val", range(train, train + scored))
    data = DataSet("squares", spec, Path("nowhere"), LABELS)
    return RunData(data, training_index(learnt, LABELS), judged, training_index(judged, LABELS))


def config(run_dir: Path, **changes: dict[str, object]) -> Config:
    """A config for the squares: seconds on one core."""
    values: dict[str, dict[str, object]] = {
        "model": {"dropout": 0.1},
        "clip": {"num_frames": 4, "stride": 1, "short_side": 48},
        "data": {"spec": "squares", "samples_per_video": 1, "batch_size": 6},
        "augment": {"size_hw": (48, 64), "flip": 0.0, "zoom": (0.9, 1.1), "saturation": 0.0, "grayscale": 0.0},
        "schedule": {"epochs": 2},
        "evaluate": {"frame_step": 2, "every_epochs": 100},
        "train": {"threads": 1},
    }
    for section, fields in changes.items():
        values[section] = {**values.get(section, {}), **fields}
    return Config.model_validate({"device": "cpu", "run_dir": run_dir, **values})


def use_squares(monkeypatch: pytest.MonkeyPatch, train: int = 12, scored: int = 3) -> RunData:
    """Let runs learn from the first `train` videos and be scored on the next `scored`."""
    data = run_data(train, scored)
    monkeypatch.setattr(loop, "read_run_data", lambda _config: data)
    monkeypatch.setattr(OpenVideos, "_opened", lambda _self, one: painted(one))
    monkeypatch.setattr(batching, "_frame_hw", lambda _video: SIZE_HW)
    return data
