"""JHMDB-21: a hand-made folder, and the real one where it is at hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from avadet.annotations.ava import read_ground_truth
from avadet.annotations.jhmdb import read_jhmdb21, source_of, write_ground_truth
from avadet.errors import AvadetError
from avadet.labels import read_label_map

WALK = "walk/Film_2_walk_f_cm_np1_ri_med_0"
WAVE = "wave/Wie_man_winkt!!_wave_u_cm_np1_fr_med_0"
HEADER = "video,frame_1based,x1,y1,x2,y2,label,label_id_1based\n"
ROWS = f"{WALK},2,0,0,319,239,walk,20\n{WALK},1,32,24,159,119,walk,20\n{WAVE},1,0,0,31,23,wave,21\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    labels = list(read_label_map("jhmdb21").names)
    splits = {"labels": labels, "train_videos": [[WALK]] * 3, "test_videos": [[WAVE]] * 3}
    (tmp_path / "jhmdb21_splits.json").write_text(json.dumps(splits))
    (tmp_path / "jhmdb21_boxes.csv").write_text(HEADER + ROWS)
    return tmp_path


def test_a_video_by_hand(folder: Path) -> None:
    split = read_jhmdb21(folder, 1)
    video = split.train[0]
    assert (video.video_id, video.class_index, video.group) == (WALK, 19, "Film_2")
    assert video.path == folder / "videos" / f"{WALK}.mp4"
    # first and last pixel are both inside: 32..159 of 320 are 0.1 to 0.5
    assert video.boxes_norm == pytest.approx(np.array([[0.1, 0.1, 0.5, 0.5], [0, 0, 1, 1]]))
    assert video.boxes_norm.dtype == np.float32
    assert video.times_s == pytest.approx([0, 1 / 30])
    assert video.frame_indices.tolist() == [0, 1]
    assert [one.video_id for one in split.test] == [WAVE]


def test_boxes_without_a_frame_are_dropped(folder: Path) -> None:
    assert len(read_jhmdb21(folder, 1, num_frames={WALK: 1}).train[0].boxes_norm) == 1


def test_an_avi_is_found(folder: Path) -> None:
    path = folder / "videos" / f"{WALK}.avi"
    path.parent.mkdir(parents=True)
    path.touch()
    assert read_jhmdb21(folder, 1).train[0].path == path


@pytest.mark.parametrize(
    ("video_id", "source"),
    [
        ("brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0", "April_09"),
        ("wave/Wie_man_winkt!!_wave_u_cm_np1_fr_med_0", "Wie_man_winkt!!"),
        ("golf/Golf_Swing_@6Iron_golf_f_cm_np1_fr_med_10", "Golf_Swing_@6Iron"),
        ("run/my_own_video", "my_own_video"),
    ],
)
def test_the_source_of_a_clip(video_id: str, source: str) -> None:
    assert source_of(video_id) == source


def test_there_are_three_splits(folder: Path) -> None:
    with pytest.raises(AvadetError, match="splits 1, 2 and 3, got 4"):
        read_jhmdb21(folder, 4)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("jhmdb21_boxes.csv", "a,b\n", r"boxes.csv:1: expected the columns video,frame_1based.*got a,b"),
        ("jhmdb21_boxes.csv", f"{HEADER}{WALK},1,x,0,1,1,walk,20\n", r"boxes.csv:2: expected whole numbers"),
        ("jhmdb21_boxes.csv", f"{HEADER}{WALK},1,9,0,1,1,walk,20\n", r"boxes.csv:2: expected frame >= 1, x1 <= x2"),
        ("jhmdb21_boxes.csv", HEADER, rf"video '{WALK}' of the split has no row"),
        ("jhmdb21_splits.json", "{", "is not JHMDB-21's splits"),
        ("jhmdb21_splits.json", "{}", "is not JHMDB-21's splits"),
    ],
)
def test_damaged_files_are_named(folder: Path, name: str, text: str, says: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(AvadetError, match=says):
        read_jhmdb21(folder, 1)


@pytest.mark.parametrize("name", ["jhmdb21_boxes.csv", "jhmdb21_splits.json"])
def test_missing_files_are_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(AvadetError, match=f"cannot read .*{name}.*is this the folder of JHMDB-21"):
        read_jhmdb21(folder, 1)


def test_ground_truth_written_and_read_again(folder: Path, tmp_path: Path) -> None:
    video = read_jhmdb21(folder, 1).train[0]
    path = tmp_path / "gt.csv"
    write_ground_truth(path, [video], read_label_map("jhmdb21"))
    table = read_ground_truth(path)
    assert table.video_ids.tolist() == [WALK, WALK]
    assert table.times_s.tolist() == [0.0, 0.033333]
    assert table.class_ids.tolist() == [20, 20]
    assert table.boxes_norm == pytest.approx(video.boxes_norm, abs=1e-6)


@pytest.mark.shared
@pytest.mark.parametrize(("split", "train", "test"), [(1, 660, 268), (2, 658, 270), (3, 663, 265)])
def test_the_real_splits(shared: Path, split: int, train: int, test: int) -> None:
    found = read_jhmdb21(shared / "data/jhmdb21", split)
    assert (len(found.train), len(found.test)) == (train, test)
    videos = [*found.train, *found.test]
    assert sum(len(video.times_s) for video in videos) == 31852 - 14
    assert len({video.group for video in videos}) == 336
    boxes = np.concatenate([video.boxes_norm for video in videos])
    assert (boxes.min(), boxes.max()) == (0, 1)
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    # within a class the official splits keep the clips of one source together
    sides = [{(video.class_index, video.group) for video in side} for side in (found.train, found.test)]
    assert not sides[0] & sides[1]


@pytest.mark.shared
def test_every_box_that_is_kept_has_a_frame(shared: Path) -> None:
    av = pytest.importorskip("av")
    split = read_jhmdb21(shared / "data/jhmdb21", 1)
    for video in [*split.train, *split.test]:
        with av.open(str(video.path)) as container:
            assert video.frame_indices.tolist() == list(range(container.streams.video[0].frames)), video.video_id
