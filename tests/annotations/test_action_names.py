"""Names of actions to ids and back."""

from __future__ import annotations

import pytest
from each_case import each_case

from avadet.annotations.action_names import ActionNames, joined_names, split_names
from avadet.annotations.coco_entries import Misfit
from avadet.types import LabelMap

LABELS = LabelMap(("stand", "79", "talk"), (12, 3, 79), ("pose", "pose", "person"), (True,) * 3)


def test_a_label_map_knows_names_and_ids() -> None:
    names = ActionNames(LABELS)
    assert [names.action_id(text) for text in ("stand", " STAND ", "12", "talk")] == [12, 12, 12, 79]
    assert names.action_id("79") == 3, "a name that looks like an id is a name"
    assert not names.knows("80") and not names.knows("sit")
    assert (names.name(79), names.name(80)) == ("talk", "80")
    with pytest.raises(Misfit, match="action 'sit', expected a name or an id of the label map"):
        names.action_id("sit")


def test_without_a_map_actions_are_numbers_unless_a_file_tells_more() -> None:
    names = ActionNames()
    assert names.action_id(" 14 ") == 14
    with pytest.raises(Misfit, match=r"action 'sit', expected a whole number; else name a label map \(--labels\)"):
        names.action_id("sit")
    names.learn([("sit", 11)])
    assert names.action_id("sit") == 11
    told = ActionNames(LABELS)
    told.learn([("sit", 11)])
    assert not told.knows("sit"), "the user's map counts"


def test_numbering_goes_by_order() -> None:
    names = ActionNames(numbering=True)
    assert [names.action_id(text) for text in ("run", "12", "Run", "walk")] == [1, 2, 1, 3]
    assert names.options() == {1: "run", 2: "12", 3: "walk"}


@each_case("names", [[], ["stand"], ["carry/hold (an object)", "a;b", 'say "hi"', "ümlaut"], ["a,b", "1"]])
def test_names_in_one_line(names: list[str]) -> None:
    assert split_names(joined_names(names)) == names
