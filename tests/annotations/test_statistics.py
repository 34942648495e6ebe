"""A split in numbers, counted by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from avadet.annotations.specs import open_data_set
from avadet.annotations.splits import read_split
from avadet.annotations.statistics import SplitStatistics, split_statistics

SPEC = """
labels: [walk, sit, wave, swim]
splits:
  train: {annotations: gt.csv, excluded: excluded.csv, proposals: boxes.csv}
"""
# three people in four keyframes of two videos; the person of "b" does two things
ROWS = [
    "a,0,0.0,0.0,0.5,0.4,1,1",
    "a,0,0.5,0.0,1.0,0.6,1,2",
    "a,1,0.0,0.0,0.5,0.4,1,1",
    "a,2",
    "b,0,0.2,0.2,0.4,1.0,2,1",
    "b,0,0.2,0.2,0.4,1.0,1,1",
    "b,0,0.2,0.2,0.4,1.0,3,1",
]


def counted(folder: Path, rows: list[str], hours: float | None = None) -> SplitStatistics:
    (folder / "my.yaml").write_text(SPEC)
    (folder / "gt.csv").write_text("".join(f"{row}\n" for row in rows))
    (folder / "excluded.csv").write_text("a,7\n")
    # finds two of four people: the first, and the last by 0.16 of 0.2 (IoU 0.8); IoU 0.25 with the second is too little
    boxes = ["a,0,0,0,0.5,0.4,,0.9", "a,0,0.5,0,1,0.15,,0.8", "b,0,0.2,0.36,0.4,1,,0.7", "b,7,0,0,1,1,,0.7"]
    (folder / "boxes.csv").write_text("".join(f"{row}\n" for row in boxes))
    data = open_data_set(folder / "my.yaml")
    return split_statistics(read_split(data, "train"), data.labels, hours)


def test_numbers_by_hand(tmp_path: Path) -> None:
    found = counted(tmp_path, ROWS, hours=1.5)
    assert found.counts == {"videos": 2, "keyframes": 4, "boxes": 4, "rows": 6, "tubes": 5, "excluded": 1}
    assert found.boxes_each_keyframe == (1.0, 2)
    assert found.labels_each_box == 6 / 4
    assert found.heights == pytest.approx((0.4, 0.4, 0.5, 0.65, 0.77))
    assert found.areas[2] == pytest.approx((0.2 + 0.2) / 2)
    assert found.proposals is not None
    assert (found.proposals.boxes, found.proposals.each_keyframe, found.proposals.recall) == (4, 3 / 4, 2 / 4)


def test_classes_by_how_often_they_occur(tmp_path: Path) -> None:
    classes = counted(tmp_path, ROWS).classes
    assert [(one.class_id, one.name, one.rows, one.videos, one.place) for one in classes] == [
        (1, "walk", 4, 2, "head"),
        (2, "sit", 1, 1, "middle"),  # before it 4 of 6 rows
        (3, "wave", 1, 1, "middle"),  # 5 of 6 are fewer than 90%
        (4, "swim", 0, 0, "none"),
    ]
    rare = [f"a,{second},0,0,0.5,0.4,1,1" for second in range(90)] + ["b,0,0,0,0.5,0.4,2,1"]
    assert [one.place for one in counted(tmp_path, rare).classes] == ["head", "tail", "none", "none"]


def test_the_table(tmp_path: Path) -> None:
    text = counted(tmp_path, ROWS, hours=1.5).table()
    assert text.splitlines()[0] == "train: 2 videos, 4 keyframes, 4 boxes, 6 rows, 1 excluded keyframes, 1.5 hours"
    assert "people a keyframe   1.00, at most 2" in text
    assert "4, 0.75 a keyframe; they find 50.0% of the people (IoU 0.5)" in text
    assert re.search(r"^ +1  walk +4 +66\.7% +2  head$", text, re.MULTILINE)
    assert text.endswith("without an example (1): swim")
    assert "not evaluated" not in text
    assert counted(tmp_path, ROWS, hours=0.1).table().splitlines()[0].endswith(", 6.0 minutes")
    assert counted(tmp_path, ROWS, hours=0.0025).table().splitlines()[0].endswith(", 9 seconds")


def test_a_split_without_people(tmp_path: Path) -> None:
    found = counted(tmp_path, ["a,0", "a,1"])
    assert (found.counts["keyframes"], found.counts["boxes"], found.heights) == (2, 0, ())
    assert found.proposals is not None and found.proposals.recall is None
    assert "without an example (4)" in found.table() and "hours" not in found.table()
    assert found.json()["classes"][0]["place"] == "none"


@pytest.mark.shared
def test_a_minute_of_ava(shared: Path, tmp_path: Path) -> None:
    part = shared / "data/ava/partial/ava_val_v2.2_1j20qq1JyX4_0902-0969.csv"
    (tmp_path / "ava.yaml").write_text(f"labels: ava_v2.2\nsplits: {{val: {{annotations: {part}}}}}\n")
    data = open_data_set(tmp_path / "ava.yaml")
    found = split_statistics(read_split(data, "val"), data.labels)
    assert {key: found.counts[key] for key in ("videos", "keyframes", "boxes", "rows")} == {
        "videos": 1,
        "keyframes": 68,
        "boxes": 99,
        "rows": 246,
    }
    assert [(one.name, one.rows) for one in found.classes[:2]] == [
        ("stand", 89),
        ("talk to (e.g., self, a person, a group)", 55),
    ]
    assert "[crawl]" in found.table() and "[classes in brackets] are not evaluated" in found.table()
