"""CVAT's XML: files as CVAT writes them, worked by hand; interpolation; edits; what is refused and how."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from each_case import each_case

from avadet.annotations.action_names import ActionNames
from avadet.annotations.ava_rows import AvaRow, read_ava_rows, row_cells, write_ava_rows
from avadet.annotations.coco import to_coco
from avadet.annotations.cvat import read_cvat, write_cvat
from avadet.annotations.footage import Footage, Misfit
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
SECONDS = Footage(numbers="seconds")


def write(folder: Path, text: str, name: str = "in.xml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def lines(path: Path, footage: Footage | None = None, labels: LabelMap | None = LABELS) -> list[str]:
    table = read_cvat(path, ActionNames(labels), footage or SECONDS)
    return [",".join(row_cells(row, table)) for row in table.rows]


def test_pictures_with_people(tmp_path: Path) -> None:
    path = write(tmp_path, IMAGES)
    assert lines(path) == ["v,902,0.25,0,1,0.5,79,7", "v,902,0.25,0,1,0.5,12,7", "v,903.5"]
    left_out = read_cvat(path, ActionNames(LABELS), SECONDS).left_out
    assert left_out == {"boxes of 'dog'": 1, "shapes (polygon)": 1}
    only = Footage(attributes=("stand",), numbers="seconds")
    assert lines(path, only) == ["v,902,0.25,0,1,0.5,12,7", "v,903.5"]


def test_labels_that_are_actions_and_names_that_are_numbered(tmp_path: Path) -> None:
    path = write(tmp_path, IMAGES.replace('"person"', '"walk"').replace(">talk<", ">run<"))
    with pytest.raises(AvadetError, match=r"in.xml:4: box: action 'walk', expected a name or an id of the label map"):
        lines(path)
    with pytest.raises(AvadetError, match=r"in.xml:4: box: action 'walk'.*--labels.*--new-labels"):
        lines(path, labels=None)
    names = ActionNames(numbering=True)
    rows = read_cvat(path, names, SECONDS).rows
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
    with pytest.raises(AvadetError, match=r"in.xml: the file does not name its video; add --video"):
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
    with pytest.raises(AvadetError, match=r"pictures of v have numbers of frames .*--fps N or .*--numbers seconds"):
        lines(path, Footage())
    first = Footage(fps=lambda video_id: 10.0, first_frame=1)
    found = [line.split(",")[:2] for line in lines(path, first)]
    assert found == [["v", "3"], ["v", "3"], ["v", "4"]]


EDITS = "v,0902,0.1001,0.10,0.50,0.50,12,7\nv,0902,0.1001,0.10,0.50,0.50,79,7\nv,0903,0.2,0.2,0.4,0.4,12,8\n"


@each_case(
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


@each_case(
    ("old", "new", "says"),
    [
        ('xtl="50.00"', 'xtl="wide"', "in.xml:4: box: xtl is 'wide', expected a finite number"),
        ('xtl="50.00"', "", "in.xml:4: box: xtl is '', expected a finite number"),
        ('xtl="50.00"', 'xtl="inf"', "in.xml:4: box: xtl is 'inf', expected a finite number"),
        ('xtl="50.00"', 'xtl="250"', "in.xml:4: box: box is 250, 0, 200, 50, expected the left top corner first"),
        (' z_order="0"', ' rotation="30"', "in.xml:4: box: the box is turned"),
        ('width="200"', "", "in.xml:3: image: width is '', expected a finite number"),
        ('height="100"', 'height="0"', "in.xml:3: image: height and width are 0 and 200, expected whole pixels"),
        ('name="frames/v/902.jpg"', 'name="a.jpg"', 'in.xml:3: image: a picture is called "a.jpg"; expected VIDEO/'),
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


RATE = Footage(fps=lambda video_id: 25.0)


@each_case(
    ("name", "footage", "keyframe"),
    [
        ("000.png", Footage(fps=RATE.fps, video_id="v"), ("v", 0.0)),
        ("v/050.png", RATE, ("v", 2.0)),
        ("v/frame_000050.PNG", RATE, ("v", 2.0)),
        ("v/frame_000050", RATE, ("v", 2.0)),
        ("v/v_000050.jpg", RATE, ("v", 2.0)),
        ("frames\\v_000050.jpg", RATE, ("v", 2.0)),
        ("frames/clip07-50.jpg", RATE, ("clip07", 2.0)),
        ("frames/v/img_00050.jpg", RATE, ("v", 2.0)),
        ("frames/clip07_frame_50.jpg", RATE, ("clip07", 2.0)),
        ("clip07.mp4_000050.png", RATE, ("clip07", 2.0)),
        ("Walk/v_Walk_g01_000050.jpg", RATE, ("Walk/v_Walk_g01", 2.0)),
        ("/data/v/50.jpg", RATE, ("v", 2.0)),
        ("v_903.5.jpg", Footage(), ("v", 903.5)),
        ("v/0902.jpg", SECONDS, ("v", 902.0)),
        ("v/0902.jpg", Footage(fps=RATE.fps, numbers="seconds"), ("v", 902.0)),
    ],
)
def test_what_the_name_of_a_picture_tells(name: str, footage: Footage, keyframe: tuple[str, float]) -> None:
    assert footage.keyframe_of_picture(name) == keyframe


@each_case(
    ("name", "footage", "says"),
    [
        ("000.png", Footage(), "names of pictures do not tell the video; add --video NAME"),
        ("frame_000012.png", RATE, "names of pictures do not tell the video; add --video NAME"),
        ("images/frame_000012.png", RATE, "names of pictures do not tell the video"),
        ("first.png", RATE, "a picture is called"),
        ("v/20210423123456.png", RATE, "a picture is called"),
        ("../v/../_1.png", RATE, "names of pictures do not tell the video|stays inside"),
        ("v/31.png", Footage(), "add --fps N or --videos DIR; if they are seconds, add --numbers seconds"),
    ],
)
def test_a_picture_whose_name_says_too_little(name: str, footage: Footage, says: str) -> None:
    with pytest.raises(Misfit, match=says):
        footage.keyframe_of_picture(name)


def test_two_pictures_of_one_keyframe_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, IMAGES.replace("frames/v/902.jpg", "a/v/1.jpg").replace("v_903.5.jpg", "b/v/1.jpg"))
    with pytest.raises(AvadetError, match=r"in.xml:12: image: pictures a/v/1.jpg and b/v/1.jpg both are v at 1 s"):
        lines(path)


JOB = TRACKS.replace("<task>", "<job>").replace("</task>", "</job>").replace("<source>street.mp4</source>", "")


def test_the_export_of_a_job(tmp_path: Path) -> None:
    """Its size stands in `meta`, beside the job, and no field names the video."""
    size = "<original_size><width>200</width><height>100</height></original_size>"
    text = JOB.format(filter="").replace(size, "").replace("</meta>", f"{size}</meta>")
    path = write(tmp_path, text)
    with pytest.raises(AvadetError, match="does not name its video; add --video NAME"):
        lines(path, FPS)
    rows = read_cvat(path, ActionNames(LABELS), Footage(fps=FPS.fps, video_id="clip")).rows
    assert (rows[0].video_id, rows[0].box_norm) == ("clip", (0, 0, 0.5, 0.5))


def test_the_source_of_exports_of_2019_to_2022(tmp_path: Path) -> None:
    text = TRACKS.format(filter="").replace("<source>street.mp4</source></task>", "<name>my task</name></task>")
    named = text.replace("</meta>", "<source>clip07.mp4</source></meta>")
    assert {line.split(",")[0] for line in lines(write(tmp_path, named), FPS)} == {"clip07"}
    with pytest.raises(AvadetError, match="does not name its video; add --video NAME"):
        lines(write(tmp_path, text), FPS)
    for name, video in (("street", "street"), ("a b.mp4", "a b")):
        path = write(tmp_path, text.replace("my task", name))
        assert {line.split(",")[0] for line in lines(path, FPS)} == {video}


def test_pictures_of_video_tasks(tmp_path: Path) -> None:
    """The task gives the video; frames keep their numbers in it, whatever the task's first frame and step."""

    def task(number: int, source: str) -> str:
        facts = (
            "<size>9</size><start_frame>10</start_frame><stop_frame>50</stop_frame><frame_filter>step=5</frame_filter>"
        )
        return f"<task><id>{number}</id>{facts}<source>{source}</source></task>"

    box = '<box label="talk" xtl="0" ytl="0" xbr="50" ybr="100"/>'
    images = "".join(
        f'<image id="{i}" name="frame_0000{15 * i}" task_id="{i}" width="100" height="100">{box}</image>'
        for i in (1, 2)
    )
    meta = f"<meta><project><tasks>{task(1, 'a.avi')}{task(2, 'b.mp4')}</tasks></project></meta>"
    path = write(tmp_path, f"<annotations>{meta}{images}</annotations>")
    assert lines(path, FPS) == ["a,1.5,0,0,0.5,1,79", "b,3,0,0,0.5,1,79"]
    stranger = write(tmp_path, path.read_text().replace('task_id="2"', 'task_id="7"'))
    with pytest.raises(AvadetError, match="names of pictures do not tell the video; add --video NAME"):
        lines(stranger, FPS)
    zipped = write(tmp_path, path.read_text().replace("b.mp4", "b.zip").replace("a.avi", "a.zip"))
    with pytest.raises(AvadetError, match="names of pictures do not tell the video"):
        lines(zipped, FPS)


def test_numbers_of_shown_frames_are_brought_to_those_of_the_video(tmp_path: Path) -> None:
    text = (
        TRACKS.format(filter="step=5")
        .replace("<start_frame>0", "<start_frame>100")
        .replace("<stop_frame>40", "<stop_frame>300")
    )
    rows = read_cvat(write(tmp_path, text), ActionNames(LABELS), FPS).rows
    assert [round(row.time_s * 10) for row in rows[:3]] == [150, 155, 160]


def test_actions_that_change_along_a_track(tmp_path: Path) -> None:
    def box(frame: int, action: str, outside: int = 0) -> str:
        return (
            f'<box frame="{frame}" outside="{outside}" keyframe="1" xtl="0" ytl="0" xbr="50" ybr="100">'
            f'<attribute name="action">{action}</attribute><attribute name="id">ped_b</attribute></box>'
        )

    track = f'<track label="person">{box(0, "stand")}{box(2, "talk")}{box(3, "", 0)}{box(4, "", 1)}</track>'
    size = "<original_size><width>100</width><height>100</height></original_size>"
    meta = f"<meta><task><source>v.mp4</source>{size}</task></meta>"
    table = read_cvat(write(tmp_path, f"<annotations>{meta}{track}</annotations>"), ActionNames(LABELS), FPS)
    assert [row.action_id for row in table.rows] == [12, 12, 79, None]
    assert {row.last for row in table.rows} == {1}
    assert table.notes == ("ids of persons that are text are numbered in order of appearance: 'ped_b' = 1",)
    assert ",".join(row_cells(table.rows[3], table)) == "v,0.3,0,0,0.5,1,,1"
    without = read_cvat(
        write(tmp_path, f"<annotations>{meta}{track.replace('ped_b', '')}</annotations>"), ActionNames(LABELS), FPS
    )
    assert ",".join(row_cells(without.rows[3], without)) == "v,0.3,0,0,0.5,1,"


def test_choices_are_numbered_as_actions_where_no_attribute_is_called_so(tmp_path: Path) -> None:
    kinds = "<attribute><name>posture</name><input_type>select</input_type></attribute>"
    kinds += "<attribute><name>colour</name><input_type>text</input_type></attribute>"
    own = '<attribute name="posture">sit</attribute><attribute name="colour">red</attribute>'
    box = f'<box label="person" xtl="0" ytl="0" xbr="50" ybr="100">{own}</box>'
    image = f'<image name="v/1.5.jpg" width="100" height="100">{box}</image>'
    path = write(tmp_path, f"<annotations><meta><task>{kinds}</task></meta>{image}</annotations>")
    names = ActionNames(numbering=True)
    assert [row.action_id for row in read_cvat(path, names).rows] == [1]
    assert (names.options(), names.unused) == ({1: "sit"}, {"colour": 1})
