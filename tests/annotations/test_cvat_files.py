"""CVAT's XML: files as CVAT writes them, worked by hand; interpolation; edits; what is refused and how."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from avadet.annotations.action_names import ActionNames
from avadet.annotations.ava_rows import AvaRow, read_ava_rows, row_cells, write_ava_rows
from avadet.annotations.coco import to_coco
from avadet.annotations.coco_entries import Misfit
from avadet.annotations.cvat import read_cvat, write_cvat
from avadet.annotations.foreign import Footage, keyframe_of_picture
from avadet.errors import AvadetError
from avadet.types import LabelMap

LABELS = LabelMap(("stand", "talk"), (12, 79), ("pose", "person"), (True, True))
IMAGES = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<image id="0" name="frames/v/902.jpg" width="200" height="100">
  <box label="person" occluded="0" xtl="50.00" ytl="0" xbr="200.00" ybr="50.00" z_order="0">
    <attribute name="action">talk</attribute><attribute name="stand">true</attribute>
    <attribute name="blurred">false</attribute><attribute name="age">30</attribute>
    <attribute name="track_id">7</attribute>
  </box>
  <box label="dog" xtl="0" ytl="0" xbr="20" ybr="10"></box>
  <polygon label="person" points="1,2;3,4;5,6"></polygon>
</image>
<image id="1" name="v_903.5.jpg" width="200" height="100"></image>
</annotations>
"""
TRACKS = """<annotations><version>1.1</version><meta><task><size>41</size><mode>interpolation</mode>
<start_frame>0</start_frame><stop_frame>40</stop_frame><frame_filter>{filter}</frame_filter>
<original_size><width>200</width><height>100</height></original_size><source>street.mp4</source></task></meta>
<track id="3" label="stand" source="manual">
  <box frame="10" outside="0" occluded="0" keyframe="1" xtl="0" ytl="0" xbr="100" ybr="50"></box>
  <box frame="20" outside="0" occluded="1" keyframe="1" xtl="100" ytl="50" xbr="200" ybr="100"></box>
  <box frame="24" outside="1" occluded="0" keyframe="1" xtl="100" ytl="50" xbr="200" ybr="100"></box>
  <box frame="38" outside="0" occluded="0" keyframe="1" xtl="0" ytl="0" xbr="20" ybr="10"></box>
</track></annotations>
"""
FPS = Footage(fps=lambda video_id: 10.0)


def write(folder: Path, text: str, name: str = "in.xml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def lines(path: Path, footage: Footage | None = None, labels: LabelMap | None = LABELS) -> list[str]:
    table = read_cvat(path, ActionNames(labels), footage)
    return [",".join(row_cells(row, table)) for row in table.rows]


def test_pictures_with_people(tmp_path: Path) -> None:
    path = write(tmp_path, IMAGES)
    assert lines(path) == ["v,902,0.25,0,1,0.5,79,7", "v,902,0.25,0,1,0.5,12,7", "v,903.5"]
    assert read_cvat(path, ActionNames(LABELS)).num_left_out == 2
    only = Footage(attributes=("stand",))
    assert lines(path, only) == ["v,902,0.25,0,1,0.5,12,7", "v,903.5"]


def test_labels_that_are_actions_and_names_that_are_numbered(tmp_path: Path) -> None:
    path = write(tmp_path, IMAGES.replace('"person"', '"walk"').replace(">talk<", ">run<"))
    with pytest.raises(AvadetError, match=r"in.xml:4: box: action 'walk', expected a name or an id of the label map"):
        lines(path)
    with pytest.raises(AvadetError, match=r"in.xml:4: box: action 'walk'.*--labels.*--new-labels"):
        lines(path, labels=None)
    names = ActionNames(numbering=True)
    rows = read_cvat(path, names).rows
    assert [row.action_id for row in rows] == [1, 2, 3, 4, None]
    assert names.options() == {1: "walk", 2: "run", 3: "stand", 4: "dog"}


def test_a_track_moves_in_a_straight_line_and_ends_outside(tmp_path: Path) -> None:
    path = write(tmp_path, TRACKS.format(filter=""))
    rows = read_cvat(path, ActionNames(LABELS), FPS).rows
    assert [round(row.time_s * 10) for row in rows] == [*range(10, 24), 38, 39, 40]
    assert rows[0] == AvaRow("street", 1.0, (0, 0, 0.5, 0.5), 12, 3)
    assert rows[5].box_norm == pytest.approx((0.25, 0.25, 0.75, 0.75))
    assert rows[12].box_norm == rows[13].box_norm == (0.5, 0.5, 1, 1)
    assert rows[16].box_norm == rows[14].box_norm == (0, 0, 0.1, 0.1)


def test_keyframes_every_so_often_with_those_where_nobody_is(tmp_path: Path) -> None:
    path = write(tmp_path, TRACKS.format(filter=""))
    every = Footage(fps=lambda video_id: 10.0, every_s=0.5)
    found = [line.split(",")[1:3] for line in lines(path, every)]
    assert found == [["0"], ["0.5"], ["1", "0"], ["1.5", "0.25"], ["2", "0.5"], ["2.5"], ["3"], ["3.5"], ["4", "0"]]


def test_only_the_frames_that_were_shown(tmp_path: Path) -> None:
    path = write(tmp_path, TRACKS.format(filter="step=5").replace('frame="38"', 'frame="35"').replace("24", "25"))
    rows = read_cvat(path, ActionNames(LABELS), FPS).rows
    assert [round(row.time_s * 10) for row in rows] == [10, 15, 20, 35, 40]


def test_tracks_need_a_rate_and_a_name(tmp_path: Path) -> None:
    path = write(tmp_path, TRACKS.format(filter=""))
    with pytest.raises(AvadetError, match=r"in.xml: the file counts frames of street; .*--fps") as error:
        lines(path)
    assert "\n" not in str(error.value)
    nameless = write(tmp_path, TRACKS.format(filter="").replace("street.mp4", ""))
    with pytest.raises(AvadetError, match=r"in.xml:1: task: the file does not name its video; add --video"):
        lines(nameless, FPS)


def test_a_project_of_several_videos(tmp_path: Path) -> None:
    def task(number: int, source: str) -> str:
        size = "<original_size><width>100</width><height>100</height></original_size>"
        return f"<task><id>{number}</id>{size}<source>{source}</source></task>"

    box = '<box frame="5" outside="0" xtl="0" ytl="0" xbr="50" ybr="100"/>'
    tracks = "".join(f'<track id="{i}" label="talk" task_id="{i}">{box}</track>' for i in (1, 2))
    meta = f"<meta><project><tasks>{task(1, 'a.avi')}{task(2, 'b')}</tasks></project></meta>"
    path = write(tmp_path, f"<annotations>{meta}{tracks}</annotations>")
    assert lines(path, FPS) == ["a,0.5,0,0,0.5,1,79,1", "b,0.5,0,0,0.5,1,79,2"]
    stray = write(tmp_path, path.read_text().replace('task_id="2"', 'task_id="9"'))
    with pytest.raises(
        AvadetError, match=r"in.xml:1: annotations: the file has 2 tasks; expected each track's task_id"
    ):
        lines(stray, FPS)


def test_pictures_named_by_frames(tmp_path: Path) -> None:
    path = write(tmp_path, IMAGES.replace("frames/v/902.jpg", "clips/v/frame_000031.png").replace("v_903.5", "v_41"))
    with pytest.raises(AvadetError, match=r"in.xml:3: image: .*number of a frame.*--fps"):
        lines(path)
    first = Footage(fps=lambda video_id: 10.0, first_frame=1)
    found = [line.split(",")[:2] for line in lines(path, first)]
    assert found == [["v", "3"], ["v", "3"], ["v", "4"]]


EDITS = "v,0902,0.1001,0.10,0.50,0.50,12,7\nv,0902,0.1001,0.10,0.50,0.50,79,7\nv,0903,0.2,0.2,0.4,0.4,12,8\n"


@pytest.mark.parametrize(
    ("old", "new", "line", "becomes"),
    [
        ('xtl="64.06"', 'xtl="128.00"', 0, "v,0902,0.2,0.1,0.5,0.5,12,7"),
        (">stand;talk<", ">talk<", 0, "v,0902,0.1001,0.10,0.50,0.50,79,7"),
        (">stand;talk<", ">talk; stand<", 0, "v,0902,0.1001,0.10,0.50,0.50,12,7"),
        (">7<", ">9<", 0, "v,0902,0.1001,0.1,0.5,0.5,12,9"),
        ('name="v/903.jpg"', 'name="v/904.5.jpg"', 2, "v,904.5,0.2,0.2,0.4,0.4,12,8"),
    ],
    ids=["box", "action", "order", "person", "picture"],
)
def test_what_was_edited_counts(tmp_path: Path, old: str, new: str, line: int, becomes: str) -> None:
    source = write(tmp_path, EDITS, "in.csv")
    write_cvat(tmp_path / "there.xml", to_coco(read_ava_rows(source)), ActionNames(LABELS))
    text = (tmp_path / "there.xml").read_text(encoding="utf-8")
    assert old in text
    edited = write(tmp_path, text.replace(old, new))
    write_ava_rows(tmp_path / "back.csv", read_cvat(edited, ActionNames()))
    got = (tmp_path / "back.csv").read_text().splitlines()
    assert got[line] == becomes
    if old != ">7<" and not old.startswith("xtl"):
        kept = [row for row in got if row in EDITS.splitlines()]
        assert len(kept) == len(got) - (becomes not in EDITS.splitlines())


def test_an_action_that_is_new_to_the_file_needs_the_label_map(tmp_path: Path) -> None:
    source = write(tmp_path, "v,1,0.1,0.1,0.5,0.5,12,1\nw,1,0.1,0.1,0.5,0.5,12,1\n", "in.csv")
    write_cvat(tmp_path / "there.xml", to_coco(read_ava_rows(source)), ActionNames(LABELS))
    edited = write(tmp_path, (tmp_path / "there.xml").read_text().replace(">stand<", ">stand; talk<", 1))
    assert lines(edited)[:2] == ["v,1,0.1,0.1,0.5,0.5,12,1", "v,1,0.1,0.1,0.5,0.5,79,1"]
    with pytest.raises(AvadetError, match=r"box: action 'talk', expected a whole number; else name a label map"):
        lines(edited, labels=None)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('xtl="50.00"', 'xtl="wide"', "in.xml:4: box: xtl is 'wide', expected a finite number"),
        ('xtl="50.00"', "", "in.xml:4: box: xtl is '', expected a finite number"),
        ('xtl="50.00"', 'xtl="inf"', "in.xml:4: box: xtl is 'inf', expected a finite number"),
        ('xtl="50.00"', 'xtl="250"', "in.xml:4: box: box is 250, 0, 200, 50, expected the left top corner first"),
        (' z_order="0"', ' rotation="30"', "in.xml:4: box: the box is turned"),
        ('width="200"', "", "in.xml:3: image: width is '', expected a finite number"),
        ('height="100"', 'height="0"', "in.xml:3: image: height and width are 0 and 200, expected whole pixels"),
        ('name="frames/v/902.jpg"', 'name="a.jpg"', "in.xml:3: image: expected video_id and time_s, or a file_name"),
        (">7<", ">7.5<", "in.xml:4: box: person_id is '7.5', expected a whole number"),
        (">talk<", ">tallk<", "in.xml:4: box: action 'tallk', expected a name or an id of the label map"),
        ("</annotations>", "", "in.xml:14: not XML at column 1: no element found"),
        ("annotations>", "coco>", "expected CVAT's XML, whose outermost element is <annotations>, got <coco>"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = write(tmp_path, IMAGES.replace(old, new, 2 if "annotations>" in old else 1))
    with pytest.raises(AvadetError, match=re.escape(says)) as error:
        lines(path)
    assert "\n" not in str(error.value)


def test_entities_are_refused_before_they_grow(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;">]>\n<annotations>&y;</annotations>'
    outside = '<?xml version="1.0"?>\n<!DOCTYPE a SYSTEM "file:///etc/passwd">\n<annotations/>'
    for text, line in ((bomb, 1), (outside, 2)):
        with pytest.raises(AvadetError, match=rf"in.xml:{line}: has a document type or entities"):
            lines(write(tmp_path, text))


def test_an_encoding_that_nobody_knows(tmp_path: Path) -> None:
    with pytest.raises(AvadetError, match=r"cannot read .*in.xml: unknown encoding: utf-9; expected an XML file"):
        lines(write(tmp_path, '<?xml version="1.0" encoding="utf-9"?><annotations/>'))


def test_a_track_without_end_is_refused(tmp_path: Path) -> None:
    text = TRACKS.format(filter="").replace("<stop_frame>40", "<stop_frame>900000000")
    with pytest.raises(AvadetError, match=r"in.xml:4: track: the track lasts from frame 10 to 900000000; expected at"):
        lines(write(tmp_path, text), FPS)


def test_up_to_20_problems_at_once(tmp_path: Path) -> None:
    box = '<box label="person" xtl="x" ytl="0" xbr="1" ybr="1"/>\n'
    path = write(
        tmp_path, f'<annotations>\n<image name="v/1.jpg" width="9" height="9">\n{box * 50}</image></annotations>'
    )
    with pytest.raises(AvadetError) as error:
        lines(path)
    told = str(error.value).splitlines()
    assert [int(line.split(":")[1]) for line in told] == list(range(3, 23))
    assert told[-1].endswith("stopped at 20, there may be more")


@pytest.mark.parametrize(
    ("name", "footage", "ways_out", "keyframe"),
    [
        ("000.png", Footage(), ["--video NAME", "add --fps N"], None),
        ("000.png", Footage(fps=lambda video_id: 25.0), ["--video NAME"], None),
        ("first.png", Footage(fps=lambda video_id: 25.0, video_id="v"), ["the number of their frame"], None),
        ("000.png", Footage(fps=lambda video_id: 25.0, video_id="v"), [], ("v", 0.0)),
        ("v/050.png", Footage(fps=lambda video_id: 25.0), [], ("v", 2.0)),
    ],
)
def test_a_picture_whose_name_says_too_little(
    name: str, footage: Footage, ways_out: list[str], keyframe: tuple[str, float] | None
) -> None:
    """What was given already is not asked for again."""
    if keyframe is not None:
        assert keyframe_of_picture(name, footage) == keyframe
        return
    with pytest.raises(Misfit) as misfit:
        keyframe_of_picture(name, footage)
    for option in ("--video NAME", "add --fps N", "the number of their frame"):
        assert (option in str(misfit.value)) == (option in ways_out)
