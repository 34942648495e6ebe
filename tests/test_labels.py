"""Label maps: the ones that ship with the package, and those of other people's files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from each_case import each_case

from avadet.errors import AvadetError
from avadet.labels import label_map_names, read_label_map

WITH_TYPE = """
label {
  name: "bend/bow (at the waist)"
  label_id: 1
  label_type: PERSON_MOVEMENT
}
label{name: "answer phone"label_id: 15label_type: OBJECT_MANIPULATION}
"""
WITHOUT_TYPE = """
item {
  name: "stand"
  id: 12
}
item {
  name: "juggle"
  id: 99
}
"""


def test_names() -> None:
    assert label_map_names() == ["ava_v2.1", "ava_v2.2", "jhmdb21", "multisports", "ucf24"]


@each_case("name", ["ava_v2.1", "ava_v2.2"])
def test_ava_has_80_classes_of_which_60_count(name: str) -> None:
    labels = read_label_map(name)
    assert labels.ids == tuple(range(1, 81))
    assert [labels.names[i - 1] for i in (1, 12, 79)] == [
        "bend/bow (at the waist)",
        "stand",
        "talk to (e.g., self, a person, a group)",
    ]
    assert Counter(labels.groups) == {"pose": 14, "object": 49, "person": 17}
    counted = [group for group, evaluated in zip(labels.groups, labels.evaluated) if evaluated]
    assert Counter(counted) == {"pose": 13, "object": 32, "person": 15}
    assert not labels.exclusive


def test_jhmdb_has_21_classes_one_of_which_is_right() -> None:
    labels = read_label_map("jhmdb21")
    assert labels.ids == tuple(range(1, 22))
    assert labels.names == tuple(sorted(labels.names))
    assert labels.exclusive
    assert all(labels.evaluated)


def test_pbtxt_with_types(tmp_path: Path) -> None:
    path = tmp_path / "list.pbtxt"
    path.write_text(WITH_TYPE)
    labels = read_label_map(path)
    assert labels.names == ("bend/bow (at the waist)", "answer phone")
    assert labels.ids == (1, 15)
    assert labels.groups == ("pose", "object")


def test_pbtxt_without_types_takes_the_groups_of_ava_where_it_is_ava(tmp_path: Path) -> None:
    path = tmp_path / "list.pbtxt.txt"
    path.write_text(WITHOUT_TYPE)
    assert read_label_map(str(path)).groups == ("pose", "action")


LISTS = {
    "label_map.txt": "1: walk\n2: sit (on a chair), etc.\n\n3: wave\n",
    "names.txt": "walk\nsit (on a chair), etc.\nwave\n",
    "classInd.txt": "1 walk\n2 sit (on a chair), etc.\n3 wave\n",
    "one.pbtxt.txt": 'item { name: "walk" id: 1 } item{name:"sit (on a chair), etc."\nid:2}\n'
    "item {\n id: 3\n name: 'wave' }",
    "two.pbtxt": 'label { name: "walk" label_id: 1 } label { name: "sit (on a chair), etc." label_id: 2 }'
    ' label { name: "wave" label_id: 3 label_type: PERSON_MOVEMENT }',
    "list.json": '["walk", "sit (on a chair), etc.", "wave"]',
    "ids.json": '{"walk": 1, "wave": 3, "sit (on a chair), etc.": 2}',
    "names.json": '{"1": "walk", "2": "sit (on a chair), etc.", "3": "wave"}',
    "coco.json": '{"images": [], "categories": [{"id": 3, "name": "wave"}, {"id": 1, "name": "walk"},'
    ' {"id": 2, "name": "sit (on a chair), etc."}]}',
    "list.yaml": '- walk\n- "sit (on a chair), etc."\n- wave\n',
    "data.yaml": 'names: {1: walk, 2: "sit (on a chair), etc.", 3: wave}\n',
    "table.csv": 'Class_ID;Class_Name\n1;walk\n2;"sit (on a chair), etc."\n3;wave\n',
    "plain.csv": "1,walk\n2,sit (on a chair), etc.\n3,wave\n",
}


@each_case("name", LISTS)
def test_class_lists_of_the_field(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\xef\xbb\xbf" + LISTS[name].replace("\n", "\r\n").encode())
    labels = read_label_map(path)
    assert (labels.ids, labels.names) == ((1, 2, 3), ("walk", "sit (on a chair), etc.", "wave"))


def test_the_list_of_mmaction2_has_the_groups_of_ava(tmp_path: Path) -> None:
    path = tmp_path / "label_map.txt"
    path.write_text("1: bend/bow (at the waist)\n12: stand\n17: carry/hold (an object)\n")
    assert read_label_map(path).groups == ("pose", "pose", "object")


@each_case("header", ["id,name,group,evaluated", "label_id,label_name,label_type,evaluated"])
def test_csv(tmp_path: Path, header: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f'{header}\n7,"hop, skip",PERSON_MOVEMENT,true\n3,wave,person,false\n')
    labels = read_label_map(path)
    assert (labels.ids, labels.names) == ((3, 7), ("wave", "hop, skip"))
    assert (labels.groups, labels.evaluated) == (("person", "pose"), (False, True))


def test_unknown_name_with_close_matches() -> None:
    with pytest.raises(AvadetError, match=r"unknown label map.*'ava_2.2'; did you mean ava_v2.2"):
        read_label_map("ava_2.2")


@each_case(
    ("name", "text", "says"),
    [
        ("a.csv", "number,text\n1,a\n", "needs the columns id and name, got number, text"),
        ("a.csv", "id,name\nx,wave\n", "class 'wave' needs a whole number as id, got 'x'"),
        ("a.csv", "id,name\n", "at least one class"),
        ("a.csv", "id,name\n1,a\n1,b\n", "id 1 twice"),
        ("a.pbtxt", "nothing here", "no classes found"),
        ("a.pbtxt", 'label { name: "x" }', "block 1 needs a name and an id, got name"),
        ("a.yaml", "[1, 2]", "not a label map"),
        ("a.txt", "", "at least one class"),
        ("a.txt", "<html>\n</html>", "no classes found"),
        ("a.txt", "walk\nsit\nwalk\n", "class 'walk' is there twice"),
        ("a.json", "[1, 2]", "not a label map: expected a list of names"),
        ("a.json", '{"walk": 1, "sit": 1}', "id 1 twice"),
        ("a.json", "[", "not JSON"),
    ],
)
def test_files_that_are_no_label_map(tmp_path: Path, name: str, text: str, says: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(AvadetError, match=says) as error:
        read_label_map(path)
    assert str(path) in str(error.value)


@pytest.mark.shared
def test_our_map_is_the_official_one(shared: Path) -> None:
    ours = read_label_map("ava_v2.2")
    theirs = read_label_map(shared / "data/ava/official/ava_action_list_v2.2.pbtxt")
    assert (ours.ids, ours.names, ours.groups) == (theirs.ids, theirs.names, theirs.groups)
    counted = read_label_map(shared / "data/ava/official/ava_action_list_v2.2_for_activitynet_2019.pbtxt")
    assert tuple(i for i, evaluated in zip(ours.ids, ours.evaluated) if evaluated) == counted.ids
    assert set(zip(counted.ids, counted.names, counted.groups)) <= set(zip(ours.ids, ours.names, ours.groups))


@pytest.mark.shared
@each_case("name", ["ava_action_list_v1.0.pbtxt", "ava_action_list_v2.0.csv"])
def test_other_dialects_of_the_official_list(shared: Path, name: str) -> None:
    assert read_label_map(shared / "data/ava/official" / name).names == read_label_map("ava_v2.2").names
