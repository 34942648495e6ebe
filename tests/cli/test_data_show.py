"""`avadet data show` as people call it: which frames, what is drawn on them."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from avadet.cli import data as command
from avadet.errors import AvadetError
from avadet.types import UInt8Array
from avadet.video.write import VideoWriter

SPEC = "labels: [walk, sit]\nsplits: {all: {annotations: gt.csv, excluded: ex.csv, proposals: found.csv}}\n"
RED_TITLE = (190, 30, 30)


def call(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(["show", *(str(argument) for argument in arguments)]))


def picture(path: Path) -> UInt8Array:
    import cv2

    return np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), np.uint8)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty grey frames at 10 per second, the n-th as bright as 10 * n."""
    path = tmp_path_factory.mktemp("grey") / "v.mp4"
    with VideoWriter(path, fps=10, size_hw=(480, 640)) as writer:
        for number in range(20):
            writer.write(np.full((480, 640, 3), 10 * number, np.uint8), number / 10)
    return path


@pytest.fixture
def spec(video: Path, tmp_path: Path) -> Path:
    (tmp_path / "videos/a").mkdir(parents=True)
    (tmp_path / "videos/a/v.mp4").symlink_to(video)
    (tmp_path / "gt.csv").write_text("a/v,0.5,0.25,0.25,0.5,0.75,1,7\na/v,0.5,0.25,0.25,0.5,0.75,2,7\na/v,1.2\n")
    (tmp_path / "ex.csv").write_text("a/v,1.5\n")
    (tmp_path / "found.csv").write_text("a/v,1.2,0.25,0.25,0.75,0.75,,0.9\n")
    (tmp_path / "mine.yaml").write_text(SPEC)
    return tmp_path / "mine.yaml"


def test_every_keyframe_is_a_picture(spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert call(spec, "--out", out) == 0
    names = ["001_a_v_0.5.png", "002_a_v_1.2.png", "003_a_v_1.5.png"]
    assert sorted(path.name for path in out.iterdir()) == [*names, "sheet.png"]
    assert f"{out}: 3 keyframes of mine, split all; all on {out / 'sheet.png'}" in capsys.readouterr().out
    one, two, three = (picture(out / name) for name in names)
    for image, number in ((one, 5), (two, 12), (three, 15)):
        assert image.shape == (508, 640, 3)
        assert image[500, 5] == pytest.approx([10 * number] * 3, abs=4), "the frame of that moment"
    assert tuple(one[1, 639]) == tuple(two[1, 639]) == (40, 40, 40)
    assert tuple(three[1, 639]) == RED_TITLE
    assert np.ptp(one[28 + 240, 160]) > 50, "the person's left side, in the colour of its id"
    dashes = two[28 + 120, 160:480].astype(int)
    assert {0, 255} <= set(dashes[:, 0]) and (abs(dashes[:, 0] - 120) < 5).sum() > 50, "dashes: drawn and not drawn"
    assert picture(out / "sheet.png").shape == (2 * round(508 * 480 / 640) + 6, 2 * 480 + 6, 3)


def test_the_data_sets_own_clock(spec: Path, tmp_path: Path) -> None:
    call(spec, "videos.starts_at_s=-0.5", "--video", "a/v", "--time", 0.5, "--out", tmp_path / "later")
    call(
        spec, "videos.keyframes_name=number", "videos.fps=20", "--video", "a/v", "--time", 0.5, "--out", tmp_path / "no"
    )
    assert picture(tmp_path / "later/001_a_v_0.5.png")[500, 5, 0] == pytest.approx(100, abs=4)
    assert picture(tmp_path / "no/001_a_v_0.5.png")[500, 5, 0] == pytest.approx(100, abs=4)


def test_seeds_choose(spec: Path, tmp_path: Path) -> None:
    chosen = set()
    for seed in range(8):
        out = tmp_path / str(seed)
        assert call(spec, "--num", 1, "--seed", seed, "--out", out) == 0
        chosen |= {path.name for path in out.iterdir()} - {"sheet.png"}
    assert len(chosen) > 1
    call(spec, "--num", 1, "--seed", 3, "--out", tmp_path / "again")
    assert {p.name for p in (tmp_path / "again").iterdir()} == {p.name for p in (tmp_path / "3").iterdir()}


def test_the_nearest_keyframe_is_told(spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(spec, "--video", "a/v", "--time", 1.3, "--out", tmp_path / "out") == 0
    assert "a/v has no keyframe at 1.3 s; the nearest is at 1.2 s" in capsys.readouterr().err


def test_keyframes_without_a_frame(spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "gt.csv").write_text("a/v,0.5,0,0,1,1,1\na/v,99,0,0,1,1,1\nb,1,0,0,1,1,1\n")
    out = tmp_path / "out"
    assert call(spec, "--out", out) == 1
    err = capsys.readouterr().err
    assert "warning: 1 videos of all have no file" in err
    assert "v.mp4 has no frame at 99.000 s (keyframe 99); the nearest is at 1.900 s of the file" in err
    assert len(list(out.iterdir())) == 3


def test_an_action_that_the_map_lacks_is_marked(spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from avadet.video import draw

    (tmp_path / "gt.csv").write_text("a/v,0.5,0,0,1,1,1\na/v,0.5,0,0,1,1,9\n")
    captions = []
    monkeypatch.setattr(draw, "draw_people", lambda image, boxes, lines, ids: captions.append(lines) or image)
    call(spec, "--video", "a/v", "--time", 0.5, "--out", tmp_path / "out")
    assert captions == [[["walk", "class 9?"]]]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--time", 1], "--time needs --video ID"),
        (["--video", "a/w"], "unknown video of split all 'a/w'; did you mean a/v"),
        (["--split", "al"], "unknown split of mine 'al'; did you mean all"),
    ],
)
def test_mistakes(spec: Path, tmp_path: Path, options: list[object], says: str) -> None:
    with pytest.raises(AvadetError, match=says):
        call(spec, "--out", tmp_path / "out", *options)
    with pytest.raises(AvadetError, match="split all has 3 keyframes, but none of their videos has a file; check"):
        call(spec, "videos.folder=nowhere", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
