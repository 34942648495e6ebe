"""JHMDB-21 as a data set like all others: a hand-made folder, and the real one where it is at hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from each_case import each_case
from jhmdb_clips import read_clips, source_of

from avadet.annotations.dividing import source_group
from avadet.annotations.specs import open_data_set
from avadet.annotations.splits import read_split
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
    path = tmp_path / "videos" / f"{WALK}.avi"
    path.parent.mkdir(parents=True)
    path.touch()
    return tmp_path


def test_a_video_by_hand(folder: Path) -> None:
    split = read_split(open_data_set("jhmdb21", folder), "train1")
    order = np.argsort(split.table.times_s)
    assert [video.video_id for video in split.videos] == [WALK]
    assert split.videos[0].path == folder / "videos" / f"{WALK}.avi"
    # first and last pixel are both inside: 32..159 of 320 are 0.1 to 0.5
    assert split.table.boxes_norm[order] == pytest.approx(np.array([[0.1, 0.1, 0.5, 0.5], [0, 0, 1, 1]]))
    assert split.table.times_s[order] == pytest.approx([0, 1 / 30])
    assert split.videos[0].frame_indices(split.table.times_s[order]).tolist() == [0, 1]
    assert split.table.class_ids.tolist() == [20, 20]
    assert [one.video_id for one in read_split(open_data_set("jhmdb21", folder), "test3").videos] == [WAVE]


@each_case(
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
    assert source_group(video_id) == (source if source != "my_own_video" else video_id)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("jhmdb21_boxes.csv", f"{HEADER}{WALK},1,x,0,1,1,walk,20\n", r"boxes\.csv:2: "),
        ("jhmdb21_splits.json", "{", r"jhmdb21_splits\.json"),
    ],
)
def test_damaged_files_are_named(folder: Path, name: str, text: str, says: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(AvadetError, match=says):
        read_split(open_data_set("jhmdb21", folder), "train1")


@pytest.mark.shared
@each_case(("split", "train", "test"), [(1, 660, 268), (2, 658, 270), (3, 663, 265)])
def test_the_real_splits(shared: Path, split: int, train: int, test: int) -> None:
    root = shared / "data/jhmdb21"
    sides = [read_clips(root, f"{part}{split}") for part in ("train", "test")]
    assert [len(side) for side in sides] == [train, test]
    clips = [clip for side in sides for clip in side]
    assert sum(len(clip.boxes_norm) for clip in clips) == 31852 - 14  # fourteen boxes have no frame
    assert all(clip.frame_indices.tolist() == list(range(len(clip.boxes_norm))) for clip in clips)
    assert len({source_of(clip.video_id) for clip in clips}) == 336
    boxes = np.concatenate([clip.boxes_norm for clip in clips])
    assert (boxes.min(), boxes.max()) == (0, 1)
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    # within a class the official splits keep the clips of one source together
    groups = [{(one.video_id.partition("/")[0], source_of(one.video_id)) for one in side} for side in sides]
    assert not groups[0] & groups[1]
