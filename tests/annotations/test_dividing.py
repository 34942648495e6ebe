"""Dividing videos: shares, sources that stay together, classes on both sides, and the files that come of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from each_case import each_case
from hypothesis import given, settings
from hypothesis import strategies as st

from avadet.annotations.ava import AvaTable
from avadet.annotations.dividing import choose_validation, read_groups, source_group
from avadet.annotations.division_files import split_to_divide, write_division
from avadet.annotations.rules.check import check_data_set
from avadet.annotations.specs import open_data_set
from avadet.annotations.splits import read_split
from avadet.errors import AvadetError


@each_case(
    ("video", "source"),
    [
        ("brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0", "April_09"),
        ("v_Biking_g01_c02", "v_Biking_g01"),
        ("Biking/v_Biking_g01_c02", "Biking/v_Biking_g01"),
        ("aerobic_gymnastics/v_crsi07chcV8_c004", "aerobic_gymnastics/v_crsi07chcV8"),
        ("o3lCwWyyc_s_000012_000022", "o3lCwWyyc_s"),
        ("figures_000", "figures_000"),
        ("1j20qq1JyX4", "1j20qq1JyX4"),
    ],
)
def test_sources_by_name(video: str, source: str) -> None:
    assert source_group(video) == source


def test_a_fifth_of_equal_videos() -> None:
    names = [f"v{index}" for index in range(20)]
    chosen = choose_validation(names, np.full((20, 1), 7), {}, 0.2)
    assert len(chosen) == 4 and chosen == sorted(chosen) and set(chosen) <= set(names)
    assert chosen == choose_validation(names, np.full((20, 1), 7), {}, 0.2)
    others = {tuple(choose_validation(names, np.full((20, 1), 7), {}, 0.2, seed)) for seed in range(4)}
    assert len(others) > 1


def test_a_class_of_two_videos_is_on_both_sides() -> None:
    counts = np.array([[9, 0]] * 8 + [[9, 3], [9, 3]])
    for seed in range(5):
        chosen = choose_validation([f"v{index}" for index in range(10)], counts, {}, 0.2, seed)
        assert len({"v8", "v9"} & set(chosen)) == 1


def test_a_class_of_one_video_is_trained_on() -> None:
    counts = np.array([[9, 0]] * 9 + [[9, 3]])
    assert "v9" not in choose_validation([f"v{index}" for index in range(10)], counts, {}, 0.2)


def test_sources_stay_together() -> None:
    names = [f"v{index}" for index in range(12)]
    groups = {name: f"g{index // 3}" for index, name in enumerate(names)}
    chosen = choose_validation(names, np.ones((12, 1), np.int64), groups, 0.25)
    assert len(chosen) == 3 and len({groups[name] for name in chosen}) == 1


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 30), st.integers(0, 4), st.floats(0.05, 0.6), st.integers(0, 9))
def test_both_sides_have_something_and_every_class_that_can_is_on_both(
    count: int, classes: int, share: float, seed: int
) -> None:
    counts = np.random.default_rng(seed).integers(0, 3, (count, classes))
    names = [f"v{index:02}" for index in range(count)]
    chosen = choose_validation(names, counts, {}, share, seed)
    assert 0 < len(chosen) < count
    held = np.isin(names, chosen)
    # the rarest class is dealt out first, so nothing can stand in its way
    holders = (counts > 0).sum(axis=0)
    if classes and (holders >= 2).any():
        rarest = int(np.argmin(np.where(holders > 0, holders, count + 1)))
        if holders[rarest] >= 2:
            assert counts[held, rarest].any() and counts[~held, rarest].any()


@each_case("share", [0, 1, -0.1])
def test_shares_that_leave_nothing(share: float) -> None:
    with pytest.raises(AvadetError, match="must lie between 0 and 1"):
        choose_validation(["a", "b"], np.ones((2, 1), np.int64), {}, share)


def test_one_source_cannot_be_divided() -> None:
    with pytest.raises(AvadetError, match="2 videos of 1 source cannot be divided"):
        choose_validation(["a", "b"], np.ones((2, 1), np.int64), {"a": "x", "b": "x"}, 0.5)


def test_groups_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_text('a,x\n"b,c",x\n')
    assert read_groups(tmp_path / "groups.csv") == {"a": "x", "b,c": "x"}
    (tmp_path / "groups.csv").write_text("a,x\nb\n")
    with pytest.raises(AvadetError, match=r"groups.csv:2: expected video_id,group, got 'b'"):
        read_groups(tmp_path / "groups.csv")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    root = tmp_path / "mine"
    root.mkdir()
    rows = [f"v{video},{second:04},0.100,0.1,0.5,0.5,{4 + video % 2},1" for video in range(10) for second in range(3)]
    (root / "gt.csv").write_text("".join(f"{row}\n" for row in [*rows, "v3,9"]))
    (root / "test.csv").write_text("t,0,0.1,0.1,0.5,0.5,4,1\n")
    (root / "labels.csv").write_text("id,name\n4,walk\n5,wave\n")
    (root / "boxes.csv").write_text("v1,0,0.1,0.1,0.5,0.5\n")
    (root / "mine.yaml").write_text(
        "labels: labels.csv\nvideos: {fps: 25}\nsplits:\n"
        "  all: {annotations: gt.csv, proposals: boxes.csv, counts: {videos: 10}}\n  test: {annotations: test.csv}\n"
    )
    return root / "mine.yaml"


def test_a_divided_set_as_files(mine: Path, tmp_path: Path) -> None:
    data = open_data_set(mine)
    out = tmp_path / "out" / "divided"
    done = write_division(data, "all", 0.2, out)
    assert done.videos == {"train": 8, "val": 2}
    assert done.rows["train"] + done.rows["val"] == 31 and done.rows["val"] in (6, 7)
    parts = {part: (out / f"{part}.csv").read_text().splitlines() for part in ("train", "val")}
    assert sorted(parts["train"] + parts["val"]) == sorted((mine.parent / "gt.csv").read_text().splitlines())
    assert done.one_sided == ()
    again = open_data_set(done.spec)
    assert list(again.spec.splits) == ["train", "val", "test"]
    assert again.labels == data.labels and again.spec.videos.fps == 25
    assert again.path(again.spec.videos.folder).resolve() == (mine.parent / "videos").resolve()
    videos = {part: {video.video_id for video in read_split(again, part).videos} for part in ("train", "val", "test")}
    assert videos["train"] | videos["val"] == {f"v{index}" for index in range(10)} and videos["test"] == {"t"}
    assert {finding.check for finding in check_data_set(again).issues} <= {
        "proposals-strange",  # the one proposal is of the other part
        "proposals-miss",
        "class-without-example",  # of the single test video
    }
    assert yaml.safe_load(done.spec.read_text())["splits"]["train"] == {
        "annotations": "train.csv",
        "proposals": "../../mine/boxes.csv",
    }


def test_parts_keep_their_number_and_its_company(mine: Path, tmp_path: Path) -> None:
    more = ["splits.all.number=2", "splits.test.number=2", "splits.other.annotations=test.csv"]
    done = write_division(open_data_set(mine, None, more), "all", 0.2, tmp_path / "out")
    splits = open_data_set(done.spec).spec.splits
    assert {name: split.number for name, split in splits.items()} == {"train": 2, "val": 2, "test": 2}


def test_which_split_is_meant(mine: Path) -> None:
    data = open_data_set(mine)
    assert split_to_divide(data, "test") == "test"
    with pytest.raises(AvadetError, match=r"mine has the splits all, test; say which to divide: --split NAME"):
        split_to_divide(data, None)
    with pytest.raises(AvadetError, match="unknown split"):
        split_to_divide(data, "tset")
    renamed = mine.read_text().replace("all:", "train:")
    mine.write_text(renamed)
    assert split_to_divide(open_data_set(mine), None) == "train"
    mine.write_text(renamed.partition("  test:")[0])
    assert split_to_divide(open_data_set(mine), None) == "train"


@pytest.mark.shared
def test_jhmdb_divided_by_source(shared: Path, tmp_path: Path) -> None:
    data = open_data_set("jhmdb21", shared / "data/jhmdb21")
    done = write_division(data, "train1", 0.2, tmp_path)
    assert sum(done.videos.values()) == 660 and sum(done.rows.values()) == 22713
    assert 0.18 < done.rows["val"] / 22713 < 0.22
    assert done.one_sided == ()
    again = open_data_set(done.spec)
    sources = [{source_group(video.video_id) for video in read_split(again, part).videos} for part in ("train", "val")]
    assert not sources[0] & sources[1]
    assert list(again.spec.splits) == ["train", "val", "test1"]
    assert check_data_set(again).issues == ()
    whole, *parts = (
        sorted_rows(read_split(*one).table) for one in ((data, "train1"), (again, "train"), (again, "val"))
    )
    both = sorted([*parts[0], *parts[1]], key=lambda row: row[:2])
    assert [row[0] for row in both] == [row[0] for row in whole]
    assert np.array([row[1:] for row in both]) == pytest.approx(np.array([row[1:] for row in whole]), abs=1e-6)


def sorted_rows(table: AvaTable) -> list[tuple[str, float, float, float, float, float, int]]:
    """(video, seconds, x1, y1, x2, y2, class) by video and time."""
    cells = zip(table.video_ids, table.times_s.round(5), *table.boxes_norm.T, table.class_ids)
    return sorted(cells, key=lambda row: row[:2])
