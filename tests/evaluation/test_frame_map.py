"""Frame-mAP: rules by hand, laws, and a second implementation that loops over everything."""

from __future__ import annotations

import json

import numpy as np
import pytest
from each_case import each_case
from eval_tables import AWAY, HERE, LABELS, NEAR, Row, random_problem, table

from avadet import boxes
from avadet.annotations.ava import Keyframes
from avadet.errors import AvadetError
from avadet.evaluation.frame_map import evaluate_frame_map
from avadet.evaluation.protocols import PROTOCOLS
from avadet.evaluation.result import FrameMapResult
from avadet.types import LabelMap


def evaluate(true: list[Row], found: list[Row], protocol: str = "activitynet", **more: Keyframes) -> FrameMapResult:
    return evaluate_frame_map(table(*true), table(*found), LABELS, protocol, **more)


def looped(true: list[Row], found: list[Row], protocol: str) -> dict[int, float]:
    """AP by class id, one row at a time, from the description of the rules alone; scores must differ."""
    rules = PROTOCOLS[protocol]
    wanted = [i for i, evaluated in zip(LABELS.ids, LABELS.evaluated) if evaluated]
    listed = {row[:2] for row in true if rules.listed_by == "any" or row[3] in wanted}
    rows = [row for row in found if row[3] in wanted and row[4] > rules.score_above]
    rows = [row for row in rows if rules.listed_by == "none" or row[:2] in listed]
    if rules.cap:
        best = sorted(rows, key=lambda row: -row[4])
        rows = [row for n, row in enumerate(best) if [r[:2] for r in best[:n]].count(row[:2]) < rules.cap]
    result = {}
    for class_id in wanted:
        mine = [row for row in rows if row[3] == class_id and row[2][0] < row[2][2] and row[2][1] < row[2][3]]
        order = sorted(mine, key=lambda row: -row[4]) if rules.best_first else mine
        targets = [row for row in true if row[3] == class_id]
        free = [True] * len(targets)
        hits = {}
        for row in order:
            overlaps = [
                float(boxes.iou(np.array([row[2]]), np.array([t[2]])).item()) if t[:2] == row[:2] else -1.0
                for t in targets
            ]
            nearest = int(np.argmax(overlaps)) if overlaps else -1
            hits[row] = nearest >= 0 and overlaps[nearest] >= 0.5 and free[nearest]
            if hits[row]:
                free[nearest] = False
        marks = [hits[row] for row in sorted(mine, key=lambda row: -row[4])]
        points = [(sum(marks[: n + 1]) / (n + 1), sum(marks[: n + 1])) for n in range(len(marks))]
        if targets:
            steps = [max(p for p, hit in points if hit >= k) for k in range(1, sum(marks) + 1)]
            result[class_id] = sum(steps) / len(targets)
    return result


@each_case("protocol", PROTOCOLS)
@each_case("seed", range(4))
def test_the_same_as_row_by_row(protocol: str, seed: int) -> None:
    true, found = random_problem(seed)
    result = evaluate(true, found, protocol)
    expected = looped(true, found, protocol)
    assert {i: ap for i, ap in zip(LABELS.ids, result.ap) if not np.isnan(ap)} == pytest.approx(expected, abs=1e-12)
    assert 0 < result.mAP < 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_perfect_is_one(protocol: str) -> None:
    true = [("v", 1, HERE, 12, 1), ("v", 1, AWAY, 12, 1), ("v", 2, HERE, 79, 1)]
    result = evaluate(true, [(*row[:4], 0.9 - i / 10) for i, row in enumerate(true)], protocol)
    assert result.mAP == 1.0
    assert result.num_gt.tolist() == result.num_tp.tolist() == [2, 0, 1, 0]


def test_a_second_box_on_a_taken_truth_is_false() -> None:
    found = [("v", 1, HERE, 12, 0.9), ("v", 1, NEAR, 12, 0.8), ("v", 2, HERE, 12, 0.5)]
    result = evaluate([("v", 1, HERE, 12, 1), ("v", 2, HERE, 12, 1)], found)
    assert result.num_tp[0] == 2
    assert result.mAP == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_duplicate_ground_truth_is_two_people() -> None:
    true = [("v", 1, HERE, 12, 1)] * 2
    assert evaluate(true, [("v", 1, HERE, 12, 0.9), ("v", 1, HERE, 12, 0.8)]).num_tp[0] == 1
    assert evaluate(true, [("v", 1, HERE, 12, 0.9)]).mAP == 0.5


def test_iou_of_exactly_a_half_matches() -> None:
    assert evaluate([("v", 1, (0, 0, 0.5, 1), 12, 1)], [("v", 1, (0, 0, 1, 1), 12, 0.5)]).mAP == 1.0


def test_low_score_first_in_file() -> None:
    found = [("v", 1, HERE, 12, 0.2), ("v", 1, NEAR, 12, 0.9)]
    scores = {name: evaluate([("v", 1, HERE, 12, 1)], found, name).mAP for name in PROTOCOLS}
    assert scores == {"activitynet": 1.0, "slowfast": 0.5, "mmaction2": 1.0}


def test_detections_on_keyframes_without_truth() -> None:
    true = [("v", 1, HERE, 12, 1), ("v", 2, HERE, 2, 1), ("v", 3, (0, 0, 0, 0), 0, 1)]
    by_frame = {
        "listed by a class that is not evaluated": ("v", 2.0),
        "listed without boxes": ("v", 3.0),
        "not listed": ("v", 9.0),
    }
    seen = {
        where: [
            evaluate(true, [("v", 1, HERE, 12, 0.5), (*frame, HERE, 12, 0.9)], name).num_det[0] for name in PROTOCOLS
        ]
        for where, frame in by_frame.items()
    }
    assert seen == {
        "listed by a class that is not evaluated": [2, 2, 1],
        "listed without boxes": [2, 2, 1],
        "not listed": [1, 2, 1],
    }


def test_only_activitynet_keeps_50_rows_a_keyframe() -> None:
    found = [("v", 1, AWAY, 11, 0.5 + i / 1000) for i in range(50)] + [("v", 1, HERE, 12, 0.1)]
    assert [evaluate([("v", 1, HERE, 12, 1)], found, name).mAP for name in PROTOCOLS] == [0.0, 1.0, 1.0]


def test_of_equal_scores_activitynet_keeps_the_first_50() -> None:
    crowd = [("v", 1, AWAY, 11, 0.5)] * 50
    for found, mean in (([*crowd, ("v", 1, HERE, 12, 0.5)], 0.0), ([("v", 1, HERE, 12, 0.5), *crowd], 1.0)):
        assert evaluate([("v", 1, HERE, 12, 1)], found, "activitynet").mAP == mean


def test_mmaction2_wants_more_than_0_002() -> None:
    true = [("v", 1, HERE, 12, 1), ("v", 2, HERE, 12, 1)]
    found = [("v", 1, HERE, 12, 0.002), ("v", 2, HERE, 12, 0.0021)]
    assert [evaluate(true, found, name).num_tp[0] for name in PROTOCOLS] == [2, 2, 1]


def test_mmaction2_forgives_classes_without_detections() -> None:
    true = [("v", 1, HERE, 12, 1), ("v", 1, HERE, 79, 1)]
    found = [("v", 1, HERE, 12, 0.9)]
    assert [evaluate(true, found, name).mAP for name in PROTOCOLS] == [0.5, 0.5, 1.0]
    assert evaluate(true, found, "mmaction2").json()["ap"] == {"12": 1.0, "11": None, "79": 0.0}


def test_excluded_keyframes_do_not_count() -> None:
    true = [("v", 1, HERE, 12, 1), ("v", 2, HERE, 12, 1)]
    found = [("v", 1, HERE, 12, 0.5), ("v", 2, AWAY, 12, 0.9)]
    excluded = Keyframes(np.array(["v"]), np.array([2.0]))
    for name in PROTOCOLS:
        result = evaluate(true, found, name, excluded=excluded)
        assert (result.mAP, result.num_gt[0], result.num_det[0]) == (1.0, 1, 1)


def test_a_time_written_with_other_digits_is_the_same_keyframe() -> None:
    """Every frame of 30 a second: 0.366666 where the truth has 0.366667, and with 2 digits, 0.36."""
    times_s = [n / 30 for n in range(60)]
    true = [("v", float(f"{time_s:.6f}"), HERE, 12, 1.0) for time_s in times_s]
    for digits in (6, 3, 2):
        cut = [int(time_s * 10**digits + 1e-6) / 10**digits for time_s in times_s]
        result = evaluate(true, [("v", time_s, HERE, 12, 0.5) for time_s in cut])
        assert (result.mAP, result.num_tp[0]) == (1.0, 60)
        assert len(result.warnings) == (digits == 2)  # rounding needs no word
    assert "40 keyframes are up to 6.67 ms off those of the ground truth" in result.warnings[0]
    assert evaluate(true[:1], [("v", 0.0101, HERE, 12, 0.5)]).mAP == 0.0


def test_of_two_keyframes_near_a_true_one_the_nearer_counts_and_the_other_is_told() -> None:
    """A camera of 120 frames a second; with two times only, both are the keyframe."""
    found = [("v", 0.9955, HERE, 12, 0.9), ("v", 1.0038, AWAY, 12, 0.8), ("v", 1.0121, HERE, 12, 0.7)]
    result = evaluate([("v", 1, HERE, 12, 1)], found)
    assert (result.mAP, result.num_det[0]) == (0.0, 1)
    assert any(text.startswith("1 keyframe lies near one of the ground truth") for text in result.warnings)
    assert any("2 of 3 rows lie on keyframes that the ground truth does not list" in text for text in result.warnings)
    both = evaluate([("v", 1, HERE, 12, 1)], found[:2])
    assert (both.mAP, both.num_det[0]) == (1.0, 2)
    assert any(text.startswith("1 time is the keyframe of another near it") for text in both.warnings)


def test_an_exclusion_excludes_its_keyframe_whatever_its_digits() -> None:
    excluded = Keyframes(np.array(["v"], object), np.array([0.366666]))
    true = table(("v", 0.366667, HERE, 12, 1), ("v", 2, HERE, 12, 1))
    found = table(("v", 0.36667, AWAY, 12, 0.9), ("v", 2, HERE, 12, 0.5))
    assert evaluate_frame_map(true, found, LABELS, "slowfast", excluded).mAP == 1.0


def test_rounding_is_no_pixel() -> None:
    rounded = [("v", 1, (-0.0000003, 0.1, 1.0000002, 0.9), 12, 1.0000001)]
    assert evaluate([("v", 1, (0, 0.1, 1, 0.9), 12, 1)], rounded).warnings == ()
    beyond = evaluate([("v", 1, HERE, 12, 1)], [("v", 1, (-0.02, 0.1, 1.02, 0.9), 12, 1)]).warnings
    assert len(beyond) == 1 and "outside 0-1" in beyond[0] and "pixel" not in beyond[0]
    ids = evaluate([("v", 1, HERE, 12, 1)], [("v", 1, HERE, 12, 7)]).warnings
    assert ids == ("1 of 1 rows have a score outside 0-1 (ids of persons?)",)


def test_without_ground_truth_there_is_no_map() -> None:
    result = evaluate([], [("v", 1, HERE, 12, 0.9)], "slowfast")
    assert np.isnan(result.mAP)
    assert result.num_det[0] == 1
    assert result.json()["mAP"] is None


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_at_all(protocol: str) -> None:
    assert np.isnan(evaluate([], [], protocol).mAP)
    assert evaluate([("v", 1, HERE, 12, 1)], [], "activitynet").mAP == 0.0


def test_equal_scores_count_the_later_one_first() -> None:
    true = [("v", 1, HERE, 12, 1), ("v", 2, HERE, 12, 1)]
    found = [("v", 1, HERE, 12, 0.5), ("v", 2, AWAY, 12, 0.5)]
    assert evaluate(true, found).mAP == 0.25
    assert evaluate(true, found[::-1]).mAP == 0.5


@pytest.mark.parametrize("protocol", ["activitynet", "mmaction2"])
def test_the_order_of_rows_does_not_matter(protocol: str) -> None:
    true, found = random_problem(5)
    rng = np.random.default_rng(0)
    shuffled = evaluate(
        [true[i] for i in rng.permutation(len(true))], [found[i] for i in rng.permutation(len(found))], protocol
    )
    assert shuffled.ap == pytest.approx(evaluate(true, found, protocol).ap, nan_ok=True)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_laws_of_names_classes_scores_and_copies(protocol: str) -> None:
    true, found = random_problem(6)
    base = evaluate(true, found, protocol)
    renamed = evaluate(*([("x/" + row[0], *row[1:]) for row in rows] for rows in (true, found)), protocol)
    assert renamed.ap == pytest.approx(base.ap, nan_ok=True)
    monotone = evaluate(true, [(*row[:4], 0.01 + row[4] ** 3) for row in found if row[4] > 0.002], protocol)
    without_first = evaluate(true, [row for row in found if row[4] > 0.002], protocol)
    assert monotone.ap == pytest.approx(without_first.ap, nan_ok=True)
    order = [2, 0, 3, 1]
    fields = [tuple(field[i] for i in order) for field in (LABELS.names, LABELS.ids, LABELS.groups, LABELS.evaluated)]
    permuted = evaluate_frame_map(table(*true), table(*found), LabelMap(*fields), protocol)
    assert permuted.ap == pytest.approx(base.ap[order], nan_ok=True)


def test_a_false_positive_with_the_lowest_score_never_helps() -> None:
    true, found = random_problem(7)
    base = evaluate(true, found, "slowfast")
    worse = evaluate(true, [*found, ("v0", 0, (0, 0, 0.01, 0.01), 12, -1.0)], "slowfast")
    assert worse.ap[0] <= base.ap[0]
    assert worse.num_det[0] == base.num_det[0] + 1


def test_nonsense_is_counted_and_told() -> None:
    found = [
        ("v", 1, (32, 24, 160, 216), 12, 17.5),
        ("v", 1, (0.5, 0.1, 0.1, 0.9), 12, float("nan")),
        ("v", 9, HERE, 12, 0.5),
        ("v", 1, HERE, 99, 0.5),
    ]
    told = "\n".join(evaluate([("v", 1, HERE, 12, 1)], found).warnings)
    for part in ("class id that is not", "does not list", "NaN", "outside 0-1", "in pixels", "without area"):
        assert part in told
    assert told.count("1 of 4 rows") == 6
    assert evaluate([("v", 1, HERE, 12, 1)], [("v", 1, HERE, 12, 0.5)]).warnings == ()


def test_the_table_names_the_protocol_and_every_class_that_counts() -> None:
    text = evaluate([("v", 1, HERE, 12, 1)], [("v", 1, HERE, 12, 0.9)], "slowfast").table()
    assert "protocol slowfast" in text
    lines = text.splitlines()
    assert lines[1].split() == ["12", "stand", "pose", "1", "1", "1", "100.00"]
    assert lines[2].split() == ["11", "sit", "pose", "0", "0", "0", "-"]
    assert "crawl" not in text
    assert next(line for line in lines if "frame-mAP@0.5" in line).split()[-1] == "100.00"


def test_json_holds_what_the_table_does() -> None:
    true = [("v", 1, HERE, 12, 1), ("v", 1, HERE, 79, 1)]
    report = json.loads(json.dumps(evaluate(true, [("v", 1, HERE, 12, 0.9)]).json()))
    assert (report["protocol"], report["mAP"]) == ("activitynet", 0.5)
    assert report["ap"] == {"12": 1.0, "11": None, "79": 0.0}
    assert report["num_gt"] == {"12": 1, "11": 0, "79": 1}
    assert report["group_mAP"] == {"pose": 1.0, "person": 0.0}


def test_an_unknown_protocol() -> None:
    with pytest.raises(AvadetError, match=r"unknown protocol 'activitynets'; did you mean activitynet"):
        evaluate([], [], "activitynets")
