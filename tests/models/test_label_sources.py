"""Label maps by name, from files of every kind, and what is said where there is none."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from avadet.annotations.tubes import read_tube_spec
from avadet.cli.main import main
from avadet.errors import AvadetError
from avadet.labels import read_label_map
from avadet.models.zoo.label_sources import read_labels
from avadet.types import LabelMap

TWO = LabelMap(("walk", "wave"), (1, 2), ("action", "action"), (True, True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A spec, a training run, results of inference, and files that hold no label map."""
    (tmp_path / "mine.yaml").write_text("labels: [walk, wave]\nsplits:\n  val: {annotations: gt.csv}\n")
    (tmp_path / "other.yaml").write_text("labels: names.csv\nsplits:\n  val: {annotations: gt.csv}\n")
    (tmp_path / "names.csv").write_text("id,name\n1,walk\n2,wave\n")
    card = json.dumps({"format": 1, "labels": dataclasses.asdict(TWO)})
    for place in ("run/model.json", "results/clip.run.json", "results/other.run.json", "mixed/a.run.json"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(card)
    (tmp_path / "run/model.safetensors").write_bytes(b"")
    (tmp_path / "mixed/b.run.json").write_text(json.dumps({"labels": "jhmdb21"}))
    (tmp_path / "no_labels.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    "name", ["mine.yaml", "other.yaml", "names.csv", "run", "run/model.json", "run/model.safetensors", "results"]
)
def test_files_and_folders(folder: Path, name: str) -> None:
    assert read_labels(folder / name) == TWO


def test_names() -> None:
    assert read_labels("ava_kinetics") == read_labels("ava_v2.2") == read_label_map("ava_v2.2")
    assert read_labels("slowfast_r50_8x8_ava") == read_label_map("ava_v2.2")
    assert len(read_labels("tiny")) > 1


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "ava_v22",
            r"unknown label map 'ava_v22'; did you mean .*ava_v2.2.*no such file or folder either: give",
        ),
        ("tinny", "did you mean tiny"),
        (
            "maps/none.pbtxt",
            r"no such label map: maps/none.pbtxt; check the path, or give .*names: .*ava_v2.2",
        ),
        ("FOLDER/no_labels.json", "no_labels.json: holds no label map; expected a model's card"),
        ("FOLDER/empty", r"no label map in this folder \(model.json or \*.run.json\); give a .pbtxt"),
        ("FOLDER/mixed", "a.run.json and b.run.json have different label maps; name one"),
    ],
)
def test_what_is_none(folder: Path, name: str, says: str) -> None:
    with pytest.raises(AvadetError, match=says) as error:
        read_labels(name.replace("FOLDER", str(folder)))
    assert "\n" not in str(error.value)


def test_tubes_by_the_rules_of_a_users_spec(folder: Path) -> None:
    spec = folder / "tubes.yaml"
    spec.write_text(
        "labels: [walk]\nvideos: {fps: 50, size_hw: [10, 20]}\ntubes: {}\nsplits:\n  a: {annotations: g.csv}\n"
    )
    assert (read_tube_spec(spec).fps, read_tube_spec("jhmdb21").fps) == (50.0, 30.0)
    with pytest.raises(AvadetError, match="tubes count frames; its spec must say tubes"):
        read_tube_spec(folder / "mine.yaml")


@pytest.mark.parametrize("labels", ["mine.yaml", "results", "run/model.safetensors"])
def test_eval_takes_them(folder: Path, labels: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "gt.csv").write_text("v,1,0,0,1,1,2,7\n")
    (folder / "det.csv").write_text("v,1,0,0,1,1,2,0.5\n")
    words = ["eval", folder / "det.csv", "--gt", folder / "gt.csv", "--labels", folder / labels]
    assert main([str(word) for word in words]) == 0
    assert "wave" in capsys.readouterr().out
