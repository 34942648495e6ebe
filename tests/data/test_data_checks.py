"""Every check has a data set that is broken in one way: it fires, nothing else does, and it names file and line."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from avadet.annotations.rules.check import check_data_set
from avadet.annotations.rules.issues import Issue
from avadet.annotations.specs import DataSet, open_data_set
from avadet.annotations.splits import read_split
from avadet.data.keyframes import training_index
from avadet.data.video_facts import metadata_of
from avadet.errors import AvadetError
from avadet.labels import read_label_map
from avadet.synthetic.dataset import truth_rows, write_video
from avadet.synthetic.scene import random_scene
from avadet.types import LabelMap
from avadet.video.write import VideoWriter

ACTIONS = ("jump", "walk", "wave")
LABELS = LabelMap(ACTIONS, (1, 2, 3), ("pose",) * 3, (True,) * 3)
SPEC = """
labels: [jump, walk, wave]
videos: {fps: 10, size_hw: [64, 80], shortest_s: 3}
keyframes: {every_s: 1, first_s: 0, last_s: 2}
splits:
  train: {annotations: train.csv, excluded: excluded.csv, proposals: proposals.csv, counts: {videos: 3}}
  val: {annotations: val.csv, videos: val.txt}
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set of rendered videos without a fault: 3 videos of 3.1 s to train on, 3 to validate."""
    root = tmp_path_factory.mktemp("whole")
    (root / "data.yaml").write_text(SPEC)
    for part, seed in (("train", 1), ("val", 2)):
        rows = []
        for action in ACTIONS:
            clip = random_scene(np.random.default_rng(seed), (64, 80), 31, 10.0, 2, [action])
            write_video(root / "videos" / f"{part}_{action}.mp4", clip)
            rows += [row for row in truth_rows(f"{part}_{action}", clip, LABELS, 10) if row.split(",")[1] != "3"]
        (root / f"{part}.csv").write_text("".join(f"{row}\n" for row in rows))
    (root / "val.txt").write_text("".join(f"val_{action}.mp4\n" for action in ACTIONS))
    boxes = [row.rsplit(",", 2)[0] + ",,0.9" for row in (root / "train.csv").read_text().splitlines()]
    (root / "proposals.csv").write_text("".join(f"{row}\n" for row in boxes))
    (root / "excluded.csv").write_text("train_walk,7\n")
    return root


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "set"))


def findings(root: Path, *overrides: str, spec: str | Path = "data.yaml") -> list[Issue]:
    data: DataSet = open_data_set(root / spec, None, overrides)
    return list(check_data_set(data, read_metadata=metadata_of).issues)


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


def edit(path: Path, line: int, change: Callable[[list[str]], list[str]]) -> None:
    """Change the cells of one line, counted from 1."""
    rows = lines_of(path)
    rows[line - 1] = ",".join(change(rows[line - 1].split(",")))
    path.write_text("".join(f"{row}\n" for row in rows))


def cell(index: int, value: str) -> Callable[[list[str]], list[str]]:
    return lambda cells: [*cells[:index], value, *cells[index + 1 :]]


def box(*values: str) -> Callable[[list[str]], list[str]]:
    return lambda cells: [*cells[:2], *values, *cells[6:]]


def more(path: Path, *rows: str) -> None:
    path.write_text(path.read_text() + "".join(f"{row}\n" for row in rows))


def test_a_whole_data_set_has_no_findings(root: Path) -> None:
    assert findings(root) == []


def the_one(root: Path, check: str, *overrides: str) -> Issue:
    """The only finding, which is of this check."""
    found = findings(root, *overrides)
    assert [finding.check for finding in found] == [check], found
    return found[0]


ROW_BREAKS = {
    "boxes-in-pixels": (box("8", "6", "40", "60"), "1 row has a box in pixels; divide x by the frame's width"),
    "boxes-outside": (box("0.2", "0.1", "1.2", "0.9"), "a box that reaches out of the frame"),
    "boxes-away": (box("1.1", "0.1", "1.3", "0.9"), "outside the frame"),
    "boxes-inverted": (box("0.5", "0.1", "0.2", "0.9"), "x2 < x1 or y2 < y1"),
    "boxes-empty": (box("0.5", "0.1", "0.5", "0.9"), "without width or height"),
    "boxes-no-number": (box("nan", "0.1", "0.5", "0.9"), "no finite number"),
    "class-unknown": (cell(6, "7"), "not in the label map; it has 1 to 3: is it the right one"),
    "class-missing": (cell(6, "0"), "a person without an action"),
    "keyframes-negative": (cell(1, "-1"), "a time below 0"),
    "keyframes-outside": (cell(1, "3"), "outside those of the data set, from 0 s to 2 s"),
    "keyframes-off-grid": (cell(1, "0.5"), "one every 1 s"),
}


@pytest.mark.parametrize("check", ROW_BREAKS)
def test_a_broken_row(root: Path, check: str) -> None:
    change, says = ROW_BREAKS[check]
    edit(root / "val.csv", 3, change)
    finding = the_one(root, check, *(["keyframes.first_s=null"] if check == "keyframes-negative" else []))
    assert says in finding.message
    assert (finding.split, finding.count) == ("val", 1)
    assert finding.examples[0].startswith(f"{root / 'val.csv'}:3: val_")
    does = {"class-missing": "keep", "boxes-outside": "clip", "boxes-away": "drop", "boxes-empty": "drop"}
    assert finding.action == does.get(check, "error")
    assert finding.severity == ("error" if finding.action == "error" else "warning")


PROPOSAL_BREAKS = {
    "proposals-in-pixels": box("8", "6", "40", "60"),
    "proposals-outside": box("0.2", "0.1", "1.2", "0.9"),
    "proposals-inverted": box("0.5", "0.1", "0.2", "0.9"),
    "proposals-empty": box("0.5", "0.1", "0.5", "0.9"),
    "proposals-no-number": box("0.5", "0.1", "inf", "0.9"),
    "proposals-score": cell(7, "90"),
    "proposals-unlisted": cell(1, "0.5"),
}


@pytest.mark.parametrize("check", PROPOSAL_BREAKS)
def test_a_broken_proposal(root: Path, check: str) -> None:
    edit(root / "proposals.csv", 4, PROPOSAL_BREAKS[check])
    finding = the_one(root, check)
    assert finding.examples[0].startswith(f"{root / 'proposals.csv'}:4: train_")
    assert (finding.split, finding.count) == ("train", 1)


def test_rounding_is_no_finding(root: Path) -> None:
    """Of sides, of scores, and of times: all of these are what the others of the file are."""
    edit(root / "val.csv", 3, box("-0.0000003", "0.1", "1.0000002", "0.9"))
    edit(root / "train.csv", 2, lambda cells: [cells[0], "0.999", *cells[2:]] if cells[1] == "1" else cells)
    edit(root / "proposals.csv", 4, cell(7, "1.0000001"))
    edit(root / "proposals.csv", 3, lambda cells: [cells[0], f"{float(cells[1]) + 0.004:g}", *cells[2:]])
    assert findings(root) == []


def test_proposals_of_other_videos(root: Path) -> None:
    text = (root / "proposals.csv").read_text()
    (root / "proposals.csv").write_text(text.replace("train_", "videos/train_"))
    finding = the_one(root, "proposals-strange")
    assert finding.message == f"no proposal is of a video of this split; names must be as in {root / 'train.csv'}"


def test_proposals_that_miss_people(root: Path) -> None:
    rows = lines_of(root / "proposals.csv")
    people = len(rows)
    (root / "proposals.csv").write_text("".join(f"{row}\n" for row in rows[: int(0.7 * people)]))
    finding = the_one(root, "proposals-miss")
    assert finding.severity == "warning"
    assert f"{int(0.7 * people) / people:.1%} of {people} people have a proposal at IoU 0.5" in finding.message
    first_missed = int(0.7 * people) + 1
    assert finding.examples[0].startswith(f"{root / 'train.csv'}:{first_missed}: ")
    (root / "proposals.csv").write_text("".join(f"{row}\n" for row in rows[:2]))
    assert the_one(root, "proposals-miss").message.endswith(
        "are these the same videos, and boxes x1,y1,x2,y2 from 0 to 1?"
    )


def test_proposals_of_another_clock(root: Path) -> None:
    rows = [row.split(",") for row in lines_of(root / "proposals.csv")]
    (root / "proposals.csv").write_text("".join(",".join([c[0], str(int(c[1]) + 900), *c[2:]]) + "\n" for c in rows))
    past, finding = findings(root)
    assert (past.check, past.action, finding.check) == ("proposals-past-end", "drop", "proposals-miss")
    assert finding.message.startswith("0.0% of") and "are their times those of the annotations?" in finding.message


def test_rows_that_cannot_be_read(root: Path) -> None:
    text = (root / "val.csv").read_text()
    (root / "val.csv").write_text("video,x1,y1,x2,y2,seconds,class,person\n" + text)
    finding = the_one(root, "annotations-unreadable")
    assert re.search(r"val.csv:1: column 2 \(seconds\) is 'x1'.*is this a header", finding.examples[0])
    (root / "val.csv").unlink()
    assert "cannot read" in the_one(root, "annotations-unreadable").examples[0]


@pytest.mark.parametrize("name", ["excluded", "proposals"])
def test_other_files_that_cannot_be_read(root: Path, name: str) -> None:
    more(root / f"{name}.csv", "train_walk,soon")
    count = len(lines_of(root / f"{name}.csv"))
    finding = the_one(root, f"{name}-unreadable")
    assert f"{name}.csv:{count}: " in finding.examples[0]


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        ({"1": "0", "2": "1", "3": "2"}, "they count from 0 to 2, the map from 1 to 3: add 1 to every id"),
        ({"1": "2", "2": "3", "3": "4"}, "they are one too high (the map has 1 to 3): take 1 off every id"),
    ],
)
def test_ids_that_are_one_off(root: Path, ids: dict[str, str], says: str) -> None:
    rows = [row.split(",") for row in lines_of(root / "val.csv")]
    (root / "val.csv").write_text("".join(",".join([*c[:6], ids[c[6]], c[7]]) + "\n" for c in rows))
    assert says in the_one(root, "class-unknown").message


def test_the_map_of_the_60_evaluated_classes(root: Path) -> None:
    ava = read_label_map("ava_v2.2")
    rows = [f'{i},"{name}"' for i, name, counts in zip(ava.ids, ava.names, ava.evaluated) if counts]
    (root / "labels.csv").write_text("\n".join(["id,name", *rows]))
    found = [finding for finding in findings(root, "labels=labels.csv") if finding.split == "val"]
    assert [finding.check for finding in found] == ["class-unknown"]
    assert "the map has AVA's 60 evaluated classes, the files all 80: use labels: ava_v2.2" in found[0].message


def test_ava_s_60_classes_counted_anew(root: Path) -> None:
    edit(root / "val.csv", 2, cell(6, "60"))
    found = [finding for finding in findings(root, "labels=ava_v2.2") if finding.split == "val"]
    assert "were AVA's 60 evaluated classes renumbered?" in found[0].message


def test_a_class_without_an_example(root: Path) -> None:
    text = (root / "val.csv").read_text()
    (root / "val.csv").write_text(text.replace(",3,", ",2,"))
    finding = the_one(root, "class-without-example")
    assert (finding.message, finding.examples) == ("1 of 3 evaluated classes has no example", ("3 wave",))
    assert (finding.split, finding.severity) == ("val", "warning")


def test_a_row_that_stands_there_twice(root: Path) -> None:
    rows = lines_of(root / "val.csv")
    more(root / "val.csv", rows[1])
    finding = the_one(root, "rows-twice")
    assert finding.examples == (f"{root / 'val.csv'}:{len(rows) + 1}: {shown(rows[1])}",)


def shown(row: str) -> str:
    """A row as messages write it: numbers without needless zeros."""
    video, *cells = row.split(",")
    return ",".join([video, *(f"{float(cell):.6f}".rstrip("0").rstrip(".") for cell in cells)])


def test_a_person_in_two_places(root: Path) -> None:
    rows = lines_of(root / "val.csv")
    more(root / "val.csv", ",".join(box("0.01", "0.01", "0.1", "0.1")(rows[1].split(","))))
    finding = the_one(root, "person-in-two-places")
    assert finding.examples[0].startswith(f"{root / 'val.csv'}:{len(rows) + 1}: ")
    (root / "val.csv").write_text("".join(row.rpartition(",")[0] + ",0\n" for row in rows))
    assert "every row has the same id: leave column 8 out" in the_one(root, "person-in-two-places").message


def test_people_without_a_number(root: Path) -> None:
    rows = lines_of(root / "val.csv")
    (root / "val.csv").write_text("".join(row.rpartition(",")[0] + ",-1\n" for row in rows))
    assert findings(root) == []


@pytest.mark.parametrize("text", ["", "val_jump,0\nval_walk,1\nval_wave,2\n"])
def test_annotations_of_nobody(root: Path, text: str) -> None:
    (root / "val.csv").write_text(text)
    finding = the_one(root, "annotations-empty")
    assert (finding.split, finding.examples) == ("val", (str(root / "val.csv"),))


def test_a_second_action_where_a_person_has_one(root: Path) -> None:
    classes = "".join(f"  - {{id: {i + 1}, name: {name}}}\n" for i, name in enumerate(ACTIONS))
    (root / "labels.yaml").write_text(f"exclusive: true\nclasses:\n{classes}")
    assert findings(root, "labels=labels.yaml") == []
    rows = lines_of(root / "val.csv")
    more(root / "val.csv", ",".join(cell(6, "3")(rows[0].split(","))))
    finding = the_one(root, "actions-several", "labels=labels.yaml")
    assert finding.examples == (f"{root / 'val.csv'}:{len(rows) + 1}: {shown(lines_of(root / 'val.csv')[-1])}",)
    assert findings(root) == []  # without `exclusive` a person may have several


def test_boxes_that_are_width_and_height(root: Path) -> None:
    rows = [row.split(",") for row in lines_of(root / "val.csv")]
    for cells in rows:
        x1, y1, x2, y2 = (float(value) for value in cells[2:6])
        cells[2:6] = [f"{value:.6f}" for value in (x1, y1, x2 - x1, y2 - y1)]
    (root / "val.csv").write_text("".join(",".join(cells) + "\n" for cells in rows))
    finding = the_one(root, "boxes-inverted")
    assert finding.message.endswith("these look like x,y,width,height: add x1 to column 5 and y1 to column 6")


def test_excluded_keyframes(root: Path) -> None:
    (root / "excluded.csv").write_text("train_walk,9\ntrain_walk,1\n")
    finding = the_one(root, "excluded-annotated")
    line = next(n for n, row in enumerate(lines_of(root / "train.csv"), 1) if row.startswith("train_walk,1,"))
    assert finding.examples[0].startswith(f"{root / 'train.csv'}:{line}: train_walk,1,")
    assert finding.severity == "warning"
    (root / "excluded.csv").write_text("train_walk,9\nstranger,1\n")
    assert the_one(root, "excluded-unknown").examples == (f"{root / 'excluded.csv'}:2: stranger,1",)
    (root / "excluded.csv").write_text("val_walk,1\n")  # a list of all splits is no mistake
    assert findings(root) == []


def test_lists_of_videos(root: Path) -> None:
    (root / "val.txt").write_text("val_jump\nval_walk\n")
    finding = the_one(root, "videos-not-listed")
    line = next(n for n, row in enumerate(lines_of(root / "val.csv"), 1) if row.startswith("val_wave"))
    assert finding.examples == (f"{root / 'val.csv'}:{line}: val_wave",)
    (root / "val.txt").write_text("val_jump\nval_walk\nval_wave\nval_more\n")
    shutil.copy(root / "videos/val_walk.mp4", root / "videos/val_more.mp4")
    finding = the_one(root, "videos-without-rows")
    assert (finding.severity, finding.examples) == ("warning", (f"{root / 'val.txt'}: val_more",))
    (root / "val.txt").unlink()
    assert "cannot read the list of videos" in the_one(root, "annotations-unreadable").examples[0]


def test_counts(root: Path) -> None:
    finding = the_one(root, "counts", "splits.train.counts.videos=4")
    assert finding.message == "3 videos, a complete split has 4: incomplete, or another version"
    rows = len(lines_of(root / "train.csv"))
    assert findings(root, f"splits.train.counts.rows={rows}", "splits.train.counts.excluded=1") == []
    finding = the_one(root, "counts", "splits.train.counts.excluded=2")
    assert finding.examples == (str(root / "excluded.csv"),)


def test_splits_that_share_videos(root: Path) -> None:
    row = lines_of(root / "val.csv")[0]
    more(root / "train.csv", row)
    more(root / "proposals.csv", row.rsplit(",", 2)[0] + ",,0.9")
    finding = the_one(root, "splits-share-videos", "splits.train.counts.videos=4")
    name, line = row.split(",")[0], len(lines_of(root / "train.csv"))
    assert finding.examples == (f"{root / 'train.csv'}:{line} and {root / 'val.csv'}:1: {name}",)
    assert findings(root, "splits.train.counts.videos=4", "splits.val.number=2") == []


def test_missing_videos(root: Path) -> None:
    (root / "videos/val_walk.mp4").unlink()
    finding = the_one(root, "videos-missing")
    line = next(n for n, row in enumerate(lines_of(root / "val.csv"), 1) if row.startswith("val_walk"))
    assert finding.message == f"1 of 3 videos have no file in {root / 'videos'}"
    assert finding.examples == (
        f"{root / 'val.csv'}:{line}: val_walk has no file {root / 'videos/val_walk'}.mp4 or the like",
    )
    found = findings(root, "videos.folder=films")
    assert [one.check for one in found] == ["videos-missing"] * 2
    assert found[0].message.endswith("which does not exist; say where they are: videos.folder=DIR")
    (root / "films").mkdir()
    shutil.copy(root / "videos/val_jump.mp4", root / "films/VAL_JUMP.mp4")
    assert "it holds others, such as VAL_JUMP.mp4" in findings(root, "videos.folder=films")[0].message


def test_a_video_that_cannot_be_read(root: Path) -> None:
    (root / "videos/val_walk.mp4").write_bytes(b"")
    finding = the_one(root, "videos-unreadable")
    assert re.match(rf"{root}/val.csv:\d+: {root}/videos/val_walk.mp4 .*is empty \(0 bytes\)", finding.examples[0])


def still(path: Path, num_frames: int, fps: float = 10.0, size_hw: tuple[int, int] = (64, 80)) -> None:
    """Replace a video by a grey one."""
    path.unlink(missing_ok=True)
    with VideoWriter(path, size_hw, fps) as writer:
        for index in range(num_frames):
            writer.write(np.full((*size_hw, 3), 90, np.uint8), index / fps)


def test_a_short_video(root: Path) -> None:
    still(root / "videos/val_walk.mp4", 25)
    finding = the_one(root, "videos-short")
    assert finding.examples[0].endswith("val_walk.mp4 lasts 2.50 s")


def test_keyframes_past_the_end(root: Path) -> None:
    still(root / "videos/val_walk.mp4", 15)
    finding = the_one(root, "keyframes-past-end", "videos.shortest_s=null")
    rows = [n for n, row in enumerate(lines_of(root / "val.csv"), 1) if row.startswith("val_walk,2,")]
    assert finding.count == len(rows) and finding.examples[0].startswith(f"{root / 'val.csv'}:{rows[0]}: val_walk,2,")
    assert "is the file cut short, or the clock another?" in finding.message


def test_keyframes_in_a_gap(root: Path) -> None:
    """Pictures of 0 to 1.1 s and of 5 to 7 s; all keyframes of val_walk at 2 s have none."""
    with VideoWriter(root / "videos/val_walk.mp4", (48, 64), 10) as writer:
        for index in range(33):
            writer.write(np.full((48, 64, 3), 90, np.uint8), index / 10 + (3.8 if index >= 12 else 0.0))
    found = [finding for finding in findings(root) if finding.check == "keyframes-in-gap"]
    rows = [n for n, row in enumerate(lines_of(root / "val.csv"), 1) if row.startswith("val_walk,2,")]
    assert [finding.count for finding in found] == [len(rows)]
    assert found[0].examples[0].startswith(f"{root / 'val.csv'}:{rows[0]}: val_walk,2,")


def test_a_keyframe_with_nobody_counts_too(root: Path) -> None:
    more(root / "val.csv", "val_walk,2.9", "val_walk,9")
    finding = the_one(root, "keyframes-past-end", "keyframes.last_s=null", "keyframes.every_s=null")
    assert finding.examples == (f"{root / 'val.csv'}:{len(lines_of(root / 'val.csv'))}: val_walk,9",)


def few(root: Path) -> str:
    """So many rows of another video that one of them is less than 1%; returns the override that has them."""
    rows = [row for row in lines_of(root / "train.csv") if row.startswith("train_jump,1,")]
    moments = [f"{1 + step / 500:.3f}" for step in range(200)]
    more(root / "train.csv", *(",".join(cell(1, time)(row.split(","))) for time in moments for row in rows[:1]))
    return "keyframes.every_s=null"


@pytest.mark.parametrize("named", ["time", "number"])
def test_what_has_no_picture_is_left_out_of_training(root: Path, named: str) -> None:
    """Keyframe 2 s at 10 frames a second is frame 20; a file of 17 frames ends with number 16."""
    still(root / "videos/train_walk.mp4", 17, fps=10 if named == "time" else 5)
    data = open_data_set(root / "data.yaml", None, [f"videos.keyframes_name={named}", few(root)])
    before, after = read_split(data, "train"), read_split(data, "train", metadata_of)
    gone = (before.table.video_ids == "train_walk") & (before.table.times_s == 2)
    assert gone.sum() >= 1
    for name in ("video_ids", "times_s", "boxes_norm", "class_ids", "person_ids"):
        np.testing.assert_array_equal(getattr(after.table, name), getattr(before.table, name)[~gone])
    assert before.lines is not None and before.proposals is not None and after.proposals is not None
    np.testing.assert_array_equal(after.lines, before.lines[~gone])
    found = (before.proposals.video_ids == "train_walk") & (before.proposals.times_s == 2)
    np.testing.assert_array_equal(after.proposals.scores, before.proposals.scores[~found])
    assert any("past the end of its video; there is no picture; left out" in one for one in after.notes)
    assert len(training_index(after, data.labels)) == len(training_index(before, data.labels)) - 1
    (root / "videos/train_jump.mp4").unlink()
    (root / "videos/train_wave.mp4").write_bytes(b"no video")
    with pytest.raises(AvadetError, match=r"1 of 3 videos have no file in .*\n.*1 of 3 videos cannot be read"):
        read_split(data, "train", metadata_of)


@pytest.mark.parametrize(("frames", "stays"), [(20, True), (18, False)])
def test_a_keyframe_at_the_very_end_stays(root: Path, frames: int, stays: bool) -> None:
    """The last of 20 pictures, at 1.9 s, is on show up to 2 s; the last of 18 is not."""
    still(root / "videos/train_walk.mp4", frames, fps=10)
    data = open_data_set(root / "data.yaml", None, [few(root)])
    kept = len(read_split(data, "train", metadata_of).table) == len(read_split(data, "train").table)
    assert kept == stays


def test_frame_numbers_past_the_end(root: Path) -> None:
    still(root / "videos/val_walk.mp4", 20, fps=5)  # keyframe 2 s is frame 20; 19 is the last
    finding = the_one(root, "keyframes-past-end", "videos.keyframes_name=number")
    assert finding.examples[0].partition(": ")[2].startswith("val_walk,2,")
    still(root / "videos/val_walk.mp4", 21, fps=5)
    assert findings(root, "videos.keyframes_name=number") == []


def test_another_frame_rate(root: Path) -> None:
    still(root / "videos/val_walk.mp4", 62, fps=20)
    finding = the_one(root, "videos-fps")
    assert finding.examples[0].endswith("val_walk.mp4 has 20.00 frames a second")
    assert finding.severity == "warning"


def test_another_size(root: Path) -> None:
    still(root / "videos/val_walk.mp4", 31, size_hw=(128, 160))
    finding = the_one(root, "videos-size")
    assert finding.severity == "warning" and "they were scaled, and boxes fit all the same" in finding.message
    still(root / "videos/val_walk.mp4", 31, size_hw=(64, 64))
    finding = the_one(root, "videos-size")
    assert finding.severity == "error" and "boxes will not fit where pictures were cut, padded" in finding.message
    assert finding.examples[0].endswith("val_walk.mp4 is 64x64 px")


NO_KEYFRAMES = ("keyframes.first_s=null", "keyframes.last_s=null")


def shift(root: Path, seconds: int) -> None:
    for name in ("train.csv", "val.csv", "proposals.csv"):
        rows = [row.split(",") for row in lines_of(root / name)]
        (root / name).write_text("".join(",".join([c[0], str(int(c[1]) + seconds), *c[2:]]) + "\n" for c in rows))


@pytest.mark.parametrize(("seconds", "cure"), [(902, "900"), (905, "905")])
def test_files_cut_out_of_longer_ones(root: Path, seconds: int, cure: str) -> None:
    shift(root, seconds)
    still(root / "videos/val_jump.mp4", 60), still(root / "videos/val_walk.mp4", 60)
    still(root / "videos/val_wave.mp4", 60)
    found = [finding for finding in findings(root, *NO_KEYFRAMES) if finding.split == "val"]
    assert [finding.check for finding in found] == ["videos-offset"]
    assert found[0].message == (
        "3 of 3 videos look cut out of longer ones, but the spec says that files start at second 0: "
        f"try videos.starts_at_s={cure}"
    )
    assert found[0].examples[0].endswith(f"lasts 6.0 s and has keyframes from {seconds} to {seconds + 2} s")
    way_out = [*NO_KEYFRAMES, f"videos.starts_at_s={cure}"]
    assert [finding for finding in findings(root, *way_out) if finding.split == "val"] == []


def test_files_that_start_each_elsewhere(root: Path) -> None:
    rows = [row.split(",") for row in lines_of(root / "val.csv")]
    starts = {"val_jump": 12, "val_walk": 500, "val_wave": 7}
    (root / "val.csv").write_text("".join(",".join([c[0], str(int(c[1]) + starts[c[0]]), *c[2:]]) + "\n" for c in rows))
    finding = the_one(root, "videos-offset", *NO_KEYFRAMES)
    assert finding.message.endswith("list where each starts in a CSV video_id,seconds and set videos.starts")
    (root / "starts.csv").write_text("".join(f"{name},{second}\n" for name, second in starts.items()))
    assert findings(root, *NO_KEYFRAMES, "videos.starts=starts.csv") == []


def test_whole_films_that_were_thought_cut(root: Path) -> None:
    shift(root, 902)
    for path in (root / "videos").iterdir():
        still(path, 100, fps=0.1)
    way_out = [*NO_KEYFRAMES, "videos.fps=null"]
    assert findings(root, *way_out) == []
    found = findings(root, *way_out, "videos.starts_at_s=900")
    assert [finding.check for finding in found] == ["videos-offset"] * 2
    assert found[0].message == (
        "3 of 3 videos look like whole films, but the spec says that files start at second 900: "
        "try videos.starts_at_s=0"
    )
    assert found[0].severity == "error"


def test_files_that_may_be_whole(root: Path) -> None:
    shift(root, 70)
    for path in (root / "videos").iterdir():
        still(path, 20, fps=0.1)
    found = findings(root, *NO_KEYFRAMES, "videos.fps=null", "videos.starts_at_s=65")
    assert [(finding.check, finding.severity) for finding in found] == [("videos-offset", "warning")] * 2


def test_keyframes_before_the_start(root: Path) -> None:
    (root / "starts.csv").write_text("val_walk,1\n")
    finding = the_one(root, "keyframes-before-start", "videos.starts=starts.csv")
    assert finding.examples[0].partition(": ")[2].startswith("val_walk,0,")


def test_every_file_before_the_start(root: Path) -> None:
    found = findings(root, "videos.starts_at_s=900")
    assert [finding.check for finding in found] == ["videos-offset"] * 2
    assert found[0].message.endswith("files start at second 900: try videos.starts_at_s=0")


def test_findings_are_as_many_as_asked_for(root: Path) -> None:
    rows = lines_of(root / "val.csv")
    (root / "val.csv").write_text("".join(",".join(box("1", "2", "30", "40")(row.split(","))) + "\n" for row in rows))
    checked = check_data_set(open_data_set(root / "data.yaml"), ["val"], examples=2)
    pixels = next(finding for finding in checked.issues if finding.check == "boxes-in-pixels")
    assert (pixels.count, len(pixels.examples)) == (len(rows), 2)
    assert pixels.json()["check"] == "boxes-in-pixels"
    with pytest.raises(AvadetError, match="unknown split of data 'test'"):
        check_data_set(open_data_set(root / "data.yaml"), ["test"])
