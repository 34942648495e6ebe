"""Files as other projects and tools leave them, from `avadet data convert` to `avadet data check`."""

from __future__ import annotations

import argparse
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from each_case import each_case

from avadet.annotations.box_files import read_boxes
from avadet.cli import data as command
from avadet.errors import AvadetError

SIZE = ("--size", "320x240")
BOXES = {
    "v0,0000": np.array([[0.1, 0.2, 0.4, 0.9, 0.98], [0.5, 0.2, 0.8, 0.9, 0.97]]),
    "v0,0001": np.array([[0.1, 0.2, 0.4, 0.9, 0.95]]),
    "v1,902": np.zeros((0, 5)),
}


def call(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture
def faults(shared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shared / "data/faults/datasets", tmp_path / "faults"))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("source", "options", "told", "first"),
    [
        (
            "06_person_without_action/annotations.xml",
            ["--fps", 15],
            "15 are persons without an action",
            "v0,0,0.09375,",
        ),
        ("07_via_pictures_of_frames/proj_finish.json", ["--fps", 30, *SIZE], "2 videos, 9 classes", "1,2.033333,"),
        ("08_cvat_job_export/cvat_2026_job.xml", ["--fps", 15, "--video", "clip"], "10 boxes", "clip,0,0.09375,"),
        ("09_cvat_source_in_meta/cvat_2021_task.xml", ["--fps", 15], "10 boxes", "clip07,0,0.09375,"),
        ("14_ids_that_are_text/annotations.xml", ["--fps", 15], "1 class, 1 track", "v0,0,0.09375,"),
        ("20_via_segments/via_seg.json", [*SIZE], "2 boxes, 2 keyframes, 1 video, 2 classes", "scene00,0.4,0.0625,"),
    ],
)
def test_files_of_tools(
    faults: Path, source: str, options: list[object], told: str, first: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = faults / "out.csv"
    assert call("convert", faults / source, out, "--new-labels", faults / "labels.csv", *options) == 0
    assert told in capsys.readouterr().out
    assert out.read_text().startswith(first)
    (faults / "own.yaml").write_text("labels: labels.csv\nsplits:\n  train: {annotations: out.csv}\n")
    call("check", faults / "own.yaml", "--no-videos")
    errors = [line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("error")]
    assert errors == []


@pytest.mark.shared
def test_what_files_of_tools_do_not_tell(faults: Path) -> None:
    via, job = faults / "07_via_pictures_of_frames/proj_finish.json", faults / "08_cvat_job_export/cvat_2026_job.xml"
    with pytest.raises(AvadetError, match="numbers of frames in their names; to make seconds of them add --fps N"):
        call("convert", via, faults / "out.csv", "--new-labels", faults / "labels.csv", *SIZE)
    with pytest.raises(AvadetError, match="does not name its video; add --video NAME"):
        call("convert", job, faults / "out.csv", "--new-labels", faults / "labels.csv", "--fps", 15)
    assert not (faults / "out.csv").exists()


@pytest.mark.shared
@pytest.mark.parametrize("name", ["semicolons", "tabs", "header"])
def test_forms_of_csv(faults: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    source, folder = faults / f"13_csv_forms/{name}.csv", faults / "toy"
    assert call("convert", source, faults / "out.csv", *(() if name == "header" else ("--last", "person_id"))) == 0
    rows = (faults / "out.csv").read_text().splitlines()
    assert len(rows) == 4 and rows[0] == "v0,0.1,0.1,0.2,0.4,0.9,1,0"
    shutil.copy(source, folder / "train.csv")
    call("check", folder / "mine.yaml", "--split", "train")
    assert "error" not in capsys.readouterr().out.replace("0 errors", "")


@pytest.mark.shared
def test_proposals_of_mmaction2(faults: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call("check", faults / "12_proposals_pkl/mine.yaml")
    assert "proposals-unreadable" not in capsys.readouterr().out


@pytest.mark.shared
def test_corrected_annotations_of_ucf24(faults: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = faults / "19_ucf24_pyannot"
    (folder / "own.yaml").write_text(
        "labels: ucf24\nvideos: {keyframes_name: number, fps: 25, size_hw: [240, 320]}\ntubes: {}\n"
        "splits:\n  all: {annotations: pyannot.pkl}\n"
    )
    call("check", folder / "own.yaml", "--no-videos")
    said = capsys.readouterr().out
    assert "annotations-unreadable" not in said and "3 keyframes" in said


def proposals(folder: Path, content: Any, protocol: int = 4) -> Path:
    path = folder / "proposals.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@each_case("protocol", [0, 2, 4, 5])
@each_case("form", ["text", "pair", "nested", "lists", "float32"])
def test_pickled_proposals(tmp_path: Path, form: str, protocol: int) -> None:
    split = {key: (key.split(",")[0], int(key.split(",")[1])) for key in BOXES}
    nested: dict[str, Any] = {}
    for key, (video, second) in split.items():
        nested.setdefault(video, {})[second] = BOXES[key]
    content = {
        "text": BOXES,
        "pair": {split[key]: boxes for key, boxes in BOXES.items()},
        "nested": nested,
        "lists": {key: boxes.tolist() for key, boxes in BOXES.items()},
        "float32": {key: boxes.astype(np.float32) for key, boxes in BOXES.items()},
    }[form]
    table = read_boxes(proposals(tmp_path, content, protocol))
    assert table.video_ids.tolist() == ["v0", "v0", "v0", "v1"] and table.times_s.tolist() == [0, 0, 1, 902]
    assert table.boxes_norm[1] == pytest.approx([0.5, 0.2, 0.8, 0.9]) and not table.boxes_norm[3].any()
    assert table.scores == pytest.approx([0.98, 0.97, 0.95, 1.0])
    assert table.lines is not None and not table.lines.any() and table.notes == ()


def test_pickled_proposals_without_scores(tmp_path: Path) -> None:
    table = read_boxes(proposals(tmp_path, {"a,b,1.5": BOXES["v0,0000"][:, :4]}))
    assert table.scores is None and (table.video_ids.tolist(), table.times_s.tolist()) == (["a,b"] * 2, [1.5, 1.5])
    assert len(read_boxes(proposals(tmp_path, {}))) == 0


class _Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("ran",))


@each_case(
    ("content", "says"),
    [
        ([1], "expected a dict of 'VIDEO,SECONDS' to boxes, as mmaction2's proposals are, got a list"),
        ({"v0": np.zeros((1, 5))}, "expected a dict of .*got the key"),
        ({"v0,soon": np.zeros((1, 5))}, "got the key"),
        ({"v0,1": np.zeros((1, 3))}, r"'v0,1' must be \(n, 4\) x1,y1,x2,y2 or \(n, 5\) with scores, got \(1, 3\)"),
        ({"v0,1": "boxes"}, "'v0,1' must be .* got str"),
        (
            {"v0,1": np.array([[10.0, 20, 30, 40, 1]])},
            r"proposals.pkl: row 1: column 3 \(x1\) is '10', .*divide pixels",
        ),
        ({"v0,1": np.array([[0, 0, 1, 1, 98.0]])}, r"row 1: column 8 \(score\) is 98, .*divide percent by 100"),
        ({"v0,1": _Runs()}, "refused, it asks to run"),
    ],
)
def test_pickles_that_are_no_proposals(
    tmp_path: Path, content: Any, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AvadetError, match=says) as error:
        read_boxes(proposals(tmp_path, content))
    assert "\n" not in str(error.value) and capsys.readouterr().out == ""


def test_boxes_whose_ids_are_text_are_certain_and_text_among_scores_is_a_mistake(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("v,1,0,0,1,1,12,ped_1\nv,2,0,0,1,1,12,2\n")
    table = read_boxes(path)
    assert table.scores is None and table.person_ids is not None and table.person_ids.tolist() == [3, 2]
    assert "'ped_1' = 3" in " ".join(table.notes)
    path.write_text("v,1,0,0,1,1,12,O.5\nv,2,0,0,1,1,12,0.5\n")
    with pytest.raises(AvadetError, match=r":1: column 8 .* is 'O.5', expected a number, as others are scores"):
        read_boxes(path)


def test_a_header_tells_what_column_8_is(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    for name, ids in (("score", None), ("person_id", [1, 0])):
        path.write_text(f"video_id,timestamp,x1,y1,x2,y2,label,{name}\nv,1,0,0,1,1,12,1\nv,1,0,0,0.5,1,12,0\n")
        table = read_boxes(path)
        assert (None if table.person_ids is None else table.person_ids.tolist()) == ids
