"""`avadet.infer` as a user of the package meets it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import staged
from each_case import each_case

import avadet
from avadet.inference import run
from avadet.types import ActionDetections


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return staged.write_video(tmp_path_factory.mktemp("videos") / "clip.mp4", seconds=3.0)


def test_a_video_in_keyframes_out(clip: Path) -> None:
    found = list(avadet.infer(clip, model=staged.random_model(), detector=staged.BrightSquare()))
    assert all(isinstance(detections, ActionDetections) for detections in found)
    assert [detections.key.time_s for detections in found] == [0.0, 1.0, 2.0]
    lefts = [detections.boxes_norm[0, 0] * 64 for detections in found]
    np.testing.assert_allclose(lefts, [0, 16, 32], atol=2.0)  # it crosses 48 px in 3 s
    assert [detections.track_ids.tolist() for detections in found] == [[1], [1], [1]]


def test_every_walk_begins_at_the_start_and_gives_the_same(clip: Path) -> None:
    inference = avadet.infer(str(clip), model=staged.random_model(), detector=staged.BrightSquare(), every=1.5)
    first, second = list(inference), list(inference)
    assert [d.key.time_s for d in first] == [d.key.time_s for d in second] == [0.0, 1.5]
    np.testing.assert_array_equal(first[1].scores, second[1].scores)
    assert (inference.damaged, inference.ended_early_s) == (0, 0.0)


def test_actions_have_names(clip: Path) -> None:
    inference = avadet.infer(clip, model=staged.staged_model((2.0, -2.0, 0.0)), detector=staged.BrightSquare())
    detections = next(iter(inference))
    assert inference.labels.names == ("a", "b", "c")
    (person,) = inference.actions(detections, threshold=0.5)
    assert [(action.name, action.id) for action in person] == [("a", 11), ("c", 13)]


def test_known_boxes_before_the_start_are_left_out_like_those_after_the_end(clip: Path, tmp_path: Path) -> None:
    """Half a frame of this video is 0.05 s: nearer than that to the first frame is the first frame."""
    boxes = tmp_path / "boxes.csv"
    rows = [f"clip,{time_s},0,0.25,0.5,0.75\n" for time_s in (-2, -0.05, -0.04, 1, 99)]
    boxes.write_text("".join(rows))
    inference = avadet.infer(clip, model=staged.random_model(), boxes=boxes)
    assert [d.key.time_s for d in inference] == [-0.04, 1.0]
    boxes.write_text("".join(rows[:2]))
    with pytest.raises(avadet.AvadetError, match=r"boxes of video 'clip' end at -0.05 s, before its first frame"):
        list(avadet.infer(clip, model=staged.random_model(), boxes=boxes))


def test_known_boxes(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text("clip,0.5,0,0.25,0.5,0.75\nclip,1,0,0.25,0.5,0.75\nother,1,0,0,1,1\n")
    model = staged.random_model()
    every_time = avadet.infer(clip, model=model, boxes=tmp_path / "boxes.csv")
    assert [d.key.time_s for d in every_time] == [0.5, 1.0]
    thinned = avadet.infer(clip, model=model, boxes=tmp_path / "boxes.csv", every=2.0)
    assert [d.key.time_s for d in thinned] == [0.5]


@each_case(
    ("arguments", "message"),
    [
        ({"video": "missing.mp4"}, "no such video: missing.mp4"),
        ({"every": 0}, "every must be a positive number of seconds, got 0"),
        ({"every": float("nan")}, "every must be a positive number"),
        ({"device": "tpu"}, "device must be auto, cpu"),
        ({"detector": "tyni"}, "unknown detector 'tyni'; did you mean tiny"),
        ({"model": "slowfast_r50_8x8", "detector": staged.BrightSquare()}, "did you mean slowfast_r50_8x8_ava"),
        ({"detector": "tiny", "boxes": "boxes.csv"}, "boxes replace the detector"),
    ],
)
def test_bad_arguments_are_named_at_once(clip: Path, arguments: dict, message: str) -> None:
    with pytest.raises(avadet.AvadetError, match=message):
        avadet.infer(**{"video": clip, **arguments})


def test_boxes_of_other_videos_are_an_error_that_names_them(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text("clip_2,1,0,0,1,1\n")
    with pytest.raises(avadet.AvadetError, match=r"'clip'.*clip_2"):
        avadet.infer(clip, model=staged.random_model(), boxes=tmp_path / "boxes.csv")


@each_case(
    ("times_s", "every_s", "kept"),
    [
        ([902.0, 903.0, 904.0, 905.0], None, [902.0, 903.0, 904.0, 905.0]),
        ([902.0, 903.0, 904.0, 905.0], 2.0, [902.0, 904.0]),
        ([0.0, 0.1, 0.2, 0.3, 0.4], 0.2, [0.0, 0.2, 0.4]),
        ([0.0, 0.1, 0.2, 0.3], 0.1, [0.0, 0.1, 0.2, 0.3]),
        ([5.0], 10.0, [5.0]),
        ([1.5, 7.0, 7.5], 1.0, [1.5, 7.0]),
        ([0.066666, 0.1, 0.133333, 0.166666], 1 / 30, [0.066666, 0.1, 0.133333, 0.166666]),
        ([0.0, 0.995, 1.996], 1.0, [0.0, 0.995, 1.996]),
    ],
)
def test_thinning_known_times(times_s: list[float], every_s: float | None, kept: list[float]) -> None:
    assert run.thinned(np.array(times_s), every_s).tolist() == kept


def test_the_package_offers_infer_and_nothing_else_is_invented() -> None:
    assert "infer" in dir(avadet)
    assert avadet.infer is run.infer
    with pytest.raises(AttributeError, match="no attribute 'infre'"):
        avadet.infre  # noqa: B018
