"""AVA's CSV files: what is read, what is refused and how, what is written."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from each_case import each_case

from avadet.annotations.ava import (
    AvaTable,
    detection_rows,
    format_time,
    read_detections,
    read_excluded,
    read_ground_truth,
    write_detections,
)
from avadet.errors import AvadetError
from avadet.types import ActionDetections, FrameKey, LabelMap

LABELS = LabelMap(("stand", "talk"), (12, 79), ("pose", "person"), (True, True))
GOOD = "v,0902,0.1,0.2,0.5,0.9,12,0.75\n"


def write(folder: Path, text: str, name: str = "rows.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def found(video_id: str = "clip", time_s: float = 1.5) -> ActionDetections:
    return ActionDetections(
        FrameKey(video_id, time_s),
        np.array([[0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1 / 3]], np.float32),
        np.array([0.9, 0.8], np.float32),
        np.array([[0.5, 0.01], [0.25, 0.75]], np.float32),
        (240, 320),
    )


def test_detections_by_hand(tmp_path: Path) -> None:
    table = read_detections(write(tmp_path, GOOD + "0012,12.5,0,0,1,1,79,1e-3\n"))
    assert table.video_ids.tolist() == ["v", "0012"]
    assert table.times_s.tolist() == [902.0, 12.5]
    assert table.boxes_norm.tolist() == [[0.1, 0.2, 0.5, 0.9], [0, 0, 1, 1]]
    assert table.class_ids.tolist() == [12, 79]
    assert table.scores is not None
    assert table.scores.tolist() == [0.75, 0.001]


def test_rows_of_other_widths(tmp_path: Path) -> None:
    table = read_detections(write(tmp_path, GOOD + "v,0903\nv,904,0,0,1,1,79\n"))
    assert table.class_ids.tolist() == [12, 0, 79]
    assert table.scores is not None
    assert table.scores.tolist() == [0.75, 1.0, 1.0]


def test_the_slow_way_reads_what_the_fast_way_reads(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        f"v{i % 3},{900 + i // 7},{','.join(repr(x) for x in rng.random(4).tolist())},{i % 80},{rng.random()!r}\n"
        for i in range(500)
    ]
    fast = read_detections(write(tmp_path, "".join(rows), "fast.csv"))
    slow = read_detections(write(tmp_path, "".join(rows) + "v,1000\n", "slow.csv"))
    assert fast.video_ids.tolist() == slow.video_ids[:-1].tolist()
    for name in ("times_s", "boxes_norm", "class_ids", "scores"):
        assert np.array_equal(getattr(fast, name), getattr(slow, name)[:-1]), name
    with (tmp_path / "fast.csv").open() as file:
        texts = list(csv.reader(file))
    assert fast.boxes_norm.tolist() == [[float(cell) for cell in cells[2:6]] for cells in texts]


def test_gzip_whatever_the_name(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(gzip.compress(GOOD.encode()))
    assert len(read_detections(path)) == 1


def test_ground_truth_with_and_without_person_ids(tmp_path: Path) -> None:
    table = read_ground_truth(write(tmp_path, "v,902,0,0,1,1,12,7\n"))
    assert table.scores is None
    assert table.person_ids is not None
    assert table.person_ids.tolist() == [7]
    assert read_ground_truth(write(tmp_path, "v,902,0,0,1,1,12\n")).person_ids is None
    some = read_ground_truth(write(tmp_path, "v,902,0,0,1,1,12,7\nv,902,0,0,1,1,12\nv,903\n")).person_ids
    assert some is not None
    assert some.tolist() == [7, -1, -1]


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    assert len(read_detections(path)) == len(read_ground_truth(path)) == 0


def test_excluded_keyframes(tmp_path: Path) -> None:
    keyframes = read_excluded(write(tmp_path, "v,0902\nw,903\n"))
    assert keyframes.video_ids.tolist() == ["v", "w"]
    assert keyframes.times_s.tolist() == [902.0, 903.0]


@each_case(
    ("row", "says"),
    [
        ("v,902,0.1,abc,0.5,0.9,12,0.5", r":2: column 4 \(y1\) is 'abc', expected a number"),
        ("v,t902,0,0,1,1,12,0.5", r":2: column 2 \(seconds\) is 't902', expected seconds"),
        ("v,902,0,0,1,1,12.0,0.5", r":2: column 7 \(action_id\) is '12.0', expected a whole number"),
        ("v,902,0,0,1,1,12,", r":2: column 8 \(score\) is '', expected a number"),
        (",902,0,0,1,1,12,0.5", r":2: column 1 \(video_id\) is '', expected the video's name"),
        ("v,902,0,0,1,1", r":2: row is 6 columns"),
        ("v,902,0,0,1,1,12,0.5,7", r":2: row is 9 columns"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: str, says: str) -> None:
    path = write(tmp_path, f"{GOOD}{row}\n{GOOD}")
    with pytest.raises(AvadetError, match=says) as error:
        read_detections(path)
    assert str(error.value).startswith(f"{path}:2: ")
    assert "\n" not in str(error.value)


def test_a_person_without_an_action(tmp_path: Path) -> None:
    text = "v,902,0,0,1,1,12,7\nv,902,0,0,1,1,,8\nv,902,0,0,1,1\nv,902,0,0,1,1,-1,9\nv,902,0,0,1,1,0,9\nv,903\n"
    table = read_ground_truth(write(tmp_path, text))
    assert table.class_ids.tolist() == [12, -1, -1, -1, 0, 0]
    assert table.person_ids is not None and table.person_ids.tolist() == [7, 8, -1, 9, 9, -1]
    assert read_ground_truth(write(tmp_path, "v,902,0,0,1,1,\nv,902,0,0,1,1,3\n")).class_ids.tolist() == [-1, 3]


@pytest.mark.parametrize("row", ["v,902,0,0,1"])
def test_short_rows_among_rows_of_seven(tmp_path: Path, row: str) -> None:
    with pytest.raises(AvadetError, match=":2: row is "):
        read_ground_truth(write(tmp_path, f"v,902,0,0,1,1,12\n{row}\nv,902,0,0,1,1,12\n"))


def test_a_header_in_avas_order_is_read_and_another_called_one(tmp_path: Path) -> None:
    table = read_detections(write(tmp_path, "video_id,frame_timestamp,x1,y1,x2,y2,action_id,score\n" + GOOD))
    assert table.lines is not None and table.lines.tolist() == [2]
    with pytest.raises(AvadetError, match=r":1: column 2 \(seconds\) is 'x1'.*is this a header.*`avadet data convert`"):
        read_detections(write(tmp_path, "video_id,x1,y1,x2,y2,seconds,action_id,score\n" + GOOD))


FORMS = {
    "semicolons": "v;902;0.1;0.2;0.5;0.9;12;7\nw;903.5;0;0;1;1;79;8\n",
    "tabs": "v\t902\t0.1\t0.2\t0.5\t0.9\t12\t7\nw\t903.5\t0\t0\t1\t1\t79\t8\n",
    "decimal commas": "v;902;0,1;0,2;0,5;0,9;12;7\nw;903,5;0;0;1;1;79;8\n",
    "mark of UTF-8": "\ufeffv,902,0.1,0.2,0.5,0.9,12,7\nw,903.5,0,0,1,1,79,8\n",
    "line ends": "v,902,0.1,0.2,0.5,0.9,12,7\r\nw,903.5,0,0,1,1,79,8\r\n",
    "quoted": '"v",902,"0.1","0.2",0.5,0.9,"12",7\n"w",903.5,0,0,1,1,79,8\n',
    "blank": "\nv,902,0.1,0.2,0.5,0.9,12,7\n\n,,,\nw,903.5,0,0,1,1,79,8\n\n",
    "comments": "# made by hand\nv,902,0.1,0.2,0.5,0.9,12,7\n#w,later\nw,903.5,0,0,1,1,79,8\n",
    "header": "Video_ID;Middle_Frame_Timestamp;X1;Y1;X2;Y2;Action_ID;Person_ID\n"
    "v;902;0,1;0,2;0,5;0,9;12;7\nw;903,5;0;0;1;1;79;8\n",
}


@each_case("form", FORMS)
def test_forms_of_csv(tmp_path: Path, form: str) -> None:
    path = write(tmp_path, "")
    for encoding in ("utf-8", *(("utf-16",) if form == "tabs" else ())):
        path.write_bytes(FORMS[form].encode(encoding))
        table = read_ground_truth(path)
        assert table.video_ids.tolist() == ["v", "w"] and table.times_s.tolist() == [902.0, 903.5]
        assert table.boxes_norm.tolist() == [[0.1, 0.2, 0.5, 0.9], [0, 0, 1, 1]]
        assert table.class_ids.tolist() == [12, 79]
        assert table.person_ids is not None and table.person_ids.tolist() == [7, 8]
        lines = path.read_text(encoding).splitlines()
        assert table.lines is not None and ["903" in lines[line - 1] for line in table.lines] == [False, True]


def test_rows_that_a_spreadsheet_filled_up(tmp_path: Path) -> None:
    table = read_ground_truth(write(tmp_path, "v,902,0.1,0.2,0.5,0.9,12,,,\nv,903,,,,,,,,\nv,904,0,0,1,1,79,3,,\n"))
    assert table.class_ids.tolist() == [12, 0, 79] and not table.boxes_norm[1].any()
    assert table.person_ids is not None and table.person_ids.tolist() == [-1, -1, 3]


def test_a_mistake_has_its_line_in_any_form(tmp_path: Path) -> None:
    path = write(tmp_path, "# a comment\n\nv;902;0,1;0,2;0,5;0,9;zwölf;7\n")
    with pytest.raises(AvadetError, match=r":3: column 7 \(action_id\) is 'zwölf'"):
        read_ground_truth(path)
    path = write(tmp_path, "video,seconds,x1,y1,x2,y2,action_id,person_id\nv,902,0.5,0.2,0.1,0.9,12,7\n")
    with pytest.raises(AvadetError, match=r":2: columns 3 and 5"):
        read_ground_truth(path)


def test_names_with_other_separators_stay_names(tmp_path: Path) -> None:
    path = write(tmp_path, "a;b\t#1,902,0,0,1,1,12,7\n#2,903,0,0,1,1,12,7\n")
    assert read_ground_truth(path).video_ids.tolist() == ["a;b\t#1", "#2"]


def test_ids_that_are_text_are_numbered_and_told(tmp_path: Path) -> None:
    rows = "".join(f"v,{second},0,0,1,1,12,{who}\n" for second, who in enumerate(["ped_b", "3", "", "ped_a", "ped_b"]))
    table = read_ground_truth(write(tmp_path, rows))
    assert table.person_ids is not None and table.person_ids.tolist() == [4, 3, -1, 5, 4]
    assert table.notes == (
        "ids of persons that are text are numbered in order of appearance: 'ped_b' = 4, 'ped_a' = 5",
    )
    with pytest.raises(AvadetError, match=r":1: column 8 \(score\) is 'ped_b', expected a number"):
        read_detections(tmp_path / "rows.csv")


def test_up_to_20_problems_at_once(tmp_path: Path) -> None:
    lines = [GOOD.replace("0.75", "bad") if number % 2 else GOOD for number in range(1, 101)]
    with pytest.raises(AvadetError) as error:
        read_detections(write(tmp_path, "".join(lines)))
    told = str(error.value).splitlines()
    assert [int(line.split(":")[1]) for line in told] == list(range(1, 41, 2))
    assert told[-1].endswith("stopped at 20 bad rows, there may be more")


def test_detections_may_be_nonsense_but_ground_truth_not(tmp_path: Path) -> None:
    path = write(tmp_path, "v,902,32,24,nan,216,12,nan\n")
    assert np.isnan(read_detections(path).boxes_norm).tolist() == [[False, False, True, False]]
    with pytest.raises(AvadetError, match=r":1: column 5 \(x2\) is 'nan', expected a finite number"):
        read_ground_truth(path)
    with pytest.raises(AvadetError, match=r":1: columns 3 and 5 \(x1, x2\) is '0.5' and '0.1', expected the smaller"):
        read_ground_truth(write(tmp_path, "v,902,0.5,0.1,0.1,0.9,12,1\n"))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(AvadetError, match=r"cannot read .*absent.csv: No such file"):
        read_detections(tmp_path / "absent.csv")
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(gzip.compress(GOOD.encode() * 1000)[:-20])
    with pytest.raises(AvadetError, match="cannot read"):
        read_detections(broken)
    packed = bytearray(gzip.compress("".join(f"v{i}{GOOD}" for i in range(1000)).encode()))
    packed[300:340] = bytes(40)
    broken.write_bytes(packed)
    with pytest.raises(AvadetError, match="cannot read"):
        read_detections(broken)
    endless = write(tmp_path, "v" * 200_000 + "," + GOOD + "x\n", "endless.csv")
    with pytest.raises(AvadetError, match=r"cannot read .*field larger"):
        read_detections(endless)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(bytes(range(256)))
    with pytest.raises(AvadetError, match="cannot read"):
        read_detections(binary)


@each_case(
    ("time_s", "text"),
    [
        (902.0, "902"),
        (0.0, "0"),
        (12.5, "12.5"),
        (1 / 30, "0.033333"),
        (100.0, "100"),
        (2 / 3, "0.666667"),
        (-3e-7, "0"),
    ],
)
def test_times_are_written_short(time_s: float, text: str) -> None:
    assert format_time(time_s) == text


def test_rows_of_detections_by_hand() -> None:
    assert detection_rows(found(), LABELS, threshold=0.1) == [
        "clip,1.5,0.1,0.2,0.3,0.4,12,0.500000",
        "clip,1.5,0,0,1,0.333333,12,0.250000",
        "clip,1.5,0,0,1,0.333333,79,0.750000",
    ]


def test_nobody_gives_no_rows() -> None:
    none = np.zeros((0, 4), np.float32)
    empty = ActionDetections(FrameKey("v", 0), none, none[:, 0], np.zeros((0, 2), np.float32), (10, 10))
    assert detection_rows(empty, LABELS) == []


def test_the_label_map_must_fit() -> None:
    short = LabelMap(("stand",), (12,), ("pose",), (True,))
    with pytest.raises(AvadetError, match="scores have 2 classes, the label map 1"):
        detection_rows(found(), short)


@each_case("name", ["clip", "a/b c", 'odd, "name"', "ümlaut", "two\nlines", "two\r\nlines"])
def test_written_and_read_again(tmp_path: Path, name: str) -> None:
    path = tmp_path / "out" / "det.csv"
    write_detections(path, [found(name, 902), found(name, 1 / 3)], LABELS)
    table = read_detections(path)
    assert set(table.video_ids.tolist()) == {name}
    assert table.times_s.tolist() == [902.0] * 4 + [0.333333] * 4
    assert table.boxes_norm[::4] == pytest.approx(found().boxes_norm[[0, 0]], abs=1e-6)
    assert table.scores == pytest.approx(np.tile(found().scores.reshape(-1), 2), abs=1e-6)


def test_columns_are_of_one_length() -> None:
    with pytest.raises(AvadetError, match=r"boxes_norm must be \(2, 4\) like video_ids, got \(3, 4\)"):
        AvaTable(np.array(["a", "b"]), np.zeros(2), np.zeros((3, 4)), np.zeros(2, np.int64))


@pytest.mark.shared
def test_real_files(shared: Path) -> None:
    folder = shared / "data/ava"
    table = read_ground_truth(folder / "partial/ava_val_v2.2_1j20qq1JyX4_0902-0969.csv")
    assert len(table) == 246
    assert len(read_detections(folder / "detections/leaderj1001_results_val_v2.2.csv")) == 901
    assert len(read_excluded(folder / "official/ava_val_excluded_timestamps_v2.2.csv").times_s) == 37
