"""VIA's projects: files as VIA 3 and 2 write them, worked by hand; edits; what is refused and how."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from each_case import each_case

from avadet.annotations.action_names import ActionNames
from avadet.annotations.ava_rows import read_ava_rows, row_cells, write_ava_rows
from avadet.annotations.coco import to_coco
from avadet.annotations.footage import Footage
from avadet.annotations.via import read_via
from avadet.annotations.via_write import write_via
from avadet.errors import AvadetError
from avadet.types import LabelMap

LABELS = LabelMap(("stand", "talk; loudly"), (12, 79), ("pose", "person"), (True, True))
SIZE = Footage(size_hw=lambda video_id: (100, 200), numbers="seconds")


def project() -> dict[str, Any]:
    """Two regions in a film, one in a picture, a piece of time, a polygon, a picture without people."""
    return {
        "project": {"pid": "1", "data_format_version": "3.1.1", "vid_list": ["1", "2", "3"]},
        "config": {},
        "attribute": {
            "1": {
                "aname": "what",
                "anchor_id": "FILE1_Z1_XY1",
                "type": 2,
                "options": {"0": "stand", "1": "talk; loudly"},
            },
            "2": {"aname": "Track_ID", "anchor_id": "FILE1_Z1_XY1", "type": 1, "options": {}},
            "3": {"aname": "scene", "anchor_id": "FILE1_Z2_XY0", "type": 4, "options": {"0": "indoors"}},
        },
        "file": {
            "1": {"fid": "1", "fname": "street.mp4", "type": 4, "loc": 1, "src": ""},
            "2": {"fid": "2", "fname": "v_902.jpg", "type": 2, "loc": 1, "src": ""},
            "3": {"fid": "3", "fname": "v_903.jpg", "type": 2, "loc": 1, "src": ""},
        },
        "metadata": {
            "1_a": {"vid": "1", "flg": 0, "z": [12.5], "xy": [2, 50, 0, 150, 50], "av": {"1": "1,0", "2": "7"}},
            "1_b": {"vid": "1", "flg": 0, "z": [12.5], "xy": [8, 10, 5, 20, 0, 30, 5, 20, 10], "av": {}},
            "1_c": {"vid": "1", "flg": 0, "z": [2, 9.5], "xy": [], "av": {"3": "0"}},
            "1_d": {"vid": "1", "flg": 0, "z": [13], "xy": [7, 1, 2, 3, 4, 5, 6], "av": {}},
            "2_a": {"vid": "2", "flg": 0, "z": [], "xy": [2, 0, 0, 20, 10], "av": {"1": "0"}},
        },
        "view": {key: {"fid_list": [key]} for key in "123"},
    }


def dump(folder: Path, document: object, name: str = "in.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def lines(path: Path, footage: Footage = SIZE, labels: LabelMap | None = LABELS) -> list[str]:
    table = read_via(path, ActionNames(labels), footage)
    return [",".join(row_cells(row, table)) for row in table.rows]


def test_a_project_of_via_3(tmp_path: Path) -> None:
    path = dump(tmp_path, project())
    assert lines(path) == [
        "v,902,0,0,0.1,0.1,12",
        "v,903",
        "street,12.5,0.25,0,1,0.5,79,7",
        "street,12.5,0.25,0,1,0.5,12,7",
        "street,12.5,0.05,0,0.15,0.1,",
        "street,13",
    ]
    names = ActionNames(LABELS)
    left_out = read_via(path, names, SIZE).left_out
    assert left_out == {"shapes that are no rectangle": 1, "temporal segments without a box of theirs": 1}


def test_names_without_ids(tmp_path: Path) -> None:
    document = project()
    document["attribute"]["1"]["aname"] = "Action"
    path = dump(tmp_path, document)
    with pytest.raises(AvadetError, match=r"in.json: metadata 1_a: action 'talk; loudly', .*--labels.*--new-labels"):
        lines(path, labels=None)
    names = ActionNames(numbering=True)
    actions = [row.action_id for row in read_via(path, names, SIZE).rows]
    assert (actions, names.options()) == ([2, None, 1, 2, None, None], {1: "talk; loudly", 2: "stand"})


def test_frames_of_unknown_size_are_told_once_a_video(tmp_path: Path) -> None:
    with pytest.raises(AvadetError, match=r"boxes of street are pixels of frames of unknown size; add --size") as error:
        lines(dump(tmp_path, project()), Footage(numbers="seconds"))
    assert len(str(error.value).splitlines()) == 2


def test_regions_of_via_2(tmp_path: Path) -> None:
    rectangle = {"name": "rect", "x": 50, "y": 0, "width": 150, "height": 50}
    own = {"action": {"stand": True, "talk; loudly": False}, "track_id": "3"}
    regions = [
        {"shape_attributes": rectangle, "region_attributes": own},
        {"shape_attributes": {"name": "circle", "cx": 1, "cy": 2, "r": 3}, "region_attributes": {}},
    ]
    pictures = {
        "v_902.jpg100": {"filename": "v_902.jpg", "size": 100, "regions": regions, "file_attributes": {}},
        "v_903.jpg100": {"filename": "v_903.jpg", "size": 100, "regions": {}, "file_attributes": {}},
    }
    expected = ["v,902,0.25,0,1,0.5,12,3", "v,903"]
    assert lines(dump(tmp_path, pictures)) == expected
    assert lines(dump(tmp_path, {"_via_settings": {}, "_via_img_metadata": pictures})) == expected
    del rectangle["x"]
    with pytest.raises(AvadetError, match=r"in.json: metadata 0 of v_902.jpg: xy is \[2, null, 0, 150, 50\]"):
        lines(dump(tmp_path, pictures))


def test_a_csv_of_via_2(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text(
        "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"
        'v_902.jpg,9,"{}",1,0,"{""name"":""rect"",""x"":50,""y"":0,""width"":150,""height"":50}","{""action"":""stand""}"\n'
        'v_903.jpg,9,"{}",0,0,"{}","{}"\n'
    )
    assert lines(path) == ["v,902,0.25,0,1,0.5,12", "v,903"]


EDITS = "v,0902,0.1001,0.10,0.50,0.50,12,7\nv,0902,0.1001,0.10,0.50,0.50,79,7\nv,0903\n"


@each_case(
    ("change", "becomes"),
    [
        ({}, EDITS.splitlines()),
        ({"xy": [2, 128, 48, 192, 192]}, ["v,0902,0.2,0.1,0.5,0.5,12,7", "v,0902,0.2,0.1,0.5,0.5,79,7", "v,0903"]),
        ({"1": "79"}, ["v,0902,0.1001,0.10,0.50,0.50,79,7", "v,0903"]),
        ({"2": "9"}, ["v,0902,0.1001,0.1,0.5,0.5,12,9", "v,0902,0.1001,0.1,0.5,0.5,79,9", "v,0903"]),
        ({"z": [901]}, ["v,0901,0.1001,0.1,0.5,0.5,12,7", "v,0901,0.1001,0.1,0.5,0.5,79,7", "v,0903"]),
    ],
    ids=["nothing", "box", "action", "person", "time"],
)
def test_what_was_edited_counts(tmp_path: Path, change: dict[str, Any], becomes: list[str]) -> None:
    source, there = tmp_path / "in.csv", tmp_path / "there.json"
    source.write_text(EDITS)
    write_via(there, to_coco(read_ava_rows(source)), ActionNames(LABELS))
    document = json.loads(there.read_text())
    (region,) = (entry for entry in document["metadata"].values() if entry["xy"])
    assert region["xy"] == [2, 64.064, 48, 255.936, 192]
    for key, value in change.items():
        (region if key in region else region["av"])[key] = value
    write_ava_rows(tmp_path / "back.csv", read_via(dump(tmp_path, document), ActionNames()))
    assert (tmp_path / "back.csv").read_text().splitlines() == becomes


@each_case(
    ("key", "value", "says"),
    [
        ("xy", [2, 1, 2, 3], "in.json: metadata 1_a: xy is [2, 1, 2, 3], expected [2, x, y, width, height]"),
        ("xy", [2, 1, "2", 3, 4], 'in.json: metadata 1_a: xy is [2, 1, "2", 3, 4], expected the number of a shape'),
        ("xy", [2, 1, 2, -3, 4], "in.json: metadata 1_a: box is 1, 2, -2, 6, expected the left top corner first"),
        ("z", [], "in.json: metadata 1_a: z is [], expected one moment of the video in seconds"),
        ("z", [1, 2], "in.json: metadata 1_a: z is [1, 2], expected one moment of the video in seconds"),
        ("vid", "9", 'in.json: metadata 1_a: vid is "9", expected the id of a view with a file'),
    ],
)
def test_what_is_wrong_is_told_with_its_region(tmp_path: Path, key: str, value: object, says: str) -> None:
    document = project()
    document["metadata"]["1_a"][key] = value
    with pytest.raises(AvadetError, match=re.escape(says)) as error:
        lines(dump(tmp_path, document))
    assert "\n" not in str(error.value)


def test_files_that_are_no_project(tmp_path: Path) -> None:
    for document in ({"images": []}, [1], {"metadata": {}, "file": 3}):
        with pytest.raises(AvadetError, match=r"in.json: expected a project of VIA, an object with 'metadata'"):
            lines(dump(tmp_path, document))
    path = tmp_path / "in.csv"
    path.write_text("filename,x,y\nv_902.jpg,1,2\n")
    with pytest.raises(
        AvadetError, match=r"in.csv:1: expected VIA's JSON, or its CSV with the columns filename, region"
    ):
        lines(path)


def frames_project(names: list[str]) -> dict[str, Any]:
    """Pictures of frames with two groups of options, of which one option is called alike."""
    groups = {"1": ("posture", {"0": "sit", "1": "other"}), "2": ("hand", {"0": "write", "1": "other"})}
    files = {str(i): {"fid": str(i), "fname": name, "type": 2} for i, name in enumerate(names, start=1)}
    return {
        "attribute": {key: {"aname": name, "type": 2, "options": options} for key, (name, options) in groups.items()},
        "file": files,
        "metadata": {
            f"m{i}": {"vid": i, "z": [], "xy": [2, 0, 0, 20, 10], "av": {"1": "0,1", "2": "1"}} for i in files
        },
        "view": {i: {"fid_list": [i]} for i in files},
    }


def test_pictures_of_frames_need_the_rate(tmp_path: Path) -> None:
    path = dump(tmp_path, frames_project(["1_000061.jpg", "1_000091.jpg"]))
    with pytest.raises(
        AvadetError, match=r"pictures of 1 have numbers of frames .*--fps N .*--numbers seconds"
    ) as error:
        lines(path, Footage(size_hw=SIZE.size_hw))
    assert "\n" not in str(error.value)
    rated = Footage(size_hw=SIZE.size_hw, fps=lambda video_id: 30.0, first_frame=1)
    names = ActionNames(numbering=True)
    rows = read_via(path, names, rated).rows
    assert {(row.video_id, row.time_s) for row in rows} == {("1", 2.0), ("1", 3.0)}
    assert names.options() == {1: "sit", 2: "posture: other", 3: "hand: other"}
    labels = LabelMap(tuple(names.options().values()), (1, 2, 3), ("action",) * 3, (True,) * 3)
    assert read_via(path, ActionNames(labels), rated).rows == rows


def segments(**metadata: dict[str, Any]) -> dict[str, Any]:
    """A video in which P1 walks, then sits, and somebody waves all the time; boxes of P1 and P2."""
    document = project()
    document["attribute"] = {
        "1": {"aname": "TEMPORAL-SEGMENTS", "type": 4, "options": {"walk": "walk", "sit": "sit"}},
        "2": {"aname": "person", "type": 1, "options": {}},
    }
    document["file"] = {"1": document["file"]["1"]}
    document["metadata"] = {
        "a": {"vid": "1", "z": [0.0, 1.0], "xy": [], "av": {"1": "walk", "2": "P1"}},
        "b": {"vid": "1", "z": [1.0, 2.0], "xy": [], "av": {"1": "sit", "2": "P1"}},
        "c": {"vid": "1", "z": [0.0, 3.0], "xy": [], "av": {"1": "wave"}},
        "d": {"vid": "1", "z": [0.5], "xy": [2, 0, 0, 20, 10], "av": {"2": "P1"}},
        "e": {"vid": "1", "z": [1.0], "xy": [2, 0, 0, 20, 10], "av": {"2": "P1"}},
        "f": {"vid": "1", "z": [1.0], "xy": [2, 50, 0, 20, 10], "av": {"2": "P2"}},
    }
    document["metadata"] |= metadata
    return document


def test_boxes_have_the_actions_of_the_segments_around_them(tmp_path: Path) -> None:
    names = ActionNames(numbering=True)
    table = read_via(dump(tmp_path, segments()), names, SIZE)
    found = [(row.time_s, row.action_id, row.last) for row in table.rows]
    assert found == [(0.5, 1, 1), (0.5, 2, 1), (1.0, 3, 1), (1.0, 2, 1), (1.0, 2, 2)]
    assert names.options() == {1: "walk", 2: "wave", 3: "sit"}
    assert not +table.left_out  # type: ignore[operator]  # a Counter


def test_boxes_and_segments_that_share_an_attribute_must_agree(tmp_path: Path) -> None:
    """An attribute that is no choice, such as a name, tells whose segment it is."""
    document = segments()
    document["attribute"]["2"]["aname"] = "who"
    rows = read_via(dump(tmp_path, document), ActionNames(numbering=True), SIZE).rows
    assert [(row.time_s, row.action_id, row.last) for row in rows] == [
        (0.5, 1, None), (0.5, 2, None), (1.0, 3, None), (1.0, 2, None), (1.0, 2, None),
    ]  # fmt: skip
    only = Footage(size_hw=SIZE.size_hw, attributes=("TEMPORAL-SEGMENTS",))
    names = ActionNames(numbering=True)
    assert read_via(dump(tmp_path, document), names, only).rows == rows
    assert names.options() == {1: "walk", 2: "wave", 3: "sit"}


def test_segments_that_hold_no_box_are_counted_and_bad_ones_named(tmp_path: Path) -> None:
    lonely = {"vid": "1", "z": [5.0, 6.0], "xy": [], "av": {"1": "sit"}}
    table = read_via(dump(tmp_path, segments(g=lonely)), ActionNames(numbering=True), SIZE)
    assert table.left_out["temporal segments without a box of theirs"] == 1
    with pytest.raises(AvadetError, match=r"metadata g: a temporal segment is z \[6.0, 5.0\]"):
        lines(dump(tmp_path, segments(g=lonely | {"z": [6.0, 5.0]})))


def test_choices_of_via_2_are_numbered(tmp_path: Path) -> None:
    own = {"posture": "0", "colour": "red", "hand": {"write": True, "phone": False}}
    rectangle = {"name": "rect", "x": 0, "y": 0, "width": 20, "height": 10}
    regions = [{"shape_attributes": rectangle, "region_attributes": own}]
    kinds: dict[str, tuple[str, dict[str, str]]] = {
        "posture": ("dropdown", {"0": "sit", "1": "stand"}),
        "colour": ("text", {}),
        "hand": ("checkbox", {"write": ""}),
    }
    content = {
        "_via_attributes": {"region": {name: {"type": kind, "options": own} for name, (kind, own) in kinds.items()}},
        "_via_img_metadata": {"k": {"filename": "v_902.jpg", "regions": regions}},
    }
    names = ActionNames(numbering=True)
    assert [row.action_id for row in read_via(dump(tmp_path, content), names, SIZE).rows] == [1, 2]
    assert (names.options(), names.unused) == ({1: "sit", 2: "write"}, {"colour": 1})
