"""Scores averaged along a track: numbers by hand, laws, and when results come out."""

from __future__ import annotations

import dataclasses
import math
import weakref
from collections.abc import Generator, Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import staged
import torch

from avadet.errors import AvadetError
from avadet.inference.overlay import OverlayTiming, VideoSink
from avadet.inference.pipeline import Event, TrackedPersons
from avadet.inference.run import Setup
from avadet.inference.sinks import feed
from avadet.inference.smoothing import Smoothing, smoothed
from avadet.types import ActionDetections, Frame, FrameKey, PersonBoxes, VideoInfo

BOTH = pytest.mark.parametrize("method", ["mean", "ema"])


def keyframe(time_s: float, people: dict[int, tuple[float, ...]]) -> ActionDetections:
    """Scores per track on one keyframe."""
    count = len(people)
    scores = np.array(list(people.values()), np.float32).reshape(count, -1 if count else 2)
    boxes = np.tile(np.array([0.25, 0.5, 0.5, 1.0], np.float32), (count, 1))
    key = FrameKey("clip", time_s)
    return ActionDetections(
        key, boxes, np.full(count, 0.5, np.float32), scores, (48, 64), np.array(list(people), np.int64)
    )


def smooth(
    keyframes: list[tuple[float, dict[int, tuple[float, ...]]]], method: str, window_s: float = 2.0
) -> list[ActionDetections]:
    out = smoothed(given(keyframe(*one) for one in keyframes), Smoothing(method, window_s))
    return [event for event in out if isinstance(event, ActionDetections)]


def given(events: Iterable[Event]) -> Generator[Event, None, None]:
    """Events as the pipeline gives them."""
    yield from events


def of_track(keyframes: list[ActionDetections], track: int = 1) -> list[float]:
    """Scores of the first class of a track, keyframe by keyframe, where it was seen."""
    return [float(row[0]) for one in keyframes for row, who in zip(one.scores, one.track_ids) if who == track]


def test_mean_by_hand() -> None:
    """At 1 Hz, 2 s hold a keyframe and its two neighbours."""
    out = smooth([(t, {1: (x, 1 - x)}) for t, x in enumerate([0.0, 0.75, 0.0, 0.375])], "mean")
    assert of_track(out) == [0.375, 0.25, 0.375, 0.1875]
    assert [one.key.time_s for one in out] == [0, 1, 2, 3]


def test_ema_by_hand() -> None:
    """W = 2 s: a second fades the past to exp(-1)."""
    fade = math.exp(-1)
    out = of_track(smooth([(t, {1: (x, 1 - x)}) for t, x in enumerate([0.0, 1.0, 0.5])], "ema"))
    assert out == pytest.approx([0, 1 / (1 + fade), (0.5 + fade) / (1 + fade + fade**2)])


def test_time_decides_not_the_count_of_keyframes() -> None:
    """Track 1 is missed at 1 s: its neighbours at 0 and 2 s do not see each other within 1 s, and fade by 2 s."""
    keyframes = [(0, {1: (0.0, 1.0)}), (1, {2: (0.5, 0.5)}), (2, {1: (1.0, 0.0)}), (2.5, {1: (0.5, 0.5)})]
    assert of_track(smooth(keyframes, "mean")) == [0.0, 0.75, 0.75]
    assert of_track(smooth(keyframes, "ema"))[1] == pytest.approx(1 / (1 + math.exp(-2)))


def test_ema_forgets_who_was_away_for_longer_than_five_windows() -> None:
    away = [(0, {1: (0.0, 1.0)}), (10.5, {1: (1.0, 0.0)})]
    assert of_track(smooth(away, "ema")) == [0.0, 1.0]
    assert of_track(smooth(away, "ema", window_s=4.0))[1] < 1.0


def random_keyframes(exclusive: bool = False) -> list[tuple[float, dict[int, tuple[float, ...]]]]:
    """Irregular times, people who come and go, some on no track."""
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.1, 2.0, 60))
    keyframes = []
    for time_s in times.tolist():
        scores = rng.random((6, 3)) if not exclusive else rng.dirichlet(np.ones(3), 6)
        seen = [track for track in (1, 2, 3, 4, -1) if rng.random() < 0.7]
        keyframes.append((time_s, {track: tuple(scores[track]) for track in seen}))
    return keyframes


@BOTH
def test_scores_that_sum_to_one_still_do(method: str) -> None:
    out = [one for one in smooth(random_keyframes(exclusive=True), method) if len(one)]
    np.testing.assert_allclose(np.concatenate([one.scores for one in out]).sum(axis=1), 1, atol=1e-6)


@BOTH
def test_what_does_not_change_is_not_changed(method: str) -> None:
    steady = [(time_s, {track: (0.25, 0.75) for track in people}) for time_s, people in random_keyframes()]
    for before, after in zip([keyframe(*one) for one in steady], smooth(steady, method), strict=True):
        np.testing.assert_allclose(after.scores, before.scores, atol=1e-6)


@BOTH
def test_only_scores_of_tracked_people_change(method: str) -> None:
    befores: list[Event] = [keyframe(*one) for one in random_keyframes()]
    afters = list(smoothed(given(befores), Smoothing(method)))
    for before, after in zip(befores, afters, strict=True):
        assert before.key == after.key
        assert before.boxes_norm is after.boxes_norm and before.person_scores is after.person_scores
        off_track = before.track_ids == -1
        np.testing.assert_array_equal(after.scores[off_track], before.scores[off_track])
    assert any((before.scores != after.scores).any() for before, after in zip(befores, afters))
    untracked = dataclasses.replace(befores[1], track_ids=None)
    (alone,) = smoothed(given([untracked]), Smoothing(method))
    assert isinstance(alone, ActionDetections)
    np.testing.assert_array_equal(alone.scores, untracked.scores)


@BOTH
def test_people_do_not_mix_and_their_order_does_not_matter(method: str) -> None:
    keyframes = random_keyframes()
    together = smooth(keyframes, method)
    turned = smooth([(time_s, dict(reversed(people.items()))) for time_s, people in keyframes], method)
    for track in (1, 2, 3, 4):
        alone = smooth([(t, {who: x for who, x in people.items() if who == track}) for t, people in keyframes], method)
        assert of_track(alone, track) == of_track(together, track) == of_track(turned, track)


@BOTH
def test_a_tiny_window_changes_nothing(method: str) -> None:
    keyframes = random_keyframes()
    for before, after in zip(keyframes, smooth(keyframes, method, window_s=1e-3), strict=True):
        np.testing.assert_allclose(after.scores, keyframe(*before).scores, atol=1e-6)


def test_mean_is_the_same_backwards() -> None:
    keyframes = random_keyframes()
    back = smooth([(200 - time_s, people) for time_s, people in reversed(keyframes)], "mean")
    for ahead, mirrored in zip(smooth(keyframes, "mean"), reversed(back), strict=True):
        np.testing.assert_allclose(ahead.scores, mirrored.scores, atol=1e-6)


def ten_seconds(held: list[int]) -> Generator[Event, None, None]:
    """Frames ten times a second, a keyframe every second; notes which frames were taken from here."""
    for index in range(100):
        held.append(index)
        yield Frame(np.zeros((2, 2, 3), np.uint8), index / 10, index)
        if index % 10 == 0:
            yield keyframe(index / 10, {1: (0.5, 0.5)})


@BOTH
@pytest.mark.parametrize(("window_s", "delay_frames"), [(0.5, 0), (2.0, 10), (3.0, 10), (4.5, 20)])
def test_frames_pass_at_once_and_results_no_later_than_promised(
    method: str, window_s: float, delay_frames: int
) -> None:
    taken: list[int] = []
    given, order, lateness = 0, [], []
    smoothing = Smoothing(method, window_s)
    for event in smoothed(ten_seconds(taken), smoothing, step_s=1.0):
        if isinstance(event, Frame):
            given += 1
            assert len(taken) == given
        else:
            assert isinstance(event, ActionDetections)
            lateness.append(given - 1 - round(event.key.time_s * 10))
            order.append(event.key.time_s)
    assert given == 100
    assert max(lateness) == (delay_frames if method == "mean" else 0) <= smoothing.delay_s * 10
    assert order == list(range(10))


def test_memory_is_bounded_by_the_window() -> None:
    """Of 2000 keyframes no more than a window's are alive at once."""
    alive: set[int] = set()
    most = 0

    def keyframes() -> Generator[Event, None, None]:
        for index in range(2000):
            one = keyframe(index / 10, {index: (0.5, 0.5)})
            alive.add(index)
            weakref.finalize(one, alive.discard, index)
            yield one

    for method in ("mean", "ema"):
        for _ in smoothed(keyframes(), Smoothing(method, 2.0)):
            most = max(most, len(alive))
    assert 20 <= most <= 25


def test_the_overlay_waits_for_what_comes_later() -> None:
    assert (Smoothing("mean", 3.0).delay_s, Smoothing("ema", 3.0).delay_s) == (1.5, 0.0)
    assert OverlayTiming.of(1.0, 0.5 + 1.5).wait_s == 3.0


@pytest.mark.parametrize(
    ("method", "window_s", "message"),
    [
        ("meen", 2.0, "unknown smoothing method 'meen'; did you mean mean.*known: ema, mean"),
        ("mean", 0.0, "window of smoothing must be a positive number of seconds, got 0.0"),
        ("ema", float("nan"), "got nan"),
    ],
)
def test_nonsense_is_refused(method: str, window_s: float, message: str) -> None:
    with pytest.raises(AvadetError, match=message):
        Smoothing(method, window_s)


@BOTH
def test_closing_early_closes_the_source(method: str) -> None:
    closed = []

    def source() -> Generator[Event, None, None]:
        try:
            for time_s in range(10):
                yield keyframe(time_s, {1: (0.5, 0.5)})
        finally:
            closed.append(True)

    events = smoothed(source(), Smoothing(method))
    next(events)
    assert not closed
    events.close()
    assert closed


@BOTH
def test_setup_smooths_what_the_pass_gives(method: str) -> None:
    """A model whose answer depends on the picture; the smoothed run differs from the plain one by the formula."""
    plain, smoothing = brightness_scores(None), Smoothing(method, 2.0)
    events = [keyframe(time_s, {1: (score,)}) for time_s, score in enumerate(plain)]
    by_hand = [float(one.scores[0, 0]) for one in smoothed(given(events), smoothing) if not isinstance(one, Frame)]
    assert len(plain) == 6
    assert max(plain) - min(plain) > 0.1
    assert brightness_scores(smoothing) == pytest.approx(by_hand, abs=1e-6)


def brightness_scores(smoothing: Smoothing | None) -> list[float]:
    """Scores of one person over six keyframes, from a model that looks at the middle frame's brightness."""

    class Brightness(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(0.1))

        def forward(self, clips: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
            middle = clips[rois[:, 0].long(), 0, clips.shape[2] // 2].float().mean(dim=(1, 2))
            return ((middle * 7) % 13 * self.scale)[:, None]

    model = dataclasses.replace(staged.staged_model([0.0]), model=Brightness())
    setup = Setup(model, staged.StagedPeople((16, 8, 32, 40)), smoothing=smoothing)
    video = staged.staged_video(6.0)
    return [float(one.scores[0, 0]) for one in setup.events(video) if isinstance(one, ActionDetections)]


def test_the_annotated_video_waits_for_smoothed_results(tmp_path: Path) -> None:
    """No frame is drawn before the result of the keyframe that follows it is there."""
    drawn: list[tuple[float, float]] = []

    class Noting(VideoSink):
        def _write(self, frame: Frame) -> None:
            drawn.append((frame.time_s, self._captions.latest_s))
            super()._write(frame)

    def events() -> Generator[Event, None, None]:
        for index in range(100):
            yield Frame(np.zeros((48, 64, 3), np.uint8), index / 10, index)
            if index % 10 == 0:
                yield TrackedPersons(index / 10, PersonBoxes.empty((48, 64)))
                yield keyframe(index / 10, {1: (0.5, 0.5)})

    smoothing = Smoothing("mean", 3.0)
    info = VideoInfo(tmp_path / "nowhere.mp4", (48, 64), Fraction(10), 100, 0.0, 10.0)
    timing = OverlayTiming.of(1.0, smoothing.delay_s)
    with Noting(tmp_path / "clip.mp4", info, staged.labels("a", "b"), 0.3, timing) as sink:
        for _ in feed(smoothed(events(), smoothing, step_s=1.0), [sink]):
            pass
    assert len(drawn) == 100
    assert all(known_s >= time_s for time_s, known_s in drawn if time_s <= 7)
