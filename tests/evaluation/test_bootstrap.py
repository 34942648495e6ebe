"""Resamples against tables in which videos really stand several times, and the intervals made of them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from each_case import each_case
from eval_tables import AWAY, HERE, LABELS, NEAR, Row, random_problem, table

from avadet.annotations.ava import NO_CLASS, Keyframes
from avadet.errors import AvadetError
from avadet.evaluation import bootstrap as module
from avadet.evaluation.bootstrap import bootstrap, draw, resample, videos_that_count
from avadet.evaluation.frame_map import evaluate_frame_map, result_of
from avadet.evaluation.matching import Matches, match
from avadet.evaluation.protocols import PROTOCOLS
from avadet.evaluation.result import FrameMapResult

every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)
# video a: a true positive; video b: a false positive above its true positive
TWO_TRUE: list[Row] = [("a", 1.0, HERE, 12, 1.0), ("b", 1.0, HERE, 12, 1.0)]
TWO_FOUND: list[Row] = [("a", 1.0, NEAR, 12, 0.9), ("b", 1.0, AWAY, 12, 0.95), ("b", 1.0, NEAR, 12, 0.5)]


def many_videos(seed: int) -> tuple[list[Row], list[Row]]:
    """Six videos that share a ranking; all scores differ. Video p2v0 lists a keyframe without boxes too."""
    true: list[Row] = [("p2v0", 99.0, HERE, NO_CLASS, 1.0)]
    found: list[Row] = []
    for part in range(2):
        some_true, some_found = random_problem(10 * seed + part)
        true += [(f"p{part + 1}{row[0]}", *row[1:]) for row in some_true]
        found += [(f"p{part + 1}{row[0]}", *row[1:4], row[4] * 0.99 + 0.001 * (part + 1)) for row in some_found]
    assert len({row[4] for row in found}) == len(found)
    return true, found


def tied_between_keyframes(found: list[Row]) -> list[Row]:
    """The same rows with scores of a few steps; never equal within a keyframe and class."""
    seen: defaultdict[tuple[object, ...], int] = defaultdict(int)
    rows = []
    for row in found:
        key = (row[0], row[1], row[3])
        seen[key] += 1
        rows.append((*row[:4], 0.99 - 0.04 * seen[key]))
    assert len({row[4] for row in rows}) < len(rows) / 10
    return rows


def side_by_side(rows: list[Row], times: dict[str, int]) -> list[Row]:
    """Every row as often as its video is drawn, the copies under new names next to it."""
    return [(f"{row[0]} copy {copy}", *row[1:]) for row in rows for copy in range(times[row[0]])]


def one_after_another(rows: list[Row], times: dict[str, int]) -> list[Row]:
    """The same, the copies of whole videos after each other."""
    most = range(max(times.values()))
    return [(f"{row[0]} copy {copy}", *row[1:]) for copy in most for row in rows if copy < times[row[0]]]


def draws(matches: Matches) -> tuple[tuple[str, ...], np.ndarray]:
    """Videos that count, and how often each is taken: 0 to 3 times."""
    videos = videos_that_count(matches)
    return videos, np.random.default_rng(5).integers(0, 4, (6, len(videos)))


def expect(matches: Matches, row: int, repeated: FrameMapResult) -> None:
    videos, weights = draws(matches)
    drawn = resample(matches, videos, weights)
    assert drawn.ap[row] == pytest.approx(repeated.ap, abs=1e-12, nan_ok=True)
    assert drawn.in_mean[row].tolist() == repeated.in_mean.tolist()
    assert drawn.mean()[row] == pytest.approx(repeated.mAP, abs=1e-12)
    for group, value in repeated.group_map().items():
        chosen = np.array([one == group for one in LABELS.groups])
        assert drawn.mean(chosen)[row] == pytest.approx(value, abs=1e-12)


@each_case(
    ("weights", "ap"),
    [
        ((1, 1), 2 / 3),  # miss, hit, hit: 1/2, 2/3
        ((2, 0), 1.0),
        ((0, 2), 1 / 2),  # miss, miss, hit, hit
        ((3, 1), 4 / 5),  # miss, 3 hits, hit: 3/4, 4/5
        ((1, 3), 4 / 7),  # 3 misses, hit, 3 hits: 1/4, 4/7
        ((3, 0), 1.0),
    ],
)
def test_weighted_ap_by_hand(weights: tuple[int, int], ap: float) -> None:
    matches = match(table(*TWO_TRUE), table(*TWO_FOUND), LABELS)
    drawn = resample(matches, ("a", "b"), np.array([weights]))
    assert drawn.ap[0, 0] == pytest.approx(ap, abs=1e-15)
    assert np.isnan(drawn.ap[0, 1:]).all()


@every_protocol
def test_each_video_once_is_the_result(protocol: str) -> None:
    true, found = many_videos(1)
    matches = match(table(*true), table(*tied_between_keyframes(found)), LABELS, protocol)
    videos = videos_that_count(matches)
    drawn, result = resample(matches, videos, np.ones((1, len(videos)), np.int64)), result_of(matches)
    assert drawn.ap[0] == pytest.approx(result.ap, abs=1e-12, nan_ok=True)
    assert drawn.mean()[0] == pytest.approx(result.mAP, abs=1e-12)


@every_protocol
@pytest.mark.parametrize("repeat", [side_by_side, one_after_another])
def test_weights_are_repeated_videos(protocol: str, repeat) -> None:
    true, found = many_videos(2)
    excluded = [("p1v1", 2.0), ("p2v2", 0.0), ("elsewhere", 1.0)]
    gone = Keyframes(np.array([v for v, _ in excluded], dtype=object), np.array([t for _, t in excluded]))
    matches = match(table(*true), table(*found), LABELS, protocol, gone)
    videos, weights = draws(matches)
    assert (weights == 0).any()
    assert (weights == 3).any()
    for row, taken in enumerate(weights.tolist()):
        times = dict(zip(videos, taken))
        names = [(f"{video} copy {copy}", time_s) for video, time_s in excluded for copy in range(3)]
        away = Keyframes(np.array([v for v, _ in names], dtype=object), np.array([t for _, t in names]))
        tables = table(*repeat(true, times)), table(*repeat(found, times))
        expect(matches, row, evaluate_frame_map(*tables, LABELS, protocol, away))


@every_protocol
def test_copies_keep_the_order_of_equal_scores(protocol: str) -> None:
    """Scores tie between videos and keyframes: exact for copies that stand side by side, in the range for others."""
    true, found = many_videos(3)
    found = tied_between_keyframes(found)
    matches = match(table(*true), table(*found), LABELS, protocol)
    result = result_of(matches)
    assert (result.ap_tie_lo[:3] < result.ap_tie_hi[:3]).all()
    videos, weights = draws(matches)
    drawn = resample(matches, videos, weights)
    for row, taken in enumerate(weights.tolist()):
        times = dict(zip(videos, taken))
        repeated = table(*side_by_side(true, times)), table(*side_by_side(found, times))
        expect(matches, row, evaluate_frame_map(*repeated, LABELS, protocol))
        appended = table(*one_after_another(true, times)), table(*one_after_another(found, times))
        other = evaluate_frame_map(*appended, LABELS, protocol)
        assert (drawn.ap[row, :3] >= other.ap_tie_lo[:3] - 1e-12).all()
        assert (drawn.ap[row, :3] <= other.ap_tie_hi[:3] + 1e-12).all()


@every_protocol
def test_equal_scores_within_a_keyframe_stay_within_the_range(protocol: str) -> None:
    true, found = many_videos(4)
    found = [(*row[:4], round(row[4] * 5) / 5 + 0.1) for row in found]
    matches = match(table(*true), table(*found), LABELS, protocol)
    videos, weights = draws(matches)
    drawn = resample(matches, videos, weights)
    for row, taken in enumerate(weights.tolist()):
        times = dict(zip(videos, taken))
        repeated = table(*side_by_side(true, times)), table(*side_by_side(found, times))
        other = evaluate_frame_map(*repeated, LABELS, protocol)
        assert (drawn.ap[row, :3] >= other.ap_tie_lo[:3] - 1e-12).all()
        assert (drawn.ap[row, :3] <= other.ap_tie_hi[:3] + 1e-12).all()


def test_a_class_without_detections_in_a_resample_stays_out_of_mmaction2s_mean() -> None:
    true: list[Row] = [("a", 1.0, HERE, 12, 1.0), ("b", 1.0, HERE, 12, 1.0), ("a", 2.0, HERE, 79, 1.0)]
    found: list[Row] = [("b", 1.0, HERE, 12, 0.9), ("a", 2.0, HERE, 79, 0.9)]
    weights = np.array([[1, 1], [2, 0], [0, 2]])
    means = {}
    for protocol in ("activitynet", "mmaction2"):
        matches = match(table(*true), table(*found), LABELS, protocol)
        means[protocol] = resample(matches, ("a", "b"), weights).mean().tolist()
    assert means == {"activitynet": [0.75, 0.5, 1.0], "mmaction2": [0.75, 1.0, 1.0]}


def test_a_resample_without_true_boxes_has_no_mean() -> None:
    matches = match(table(*TWO_TRUE[:1]), table(*TWO_FOUND), LABELS)
    drawn = resample(matches, ("a", "b"), np.array([[0, 2], [1, 1]]))
    assert np.isnan(drawn.ap[0]).all()
    assert np.isnan(drawn.mean()[0])
    assert drawn.mean()[1] == 1.0


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    true, found = many_videos(6)
    matches = match(table(*true), table(*found), LABELS)
    videos, weights = draws(matches)
    whole = resample(matches, videos, weights)
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 3)
    monkeypatch.setattr(module, "_RESAMPLES_AT_ONCE", (4, 4))
    parts = resample(matches, videos, weights)
    assert parts.ap == pytest.approx(whole.ap, abs=1e-14, nan_ok=True)
    assert parts.in_mean.tolist() == whole.in_mean.tolist()


def test_which_videos_count() -> None:
    true: list[Row] = [("true", 1.0, HERE, 12, 1.0), ("empty", 1.0, HERE, NO_CLASS, 1.0), ("gone", 1.0, HERE, 12, 1.0)]
    found: list[Row] = [("unlisted", 1.0, HERE, 12, 0.5), ("no area", 1.0, (0.1, 0.1, 0.1, 0.1), 12, 0.5)]
    excluded = Keyframes(np.array(["gone", "nowhere"], dtype=object), np.array([1.0, 1.0]))
    for protocol, more in (("activitynet", ()), ("slowfast", ("unlisted",))):
        matches = match(table(*true), table(*found), LABELS, protocol, excluded)
        assert videos_that_count(matches) == ("empty", "true", *more)
    assert videos_that_count(match(table(), table(), LABELS)) == ()


def test_draws_are_whole_resamples() -> None:
    weights = draw(5, 400, 1)
    assert weights.shape == (400, 5)
    assert (weights.sum(axis=1) == 5).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(5), abs=0.2)
    assert (weights == draw(5, 400, 1)).all()
    assert (weights != draw(5, 400, 2)).any()


def test_intervals_by_hand() -> None:
    """Two videos have the resamples aa, ab, bb with chances 1/4, 1/2, 1/4: the interval reaches from bb to aa."""
    found = bootstrap(match(table(*TWO_TRUE), table(*TWO_FOUND), LABELS), resamples=200)
    assert (found.level, found.resamples, found.num_videos) == (0.95, 200, 2)
    assert found.note == "2 videos are few: intervals from fewer than 10 are too narrow"
    assert found.mAP == pytest.approx((1 / 2, 1.0))
    assert found.ap[0] == pytest.approx((1 / 2, 1.0))
    assert np.isnan(found.ap[1:]).all()
    assert found.groups == {"pose": pytest.approx((1 / 2, 1.0))}
    report = found.json(LABELS)
    assert report["mAP"] == pytest.approx([0.5, 1.0])
    assert report["ap"]["11"] == [None, None]
    assert list(report["ap"]) == ["12", "11", "79"]


@every_protocol
def test_groups_are_those_of_the_result(protocol: str) -> None:
    true, found = many_videos(7)
    for rows in (found, [row for row in found if row[3] != 79]):
        matches = match(table(*true), table(*rows), LABELS, protocol)
        assert list(bootstrap(matches, 5).groups) == list(result_of(matches).group_map())


def test_intervals_are_the_middle_of_the_resamples() -> None:
    matches = match(*(table(*rows) for rows in many_videos(7)), LABELS)
    found = bootstrap(matches, resamples=300, seed=4)
    videos = videos_that_count(matches)
    means = np.sort(resample(matches, videos, draw(len(videos), 300, 4)).mean())
    assert (means < found.mAP[0]).sum() == pytest.approx(0.025 * 300, abs=1)
    assert (means > found.mAP[1]).sum() == pytest.approx(0.025 * 300, abs=1)
    result = result_of(matches)
    assert found.mAP[0] < result.mAP < found.mAP[1]
    assert (found.ap[:3, 0] < found.ap[:3, 1]).all()


def test_the_order_of_rows_and_of_videos_changes_nothing() -> None:
    true, found = many_videos(8)
    base = bootstrap(match(table(*true), table(*found), LABELS), 50)
    moved = bootstrap(match(table(*true[::-1]), table(*found[::-1]), LABELS), 50)
    assert moved.mAP == pytest.approx(base.mAP, abs=1e-12)
    assert moved.ap == pytest.approx(base.ap, abs=1e-12, nan_ok=True)


def test_videos_that_are_all_alike_leave_no_doubt() -> None:
    true: list[Row] = [(f"v{n}", 1.0, HERE, 12, 1.0) for n in range(10)]
    found: list[Row] = [(f"v{n}", 1.0, box, 12, score) for n in range(10) for box, score in ((AWAY, 0.9), (NEAR, 0.5))]
    intervals = bootstrap(match(table(*true), table(*found), LABELS), 100)
    assert intervals.mAP == pytest.approx((0.5, 0.5))
    assert intervals.note == ""


def test_one_video_gives_no_interval() -> None:
    found = bootstrap(match(table(*TWO_TRUE[1:]), table(*TWO_FOUND[1:]), LABELS), 20)
    assert np.isnan(found.mAP).all()
    assert np.isnan(found.ap).all()
    assert np.isnan(found.groups["pose"]).all()
    assert found.note == "no intervals: they take 2 videos with true boxes at least; the files have 1 in all"
    assert found.json(LABELS)["mAP"] == [None, None]


def test_a_class_of_one_video_gives_no_interval() -> None:
    true = [*TWO_TRUE, ("a", 2.0, HERE, 79, 1.0)]
    found = bootstrap(match(table(*true), table(*TWO_FOUND), LABELS), 100)
    assert np.isnan(found.ap[2]).all()
    assert np.isnan(found.groups["person"]).all()
    assert not np.isnan(found.mAP).any()


def test_nothing_at_all_gives_no_interval() -> None:
    found = bootstrap(match(table(), table(), LABELS), 10)
    assert (found.num_videos, found.groups) == (0, {})
    assert np.isnan(found.mAP).all()
    assert found.ap.shape == (4, 2)


def test_no_resamples_are_a_mistake() -> None:
    matches = match(table(*TWO_TRUE), table(*TWO_FOUND), LABELS)
    with pytest.raises(AvadetError, match="resamples must be 1 or more, got 0"):
        bootstrap(matches, 0)


def test_names_of_videos_come_with_the_matches() -> None:
    excluded = Keyframes(np.array(["nowhere"], dtype=object), np.array([1.0]))
    matches = match(table(*TWO_TRUE), table(*TWO_FOUND[1:]), LABELS, excluded=excluded)
    assert matches.video_names == ("b", "a", "")
    renamed = replace(matches, video_names=("x", "y", ""))
    assert videos_that_count(renamed) == ("x", "y")
