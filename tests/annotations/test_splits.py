"""Splits read: AVA's CSVs, tubes of both forms, lists, exclusions, where videos lie and when they start."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from avadet.annotations.specs import DataSet, open_data_set
from avadet.annotations.split_rows import read_video_list
from avadet.annotations.splits import find_videos, read_split
from avadet.errors import AvadetError

SPEC = """
labels: [walk, wave]
splits:
  train: {annotations: gt.csv, excluded: excluded.csv, proposals: boxes.csv, videos: videos.txt}
  test: {videos: videos.txt}
"""
TUBES = """
labels: [walk, wave]
videos: {keyframes_name: number, fps: 25, size_hw: [100, 200]}
tubes: {}
splits:
  train: {annotations: x_boxes.csv, part: train}
  test2: {annotations: x_boxes.csv, part: test, number: 2}
  all: {annotations: x_boxes.csv}
"""
ROWS = ["b,1,20,10,40,50,wave,2", "a,2,0,0,100,50,walk,1", "a,1,0,0,100,50,walk,1", "c,1,0,0,9,9,walk,1"]


def lines(path: Path, *rows: str) -> None:
    path.write_text("".join(f"{row}\n" for row in rows))


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    (tmp_path / "my.yaml").write_text(SPEC)
    lines(tmp_path / "gt.csv", "b,1,0.1,0.1,0.5,0.5,1,7", "a,0", "b,2,0.1,0.1,0.5,0.5,2,7")
    lines(tmp_path / "excluded.csv", "b,3")
    lines(tmp_path / "boxes.csv", "b,1,0.1,0.1,0.5,0.5,,0.75")
    lines(tmp_path / "videos.txt", "b.mp4", "", "a", "my film.mkv", "c.d")
    return open_data_set(tmp_path / "my.yaml")


@pytest.fixture
def tubes(tmp_path: Path) -> DataSet:
    (tmp_path / "my.yaml").write_text(TUBES)
    lines(tmp_path / "x_boxes.csv", "video,frame_1based,x1,y1,x2,y2,label,label_id_1based", *ROWS)
    parts = {"train_videos": [["a", "b", "empty"], ["c"]], "test_videos": [["c"], ["b", "a"]]}
    (tmp_path / "x_splits.json").write_text(json.dumps(parts))
    return open_data_set(tmp_path / "my.yaml")


def test_a_split_of_csv_files(data: DataSet) -> None:
    split = read_split(data, "train")
    assert [video.video_id for video in split.videos] == ["a", "b", "c.d", "my film"]
    assert split.table.video_ids.tolist() == ["b", "a", "b"]
    assert split.lines is not None and split.lines.tolist() == [1, 2, 3]
    assert split.table.person_ids is not None and split.table.class_ids.tolist() == [1, 0, 2]
    assert (split.excluded.video_ids.tolist(), split.excluded.times_s.tolist()) == (["b"], [3])
    assert split.proposals is not None and split.proposals.scores is not None
    assert split.proposals.scores.tolist() == [0.75]


def test_a_split_whose_labels_are_not_public(data: DataSet) -> None:
    split = read_split(data, "test")
    assert (len(split.table), len(split.videos), split.proposals) == (0, 4, None)


def test_a_list_of_videos(tmp_path: Path) -> None:
    lines(tmp_path / "list.txt", "\ufeffz.MKV", "a.b.mp4", "a.b.mp4")
    assert read_video_list(tmp_path / "list.txt") == ["a.b", "z"]
    with pytest.raises(AvadetError, match=r"cannot read the list of videos .*none.txt"):
        read_video_list(tmp_path / "none.txt")


def test_tubes_of_a_csv_by_part(tubes: DataSet) -> None:
    split = read_split(tubes, "train")
    assert [video.video_id for video in split.videos] == ["a", "b", "empty"]
    assert split.table.video_ids.tolist() == ["b", "a", "a"]  # in file order, after one line of header
    assert split.lines is not None and split.lines.tolist() == [2, 3, 4]
    assert split.table.times_s.tolist() == [0, 0.04, 0]
    assert split.table.boxes_norm[0] == pytest.approx([0.1, 0.1, 0.2, 0.5])
    assert split.table.class_ids.tolist() == [2, 1, 1]
    other = read_split(tubes, "test2")
    assert [video.video_id for video in other.videos] == ["a", "b"]
    assert [video.video_id for video in read_split(tubes, "all").videos] == ["a", "b", "c"]


def test_tubes_of_a_pickle_by_part(tubes: DataSet, tmp_path: Path) -> None:
    facts = {
        "labels": ["wave", "walk"],
        "gttubes": {
            "a": {1: [np.array([[1, 0, 0, 100, 50], [2, 0, 0, 100, 50]], np.float32)]},
            "b": {0: [np.array([[1, 20, 10, 40, 50]], np.float32)]},
            "c": {1: [np.array([[1, 0, 0, 9, 9]], np.float32)]},
        },
        "train_videos": [["b", "a", "empty"], ["c"]],
        "test_videos": [["c"], ["a", "b"]],
    }
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(facts, protocol=2))
    for name in ("train", "test2", "all"):
        pickled = open_data_set(tmp_path / "my.yaml", None, [f"splits.{name}.annotations=x.pkl"])
        one, other = read_split(pickled, name), read_split(tubes, name)
        assert [video.video_id for video in one.videos] == [video.video_id for video in other.videos]
        assert as_set(one) == as_set(other)
        assert one.lines is not None and not one.lines.any()


def as_set(split) -> set[tuple[object, ...]]:
    table = split.table
    return set(zip(table.video_ids, table.times_s, map(tuple, table.boxes_norm.tolist()), table.class_ids.tolist()))


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["splits.test2.number=3"], r"x_boxes.csv has 2 splits \(lists in test_videos\), got split 3"),
        (["videos.fps=null", "videos.keyframes_name=time"], "my: tubes count frames; its spec must say"),
        (["splits.test2.annotations=ava.csv"], "ava.csv has no splits: .* leave 'part' away"),
        (["splits.test2.annotations=none.csv"], "cannot read .*none.csv"),
    ],
)
def test_tubes_that_are_not_right(tubes: DataSet, tmp_path: Path, overrides: list[str], says: str) -> None:
    lines(tmp_path / "ava.csv", "a,0,0,0,0.5,0.5,1,1")
    with pytest.raises(AvadetError, match=says):
        read_split(open_data_set(tmp_path / "my.yaml", None, overrides), "test2")


def test_tubes_in_ava_s_form_are_rows_as_they_stand(tubes: DataSet, tmp_path: Path) -> None:
    lines(tmp_path / "ava.csv", "b,0.04,0,0,0.5,0.5,1,3", "a,0,0,0,0.5,0.5,2,1")
    split = read_split(open_data_set(tmp_path / "my.yaml", None, ["splits.all.annotations=ava.csv"]), "all")
    assert split.table.video_ids.tolist() == ["b", "a"]
    assert split.lines is not None and split.lines.tolist() == [1, 2]


def test_where_videos_lie_and_start(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(SPEC + "videos: {folder: films, starts_at_s: 900, starts: starts.csv}\n")
    (tmp_path / "films" / "x").mkdir(parents=True)
    for name in ("a.mkv", "x/b.c.MP4", "notes.txt"):
        (tmp_path / "films" / name).touch()
    lines(tmp_path / "starts.csv", "x/b.c,12.5")
    found = find_videos(open_data_set(tmp_path / "my.yaml"), ["a", "x/b.c", "notes", "y/z"])
    films = tmp_path / "films"
    assert [video.path for video in found] == [films / "a.mkv", films / "x/b.c.MP4", None, None]
    assert [video.starts_at_s for video in found] == [900, 12.5, 900, 900]
    assert found[0].file_times_s(np.array([902.0, 1798.0])).tolist() == [2, 898]
    with pytest.raises(AvadetError, match="its keyframes are times; use file_times_s"):
        found[0].frame_indices(np.zeros(1))


def test_keyframes_that_are_frame_numbers(tubes: DataSet) -> None:
    video = find_videos(tubes, ["a"])[0]
    assert video.frame_indices(np.array([0.0, 0.04, 39 / 25])).tolist() == [0, 1, 39]
    with pytest.raises(AvadetError, match="its keyframes are frame numbers; use frame_indices"):
        video.file_times_s(np.zeros(1))


@pytest.mark.parametrize("name", ["../b", "/etc/b", "a/../../b", ""])
def test_names_must_stay_inside_the_folder(data: DataSet, name: str) -> None:
    with pytest.raises(AvadetError, match="must stay inside its folder"):
        find_videos(data, [name])


@pytest.mark.shared
def test_the_nine_clips_of_ucf24(shared: Path) -> None:
    overrides = ["splits.test.annotations=ucf24_demo_boxes.csv", "splits.test.part=null"]
    split = read_split(open_data_set("ucf24", shared / "data/ucf24", overrides), "test")
    assert len(split.videos) == 9 and all(video.path is not None for video in split.videos)
    assert len(split.table) == 1896
    assert split.table.boxes_norm.min() >= 0 and split.table.boxes_norm.max() <= 1
    assert split.table.times_s[0] == pytest.approx(63 / 25)
