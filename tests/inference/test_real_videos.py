"""`avadet infer` with the bundled models over real files: clean ones, odd ones, broken ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from each_case import each_case

from avadet.annotations.ava import read_detections
from avadet.cli.main import main
from avadet.models import zoo
from avadet.video.read import VideoReader

BUNDLED = zoo.entry_of("tiny").path.parent
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not (BUNDLED / "tiny.json").is_file(), reason="the bundled action model is not there"),
    pytest.mark.skipif(not (BUNDLED / "tiny_persons.json").is_file(), reason="the bundled person model is not there"),
]

CLEAN = [
    "carphone.mp4",
    "decord_flipping_a_pancake.mkv",
    "intel_asl_walk.mkv",
    "mmaction_demo_armwrestling.mp4",
    "mmaction_test.avi",
    "mmaction_test_video_structuralize.mp4",
    "mmpose_demo.mp4",
    "nasa_13013.mp4",
    "sam2_bedroom.mp4",
]
LONG = "intel_one-by-one-person-detection.mp4"
EDGE = [
    "decord_rot_0.mov",
    "decord_rot_180.mov",
    "decord_rot_270.mov",
    "decord_rot_90.mov",
    "one_frame.mp4",
    "people_2997fps.mp4",
    "people_portrait_10fps.mp4",
    "people_rot90_metadata.mov",
    "people_start_offset_7s.mkv",
    "people_vfr.mkv",
    "people_vp9.webm",
    "people_xvid.avi",
    "torchcodec_av1.mkv",
    "torchcodec_h265.mp4",
]
UNREADABLE = ["audio_only.mp4", "empty.mp4", "garbage.mp4", "truncated_no_moov.mp4"]


def infer(video: Path, out: Path, *more: str) -> int:
    return main(["infer", str(video), "--out", str(out), "--device", "cpu", "--model", "tiny", *more])


def frame_times(video: Path) -> list[float]:
    with VideoReader(video) as reader:
        return [frame.time_s for frame in reader.frames()]


def check_results(video: Path, out: Path, with_video: bool = True) -> None:
    """The three files agree with the video and with each other."""
    with VideoReader(video) as reader:
        height, width = reader.info.size_hw
    lines = [json.loads(line) for line in (out / f"{video.stem}.jsonl").read_text().splitlines()]
    for line in lines:
        x1, y1, x2, y2 = line["box_px"]
        assert 0 <= x1 < x2 <= width
        assert 0 <= y1 < y2 <= height
    table = read_detections(out / f"{video.stem}.ava.csv")
    assert set(table.video_ids) <= {video.stem}
    assert set(table.times_s.tolist()) == {line["time_s"] for line in lines}
    if with_video:
        written = out / f"{video.stem}.mp4"
        with VideoReader(written) as reader:
            assert reader.info.size_hw == (height + height % 2, width + width % 2)
        assert frame_times(written) == pytest.approx(frame_times(video), abs=2e-3)


def test_the_lists_are_whole(shared: Path) -> None:
    videos = shared / "data" / "videos"
    assert sorted([*CLEAN, LONG]) == sorted(path.name for path in (videos / "clean").iterdir())
    assert sorted(path.name for path in (videos / "edge").iterdir()) == EDGE


@each_case("name", CLEAN)
def test_clean_videos(shared: Path, tmp_path: Path, name: str) -> None:
    video = shared / "data" / "videos" / "clean" / name
    assert infer(video, tmp_path) == 0
    check_results(video, tmp_path)


def test_a_long_clean_video(shared: Path, tmp_path: Path) -> None:
    video = shared / "data" / "videos" / "clean" / LONG
    assert infer(video, tmp_path, "--every", "10", "--detect-every", "0", "--no-video") == 0
    check_results(video, tmp_path, with_video=False)


@each_case("name", EDGE)
def test_odd_videos(shared: Path, tmp_path: Path, name: str) -> None:
    video = shared / "data" / "videos" / "edge" / name
    assert infer(video, tmp_path) == 0
    check_results(video, tmp_path)


@each_case("name", UNREADABLE)
def test_unreadable_videos_are_one_line(shared: Path, tmp_path: Path, name: str, capsys) -> None:
    assert infer(shared / "data" / "videos" / "broken" / name, tmp_path / "out") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("avadet: error: ")
    assert name in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        ("decord_corrupted.mp4", "damaged spot"),
        ("truncated_faststart.mp4", "breaks off at 0.60 s, 2.30 s before the end"),
        ("decord_unordered.mov", ""),
    ],
)
def test_broken_videos_keep_what_came_before(shared: Path, tmp_path: Path, name: str, warning: str, capsys) -> None:
    video = shared / "data" / "videos" / "broken" / name
    assert infer(video, tmp_path) == 0
    check_results(video, tmp_path)
    said = capsys.readouterr().err
    assert ("warning" in said) == bool(warning)
    assert warning in said
