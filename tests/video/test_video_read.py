"""Reading: right pictures, right times, from the start and from anywhere, whatever the file."""

from __future__ import annotations

import math
import shutil
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from barcode_videos import SIZE_HW, barcode, cfr, make_video, number_of, sound_frames
from each_case import each_case

from avadet.errors import AvadetError
from avadet.video.passes import Pass
from avadet.video.read import VideoReader, probe

NTSC = Fraction(30000, 1001)
VFR = np.cumsum([0.0, *([0.04] * 20), 1.5, *([0.02] * 20), *([0.1, 0.033] * 20)]).tolist()


def read_all(path: Path, start_s: float = 0.0) -> tuple[list[int], list[float], VideoReader]:
    with VideoReader(path) as reader:
        frames = [(number_of(frame.image), frame.time_s) for frame in reader.frames(start_s)]
    return [number for number, _ in frames], [time_s for _, time_s in frames], reader


CASES = {
    "25.mp4": dict(times_s=cfr(100, 25), fps=25),
    "2997.mp4": dict(times_s=cfr(100, NTSC), fps=NTSC),
    "10.mkv": dict(times_s=cfr(60, 10), fps=10),
    "vfr.mkv": dict(times_s=VFR),
    "vfr.mp4": dict(times_s=VFR),
    "late.mkv": dict(times_s=cfr(100, 25, start_s=5.0)),
    "clean.ts": dict(times_s=cfr(100, 25)),
    "vp9.webm": dict(times_s=cfr(40, 25), codec="libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"}),
    "av1.mkv": dict(times_s=cfr(40, 25), codec="libsvtav1", options={"preset": "12"}),
    "hevc.mp4": dict(
        times_s=cfr(40, 25), codec="libx265", options={"preset": "ultrafast", "x265-params": "log-level=0"}
    ),
    "mpeg4.avi": dict(times_s=cfr(60, 25), codec="mpeg4", options={"bf": "0"}, clock=Fraction(1, 25)),
    "bframes.avi": dict(times_s=cfr(60, 25), codec="mpeg4", options={"bf": "2"}, clock=Fraction(1, 25)),
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name, how in CASES.items():
        make_video(folder / name, **how)
    return folder


@each_case("name", CASES)
def test_every_frame_comes_once_at_its_time(videos: Path, name: str) -> None:
    numbers, times_s, reader = read_all(videos / name)
    expected = np.array(CASES[name]["times_s"])
    assert numbers == list(range(len(expected)))
    tick = 0.0011 if name.endswith(("mkv", "webm")) else 0.0001  # Matroska keeps whole milliseconds
    np.testing.assert_allclose(times_s, expected - expected[0], atol=tick)
    assert (reader.damaged, reader.dropped, reader.ended_early_s) == (0, 0, 0.0)


@each_case("name", CASES)
def test_walk_begins_with_the_frame_on_show(videos: Path, name: str) -> None:
    _, times_s, _ = read_all(videos / name)
    with VideoReader(videos / name) as reader:
        for index in range(0, len(times_s), 7):
            end_s = times_s[index + 1] if index + 1 < len(times_s) else times_s[index] + 9.0
            for start_s in (times_s[index], 0.5 * (times_s[index] + end_s)):
                frame = next(iter(reader.frames(start_s)))
                assert number_of(frame.image) == index, f"{name} from {start_s} s"
                assert frame.time_s == pytest.approx(times_s[index], abs=1e-6)


def test_a_seek_that_lands_too_late_is_tried_from_further_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "late.mp4", cfr(150, 25), options={"g": "12", "bf": "0", "preset": "ultrafast"})
    tried_s, seek = [], Pass.seek

    def late(self: Pass, stamp_s: float) -> bool:
        tried_s.append(stamp_s)
        return seek(self, stamp_s + 1.0)

    monkeypatch.setattr(Pass, "seek", late)
    with VideoReader(path) as reader:
        assert number_of(next(iter(reader.frames(4.0))).image) == 100
    assert tried_s == pytest.approx([4.0, 2.0])


def test_walk_from_the_middle_gives_the_rest(videos: Path) -> None:
    numbers, times_s, _ = read_all(videos / "clean.ts", start_s=2.0)
    assert numbers == list(range(50, 100))
    assert times_s[0] == pytest.approx(2.0)


def test_info_says_what_the_file_says(videos: Path) -> None:
    info = probe(videos / "2997.mp4")
    assert (info.size_hw, info.fps, info.num_frames, info.has_audio) == (SIZE_HW, NTSC, 100, False)
    assert info.duration_s == pytest.approx(100 / NTSC, abs=1e-4)
    assert probe(videos / "late.mkv").start_s == pytest.approx(5.0)
    assert probe(videos / "late.mkv").duration_s == pytest.approx(4.0, abs=0.01)


def test_index_counts_frames(videos: Path) -> None:
    with VideoReader(videos / "25.mp4") as reader:
        assert [frame.index for frame in reader.frames()] == list(range(100))
        assert next(iter(reader.frames(2.0))).index == 50


def test_walks_do_not_disturb_each_other(videos: Path) -> None:
    with VideoReader(videos / "25.mp4") as reader:
        first, second = reader.frames(), reader.frames(1.0)
        seen = [number_of(next(walk).image) for _ in range(5) for walk in (first, second)]
    assert seen == [0, 25, 1, 26, 2, 27, 3, 28, 4, 29]
    assert next(first, None) is None  # the reader was closed


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_honoured(tmp_path: Path, degrees: int) -> None:
    """The file asks players to turn the picture counter-clockwise (FFmpeg's sign)."""
    path = make_video(tmp_path / "turned.mp4", cfr(3, 25), rotation=degrees)
    upright = np.rot90(barcode(0), degrees // 90)
    with VideoReader(path) as reader:
        frame = next(iter(reader.frames()))
        assert reader.info.size_hw == frame.image.shape[:2] == upright.shape[:2]
    assert np.abs(frame.image.astype(int) - upright).mean() < 12


def test_one_frame_is_a_video(tmp_path: Path) -> None:
    numbers, times_s, _ = read_all(make_video(tmp_path / "one.mp4", [0.0]))
    assert (numbers, times_s) == ([0], [0.0])


def test_default_of_several_video_streams(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for stream, (height, width) in zip(streams, [(32, 80), SIZE_HW]):
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        streams[1].disposition = Disposition.default
        for number in range(5):
            for stream in streams:
                image = barcode(number, (stream.height, stream.width))
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        for stream in streams:
            container.mux(stream.encode(None))
    assert probe(path).size_hw == SIZE_HW
    assert read_all(path)[0] == list(range(5))


def test_frames_of_another_size_are_resized_and_a_new_count_goes_on(tmp_path: Path) -> None:
    """Two recordings in one MPEG-TS: the size changes and the timestamps start again."""
    second_s = [*cfr(25, 25), *cfr(25, 25, start_s=1.5)]
    parts = [
        make_video(tmp_path / "a.ts", cfr(50, 25)),
        make_video(tmp_path / "b.ts", second_s, size_hw=(96, 240), first_number=50),
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    with VideoReader(joined) as reader:
        frames = list(reader.frames())
    assert {frame.image.shape for frame in frames} == {(*SIZE_HW, 3)}
    assert [number_of(frame.image) for frame in frames] == list(range(100))
    expected = [*cfr(50, 25), *(2.0 + np.array(second_s))]
    np.testing.assert_allclose([frame.time_s for frame in frames], expected, atol=1e-4)


def test_missing_timestamps_are_filled_by_the_rate(tmp_path: Path) -> None:
    """A raw H.264 stream has no timestamps."""
    path = make_video(tmp_path / "raw.h264", cfr(50, 25), options={"bf": "0", "g": "10", "preset": "ultrafast"})
    numbers, times_s, _ = read_all(path)
    assert numbers == list(range(50))
    np.testing.assert_allclose(times_s, cfr(50, 25), atol=1e-6)
    with VideoReader(path) as reader:
        assert number_of(next(iter(reader.frames(1.0))).image) == 25


def test_damage_costs_a_few_frames_and_is_counted(tmp_path: Path, videos: Path) -> None:
    data = bytearray((videos / "25.mp4").read_bytes())
    middle = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2
    data[middle : middle + 400] = bytes(400)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    numbers, times_s, reader = read_all(path)
    assert reader.damaged > 0
    assert len(numbers) > 80 and numbers[:30] == list(range(30))
    assert (np.diff(times_s) > 0).all()


def test_cut_off_file_gives_what_came_before_and_says_so(tmp_path: Path) -> None:
    path = make_video(tmp_path / "whole.mkv", cfr(200, 25))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    numbers, times_s, reader = read_all(path)
    assert 60 < len(numbers) < 180 and numbers[:50] == list(range(50))
    assert reader.damaged > 0 or reader.ended_early_s > 0
    assert times_s[-1] + 0.04 + reader.ended_early_s == pytest.approx(8.0, abs=0.1)


def audio_only(path: Path) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1), sound.setsampwidth(2), sound.setframerate(8000)
        sound.writeframes(bytes(16000))


def song_with_cover(path: Path) -> None:
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=48000)
        sound.layout = "stereo"
        cover = container.add_stream("png", rate=25)
        cover.height, cover.width, cover.pix_fmt = 64, 64, "rgb24"
        cover.disposition = Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")))
        for frame in sound_frames(np.zeros((2, 48000), np.float32), 0.0):
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))


BAD = {
    "missing.mp4": (lambda path: None, "no such video: .*missing.mp4"),
    "empty.mp4": (lambda path: path.write_bytes(b""), r"empty.mp4 is empty \(0 bytes\)"),
    "garbage.mp4": (lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)), "is not a video"),
    "notes.txt": (lambda path: path.write_text("not a video\n" * 50), "notes.txt is not a video but text"),
    "folder.mp4": (lambda path: path.mkdir(), "folder.mp4 is a folder"),
    "song.mp4": (song_with_cover, "song.mp4 has no video stream"),
    "sound.wav": (audio_only, "sound.wav has no video stream, only audio"),
}


@each_case("name", BAD)
def test_what_is_no_video_gives_one_line(tmp_path: Path, name: str) -> None:
    make, message = BAD[name]
    make(tmp_path / name)
    with pytest.raises(AvadetError, match=message) as caught:
        VideoReader(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_odd_names_are_only_names(tmp_path: Path, videos: Path) -> None:
    path = tmp_path / "concat:50% a?b.mp4"
    shutil.copy(videos / "25.mp4", path)
    assert probe(path).num_frames == 100


@pytest.mark.shared
def test_real_videos_read_whole_and_in_time(shared: Path) -> None:
    paths = sorted(path for part in ("clean", "edge") for path in (shared / "data/videos" / part).iterdir())
    assert len(paths) >= 20
    for path in paths:
        with VideoReader(path) as reader:
            frames = [(frame.time_s, frame.image.shape[:2]) for frame in reader.frames()]
        times_s = np.array([time_s for time_s, _ in frames])
        assert times_s[0] == 0.0 and (np.diff(times_s) > 0).all(), path.name
        assert {size_hw for _, size_hw in frames} == {reader.info.size_hw}, path.name
        assert (reader.damaged, reader.dropped, reader.ended_early_s) == (0, 0, 0.0), path.name
        assert len(frames) == (reader.info.num_frames or len(frames)), path.name
        assert math.isclose(times_s[-1] + 1 / reader.info.fps, reader.info.duration_s, abs_tol=0.15), path.name


@pytest.mark.shared
@each_case("name", ["decord_rot_0.mov", "decord_rot_90.mov", "decord_rot_180.mov", "decord_rot_270.mov"])
def test_rotation_agrees_with_opencv(shared: Path, name: str) -> None:
    import cv2

    path = shared / "data/videos/edge" / name
    capture = cv2.VideoCapture(str(path))
    theirs = capture.read()[1][:, :, ::-1]
    capture.release()
    with VideoReader(path) as reader:
        ours = next(iter(reader.frames())).image
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs).mean() < 6  # OpenCV turns YUV into RGB in its own way


@pytest.mark.shared
def test_real_broken_videos(shared: Path) -> None:
    folder = shared / "data/videos/broken"
    for name in ("audio_only.mp4", "empty.mp4", "garbage.mp4", "truncated_no_moov.mp4"):
        with pytest.raises(AvadetError, match=name):
            probe(folder / name)
    results = {}
    for name in ("decord_corrupted.mp4", "truncated_faststart.mp4", "decord_unordered.mov"):
        with VideoReader(folder / name) as reader:
            times_s = [frame.time_s for frame in reader.frames()]
        assert (np.diff(times_s) > 0).all()
        results[name] = (len(times_s), reader.damaged > 0, round(reader.ended_early_s, 3))
    assert results == {
        "decord_corrupted.mp4": (49, True, 0.0),
        "truncated_faststart.mp4": (7, False, 2.3),
        "decord_unordered.mov": (4, False, 0.0),
    }
