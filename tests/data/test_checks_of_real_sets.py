"""The checks on real data sets: they find what is known of them, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from avadet.annotations.rules.check import check_data_set
from avadet.data.checks import check_videos, last_keyframes

from avadet.annotations.specs import DataSet, open_data_set
from avadet.annotations.splits import DataVideo, read_split
from avadet.data.video_facts import look_at_videos

AVA_PARTS = {"train": "train_pose_subset", "val": "val_v2.1_pose_only"}


@pytest.mark.shared
def test_jhmdb_is_as_its_spec_says(shared: Path) -> None:
    data = open_data_set("jhmdb21", shared / "data" / "jhmdb21")
    checked = check_data_set(data)
    assert checked.issues == ()
    facts = {one.video.video_id: one for one in look_at_videos(clips(data), last_keyframes(checked.splits))}
    found = check_videos(checked.splits[1], facts, 3)
    assert [finding.check for finding in found] == ["keyframes-past-end"]
    assert (found[0].count, found[0].severity) == (13, "warning")  # two of the three short files are in test1


def clips(data: DataSet) -> list[DataVideo]:
    """The short files of the test part of split 1, and some whole ones."""
    split = read_split(data, "test1")
    return [video for video in split.videos if video.video_id.startswith("clap/")]


@pytest.mark.shared
def test_ava_s_official_files(shared: Path) -> None:
    data = open_data_set(
        "ava_v2.2",
        shared / "data" / "ava" / "official",
        [f"splits.{part}.annotations=../partial/ava_{rest}.csv" for part, rest in AVA_PARTS.items()],
    )
    found = check_data_set(data).issues
    # poses alone of some videos to train on; every validation video; the whole list of test videos
    assert [(one.split, one.check, one.severity) for one in found] == [
        ("train", "counts", "error"),
        ("train", "class-without-example", "warning"),
        ("val", "class-without-example", "warning"),
        ("train", "excluded-unknown", "warning"),
    ]
    assert found[0].message == "21 videos, a complete split has 235: incomplete, or another version"
