"""`avadet compare` as people call it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from avadet.cli.main import main

SECONDS = [f"v{video},{second:04d}" for video in range(11) for second in (902, 903)]


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str, str]:
    """A has a false positive above every true one, B has none."""
    a, b, true = (tmp_path / name for name in ("a.csv", "b.csv", "gt.csv"))
    true.write_text("".join(f"{start},0.1,0.1,0.5,0.9,12,1\n" for start in SECONDS))
    right = [f"{start},0.1,0.1,0.5,0.9,12,0.{n + 10}\n" for n, start in enumerate(SECONDS)]
    wrong = [f"{start},0.55,0.1,0.95,0.9,12,0.{n + 40}\n" for n, start in enumerate(SECONDS)]
    a.write_text("".join(right + wrong))
    b.write_text("".join(right))
    return str(a), str(b), str(true)


def test_table_and_json(files: tuple[str, str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b, true = files
    out = tmp_path / "out" / "compare.json"
    arguments = ["compare", a, b, "--gt", true, "--resamples", "50", "--seed", "3", "--json", str(out)]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[:2] == [f"A = {a}", f"B = {b}"]
    assert "12  stand" in printed.out
    assert "B is better: B - A is +50.00 (95% +50.00 to +50.00)" in lines
    assert "from 50 resamples of 11 videos, the same for A and B" in lines
    assert printed.err == ""
    report = json.loads(out.read_text())
    assert (report["a"], report["b"]) == (a, b)
    assert (report["mAP"]["a"], report["mAP"]["b"], report["mAP"]["better"]) == (0.5, 1.0, "B")
    assert report["resamples"] == 50


def test_rules_are_those_of_eval(
    files: tuple[str, str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b, true = files
    excluded, labels = tmp_path / "excluded.csv", tmp_path / "labels.pbtxt"
    excluded.write_text("v0,902\nv0,903\n")
    labels.write_text('item { name: "upright" id: 12 }')
    arguments = ["--exclude", str(excluded), "--labels", str(labels), "--protocol", "mmaction2"]
    assert main(["compare", a, b, "--gt", true, *arguments]) == 0
    printed = capsys.readouterr().out
    assert "12  upright" in printed
    assert "resamples of 10 videos" in printed
    assert "protocol mmaction2" in printed


def test_one_video_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    true, found = tmp_path / "gt.csv", tmp_path / "det.csv"
    true.write_text("v,0902,0.1,0.1,0.5,0.9,12,1\n")
    found.write_text("v,0902,0.1,0.1,0.5,0.9,12,0.5\n")
    assert main(["compare", str(found), str(found), "--gt", str(true)]) == 0
    assert "no intervals: they take 2 videos" in capsys.readouterr().out


def test_warnings_name_their_file(files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    a, b, true = files
    Path(b).write_text("v0,0902,0.1,0.1,1.2,0.9,12,0.5\n")
    assert main(["compare", a, b, "--gt", true, "--resamples", "5"]) == 0
    assert f"avadet: warning: {b}: 1 of 1 rows have a box that reaches outside 0-1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--resamples", "0"], "resamples must be 1 or more, got 0"),
        (["--protocol", "voc"], "unknown protocol 'voc'"),
        (["--exclude", "absent.csv"], "cannot read absent.csv"),
    ],
)
def test_mistakes_are_one_line(
    files: tuple[str, str, str], arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b, true = files
    assert main(["compare", a, b, "--gt", true, *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("avadet: error: ")
    assert says in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.shared
def test_a_file_against_itself(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shared / "parity/eval/small"
    packed = tmp_path / "det.csv.gz"
    packed.write_bytes(gzip.compress((folder / "det.csv").read_bytes()))
    assert main(["compare", str(folder / "det.csv"), str(packed), "--gt", str(folder / "gt.csv")]) == 0
    printed = capsys.readouterr().out
    assert "no difference: every resample gives both the same" in printed
    assert "3 videos are few" in printed
