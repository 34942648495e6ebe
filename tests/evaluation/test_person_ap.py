"""Person AP: numbers worked by hand, against an independent calculation, and what people are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from each_case import each_case

pytest.importorskip("pycocotools", reason="person AP is pycocotools'")

from avadet.annotations.ava import AvaTable, Keyframes, read_detections, read_ground_truth
from avadet.evaluation.ap import average_precision, claim_once, nearest_truth, precision_recall
from avadet.evaluation.person_ap import THRESHOLDS, PersonApResult, evaluate_persons

Row = tuple[str, float, tuple[float, ...], int, float]
LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
LEFT_LOOSE = (0.0, 0.0, 0.5, 0.625)  # IoU 0.625 with LEFT: a hit at 0.5, 0.55 and 0.6
NOWHERE = (0.0, 0.0, 0.0, 0.0)


def table(rows: list[Row], last: str = "score") -> AvaTable:
    """Rows of (video, seconds, box, class id, last)."""
    videos, times, boxes, classes, lasts = zip(*rows) if rows else ((), (), (), (), ())
    columns = (np.array(videos, object), np.array(times, float), np.array(boxes, float).reshape(-1, 4))
    scores = np.array(lasts, float) if last == "score" else None
    ids = np.array(lasts, np.int64) if last == "person_id" else None
    return AvaTable(*columns, np.array(classes, np.int64), scores, ids)


def truth(*boxes: tuple[float, tuple[float, ...]]) -> AvaTable:
    """People of one video: (seconds, box); each has an id of its own."""
    return table([("v", time, box, 12, number) for number, (time, box) in enumerate(boxes)], "person_id")


def found(*boxes: tuple[float, tuple[float, ...], float]) -> AvaTable:
    """Boxes of one video: (seconds, box, score)."""
    return table([("v", time, box, 12, score) for time, box, score in boxes])


def ap_101(precision: np.ndarray, recall: np.ndarray) -> float:
    """COCO's AP by its definition: the best precision at a recall of at least 0, 0.01, ..., 1, else 0."""
    at = [precision[recall >= level] for level in np.linspace(0, 1, 101)]
    return float(np.mean([values.max(initial=0) for values in at]))


def same(first: PersonApResult, second: PersonApResult) -> None:
    assert first.json() == second.json()


def test_all_found() -> None:
    result = evaluate_persons(truth((1, LEFT), (1, RIGHT)), found((1, LEFT, 0.9), (1, RIGHT, 0.8)))
    for name in ("ap", "ap_50", "ap_75", "ap_large", "ar_10", "ar_100"):
        assert result.stats[name] == pytest.approx(1), name
    assert result.stats["ar_1"] == 0.5
    assert (result.num_people, result.num_boxes, result.num_keyframes) == (2, 2, 1)


def test_a_loose_box_by_hand() -> None:
    result = evaluate_persons(truth((1, LEFT)), found((1, LEFT_LOOSE, 0.9)))
    assert (result.stats["ap_50"], result.stats["ap_75"]) == (pytest.approx(1), 0.0)
    assert result.stats["ap"] == pytest.approx(3 / 10)
    assert result.stats["ar_1"] == pytest.approx(3 / 10)


def test_a_curve_by_hand() -> None:
    """Right, wrong, right of three people: precision 1 to recall 1/3, 2/3 to recall 2/3, then 0.

    The 101 recalls 0, 0.01, ..., 1: 34 of them up to 1/3 (0.33), 33 more up to 2/3 (0.66), 34 beyond.
    """
    true = truth((1, LEFT), (2, LEFT), (3, LEFT))
    boxes = found((1, LEFT, 0.9), (2, RIGHT, 0.7), (3, LEFT, 0.55))
    result = evaluate_persons(true, boxes)
    assert result.stats["ap_50"] == pytest.approx((34 * 1 + 33 * 2 / 3) / 101, abs=1e-12)
    by_score = dict(zip(THRESHOLDS, zip(result.num_at.tolist(), result.recall.tolist(), result.precision.tolist())))
    assert by_score[0.5] == (3, 2 / 3, 2 / 3)
    assert by_score[0.6] == (2, 1 / 3, 1 / 2)
    assert by_score[0.9] == (1, 1 / 3, 1)
    assert by_score[0.95][:2] == (0, 0.0)
    assert np.isnan(by_score[0.95][2])


def test_a_second_box_on_the_same_person_is_wrong() -> None:
    """Its first choice is taken and nobody else is near; the better score has the person."""
    result = evaluate_persons(truth((1, LEFT)), found((1, LEFT_LOOSE, 0.5), (1, LEFT, 0.9)))
    assert result.stats["ap"] == pytest.approx(1.0)
    assert (result.num_at[0], result.num_found_at[0]) == (2, 1)


def test_rows_of_one_person_are_one() -> None:
    """True rows by box and id, found rows by box, whose score is the best of its rows."""
    actions = table([("v", 1, LEFT, 12, 0), ("v", 1, LEFT, 79, 0), ("v", 1, RIGHT, 12, 1)], "person_id")
    rows = table([("v", 1, RIGHT, 12, 0.1), ("v", 1, LEFT, 12, 0.2), ("v", 1, RIGHT, 79, 0.8), ("v", 1, LEFT, 3, 0.5)])
    result = evaluate_persons(actions, rows)
    assert (result.num_people, result.num_boxes) == (2, 2)
    same(result, evaluate_persons(actions, found((1, RIGHT, 0.8), (1, LEFT, 0.5))))
    twins = table([("v", 1, LEFT, 12, 0), ("v", 1, LEFT, 12, 1)], "person_id")
    assert evaluate_persons(twins, rows).num_people == 2
    nameless = AvaTable(twins.video_ids, twins.times_s, twins.boxes_norm, twins.class_ids)
    assert evaluate_persons(nameless, rows).num_people == 1


def test_which_keyframes_count() -> None:
    listed = table([("v", 1, LEFT, 12, 1), ("v", 2, NOWHERE, 0, 1), ("v", 3, LEFT, 12, 1)], "person_id")
    boxes = found((1, LEFT, 0.5), (2, LEFT, 0.9), (3, RIGHT, 0.8), (4, LEFT, 0.9))
    result = evaluate_persons(listed, boxes)
    assert (result.num_keyframes, result.num_people, result.num_boxes) == (3, 2, 3)
    assert result.warnings == ("1 of 4 rows lie on keyframes that the ground truth does not list; they are left out",)
    excluded = Keyframes(np.array(["v", "v"], object), np.array([3.0, 9.0]))
    result = evaluate_persons(listed, boxes, excluded)
    assert (result.num_keyframes, result.num_people, result.num_boxes) == (2, 1, 2)
    assert result.stats["ap_50"] == pytest.approx(0.5)  # the box of the keyframe without people stands first


def test_boxes_without_scores_count_in_the_order_of_the_file() -> None:
    true = truth((1, LEFT), (2, LEFT))
    good_first, bad_first = found((1, LEFT, 1), (1, RIGHT, 1)), found((1, RIGHT, 1), (1, LEFT, 1))
    unscored = AvaTable(good_first.video_ids, good_first.times_s, good_first.boxes_norm, good_first.class_ids)
    same(evaluate_persons(true, unscored), evaluate_persons(true, good_first))
    assert evaluate_persons(true, good_first).stats["ap_50"] == pytest.approx(51 / 101)
    assert evaluate_persons(true, bad_first).stats["ap_50"] == pytest.approx(51 / 2 / 101)


def test_sizes_are_those_of_the_nominal_frame() -> None:
    """A quarter of a 640x480 frame is large, of a 100x100 frame medium, of a 50x50 frame small."""
    quarter = (0.0, 0.0, 0.5, 0.5)
    for size_hw, name in (((480, 640), "ap_large"), ((100, 100), "ap_medium"), ((50, 50), "ap_small")):
        result = evaluate_persons(truth((1, quarter)), found((1, quarter, 0.5)), size_hw=size_hw)
        told = {key for key in ("ap_small", "ap_medium", "ap_large") if not np.isnan(result.stats[key])}
        assert told == {name}
        assert result.stats["ap"] == pytest.approx(1)
        assert f"{size_hw[1]}x{size_hw[0]}" in result.table()


def test_the_best_100_of_a_keyframe() -> None:
    boxes = [(1, (0.001 * n, 0.0, 0.001 * n + 0.001, 0.5), 0.9) for n in range(100)]
    result = evaluate_persons(truth((1, RIGHT)), found(*boxes, (1, RIGHT, 0.1)))
    assert result.stats["ap_50"] == 0.0
    assert result.num_at[0] == 100
    assert result.warnings == ("1 of 101 boxes are not among the best 100 of their keyframe",)


def test_nobody_and_nothing() -> None:
    nothing, nobody = found(), table([("v", 1, NOWHERE, 0, 1)], "person_id")
    missed = evaluate_persons(truth((1, LEFT)), nothing)
    assert (missed.stats["ap"], missed.stats["ar_100"], missed.recall[0]) == (0.0, 0.0, 0.0)
    for true, boxes, num_boxes in ((nobody, found((1, LEFT, 0.5)), 1), (nobody, nothing, 0), (nothing, nothing, 0)):
        result = evaluate_persons(true, boxes)
        assert (result.num_people, result.num_boxes) == (0, num_boxes)
        assert all(np.isnan(value) for value in result.stats.values())
        assert result.json()["ap"] is None
        assert result.table().splitlines()[0].split()[-1] == "-"


def test_weird_rows_are_counted() -> None:
    nan = float("nan")
    boxes = found(
        (1, RIGHT, nan), (1, LEFT, 1.5), (1, (0, 0, 32, 64), 0.5), (1, (0.5, 0, 0.5, 1), 0.5), (1, (0, nan, 1, 1), 0.5),
        (1, NOWHERE, 1),
    )  # fmt: skip
    result = evaluate_persons(truth((1, LEFT), (1, (0.25, 0.5, 0.25, 1.0))), boxes)
    assert (result.num_people, result.num_boxes) == (1, 2)
    assert [warning.split()[0] for warning in result.warnings] == ["1", "1", "1", "2", "1"]
    for warning, says in zip(
        result.warnings, ["NaN; they are left out", "outside 0-1", "in pixels", "without area", "ground truth"]
    ):
        assert says in warning


def test_permuting_rows_and_renaming_videos_change_nothing() -> None:
    rng = np.random.default_rng(3)
    true, boxes = random_people(rng)
    result = evaluate_persons(true, boxes)
    order = rng.permutation(len(boxes))
    assert boxes.scores is not None
    mixed = AvaTable(
        boxes.video_ids[order],
        boxes.times_s[order],
        boxes.boxes_norm[order],
        boxes.class_ids[order],
        boxes.scores[order],
    )
    same(evaluate_persons(true, mixed), result)
    renamed = [
        AvaTable(
            np.array([f"z{name}" for name in t.video_ids], object), t.times_s + 5, t.boxes_norm, t.class_ids, t.scores
        )
        for t in (true, boxes)
    ]
    same(evaluate_persons(*renamed), result)


def random_people(rng: np.random.Generator, num_frames: int = 40) -> tuple[AvaTable, AvaTable]:
    """People in the cells of a 3 x 3 grid, and shaken boxes, in cells with and without people; scores all differ.

    Nobody reaches into a neighbour's cell, so each box has one person to choose at most and every rule of matching
    agrees.
    """
    true: list[Row] = []
    boxes: list[Row] = []
    for frame in range(num_frames):
        for cell in range(9):
            x, y = (cell % 3) / 3, (cell // 3) / 3
            box = np.array([x + 0.05, y + 0.05, x + 0.25, y + 0.25])
            if rng.random() < 0.4:
                true.append((f"v{frame % 3}", float(frame), tuple(box.tolist()), 12, 1))
            for _ in range(rng.integers(0, 3)):
                shaken = box + rng.normal(0, 0.02, 4).clip(-0.04, 0.04)
                boxes.append((f"v{frame % 3}", float(frame), tuple(shaken.tolist()), 12, float(rng.random())))
    return table(true), table(boxes)


@each_case("seed", range(4))
def test_against_an_independent_calculation(seed: int) -> None:
    true, boxes = random_people(np.random.default_rng(seed))
    result = evaluate_persons(true, boxes)
    frames, true_frames = boxes.times_s.astype(np.int64), true.times_s.astype(np.int64)
    listed = np.isin(frames, true_frames)
    scores = np.asarray(boxes.scores)[listed]
    nearest, overlap = nearest_truth(boxes.boxes_norm[listed], frames[listed], true.boxes_norm, true_frames)
    order = np.argsort(-scores)
    for min_iou, name in ((0.5, "ap_50"), (0.75, "ap_75")):
        is_true = claim_once(nearest, overlap, order, min_iou)[order]
        precision, recall = precision_recall(is_true, len(true))
        assert 0.02 < recall[-1] < 0.98
        assert result.stats[name] == pytest.approx(ap_101(precision, recall), abs=1e-12)
        assert result.stats[name] == pytest.approx(average_precision(precision, recall), abs=1 / 101)
    at = np.array(
        [[(claim_once(nearest, overlap, order) & (scores >= t)).sum(), (scores >= t).sum()] for t in THRESHOLDS]
    )
    assert np.array_equal(np.stack([result.num_found_at, result.num_at], axis=1), at)


def test_pycocotools_stays_silent(capfd: pytest.CaptureFixture[str]) -> None:
    evaluate_persons(truth((1, LEFT)), found((1, LEFT, 0.5)))
    assert capfd.readouterr() == ("", "")


def ap_by_loops(
    people: list[tuple[str, tuple[float, ...]]], boxes: list[tuple[str, tuple[float, ...], float]]
) -> float:
    """COCO's AP at IoU 0.5 box by box: the best score first, each takes the free person it overlaps most."""
    free = dict(enumerate(people))
    hits = []
    for frame, box, _ in sorted(boxes, key=lambda entry: -entry[2]):
        ious = {n: iou_by_hand(box, other) for n, (place, other) in free.items() if place == frame}
        best = max(ious, key=ious.__getitem__, default=None)
        hits.append(best is not None and ious[best] >= 0.5)
        if hits[-1]:
            del free[best]
    return ap_101(*precision_recall(np.array(hits), len(people)))


def iou_by_hand(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def test_against_loops_in_a_crowd() -> None:
    """People who overlap one another, so that a box's first choice may be taken."""
    rng = np.random.default_rng(7)
    low = rng.uniform(0, 0.15, (60, 2))
    people = [(f"v{n % 6}", (*xy, *(xy + 0.5))) for n, xy in enumerate(low.tolist()) for xy in [np.array(xy)]]
    shaken = [tuple((np.array(box) + rng.normal(0, 0.03, 4)).tolist()) for _, box in people * 2]
    boxes = [(people[n % 60][0], box, float(rng.random())) for n, box in enumerate(shaken)]
    true = table([(video, 1.0, box, 12, n) for n, (video, box) in enumerate(people)], "person_id")
    result = evaluate_persons(true, table([(video, 1.0, box, 12, score) for video, box, score in boxes]))
    assert 0.1 < result.stats["ap_50"] < 0.99
    assert result.stats["ap_50"] == pytest.approx(ap_by_loops(people, boxes), abs=1e-12)


@pytest.mark.shared
def test_a_stored_problem(shared: Path) -> None:
    """People and boxes taken from the text, row by row, and scored box by box."""
    folder = shared / "parity/eval/small"
    result = evaluate_persons(read_ground_truth(folder / "gt.csv"), read_detections(folder / "det.csv"))
    people: dict[tuple[object, ...], tuple[str, tuple[float, ...]]] = {}
    boxes: dict[tuple[object, ...], tuple[str, tuple[float, ...], float]] = {}
    for name in ("gt", "det"):
        for line in (folder / f"{name}.csv").read_text().splitlines():
            video, time, *box, _, last = line.split(",")
            frame, corners = f"{video} {float(time)}", tuple(float(cell) for cell in box)
            if name == "gt":
                people[frame, corners, last] = (frame, corners)
            else:
                best = max(float(last), boxes.get((frame, corners), ("", (), 0.0))[2])
                boxes[frame, corners] = (frame, corners, best)
    frames = {frame for frame, _ in people.values()}
    listed = [box for box in boxes.values() if box[0] in frames]
    assert (result.num_keyframes, result.num_people, result.num_boxes) == (len(frames), len(people), len(listed))
    assert result.stats["ap_50"] == pytest.approx(ap_by_loops(list(people.values()), listed), abs=1e-12)
