"""Sampling: the frames of a clip follow time, agree with the reference's indices, and cost no more than a clip."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from barcode_videos import barcode, cfr, make_video, number_of
from each_case import each_case

from avadet.errors import AvadetError
from avadet.types import ClipSpec, Frame
from avadet.video.read import VideoReader
from avadet.video.sample import (
    ClipBuffer,
    clip_indices,
    nearest_indices,
    read_clip,
    resize_short,
    resized_hw,
)

NTSC = Fraction(30000, 1001)


def spec_of(num_frames: int, stride: int, fps: float = 30.0, short_side: int = 32) -> ClipSpec:
    return ClipSpec(num_frames, stride, fps, short_side, (0.45,) * 3, (0.225,) * 3)


def reference_indices(centre: int, spec: ClipSpec, count: int) -> np.ndarray:
    half = spec.num_frames * spec.stride // 2
    return np.clip(np.arange(centre - half, centre + half, spec.stride), 0, count - 1)


def test_nearest_by_hand() -> None:
    times_s = np.array([0.0, 1.0, 2.0, 4.0])
    wanted_s = np.array([-5.0, 0.0, 0.4, 0.5, 0.6, 1.0, 3.0, 3.2, 4.0, 99.0])
    assert nearest_indices(times_s, wanted_s).tolist() == [0, 0, 0, 0, 1, 1, 2, 3, 3, 3]
    assert nearest_indices(np.array([7.0]), np.array([0.0, 9.0])).tolist() == [0, 0]
    assert nearest_indices(times_s, wanted_s).dtype == np.int64


@each_case("num_frames, stride", [(32, 2), (8, 8), (4, 16), (16, 4), (8, 3), (64, 1), (2, 1)])
@each_case("fps", [30, 25, 10, NTSC])
def test_constant_rate_gives_the_reference_indices(num_frames: int, stride: int, fps: Fraction) -> None:
    spec = spec_of(num_frames, stride, float(fps))
    times_s = np.array(cfr(300, fps))
    for centre in (0, 1, 7, 100, 150, 280, 299):
        indices = clip_indices(times_s, times_s[centre], spec)
        assert indices.tolist() == reference_indices(centre, spec, 300).tolist()


@each_case("milliseconds", [False, True])
@each_case("num_frames, stride", [(32, 2), (8, 8), (64, 1), (8, 3)])
def test_2997_sampled_at_30_steps_evenly_from_any_moment(num_frames: int, stride: int, milliseconds: bool) -> None:
    """Also from halfway between two frames, where a bare nearest-frame rule would change side within the clip."""
    spec = spec_of(num_frames, stride)
    times_s = np.array(cfr(600, NTSC))
    if milliseconds:
        times_s = times_s.round(3)
    for time_s in np.arange(5.0, 15.0, 0.0137).tolist() + (times_s[200:300] + 0.5 / 29.97).tolist():
        steps = np.diff(clip_indices(times_s, time_s, spec))
        assert (steps == stride).all(), f"{time_s} s: {steps}"


@each_case("fps", [15, Fraction(15000, 1001), 7.5, 60])
@each_case("milliseconds", [False, True])
def test_ties_are_broken_the_same_way_all_along(fps: Fraction, milliseconds: bool) -> None:
    """At half the spec's rate every second moment lies halfway between two frames: 0 0 1 1 2 2 ..."""
    spec = spec_of(32, 1)
    times_s = np.array(cfr(400, fps))
    if milliseconds:
        times_s = times_s.round(3)
    patterns = {tuple(np.diff(clip_indices(times_s, time_s, spec))) for time_s in times_s[150:250]}
    assert len(patterns) == 1


def test_sampling_follows_time_where_the_rate_varies() -> None:
    times_s = np.cumsum([0.0, *([0.1] * 10), 1.0, *([0.02] * 50)])
    spec = spec_of(8, 5)  # a sixth of a second apart
    centre = 11
    indices = clip_indices(times_s, times_s[centre], spec)
    wanted_s = times_s[centre] + spec.offsets_s()
    assert np.abs(times_s[indices] - wanted_s)[4:].max() <= 0.0101
    assert indices[:4].tolist() == [10, 10, 11, 11]  # a pause: the nearer of its two ends


def test_resize_short_by_hand() -> None:
    assert resized_hw((720, 1280), 256) == (256, 455)
    assert resized_hw((1280, 720), 256) == (455, 256)
    assert resized_hw((240, 320), 256) == (256, 341)
    assert resized_hw((256, 256), 256) == (256, 256)
    assert resized_hw((100, 1000), 50, long_side=200) == (20, 200)
    assert resized_hw((100, 199), 50) == (50, 99)
    dot = np.zeros((3, 3, 3), np.uint8)
    dot[1, 1] = 90
    assert resize_short(dot, 1).tolist() == [[[90, 90, 90]]]  # by the nearest pixels, not by the mean of all
    image = np.zeros((90, 120, 3), np.uint8)
    assert resize_short(image, 64).shape == (64, 85, 3)
    assert resize_short(image, 90) is image


def frames_at(times_s: Sequence[float], size_hw: tuple[int, int] = (64, 160)) -> list[Frame]:
    return [Frame(barcode(index, size_hw), time_s, index) for index, time_s in enumerate(times_s)]


def stream_clips(frames: Sequence[Frame], keys_s: Sequence[float], spec: ClipSpec) -> tuple[list, int]:
    """Clips of a stream as a pipeline takes them, and the most frames the buffer ever held."""
    buffer, clips, most, keys = ClipBuffer(spec), [], 0, list(keys_s)
    for frame in frames:
        buffer.add(frame)
        most = max(most, len(buffer))
        while keys and buffer.is_ready(keys[0]):
            clips.append(buffer.clip(keys.pop(0)))
            buffer.forget_before(keys[0] if keys else math.inf)
    clips += [buffer.clip(key_s) for key_s in keys]
    return clips, most


@each_case("every_s", [0.2, 1.0, 3.0])
@each_case("fps", [30, NTSC, 12, 50])
def test_streamed_clips_are_those_of_the_whole_video(fps: Fraction, every_s: float) -> None:
    spec = spec_of(8, 4)
    times_s = np.array(cfr(200, fps))
    keys_s = np.arange(0.0, times_s[-1] + 0.5, every_s).tolist()
    clips, most = stream_clips(frames_at(times_s), keys_s, spec)
    assert len(clips) == len(keys_s)
    for key_s, clip in zip(keys_s, clips):
        expected = clip_indices(times_s, key_s, spec)
        assert [number_of(image) for image in clip.frames] == expected.tolist()
        np.testing.assert_array_equal(clip.times_s, times_s[expected])
        assert clip.key_pos == 4 and clip.frames.shape == (8, 32, 80, 3)
    span_s = spec.num_frames * spec.stride / spec.fps
    assert most <= (span_s + 0.6 + every_s * (every_s < 1)) * float(fps) + 3


def test_memory_stays_bounded_between_far_keyframes() -> None:
    spec = spec_of(8, 4)
    frames = frames_at(cfr(900, 30), (16, 40))
    _, most = stream_clips(frames, [0.0, 14.0, 28.0], spec)
    assert most <= 45


def test_pause_in_the_stream_gives_the_same_clip() -> None:
    times_s = np.array([*cfr(30, 30), *(5.0 + np.array(cfr(60, 30)))])
    spec = spec_of(8, 4)
    keys_s = [0.0, 1.2, 3.0, 4.9, 5.1, 6.0]
    clips, _ = stream_clips(frames_at(times_s), keys_s, spec)
    for key_s, clip in zip(keys_s, clips):
        np.testing.assert_array_equal(clip.times_s, times_s[clip_indices(times_s, key_s, spec)])


def test_ready_means_that_nothing_to_come_changes_the_clip() -> None:
    spec = spec_of(4, 3, fps=10)
    buffer = ClipBuffer(spec)
    seen = None
    for frame in frames_at(cfr(40, 10)):
        buffer.add(frame)
        if buffer.is_ready(1.23) and seen is None:
            seen, at_s = buffer.clip(1.23).times_s, frame.time_s
    np.testing.assert_array_equal(seen, buffer.clip(1.23).times_s)
    np.testing.assert_allclose(seen, [0.6, 0.9, 1.2, 1.5])
    assert at_s == pytest.approx(1.6)


def test_buffer_refuses_frames_out_of_time_and_empty_clips() -> None:
    buffer = ClipBuffer(spec_of(4, 3))
    with pytest.raises(AvadetError, match="no frame to make a clip of"):
        buffer.clip(0.0)
    first, second = frames_at([0.0, 1.0])
    buffer.add(second)
    with pytest.raises(AvadetError, match=r"got 0.0 s after 1.0 s"):
        buffer.add(first)


def test_clip_of_one_frame_repeats_it() -> None:
    buffer = ClipBuffer(spec_of(4, 3))
    buffer.add(frames_at([0.0])[0])
    clip = buffer.clip(0.02)
    assert clip.times_s.tolist() == [0.0] * 4 and clip.key_pos == 2


@pytest.mark.parametrize("suffix", ["mp4", "ts", "mkv"])
def test_read_clip_is_the_streamed_clip(tmp_path: Path, suffix: str) -> None:
    spec = spec_of(8, 3)
    path = make_video(tmp_path / f"video.{suffix}", cfr(120, NTSC, start_s=1.5), NTSC)
    with VideoReader(path) as reader:
        keys_s = [0.0, 0.51, 1.0, 2.0, 3.3, 3.99, 9.0]
        clips, _ = stream_clips(list(reader.frames()), keys_s, spec)
        for key_s, expected in zip(keys_s, clips):
            got = read_clip(reader, key_s, spec)
            np.testing.assert_allclose(got.times_s, expected.times_s, atol=1e-9)
            np.testing.assert_array_equal(got.frames, expected.frames)


@pytest.mark.shared
def test_indices_of_the_reference_tables(shared: Path) -> None:
    """Every case of even T; an odd T has no middle and is sampled around the keyframe here."""
    tables = json.loads((shared / "parity/preproc/index_tables.json").read_text())["get_sequence"]
    compared = 0
    for name, expected in tables.items():
        case = {key: int(value) for key, value in (part.split("=") for part in name.split(","))}
        if len(expected) % 2 or 2 * case["half"] != len(expected) * case["rate"]:
            continue
        times_s = np.array(cfr(case["n"], 30))
        got = clip_indices(times_s, times_s[case["center"]], spec_of(len(expected), case["rate"]))
        assert got.tolist() == expected, name
        compared += 1
    assert compared >= 10


@pytest.mark.shared
def test_resized_frame_is_the_reference_one(shared: Path) -> None:
    stored = np.load(shared / "parity/preproc/demo_slowfast.npz")
    image = np.ascontiguousarray(stored["bgr_frames"][32][:, :, ::-1])
    np.testing.assert_array_equal(resize_short(image, 64), stored["resized_frame32_rgb"])
