"""When to look: at steps of the clock, where pictures are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from each_case import each_case
from staged import StagedVideo

from avadet.errors import AvadetError
from avadet.inference.schedule import GapCount, Moments, Schedule, Steps, keyframe_steps, look_ahead
from avadet.inference.sinks import LastPicture


def taken(schedule: Schedule, times_s: Sequence[float]) -> list[float]:
    video = StagedVideo(times_s, 0.0)
    return [moment for seen in look_ahead(video.frames(), video.info) for moment in schedule.take(seen)]


def steps(every_s: float, times_s: Sequence[float]) -> list[float]:
    return taken(keyframe_steps(StagedVideo(times_s, 0.0), every_s), times_s)


def test_keyframes_lie_at_steps_before_the_end() -> None:
    assert steps(1.0, np.arange(35) / 10) == [0.0, 1.0, 2.0, 3.0]
    assert steps(1.0, np.arange(30) / 10) == [0.0, 1.0, 2.0]
    assert steps(1.0, np.arange(8) / 10) == pytest.approx([0.4])
    assert steps(0.1, np.arange(10) / 10) == [index * 0.1 for index in range(10)]
    assert steps(1.0, np.arange(30) * 1001 / 30000) == [0.0, 1.0]  # 1.001 s
    assert steps(1.0, np.round(np.arange(90) / 30, 3)) == [0.0, 1.0, 2.0]  # as Matroska rounds
    assert steps(1.0, np.round(np.arange(180) / 60, 3)) == [0.0, 1.0, 2.0]


def test_a_frame_serves_the_steps_around_it_and_none_that_nobody_recorded() -> None:
    assert steps(1.0, [0.0, 0.4, 0.9, 1.3, 1.8, 2.2]) == [0.0, 1.0, 2.0]
    assert steps(1.0, [0.2, 1.1, 1.2, 1.3]) == [0.0, 1.0]  # 1.0 is nearer to 1.1 than to 0.2
    assert steps(0.25, np.arange(4) / 2) == pytest.approx(np.arange(8) / 4)
    assert steps(0.3, np.arange(5)) == pytest.approx(0.3 * np.arange(17))
    assert steps(1.0, 10.0 * np.arange(5)) == [0.0, 10.0, 20.0, 30.0, 40.0]
    rare = steps(0.3, 10.0 * np.arange(3))  # up to 0.6 s beside a picture
    assert rare == pytest.approx([0.0, 0.3, 0.6, 9.6, 9.9, 10.2, 10.5, 19.5, 19.8, 20.1, 20.4])
    assert steps(7.0, 10.0 * np.arange(5)) == [0.0, 7.0, 21.0, 28.0, 42.0]


@each_case("seed", range(8))
def test_steps_agree_with_taking_one_after_the_other(seed: int) -> None:
    """Where frames are closer than steps, `Steps` is `Moments` of all multiples, by arithmetic."""
    rng = np.random.default_rng(seed)
    times_s = np.cumsum(rng.uniform(0.001, 0.4, 300)) - 0.001
    every_s = float(rng.uniform(0.41, 3.0))
    multiples = [index * every_s for index in range(int(times_s[-1] / every_s) + 1)]
    assert [moment for moment in taken(Steps(every_s), times_s) if moment <= times_s[-1]] == multiples
    assert taken(Moments(multiples), times_s) == multiples


@each_case("every_s", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_interval_is_refused(every_s: float) -> None:
    with pytest.raises(AvadetError, match="positive number of seconds"):
        keyframe_steps(StagedVideo([0.0, 1.0], 2.0), every_s)


def test_gaps_are_counted_and_the_last_frame_is_on_show_as_long_as_the_one_before() -> None:
    video, count, last = StagedVideo([0.0, 0.1, 0.2, 50.2, 50.3, 250.3], 0.0), GapCount(), LastPicture(0.04)
    for seen in look_ahead(video.frames(), video.info):
        last.add(seen.frame)
        if seen.gap_after:
            count.add(seen.gap)
    assert (count.number, count.total_s, count.longest) == (2, pytest.approx(249.8), pytest.approx((50.4, 250.3)))
    assert last.end_s == pytest.approx(250.4)
