"""One clock, whatever a file's stamps do: gaps, joins, resets, overflow, rates; from the start and from anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from barcode_videos import cfr, make_video, number_of
from each_case import each_case

from avadet.types import Frame
from avadet.video.read import VideoReader
from avadet.video.timestamps import Gaps, in_order

WRAP_S = 2**33 / 90000
JUMP_S = 26 * 3600.0
QUICK = {"g": "12", "bf": "2", "preset": "ultrafast", "b-adapt": "0"}
MPEG2 = dict(codec="mpeg2video", options={"bf": "2", "g": "12"}, clock=Fraction(1, 25))


def walk(path: Path, start_s: float = 0.0) -> list[Frame]:
    with VideoReader(path) as reader:
        return list(reader.frames(start_s))


def numbers(frames: Sequence[Frame]) -> list[int]:
    return [number_of(frame.image) for frame in frames]


def joined(folder: Path, suffix: str, parts: Sequence[Sequence[float]], **how) -> Path:
    """One file of several recordings, joined as `cat` joins them; frames are numbered through."""
    path, first = folder / f"joined{suffix}", 0
    with path.open("wb") as whole:
        for index, times_s in enumerate(parts):
            part = make_video(folder / f"{index}{suffix}", times_s, first_number=first, **({"options": QUICK} | how))
            whole.write(part.read_bytes())
            first += len(times_s)
    return path


def after(seconds: float, *parts: Sequence[float]) -> list[float]:
    """Times of recordings whose clock goes on: each part begins `seconds` after the last picture of the one before."""
    times_s: list[float] = []
    for part in parts:
        start_s = times_s[-1] + seconds if times_s else 0.0
        times_s += [start_s + time_s - part[0] for time_s in part]
    return times_s


SECOND = cfr(25, 25)
CASES = {
    "three equal parts": (".ts", [SECOND] * 3, {}, after(0.04, SECOND, SECOND, SECOND), 2),
    "back by half a second": (".ts", [SECOND, cfr(25, 25, 0.5)], {}, after(0.04, SECOND, SECOND), 1),
    "back by two frames": (".ts", [SECOND, cfr(25, 25, 0.88)], {}, after(0.04, SECOND, SECOND), 1),
    "back by much": (".ts", [cfr(25, 25, 1000), SECOND], {}, after(0.04, SECOND, SECOND), 1),
    "on by ten hours": (".ts", [cfr(25, 25, 1), cfr(25, 25, 36001)], {}, [*SECOND, *cfr(25, 25, 36000)], 0),
    "on and back": (
        ".ts",
        [cfr(25, 25, 1), cfr(25, 25, 3601), cfr(40, 25, 7)],
        {},
        after(0.04, [*SECOND, *cfr(25, 25, 3600)], cfr(40, 25)),
        1,
    ),
    "overflow": (".ts", [cfr(100, 25, WRAP_S - 3.4)], {}, cfr(100, 25), 0),
    "overflow and a join": (
        ".ts",
        [cfr(100, 25, WRAP_S - 3.4), SECOND],
        {},
        after(0.04, cfr(100, 25), SECOND),
        1,
    ),
    "program stream": (".mpg", [cfr(50, 25)] * 3, MPEG2, after(0.04, *[cfr(50, 25)] * 3), 2),
    "matroska": (".mkv", [SECOND] * 2, {}, after(0.04, SECOND, SECOND), 1),
    "matroska, back by half a second": (".mkv", [SECOND, cfr(25, 25, 0.5)], {}, after(0.04, SECOND, SECOND), 1),
    "matroska with a jump": (
        ".mkv",
        [[*cfr(30, 25), *cfr(45, 25, JUMP_S)]],
        {},
        [*cfr(30, 25), *cfr(45, 25, JUMP_S)],
        0,
    ),
    "mp4 with a gap": (".mp4", [[*cfr(30, 25), *cfr(45, 25, 601)]], {}, [*cfr(30, 25), *cfr(45, 25, 601)], 0),
    "time-lapse": (".mp4", [cfr(20, 0.1)], {"fps": Fraction(1, 10)}, cfr(20, 0.1), 0),
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float], int]:
    suffix, parts, how, expected_s, restarts = CASES[request.param]
    folder = tmp_path_factory.mktemp("joined")
    return joined(folder, suffix, parts, **how), expected_s, restarts


def test_every_picture_comes_once_on_one_clock(case: tuple[Path, list[float], int]) -> None:
    path, expected_s, restarts = case
    with VideoReader(path) as reader:
        frames = list(reader.frames())
        assert (reader.restarts, reader.dropped, reader.damaged, reader.ended_early_s) == (restarts, 0, 0, 0.0)
    assert numbers(frames) == list(range(len(expected_s)))
    np.testing.assert_allclose([frame.time_s for frame in frames], expected_s, atol=0.0011)


def test_a_walk_from_anywhere_is_the_walk_from_the_start(case: tuple[Path, list[float], int]) -> None:
    path = case[0]
    whole = walk(path)
    shown, times_s = numbers(whole), [frame.time_s for frame in whole]
    with VideoReader(path) as reader:
        for index in range(1, len(whole)):
            for start_s in (times_s[index], times_s[index] + 0.3 * (times_s[index] - times_s[index - 1])):
                begun = reader.frames(start_s)
                first, second = next(begun), next(begun, None)
                expected = int(np.searchsorted(times_s, start_s + 1e-6, side="right")) - 1
                assert (number_of(first.image), first.time_s) == (shown[expected], times_s[expected]), start_s
                if second is not None:
                    assert (number_of(second.image), second.time_s) == (shown[expected + 1], times_s[expected + 1])
        last = next(reader.frames(times_s[-1] + 99.0))
        assert (number_of(last.image), last.time_s) == (shown[-1], times_s[-1])


@each_case(("suffix", "parts"), [(".mkv", 3), (".mp4", 2), (".flv", 2), (".mkv", 2), (".mp4", 1)])
def test_what_is_joined_where_nobody_reads_it_is_said(tmp_path: Path, suffix: str, parts: int) -> None:
    path = joined(tmp_path, suffix, [SECOND] * parts)
    with VideoReader(path) as reader:
        read = len(list(reader.pictures())) // len(SECOND)
        unread = sum((tmp_path / f"{index}{suffix}").stat().st_size for index in range(read, parts))
        assert reader.unread_bytes == unread


def staged_picture(ticks: int | None) -> SimpleNamespace:
    return SimpleNamespace(pts=ticks, dts=None, time_base=Fraction(1, 10))


def test_stamps_are_put_in_order_over_five_pictures_and_no_more() -> None:
    """As AVI files have them, which stamp pictures in the order of decoding."""
    given, taken = [10, 20, 30, 40, 0, 70, 50, 60], 0

    def pictures() -> Iterator[SimpleNamespace]:
        nonlocal taken
        for ticks in given:
            taken += 1
            yield staged_picture(ticks)

    shown = in_order(pictures(), 1.0)
    first = next(shown)
    assert taken == 5 and first == (0.0, [1.0, 2.0, 3.0, 4.0], first.picture) and first.picture.pts == 10
    rest = list(shown)
    assert [one.stamp_s for one in rest] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    assert [one.picture.pts for one in rest] == given[1:]
    assert [one.following_s for one in rest[-2:]] == [[7.0], []]


def test_a_picture_without_a_stamp_follows_the_latest() -> None:
    pictures = [staged_picture(ticks) for ticks in (10, None, None, 50)]
    assert [one.stamp_s for one in in_order(iter(pictures), 0.5)] == [1.0, 1.5, 2.0, 5.0]


def gaps(intervals_s: Sequence[float], known_after: int = 4) -> list[int]:
    """Which of some intervals are gaps."""
    rule = Gaps()
    following = [intervals_s[index + 1 : index + 1 + known_after] for index in range(len(intervals_s))]
    return [index for index, (one, later) in enumerate(zip(intervals_s, following)) if rule.is_gap(one, later)]


def test_gaps_are_long_for_the_pictures_around_them() -> None:
    steady = [0.04] * 20
    assert gaps([*steady, 1.04, *steady]) == [20]
    assert gaps([*steady, 1.0, *steady]) == []  # a second of dropped frames: everything is near to a picture
    assert gaps([600.0, *steady]) == [0] and gaps([*steady, 600.0]) == [20]
    assert gaps([1.0] * 9 + [4.0] + [1.0] * 9) == []  # one picture a second, three of them lost
    assert gaps([1.0] * 9 + [5.0] + [1.0] * 9) == [9]
    assert gaps([10.0] * 20) == [] and gaps([3600.0] * 5) == [] and gaps([7.0]) == []
    assert gaps([0.04, 600.0] * 10) == list(range(1, 20, 2))  # a camera that takes two pictures a trigger
    assert gaps([10.0] * 20, known_after=0) == []
    assert gaps([0.04, 0.5, 0.1, 0.9, 0.04, 0.04, 0.7, 0.3] * 5) == []  # a screen that seldom changes


def test_a_walk_says_where_gaps_are(tmp_path: Path) -> None:
    path = make_video(tmp_path / "gap.mp4", [*cfr(30, 25), *cfr(30, 25, 2.5), *cfr(30, 25, 600)], options=QUICK)
    assert [frame.index for frame in walk(path) if frame.after_gap] == [30, 60]
    with VideoReader(path) as reader:
        assert reader.info.fps == 25  # not 90 pictures in 601 s


RAW = {
    "a.h264": dict(codec="libx264", options={"bf": "2", "preset": "ultrafast", "g": "10"}, clock=Fraction(1, 30)),
    "a.hevc": dict(codec="libx265", options={"preset": "ultrafast", "x265-params": "log-level=0"}),
    "a.m2v": dict(codec="mpeg2video", options={"bf": "0"}, clock=Fraction(1, 30)),
}


@pytest.mark.parametrize("name", RAW)
def test_the_rate_of_a_raw_stream_is_its_codecs(tmp_path: Path, name: str) -> None:
    path = make_video(tmp_path / name, cfr(30, 30), fps=30, **RAW[name])
    with VideoReader(path) as reader:
        assert (reader.info.fps, reader.rate_is_assumed) == (30, False)
        frames = list(reader.frames())
        np.testing.assert_allclose([frame.time_s for frame in frames], cfr(30, 30), atol=1e-6)
        assert numbers([next(reader.frames(0.75))]) == numbers([frames[22]])


def test_a_raw_stream_without_a_rate_is_said_to_be_taken_for_25(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.h264", cfr(30, 30), options={"bf": "0"})  # its timing says 90,000 a second
    with VideoReader(path) as reader:
        assert reader.rate_is_assumed and reader.info.fps == 25
        np.testing.assert_allclose([frame.time_s for frame in reader.frames()], cfr(30, 25), atol=1e-6)
