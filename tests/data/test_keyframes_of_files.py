"""Annotations, exclusions and proposals of a split whose times and boxes are written with other digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avadet.annotations.specs import DataSet, open_data_set
from avadet.annotations.splits import read_split
from avadet.data.keyframes import ProposalRule, scoring_index, training_index
from avadet.errors import AvadetError

BOX = "0.1,0.2,0.4,0.9"


def data_set(folder: Path, gt: str, proposals: str, excluded: str, more: str = "") -> DataSet:
    for name, text in (("gt.csv", gt), ("found.csv", proposals), ("out.csv", excluded)):
        (folder / name).write_text(text)
    (folder / "mine.yaml").write_text(
        "labels: [walk, wave]\nsplits:\n  val: {annotations: gt.csv, proposals: found.csv, excluded: out.csv}\n" + more
    )
    return open_data_set(folder / "mine.yaml")


def test_other_digits_are_the_same_keyframe(tmp_path: Path) -> None:
    gt = f"v,0.366667,{BOX},1,7\nv,0.366666,{BOX},2,7\nv,0.4,{BOX},1,7\nv,0.433333,{BOX},1,7\n"
    data = data_set(tmp_path, gt, f"v,0.366666,{BOX},,0.9\nv,0.43,{BOX},,0.9\n", "v,0.3999999\n")
    split = read_split(data, "val")
    targets = training_index(split, data.labels, ProposalRule())
    assert targets.times_s.tolist() == [0.366667, 0.433333]
    assert targets.labels.tolist() == [[True, True], [True, False]]  # proposals and true boxes are the same boxes
    assert scoring_index(split, data.labels, 0.5).times_s.tolist() == [0.366667, 0.433333]
    assert split.notes == (
        f"val: 1 row has an excluded keyframe; it is neither trained on nor scored; left out "
        f"({tmp_path}/gt.csv:3: v,0.4,{BOX},1,7)",
        "found.csv: 1 keyframe is up to 3.33 ms off those of the annotations; they count as the same",
    )


def test_half_a_frame_where_the_spec_knows_the_rate(tmp_path: Path) -> None:
    for fps, count in (("null", 2), ("30", 1)):
        more = f"videos: {{fps: {fps}}}\n"
        data = data_set(tmp_path, f"v,1,{BOX},1,7\n", f"v,1.015,{BOX},,0.9\n", "", more)
        assert len(scoring_index(read_split(data, "val"), data.labels, 0.5, keep_empty=True)) == count


def test_odd_boxes_are_cut_or_left_out_and_told(tmp_path: Path) -> None:
    gt = "v,1,-0.02,0.2,1.0000002,0.9,1,7\nv,1,0.5,0.2,0.5,0.9,1,8\nv,2,1.1,0,1.5,1,1,8\n"
    data = data_set(tmp_path, gt, f"v,1,{BOX},,0.9\nv,1,0.5,0.2,nan,1,,0.9\n", "")
    split = read_split(data, "val")
    assert split.notes == (
        f"val: 1 row has a box without width or height; nothing can match it; left out ({tmp_path}/gt.csv:2: "
        "v,1,0.5,0.2,0.5,0.9,1,8)",
        f"val: 1 row has a box outside the frame; no person can be seen there; left out ({tmp_path}/gt.csv:3: "
        "v,2,1.1,0,1.5,1,1,8)",
        f"val: 1 row has a box that reaches out of the frame; clipped ({tmp_path}/gt.csv:1: v,1,-0.02,0.2,1,0.9,1,7)",
        f"val: 1 row has a coordinate that is no finite number; left out ({tmp_path}/found.csv:2: "
        "v,1,0.5,0.2,nan,1,0,0.9)",
    )
    targets = training_index(split, data.labels, keep_empty=True)
    assert (targets.times_s.tolist(), np.diff(targets.starts).tolist()) == ([1, 2], [1, 0])
    assert targets.boxes_norm.tolist() == [pytest.approx([0, 0.2, 1, 0.9])]


def test_pixels_are_refused_only_where_they_must_be_some(tmp_path: Path) -> None:
    for box, is_pixels in (("0,0,1.9,1", False), ("0,0,2.1,1", True)):
        data = data_set(tmp_path, f"v,1,{box},1,7\n", "", "")
        if not is_pixels:
            assert training_index(read_split(data, "val"), data.labels).boxes_norm.tolist() == [[0, 0, 1, 1]]
            continue
        with pytest.raises(AvadetError, match=r"1 row has a box in pixels; divide x by .*gt.csv:1: v,1,0,0,2.1,1"):
            training_index(read_split(data, "val"), data.labels)
