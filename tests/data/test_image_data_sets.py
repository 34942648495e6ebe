"""Data sets kept as folders of images: found, checked, read and prepared like those of video files."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from ava_like import write_film

from avadet.annotations.frame_lists import read_frame_lists
from avadet.annotations.specs import DataSet, open_data_set
from avadet.annotations.splits import DataVideo, find_videos, read_split
from avadet.cli.main import main
from avadet.data.clip_reader import OpenVideos, read_frames
from avadet.data.clips import BrokenSample, ClipDataset
from avadet.data.keyframes import training_index
from avadet.data.video_facts import iter_metadata
from avadet.errors import AvadetError
from avadet.types import ClipSpec
from avadet.video.read import open_video

SPEC = ClipSpec(4, 3, 25.0, 48, (0.45,) * 3, (0.225,) * 3)
ROWS = "".join(f"v,{t},0.1,0.2,0.6,0.9,{1 + row % 2}\n" for row, t in enumerate((0.4, 0.8, 1.2)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """videos/v.mp4 of 50 frames, and the same as frames/v/v_000001.png, ..."""
    root = tmp_path_factory.mktemp("made")
    ramp = np.linspace(0, 200, 96)
    images = [np.broadcast_to(((ramp + 4 * n) % 256)[None, :, None], (64, 96, 3)).astype(np.uint8) for n in range(50)]
    (root / "videos").mkdir()
    write_film(root / "videos" / "v.mp4", images, np.arange(50) / 25)
    (root / "frames" / "v").mkdir(parents=True)
    with open_video(root / "videos" / "v.mp4") as reader:
        for frame in reader.frames():
            cv2.imwrite(str(root / f"frames/v/v_{frame.index + 1:06d}.png"), frame.image[..., ::-1])
    (root / "train.csv").write_text(ROWS)
    (root / "mine.yaml").write_text("labels: [walk, sit]\nsplits:\n  train: {annotations: train.csv}\n")
    return root


@pytest.fixture
def own(made: Path, tmp_path: Path) -> Path:
    """A copy whose images may be changed."""
    return Path(shutil.copytree(made, tmp_path / "own"))


def opened(root: Path, *overrides: str) -> DataSet:
    return open_data_set(root / "mine.yaml", overrides=["videos.folder=frames", "videos.fps=25", *overrides])


def clips(data: DataSet) -> ClipDataset:
    return ClipDataset(training_index(read_split(data, "train"), data.labels), SPEC)


def list_of(rows: list[tuple[str, int, str]]) -> str:
    head = "original_vido_id video_id frame_id path labels\n"
    return head + "".join(f'{video} 0 {number} {path} ""\n' for video, number, path in rows)


def test_clips_are_those_of_the_video_file(made: Path) -> None:
    files, images = clips(open_data_set(made / "mine.yaml")), clips(opened(made))
    assert len(files) == len(images) == 3
    for keyframe in range(3):
        one, other = files[0, keyframe], images[0, keyframe]
        assert not isinstance(one, BrokenSample) and not isinstance(other, BrokenSample)
        assert np.array_equal(one.frames, other.frames)
        assert np.array_equal(one.boxes_px, other.boxes_px) and np.array_equal(one.labels, other.labels)


@pytest.mark.parametrize(
    "overrides",
    [
        ["videos.frames.pattern='{video}/{video}_{number:06d}.png'", "videos.frames.first_number=1"],
        ["videos.frames.pattern='{video}_%06d.png'"],
        ["videos.frames.pattern='{video}/*.png'"],
    ],
)
def test_patterns_of_specs(made: Path, overrides: list[str]) -> None:
    (video,) = find_videos(opened(made, *overrides), ["v"])
    assert video.images is not None and video.path == made / "frames" / "v"
    with video.open() as reader:
        assert reader.info.num_frames == 50


def test_videos_of_one_folder_are_told_apart_by_a_pattern(own: Path) -> None:
    for image in (own / "frames/v").iterdir():
        shutil.copy(image, own / "frames" / image.name)
        shutil.copy(own / "frames/v/v_000001.png", own / "frames" / image.name.replace("v_", "w_"))
    one, other, none = find_videos(opened(own, "videos.frames.pattern='/{video}_{number}.png'"), ["v", "w", "x"])
    assert none.path is None
    with_files = OpenVideos()
    for video, moves in ((one, True), (other, False)):
        frames, _ = read_frames(with_files.reader(video), 1.0, SPEC, lambda image: image)
        assert bool((frames[0] != frames[-1]).any()) is moves


def test_frame_lists(own: Path) -> None:
    rows = [("v", n, f"v/v_{n + 1:06d}.png") for n in range(50)]
    (own / "a.csv").write_text(list_of(rows[:30] + [("gone", n, f"gone/{n}.jpg") for n in range(3)]))
    (own / "b.csv").write_text(list_of(rows[30:]))
    data = opened(own, "videos.frames.lists=[a.csv, b.csv]")
    video, gone, none = find_videos(data, ["v", "gone", "none"])
    assert (gone.path, none.path) == (None, None)
    with video.open() as reader:
        assert (reader.info.num_frames, reader.info.display_notes) == (50, ())
    one, other = clips(data)[0, 1], clips(opened(own))[0, 1]
    assert not isinstance(one, BrokenSample) and not isinstance(other, BrokenSample)
    assert np.array_equal(one.frames, other.frames)
    names = read_frame_lists([own / "a.csv", own / "b.csv"], own / "frames")["v"]
    assert names.names is None and names.path(49) == own / "frames/v/v_000050.png"  # 50 names in a template


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (list_of([("v", 0, "../x/1.jpg")]), r"a\.csv, line 2: expected a frame_id of 0 or above and a path inside"),
        (list_of([("v", 0, "v/1.jpg"), ("v", 1, "v/../../2.jpg")]), r"a\.csv, line 3: expected"),
        (list_of([("v", 0, "/etc/1.jpg")]), "a path inside"),
        (list_of([("v", 0, "v/1.jpg"), ("v", 1, "w/2.jpg")]), "line 3: .*all of a video in one folder"),
        (list_of([("v", 1, "v/1.jpg"), ("v", 0, "v/2.jpg")]), "in the order of frame_id"),
        ("v 0 0 v/1.jpg\n", "is no frame list: its first line must name the columns"),
        (list_of([("v", 0, "v/1.jpg")]).replace(" 0 0", " 0 x"), "and no such frame_id"),
    ],
)
def test_frame_lists_that_are_not_right(own: Path, text: str, said: str) -> None:
    (own / "a.csv").write_text(text)
    with pytest.raises(AvadetError, match=said):
        find_videos(opened(own, "videos.frames.lists=a.csv"), ["v"])


def test_lists_and_patterns_exclude_each_other(made: Path) -> None:
    with pytest.raises(AvadetError, match="pattern and first_number must not be given"):
        opened(made, "videos.frames.lists=a.csv", "videos.frames.first_number=1")
    with pytest.raises(AvadetError, match=r"must stay inside videos\.folder"):
        opened(made, "videos.frames.pattern='../{video}/*.png'")


def test_a_rate_is_needed(made: Path) -> None:
    with pytest.raises(AvadetError, match=r"no frame rate of their own; .*videos\.fps=30"):
        read_split(opened(made, "videos.fps=null"), "train")


def test_a_file_wins_over_a_folder_and_that_is_said(own: Path) -> None:
    shutil.copytree(own / "frames/v", own / "videos/v")
    split = read_split(opened(own, "videos.folder=videos"), "train")
    assert split.videos[0].path == own / "videos/v.mp4"
    assert any("1 videos have a file and a folder of images (v); the files are read" in note for note in split.notes)
    described = read_split(opened(own, "videos.folder=videos", "videos.frames.pattern='{video}/*'"), "train")
    assert described.videos[0].images is not None and not described.notes


def test_missing_and_damaged_images_break_the_clips_that_need_them(own: Path) -> None:
    (own / "frames/v/v_000011.png").unlink()  # the keyframe at 0.4 s
    (own / "frames/v/v_000021.png").write_bytes(b"no image")  # at 0.8 s
    broken = clips(opened(own))
    first, second, third = (broken[0, n] for n in range(3))
    assert isinstance(first, BrokenSample) and "has no image v_000011.png" in first.reason
    assert isinstance(second, BrokenSample) and "v_000021.png" in second.reason
    assert not isinstance(third, BrokenSample)


def test_frame_numbers_name_images_whatever_is_missing(own: Path) -> None:
    (own / "frames/v/v_000003.png").unlink()
    (video,) = find_videos(opened(own, "videos.keyframes_name=number"), ["v"])
    assert OpenVideos().keyframe_s(video, 30 / 25) == pytest.approx(30 / 25)
    with pytest.raises(AvadetError, match="has 50 frames, none of number 50"):
        OpenVideos().keyframe_s(video, 2.0)


def test_what_folders_are_like(own: Path) -> None:
    for n in range(15, 30):
        (own / f"frames/v/v_{n:06d}.png").unlink()
    (own / "frames/odd").mkdir()
    for name in ("a.png", "b.png"):
        shutil.copy(own / "frames/v/v_000001.png", own / "frames/odd" / name)
    good, odd = iter_metadata(find_videos(opened(own), ["v", "odd"]), {"v": 1.2})
    assert (good.duration_s, good.last_s) == (2.0, 1.2) and len(good.gaps_s) == 0
    assert "images with numbers in their names" in odd.problem
    (missing,) = iter_metadata([DataVideo("x", None)], {})
    assert missing.info is None


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_commands_read_folders(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, frames = own / "mine.yaml", ["videos.folder=frames", "videos.fps=25"]
    assert run("data", "check", spec, *frames) == 0
    assert run("data", "stats", spec, *frames) == 0
    assert run("data", "show", spec, *frames, "--out", own / "shown", "--num", 3) == 0
    assert len(list((own / "shown").iterdir())) == 4
    (own / "frames/v/v_000002.png").unlink()
    assert run("data", "check", spec, *frames) == 0
    said = capsys.readouterr().out
    assert "1 of 50 images are missing, those of number 2" in said and "[videos-images]" in said
    (own / "frames/v/v_000012.png").write_text("no image")
    assert run("data", "check", spec, *frames, "--deep") == 1
    assert "clips-damaged" in capsys.readouterr().out
    assert run("data", "check", spec, "videos.folder=frames") == 1
    assert "videos.fps=30" in capsys.readouterr().err


def test_prepare_makes_a_file_of_a_folder(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (own / "mine.yaml").read_text() + "videos: {folder: frames, fps: 25, frames: {first_number: 1}}\n"
    (own / "mine.yaml").write_text(text)
    out = own / "prepared"
    assert run("data", "prepare", own / "mine.yaml", "--out", out) == 0
    data = open_data_set(out / "mine.yaml")
    (video,) = read_split(data, "train").videos
    assert video.path == out / "videos/v.mp4" and video.images is None
    with video.open() as reader:
        assert [round(frame.time_s * 25) for frame in reader.frames()] == list(range(50))
    assert run("data", "check", out / "mine.yaml") == 0
    capsys.readouterr()
    assert run("data", "prepare", own / "mine.yaml", "--out", out) == 0
    assert "0 videos encoded, 1 were there" in capsys.readouterr().out
    (own / "frames/v/v_000030.png").unlink()  # another source now: a frame less, the others at their times
    assert run("data", "prepare", own / "mine.yaml", "--out", out) == 0
    assert "damaged sources: v (1 pictures)" in capsys.readouterr().out
    (own / "mine.yaml").write_text(text.replace("fps: 25,", "fps: 25, keyframes_name: number,"))
    assert run("data", "prepare", own / "mine.yaml", "--out", own / "again") == 1
    assert "keyframes are numbers of frames, which would change" in capsys.readouterr().err


def test_divided_data_sets_keep_their_lists(own: Path) -> None:
    names = [f"{letter}.mp4" for letter in "abcd"]
    (own / "train.csv").write_text(
        "".join(f"{name[0]},0.4,0.1,0.2,0.6,0.9,{n % 2 + 1}\n" for n, name in enumerate(names))
    )
    (own / "lists").mkdir()
    (own / "lists/all.csv").write_text(list_of([("a", n, f"v/v_{n + 1:06d}.png") for n in range(50)]))
    (own / "mine.yaml").write_text(
        (own / "mine.yaml").read_text() + "videos: {folder: frames, fps: 25, frames: {lists: [lists/all.csv]}}\n"
    )
    assert run("data", "split", own / "mine.yaml", "--val", 0.5, "--out", own / "divided") == 0
    (video,) = find_videos(open_data_set(own / "divided/mine.yaml"), ["a"])
    with video.open() as reader:
        assert reader.info.num_frames == 50
