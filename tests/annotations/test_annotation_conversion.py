"""From AVA's CSV through COCO, CVAT, VIA and a CSV with header back to AVA's: nothing is lost; formats are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from each_case import each_case

from avadet.annotations.ava import csv_line
from avadet.annotations.conversion import (
    FORMATS,
    Format,
    Reading,
    format_of_content,
    format_of_name,
    read_annotations,
    write_annotations,
)
from avadet.errors import AvadetError
from avadet.labels import read_label_map
from avadet.types import LabelMap

ODD = LabelMap(('say "hi"; <b>&amp;', "a,b", "ümlaut 人", "true"), (1, 2, 12, 79), ("action",) * 4, (True,) * 4)
JOURNEYS: tuple[tuple[Format, ...], ...] = (
    ("coco", "cvat", "via", "ava"),
    ("csv", "via", "coco", "csv", "cvat", "ava"),
)
TEXTS = [
    "",
    "v,0902,0.250,0.500,0.750,1.000,12,7\nw,0903\nv,0902,0.250,0.500,0.750,1.000,79,7\nv,0902,0.1,0,1,1,12,8\n",
    "v,1\nv,2\nv,1\n",
    "v,1,0,0,1,1\nv,0.033333,0,0.1,1,0.2\n",
    "v,1,0,0,1,1,12\nv,1,0,0,1,1,12\nv,1,0,0,1,1,79\n",
    "v,1,0,0,1,1,12,0.500000\nv,1,0,0,1,1,,0.123456\nv,1,0,0,1,1,79\n",
    "v,0902,.1,1e-3,0.50,+1,012,0.5\nv,902,0.100,0.001,0.5,1,12,5e-1\nv,902.0,0.1,0.001,0.5,1.0,12,0.5\n",
    '"a,b",1,-0.25,0,1.5,1,12,-3\n"say ""hi""",1,-0.0,0,0,1,12,4\n<b>&amp;,1,0,0,1,1,1,4\n',
    "v,0.3333333333333333,0.1,0.30000000000000004,0.7,0.9999999999999999,1,1e-300\nv,-2.5,0,0,1,1,2,1\n",
    "../x,1,0,0,1,1,12,1\n..,1,0,0,1,1,12,1\nümlaut 人,2,0,0,1,1,12,1\nx.mp4,3,0,0,1,1,12,1\nv_31,3\n",
    '"\x01",1,0,0,1,1,12,1\n'.replace('"', ""),
]


def journey(source: Path, folder: Path, formats: tuple[Format, ...], labels: LabelMap | None) -> Path:
    """Convert from one to the next; every file is known by its content."""
    kind: Format = "ava"
    for number, target in enumerate(formats):
        assert format_of_content(source) == kind
        goal = folder / f"{number}.{target}"
        write_annotations(goal, target, read_annotations(source, kind, Reading()).rows, labels)
        source, kind = goal, target
    return source


@each_case("formats", JOURNEYS, ids=">".join)
@each_case("labels", [None, ODD], ids=["ids", "names"])
def test_nothing_is_lost(tmp_path: Path, formats: tuple[Format, ...], labels: LabelMap | None) -> None:
    for text in TEXTS:
        source = tmp_path / "in.csv"
        source.write_text(text, encoding="utf-8", newline="")
        back = journey(source, tmp_path, formats, labels)
        assert back.read_bytes().decode() == text


def test_any_valid_file_comes_back(tmp_path: Path) -> None:
    hypothesis = pytest.importorskip("hypothesis", reason="hypothesis makes up the files; part of the test extra")
    from hypothesis import strategies as st

    letters = st.characters(exclude_categories=["Cs", "Cc", "Cf"])
    names = st.sampled_from(["v", "w", "a,b"]) | st.text(letters, min_size=1, max_size=4)
    times = st.sampled_from(["902", "0902", "902.0", "902.5", "1e2", "-0", "0.0333333333"])
    known = ["0", "0.5", "0.50", ".5", "1", "1e-3", "-0.0", "+0.25", "-0.1", "0.1234567890123456789"]
    numbers = st.sampled_from(known) | st.floats(-2, 2).map(repr)
    pairs = st.tuples(numbers, numbers).map(lambda pair: sorted(pair, key=float))
    actions = st.sampled_from(["12", "79", "012", ""])
    lasts = numbers | st.integers(-1, 3).map(str)

    @st.composite
    def rows(draw: Any) -> list[str]:
        (x1, x2), (y1, y2) = draw(pairs), draw(pairs)
        width = draw(st.sampled_from([2, 6, 7, 8]))
        return [draw(names), draw(times), x1, y1, x2, y2, draw(actions), draw(lasts)][:width]

    @hypothesis.settings(max_examples=15, deadline=None, derandomize=True, database=None)
    @hypothesis.given(st.lists(rows(), max_size=6))
    def comes_back(table: list[list[str]]) -> None:
        text = "".join(f"{csv_line(cells)}\n" for cells in table)
        source = tmp_path / "in.csv"
        source.write_text(text, encoding="utf-8", newline="")
        back = journey(source, tmp_path, JOURNEYS[0], None)
        assert back.read_bytes().decode() == text

    comes_back()


@pytest.mark.shared
@each_case("name", ["ava/partial/ava_val_v2.2_1j20qq1JyX4_0902-0969.csv", "ava/detections/*_val_v2.2.csv"])
def test_real_files_come_back(shared: Path, tmp_path: Path, name: str) -> None:
    (source,) = (shared / "data").glob(name)
    for labels in (None, read_label_map("ava_v2.2")):
        assert journey(source, tmp_path, JOURNEYS[1], labels).read_bytes() == source.read_bytes()


@pytest.mark.shared
def test_other_line_ends_cost_no_row(shared: Path, tmp_path: Path) -> None:
    lines = (shared / "data/ava/partial/ava_train_pose_subset.csv").read_text().splitlines()[:200]
    source = tmp_path / "in.csv"
    source.write_text("\r\n".join(lines), newline="")
    assert journey(source, tmp_path, JOURNEYS[0], None).read_text().splitlines() == lines


@pytest.mark.shared
def test_the_fixture_of_mmaction2_comes_back(shared: Path, tmp_path: Path) -> None:
    tables = sorted((shared / "data/ava/mmaction2_tests").rglob("*.csv"))
    sources = [path for path in tables if len(path.read_text().splitlines()[0].split(",")) == 8]
    assert sources
    for source in sources:
        back = journey(source, tmp_path, JOURNEYS[0], None)
        assert back.read_text().splitlines() == source.read_text().splitlines()


def test_formats_of_names_and_contents(tmp_path: Path) -> None:
    assert [format_of_name(Path(name)) for name in ("a.csv", "a.JSON", "a.xml")] == ["ava", "coco", "cvat"]
    with pytest.raises(AvadetError, match=r"a.txt: expected a .csv, .json or .xml file to write; .*--to"):
        format_of_name(Path("a.txt"))
    contents = {
        "v,1\n": "ava",
        "v,1,0,0,1,1,12,0.5\n": "ava",
        "video,frame,x1,y1,x2,y2\n": "csv",
        "video;frame;x1;y1;x2;y2\n": "csv",
        '[{"image_id": 1}]': "coco",
        '\n{"images": [], "annotations": []}': "coco",
        '{"metadata": {}, "file": {}}': "via",
        '{"_via_img_metadata": {}}': "via",
        "filename,region_shape_attributes,region_attributes\n": "via",
        "<annotations/>": "cvat",
    }
    path = tmp_path / "in"
    for text, kind in contents.items():
        path.write_text(text)
        assert (text, format_of_content(path)) == (text, kind)
    for text, says in (("hello\n", "cannot tell its format from 'hello'"), ('{"a": 1}', "JSON of neither COCO")):
        path.write_text(text)
        with pytest.raises(AvadetError, match=says):
            format_of_content(path)


def test_tools_read_what_is_written(tmp_path: Path) -> None:
    """The fields that CVAT and VIA themselves look at, by hand."""
    source = tmp_path / "in.csv"
    source.write_text("v,0902,0.25,0.5,0.75,1,12,7\n")
    rows = read_annotations(source, "ava", Reading()).rows
    write_annotations(tmp_path / "out.xml", "cvat", rows, ODD, sizes_hw={"v": (100, 200)})
    text = (tmp_path / "out.xml").read_text(encoding="utf-8")
    assert '<image id="0" name="v/902.jpg" width="200" height="100">' in text
    assert '<box label="person" source="manual" occluded="0" xtl="50.00" ytl="50.00" xbr="150.00" ybr="100.00"' in text
    assert '<attribute name="actions">ümlaut 人</attribute>' in text
    write_annotations(tmp_path / "out.json", "via", rows, ODD, size_hw=(100, 200))
    project = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    region = next(entry for entry in project["metadata"].values() if entry["xy"])
    assert (region["vid"], region["z"], region["xy"]) == ("1", [902.0], [2, 50, 50, 100, 50])
    assert project["attribute"]["1"]["options"][region["av"]["1"]] == "ümlaut 人"
    assert project["file"][project["view"]["1"]["fid_list"][0]]["fname"] == "v.mp4"
    assert set(FORMATS) == {"ava", "coco", "cvat", "via", "csv"}
