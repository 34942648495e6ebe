"""`avadet data convert` as people call it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from ava_like import rendered_set

from avadet.cli import data as command
from avadet.errors import AvadetError

TRUTH = "v,0902,0.100,0.100,0.500,0.900,12,1\nv,0902,0.100,0.100,0.500,0.900,79,1\nv,0903\n"
BOXES = "file,frame,x1,y1,x2,y2,label\nfigures_000.mp4,20,8,16,40,64,walk\nfigures_000.mp4,30,8,16,40,64,sit\n"


def call(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(["convert", *(str(argument) for argument in arguments)]))


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    path = tmp_path / "gt.csv"
    path.write_text(TRUTH)
    return path


def test_around_and_back(truth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    goals = [tmp_path / name for name in ("a.json", "b.xml", "c.via.json", "d.table.csv", "e.csv")]
    wanted = [[], [], ["--to", "via"], ["--to", "csv"], []]
    for source, goal, options in zip([truth, *goals], goals, wanted):
        assert call(source, goal, "--labels", "ava_v2.2", "--size", "200x100", *options) == 0
    printed = capsys.readouterr()
    assert goals[-1].read_text() == TRUTH
    read = ["AVA's CSV", "COCO JSON", "CVAT XML", "VGG Image Annotator JSON", "a CSV with header: video=video_id"]
    for source, how, goal in zip([truth, *goals], read, goals):
        assert f"{source}: {how}" in printed.out
        assert f"{goal}: 3 rows in 2 keyframes\n" in printed.out
    assert printed.err == ""
    document = json.loads(goals[0].read_text())
    assert document["annotations"][0]["bbox"] == pytest.approx([20, 10, 80, 80])
    assert {"id": 12, "name": "stand", "group": "pose"} in document["actions"]


def test_a_table_of_pixels_and_frames_with_its_videos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rendered_set(tmp_path, 1, (64, 80), 5, 10)
    source, goal, labels = tmp_path / "boxes.csv", tmp_path / "out.csv", tmp_path / "labels_new.csv"
    source.write_text(BOXES)
    assert call(source, goal, "--videos", tmp_path / "videos", "--new-labels", labels) == 0
    assert goal.read_text() == "figures_000,2,0.1,0.25,0.5,1,1\nfigures_000,3,0.1,0.25,0.5,1,2\n"
    assert labels.read_text() == "id,name\n1,walk\n2,sit\n"
    assert f"{labels}: 2 actions" in capsys.readouterr().out
    assert call(goal, tmp_path / "out.xml", "--videos", tmp_path / "videos", "--labels", labels) == 0
    assert 'width="80" height="64"' in (tmp_path / "out.xml").read_text()
    assert capsys.readouterr().err == ""


def test_a_nominal_size_is_said(truth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(truth, tmp_path / "out.xml") == 0
    assert "boxes are pixels of frames taken to be 640x480; say --size or --videos" in capsys.readouterr().err


def test_what_is_left_out_and_idle_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "in.json", tmp_path / "out.csv"
    document = {
        "images": [{"id": 1, "file_name": "v_7.jpg", "width": 10, "height": 20}],
        "annotations": [{"id": i, "image_id": 1, "category_id": i, "bbox": [0, 0, 5, 5]} for i in (1, 2)],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}],
    }
    source.write_text(json.dumps(document))
    assert call(source, target) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[1:] == [
        f"{target}: 1 rows in 1 keyframes; left out 1 annotations that are no people",
        "1 of them are people without an action",
    ]
    assert target.read_text() == "v,7,0,0,0.5,0.25\n"


@pytest.mark.parametrize(
    ("source", "target", "options", "says"),
    [
        ("gt.csv", "out.txt", [], "out.txt: expected a .csv, .json or .xml file to write"),
        ("gt.csv", "gt.csv", [], "gt.csv is the file to read; write to another"),
        ("gt.csv", "out.json", ["--images", "x.json"], "--images is for reading coco, but .*gt.csv is ava"),
        ("gt.csv", "out.json", ["--fps", 5], "--fps is for reading cvat or via or csv, but .*gt.csv is ava"),
        ("gt.csv", "out.json", ["--labels", "ava"], "unknown label map"),
        ("gt.csv", "out.json", ["--labels", "ava_v2.2", "--new-labels", "x"], "give one of them"),
        ("gt.csv", "out.json", ["--videos", "nowhere"], "--videos nowhere: no such folder"),
        ("gt.csv", "out.json", ["--from", "coco"], r"gt.csv:1: not JSON at column 1"),
        ("gone.json", "out.csv", [], "cannot read .*gone.json"),
        ("boxes.csv", "out.csv", ["--columns", "video"], "--columns: expected ROLE=COLUMN, got 'video'"),
    ],
)
def test_mistakes(truth: Path, tmp_path: Path, source: str, target: str, options: list[object], says: str) -> None:
    (tmp_path / "boxes.csv").write_text(BOXES)
    with pytest.raises(AvadetError, match=says) as error:
        call(tmp_path / source, tmp_path / target, *options)
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["boxes.csv", "gt.csv"]
    assert truth.read_text() == TRUTH


def test_sizes_are_two_whole_numbers(truth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call(truth, tmp_path / "out.json", "--size", "640")
    assert "must be WIDTHxHEIGHT in pixels, such as 640x480, got '640'" in capsys.readouterr().err
