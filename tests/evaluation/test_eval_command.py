"""`avadet eval` as people call it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from avadet.cli.main import main

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    found, true = tmp_path / "det.csv", tmp_path / "gt.csv"
    true.write_text("v,0902,0.1,0.1,0.5,0.9,12,1\nv,0903,0.1,0.1,0.5,0.9,12,1\n")
    found.write_text("v,0902,0.1,0.1,0.5,0.9,12,0.5\nv,0903,0.55,0.1,0.95,0.9,12,0.9\n")
    return str(found), str(true)


def test_table_and_json(files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out" / "eval.json"
    assert main(["eval", files[0], "--gt", files[1], "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "frame-mAP@0.5" in printed
    assert "protocol activitynet" in printed
    report = json.loads(out.read_text())
    assert (report["mAP"], report["ap"]["12"], report["num_gt"]["12"]) == (0.25, 0.25, 2)
    assert report["ap"]["1"] is None


def test_explained_as_text_json_and_page(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, page = tmp_path / "eval.json", tmp_path / "eval.html"
    assert main(["eval", files[0], "--gt", files[1], "--json", str(out), "--html", str(page)]) == 0
    printed = capsys.readouterr().out
    # of two people one is found at precision 1/2 (a wrong box ranks above), the other not at all: AP 1/4
    assert re.search(r"reached +25\.00", printed)
    assert re.search(r"person not found +50\.00", printed)
    assert re.search(r"background +25\.00", printed)
    assert re.search(r"with the same boxes and perfect actions +50\.00", printed)
    assert "no intervals: they take 2 videos" in printed
    report = json.loads(out.read_text())
    assert report["losses"]["all"] == {
        "person not found": 0.5,
        "box too loose": 0.0,
        "found, action not said": 0.0,
        "other action": 0.0,
        "duplicate": 0.0,
        "background": 0.25,
    }
    assert report["losses"]["by_class"]["1"]["background"] is None
    assert report["bounds"]["true_boxes"] == {"mAP": 0.5, "ap": {**dict.fromkeys(report["ap"]), "12": 0.5}}
    assert report["slices"]["people in the frame"]["1 person"] == {"num_gt": 2, "recall": 0.5, "mAP": 0.25}
    assert report["intervals"]["mAP"] == [None, None]
    assert report["mAP_tie_lo"] == report["mAP_tie_hi"] == 0.25
    assert "25.00" in page.read_text(encoding="utf-8")


def test_no_intervals_when_none_are_asked_for(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "eval.json"
    assert main(["eval", files[0], "--gt", files[1], "--explain", "--resamples", "0", "--json", str(out)]) == 0
    assert "resamples" not in capsys.readouterr().out
    assert json.loads(out.read_text())["intervals"] is None


def test_confusions_are_told_by_class_id(files: tuple[str, str], tmp_path: Path) -> None:
    Path(files[1]).write_text("v,0902,0.1,0.1,0.5,0.9,12,1\nv,0902,0.55,0.1,0.95,0.9,11,2\n")
    Path(files[0]).write_text("v,0902,0.1,0.1,0.5,0.9,12,0.5\nv,0902,0.55,0.1,0.95,0.9,12,0.9\n")
    out = tmp_path / "eval.json"
    assert main(["eval", files[0], "--gt", files[1], "--explain", "--json", str(out)]) == 0
    assert json.loads(out.read_text())["losses"]["other_action"]["12"] == {"11": 0.5}


@pytest.mark.parametrize(
    ("found", "true", "labels"), [("-d", "-g", "-l"), ("--detections", "--groundtruth", "--labelmap")]
)
def test_the_arguments_of_the_official_script_are_understood(
    files: tuple[str, str], found: str, true: str, labels: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", labels, "ava_v2.1", true, files[1], found, files[0]]) == 0
    assert re.search(r"frame-mAP@0\.5 +25\.00", capsys.readouterr().out)


@pytest.mark.parametrize("more", [[], ["-d", "det.csv"]])
def test_detections_are_named_once(files: tuple[str, str], more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["eval", "--gt", files[1], *([files[0], *more] if more else [])])
    assert stop.value.code == 2
    assert "DET.csv" in capsys.readouterr().err


def test_excluded_keyframes_and_other_labels(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    excluded, labels = tmp_path / "excluded.csv", tmp_path / "labels.pbtxt"
    excluded.write_text("v,903\n")
    labels.write_text('item { name: "stand" id: 12 }')
    assert main(["eval", files[0], "--gt", files[1], "--exclude", str(excluded), "--labels", str(labels)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["12", "stand", "pose", "1", "1", "1", "100.00"]
    assert len(lines) == 5


def test_warnings_go_to_stderr(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    Path(files[0]).write_text("v,0902,0.1,0.1,1.2,0.9,12,0.5\n")
    assert main(["eval", files[0], "--gt", files[1]]) == 0
    assert "1 of 1 rows have a box that reaches outside 0-1" in capsys.readouterr().err


@pytest.mark.parametrize("which", [0, 1])
def test_boxes_in_pixels_are_refused_with_their_number(
    files: tuple[str, str], which: int, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(files[which]).write_text("v,0902,0.1,0.1,0.5,0.9,12,1\n" + "v,0902,32,24,160,216,12,1\n" * 2)
    assert main(["eval", files[0], "--gt", files[1]]) == 1
    says = f"{files[which]}:2: column 3 (x1) is '32', expected from 0 to 1; divide pixels by the frame's width (x)"
    err = capsys.readouterr().err
    assert says in err and "(and 1 more such rows, to line 3)" in err


def test_odd_rows_of_the_truth_are_told(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """The protocols count a duplicate, know no person without an action, and leave foreign classes out."""
    row = "v,0902,0.1,0.1,0.5,0.9,12,1\n"
    Path(files[1]).write_text(
        row + row + "v,0903,0.1,0.1,0.5,0.9,,1\nv,0903,0.1,0.1,0.5,0.9,99,1\nv,0903,0.6,0,0.9,1,-1,1\n"
    )
    Path(files[0]).write_text(row)
    assert main(["eval", files[0], "--gt", files[1]]) == 0
    out, err = capsys.readouterr()
    assert re.search(r"frame-mAP@0\.5 +50\.00", out)
    assert "1 of 5 rows of the ground truth are duplicates; each of them counts (line 2)" in err
    assert "2 of 5 rows of the ground truth are persons without an action; they are no target (line 3)" in err
    assert (
        "1 of 5 rows of the ground truth have a class id that is not in the label map; they are left out (line 4)"
        in err
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--labels", "ava"], "unknown label map"),
        (["--protocol", "voc"], "unknown protocol 'voc'"),
        (["--exclude", "absent.csv"], "cannot read absent.csv"),
    ],
)
def test_mistakes_are_one_line(
    files: tuple[str, str], arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", files[0], "--gt", files[1], *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("avadet: error: ")
    assert says in captured.err
    assert captured.err.count("\n") == 1


def test_a_bad_row_writes_nothing(files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path(files[0]).write_text("v,0902,0.1,abc,0.5,0.9,12,0.5\n")
    out = tmp_path / "eval.json"
    assert main(["eval", files[0], "--gt", files[1], "--json", str(out)]) == 1
    assert f"{files[0]}:1: column 4 (y1) is 'abc'" in capsys.readouterr().err
    assert not out.exists()


def test_the_tool_is_the_command(files: tuple[str, str]) -> None:
    tool = [sys.executable, str(REPOSITORY / "tools/evaluate.py"), files[0], "--gt", files[1]]
    done = subprocess.run(tool, capture_output=True, text=True, check=True)
    assert "frame-mAP@0.5" in done.stdout


def test_tubes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, true, out = tmp_path / "det.csv", tmp_path / "gt.csv", tmp_path / "tubes.json"
    times = ["0", "0.033333", "0.066667"]
    true.write_text("".join(f"wave/v,{time},0.1,0.1,0.5,0.9,21,1\n" for time in times))
    # the box is there in all three frames, but half as high as it should be in the last: IoU 1, 1, 1/2
    bottoms = ["0.9", "0.9", "0.5"]
    rows = [f"wave/v,{time},0.1,0.1,0.5,{bottom},21,0.8\n" for time, bottom in zip(times, bottoms)]
    found.write_text("".join(rows))
    command = ["eval", str(found), "--gt", str(true), "--labels", "jhmdb21", "--tubes", "--json", str(out)]
    assert main(command) == 0
    assert re.search(r"video-mAP +1 +1 +100\.00 +100\.00 +100\.00", capsys.readouterr().out)
    report = json.loads(out.read_text())
    # overlap 5/6: found at 0.5, 0.55, ... 0.8 and missed at 0.85, 0.9 and 0.95
    assert report["video_mAP"]["0.5:0.95"] == pytest.approx(0.7)
    assert report["frame_mAP"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--tubes", "--labels", "jhmdb21", "--explain"], "--explain is about frames"),
        (["--tubes", "--labels", "jhmdb21", "--protocol", "slowfast"], "--protocol is about frames"),
        (["--tubes"], "unknown data set with tubes 'ava_v2.2'"),
        (["--split", "1"], "--split goes with --tubes"),
    ],
)
def test_options_that_do_not_go_together(
    files: tuple[str, str], arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", files[0], "--gt", files[1], *arguments]) == 1
    assert says in capsys.readouterr().err
