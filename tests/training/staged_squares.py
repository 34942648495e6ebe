"""A data set of moving squares for tests of whole runs: no files, no decoding; a class for each colour and way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avadet.annotations.jhmdb import JhmdbVideo
from avadet.config import Config
from avadet.data.frame_store import FrameStore, StoredVideo
from avadet.training import setup
from avadet.types import LabelMap

FPS = 30.0
LENGTH = 8
NAMES = ("left", "right", "still")
LABELS = LabelMap(NAMES, (1, 2, 3), ("action",) * 3, (True,) * 3, exclusive=True)
STEP = {"left": -4, "right": 4, "still": 0}
COLOUR = {"left": (250, 90, 60), "right": (80, 240, 90), "still": (90, 80, 250)}


def video(index: int, length: int = LENGTH) -> JhmdbVideo:
    """The annotation of video `index`: a 20 px square in a 48 x 64 frame, of class `index % 3`."""
    class_index = index % 3
    left = 22 + STEP[NAMES[class_index]] * (np.arange(length) - length // 2)
    boxes_px = np.stack([left, np.full(length, 14), left + 20, np.full(length, 34)], axis=1)
    return JhmdbVideo(
        video_id=f"{NAMES[class_index]}/{index}",
        path=Path(f"{NAMES[class_index]}_{index}.mp4"),
        class_index=class_index,
        boxes_norm=(boxes_px / [64, 48, 64, 48]).clip(0, 1).astype(np.float32),
        times_s=(np.arange(length) / FPS).round(6),
        group=f"group{index // 6}",
    )


class SquareStore(FrameStore):
    """Paints the frames of `video(index)` instead of decoding them; the background differs from video to video."""

    def __init__(self, length: int = LENGTH) -> None:
        super().__init__("nowhere", 48)
        self._length = length

    def open(self, video_id: str, path: Path) -> StoredVideo:
        index = int(video_id.split("/")[1])
        annotated = video(index, self._length)
        rng = np.random.default_rng(index)
        frames = np.tile(rng.integers(0, 60, (48, 64, 3)).astype(np.uint8), (self._length, 1, 1, 1))
        for frame, box in zip(frames, annotated.boxes_norm):
            x1, y1, x2, y2 = (box * [64, 48, 64, 48]).round().astype(int)
            frame[y1:y2, x1:x2] = COLOUR[NAMES[annotated.class_index]]
        return StoredVideo(frames, annotated.times_s)


def config(run_dir: Path, **changes: dict[str, object]) -> Config:
    """A config for the squares: seconds on one core."""
    values: dict[str, dict[str, object]] = {
        "model": {"dropout": 0.1},
        "clip": {"num_frames": 4, "stride": 1, "short_side": 48},
        "data": {"root": "nowhere", "batch_size": 6},
        "augment": {"size_hw": (48, 64), "flip": 0.0, "zoom": (0.9, 1.1), "saturation": 0.0, "grayscale": 0.0},
        "schedule": {"epochs": 2},
        "evaluate": {"frame_step": 2, "every_epochs": 100},
        "train": {"threads": 1},
    }
    for section, fields in changes.items():
        values[section] = {**values.get(section, {}), **fields}
    return Config.model_validate({"device": "cpu", "run_dir": run_dir, **values})


def use_squares(monkeypatch: pytest.MonkeyPatch, train: int = 12, scored: int = 3) -> setup.Data:
    """Let runs learn from the first `train` videos and be scored on the next `scored`."""
    videos = [video(index) for index in range(train + scored)]
    data = setup.Data(LABELS, videos[:train], videos[train:], SquareStore())
    monkeypatch.setattr(setup, "read_data", lambda _config: data)
    return data
