"""The checks on real data sets: they find what is known of them, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from avadet.annotations.rules.check import check_data_set
from avadet.annotations.rules.video_meta import VideoMeta
from avadet.annotations.specs import open_data_set
from avadet.annotations.splits import DataVideo
from avadet.data.video_facts import metadata_of

AVA_PARTS = {"train": "train_pose_subset", "val": "val_v2.1_pose_only"}


@pytest.mark.shared
def test_jhmdb_is_as_its_spec_says(shared: Path) -> None:
    data = open_data_set("jhmdb21", shared / "data" / "jhmdb21")
    assert check_data_set(data).issues == ()
    found = check_data_set(data, ["test1"], read_metadata=some).issues
    assert [issue.check for issue in found] == ["keyframes-past-end"]
    assert (found[0].count, found[0].action) == (13, "drop")  # two of the three short files are in test1


def some(videos: Sequence[DataVideo], last_s: Mapping[str, float]) -> dict[str, VideoMeta]:
    """Looks at the short files of the test part of split 1, and some whole ones."""
    return metadata_of([video for video in videos if video.video_id.startswith("clap/")], last_s)


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
        ("train", "counts", "warning"),
        ("train", "class-without-example", "warning"),
        ("val", "class-without-example", "warning"),
        ("train", "excluded-unknown", "warning"),
    ]
    assert found[0].message == "21 videos, a complete split has 235: incomplete, or another version"
