"""What `data check` says of a data set is what training and scoring do with it, and what `data repair` mends."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from each_case import each_case

from avadet.annotations.repair import Change, repair
from avadet.annotations.rules.book import judge
from avadet.annotations.rules.check import check_data_set
from avadet.annotations.rules.issues import has_box
from avadet.annotations.specs import DataSet, open_data_set
from avadet.annotations.split_rows import read_files
from avadet.annotations.splits import split_metadata
from avadet.cli.main import main
from avadet.config import Config
from avadet.data.clips import BrokenSample, ClipDataset
from avadet.data.deep import DAMAGED, check_clips, damaged_rows
from avadet.data.video_facts import metadata_of
from avadet.errors import AvadetError
from avadet.training.data import read_run_data
from avadet.types import ClipSpec
from avadet.video.write import VideoWriter

FPS, SECONDS = 10, 3
A, B = "0.1,0.1,0.4,0.9", "0.5,0.2,0.8,0.8"
SPEC = """
labels: labels.csv
splits:
  train: {annotations: train.csv, proposals: found.csv}
  val: {annotations: val.csv}
"""
CLIP = ClipSpec(4, 2, float(FPS), 32, (0.0,) * 3, (1.0,) * 3)

Lines = dict[str, list[str]]


def film(path: Path, frames: int) -> None:
    with VideoWriter(path, (32, 48), Fraction(FPS)) as writer:
        for index in range(frames):
            writer.write(np.full((32, 48, 3), 5 * index % 250, np.uint8), index / FPS)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for name in ("a", "b", "c"):
        film(folder / f"{name}.mp4", FPS * SECONDS)
    return folder


def whole() -> Lines:
    """Two videos to train on, one to score on: 2 persons each at 25 keyframes, one of whom does two things."""
    files: Lines = {
        "train.csv": [],
        "val.csv": [],
        "found.csv": [],
        "labels.csv": ["id,name", "1,walk", "2,sit", "3,wave"],
    }
    for name in "abc":
        rows = files["val.csv" if name == "c" else "train.csv"]
        for number in range(25):
            time_s = f"{number / 10:g}"
            rows += [f"{name},{time_s},{A},1,7", f"{name},{time_s},{B},{2 + number % 2},8"]
            if name != "c":
                files["found.csv"] += [f"{name},{time_s},{A},,0.9", f"{name},{time_s},{B},,0.9"]
    return files


def lay(folder: Path, films: Path, files: Lines) -> Path:
    for name, lines in files.items():
        (folder / name).write_text("".join(f"{line}\n" for line in lines))
    (folder / "mine.yaml").write_text(SPEC)
    shutil.copytree(films, folder / "videos")
    return folder / "mine.yaml"


def row(files: Lines, number: int, change: Callable[[list[str]], list[str]], file: str = "train.csv") -> None:
    files[file][number] = ",".join(change(files[file][number].split(",")))


def cells(**values: str) -> Callable[[list[str]], list[str]]:
    """Change cells by name."""
    names = ("video", "time", "x1", "y1", "x2", "y2", "action", "last")
    return lambda old: [values.get(name, cell) for name, cell in zip(names, old)]


def every(files: Lines, change: Callable[[list[str]], list[str]], file: str = "train.csv") -> None:
    for number in range(len(files[file])):
        row(files, number, change, file)


def later(seconds: float) -> Callable[[Lines], None]:
    def change(files: Lines) -> None:
        for file in ("train.csv", "val.csv", "found.csv"):
            every(files, lambda old: [old[0], f"{float(old[1]) + seconds:g}", *old[2:]], file)

    return change


def as_frames(files: Lines) -> None:
    for file in ("train.csv", "val.csv", "found.csv"):
        every(files, lambda old: [old[0], f"{float(old[1]) * FPS:.0f}", *old[2:]], file)


def pixels(old: list[str]) -> list[str]:
    sides = [f"{float(side) * size:g}" for side, size in zip(old[2:6], (48, 32, 48, 32))]
    return [*old[:2], *sides, *old[6:]]


def sizes(old: list[str]) -> list[str]:
    x1, y1, x2, y2 = map(float, old[2:6])
    return [*old[:2], f"{x1:g}", f"{y1:g}", f"{x2 - x1:g}", f"{y2 - y1:g}", *old[6:]]


def many_past_the_end(files: Lines) -> None:
    for number in range(40, 60):
        row(files, number, cells(time=f"9.{number}"))


def without_action(files: Lines) -> None:
    for number, text in enumerate(("", "-1", "0")):
        row(files, number, cells(action=text))


def from_zero(files: Lines) -> None:
    for file in ("train.csv", "val.csv"):
        every(files, lambda old: [*old[:6], str(int(old[6]) - 1), *old[7:]], file)


def add(*rows: str) -> Callable[[Lines], None]:
    return lambda files: files["train.csv"].extend(rows)


def changed(number: int, **values: str) -> Callable[[Lines], None]:
    return lambda files: row(files, number, cells(**values))


def all_of_b(files: Lines) -> None:
    files["train.csv"] = [line for line in files["train.csv"] if line[0] != "b"]


SITUATIONS: dict[str, tuple[Callable[[Lines], None], dict[str, str]]] = {
    "whole": (lambda files: None, {}),
    "one past the end": (changed(99, time="9.5"), {"keyframes-past-end": "drop"}),
    "many past the end": (many_past_the_end, {"keyframes-past-end": "error"}),
    "at the very end": (add(f"a,3,{A},1,7", f"a,3.04,{A},1,9"), {}),
    "a keyframe of nobody past the end": (add("a,9.5"), {"keyframes-past-end": "drop"}),
    "below 0": (changed(3, time="-1"), {"keyframes-negative": "error"}),
    "without action": (without_action, {"class-missing": "keep"}),
    "without the column": (add("a,0.1,0.82,0.1,0.95,0.3"), {"class-missing": "keep"}),
    "nobody does anything": (lambda files: every(files, cells(action="")), {"class-none": "error"}),
    "ids from 0": (from_zero, {"class-unknown": "error"}),
    "an id outside the map": (changed(5, action="12"), {"class-unknown": "error"}),
    "a pixel outside": (changed(5, x2="1.02"), {"boxes-outside": "clip"}),
    "rounding": (changed(5, x2="1.0004"), {}),
    "one in pixels": (lambda files: row(files, 5, pixels), {"boxes-in-pixels": "error"}),
    "all in pixels": (lambda files: every(files, pixels), {"boxes-in-pixels": "error"}),
    "proposals in pixels": (lambda files: every(files, pixels, "found.csv"), {"proposals-in-pixels": "error"}),
    "corners the wrong way": (changed(5, x1="0.9"), {"boxes-inverted": "error"}),
    "width and height": (lambda files: every(files, sizes), {"boxes-inverted": "error"}),
    "no number": (changed(5, x1="nan"), {"boxes-no-number": "error"}),
    "without area": (changed(5, x1="0.8", x2="0.8"), {"boxes-empty": "drop"}),
    "away": (changed(5, x1="1.2", x2="1.5"), {"boxes-away": "drop"}),
    "repeated": (add(f"a,0,{A},1,7", f"a,0,{A},1,7"), {"rows-twice": "drop"}),
    "a box with another class": (add(f"a,0,{A},3,7"), {}),
    "no ids": (lambda files: every(files, lambda old: old[:7]), {}),
    "902 s later": (later(902), {"videos-offset": "error"}),
    "half a second more": (later(902.5), {"videos-offset": "error"}),
    "frame numbers": (as_frames, {"keyframes-numbers": "error"}),
    "a video in both": (add(f"c,0,{A},1,7"), {"splits-share-videos": "error"}),
    "a video without rows": (all_of_b, {}),
    "a score of 90": (lambda files: row(files, 5, cells(last="90"), "found.csv"), {"proposals-score": "error"}),
    "a proposal inside out": (
        lambda files: row(files, 5, cells(x1="0.9"), "found.csv"), {"proposals-inverted": "drop"}
    ),
}  # fmt: skip


def config(spec: Path, **loss: str) -> Config:
    values: dict[str, Any] = {
        "device": "cpu",
        "run_dir": spec.parent / "run",
        "data": {"spec": str(spec), "batch_size": 2, "proposals": {} if "proposals" in spec.read_text() else None},
        "loss": {"kind": "bce"} | loss,
    }
    return Config.model_validate(values)


@each_case("name", SITUATIONS)
def test_training_does_what_check_says(name: str, films: Path, tmp_path: Path) -> None:
    change, expected = SITUATIONS[name]
    files = whole()
    change(files)
    spec = lay(tmp_path, films, files)
    data = open_data_set(spec)
    issues = check_data_set(data, read_metadata=metadata_of).issues
    said = {issue.check: issue.action for issue in issues}
    binding = {check: action for check, action in said.items() if check not in _ADVICE}
    assert binding == expected
    errors = "error" in said.values()
    assert main(["data", "check", str(spec)]) == errors
    if errors:
        with pytest.raises(AvadetError) as stop:
            read_run_data(config(spec))
        first = next(issue for issue in issues if issue.severity == "error")
        assert first.message in str(stop.value)
        return
    run = read_run_data(config(spec))
    assert _used(run.train) == _allowed(data, run)
    notes = " ".join(run.describe())
    assert all(issue.message in notes for issue in issues if issue.action != "keep")
    clips = ClipDataset(run.train, CLIP)
    assert not [number for number in range(len(run.train)) if isinstance(clips[0, number], BrokenSample)]


_ADVICE = {
    "class-without-example", "person-in-two-places", "proposals-miss", "proposals-unlisted", "videos-without-rows"
}  # fmt: skip
"""What is said of these situations as well, and changes nothing."""


def _used(index: Any) -> int:
    """Persons' actions in the index: one for each class of a person, one for a person without any."""
    return int(index.labels.sum() + (~index.labels.any(axis=1)).sum())


def _allowed(data: DataSet, run: Any) -> int:
    """The same by the rows that the rules leave, with proposals: each of them is a true box, which it joins."""
    rows = read_files(data, "train")
    assert rows is not None
    ledger = judge(rows, split_metadata(rows, metadata_of))
    dropped = ledger.chosen(rows.annotated, lambda issue: issue.action == "drop")
    kept = has_box(rows.table) & ~dropped
    extra = len(run.train.labels) - len({*map(tuple, _persons(rows.table, kept))})
    return int(kept.sum()) + extra


def _persons(table: Any, kept: np.ndarray) -> list[tuple[Any, ...]]:
    boxes = np.clip(table.boxes_norm, 0, 1).round(6).tolist()
    return [(table.video_ids[n], table.times_s[n], *boxes[n]) for n in np.flatnonzero(kept)]


def mend(spec: Path, out: Path) -> tuple[Path, list[Change]]:
    return repair(open_data_set(spec), out, metadata_of, lambda fixes: open_data_set(spec, None, fixes))


@each_case("name", [name for name, (_, expected) in SITUATIONS.items() if "class-none" not in expected])
def test_repair_writes_what_the_rules_allow(name: str, films: Path, tmp_path: Path) -> None:
    files = whole()
    SITUATIONS[name][0](files)
    spec = lay(tmp_path, films, files)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    path, changes = repair(
        open_data_set(spec), tmp_path / "out", metadata_of, lambda more: open_data_set(spec, None, more)
    )
    assert all(old.read_bytes() == text for old, text in before.items())
    mended = open_data_set(path)
    left = check_data_set(mended, read_metadata=metadata_of).issues
    assert not [issue for issue in left if issue.action != "keep"]
    with (tmp_path / "out/changes.csv").open() as text:
        assert len(list(csv.DictReader(text))) == len(changes)
    assert bool(changes) == any(action != "keep" for action in SITUATIONS[name][1].values())
    dropped = sum(not change.after for change in changes if change.file.endswith("train.csv"))
    assert len((tmp_path / "out/train.csv").read_text().splitlines()) == len(files["train.csv"]) - dropped
    again, more = mend(path, tmp_path / "again")
    assert not more
    for file in ("train.csv", "val.csv", "train_proposals.csv"):
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "out" / file).read_bytes()
    assert read_run_data(config(again)).train.labels.any()


@each_case(
    ("name", "after"),
    [
        ("all in pixels", f"a,0,{A},1,7"),
        ("width and height", f"a,0,{A},1,7"),
        ("ids from 0", f"a,0,{A},1,7"),
        ("whole", f"a,0,{A},1,7"),
    ],
)
def test_what_can_be_put_right_is(name: str, after: str, films: Path, tmp_path: Path) -> None:
    files = whole()
    SITUATIONS[name][0](files)
    spec = lay(tmp_path, films, files)
    mend(spec, tmp_path / "out")
    lines = (tmp_path / "out/train.csv").read_text().splitlines()
    assert lines[0] == after and len(lines) == len(files["train.csv"])


def test_the_command_repairs_and_says_what(films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = whole()
    changed(99, time="9.5")(files)
    changed(5, x2="1.02")(files)
    spec = lay(tmp_path, films, files)
    assert main(["data", "repair", str(spec), "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "1 changed: boxes-outside" in out and "1 dropped: keyframes-past-end" in out and "2 changes" in out
    rows = list(csv.reader((tmp_path / "out/changes.csv").open()))
    assert rows[0] == ["file", "line", "what", "before", "after"]
    assert rows[1][:3] == [str(tmp_path / "train.csv"), "6", "boxes-outside"]
    assert rows[1][3:] == ["a,0.2,0.5,0.2,1.02,0.8,2,8", "a,0.2,0.5,0.2,1,0.8,2,8"]
    assert main(["data", "repair", str(spec), "--out", str(tmp_path)]) == 1
    assert "is the data set's own folder; choose another" in capsys.readouterr().err


def test_missing_and_broken_videos(films: Path, tmp_path: Path) -> None:
    spec = lay(tmp_path, films, whole())
    (tmp_path / "videos/a.mp4").unlink()
    for check in ("videos-missing", "videos-unreadable"):
        said = {issue.check: issue for issue in check_data_set(open_data_set(spec), read_metadata=metadata_of).issues}
        assert said[check].action == "error" and set(said) == {check}
        with pytest.raises(AvadetError, match="1 of 2 videos"):
            read_run_data(config(spec))
        (tmp_path / "videos/a.mp4").write_bytes(b"no video")
    path, changes = mend(spec, tmp_path / "out")
    assert {change.what for change in changes if change.file.endswith("train.csv")} == {"videos-unreadable"}
    assert {line[0] for line in (tmp_path / "out/train.csv").read_text().splitlines()} == {"b"}
    assert len(read_run_data(config(path)).train) == 25


def test_a_video_shorter_than_a_clip(films: Path, tmp_path: Path) -> None:
    files = whole()
    files["train.csv"] = [line for line in files["train.csv"] if line[0] == "a" or float(line.split(",")[1]) < 0.2]
    files["found.csv"] = files["found.csv"][:50]
    spec = lay(tmp_path, films, files)
    film(tmp_path / "videos/b.mp4", 2)
    issues = check_data_set(open_data_set(spec), read_metadata=metadata_of).issues
    assert {issue.check for issue in issues} <= _ADVICE
    index = read_run_data(config(spec)).train
    assert len(index) == 27
    clips = ClipDataset(index, CLIP)
    assert not [number for number in range(len(index)) if isinstance(clips[0, number], BrokenSample)]


def test_exclusive_labels_take_one_class_a_box(films: Path, tmp_path: Path) -> None:
    files = whole()
    files["train.csv"] += [f"a,0,{A},3,7", f"a,0.1,{A},3,9"]  # by another id: it is the same box
    spec = lay(tmp_path, films, files)
    (tmp_path / "labels.yaml").write_text(
        "exclusive: true\nclasses: [{id: 1, name: walk}, {id: 2, name: sit}, {id: 3, name: wave}]\n"
    )
    spec.write_text(SPEC.replace("labels.csv", "labels.yaml"))
    (issue,) = [
        one for one in check_data_set(open_data_set(spec), read_metadata=metadata_of).issues if one.severity == "error"
    ]
    assert (issue.check, issue.count) == ("actions-several", 2)
    with pytest.raises(AvadetError, match="2 rows have a second action of a person"):
        read_run_data(config(spec))
    path, changes = mend(spec, tmp_path / "out")
    assert [change.before for change in changes] == files["train.csv"][-2:]
    assert len(read_run_data(config(path, kind="cross_entropy")).train.labels) == 100


@pytest.mark.parametrize(("kind", "refused"), [("cross_entropy", True), ("bce", False)])
def test_one_class_that_everybody_has(kind: str, refused: bool, films: Path, tmp_path: Path) -> None:
    files = whole()
    for file in ("train.csv", "val.csv"):
        every(files, cells(action="1"), file)
    files["labels.csv"] = ["id,name", "1,walk"]
    spec = lay(tmp_path, films, files)
    issues = check_data_set(open_data_set(spec), read_metadata=metadata_of).issues
    assert [(issue.check, issue.action, issue.split) for issue in issues] == [
        ("class-of-everybody", "keep", "train"),
        ("class-of-everybody", "keep", "val"),
    ]
    assert "frame-mAP only measures boxes; loss.kind=cross_entropy is refused" in issues[0].message
    if refused:
        with pytest.raises(AvadetError, match="asks which class a person does, and there is one class"):
            read_run_data(config(spec, kind=kind))
    else:
        assert issues[0].message in " ".join(read_run_data(config(spec, kind=kind)).describe())


def test_a_map_that_starts_at_0_is_refused_everywhere(films: Path, tmp_path: Path) -> None:
    """0 stands for no action in every file of AVA's form: as a class it would be learned as none."""
    files = whole()
    from_zero(files)
    files["labels.csv"] = ["id,name", "0,walk", "1,sit", "2,wave"]
    spec = lay(tmp_path, films, files)
    with pytest.raises(AvadetError, match="class ids must be 1 or more, got 0"):
        open_data_set(spec)
    truth, labels = str(tmp_path / "val.csv"), str(tmp_path / "labels.csv")
    assert main(["eval", truth, "--gt", truth, "--labels", labels]) == 1


@pytest.mark.shared
def test_damaged_pictures_are_named_and_left_out(shared: Path, tmp_path: Path) -> None:
    source = shared / "data/faults/datasets/03_damaged_inside"
    if not source.is_dir():
        pytest.skip("the data sets with faults are not there")
    spec = Path(shutil.copytree(source, tmp_path / "set")) / "mine.yaml"
    data = open_data_set(spec)
    assert not check_data_set(data, read_metadata=metadata_of).issues
    rows = read_files(data, "train")
    assert rows is not None
    (issue,) = check_clips(rows, 0.5)
    assert (issue.check, issue.action) == (DAMAGED, "error") and "keyframes of v2" in issue.message
    index = read_run_data(config(spec)).train
    clips = ClipDataset(index, ClipSpec(4, 2, 15.0, 32, (0.0,) * 3, (1.0,) * 3))
    broken = [index.key(n).time_s for n in range(len(index)) if isinstance(clips[0, n], BrokenSample)]
    marked = damaged_rows(rows, 0.6).rows[rows.file, DAMAGED]
    assert broken and set(broken) <= set(rows.table.times_s[marked].tolist())
    path, changes = repair(data, tmp_path / "out", metadata_of, lambda more: data, lambda own: damaged_rows(own, 0.6))
    assert {change.what for change in changes} == {DAMAGED}
    index = read_run_data(config(path)).train
    clips = ClipDataset(index, ClipSpec(4, 2, 15.0, 32, (0.0,) * 3, (1.0,) * 3))
    assert not [n for n in range(len(index)) if isinstance(clips[0, n], BrokenSample)]
