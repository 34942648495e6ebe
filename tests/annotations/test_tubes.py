"""Tubes from files: three forms by hand, round trips, damage, and the real data where it is at hand."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from each_case import each_case

from avadet.annotations.tube_units import TubeSpec
from avadet.annotations.tubes import (
    read_tube_ground_truth,
    read_tube_rows,
    read_tube_spec,
    tube_spec_names,
)
from avadet.errors import AvadetError
from avadet.labels import read_label_map
from avadet.types import LabelMap, Tube

LABELS = LabelMap(("walk", "wave"), (3, 7), ("pose", "person"), (True, True))
SPEC = TubeSpec(fps=25.0, size_hw=(100, 200))
HEADER = "video,frame_1based,x1,y1,x2,y2,label,label_id_1based"
BOX = "0.1,0.2,0.3,0.4"


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def facts(**more: Any) -> dict[str, Any]:
    """A pickle's content: a video of two walks and one of a wave."""
    walk = [
        np.array([[12, 20, 10, 60, 50], [11, 20, 10, 40, 50]], np.float32),
        np.array([[30, 0, 0, 9, 9]], np.float32),
    ]
    wave = [np.array([[1, 0, 0, 320, 500]], np.float32)]
    return {
        "labels": ["wave", "walk"],
        "gttubes": {"a/one": {1: walk}, "b/two": {0: wave}},
        "resolution": {"a/one": (100, 200), "b/two": (240, 320)},
        "nframes": {"a/one": 40, "b/two": 1},
        "train_videos": [["b/two"], ["a/one"]],
        "test_videos": [["a/one"], ["b/two"]],
    } | more


def pickled(path: Path, content: object) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=2))
    return path


def as_lists(tubes: list[Tube]) -> list[tuple[str, int, list[float], list[list[float]]]]:
    boxes = [tube.boxes_norm.astype(np.float64).round(6).tolist() for tube in tubes]
    return [(tube.video_id, tube.class_index, tube.times_s.tolist(), box) for tube, box in zip(tubes, boxes)]


def test_an_ava_csv_by_hand(tmp_path: Path) -> None:
    rows = [f"v,0.04,{BOX},7,1", f"v,0,{BOX},7,1", f"v,0,{BOX},3,1", "v,0,0,0,1,1,7,2", "v,9", f"u,5,{BOX},3,1"]
    tubes = read_tube_ground_truth(write(tmp_path / "gt.csv", *rows), LABELS)
    shown = [(tube.video_id, tube.class_index, tube.times_s.tolist()) for tube in tubes]
    assert shown == [("u", 0, [5.0]), ("v", 0, [0.0]), ("v", 1, [0.0, 0.04]), ("v", 1, [0.0])]
    assert tubes[2].boxes_norm == pytest.approx(np.array([[0.1, 0.2, 0.3, 0.4]] * 2))
    assert [tube.score for tube in tubes] == [1.0] * 4


def test_without_person_ids_a_class_is_one_tube_of_a_video(tmp_path: Path) -> None:
    tubes = read_tube_ground_truth(write(tmp_path / "gt.csv", f"v,1,{BOX},7", f"v,2,{BOX},7"), LABELS)
    assert [tube.times_s.tolist() for tube in tubes] == [[1.0, 2.0]]


def test_a_person_who_stops_and_starts_again_has_two_tubes(tmp_path: Path) -> None:
    path = write(tmp_path / "gt.csv", *(f"v,{second},{BOX},7,1" for second in (1, 2, 5, 6)))
    assert len(read_tube_ground_truth(path, LABELS)) == 1
    assert len(read_tube_ground_truth(path, LABELS, max_gap_s=3)) == 1
    tubes = read_tube_ground_truth(path, LABELS, max_gap_s=2.9)
    assert [tube.times_s.tolist() for tube in tubes] == [[1, 2], [5, 6]]


def test_a_csv_with_frame_numbers_by_hand(tmp_path: Path) -> None:
    rows = ["v,3,20,10,40,50,wave,1,0", "v,2,20,10,40,50,wave,1,0", "v,2,0,0,200,100,wave,1,1"]
    path = write(tmp_path / "x_boxes.csv", HEADER + ",track_id", *rows)
    tubes = read_tube_ground_truth(path, LABELS, SPEC)
    # frame 2 at 25 a second is 0.04 s; 20 of 200 px is 0.1
    first = ("v", 1, [0.04, 0.08], [[0.1, 0.1, 0.2, 0.5]] * 2)
    assert as_lists(tubes) == [first, ("v", 1, [0.04], [[0, 0, 1, 1]])]


def test_the_last_pixel_may_be_inside_and_boxes_end_at_the_frame(tmp_path: Path) -> None:
    path = write(tmp_path / "x_boxes.csv", HEADER, "v,1,20,10,39,49,wave,1", "v,2,150,-5,200,100,wave,1")
    tubes = read_tube_ground_truth(path, LABELS, TubeSpec(25.0, (100, 200), last_pixel_inside=True))
    assert tubes[0].boxes_norm == pytest.approx(np.array([[0.1, 0.1, 0.2, 0.5], [0.75, 0, 1, 1]]))


def test_the_split_of_a_csv_stands_beside_it(tmp_path: Path) -> None:
    path = write(tmp_path / "x_boxes.csv", HEADER, "v,1,0,0,9,9,wave,1", "w,1,0,0,9,9,walk,1")
    (tmp_path / "x_splits.json").write_text(json.dumps({"test_videos": [["w"], ["v"]]}))
    found = [read_tube_ground_truth(path, LABELS, SPEC, split)[0].video_id for split in (1, 2)]
    assert found == ["w", "v"]
    assert len(read_tube_ground_truth(path, LABELS, SPEC)) == 2


def test_a_pickle_by_hand(tmp_path: Path) -> None:
    tubes = read_tube_ground_truth(pickled(tmp_path / "GT.pkl", facts()), LABELS, SPEC)
    # classes go by name: the pickle's label 1 is "walk", row 0 of the map; frame 11 is at 10 / 25 s
    assert as_lists(tubes) == [
        ("a/one", 0, [0.4, 0.44], [[0.1, 0.1, 0.2, 0.5], [0.1, 0.1, 0.3, 0.5]]),
        ("a/one", 0, [29 / 25], [[0, 0, 0.045, 0.09]]),
        ("b/two", 1, [0.0], [[0, 0, 1, 1]]),
    ]


def test_the_split_of_a_pickle(tmp_path: Path) -> None:
    path = pickled(tmp_path / "GT.pkl", facts())
    assert [tube.video_id for tube in read_tube_ground_truth(path, LABELS, SPEC, split=2)] == ["b/two"]


def test_a_pickle_without_sizes_takes_the_data_sets(tmp_path: Path) -> None:
    content = facts()
    del content["resolution"]
    tubes = read_tube_ground_truth(pickled(tmp_path / "GT.pkl", content), LABELS, SPEC)
    assert tubes[0].boxes_norm[0] == pytest.approx([0.1, 0.1, 0.2, 0.5])
    with pytest.raises(AvadetError, match="video 'a/one' has no resolution"):
        read_tube_ground_truth(tmp_path / "GT.pkl", LABELS, TubeSpec(25.0))


def corrected(**more: Any) -> dict[str, Any]:
    """UCF24's pyannot.pkl: frames from 0, the last one excluded; boxes x, y, w, h."""
    boxes = np.array([[20, 10, 20, 40], [20, 10, 40, 40]], np.int16)
    tubes = [{"label": 1, "sf": 10, "ef": 12, "boxes": boxes}, {"label": 1, "sf": 29, "ef": 30, "boxes": boxes[:1]}]
    return {
        "wave/a": {"numf": 40, "label": 1, "annotations": tubes},
        "walk/b": {"numf": 9, "label": 0, "annotations": [{"label": 0, "sf": 0, "ef": 1, "boxes": boxes[:1]}]},
        "walk/c": {"numf": 9, "label": 0, "annotations": []},
    } | more


def test_the_corrected_annotations_of_ucf24(tmp_path: Path) -> None:
    path = pickled(tmp_path / "pyannot.pkl", corrected())
    assert as_lists(read_tube_ground_truth(path, LABELS, SPEC)) == [
        ("walk/b", 0, [0.0], [[0.1, 0.1, 0.2, 0.5]]),
        ("wave/a", 1, [0.4, 0.44], [[0.1, 0.1, 0.2, 0.5], [0.1, 0.1, 0.3, 0.5]]),
        ("wave/a", 1, [29 / 25], [[0.1, 0.1, 0.2, 0.5]]),
    ]
    with pytest.raises(AvadetError, match=r"no splits \(put testlist01.txt beside it\).*without 'part' every video"):
        read_tube_ground_truth(path, LABELS, SPEC, split=1)


@each_case("folder", ["", "splitfiles"])
def test_the_splits_of_ucf24_stand_in_lists(tmp_path: Path, folder: str) -> None:
    path = pickled(tmp_path / "pyannot.pkl", corrected())
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "trainlist01.txt").write_text("wave/a.avi 2\nwalk/c\nother/x.avi 3\n")
    rows = {part: read_tube_rows(path, LABELS, SPEC, part, 1) for part in ("train", "test")}  # type: ignore[arg-type]
    assert {part: one.video_ids for part, one in rows.items()} == {"train": ["walk/c", "wave/a"], "test": ["walk/b"]}
    assert len(rows["train"].table) == 3 and len(rows["test"].table) == 1


@each_case(
    ("tube", "says"),
    [
        ({"label": 0, "sf": 0, "ef": 3, "boxes": np.zeros((1, 4))}, r"from frame 0 up to 3, expected so many boxes"),
        ({"label": 0, "sf": 0, "boxes": np.zeros((1, 4))}, "a tube without label, sf, ef or boxes"),
        ({"label": 1, "sf": 0, "ef": 1, "boxes": np.ones((1, 4))}, "'walk/d' has label 1, which is wave"),
        ({"label": 7, "sf": 0, "ef": 1, "boxes": np.ones((1, 4))}, "'walk/d' has a label 7, expected 0 to 1"),
    ],
)
def test_damaged_corrected_annotations_are_named(tmp_path: Path, tube: dict[str, Any], says: str) -> None:
    content = corrected(**{"walk/d": {"numf": 3, "label": 0, "annotations": [tube]}})
    with pytest.raises(AvadetError, match=says):
        read_tube_ground_truth(pickled(tmp_path / "pyannot.pkl", content), LABELS, SPEC)


@each_case(
    ("lines", "says"),
    [
        ([f"v,1,{BOX},7,1", f"v,1,{BOX},7,1"], "two boxes of class 7 in video 'v' at 1 s, both of person 1"),
        ([f"v,1,{BOX},7,1", f"v,1.000001,{BOX},7,1"], "at 1 s, both of person 1"),
        ([f"v,1,{BOX},7", f"v,1,{BOX},7"], "nobody has a person id; tubes need an eighth column"),
        ([f"v,1,{BOX},8,1"], "class id 8 is not in the label map of 2 classes"),
        (["v,1,0,0,20,1,7,1"], r"gt.csv: boxes_norm must be xyxy in \[0, 1\]"),
        ([HEADER + ",more"], "gt.csv:1: expected the columns video,.*and perhaps track_id, got"),
        ([HEADER, "v,1,0,0,9,9,jump,1"], "gt.csv:2: column 7 is not in the label map: unknown class 'jump'"),
        ([HEADER, "v,1.5,0,0,9,9,walk,1"], "gt.csv:2: expected 8 cells, a frame number from 1 in column 2"),
        ([HEADER, "v,0,0,0,9,9,walk,1"], "gt.csv:2: expected 8 cells, a frame number from 1"),
        ([HEADER, "v,1,9,0,1,9,walk,1"], "gt.csv:2: expected .* a box x1 <= x2"),
        ([HEADER, "v,1,9"], "gt.csv:2: expected 8 cells"),
        ([HEADER, "v,1,0,0,9,9,walk,1", "v,1,0,0,9,9,walk,1"], "two boxes of class 3 in video 'v' at 0 s"),
    ],
)
def test_damaged_csv_files_are_named(tmp_path: Path, lines: list[str], says: str) -> None:
    with pytest.raises(AvadetError, match=says):
        read_tube_ground_truth(write(tmp_path / "gt.csv", *lines), LABELS, SPEC)


@each_case(
    ("content", "says"),
    [
        ([1, 2], "must hold a dict with 'labels' and 'gttubes'"),
        (facts(labels=["wave", "wlak"]), "unknown class 'wlak'; did you mean walk"),
        (facts(labels=["wave"]), "video 'a/one' has a label 1, expected 0 to 0"),
        (facts(gttubes={"a/one": {0: [np.zeros((2, 4))]}}), r"a tube of 'a/one' must be \(n, 5\).* got \(2, 4\)"),
        (facts(gttubes={"a/one": {0: [np.ones((2, 5))]}}), "video 'a/one': times_s of a tube must increase"),
    ],
)
def test_damaged_pickles_are_named(tmp_path: Path, content: object, says: str) -> None:
    with pytest.raises(AvadetError, match=says):
        read_tube_ground_truth(pickled(tmp_path / "GT.pkl", content), LABELS, SPEC)


class _Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("ran",))


def test_a_pickle_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = pickled(tmp_path / "GT.pkl", facts(nframes=_Runs()))
    with pytest.raises(AvadetError):
        read_tube_ground_truth(path, LABELS, SPEC)
    assert capsys.readouterr().out == ""


def test_splits_that_are_not_there(tmp_path: Path) -> None:
    ava = write(tmp_path / "gt.csv", f"v,1,{BOX},7,1")
    boxes = write(tmp_path / "x_boxes.csv", HEADER, "v,1,0,0,9,9,wave,1")
    with pytest.raises(AvadetError, match=r"gt.csv has no splits: an AVA CSV holds the videos that count"):
        read_tube_ground_truth(ava, LABELS, split=1)
    with pytest.raises(AvadetError, match=r"needs .*x_splits.json, which cannot be read"):
        read_tube_ground_truth(boxes, LABELS, SPEC, split=1)
    with pytest.raises(AvadetError, match=r"has 2 splits .* got split 3"):
        read_tube_ground_truth(pickled(tmp_path / "GT.pkl", facts()), LABELS, SPEC, split=3)


def test_frame_numbers_need_a_frame_rate_and_pixels_a_size(tmp_path: Path) -> None:
    path = write(tmp_path / "x_boxes.csv", HEADER, "v,1,0,0,9,9,wave,1")
    with pytest.raises(AvadetError, match="counts frames and pixels; say whose they are: jhmdb21, multisports, ucf24"):
        read_tube_ground_truth(path, LABELS)
    with pytest.raises(AvadetError, match="has boxes in pixels, but the data set has no one frame size"):
        read_tube_ground_truth(path, LABELS, TubeSpec(25.0))
    with pytest.raises(AvadetError, match="fps must be positive, got 0"):
        TubeSpec(0)


def test_what_is_known_of_the_data_sets() -> None:
    assert tube_spec_names() == ["jhmdb21", "multisports", "ucf24"]
    assert read_tube_spec("jhmdb21") == TubeSpec(30, (240, 320), last_pixel_inside=True, fills_clip=True)
    assert read_tube_spec("ucf24") == TubeSpec(25, (240, 320))
    assert read_tube_spec("multisports") == TubeSpec(25, None, counts_last_frame=False)
    with pytest.raises(AvadetError, match="unknown data set with tubes 'jhmdb'; did you mean jhmdb21"):
        read_tube_spec("jhmdb")


def test_the_label_maps_of_the_data_sets() -> None:
    ucf, sports = read_label_map("ucf24"), read_label_map("multisports")
    assert (len(ucf), ucf.names[0], ucf.names[-1]) == (24, "Basketball", "WalkingWithDog")
    assert list(ucf.names) == sorted(ucf.names)
    assert (len(sports), sum(sports.evaluated)) == (66, 60)
    # the pickle's label 21 is the first of volleyball
    assert (sports.ids[21], sports.names[21]) == (22, "volleyball serve")


@pytest.mark.shared
def test_the_demo_clips_of_ucf24(shared: Path) -> None:
    labels = read_label_map("ucf24")
    tubes = read_tube_ground_truth(shared / "data/ucf24/ucf24_demo_boxes.csv", labels, read_tube_spec("ucf24"))
    assert len(tubes) == 15
    salsa = [tube for tube in tubes if tube.video_id == "v_SalsaSpin_g03_c01"]
    assert [len(tube.times_s) for tube in salsa] == [143, 18, 34, 18, 76]
    assert salsa[1].times_s[0] == pytest.approx(150 / 25)
    assert {labels.names[tube.class_index] for tube in salsa} == {"SalsaSpin"}


def test_rounding_at_the_border_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "gt.csv"
    path.write_text("v,1,-0.0000003,0,1.0000002,1,7,1\nv,2,-0.02,0,1.02,1,7,1\n")
    (tube,) = read_tube_ground_truth(path, LABELS)
    assert tube.boxes_norm.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1]]
