"""Whether one result is better than another, on the same resamples of the videos."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from eval_tables import AWAY, HERE, LABELS, LOOSE, NEAR, Row, random_problem, table

from avadet.annotations.ava import Keyframes
from avadet.errors import AvadetError
from avadet.evaluation.bootstrap import bootstrap, draw, resample, videos_that_count
from avadet.evaluation.comparison import Change, Comparison, compare
from avadet.evaluation.matching import Matches, match
from avadet.types import LabelMap

VIDEOS = tuple(f"v{n}" for n in range(12))
TRUE: list[Row] = [(video, float(second), HERE, 12, 1.0) for video in VIDEOS for second in range(3)]
RIGHT: list[Row] = [(*row[:2], NEAR, 12, 0.5 + n / 100) for n, row in enumerate(TRUE)]


def with_misses(every: int) -> list[Row]:
    """The right rows, and one false positive above them on the first keyframe of every so many videos."""
    return [*RIGHT, *((video, 0.0, AWAY, 12, 0.95 + n / 1000) for n, video in enumerate(VIDEOS) if n % every == 0)]


def matched(found: list[Row], true: list[Row] = TRUE, protocol: str = "activitynet") -> Matches:
    return match(table(*true), table(*found), LABELS, protocol)


def random_pair(seed: int) -> tuple[list[Row], list[Row], list[Row]]:
    """True boxes in six videos, and two files of detections of them."""
    true, found = random_problem(seed, 600)
    rng = np.random.default_rng(seed)
    halves = [f"{row[0]} {'late' if row[1] > 2 else 'early'}" for row in true]
    true = [(name, *row[1:]) for name, row in zip(halves, true)]
    found = [(f"{row[0]} {'late' if row[1] > 2 else 'early'}", *row[1:]) for row in found]
    noise = rng.normal(0, 0.1, len(found)).tolist()
    return true, found, [(*row[:4], row[4] + more) for row, more in zip(found, noise)]


def test_a_better_result_is_told() -> None:
    """12 false positives above 36 true ones: precision at the end is 36/48, which is the envelope everywhere."""
    comparison = compare(matched(with_misses(1)), matched(RIGHT), 200)
    change = comparison.mAP
    assert (change.a, change.b, change.difference) == pytest.approx((0.75, 1.0, 0.25))
    assert change.interval == pytest.approx((0.25, 0.25))  # all videos are alike
    assert (change.a_better, change.b_better, change.better, change.num_videos) == (0.0, 1.0, "B", 12)
    assert comparison.verdict == "B is better: B - A is +25.00 (95% +25.00 to +25.00)"
    assert list(comparison.classes) == [0]
    assert comparison.groups == {"pose": change}
    other = compare(matched(RIGHT), matched(with_misses(1)), 200)
    assert other.verdict == "A is better: B - A is -25.00 (95% -25.00 to -25.00)"


def test_a_difference_that_one_video_makes_is_not_told() -> None:
    comparison = compare(matched(with_misses(12)), matched(RIGHT), 400)
    low, high = comparison.mAP.interval
    assert low == 0.0
    assert high > comparison.mAP.difference == pytest.approx(1 / 37)
    assert comparison.mAP.b_better == pytest.approx(1 - (11 / 12) ** 12, abs=0.07)  # resamples that have the video
    assert comparison.verdict.startswith("no difference that these videos can show: B - A is +2.70 (95% 0.00 to +")


def test_the_same_result_twice() -> None:
    comparison = compare(matched(with_misses(2)), matched(with_misses(2)), 50)
    assert comparison.verdict == "no difference: every resample gives both the same"
    assert comparison.mAP.difference == 0
    assert (comparison.mAP.a_better, comparison.mAP.b_better) == (0.0, 0.0)


def test_rounding_errors_are_no_difference() -> None:
    """True positives change places, within runs that false positives end: every AP stays, sums are in another order."""
    rng = np.random.default_rng(0)
    shuffled = [TRUE[index] for index in rng.permutation(len(TRUE))]
    misses: list[Row] = [(*shuffled[n][:2], AWAY, 12, -float(n)) for n in range(0, 36, 5)]
    places = np.concatenate([first + rng.permutation(min(5, 36 - first)) for first in range(0, 36, 5)])
    orders = (np.arange(36), places)
    first, second = ([(*row[:2], NEAR, 12, -n - 0.5) for n, row in zip(order, shuffled)] for order in orders)
    comparison = compare(matched(first + misses), matched(second + misses), 200)
    assert Change(0.1 + 0.2, 0.3, (0.0, 0.0), 0.0, 0.0, 2).difference == 0
    assert comparison.classes[0].a < 1
    assert comparison.verdict == "no difference: every resample gives both the same"
    assert (comparison.mAP.a_better, comparison.mAP.b_better) == (0.0, 0.0)


def test_the_difference_is_of_the_same_resamples() -> None:
    true, first, second = random_pair(1)
    a, b = matched(first, true), matched(second, true)
    comparison = compare(a, b, 300, seed=3)
    videos = videos_that_count(a, b)
    weights = draw(len(videos), 300, 3)
    differences = resample(b, videos, weights).mean() - resample(a, videos, weights).mean()
    assert comparison.num_videos == len(videos) == 6
    assert comparison.mAP.interval == pytest.approx(np.quantile(differences, [0.025, 0.975]), abs=1e-12)
    assert comparison.mAP.b_better == (differences > 0).mean()
    alone_a, alone_b = bootstrap(a, 300, 3).mAP, bootstrap(b, 300, 3).mAP
    assert np.ptp(comparison.mAP.interval) < np.ptp(alone_a) + np.ptp(alone_b)


def assert_mirrored(one: Comparison, other: Comparison) -> None:
    assert one.mAP.interval == pytest.approx(tuple(-end for end in reversed(other.mAP.interval)), abs=1e-11)
    assert (one.mAP.a_better, one.mAP.b_better) == (other.mAP.b_better, other.mAP.a_better)
    assert list(one.classes) == list(other.classes)[::-1]


def test_swapping_the_files_changes_the_sign() -> None:
    true, first, second = random_pair(2)
    a, b = matched(first, true), matched(second, true)
    assert_mirrored(compare(a, b, 100), compare(b, a, 100))


def test_videos_meet_by_name_whatever_their_order_in_the_files() -> None:
    true, first, second = random_pair(3)
    backwards = sorted(second, key=lambda row: row[0], reverse=True)
    a, b, moved = matched(first, true), matched(second, true), matched(backwards, true)
    assert b.video_names != moved.video_names
    base, other = compare(a, b, 100), compare(a, moved, 100)
    assert other.mAP == base.mAP
    assert other.classes == base.classes


def test_a_video_that_only_one_file_has_counts() -> None:
    elsewhere: list[Row] = [("new", 0.0, AWAY, 12, 0.99)]
    comparison = compare(matched(RIGHT, protocol="slowfast"), matched([*RIGHT, *elsewhere], protocol="slowfast"), 100)
    assert comparison.num_videos == 13
    assert comparison.mAP.a_better == pytest.approx(1 - (12 / 13) ** 13, abs=0.15)
    assert comparison.mAP.num_videos == 12


def test_classes_come_by_what_b_gains() -> None:
    true, first, second = random_pair(4)
    comparison = compare(matched(first, true), matched(second, true), 50)
    gains = [change.difference for change in comparison.classes.values()]
    assert gains == sorted(gains, reverse=True)
    assert set(comparison.classes) == {0, 1, 2}
    for row, change in comparison.classes.items():
        assert change.a == comparison.a.ap[row]
        assert change.b == comparison.b.ap[row]
    pose = comparison.groups["pose"]
    assert pose.a == pytest.approx((comparison.a.ap[0] + comparison.a.ap[1]) / 2)


def test_table_and_json() -> None:
    comparison = compare(matched(with_misses(1)), matched(RIGHT), 200)
    lines = comparison.table().splitlines()
    assert lines[0].split()[:4] == ["id", "class", "group", "num_gt"]
    numbers = ["75.00", "100.00", "+25.00", "+25.00", "to", "+25.00", "0.00", "100.00", "B"]
    assert lines[1].split() == ["12", "stand", "pose", "36", "12", *numbers]
    assert lines[2].split()[:3] == ["mean", "of", "pose"]
    assert lines[4:] == [
        "",
        comparison.verdict,
        "from 200 resamples of 12 videos, the same for A and B",
        "classes that differ: 1 of 1; by chance alone about 0.1 would",
        "protocol activitynet (ActivityNet Evaluation/get_ava_performance.py)",
    ]
    report = json.loads(json.dumps(comparison.json(), allow_nan=False))
    assert report["mAP"]["difference"] == 0.25
    assert report["classes"]["12"]["name"] == "stand"
    assert report["classes"]["12"]["better"] == "B"
    assert report["verdict"] == comparison.verdict
    assert report["notes"] == list(comparison.notes)


def test_one_video_says_why_there_is_no_answer() -> None:
    one = [row for row in TRUE if row[0] == "v0"]
    comparison = compare(matched(with_misses(1)[:3] + with_misses(1)[36:37], one), matched(RIGHT[:3], one), 20)
    assert comparison.verdict == "B - A is +25.00; whether that is chance these videos cannot say"
    assert comparison.notes == ("no intervals: they take 2 videos with true boxes at least; the files have 1 in all",)
    assert comparison.table().splitlines()[1].split()[-6:] == ["75.00", "100.00", "+25.00", "-", "-", "-"]
    json.dumps(comparison.json(), allow_nan=False)


def test_few_videos_and_lone_classes_are_noted() -> None:
    true: list[Row] = [*TRUE[:6], ("v0", 0.0, HERE, 79, 1.0)]
    comparison = compare(matched(RIGHT, true), matched(RIGHT[:5], true), 20)
    assert "classes without an interval, as their true boxes are all in one video: 1" in comparison.notes
    assert "2 videos are few: intervals from fewer than 10 are too narrow" in comparison.notes
    assert np.isnan(comparison.classes[2].b_better)


def test_different_classes_in_the_means_are_noted() -> None:
    true: list[Row] = [*TRUE, *((*row[:3], 79, 1.0) for row in TRUE)]
    more: list[Row] = [*RIGHT, (*TRUE[0][:3], 79, 0.5)]
    comparison = compare(matched(RIGHT, true, "mmaction2"), matched(more, true, "mmaction2"), 20)
    assert "A has 1 classes in the mean, B 2: those without detections stay out" in comparison.notes
    assert comparison.mAP.a == 1.0
    assert comparison.classes[2].a == 0.0
    assert set(comparison.groups) == {"pose", "person"}
    assert np.isnan(comparison.groups["person"].a)
    json.dumps(comparison.json(), allow_nan=False)


def test_nothing_to_compare() -> None:
    comparison = compare(matched([], []), matched([], []), 5)
    assert comparison.verdict == "nothing to compare: no class has true boxes"
    assert comparison.table()


def test_only_results_of_one_kind_compare() -> None:
    a = matched(RIGHT)
    excluded = Keyframes(np.array(["v0"], dtype=object), np.array([0.0]))
    names = LabelMap(LABELS.names, LABELS.ids, LABELS.groups, (True, True, False, False))
    other_video = [("else", *row[1:]) if row[0] == "v3" else row for row in TRUE]
    other_second = [(row[0], 9.0, *row[2:]) if row is TRUE[4] else row for row in TRUE]
    other_box = [(*row[:2], LOOSE, *row[3:]) if row is TRUE[4] else row for row in TRUE]
    merged = [(row[0], 0.0, *row[2:]) if row is TRUE[4] else row for row in TRUE]
    wrong = {
        "two results compare under one protocol only, got activitynet and slowfast": matched(
            RIGHT, protocol="slowfast"
        ),
        "two results compare with one label map only": match(table(*TRUE), table(*RIGHT), names),
        r"one ground truth only, got two that differ \(36 and 35 rows\)": matched(RIGHT, TRUE[:-1]),
        "one ground truth only": match(table(*TRUE), table(*RIGHT), LABELS, excluded=excluded),
        "ground truth only, got": matched(RIGHT, other_video),
        "truth only, got": matched(RIGHT, merged),
        "only, got two": matched(RIGHT, other_box),
    }
    for message, b in wrong.items():
        with pytest.raises(AvadetError, match=message):
            compare(a, b, 5)
    compare(a, matched(RIGHT, other_second), 5)  # times are not known here, only which rows share a keyframe
    compare(a, replace(a), 5)
