"""When two times are the same keyframe, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from each_case import each_case

from avadet.keyframes import Rates, join_keyframes, nearest, same_times


def columns(*rows: tuple[str, float]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([name for name, _ in rows], object), np.array([time_s for _, time_s in rows], np.float64)


def of(*times_s: float) -> tuple[np.ndarray, np.ndarray]:
    return columns(*(("v", time_s) for time_s in times_s))


def numbers(*tables: tuple[np.ndarray, np.ndarray], fps: Rates = None, reference: int = 0) -> list[list[int]]:
    return [one.tolist() for one in join_keyframes(tables, fps, reference).numbers]


def test_equal_times_are_numbered_in_order_of_appearance() -> None:
    found, true = columns(("b", 2), ("a", 2), ("b", 2), ("b", 1)), columns(("a", 2), ("c", 2), ("b", 1))
    assert numbers(found, true) == [[0, 1, 0, 2], [1, 3, 2]]
    assert numbers(of(), of(1)) == [[], [0]]
    assert numbers(of()) == [[]]


def test_rounded_and_truncated_digits_are_one_keyframe() -> None:
    truth = of(0.366667, 0.4, 0.433333)
    for found in (of(0.366666, 0.399999, 0.433333), of(0.37, 0.4, 0.43), of(0.36, 0.4, 0.43)):
        assert numbers(found, truth, reference=1) == [[0, 1, 2], [0, 1, 2]]


@each_case(
    ("fps", "apart_s", "same"),
    [
        (None, 0.0099, True),
        (None, 0.01, False),
        (25.0, 0.0199, True),
        (25.0, 0.02, False),
        (100.0, 0.0049, True),
        (100.0, 0.005, False),
        ({"v": 25.0}, 0.0199, True),
        ({"w": 25.0}, 0.0199, False),
    ],
)
def test_half_a_frame_or_10_ms(fps: Rates, apart_s: float, same: bool) -> None:
    for found_s in (5 + apart_s, 5 - apart_s):
        assert numbers(of(found_s), of(5), fps=fps, reference=1) == [[0], [0 if same else 1]]


def test_the_nearest_of_several_is_taken_and_the_others_are_counted() -> None:
    joined = join_keyframes([of(0.995, 0.998, 1.003, 1.006), of(1.0)], reference=1)
    assert [one.tolist() for one in joined.numbers] == [[0, 1, 2, 3], [1]]
    assert (joined.near, joined.farthest_s, joined.crowded) == (1, pytest.approx(0.002), 3)
    assert len(joined.notes()) == 2 and "up to 2 ms" in joined.notes()[0] and joined.notes()[1].startswith("3 ")
    # of two true keyframes the nearer one, of equally near ones the earlier one
    assert numbers(of(1.006), of(1.0, 1.008), fps=100.0, reference=1) == [[0], [1, 0]]
    assert numbers(of(1.004), of(1.0, 1.008), fps=100.0, reference=1) == [[0], [0, 1]]


def test_every_frame_of_a_fast_camera_stays_a_keyframe_of_its_own() -> None:
    """At 120 and 2000 frames a second, whose frames are nearer than 10 ms and than 1 ms."""
    for fps in (120, 2000):
        times_s = np.arange(50) / fps
        found, true = (np.array(["v"] * 50, object), times_s.round(6)), (np.array(["v"] * 50, object), times_s)
        assert numbers(found, true, reference=1) == [list(range(50))] * 2


def test_a_file_that_writes_one_keyframe_twice() -> None:
    joined = join_keyframes([of(0.366666, 0.366667, 0.4), of(0.366667)], reference=1)
    assert [one.tolist() for one in joined.numbers] == [[0, 0, 1], [0]]
    assert (joined.twins, joined.near, joined.crowded, joined.notes()) == (0, 0, 0, [])
    # 4 ms apart; then near the truth by the second of them; then nearer to a truth that is written twice itself
    joined = join_keyframes([of(0.362, 0.366, 0.4), of(0.366667)], reference=1)
    assert [one.tolist() for one in joined.numbers] == [[0, 0, 1], [0]]
    assert (joined.twins, len(joined.notes())) == (1, 1)
    assert numbers(of(0.992, 1.001), of(1.009), reference=1) == [[0, 0], [0]]
    assert numbers(of(1.015), of(1.0, 1.009), reference=1) == [[0], [0, 0]]
    assert numbers(of(1.0, 1.019), fps=25.0) == [[0, 0]]
    assert numbers(of(1.0, 1.019)) == [[0, 1]]


def test_exclusions_join_keyframes_that_the_truth_does_not_list() -> None:
    assert numbers(of(1.001, 2.001), of(1.0), of(2.0, 1.0005), reference=1) == [[0, 1], [0], [1, 0]]


def test_other_videos_are_never_near() -> None:
    found, true = columns(("a", 1.0), ("b", 1.002)), columns(("a", 1.004), ("c", 1.0))
    assert numbers(found, true, reference=1) == [[0, 1], [0, 2]]
    assert numbers(columns(("a", 1e9), ("b", 0)), columns(("b", 1e9 + 0.001), ("a", 1e9 - 0.001))) == [[0, 1], [2, 0]]


def test_times_of_the_reference_for_all() -> None:
    (found, true), joined = same_times([of(0.366666, 0.5, 0.366666), of(0.4, 0.366667)], reference=1)
    assert joined.numbers[0].tolist() == [0, 1, 0]
    assert found.tolist() == [0.366667, 0.5, 0.366667]
    assert true.tolist() == [0.4, 0.366667]


def test_nearest_of_a_video() -> None:
    times_s = np.array([0.0, 0.366667, 1.0])
    assert nearest(times_s, np.array([0.36, 0.38, -0.009, 1.0, 0.5])).tolist() == [1, -1, 0, 2, -1]
    assert nearest(times_s, np.array([0.38, 1.016]), 30.0).tolist() == [1, 2]
    assert nearest(times_s[:1], np.array([0.001, 1.0])).tolist() == [0, -1]
    assert nearest(np.array([0.0, 0.01]), np.array([0.005]), 30.0).tolist() == [0]  # of equally near ones the earlier
    assert nearest(times_s[:0], np.array([0.0])).tolist() == [-1]


def test_laws_on_random_tables() -> None:
    """Against the rule keyframe by keyframe: whoever is equal stays equal, pairs are the nearest of both."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        true_s, found_s = np.cumsum(rng.integers(10, 25, (2, 12)), axis=1) * 1e-3
        found, true = numbers(of(*found_s), of(*true_s), reference=1)
        apart = np.abs(found_s[:, None] - true_s[None]).round(9)
        for row, number in enumerate(found):
            nearest_true = int(apart[row].argmin())
            pair = apart[row, nearest_true] < 0.01 and apart[:, nearest_true].min() == apart[row, nearest_true]
            first = int(np.flatnonzero(apart[:, nearest_true] == apart[row, nearest_true])[0]) == row or not pair
            if pair and first:
                assert number == true[nearest_true]
