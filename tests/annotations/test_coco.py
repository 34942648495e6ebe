"""AVA's rows as COCO JSON and back: what the form is, that nothing is lost, what is refused and how."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from each_case import each_case

from avadet.annotations.action_names import ActionNames
from avadet.annotations.ava import csv_line
from avadet.annotations.ava_rows import AvaRows, read_ava_rows, write_ava_rows
from avadet.annotations.coco import read_coco, to_coco, write_coco
from avadet.annotations.footage import Footage
from avadet.errors import AvadetError
from avadet.types import LabelMap

LABELS = LabelMap(("stand", "talk"), (12, 79), ("pose", "person"), (True, True))
TRUTH = """v,0902,0.250,0.500,0.750,1.000,12,7
w,0903
v,0902,0.250,0.500,0.750,1.000,79,7
v,0902,0.250,0.500,0.750,1.000,12,8
"""
FOREIGN: dict[str, Any] = {
    "images": [
        {"id": "b", "file_name": "frames/v/0903.5.jpg", "width": 200, "height": 100},
        {"id": 4, "video_id": "w_1", "time_s": 2, "width": 100, "height": 100},
        {"id": 5, "file_name": "clip_a_7.png", "width": 100, "height": 100},
    ],
    "annotations": [
        {"id": 1, "image_id": 4, "category_id": 3, "bbox": [25, 50, 50, 25]},
        {"id": 2, "image_id": "b", "category_id": 3, "bbox": [50, 0, 150, 50.0]},
        {"id": 3, "image_id": "b", "category_id": 9, "bbox": [0, 0, 20, 10]},
        {"id": 4, "image_id": 4, "category_id": 3, "bbox": [0, 0, 90, 90], "iscrowd": 1},
    ],
    "categories": [{"id": 3, "name": "person"}, {"id": 9, "name": "dog"}],
}


def read(path: Path, labels: LabelMap | None = None, images: Path | None = None, **footage: Any) -> AvaRows:
    given = footage or {"numbers": "seconds"}
    return read_coco(path, ActionNames(labels), images, Footage(**given))


def write(folder: Path, text: str, name: str = "rows.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def dump(folder: Path, document: object, name: str = "coco.json") -> Path:
    return write(folder, json.dumps(document), name)


def changed(entry: str, position: int, **fields: object) -> dict[str, Any]:
    """FOREIGN with some fields of one image or annotation replaced; ... takes a field out."""
    document = json.loads(json.dumps(FOREIGN))
    document[entry][position] |= {name: value for name, value in fields.items() if value is not ...}
    for name in [name for name, value in fields.items() if value is ...]:
        document[entry][position].pop(name, None)
    return document


def lines_of(table: AvaRows, folder: Path) -> list[str]:
    path = folder / "back.csv"
    write_ava_rows(path, table)
    return path.read_text(encoding="utf-8").splitlines()


def there_and_back(path: Path, folder: Path) -> str:
    write_coco(folder / "there.json", to_coco(read_ava_rows(path)))
    write_ava_rows(folder / "back.csv", read(folder / "there.json"))
    with (folder / "back.csv").open(encoding="utf-8", newline="") as file:
        return file.read()


def test_the_form_by_hand(tmp_path: Path) -> None:
    document = to_coco(read_ava_rows(write(tmp_path, TRUTH)), LABELS, size_hw=(100, 200))
    assert document["images"] == [
        {"id": 1, "file_name": "v/902.jpg", "width": 200, "height": 100, "video_id": "v", "time_s": 902.0},
        {"id": 2, "file_name": "w/903.jpg", "width": 200, "height": 100, "video_id": "w", "time_s": 903.0, "rows": [2]},
    ]
    box = {"bbox": [50, 50, 100, 50], "area": 5000, "iscrowd": 0, "bbox_norm": [0.25, 0.5, 0.75, 1]}
    common = {"image_id": 1, "category_id": 1, **box}
    assert document["annotations"] == [
        {"id": 1, **common, "action_ids": [12, 79], "person_id": 7, "rows": [1, 3]},
        {"id": 2, **common, "action_ids": [12], "person_id": 8, "rows": [4]},
    ]
    assert [category["name"] for category in document["categories"]] == ["person"]
    assert document["actions"][1] == {"id": 79, "name": "talk", "group": "person"}


def test_scores_of_a_person(tmp_path: Path) -> None:
    text = "v,1,0,0,1,1,12,0.25\nv,1,0,0,1,1,79,0.75\nv,1,0,0,0.5,1,12\nv,2,0,0,1,1,12\nv,2,0,0,1,1,79,0.5\n"
    path = write(tmp_path, text)
    entries = to_coco(read_ava_rows(path))["annotations"]
    assert [entry.get("scores") for entry in entries] == [[0.25, 0.75], None, [None, 0.5]]
    assert [entry.get("score") for entry in entries] == [0.75, None, 1.0]
    assert there_and_back(path, tmp_path) == text


@each_case(
    "text",
    [
        "",
        TRUTH,
        "v,1\nv,2\n",
        "v,1\nv,1\n",
        "v,0.366666,0,0,1,1,12,7\nv,0.366667,0,0,1,1,79,7\nv,0.37,0,0,0.5,1,12,8\n",
        "v,-0,0,0,1,1\nv,0,0,0,1,1\nv,0.0,0,0,1,1\n",
        "v,1,0,0,1,1\nv,0.033333,0,0.1,1,0.2\n",
        "v,1,0,0,1,1,12\nv,1,0,0,1,1,79\n",
        "v,1,0,0,1,1,12,0.500000\nv,1,0,0,1,1,,0.123456\n",
        "v,1,0,0,1,1,\nv,1,0,0,1,1,\n",
        "v,0902,.1,1e-3,0.50,+1,012,0.5\nv,902,0.100,0.001,0.5,1,12,5e-1\nv,902.0,0.1,0.001,0.5,1.0,12,0.5\n",
        '"a,b",1,-0.25,0,1.5,1,12,-3\n"say ""hi""",1,-0.0,0,0,1,12,4\n',
        "v,0.3333333333333333,0.1,0.30000000000000004,0.7,0.9999999999999999,1,1e-300\n",
        "../x,1,0,0,1,1,12,1\n..,1,0,0,1,1,12,1\nümlaut 人,2,0,0,1,1,12,1\n",
    ],
)
def test_there_and_back_is_the_same_text(tmp_path: Path, text: str) -> None:
    assert there_and_back(write(tmp_path, text), tmp_path) == text


def test_a_keyframe_is_one_image_whatever_the_digits(tmp_path: Path) -> None:
    text = "v,0.366666,0,0,1,1,12,7\nv,0.366667,0,0,1,1,79,7\nv,0.4,0,0,1,1,12,7\n"
    document = to_coco(read_ava_rows(write(tmp_path, text)))
    assert [image["time_s"] for image in document["images"]] == [0.366666, 0.4]
    assert [entry["action_ids"] for entry in document["annotations"]] == [[12, 79], [12]]


def test_any_valid_file_comes_back(tmp_path: Path) -> None:
    hypothesis = pytest.importorskip("hypothesis", reason="hypothesis makes up the files; part of the test extra")
    from hypothesis import strategies as st

    letters = st.characters(exclude_categories=["Cs", "Cc", "Cf"])
    names = st.sampled_from(["v", "w", "a,b"]) | st.text(letters, min_size=1, max_size=4)
    times = st.sampled_from(["902", "0902", "902.0", "902.5", "1e2", "-0", "0.0333333333"])
    known = ["0", "0.5", "0.50", ".5", "1", "1e-3", "-0.0", "+0.25", "-0.1", "0.1234567890123456789"]
    numbers = st.sampled_from(known) | st.floats(-2, 2).map(repr)
    boxes = st.tuples(*[st.tuples(numbers, numbers).map(lambda pair: sorted(pair, key=float))] * 2)
    actions = st.sampled_from(["12", "79", "012", ""])

    @st.composite
    def rows(draw: Any) -> list[str]:
        cells = [draw(names), draw(times)]
        width = draw(st.sampled_from([2, 6, 7, 8]))
        (x1, x2), (y1, y2) = draw(boxes)
        return [*cells, x1, y1, x2, y2, draw(actions), draw(lasts)][:width]

    lasts = numbers | st.integers(-1, 3).map(str)

    @hypothesis.settings(max_examples=25, deadline=None, derandomize=True, database=None)
    @hypothesis.given(st.lists(rows(), max_size=8))
    def comes_back(table: list[list[str]]) -> None:
        text = "".join(f"{csv_line(cells)}\n" for cells in table)
        path = write(tmp_path, text)
        assert there_and_back(path, tmp_path) == text
        there = json.loads((tmp_path / "there.json").read_text(encoding="utf-8"))
        last = there["info"]["csv"]["last"]
        assert to_coco(read_ava_rows(tmp_path / "back.csv", last)) == there
        for entry in there["images"] + there["annotations"]:
            entry.pop("cells", None)
        values = [row[:5] for row in read(dump(tmp_path, there)).rows]
        for got, wanted in zip(values, [row[:5] for row in read_ava_rows(path, last).rows], strict=True):
            assert got[1] == pytest.approx(wanted[1], abs=1e-6)
            assert (got[0], *got[2:]) == (wanted[0], *wanted[2:])

    comes_back()


def test_a_change_in_the_json_shows_in_the_csv(tmp_path: Path) -> None:
    text = "v,1,0.1,0.10,0.5,0.5,12,1\nv,1,0.1,0.1,0.5,0.5,79,1\n"
    document = to_coco(read_ava_rows(write(tmp_path, text)))
    assert document["annotations"][0]["cells"] == {"1": ["v", "1", "0.1", "0.10", "0.5", "0.5", "12", "1"]}
    document["annotations"][0]["action_ids"] = [14, 79]
    changed_lines = ["v,1,0.1,0.1,0.5,0.5,14,1", "v,1,0.1,0.1,0.5,0.5,79,1"]
    assert lines_of(read(dump(tmp_path, document)), tmp_path) == changed_lines
    document["annotations"][0]["bbox"][0] += 1
    moved = read(dump(tmp_path, document)).rows[0].box_norm
    assert moved == pytest.approx((0.1 + 1 / 640, 0.1, 0.5 + 1 / 640, 0.5), abs=1e-12)


def test_the_style_of_the_file_never_costs_a_digit(tmp_path: Path) -> None:
    document = to_coco(read_ava_rows(write(tmp_path, "v,0902,0.10,0.10,0.50,0.50,12,0.70\n")))
    document["annotations"][0]["bbox_norm"][1] = 0.1001
    document["annotations"][0]["scores"] = [0.123]
    document["images"][0]["time_s"] = 7.5
    assert lines_of(read(dump(tmp_path, document)), tmp_path) == ["v,7.5,0.10,0.1001,0.50,0.50,12,0.123"]


def test_a_person_taken_out_leaves_the_keyframe(tmp_path: Path) -> None:
    document = to_coco(read_ava_rows(write(tmp_path, "v,0902,0,0,1,1,12,1\nv,0903,0,0,1,1,12,1\n")))
    del document["annotations"][0]
    assert lines_of(read(dump(tmp_path, document)), tmp_path) == ["v,0903,0,0,1,1,12,1", "v,0902"]


def test_file_names_stay_in_their_folder(tmp_path: Path) -> None:
    text = "".join(f"{name},0902.5,0,0,1,1\n" for name in ("../../etc", "..", "/abs", "a\\b", "100%"))
    names = [image["file_name"] for image in to_coco(read_ava_rows(write(tmp_path, text)))["images"]]
    assert names[:2] == ["..%2F..%2Fetc/902.5.jpg", "%2E%2E/902.5.jpg"]
    assert all(len(Path(name).parts) == 2 and ".." not in Path(name).parts for name in names)
    images = [{"id": i, "file_name": name} for i, name in enumerate(names)]
    for image, own in zip(images, ["stays inside", "stays inside", "abs", "a/b", "100%"]):
        path = dump(tmp_path, {"images": [image], "annotations": [], "categories": []})
        if own == "stays inside":
            with pytest.raises(AvadetError, match="a name that stays inside the folder of videos"):
                read(path)
        else:
            assert [(row.video_id, row.time_s) for row in read(path).rows] == [(own, 902.5)]


def test_foreign_people(tmp_path: Path) -> None:
    table = read(dump(tmp_path, FOREIGN))
    assert table.left_out == {"boxes of 'dog'": 1, "crowds, or to be ignored": 1}
    assert lines_of(table, tmp_path) == ["v,903.5,0.25,0,1,0.5,", "w_1,2,0.25,0.5,0.75,0.75,", "clip_a,7"]


def test_foreign_actions_by_id_and_by_name(tmp_path: Path) -> None:
    document = FOREIGN | {"categories": [{"id": 3, "name": "talk"}, {"id": 9, "name": "stand"}]}
    path = dump(tmp_path, document)
    assert [row.action_id for row in read(path).rows] == [3, 9, 3, None]
    assert [row.action_id for row in read(path, LABELS).rows] == [79, 12, 79, None]
    stranger = FOREIGN | {"categories": [{"id": 3, "name": "talk"}, {"id": 9, "name": "swim"}]}
    with pytest.raises(AvadetError, match="annotation 3: its category is 9 'swim', expected a name of the label map"):
        read(dump(tmp_path, stranger), LABELS)


def test_a_list_of_detections(tmp_path: Path) -> None:
    found = [
        {"image_id": "b", "category_id": 3, "bbox": [0, 0, 100, 100], "score": 0.5},
        {"image_id": 4, "category_id": 3, "bbox": [0, 0, 100, 100], "score": 0.1234567},
    ]
    path, images = dump(tmp_path, found, "found.json"), dump(tmp_path, FOREIGN)
    assert lines_of(read(path, images=images), tmp_path) == [
        "v,903.5,0,0,0.5,1,,0.5",
        "w_1,2,0,0,1,1,,0.1234567",
        "clip_a,7",
    ]
    with pytest.raises(AvadetError, match=r"found.json is a list of detections; .*--images"):
        read(path)


def test_gzip_whatever_the_name(tmp_path: Path) -> None:
    path = tmp_path / "coco.json"
    path.write_bytes(gzip.compress(json.dumps(FOREIGN).encode()))
    assert len(read(path).rows) == 3


def test_what_the_eighth_column_is(tmp_path: Path) -> None:
    whole = write(tmp_path, "v,1,0,0,1,1,12,1\nv,2,0,0,1,1,12,0\n")
    assert read_ava_rows(whole).last == "person_id"
    scores = read_ava_rows(whole, last="score")
    assert [entry["score"] for entry in to_coco(scores)["annotations"]] == [1.0, 0.0]
    broken = write(tmp_path, "v,1,0,0,1,1,12,1\nv,2,0,0,1,1,12,0.5\n")
    assert read_ava_rows(broken).last == "score"
    with pytest.raises(AvadetError, match=r"rows.csv:2: column 8 \(person_id\) is '0.5', expected a whole number"):
        read_ava_rows(broken, last="person_id")
    with pytest.raises(AvadetError, match=r"rows.csv:1: column 8 \(score\) is 'nan', expected a finite number"):
        read_ava_rows(write(tmp_path, "v,1,0,0,1,1,12,nan\n"))


@each_case(
    ("entry", "position", "fields", "says"),
    [
        ("annotations", 0, {"bbox": [1, 2, 3]}, r"annotation 1: bbox is \[1, 2, 3\], expected four finite numbers"),
        ("annotations", 0, {"bbox": [1, 2, 3, "4"]}, "annotation 1: bbox is .*expected four finite"),
        ("annotations", 0, {"bbox": [1, 2, 3, float("nan")]}, "annotation 1: bbox is .*NaN.*expected four finite"),
        ("annotations", 0, {"bbox": [1, 2, 3, 10**400]}, "annotation 1: bbox is .*expected four finite"),
        ("annotations", 0, {"bbox": [1, 2, -3, 4]}, "annotation 1: bbox is .*width and height, these not negative"),
        ("annotations", 0, {"bbox": ...}, "annotation 1: bbox is missing"),
        ("annotations", 0, {"bbox_norm": [0.5, 0, 0.25, 1]}, "annotation 1: bbox_norm is .*the smaller one first"),
        ("annotations", 1, {"image_id": 17}, "annotation 2: image_id is 17, expected the id of an image"),
        ("annotations", 1, {"image_id": ...}, "annotation 2: expected image_id, a whole number or a text, got none"),
        ("annotations", 1, {"image_id": [1]}, r"annotation 2: expected image_id, .*got \[1\]"),
        ("annotations", 1, {"category_id": 17}, "annotation 2: category_id is 17, expected the id of a category"),
        ("annotations", 1, {"id": ..., "bbox": 3}, "annotation number 2 of the list: bbox is 3"),
        ("annotations", 0, {"action_ids": []}, r"annotation 1: action_ids is \[\], expected a list of whole numbers"),
        ("annotations", 0, {"action_ids": [1.5]}, "annotation 1: action_ids is"),
        ("annotations", 0, {"action_ids": [2**31]}, "annotation 1: action_ids is"),
        ("annotations", 0, {"person_id": 10**400}, "annotation 1: person_id is"),
        ("annotations", 0, {"score": "high"}, 'annotation 1: score is "high", expected a finite number'),
        ("annotations", 0, {"scores": [1, 2]}, "annotation 1: scores is .*expected a list of 1 numbers"),
        ("annotations", 0, {"person_id": 1.5}, "annotation 1: person_id is 1.5, expected a whole number"),
        ("annotations", 0, {"rows": [1, 2]}, "annotation 1: rows is .*expected a list of 1 whole numbers"),
        ("images", 0, {"file_name": "0001.jpg"}, "names of pictures do not tell the video; add --video NAME"),
        (
            "images",
            0,
            {"file_name": "first.jpg"},
            'image "b": a picture is called "first.jpg"; expected VIDEO/NUMBER.jpg',
        ),
        ("images", 0, {"file_name": "img_00001.jpg"}, "names of pictures do not tell the video"),
        ("images", 0, {"file_name": ...}, 'image "b": .*got video_id null, file_name null'),
        ("images", 1, {"time_s": "2"}, 'image 4: video_id and time_s are "w_1" and "2", expected a name and seconds'),
        ("images", 1, {"video_id": ...}, "image 4: expected video_id with time_s or frame_id, or .*got video_id null"),
        ("images", 1, {"video_id": "\ud800"}, "image 4: its video is .*UTF-8"),
        ("images", 1, {"width": 0}, "image 4: height and width are .*expected positive"),
        ("images", 1, {"rows": 3}, "image 4: rows is 3, expected a list of whole numbers"),
        ("images", 2, {"id": 4}, "image 4: expected every id once, got it again"),
        ("images", 1, {"width": ..., "height": ...}, "annotation 1: its image has no height and width"),
        ("categories", 0, {"name": ...}, "category 3: name is null, expected a text"),
    ],
)
def test_bad_entries_are_named(tmp_path: Path, entry: str, position: int, fields: dict[str, object], says: str) -> None:
    path = dump(tmp_path, changed(entry, position, **fields))
    with pytest.raises(AvadetError, match=says) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


VIDEOS = [
    {"id": 1, "name": "clip_a.mp4", "fps": 10, "width": 100, "height": 50},
    {"id": 2, "file_name": "walks/clip_b.avi", "width": 200, "height": 100},
]


def video_document(images: list[dict[str, Any]], **annotation: Any) -> dict[str, Any]:
    """Images of VIDEOS, and a box in the first."""
    box = {"id": 1, "image_id": images[0]["id"], "category_id": 1, "bbox": [10, 10, 40, 20]} | annotation
    return {"videos": VIDEOS, "images": images, "annotations": [box], "categories": [{"id": 1, "name": "Person"}]}


@each_case(
    ("image", "keyframe"),
    [
        ({"video_id": 1, "frame_id": 25, "file_name": "x/0000.jpg"}, ("clip_a", 2.5)),
        ({"video_id": 2, "frame_index": 50}, ("walks/clip_b", 2.0)),
        ({"video_id": 1, "file_name": "clip_a/000025.jpg"}, ("clip_a", 2.5)),
        ({"video_id": "clip_c", "frame_id": 50}, ("clip_c", 2.0)),
        ({"video_id": 1, "timestamp": 1.25}, ("clip_a", 1.25)),
        ({"file_name": "clip_a/img_000025.jpg"}, ("clip_a", 2.5)),
        ({"file_name": "JPEGImages/clip_a_000025.jpg"}, ("clip_a", 2.5)),
        ({"file_name": "clip_d/000050.jpg", "frame_id": 75}, ("clip_d", 3.0)),
    ],
)
def test_images_of_videos(tmp_path: Path, image: dict[str, Any], keyframe: tuple[str, float]) -> None:
    """The rate of a video is its own, else that of the user."""
    path = dump(tmp_path, video_document([{"id": 7, "width": 100, "height": 50} | image]))
    row = read(
        path,
        fps={"clip_a": None}.get(keyframe[0], lambda name: None if name == "clip_a" else 25.0) or (lambda name: None),
    ).rows[0]
    assert (row.video_id, row.time_s) == keyframe
    assert row.box_norm == pytest.approx((0.1, 0.2, 0.5, 0.6))


def test_what_images_of_videos_do_not_tell(tmp_path: Path) -> None:
    images = [{"id": 1, "video_id": 2, "frame_id": 3}]
    with pytest.raises(AvadetError, match="counts frames of walks/clip_b; to make seconds of them add --fps N"):
        read(dump(tmp_path, video_document(images)), numbers="frames")
    rows = read(dump(tmp_path, video_document(images)), fps=lambda name: 10.0).rows
    assert rows[0].box_norm == pytest.approx((0.05, 0.1, 0.25, 0.3))  # the size of the video
    with pytest.raises(AvadetError, match="image 1: video_id is 9, expected a name, or the id of an entry of 'videos'"):
        read(dump(tmp_path, video_document([images[0] | {"video_id": 9}])))
    with pytest.raises(AvadetError, match=r"image 1: time and frame are null and 1\.5, expected seconds or"):
        read(dump(tmp_path, video_document([images[0] | {"frame_id": 1.5}])))


@each_case(
    ("annotation", "actions", "person"),
    [
        ({"attributes": {"action": "talk", "occluded": True, "age": 30}, "track_id": 5}, [79], 5),
        ({"attributes": {"talk": True, "stand": False, "track_id": 5}}, [79], 5),
        ({"attributes": ["talk", "stand"], "instance_id": 5}, [79, 12], 5),
        ({"attributes": {"actions": ["talk", "stand"]}, "track_id": "5"}, [79, 12], 5),
        ({"attributes": {"posture": "stand"}, "track_id": "ped_1"}, [12], 1),
        ({"actions": ["stand"], "person_id": 5}, [12], 5),
        ({"action": "79"}, [79], None),
        ({"attributes": {"action": {"talk": True, "stand": False}}}, [79], None),
        ({"attributes": {"age": 12}}, [None], None),
    ],
)
def test_attributes_of_persons(
    tmp_path: Path, annotation: dict[str, Any], actions: list[int | None], person: int | None
) -> None:
    rows = read(dump(tmp_path, video_document([{"id": 1, "video_id": 1, "frame_id": 3}], **annotation)), LABELS).rows
    assert [row.action_id for row in rows] == actions
    assert {row.last for row in rows} == {person}


def test_actions_of_persons_that_are_no_names(tmp_path: Path) -> None:
    path = dump(tmp_path, video_document([{"id": 1, "video_id": 1, "frame_id": 3}], attributes={"action": "swim"}))
    with pytest.raises(AvadetError, match="annotation 1: action 'swim', expected a name or an id of the label map"):
        read(path, LABELS)
    names = ActionNames(numbering=True)
    assert read_coco(path, names).rows[0].action_id == 1 and names.options() == {1: "swim"}


def test_boxes_are_cut_and_what_stands_there_twice_is_left_out(tmp_path: Path) -> None:
    """What comes of another tool passes the checks of data: inside the frame, once, one box a person and keyframe."""
    boxes = [[-10, 0, 40, 50], [-10, 0, 40, 50], [50, 0, 40, 50], [0, 0, 0, 10], [200, 0, 10, 10]]
    entries = [
        {"id": i, "image_id": 1, "category_id": 1, "bbox": box, "track_id": 7 if i < 4 else i}
        for i, box in enumerate(boxes, start=1)
    ]
    document = video_document([{"id": 1, "video_id": 1, "frame_id": 0}]) | {"annotations": entries}
    table = read(dump(tmp_path, document))
    assert lines_of(table, tmp_path) == ["clip_a,0,0,0,0.3,1,,7", "clip_a,0,0.5,0,0.9,1,"]
    assert table.left_out == {
        "boxes that reached out of the frame, cut": 1,
        "rows that stand there already": 1,
        "ids of persons who have another box at that keyframe": 1,
        "boxes without width or height": 1,
        "boxes outside the frame": 1,
    }


@each_case(
    ("text", "says"),
    [
        ("{\n'images': []}", r"coco.json:2: not JSON at column 1"),
        ("[1, 2", "coco.json:1: not JSON at column 6"),
        ("3", "expected a COCO file, an object with a list 'images'; got 3"),
        ('{"images": [], "categories": []}', "with a list 'annotations'"),
        ('{"images": [], "annotations": []}', "with a list 'categories'"),
        ('{"images": {}, "annotations": []}', "with a list 'images'"),
        (
            '{"images": [7], "annotations": [], "categories": []}',
            "image number 1 of the list: expected an object, got 7",
        ),
        ("[" * 100_000, "cannot read .*coco.json"),
    ],
)
def test_files_that_are_no_coco(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(AvadetError, match=says):
        read(write(tmp_path, text, "coco.json"))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(AvadetError, match=r"cannot read .*absent.json: No such file.*expected a JSON file"):
        read(tmp_path / "absent.json")
    packed = tmp_path / "broken.json.gz"
    packed.write_bytes(gzip.compress(json.dumps(FOREIGN).encode())[:-20])
    with pytest.raises(AvadetError, match="cannot read"):
        read(packed)
    packed.write_bytes(bytes(range(128, 256)))
    with pytest.raises(AvadetError, match="cannot read"):
        read(packed)


def test_up_to_20_problems_at_once(tmp_path: Path) -> None:
    bad = [{"id": i, "image_id": 4, "category_id": 3, "bbox": None if i % 2 else [0, 0, 1, 1]} for i in range(1, 101)]
    with pytest.raises(AvadetError) as error:
        read(dump(tmp_path, FOREIGN | {"annotations": bad}))
    told = str(error.value).splitlines()
    assert [int(line.split("annotation ")[1].split(":")[0]) for line in told] == list(range(1, 41, 2))
    assert told[-1].endswith("stopped at 20, there may be more")


def test_one_kind_of_eighth_column(tmp_path: Path) -> None:
    document = json.loads(json.dumps(FOREIGN))
    document["annotations"][0]["score"] = 0.5
    document["annotations"][1]["person_id"] = 3
    with pytest.raises(AvadetError, match="some annotations have a score, others a person_id"):
        read(dump(tmp_path, document))


def test_pycocotools_reads_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="reads the file as others would")
    write_coco(tmp_path / "there.json", to_coco(read_ava_rows(write(tmp_path, TRUTH))))
    read = coco.COCO(str(tmp_path / "there.json"))
    assert sorted(read.getImgIds()) == [1, 2]
    assert read.getAnnIds(imgIds=[1], areaRng=[0.24 * 640 * 480, 0.26 * 640 * 480]) == [1, 2]


@pytest.mark.shared
@each_case(
    ("name", "rows"), [("partial/ava_val_v2.2_1j20qq1JyX4_0902-0969.csv", 246), ("detections/*_val_v2.2.csv", 901)]
)
def test_real_files_come_back(shared: Path, tmp_path: Path, name: str, rows: int) -> None:
    (path,) = (shared / "data/ava").glob(name)
    with path.open(encoding="utf-8", newline="") as file:
        text = file.read()
    assert len(text.splitlines()) == rows
    assert there_and_back(path, tmp_path) == text
    people = json.loads((tmp_path / "there.json").read_text())["annotations"]
    keys = {tuple(line.split(",")[:6]) for line in text.splitlines()}
    assert len(people) == len({(video, float(time), *np.float64(box)) for video, time, *box in keys})
