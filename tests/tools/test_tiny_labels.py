"""What the tools of `tiny` take for present, absent and unknown; splits, sources, labels by eye."""

from __future__ import annotations

import random
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from each_case import each_case
from tiny_actions import appearance, classes, phrases, pictures, targets, weak_labels
from tiny_actions.labels import FOLDER, EyeLabel, attach, read_actions, read_labels, read_pose
from tiny_actions.persons import Ledger, Person, Split, read_persons, write_persons
from tiny_actions.sources import SOURCES, fetch_commands

from avadet.errors import AvadetError
from avadet.labels import read_label_map

AVA = read_label_map("ava_v2.2")
NAME_OF = dict(zip(AVA.ids, AVA.names))
GROUP_OF = dict(zip(AVA.ids, AVA.groups))
OTHER_WORDS = {
    **{"phone": "answer phone", "computer": "work on a computer", "photo": "take a photo", "music": "instrument"},
    **{"kick_p": "kick (a person)", "push_p": "push (another person)", "lift_p": "lift (a person)"},
    **{"playkids": "play with kids", "watch_tv": "watch (e.g., TV)", "fish": "fishing", "putdown": "put down"},
    **{"handshake": "hand shake", "martial": "martial art", "getup": "get up", "lift": "lift/pick up"},
}


def person(**values: object) -> Person:
    return Person(**{"source": "har", "file": "a.jpg", "group": "g", "box": [0.0, 0.0, 10.0, 20.0], **values})


@each_case(("word", "class_id"), [*classes.POSE_IDS.items(), *classes.ACTION_IDS.items()])
def test_every_word_is_the_class_of_ava_that_it_says(word: str, class_id: int) -> None:
    if word == "?":
        assert class_id == classes.CANNOT_TELL
        return
    assert OTHER_WORDS.get(word, word) in NAME_OF[class_id]
    assert (GROUP_OF[class_id] == "pose") == (word in classes.POSE_IDS)


def test_weak_labels_name_classes_of_ava() -> None:
    assert {NAME_OF[weak_labels.CAPTION_ACTIONS[word]].split()[0] for word in ("sing", "kiss", "eat", "pull")} == {
        *("sing", "kiss", "eat", "pull")
    }
    actions = [*weak_labels.CAPTION_ACTIONS.values(), *weak_labels.SAID_IF_SEEN, *weak_labels.JHMDB_ACTIONS.values()]
    actions += [one for ids in weak_labels.HAR_ACTIONS.values() for one in ids]
    actions += [one for _, ids in weak_labels.SPORTS.values() for one in ids]
    assert all(GROUP_OF[one] != "pose" for one in actions)
    poses = [pose for pose, _ in weak_labels.SPORTS.values()] + [*weak_labels.JHMDB_POSES.values()]
    assert all(GROUP_OF[one] == "pose" for pose in poses for one in pose)
    assert all(sum(pose.values()) <= 1 for pose in poses)


def test_poses_by_eye() -> None:
    assert read_pose("sit", False, "") == {11: 1.0}
    assert read_pose("stand|walk", False, "") == {12: 0.5, 14: 0.5}
    assert read_pose("walk|stand", True, "") == {14: 0.65, 12: 0.35}
    assert read_pose("sit|?", False, "") == {11: 0.5, 0: 0.5}
    assert read_pose("x", False, "") == {}
    with pytest.raises(AvadetError, match=r"file:3.*sitt"):
        read_pose("sitt", False, "file:3")


def test_an_unsure_action_is_neither_present_nor_absent() -> None:
    present, absent = read_actions("eat hold", "drink", "")
    assert present == [29, 17]
    assert 27 not in absent and 54 in absent
    assert not {29, 17} & set(absent)
    assert not classes.SELDOM_SEEN & set(absent)


def test_the_labels_that_lie_here_can_be_read() -> None:
    names = {source.name for source in SOURCES}
    for file, in_video in (("pictures.csv", False), ("videos.csv", True)):
        labels = read_labels(FOLDER / file)
        assert len(labels) > 300
        assert {label.source for label in labels} <= names
        assert all((label.seconds is not None) == in_video for label in labels)
        assert all(label.box[0] < label.box[2] and label.box[1] < label.box[3] for label in labels)
        keys = [(label.source, label.file, label.seconds, label.box) for label in labels]
        assert len(set(keys)) == len(keys)


def test_a_label_goes_to_the_box_that_it_means() -> None:
    near = person(box=[0.0, 0.0, 10.0, 21.0], pose={12: 1.0}, present=[29])
    far, other = person(box=[6.0, 0.0, 16.0, 20.0]), person(file="b.jpg")
    label = EyeLabel("har", "a.jpg", None, (0, 0, 10, 20), {11: 1.0}, [15], [27])
    ledger = Ledger()
    assert attach([far, near, other], [label, EyeLabel("har", "c.jpg", None, (0, 0, 9, 9), {}, [], [])], ledger) == 1
    assert (near.by_eye, near.pose, near.present, near.absent) == (True, {11: 1.0}, [15], [27])
    assert not far.by_eye and not other.by_eye
    assert ledger.lines() == ["har: 0 taken; left out: 1 labels by eye that no box matches"]


def test_captions_make_present_absent_and_unknown() -> None:
    poses, weight = weak_labels.caption_poses({"stand": 1, "bend": 2})
    assert poses == pytest.approx({12: 1 / 3, 1: 1 / 3, 3: 1 / 3})
    assert weight == 1
    assert weak_labels.caption_poses({"sit": 1}) == ({11: 1.0}, pytest.approx(1 / 3))
    assert weak_labels.caption_poses({"ride": 2})[0] == pytest.approx({11: 6 / 7, 12: 1 / 7})
    assert weak_labels.caption_poses({}) == ({}, 0)
    present, absent = weak_labels.caption_actions({"eat": 2, "drink": 1, "type": 3}, 1, 4, random.Random(0))
    assert 29 in present and 29 not in absent
    assert not {27, 49} & set(absent)
    assert 48 in absent and 17 not in absent
    assert weak_labels.caption_actions({"eat": 2}, 2, 3, random.Random(0)) == ([29, 49], [])


def test_what_is_unknown_costs_nothing() -> None:
    table = targets.to_targets([person(present=[29], absent=[27], absent_weight=0.3), person(pose={11: 1.0})])
    columns = classes.action_column(29), classes.action_column(27)
    assert table.action_weight[0, list(columns)].tolist() == pytest.approx([0.55, 0.55 * 0.3])
    assert int((table.action_weight > 0).sum()) == 2
    assert table.pose_weight.tolist() == [0, 0]  # a pose without a weight
    factors = torch.ones(classes.NUM_ACTIONS)
    pose, action = torch.zeros(2, 15), torch.zeros(2, 66)
    before = appearance.costs(pose, action, table, factors)
    unknown = table.action_weight == 0
    wild = torch.where(unknown, 50.0 * torch.randn(2, 66), action)
    assert torch.allclose(torch.stack(before), torch.stack(appearance.costs(pose, wild, table, factors)))
    expected = (0.55 + 0.55 * 0.3) * np.log(2) / 2
    assert float(before[1]) == pytest.approx(expected)
    assert float(before[0]) == 0


def test_no_group_is_on_both_sides_of_the_split() -> None:
    persons = [person(group=f"g{n // 3}", by_eye=n % 3 == 0 and n < 600) for n in range(1200)]
    train, held = Split(persons).divide(persons)
    assert sorted(train + held) == list(range(1200))
    assert not {persons[i].group for i in train} & {persons[i].group for i in held}
    assert Split(persons).divide(persons) == (train, held)
    of_eye = sum(index < 600 for index in held) / 600
    others = sum(index >= 600 for index in held) / 600
    assert 0.17 < of_eye < 0.33 and 0.04 < others < 0.17
    assert [n for n in range(40) if Split([]).validates(f"g{n}")] == [4, 14, 16, 38]  # MD5 % 10 = 0


def test_those_of_an_official_test_are_never_learnt_from() -> None:
    persons = [person(group=f"g{n}", official_test=n % 2 == 0) for n in range(40)]
    assert not set(Split(persons).divide(persons)[0]) & set(range(0, 40, 2))


def test_permissive_only_drops_the_flagged_sources_and_no_others(tmp_path: Path) -> None:
    kept = {source.name for source in SOURCES if source.permissive}
    assert kept == {"classroom", "capston2", "figures"}
    in_part = {source.name: source.permissive_files for source in SOURCES if source.permissive_files}
    assert in_part == {"clips": ("intel_asl_walk.mkv", "nasa_13013.mp4")}
    for source in SOURCES:
        (tmp_path / source.name).mkdir()
        assert source.allows("x", False) and source.allows("x", True) == source.permissive
        found = pictures.source_folder(tmp_path, source, True, Ledger())
        assert (found is not None) == (source.name in kept or source.name in in_part)
        assert pictures.source_folder(tmp_path, source, False, Ledger()) == tmp_path / source.name
    clips = next(source for source in SOURCES if source.name == "clips")
    assert clips.allows("nasa_13013.mp4", True) and not clips.allows("carphone.mp4", True)
    ucf24 = next(source for source in SOURCES if source.name == "ucf24")
    assert not ucf24.allows("dataset/ucf24_demo/v_Fencing_g01_c06.mp4", False)
    assert all(source.commit in " ".join(fetch_commands()) for source in SOURCES)


def test_pictures_are_read_and_counted(tmp_path: Path) -> None:
    for name in ("eating", "sleeping"):
        (tmp_path / "har" / "data" / "train" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "har" / "data" / "train" / name / f"{name}.jpg"), np.zeros((20, 30, 3), np.uint8))
    (tmp_path / "falls" / "images").mkdir(parents=True)
    (tmp_path / "falls" / "images" / "fall1.txt").write_text("0 0.5 0.5 0.2 0.4\n")
    ledger = Ledger()
    eating, sleeping = pictures.read_pictures(tmp_path, False, ledger)
    assert (eating.file, eating.present, eating.pose) == ("data/train/eating/eating.jpg", [29], {})
    assert not {29, 27} & set(eating.absent) and 15 in eating.absent
    assert (sleeping.pose, sleeping.present) == ({8: 1}, [])
    assert ledger.left_out["falls"] == {"without a readable picture": 1}
    assert pictures.read_pictures(tmp_path, True, Ledger()) == []
    write_persons(tmp_path / "p.jsonl", [eating, sleeping])
    assert read_persons(tmp_path / "p.jsonl") == [eating, sleeping]


def test_what_a_caption_says_is_about_the_person_before_it() -> None:
    said = phrases.said_of(
        "[/EN#1/people A man] in [/EN#2/clothing a hat] sits while "
        "[/EN#3/people a woman] and [/EN#4/people a girl] run to [/EN#5/animals a dog] that is jumping ."
    )
    assert {number: text.split() for number, text in said.items()} == {
        "1": ["in", "a", "hat", "sits", "while"],
        "3": ["run", "to"],
        "4": ["run", "to"],
    }
    sentences = ["[/EN#1/people A boy] jumps , eating .", "[/EN#1/people He] is in [/EN#2/scene a swimming pool] ."]
    assert phrases.votes(sentences, {"1"}) == ({"jump": 1}, {"eat": 1}, 2)


def test_persons_of_phrases_have_boxes(tmp_path: Path) -> None:
    for folder in ("flickr8k/data/images", "flickr30k_entities/Sentences", "flickr30k_entities/Annotations"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "flickr8k/data/images/77_ab.jpg").touch()
    sentence = "[/EN#1/people Two men] talking on [/EN#2/scene a street] ."
    (tmp_path / "flickr30k_entities/Sentences/77.txt").write_text(sentence)
    boxes = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x}</xmin><ymin>2</ymin><xmax>{x + 9}</xmax><ymax>40</ymax></bndbox>"
        "</object>"
        for name, x in ((1, 3), (1, 30), (2, 1))
    )
    size = "<size><width>60</width><height>50</height></size>"
    (tmp_path / "flickr30k_entities/Annotations/77.xml").write_text(f"<annotation>{size}{boxes}</annotation>")
    phrases.run(tmp_path, print)
    first, second = pictures.read_pictures(tmp_path, False, Ledger())
    assert (first.box, second.box, first.size_hw) == ([3, 2, 12, 40], [30, 2, 39, 40], [50, 60])
    assert (first.file, first.group, first.pose) == ("data/images/77_ab.jpg", "flickr/77_ab.jpg", {})
