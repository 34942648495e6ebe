"""Specs: the shipped ones, a user's own, and what is said of those that are not right."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from each_case import each_case

from avadet.annotations import rules
from avadet.annotations.ava import read_excluded, read_ground_truth
from avadet.annotations.rules import boxes, check, videos
from avadet.annotations.specs import PartSpec, data_set_names, open_data_set, read_data_spec
from avadet.annotations.split_rows import read_video_list
from avadet.errors import AvadetError
from avadet.files import resource_folder
from avadet.labels import read_label_map

NAMES = ["ava_kinetics", "ava_v2.1", "ava_v2.2", "ava_with_kinetics", "jhmdb21", "multisports", "ucf24"]
MINE = "labels: [walk, wave]\nsplits:\n  train: {annotations: train.csv}\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_every_data_set_has_a_spec_a_page_and_a_sample() -> None:
    assert data_set_names() == NAMES
    for name in NAMES:
        folder = resource_folder("data_specs") / name
        assert {"README.md", "sample.csv", "spec.yaml"} <= {path.name for path in folder.iterdir()}
        assert len((folder / "sample.csv").read_text().splitlines()) in (3, 4)  # with or without header


@each_case("name", NAMES)
def test_every_spec_opens(name: str, tmp_path: Path) -> None:
    data = open_data_set(name, tmp_path)
    assert (data.name, data.root) == (name, tmp_path)
    assert data.spec.title and data.spec.licence and data.spec.urls["home"].startswith("http")
    assert len(data.labels) == {"jhmdb21": 21, "ucf24": 24, "multisports": 66}.get(name, 80)
    splits = set(data.spec.splits)
    assert "train" in splits or "train1" in splits
    for part in splits:
        assert data.split(part) is data.spec.splits[part]


def test_the_clock_of_ava() -> None:
    for name in ("ava_v2.1", "ava_v2.2"):
        spec = read_data_spec(name)
        keyframes = spec.keyframes
        assert (keyframes.every_s, keyframes.first_s, keyframes.last_s) == (1, 902, 1798)
        assert keyframes.last_s - keyframes.first_s + 1 == 897
        assert (spec.videos.starts_at_s, spec.videos.keyframes_name, spec.videos.fps) == (0, "time", None)
    others = [read_data_spec(name) for name in NAMES if not name.startswith("ava_v")]
    assert all(spec.keyframes.first_s is None and spec.videos.starts_at_s == 0 for spec in others)


def test_the_splits_of_jhmdb() -> None:
    splits = read_data_spec("jhmdb21").splits
    assert [(name, one.part, one.number) for name, one in splits.items()] == [
        (f"{part}{number}", part, number) for number in (1, 2, 3) for part in ("train", "test")
    ]
    assert [one.counts.videos for one in splits.values()] == [660, 268, 658, 270, 663, 265]
    assert {splits[f"train{n}"].counts.boxes + splits[f"test{n}"].counts.boxes for n in (1, 2, 3)} == {31852}


def test_a_spec_of_two_lines(tmp_path: Path) -> None:
    data = open_data_set(write(tmp_path / "mine.yaml", MINE))
    assert (data.name, data.root) == ("mine", tmp_path)
    assert (data.labels.names, data.labels.ids, data.labels.exclusive) == (("walk", "wave"), (1, 2), False)
    assert data.path(data.split("train").annotations or Path()) == tmp_path / "train.csv"
    assert data.spec.videos.folder == Path("videos")


def test_labels_by_name_and_from_a_file(tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.yaml", MINE)
    assert open_data_set(mine, None, ["labels=jhmdb21"]).labels == read_label_map("jhmdb21")
    write(tmp_path / "classes.csv", "id,name\n4,run\n9,sit\n")
    assert open_data_set(mine, None, ["labels=classes.csv"]).labels.ids == (4, 9)
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "elsewhere/classes.csv", "id,name\n5,jump\n")
    assert open_data_set(mine, tmp_path / "elsewhere", ["labels=classes.csv"]).labels.names == ("jump",)


@each_case(
    ("text", "says"),
    [
        ("labels: [walk]\n", "splits: missing"),
        ("labels: [walk]\nsplits: {}\n", "splits: [Dd]ictionary should have at least 1 item"),
        ("labels: []\nsplits: {a: {annotations: a.csv}}\n", "labels"),
        ("labels: [walk]\nsplits: {a: {}}\n", "a split needs annotations, or .* a list of its videos"),
        ("labels: [walk]\nsplits: {a: {annotation: a.csv}}\n", r"splits\.a\.annotation: unknown key"),
        (MINE + "videos: {keyframes_name: number}\n", "keyframes_name is 'number', so fps must say"),
        (MINE + "videos: {fps: 0}\n", "videos.fps: input should be greater than 0, got 0"),
        (MINE + "keyframes: {every: 1}\n", "keyframes.every: unknown key; did you mean 'every_s'"),
        (MINE.replace("[walk, wave]", "labels.csv"), "no such label map: .*labels.csv; check the path"),
        ("- walk\n", "must hold a mapping"),
    ],
)
def test_specs_that_are_not_right(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(AvadetError, match=says):
        open_data_set(write(tmp_path / "mine.yaml", text))


def test_names_and_splits_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(AvadetError, match=r"unknown data set .*'ava_v2.3'; did you mean ava_v2.[12]"):
        open_data_set("ava_v2.3", tmp_path)
    with pytest.raises(AvadetError, match=r"no such file: .*mine\.yaml; check the path"):
        open_data_set(tmp_path / "mine.yaml")
    with pytest.raises(AvadetError, match="unknown data set 'ava'"):
        read_data_spec("ava")
    with pytest.raises(AvadetError, match=r"data set ava_v2.2: give the folder that holds its files.*--root DIR"):
        open_data_set("ava_v2.2")
    with pytest.raises(AvadetError, match=r"unknown split of ava_v2\.2 'vall'; did you mean val"):
        open_data_set("ava_v2.2", tmp_path).split("vall")


@each_case("name", ["ava_v2.1", "ava_v2.2", "ava_kinetics", "ava_with_kinetics", "multisports"])
def test_samples_are_ground_truth_with_classes_of_the_map(name: str, tmp_path: Path) -> None:
    table = read_ground_truth(resource_folder("data_specs") / name / "sample.csv")
    assert set(table.class_ids.tolist()) <= {0, *open_data_set(name, tmp_path).labels.ids}


def test_the_readme_explains_every_setting() -> None:
    text = (resource_folder("data_specs") / "README.md").read_text()
    spec = read_data_spec("jhmdb21")
    sections = {
        "videos": spec.videos,
        "videos.frames": spec.videos.frames,
        "keyframes": spec.keyframes,
        "tubes": spec.tubes,
        "": spec,
    }
    keys = {f"{name}.{key}".lstrip(".") for name, section in sections.items() for key in type(section).model_fields}
    split = spec.splits["train1"]
    keys |= {f"splits.NAME.{key}" for key in type(split).model_fields}
    keys |= {f"splits.NAME.counts.{key}" for key in type(split.counts).model_fields}
    keys |= {f"parts.NAME.{key}" for key in PartSpec.model_fields}
    explained = set(re.findall(r"^\| `([a-z_.A-Z]+)`", text, re.MULTILINE))
    assert explained == keys - {
        "videos",
        "videos.frames",
        "keyframes",
        "tubes",
        "parts",
        "splits",
        "splits.NAME.counts",
    }


def test_the_readme_names_every_check() -> None:
    folder = Path(rules.__file__).parent
    sources = [*folder.glob("*.py"), folder.parents[1] / "data" / "deep.py"]
    kinds = "annotations|boxes|class|clips|rows|person|actions|keyframes|excluded|videos|splits|proposals"
    code = "".join(path.read_text() for path in sources)
    names = set(re.findall(rf'"((?:{kinds})-[a-z-]+)"', code)) | {"counts"}
    names |= {f"{of}-{kind}" for of in ("boxes", "proposals") for kind in boxes.KINDS}
    names |= {f"{of}-{kind}" for of in ("keyframes", "proposals") for kind in videos.NO_PICTURE}
    names |= {f"{file}-unreadable" for file in check.FILES}
    text = (resource_folder("data_specs") / "README.md").read_text().partition("What `avadet data check` finds")[2]
    assert set(re.findall(r"`([a-z-]+)`", text)) == names


def test_the_example_of_the_readme_opens(tmp_path: Path) -> None:
    text = (resource_folder("data_specs") / "README.md").read_text()
    examples = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 5
    write(tmp_path / "labels.csv", "id,name\n1,walk\n")
    (tmp_path / "crossing").mkdir()
    write(tmp_path / "crossing" / "mine.yaml", MINE.replace("[walk, wave]", "ava_v2.2"))
    for number, example in enumerate(examples):
        data = open_data_set(write(tmp_path / f"{number}.yaml", example))
        assert {"train", "val"} <= set(data.spec.splits)


@pytest.mark.shared
def test_ava_s_official_files_have_the_counts_of_the_spec(shared: Path) -> None:
    official, splits = shared / "data/ava/official", read_data_spec("ava_v2.2").splits
    for name in ("train", "val", "test"):
        split = splits[name]
        assert split.excluded is not None
        excluded = read_excluded(official / split.excluded)
        assert len(excluded.times_s) == split.counts.excluded
        assert (excluded.times_s >= 902).all() and (excluded.times_s <= 1798).all()
    assert splits["test"].videos is not None
    assert len(read_video_list(official / splits["test"].videos)) == splits["test"].counts.videos == 131
    assert read_video_list(official / "ava_file_names_test_v2.1.txt") == read_video_list(official / "ava_test_v2.2.txt")
    trainval = read_video_list(official / "ava_file_names_trainval_v2.1.txt")
    assert len(trainval) == (splits["train"].counts.videos or 0) + (splits["val"].counts.videos or 0)
    seconds = [int(line) for line in (official / "ava_included_timestamps_v2.2.txt").read_text().split()]
    assert seconds == list(range(902, 1799))
    poses = read_ground_truth(shared / "data/ava/partial/ava_val_v2.1_pose_only.csv")
    assert len(set(poses.video_ids)) == splits["val"].counts.videos
    assert len(set(zip(poses.video_ids, poses.times_s))) == 50029  # of 50,250: some people have no pose


@pytest.mark.shared
def test_jhmdb_has_the_counts_of_the_spec(shared: Path) -> None:
    root = shared / "data/jhmdb21"
    official = json.loads((root / "jhmdb21_splits.json").read_text())
    with (root / "jhmdb21_boxes.csv").open() as file:
        rows = [row["video"] for row in csv.DictReader(file)]
    for split in read_data_spec("jhmdb21").splits.values():
        videos = set(official[f"{split.part}_videos"][split.number - 1])
        boxes = sum(video in videos for video in rows)
        assert (split.counts.videos, split.counts.tubes) == (len(videos), len(videos))
        assert split.counts.boxes == split.counts.rows == split.counts.keyframes == boxes
