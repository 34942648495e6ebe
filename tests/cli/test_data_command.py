"""`avadet data check`, `stats` and `split` as people call them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from ava_like import jhmdb_set, rendered_set

from avadet.cli import data as command
from avadet.errors import AvadetError


def call(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six rendered videos and their annotations in one file, as a user might have them."""
    root = tmp_path_factory.mktemp("crossing")
    rendered_set(root, 6, (64, 80), 21, 10)
    (root / "crossing.yaml").write_text("labels: labels.csv\nsplits: {all: {annotations: ground_truth.csv}}\n")
    return root


@pytest.fixture
def spec(rendered: Path, tmp_path: Path) -> Path:
    for name in ("crossing.yaml", "ground_truth.csv", "labels.csv"):
        (tmp_path / name).write_text((rendered / name).read_text())
    (tmp_path / "videos").symlink_to(rendered / "videos")
    return tmp_path / "crossing.yaml"


def test_a_set_that_is_fine(spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.json"
    assert call("check", spec, "--json", out) == 0
    text = capsys.readouterr().out
    rows = len((tmp_path / "ground_truth.csv").read_text().splitlines())
    assert text.splitlines()[0] == f"crossing, in {tmp_path}"
    assert f"all: 6 videos, 18 keyframes, {rows} boxes, {rows} rows: fine" in text
    assert text.endswith("verdict: 0 errors, 0 warnings. Ready for training.\n")
    report = json.loads(out.read_text())
    assert (report["errors"], report["findings"], report["splits"]["all"]["rows"]) == (0, [], rows)


def test_a_set_with_errors(spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "ground_truth.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0].replace(",0.", ",9."), *lines[1:], "gone,0,0.1,0.1,0.5,0.5,1,1"]))
    out = tmp_path / "report.json"
    assert call("check", spec, "--examples", 1, "--json", out) == 1
    text = capsys.readouterr().out
    assert "  error: 1 row has a box in pixels" in text and f"    {table}:1: figures_000,0,9." in text
    assert f"    {table}:{len(lines) + 1}: gone has no file" in text
    assert text.endswith("Fix the errors before training.\n")
    report = json.loads(out.read_text())
    assert {finding["check"] for finding in report["findings"]} >= {"boxes-in-pixels", "videos-missing"}
    assert report["errors"] == 3  # class 1 is none of the three that were rendered


def test_annotations_alone(spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("check", spec, "videos.folder=nowhere", "--no-videos") == 0
    assert call("check", spec, "videos.folder=nowhere") == 1
    assert "which does not exist; say where they are: videos.folder=DIR  [videos-missing]" in capsys.readouterr().out


def test_only_some_splits(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("check", spec, "--split", "all", "--no-videos") == 0
    with pytest.raises(AvadetError, match="unknown split of crossing 'al'; did you mean all"):
        call("check", spec, "--split", "al")


def test_numbers(spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "numbers.json"
    assert call("stats", spec, "--json", out) == 0
    text = capsys.readouterr().out
    assert "all: 6 videos, 18 keyframes" in text and "head" in text
    found = json.loads(out.read_text())["splits"]["all"]
    assert found["hours"] == pytest.approx(6 * 2.1 / 3600, rel=0.05)
    assert {one["name"] for one in found["classes"]} == {"jump", "walk", "wave"}
    assert call("stats", spec, "--no-videos", "--json", out) == 0
    assert json.loads(out.read_text())["splits"]["all"]["hours"] is None


def test_from_one_file_to_two_that_are_fine(spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "divided"
    assert call("split", spec, "--val", 0.34, "--out", out) == 0
    text = capsys.readouterr().out
    assert "4 videos" in text and "2 videos" in text
    assert f"check it with: avadet data check {out / 'crossing.yaml'}" in text
    call("check", out / "crossing.yaml")
    assert "0 errors" in capsys.readouterr().out
    with pytest.raises(AvadetError, match="already there; add --overwrite to replace"):
        call("split", spec, "--out", out)
    assert call("split", spec, "--out", out, "--overwrite") == 0


def test_annotations_are_never_overwritten(spec: Path, tmp_path: Path) -> None:
    (tmp_path / "ground_truth.csv").rename(tmp_path / "train.csv")
    with pytest.raises(AvadetError, match="holds the annotations that are to be divided"):
        call("split", spec, "splits.all.annotations=train.csv", "--out", tmp_path, "--overwrite")


def test_groups_that_stay_together(spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "groups.csv").write_text("".join(f"figures_{n:03},{'left' if n < 3 else 'right'}\n" for n in range(6)))
    assert call("split", spec, "--out", tmp_path / "divided", "--groups", tmp_path / "groups.csv") == 0
    videos = {line.split(",")[0] for line in (tmp_path / "divided/val.csv").read_text().splitlines()}
    assert videos in ({f"figures_{n:03}" for n in range(3)}, {f"figures_{n:03}" for n in range(3, 6)})


def test_what_a_division_loses_is_said(spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test.csv").write_text("")
    more = ["splits.val.annotations=test.csv", "splits.test.annotations=test.csv"]
    assert call("split", spec, *more, "--split", "all", "--out", tmp_path / "divided") == 0
    assert f"warning: {spec}'s own val is not in the new YAML; its names were needed" in capsys.readouterr().err
    assert "test: {annotations: ../test.csv}" in (tmp_path / "divided/crossing.yaml").read_text()


@pytest.mark.shared
def test_a_set_made_of_jhmdb(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two clips side by side, several in a row: several people and labels, exclusions, a clock that starts at 900 s."""
    spec = jhmdb_set(tmp_path / "own", shared / "data" / "jhmdb21", count=3, clips=2)
    assert call("check", spec) == 0
    text = capsys.readouterr().out
    assert "train: 2 videos" in text and "val: 1 videos" in text and "verdict: 0 errors" in text
    assert call("check", spec, "videos.starts_at_s=0") == 1
    text = capsys.readouterr().out
    assert "2 of 2 videos look cut out of longer ones" in text and "try videos.starts_at_s=900  [videos-offset]" in text
    assert call("stats", spec) == 0
    assert "they find 100.0% of the people" in capsys.readouterr().out
    assert call("split", spec, "--split", "train", "--val", 0.5, "--out", tmp_path / "divided") == 0
    assert call("check", tmp_path / "divided/own.yaml") == 0


def test_every_action_has_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    for action in command.ACTIONS:
        with pytest.raises(SystemExit) as stop:
            call(action.name, "--help")
        assert stop.value.code == 0
    with pytest.raises(SystemExit) as stop:
        call()
    assert stop.value.code == 2
