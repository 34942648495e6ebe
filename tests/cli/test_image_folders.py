"""`infer` and `detect-persons` on folders of images: results as of the file, and which words mean what."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import cv2
import pytest
import staged
from each_case import each_case

import avadet
from avadet.cli import video_files
from avadet.cli.main import main
from avadet.errors import AvadetError
from avadet.video.read import open_video

FPS = 10


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return staged.write_random_model(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """clip.mp4, and the same frames in the folder clip."""
    root = tmp_path_factory.mktemp("clips")
    staged.write_video(root / "clip.mp4", seconds=2.0)
    (root / "clip").mkdir()
    with open_video(root / "clip.mp4") as reader:
        for frame in reader.frames():
            cv2.imwrite(str(root / f"clip/img_{frame.index + 1:05d}.png"), frame.image[..., ::-1])
    (root / "boxes.csv").write_text("".join(f"clip,{t},0.1,0.1,0.6,0.9,,0.9\n" for t in (0.5, 1.0, 1.5)))
    return root


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_results_are_those_of_the_file(model: Path, clip: Path, tmp_path: Path) -> None:
    common = ["--model", model, "--boxes", clip / "boxes.csv"]
    assert run("infer", clip / "clip.mp4", "--out", tmp_path / "file", *common) == 0
    assert run("infer", clip / "clip", "--fps", FPS, "--out", tmp_path / "folder", *common) == 0
    for suffix in (".ava.csv", ".jsonl", ".events.csv"):
        one, other = (tmp_path / kind / f"clip{suffix}" for kind in ("file", "folder"))
        assert one.read_bytes() == other.read_bytes()
    assert {path.suffix for path in (tmp_path / "folder").iterdir()} == {".csv", ".jsonl", ".html", ".mp4", ".json"}
    with open_video(tmp_path / "folder/clip.mp4") as drawn:
        assert not drawn.info.has_audio and len(list(drawn.frames())) == 20
    keyframes = avadet.infer(clip / "clip", model=model, boxes=clip / "boxes.csv", fps=FPS)
    assert [round(one.key.time_s, 3) for one in keyframes] == [0.5, 1.0, 1.5]


def test_done_results_are_skipped_until_an_image_changes(
    model: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(clip / "clip", tmp_path / "clip"))
    words = ["infer", folder, "--fps", FPS, "--out", tmp_path / "out", "--model", model, "--no-video", "--no-page"]
    assert run(*words) == 0 and run(*words) == 0
    assert "already done" in capsys.readouterr().out
    (folder / "img_00003.png").write_bytes((folder / "img_00004.png").read_bytes() + b" ")
    assert run(*words) == 1
    assert "the video has changed" in capsys.readouterr().err


def test_damage_is_told_by_name(model: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(shutil.copytree(clip / "clip", tmp_path / "clip"))
    (folder / "img_00003.png").unlink()
    (folder / "img_00007.png").write_text("no image")
    assert run("infer", folder, "--fps", FPS, "--out", tmp_path / "out", "--model", model, "--no-video") == 0
    said = capsys.readouterr().err
    assert "1 of 20 images are missing, those of number 3" in said
    assert "2 images damaged or missing: no image img_00003.png, img_00007.png" in said


def test_persons_of_folders(clip: Path, tmp_path: Path) -> None:
    assert run("detect-persons", clip / "clip", "--fps", FPS, "--out", tmp_path / "folder.csv") == 0
    assert run("detect-persons", clip / "clip.mp4", "--out", tmp_path / "file.csv") == 0
    assert (tmp_path / "folder.csv").read_bytes() == (tmp_path / "file.csv").read_bytes()


def test_what_words_stand_for(clip: Path, tmp_path: Path) -> None:
    assert video_files.expand([str(clip / "clip")]) == [clip / "clip"]
    assert video_files.expand([str(clip / "clip/*.png")]) == [clip / "clip/*.png"]
    assert video_files.expand([str(clip / "cl*")]) == [clip / "clip", clip / "clip.mp4"]
    assert video_files.expand([str(clip)]) == [clip / "clip.mp4"]  # folders inside a folder of videos do not count
    frames = tmp_path / "frames"
    for name in ("a", "b.1"):
        shutil.copytree(clip / "clip", frames / name)
    assert video_files.expand([str(frames / "*")]) == [frames / "a", frames / "b.1"]
    assert [name for _, _, name in video_files.twins([frames / "b.1", frames / "a", frames / "b.1/*.png"])] == ["b.1"]
    with pytest.raises(AvadetError, match=r"holds folders of images, such as a: give them, '.*frames/\*' --fps 30"):
        video_files.expand([str(frames)])
    with pytest.raises(AvadetError, match=r"20 images, such as .* are no videos; .*give their folder, or a pattern"):
        video_files.expand([str(path) for path in sorted((clip / "clip").iterdir())])
    shutil.copy(clip / "clip.mp4", frames / "a")
    with pytest.raises(AvadetError, match=r"holds 1 video and 20 images with numbers, such as clip\.mp4 and img_00001"):
        video_files.expand([str(frames / "a")])


@each_case(
    ("words", "said"),
    [(["clip"], "have no frame rate of their own; give it, such as --fps 30"),
     (["clip.mp4", "--fps", "10"], "--fps is the rate of folders of images; .*has its own")],
)  # fmt: skip
def test_rates_are_for_images(
    model: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert run("infer", clip / words[0], *words[1:], "--out", tmp_path / "out", "--model", model) == 1
    error = capsys.readouterr().err
    assert re.search(said, error) and len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_live_sources_have_their_own_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("infer", "rtsp://127.0.0.1:9/x", "--fps", FPS, "--out", tmp_path / "out") == 1
    assert run("detect-persons", "http://127.0.0.1:9/x.mp4", "--fps", FPS, "--out", tmp_path / "out.csv") == 1
    assert capsys.readouterr().err.count("--fps is the rate of folders of images") == 2


@pytest.mark.shared
def test_the_data_set_of_folders_trains_and_is_checked_shown_counted_and_prepared(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = shared / "data/faults/datasets"
    if not (faults / "17_folders_of_pictures").is_dir():
        pytest.skip("faults absent")
    root = Path(shutil.copytree(faults / "17_folders_of_pictures", tmp_path / "set"))
    monkeypatch.chdir(root)
    assert run("data", "check", "mine.yaml") == 1  # nobody has said how fast
    assert "videos.fps=30" in capsys.readouterr().err
    assert run("data", "check", "mine.yaml", "videos.fps=15") == 0
    assert run("data", "stats", "mine.yaml", "videos.fps=15") == 0
    assert run("data", "show", "mine.yaml", "videos.fps=15", "--num", 2, "--out", "shown") == 0
    spec = Path("mine.yaml")
    spec.write_text(spec.read_text().replace("folder: frames", "folder: frames, fps: 15"))
    assert run("data", "prepare", "mine.yaml", "--out", "prepared") == 0
    assert run("data", "check", "prepared/mine.yaml") == 0
    words = ["data.spec=mine.yaml", "data.scored=train", "run_dir=run", "data.workers=0"]
    assert run("train", faults / "toy/toy.yaml", *words) == 0
    assert (root / "run/model.safetensors").is_file()
