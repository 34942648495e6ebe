"""Data sets joined in one spec: splits add up, each keeps its clock and rules, what cannot be joined is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from each_case import each_case

from avadet.annotations.rules.check import check_data_set
from avadet.annotations.specs import DataSet, open_data_set
from avadet.annotations.splits import read_split
from avadet.annotations.statistics import split_statistics
from avadet.cli.main import main
from avadet.data.keyframes import ProposalRule, training_index
from avadet.errors import AvadetError

WHOLE = {
    "labels": ["walk", "wave"],
    "parts": {"films": {"spec": "films/films.yaml"}, "clips": {"spec": "clips/clips.yaml"}},
    "splits": {
        "train": {"join": ["films:train", "clips:train"], "counts": {"videos": 4, "keyframes": 6, "rows": 6}},
        "val": {"join": ["films:val"]},
    },
}
FILMS = {
    "labels": ["walk", "wave"],
    "videos": {"starts_at_s": 900},
    "keyframes": {"every_s": 1, "first_s": 902},
    "splits": {
        "train": {"annotations": "train.csv", "excluded": "out.csv", "counts": {"videos": 2, "excluded": 1}},
        "val": {"annotations": "val.csv"},
    },
}
CLIPS = {
    "labels": ["walk", "wave"],
    "videos": {"starts": "starts.csv"},
    "splits": {"train": {"annotations": "train.csv"}},
}
ROWS = {
    "films/train.csv": ["b,902,0.1,0.1,0.5,0.5,1,7", "b,902,0.1,0.1,0.5,0.5,2,7", "d,903,0.1,0.1,0.5,0.5,1,8", "d,904"],
    "films/val.csv": ["e,902,0.1,0.1,0.5,0.5,1,9"],
    "films/out.csv": ["d,903"],
    "clips/train.csv": ["c,16.5,0.2,0.2,0.6,0.6,2", "a,105.2,0.2,0.2,0.6,0.6,2", "a,105.7,0.2,0.2,0.6,0.6,2"],
    "clips/starts.csv": ["a,100", "c,12"],
}
BOXES = {
    "films/people.csv": ["b,902,0.1,0.1,0.5,0.5,,0.9", "d,903,0.1,0.1,0.5,0.5,,0.9"],
    "clips/people.csv": ["a,105.2,0.7,0.2,0.9,0.6"],
}


def lay(folder: Path, **changes: object) -> Path:
    """Write the sets; a change is FILE=value, with "__" for "/" and "_csv" for its ending."""
    files: dict[str, object] = {"whole": WHOLE, "films/films": FILMS, "clips/clips": CLIPS, **ROWS, **BOXES}
    files |= {name.replace("__", "/").replace("_csv", ".csv"): value for name, value in changes.items()}
    for name, value in files.items():
        path = folder / (name if name.endswith(".csv") else f"{name}.yaml")
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            "".join(f"{row}\n" for row in value) if name.endswith(".csv") else yaml.safe_dump(value, sort_keys=False)
        )
    return folder / "whole.yaml"


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    return open_data_set(lay(tmp_path))


def test_counts_add_up_and_every_video_keeps_its_clock(data: DataSet) -> None:
    parts = [read_split(data.parts[name], "train") for name in ("films", "clips")]
    split = read_split(data, "train")
    assert [(video.video_id, video.starts_at_s) for video in split.videos] == [
        ("a", 100), ("b", 900), ("c", 12), ("d", 900)
    ]  # fmt: skip
    assert len(split.table) == sum(len(part.table) for part in parts) == 7
    assert split.table.person_ids is not None and split.table.person_ids.tolist() == [7, 7, 8, -1, -1, -1, -1]
    assert split.lines is not None and split.lines.tolist() == [1, 2, 3, 4, 1, 2, 3]
    assert (split.excluded.video_ids.tolist(), split.excluded.times_s.tolist()) == (["d"], [903])
    assert split.proposals is None
    counted = split_statistics(split, data.labels, None).json()
    single = [split_statistics(part, data.labels, None).json() for part in parts]
    for kind, number in {"videos": 4, "keyframes": 6, "boxes": 5, "rows": 6, "excluded": 1}.items():
        assert counted["counts"][kind] == sum(one["counts"][kind] for one in single) == number
    assert [video.video_id for video in read_split(data, "val").videos] == ["e"]


def test_targets_of_both_without_the_excluded(data: DataSet) -> None:
    targets = training_index(read_split(data, "train"), data.labels)
    keys = [(targets.key(row).video_id, targets.key(row).time_s) for row in range(len(targets))]
    assert sorted(keys) == [("a", 105.2), ("a", 105.7), ("b", 902), ("c", 16.5)]
    seconds = {key: targets.video(row).file_times_s(np.array([key[1]])).item() for row, key in enumerate(keys)}
    assert seconds == pytest.approx({("a", 105.2): 5.2, ("a", 105.7): 5.7, ("b", 902): 2, ("c", 16.5): 4.5})


def test_found_people_of_both(tmp_path: Path) -> None:
    changes = [f"parts.{part}.overrides=[splits.train.proposals=people.csv]" for part in ("films", "clips")]
    data = open_data_set(lay(tmp_path), None, changes)
    split = read_split(data, "train")
    assert split.proposals is not None and split.proposals.scores is not None
    assert split.proposals.scores.tolist() == pytest.approx([0.9, 0.9, 1.0])  # a box without a score is sure
    targets = training_index(split, data.labels, ProposalRule())
    nobody = ~targets.labels.any(axis=1)
    assert nobody.sum() == 1 and targets.boxes_norm[nobody][0].tolist() == pytest.approx([0.7, 0.2, 0.9, 0.6])
    some = open_data_set(tmp_path / "whole.yaml", None, changes[:1])
    with pytest.raises(AvadetError, match="joins films:train, clips:train, of which clips:train has no proposals"):
        read_split(some, "train")
    assert "proposals-of-some" in {finding.check for finding in check_data_set(some).issues}


def test_a_video_of_both_is_an_error(tmp_path: Path) -> None:
    data = open_data_set(lay(tmp_path, clips__train_csv=["d,14,0.2,0.2,0.6,0.6,2"]))
    with pytest.raises(AvadetError, match="video 'd' is in both films:train and clips:train, which split train joins"):
        read_split(data, "train")
    found = {finding.check: finding for finding in check_data_set(data).issues}
    assert found["videos-in-two-parts"].split == "train"
    assert "films/train.csv:3" in found["videos-in-two-parts"].examples[0]
    assert "clips/train.csv:1" in found["videos-in-two-parts"].examples[0]


def checks(data: DataSet) -> set[str]:
    return {finding.check for finding in check_data_set(data).issues if finding.severity == "error"}


def test_each_part_is_checked_by_its_own_rules(tmp_path: Path) -> None:
    """Decimal seconds and early ones are right for clips and wrong for films; counts are of the whole."""
    assert checks(open_data_set(lay(tmp_path))) == set()
    found = check_data_set(open_data_set(tmp_path / "whole.yaml")).issues
    assert not [finding for finding in found if finding.check == "class-without-example" and finding.split == "train"]
    wrong = lay(tmp_path / "wrong", films__train_csv=["b,901,0.1,0.1,0.5,0.5,1,7", "d,903.5,0.1,0.1,0.5,0.5,1,7"])
    assert checks(open_data_set(wrong)) == {"keyframes-outside", "keyframes-off-grid"}
    counts = [finding.message for finding in check_data_set(open_data_set(wrong)).issues if finding.check == "counts"]
    assert any(message.startswith("5 rows, a complete split has 6") for message in counts)


def test_splits_that_share_videos_across_parts(tmp_path: Path) -> None:
    data = open_data_set(lay(tmp_path, films__val_csv=["c,902,0.1,0.1,0.5,0.5,1,9"]))
    assert "splits-share-videos" in checks(data)


@each_case(
    ("changes", "says"),
    [
        ({"splits": {"train": {"join": ["films:all"]}}}, "unknown split of films 'all'"),
        ({"splits": {"train": {"join": ["film:train"]}}}, r"unknown part that split train of whole joins.*'film'"),
        ({"splits": {"train": {"join": ["films"]}}}, "unknown split of films ''"),
        ({"splits": {"train": {"join": ["films:train"], "proposals": "x.csv"}}}, "has no proposals of its own"),
        ({"splits": {"train": {"join": []}}}, "splits.train.join"),
        ({"labels": ["walk", "sit"]}, "part films of whole has 2 classes, whole has 2, and they are not the same"),
        ({"parts": {"films": {"spec": "whole.yaml"}}}, "part films of whole, whole.yaml, joins others itself"),
    ],
)
def test_joins_that_are_not_right(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    lay(tmp_path, whole={**WHOLE, **changes})
    with pytest.raises(AvadetError, match=says):
        open_data_set(tmp_path / "whole.yaml")


def test_commands_that_write_are_for_each_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = lay(tmp_path)
    for command in (["prepare"], ["split"]):
        assert main(["data", *command, str(whole), "--out", str(tmp_path / "out")]) == 1
        assert "whole joins others in its splits train, val;" in capsys.readouterr().err
    assert main(["data", "stats", str(whole), "--no-videos", "--split", "train"]) == 0
    assert "4" in capsys.readouterr().out
    assert main(["data", "check", str(whole), "--no-videos"]) == 0
    assert "train: 4 videos, 6 keyframes, 5 boxes, 6 rows" in capsys.readouterr().out


def test_ava_with_kinetics_as_it_is_shipped(tmp_path: Path) -> None:
    data = open_data_set(
        "ava_with_kinetics", tmp_path, ["parts.ava.overrides=[videos.starts_at_s=900, splits.val.proposals=val.csv]"]
    )
    assert [(part.root, name) for part, name in data.sources("train")] == [
        (tmp_path / "ava", "train"),
        (tmp_path / "kinetics", "train"),
    ]
    assert data.parts["ava"].spec.videos.starts_at_s == 900 and data.parts["kinetics"].spec.videos.starts_at_s == 0
    assert data.parts["ava"].spec.keyframes.last_s == 1798 and data.parts["kinetics"].spec.keyframes.last_s is None
    assert data.video_folders() == [tmp_path / "ava" / "videos", tmp_path / "kinetics" / "videos"]
