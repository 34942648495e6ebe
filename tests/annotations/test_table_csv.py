"""CSV files with a header, of many makes, as AVA's rows; what is refused and how."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from each_case import each_case

from avadet.annotations.action_names import ActionNames
from avadet.annotations.ava_rows import row_cells
from avadet.annotations.footage import Footage
from avadet.annotations.table_csv import Units, read_table_csv
from avadet.errors import AvadetError
from avadet.types import LabelMap

LABELS = LabelMap(("stand", "talk"), (12, 79), ("pose", "person"), (True, True))
FOOTAGE = Footage(size_hw=lambda video_id: (100, 200), fps=lambda video_id: 10.0)


def write(folder: Path, text: str) -> Path:
    path = folder / "in.csv"
    path.write_text(text, encoding="utf-8")
    return path


def lines(
    path: Path,
    columns: dict[str, str] | None = None,
    units: Units | None = None,
    footage: Footage = FOOTAGE,
    labels: LabelMap | None = LABELS,
) -> list[str]:
    table, _ = read_table_csv(path, ActionNames(labels), footage, columns, units)
    return [",".join(row_cells(row, table)) for row in table.rows]


@each_case(
    "text",
    [
        "file,timestamp,xmin,ymin,xmax,ymax,label,track_id\na/v.mp4,1.5,50,0,150,50,talk,3\n",
        "video;frame;x1;y1;x2;y2;class;person\na/v;15;50;0;150;50;79;3\n",
        "clip\tframe\tx\ty\tw\th\taction_id\ttrack\na/v\t15\t50\t0\t100\t50\t79\t3\n",
        "VIDEO,Frame,CX,CY,W,H,Action,Person_ID\na/v,15,100,25,100,50,TALK,3\n",
        "video,seconds,left,top,width,height,label,person_id\na/v,1.5,50,0,100,50,talk,3.0\n",
        "video,time,x1,y1,x2,y2,label,person_id\na/v,1.5,0.25,0,0.75,0.5,talk,3\n",
    ],
    ids=["corners", "semicolons", "corner-size", "centre", "left-top", "parts"],
)
def test_one_box_in_many_tables(tmp_path: Path, text: str) -> None:
    assert lines(write(tmp_path, text)) == ["a/v,1.5,0.25,0,0.75,0.5,79,3"]


def test_columns_and_units_told_by_the_user(tmp_path: Path) -> None:
    path = write(tmp_path, "n,who,when,a,b,c,d,what,sure\n1,v,31,0,0,1,1,12,0.25\n2,v,41,0,0,2,2,79,\n3,v,51,,,,,,\n")
    roles = {"video": "who", "frame": "when", "x1": "a", "y1": "b", "x2": "c", "y2": "d", "action": "what"}
    first = Footage(size_hw=lambda video_id: (100, 200), fps=lambda video_id: 10.0, first_frame=1)
    expected = ["v,3,0,0,0.005,0.01,12,0.25", "v,4,0,0,0.01,0.02,79", "v,5"]
    assert lines(path, roles | {"score": "sure"}, "px", first) == expected
    _, table = read_table_csv(path, ActionNames(LABELS), first, roles | {"score": "sure"})
    assert table.units == "norm" and table.told().startswith("video=who, frame=when, x1=a")


def test_pixels_are_guessed_from_the_largest_number(tmp_path: Path) -> None:
    text = "video,time,x1,y1,x2,y2\nv,1,0,0,1,1\nv,2,0,0,{},1\n"
    assert lines(write(tmp_path, text.format("1.5"))) == ["v,1,0,0,1,1,", "v,2,0,0,1,1,"]
    assert lines(write(tmp_path, text.format("40"))) == ["v,1,0,0,0.005,0.01,", "v,2,0,0,0.2,0.01,"]


def test_a_file_of_one_video(tmp_path: Path) -> None:
    path = write(tmp_path, "time,x1,y1,x2,y2,label\n2,0,0,1,1,stand\n")
    assert lines(path, footage=Footage(video_id="street")) == ["street,2,0,0,1,1,12"]
    with pytest.raises(
        AvadetError, match=r"in.csv:1: no column names the video; add --columns video=COLUMN or --video"
    ):
        lines(path)


@each_case(
    ("old", "new", "says"),
    [
        (",x2,", ",foo,", "in.csv:1: no columns for a whole box; expected x1 y1 x2 y2 or x1 y1 w h or"),
        (",time,", ",foo,", "in.csv:1: no column for the time; add --columns time=COLUMN or --columns frame=COLUMN"),
        (",y2,", ",x2,", "in.csv:1: two columns are called 'x2'; expected every name once"),
        ("v,1,", "v,soon,", "in.csv:2: time is 'soon', expected a finite number"),
        ("v,1,", " ,1,", "in.csv:2: video is blank, expected the video's name"),
        ("0.5,0.5", "0.5,half", "in.csv:2: y2 is 'half', expected a finite number"),
        ("0.5,0.5", "0.5,", "in.csv:2: y2 is '', expected a finite number"),
        ("0.5,0.5", "0.5,-1", "in.csv:2: the box is 0, 0, 0.5, -1, expected the smaller of x and of y first"),
        ("stand,12", "swim,", "in.csv:2: action 'swim', expected a name or an id of the label map"),
        ("stand,12", "stand,79", "in.csv:2: action_id is 79 but action is 'stand', whose id is 12"),
        ("stand,12", "stand,1.5", "in.csv:2: action_id is '1.5', expected a whole number"),
        (",7\n", ",7.5\n", "in.csv:2: person_id is '7.5', expected a whole number"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    text = "video,time,x1,y1,x2,y2,label,action_id,person_id\nv,1,0,0,0.5,0.5,stand,12,7\n"
    assert lines(write(tmp_path, text)) == ["v,1,0,0,0.5,0.5,12,7"]
    with pytest.raises(AvadetError, match=re.escape(says)) as error:
        lines(write(tmp_path, text.replace(old, new)))
    assert "\n" not in str(error.value)


def test_what_the_videos_would_tell(tmp_path: Path) -> None:
    path = write(tmp_path, "video,frame,x1,y1,x2,y2\nv,1,0,0,50,50\nv,2,0,0,50,50\n")
    sized = Footage(size_hw=lambda video_id: (100, 200))
    with pytest.raises(AvadetError, match="counts frames of v; to make seconds of them add --fps N or --videos DIR"):
        lines(path, footage=sized)
    rated = Footage(fps=lambda video_id: 10.0)
    with pytest.raises(AvadetError, match="boxes of v are pixels of frames of unknown size; add --size WxH") as error:
        lines(path, footage=rated)
    assert "\n" not in str(error.value)


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    path = write(tmp_path, "video,time,x1,y1,x2,y2,label\n")
    with pytest.raises(AvadetError, match=r"unknown column of .*in.csv 'lable'; did you mean label"):
        lines(path, {"action": "lable"})
    with pytest.raises(AvadetError, match="unknown meaning of a column 'acton'; did you mean action"):
        lines(path, {"acton": "label"})
    assert lines(path) == []
