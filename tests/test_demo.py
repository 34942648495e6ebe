"""The clip of `make demo`: the bundled models find its people, follow them and name what they do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import avadet
from avadet import boxes
from avadet.synthetic.dataset import write_video
from avadet.synthetic.demo import demo_clip
from avadet.synthetic.scene import SyntheticClip
from avadet.types import ActionDetections

MODEL = "tiny_jhmdb"  # that of `make demo` without a video: it has learnt from drawn figures, `tiny` from people


@pytest.fixture(scope="module")
def truth() -> SyntheticClip:
    return demo_clip()


@pytest.fixture(scope="module")
def video(truth: SyntheticClip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "demo.mp4"
    write_video(path, truth)
    return path


@pytest.fixture(scope="module")
def keyframes(video: Path) -> list[ActionDetections]:
    return list(avadet.infer(video, model=MODEL, detector="tiny"))


def rows_of_people(truth: SyntheticClip, detections: ActionDetections) -> list[int]:
    """Which row of the detections each true person is."""
    frame = int(np.argmin(abs(truth.times_s - detections.key.time_s)))
    overlap = boxes.iou(truth.boxes_norm[frame], detections.boxes_norm)
    assert (overlap.max(axis=1) > 0.6).all(), f"somebody is missed at {detections.key.time_s} s"
    return [int(row) for row in overlap.argmax(axis=1)]


def test_every_person_is_found_and_nobody_else(truth: SyntheticClip, keyframes: list[ActionDetections]) -> None:
    assert [one.key.time_s for one in keyframes] == [0, 1, 2, 3, 4, 5]
    for detections in keyframes:
        assert (
            sorted(rows_of_people(truth, detections)) == list(range(len(truth.labels))) == list(range(len(detections)))
        )


def test_everybody_keeps_one_track(truth: SyntheticClip, keyframes: list[ActionDetections]) -> None:
    tracks = np.array([one.track_ids[rows_of_people(truth, one)] for one in keyframes if one.track_ids is not None])
    assert tracks.shape == (6, 3)
    assert (tracks == tracks[0]).all() and len(set(tracks[0])) == 3


def test_every_action_is_named(truth: SyntheticClip, video: Path, keyframes: list[ActionDetections]) -> None:
    names = avadet.infer(video, model=MODEL).labels.names
    scores = np.array([one.scores[rows_of_people(truth, one)] for one in keyframes])
    best = [[names[k] for k in row] for row in scores.argmax(axis=2)]
    for person, label in enumerate(truth.labels):
        assert names[scores[:, person].mean(axis=0).argmax()] == label
        assert [row[person] for row in best].count(label) >= 5, f"{label} was taken for {[row[person] for row in best]}"
        assert scores[:, person, names.index(label)].mean() > 0.3
