"""`avadet eval-persons` as people call it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import ModuleType

import pytest

from avadet.cli import eval_persons
from avadet.errors import AvadetError

TRUTH = "v,0902,0.100,0.100,0.500,0.900,12,1\nv,0902,0.100,0.100,0.500,0.900,79,1\nv,0903\n"


def call(command: ModuleType, *arguments: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    code: int = command.run(parser.parse_args([str(argument) for argument in arguments]))
    return code


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    found, true = tmp_path / "boxes.csv", tmp_path / "gt.csv"
    true.write_text(TRUTH)
    found.write_text("v,902,0.1,0.1,0.5,0.9,,0.75\nv,903,0.1,0.1,0.5,0.9,,0.5\n")
    return found, true


def test_table_and_json(files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out" / "people.json"
    assert call(eval_persons, files[0], "--gt", files[1], "--json", out) == 0
    printed = capsys.readouterr()
    assert "AP at IoU 0.5            100.00" in printed.out
    assert "1 people and 2 boxes in 2 keyframes" in printed.out
    assert "640x480" in printed.out
    assert printed.err == ""
    report = json.loads(out.read_text())
    assert (report["ap"], report["ap_small"], report["num_people"]) == (pytest.approx(1), None, 1)
    assert report["by_score"][0] == {"score": 0.0, "num_boxes": 2, "recall": 1.0, "precision": 0.5}


def test_excluded_keyframes_and_warnings(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    excluded = tmp_path / "excluded.csv"
    excluded.write_text("v,903\n")
    files[0].write_text("v,902,0,0,1.5,1,12,0.5\nv,903,0,0,1,1,12,0.5\n")
    assert call(eval_persons, files[0], "--gt", files[1], "--exclude", excluded) == 0
    printed = capsys.readouterr()
    assert "1 people and 1 boxes in 1 keyframes" in printed.out
    assert f"avadet: warning: {files[0]}: 1 of 2 rows have a box that reaches outside 0-1" in printed.err


@pytest.mark.parametrize("row", ["v,902,0.1,0.1,0.5,0.9", "v,902,0.1,0.1,0.5,0.9,12", "v,902,0.1,0.1,0.5,0.9,12,0.5"])
def test_boxes_of_every_width(files: tuple[Path, Path], row: str, capsys: pytest.CaptureFixture[str]) -> None:
    files[0].write_text(f"{row}\n")
    assert call(eval_persons, files[0], "--gt", files[1]) == 0
    assert "1 people and 1 boxes in 2 keyframes" in capsys.readouterr().out


def test_times_cut_off_after_six_digits_cost_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A third of the frames of 30 a second ends in ...667 where it is rounded and in ...666 where it is cut off."""
    found, true = tmp_path / "boxes.csv", tmp_path / "gt.csv"
    box = "0.1,0.1,0.5,0.9"
    true.write_text("".join(f"v,{n / 30:.6f},{box},12,0\n" for n in range(30)))
    found.write_text("".join(f"v,{n * 1_000_000 // 30 / 1e6:.6f},{box},,0.75\n" for n in range(30)))
    assert found.read_text().splitlines()[11].startswith("v,0.366666,")
    assert true.read_text().splitlines()[11].startswith("v,0.366667,")
    assert call(eval_persons, found, "--gt", true) == 0
    printed = capsys.readouterr()
    assert "AP at IoU 0.5            100.00" in printed.out and "30 people and 30 boxes in 30 keyframes" in printed.out
    assert printed.err == ""


def test_ids_of_persons_are_no_scores(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    files[0].write_text("v,902,0.1,0.1,0.5,0.9,12,0\nv,902,0.6,0.1,0.9,0.9,12,7\n")
    assert call(eval_persons, files[0], "--gt", files[1]) == 0
    printed = capsys.readouterr()
    assert "AP at IoU 0.5            100.00" in printed.out  # equal scores: the first one counts first
    assert printed.err.startswith(f"avadet: warning: {files[0]}: column 8 holds ids of persons, no scores")


def test_a_bad_row_writes_nothing(files: tuple[Path, Path], tmp_path: Path) -> None:
    files[0].write_text("v,0902,0.1,abc,0.5,0.9,12,0.5\n")
    out = tmp_path / "people.json"
    with pytest.raises(AvadetError, match=r"boxes.csv:1: column 4 \(y1\) is 'abc'"):
        call(eval_persons, files[0], "--gt", files[1], "--json", out)
    assert not out.exists()
