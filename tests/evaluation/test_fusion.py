"""Joining files of detections: which rows are the same, what they become, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avadet.annotations.ava import AvaTable, read_detections, read_ground_truth, write_table
from avadet.cli.main import main
from avadet.errors import AvadetError
from avadet.evaluation.frame_map import evaluate_frame_map
from avadet.evaluation.fusion import fuse
from avadet.types import LabelMap

LEFT, RIGHT = [0.1, 0.2, 0.4, 0.9], [0.6, 0.2, 0.9, 0.9]
Row = tuple[str, float, list[float], int, float]


def table(*rows: Row) -> AvaTable:
    names, times_s, boxes, classes, scores = zip(*rows)
    return AvaTable(
        np.array(names, object), np.array(times_s), np.array(boxes), np.array(classes, np.int64), np.array(scores)
    )


def random_table(seed: int, keyframes: int = 60) -> AvaTable:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 0.6, (keyframes * 3, 2)).round(3)
    boxes = np.concatenate([corners, corners + rng.uniform(0.1, 0.4, corners.shape).round(3)], axis=1).round(6)
    names = np.array([f"v{number % 4}" for number in range(keyframes)], object)
    return AvaTable(
        np.repeat(names, 9),
        np.repeat(np.arange(keyframes) // 4 + 902.0, 9),
        np.repeat(boxes, 3, axis=0),
        np.tile([1, 2, 3], keyframes * 3),
        rng.uniform(0, 1, keyframes * 9).round(9),
    )


def test_means_by_hand() -> None:
    one = table(("v", 1.0, LEFT, 1, 0.9), ("v", 1.0, RIGHT, 2, 0.2))
    other = table(("v", 1.0, RIGHT, 2, 0.8), ("v", 1.004, LEFT, 1, 0.4))  # other order, 4 ms off
    fused = fuse([one, other]).table
    assert fused.times_s.tolist() == [1.0, 1.0] and fused.class_ids.tolist() == [1, 2]
    np.testing.assert_allclose(fused.scores, [0.65, 0.5])
    np.testing.assert_allclose(fuse([one, other], [3, 1]).table.scores, [0.775, 0.35])
    np.testing.assert_allclose(fuse([one, other], mean="geometric").table.scores, [0.6, 0.4])
    np.testing.assert_allclose(fuse([one, other], [1, 0]).table.scores, [0.9, 0.2])


def test_rows_that_a_file_lacks() -> None:
    one = table(("v", 1.0, LEFT, 1, 0.9), ("v", 1.0, LEFT, 2, 0.2))
    other = table(("v", 1.0, LEFT, 1, 0.5), ("w", 1.0, LEFT, 1, 0.6))
    with pytest.raises(AvadetError, match=r"2 of 3 rows are not in every file \(file 1 lacks 1, file 2 lacks 1\)"):
        fuse([one, other])
    known = fuse([one, other], absent="mean")
    np.testing.assert_allclose(known.table.scores, [0.7, 0.2, 0.6])
    assert known.partial.tolist() == [1, 1]
    np.testing.assert_allclose(fuse([one, other], absent="zero").table.scores, [0.7, 0.1, 0.3])
    np.testing.assert_allclose(
        fuse([one, other], mean="geometric", absent="zero").table.scores, [0.45**0.5, 0, 0], atol=1e-9
    )


def test_boxes_of_fewer_decimals_are_the_nearest_ones() -> None:
    near = [[0.1, 0.2, 0.4, 0.9], [0.1004, 0.2, 0.4, 0.9]]
    one = table(*(("v", 1.0, box, 1, score) for box, score in zip(near, (0.2, 0.6))))
    rough = table(("v", 1.0, [0.1005, 0.2001, 0.4, 0.9], 1, 0.8), ("v", 1.0, [0.1001, 0.2, 0.4, 0.9], 1, 0.4))
    fusion = fuse([one, rough])
    assert fusion.loose == 2
    np.testing.assert_allclose(fusion.table.scores, [0.3, 0.7])
    np.testing.assert_array_equal(fusion.table.boxes_norm, near)
    with pytest.raises(AvadetError, match="2 of 2 rows"):
        fuse([table(("v", 1.0, LEFT, 1, 0.9)), table(("v", 1.0, [0.11, 0.2, 0.4, 0.9], 1, 0.9))])  # IoU 0.967


def test_a_row_twice_meets_its_like() -> None:
    twice = table(("v", 1.0, LEFT, 1, 0.9), ("v", 1.0, LEFT, 1, 0.1))
    np.testing.assert_array_equal(fuse([twice, twice]).table.scores, [0.9, 0.1])


def test_what_cannot_be_averaged() -> None:
    one = table(("v", 1.0, LEFT, 1, 0.9))
    with pytest.raises(AvadetError, match=r"weights must be 2 numbers from 0, .* got \[1\]"):
        fuse([one, one], [1])
    with pytest.raises(AvadetError, match="weights must be 2"):
        fuse([one, one], [0, 0])
    with pytest.raises(AvadetError, match="a mean needs scores from 0, got nan for video 'v' at 1 s"):
        fuse([one, table(("v", 1.0, LEFT, 1, np.nan))])
    assert len(fuse([one.rows(np.zeros(0, np.int64))] * 2).table) == 0


def test_itself_and_order_of_rows_change_nothing(tmp_path: Path) -> None:
    labels = LabelMap(("a", "b", "c"), (1, 2, 3), ("action",) * 3, (True,) * 3)
    found, rng = random_table(1), np.random.default_rng(2)
    chosen = rng.choice(len(found), 200, replace=False)
    truth = AvaTable(
        found.video_ids[chosen], found.times_s[chosen], found.boxes_norm[chosen], found.class_ids[chosen],
        person_ids=chosen,
    )  # fmt: skip
    files = [tmp_path / name for name in ("a.csv", "b.csv", "gt.csv")]
    for path, rows in zip(files, (found, found.rows(rng.permutation(len(found))), truth)):
        write_table(path, rows)
    read = read_detections(files[0])
    for column in ("times_s", "boxes_norm", "class_ids", "scores"):  # the file loses nothing
        np.testing.assert_array_equal(getattr(read, column), getattr(found, column))
    np.testing.assert_array_equal(read_ground_truth(files[2]).person_ids, chosen)
    expected = evaluate_frame_map(truth, found, labels)
    for other in files[:2]:
        assert main(["fuse", str(files[0]), str(other), "--out", str(tmp_path / "c.csv")]) == 0
        fused = read_detections(tmp_path / "c.csv")
        np.testing.assert_array_equal(evaluate_frame_map(read_ground_truth(files[2]), fused, labels).ap, expected.ap)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b, out = (str(tmp_path / f"{name}.csv") for name in "abc")
    write_table(a, table(("v", 1.0, LEFT, 1, 0.9), ("v", 1.0, RIGHT, 1, 0.3)))
    write_table(b, table(("v", 1.0, LEFT, 1, 0.5)))
    assert main(["fuse", a, b, "--out", out]) == 1
    assert "avadet: error: 1 of 2 rows are not in every file (file 2 lacks 1)" in capsys.readouterr().err
    assert not Path(out).exists()
    assert main(["fuse", a, b, "--out", out, "--weights", "1,3", "--partial", "mean"]) == 0
    said = capsys.readouterr().out
    assert f"{b}: has 1 of the 2 rows" in said and "arithmetic mean of 2 files, weights 1,3; absent rows left" in said
    np.testing.assert_allclose(read_detections(out).scores, [0.6, 0.3])
    assert main(["fuse", a, "--out", out]) == 1 and "needs two files" in capsys.readouterr().err
    assert main(["fuse", a, b, "--out", out, "--weights", "1;3"]) == 1
    assert "--weights must be numbers" in capsys.readouterr().err
