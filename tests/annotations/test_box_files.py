"""Files of person boxes: what column 8 is, what is cut or left out and told, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from each_case import each_case

from avadet.annotations.ava import AvaTable, read_ground_truth
from avadet.annotations.ava_rows import read_ava_rows
from avadet.annotations.box_files import read_box_rows, read_boxes
from avadet.errors import AvadetError

A, B = "0.1,0.2,0.4,0.9", "0.5,0.2,0.8,0.9"


def write(folder: Path, *rows: str) -> Path:
    path = folder / "boxes.csv"
    path.write_text("".join(f"{row}\n" for row in rows))
    return path


def boxes_of(folder: Path, *rows: str) -> AvaTable:
    return read_boxes(write(folder, *rows))


def columns(table: AvaTable) -> tuple[list[float] | None, list[int] | None]:
    return tuple(None if one is None else one.tolist() for one in (table.scores, table.person_ids))  # type: ignore


def test_rows_of_every_width(tmp_path: Path) -> None:
    table = boxes_of(tmp_path, "v,0,0,0,1,1", "v,0.5,0,0,0.5,1,,0.25", "v,1,0,0,0.5,1,12", "v,2")
    assert table.class_ids.tolist() == [0, 0, 12, 0]
    assert columns(table) == ([1.0, 0.25, 1.0, 1.0], None)
    assert columns(boxes_of(tmp_path, "v,0,0,0,1,1")) == (None, None)
    assert len(boxes_of(tmp_path)) == 0
    for cell, action in (("", 0), (" ", 0), ("12", 12), (" 12 ", 12), ("-1", -1)):
        assert boxes_of(tmp_path, f"v,902,{A},{cell},0.75").class_ids.tolist() == [action]


@each_case(
    ("rows", "scores", "ids", "note"),
    [
        ([f"v,1,{A},12,0.9", f"v,1,{B},12,1"], [0.9, 1.0], None, ""),
        ([f"v,1,{A},12,1.0", f"v,1,{B},12,0.0"], [1.0, 0.0], None, ""),
        ([f"v,1,{A},,1", f"v,2,{A},,1"], None, [1, 1], ""),
        ([f"v,1,{A},,1", f"v,1,{B},,1"], [1.0, 1.0], None, ""),
        ([f"v,1,{A},12,0", f"v,1,{A},79,0", f"v,1,{B},12,7"], None, [0, 0, 7], "holds ids of persons"),
        ([f"v,1,{A},12,0", f"v,1,{B},12,-1", "v,1,0,0,1,1,12,-1"], None, [0, -1, -1], "holds ids of persons"),
        ([f"v,1,{A},12,2.0", f"v,1,{B},12,1.0"], None, [2, 1], "holds ids of persons"),
        ([f"v,1,{A},12,3", f"v,1,{B},12"], None, [3, -1], "holds ids of persons"),
        ([f"v,1,{A},12,0", f"v,1,{B},12,1"], None, [0, 1], "taken for ids of persons"),
        ([f"v,1,{A},12,0", f"v,1,{B},12,0"], None, [0, 0], "taken for ids of persons"),
        ([f"v,1,{A},12,1", f"v,1,{B},12,1", f"v,2,{B},12,0"], [1.0, 1.0, 0.0], None, "taken for scores"),
    ],
)
def test_column_8_is_scores_or_ids(
    tmp_path: Path, rows: list[str], scores: list[float] | None, ids: list[int] | None, note: str
) -> None:
    table = boxes_of(tmp_path, *rows)
    assert columns(table) == (scores, ids)
    assert len(table.notes) == bool(note) and note in " ".join(table.notes)
    assert read_ava_rows(tmp_path / "boxes.csv").last == ("score" if ids is None else "person_id")
    assert columns(read_box_rows(tmp_path / "boxes.csv")) == (scores, ids)


@each_case(
    ("rows", "says"),
    [
        ([f"v,0,{A},,0.5", f"v,0,{B},,1.5"], r":2: column 8 \(score\) is 1.5, expected a number from 0 to 1"),
        ([f"v,0,{A},,87.5"], "divide percent by 100"),
        ([f"v,0,{A},,7", f"v,0,{B},,7"], r":1: column 8 .* is 7, .*leave the column away if it holds ids"),
        ([f"v,0,{A},,-0.25"], "is -0.25, expected"),
        (["v,0,0,0,1,1", "v,1,32,24,160,216"], r":2: column 3 \(x1\) is '32', expected from 0 to 1; divide pixels"),
        (["v,1,0,0,nan,1"], "no row has a box of use: 1 row has a box that is no finite number"),
        (["v,nan,0,0,1,1"], r":1: column 2 \(seconds\) is 'nan'"),
    ],
)
def test_what_is_refused(tmp_path: Path, rows: list[str], says: str) -> None:
    with pytest.raises(AvadetError, match=says):
        boxes_of(tmp_path, *rows)


def test_a_file_full_of_pixels_is_one_complaint(tmp_path: Path) -> None:
    with pytest.raises(AvadetError, match=r":2: .*and 49 more such rows, to line 51") as error:
        boxes_of(tmp_path, f"v,0,{A}", *["v,1,32,24,160,216"] * 50)
    assert "\n" not in str(error.value)


@each_case(
    ("box", "note"),
    [
        ("0,0,nan,1", "a box that is no finite number; left out (line 2)"),
        ("0,0,inf,1", "a box that is no finite number; left out (line 2)"),
        ("0.5,0,0.25,1", "a box with x2 < x1 or y2 < y1; left out (line 2)"),
        ("0,0.5,1,0.5", "a box without width or height; left out (line 2)"),
        ("1.02,0,1.5,1", "a box outside the frame; left out (line 2)"),
        ("-3,0,-1,1", "a box outside the frame; left out (line 2)"),
    ],
)
def test_a_box_of_no_use_is_left_out_and_told_and_its_keyframe_stays(tmp_path: Path, box: str, note: str) -> None:
    table = boxes_of(tmp_path, f"v,0,{A},,0.5", f"v,1,{box},12,0.5")
    assert table.notes == (f"1 row has {note}",)
    assert table.times_s.tolist() == [0, 1] and table.class_ids.tolist() == [0, 0]
    assert table.boxes_norm.tolist() == [[0.1, 0.2, 0.4, 0.9], [0, 0, 0, 0]]


def test_what_reaches_out_of_the_frame_is_cut_and_told(tmp_path: Path) -> None:
    table = boxes_of(tmp_path, f"v,0,{A}", "v,0,-0.02,0,1.02,1", "v,0,0.5,-0.5,1.9,2")
    assert table.notes == ("2 rows have a box that reaches out of the frame; cut at 0 and 1 (line 2 and on)",)
    assert table.boxes_norm.tolist() == [[0.1, 0.2, 0.4, 0.9], [0, 0, 1, 1], [0.5, 0, 1, 1]]


def test_rounding_is_cut_in_silence(tmp_path: Path) -> None:
    table = boxes_of(tmp_path, "v,0,-0.0000003,0.2,1.0000002,1.001,,1.0000001", f"v,0,{A},,-0.0000001")
    assert table.notes == ()
    assert table.boxes_norm.tolist() == [[0, 0.2, 1, 1], [0.1, 0.2, 0.4, 0.9]]
    assert columns(table) == ([1.0, 0.0], None)
    assert boxes_of(tmp_path, "v,0,0,0.2,1.0011,1").notes != ()


def test_a_score_that_is_no_number_is_left_out(tmp_path: Path) -> None:
    table = boxes_of(tmp_path, f"v,0,{A},,0.5", f"v,0,{B},,nan")
    assert table.notes == ("1 row has a score that is no number; left out (line 2)",)
    assert table.boxes_norm[1].tolist() == [0, 0, 0, 0]


def test_x_y_width_height_is_guessed(tmp_path: Path) -> None:
    assert (
        "these look like x,y,width,height" in boxes_of(tmp_path, "v,0,0.5,0.2,0.2,0.7", "v,0,0.1,0.1,0.2,0.2").notes[0]
    )


def test_evaluators_get_the_rows_as_they_stand(tmp_path: Path) -> None:
    table = read_box_rows(write(tmp_path, "v,1,32,24,nan,216,12,17.5", f"v,1,{A}"))
    assert table.boxes_norm[0, :2].tolist() == [32, 24] and np.isnan(table.boxes_norm[0, 2])
    assert columns(table) == ([17.5, 1.0], None)


def test_rows_are_converted_as_they_stand(tmp_path: Path) -> None:
    rows = read_ava_rows(write(tmp_path, "v,1,-0.02,0.2,0.4,0.9,12,0", f"v,1,{A},12,1"))
    assert rows.rows[0].box_norm == (-0.02, 0.2, 0.4, 0.9)
    assert ["--last" in note for note in rows.notes] == [True, False]
    assert rows.notes[1] == "1 row has a box that reaches out of the frame; kept as it stands (line 1)"
    assert read_ava_rows(tmp_path / "boxes.csv", "score").rows[0].last == 0.0
    with pytest.raises(AvadetError, match=r":1: column 3 .*divide pixels"):
        read_ava_rows(write(tmp_path, "v,1,32,24,160,216,12,0"))


@pytest.mark.shared
def test_real_ground_truth_is_known_by_its_ids(shared: Path) -> None:
    path = shared / "data/ava/partial/ava_val_v2.2_1j20qq1JyX4_0902-0969.csv"
    table, truth = read_boxes(path), read_ground_truth(path)
    assert table.scores is None and table.person_ids is not None and truth.person_ids is not None
    assert np.array_equal(table.person_ids, truth.person_ids)
