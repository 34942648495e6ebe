"""The fast reader of rows that begin alike: the same numbers as Python's, or nothing."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from avadet.annotations import csv_runs
from avadet.annotations.ava import read_detections, read_ground_truth
from avadet.annotations.csv_runs import read_runs
from avadet.errors import AvadetError

HEAD = "v,0902,0.1,0.2,0.3,0.4"


def runs_of(*cells: str, line_end: str = "\n") -> csv_runs.Runs | None:
    """What is read of rows with the same beginning and these last two cells."""
    return read_runs(io.BytesIO("".join(f"{HEAD},{cell}{line_end}" for cell in cells).encode()))


def test_numbers_are_those_of_python() -> None:
    rng = np.random.default_rng(0)
    decimals = rng.integers(0, 16, 4000)
    texts = [f"{value:.{places}f}" for value, places in zip(rng.uniform(0, 9, 4000) ** 3 / 81, decimals)]
    texts += ["0", "1", "152", "12345678", "1.", "0.0", "0.000001", "0.999999999999999", "9.007199254740"]
    rows = runs_of(*(f"{n % 81},{text}" for n, text in enumerate(texts)))
    assert rows is not None
    assert rows.last.tolist() == [float(text) for text in texts]
    assert rows.class_ids.tolist() == [n % 81 for n in range(len(texts))]
    assert (rows.heads, rows.lengths.tolist()) == (f"{HEAD}\n".encode(), [len(texts)])


UNUSUAL_CLASSES = [",0.5", " 1,0.5", "x,0.5", "1", '"1",0.5', "-1,0.5", "1,0,5", "123456789,0.5"]
UNUSUAL_SCORES = ["1e-3", "-0.5", ".5", "", "0.5 ", "nan", "0.1234567890123456", "123456789", "0:5", "0.5x", "\u0661"]
UNUSUAL_SCORES += ["0.1234567x9", "0.123456789x1"]


@pytest.mark.parametrize("cell", [*UNUSUAL_CLASSES, *(f"1,{score}" for score in UNUSUAL_SCORES)])
def test_unusual_cells_are_left_to_the_general_reader(cell: str) -> None:
    assert runs_of("1,0.5", "2,0.25") is not None
    assert runs_of("1,0.5", cell, "2,0.25") is None


def test_a_new_run_wherever_the_beginning_changes() -> None:
    heads = [HEAD, HEAD, "v,0902,0.1,0.2,0.3,0.5", "v,0903,0.1,0.2,0.3,0.5", "w,0903,0.1,0.2,0.3,0.5", HEAD]
    heads += ["v,0902,0.1,0.2,0.3,0.40", "\u00e9" * 40 + ",1,0,0,1,1"]
    text = "".join(f"{head},1,0.5\n{head},2,0.5\n" for head in heads)
    rows = read_runs(io.BytesIO(text.encode()))
    assert rows is not None
    assert rows.heads.decode().splitlines() == heads[1:]
    assert rows.lengths.tolist() == [4] + [2] * 6


def test_rows_of_which_few_begin_alike_are_left_to_the_general_reader() -> None:
    text = "".join(f"v,{second},0.1,0.2,0.3,0.4,1,0.5\n" for second in range(900, 950))
    assert read_runs(io.BytesIO(text.encode())) is None


@pytest.mark.parametrize("block_bytes", [1, 7, 64, 333])
def test_where_blocks_end_does_not_matter(block_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(f"v,{n // 10},0.1,0.2,0.3,0.4,{n},0.{n:06d}\n" for n in range(1, 41)).encode()
    whole = csv_runs._read_block(text)
    monkeypatch.setattr(csv_runs, "_BLOCK_BYTES", block_bytes)
    blocks = list(csv_runs._blocks(io.BytesIO(text[:-1])))
    assert b"".join(blocks) == text
    assert len(blocks) > 1
    parts = [csv_runs._read_block(block) for block in blocks]
    assert whole is not None and None not in parts
    joined = csv_runs._join([part for part in parts if part is not None])
    assert joined.last.tolist() == whole.last.tolist()
    assert rows_begin(joined) == rows_begin(whole)


def rows_begin(rows: csv_runs.Runs) -> list[str]:
    """The beginning of every row."""
    heads = rows.heads.decode().splitlines()
    return [head for head, length in zip(heads, rows.lengths.tolist()) for _ in range(length)]


def test_windows_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    assert runs_of("1,0.5", "2,0.25", line_end="\r\n") is not None
    path = tmp_path / "det.csv"
    path.write_bytes(b"\xef\xbb\xbf" + f"{HEAD},1,0.5\r\n{HEAD},2,0.25".encode())
    table = read_detections(path)
    assert table.video_ids.tolist() == ["v", "v"]
    assert table.scores is not None and table.scores.tolist() == [0.5, 0.25]


def test_beginnings_are_checked_like_everything_else(tmp_path: Path) -> None:
    path = tmp_path / "gt.csv"
    path.write_text("v,902,0.9,0.2,0.3,0.4,1,7\nv,902,0.9,0.2,0.3,0.4,2,7\n")
    with pytest.raises(AvadetError, match=r"gt\.csv:1: .*'0.9' and '0.3'"):
        read_ground_truth(path)
    path.write_text("v,9o2,0.1,0.2,0.3,0.4,1,7\nv,9o2,0.1,0.2,0.3,0.4,2,7\n")
    with pytest.raises(AvadetError, match=r"gt\.csv:1: column 2 \(seconds\) is '9o2'"):
        read_ground_truth(path)


@pytest.mark.shared
def test_the_same_as_the_general_reader(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shared / "parity/eval/small/det.csv"
    fast = read_detections(path)
    monkeypatch.setattr("avadet.annotations.csv_rows.read_runs", lambda file: None)
    general = read_detections(path)
    assert fast.video_ids.tolist() == general.video_ids.tolist()
    for name in ("times_s", "boxes_norm", "class_ids", "scores"):
        assert np.array_equal(getattr(fast, name), getattr(general, name)), name
