"""Writing: whole files only, times kept, sound in step."""

from __future__ import annotations

import logging
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from barcode_videos import SIZE_HW, barcode, beep_onset_s, cfr, make_talkie, make_video, number_of
from each_case import each_case

from avadet.errors import AvadetError
from avadet.video import write
from avadet.video.read import VideoReader, probe
from avadet.video.write import VideoWriter

VFR = np.cumsum([0.0, *([0.04] * 10), 1.5, *([0.021] * 10), 0.1, 0.5]).tolist()


def write_barcodes(path: Path, times_s: list[float], fps: float = 25, size_hw: tuple[int, int] = SIZE_HW) -> Path:
    with VideoWriter(path, size_hw, fps) as writer:
        for number, time_s in enumerate(times_s):
            writer.write(barcode(number, size_hw), time_s)
    return path


def rewrite(source: Path, target: Path, skip: int = 0) -> Path:
    """What a pipeline does: every frame read and written, sound kept."""
    with VideoReader(source) as reader:
        info = reader.info
        with VideoWriter(target, info.size_hw, info.fps, audio_from=source) as writer:
            for frame in reader.frames():
                if frame.index >= skip:
                    writer.write(frame.image, frame.time_s)
    return target


def flash_s(path: Path) -> float:
    with VideoReader(path) as reader:
        return next(frame.time_s for frame in reader.frames() if frame.image.mean() > 128)


@each_case("times_s", [cfr(40, 25), cfr(40, Fraction(30000, 1001)), VFR, [0.0]])
def test_frames_come_back_at_their_times(tmp_path: Path, times_s: list[float]) -> None:
    path = write_barcodes(tmp_path / "out.mp4", times_s)
    with VideoReader(path) as reader:
        frames = list(reader.frames())
        assert reader.info.start_s == 0.0
    assert [number_of(frame.image) for frame in frames] == list(range(len(times_s)))
    np.testing.assert_allclose([frame.time_s for frame in frames], times_s, atol=1e-5)


def test_times_count_from_the_first_frame_written(tmp_path: Path) -> None:
    path = write_barcodes(tmp_path / "out.mp4", cfr(10, 25, start_s=7.0))
    with VideoReader(path) as reader:
        np.testing.assert_allclose([frame.time_s for frame in reader.frames()], cfr(10, 25), atol=1e-5)


def test_file_is_h264_yuv420p_and_starts_playing_at_once(tmp_path: Path) -> None:
    path = write_barcodes(tmp_path / "out.mp4", cfr(20, 25))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 25
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@each_case("size_hw", [(65, 161), (64, 161), (65, 160), (33, 47)])
def test_odd_sizes_grow_by_one(tmp_path: Path, size_hw: tuple[int, int]) -> None:
    path = write_barcodes(tmp_path / "out.mp4", cfr(5, 25), size_hw=size_hw)
    height, width = size_hw
    assert probe(path).size_hw == (height + height % 2, width + width % 2)
    with VideoReader(path) as reader:
        last = list(reader.frames())[-1].image[:height, :width]
    assert np.abs(last.astype(int) - barcode(4, size_hw)).mean() < 8


def test_colours_survive(tmp_path: Path) -> None:
    patches = np.zeros((64, 128, 3), np.uint8)
    colours = [(200, 40, 40), (40, 180, 60), (60, 60, 220), (230, 230, 230)]
    for index, colour in enumerate(colours):
        patches[:, index * 32 : index * 32 + 32] = colour
    with VideoWriter(tmp_path / "out.mp4", (64, 128), 25) as writer:
        writer.write(patches, 0.0)
    with VideoReader(tmp_path / "out.mp4") as reader:
        image = next(iter(reader.frames())).image
    for index, colour in enumerate(colours):
        np.testing.assert_allclose(image[32, index * 32 + 16], colour, atol=5)


@each_case(
    "name, codec, kept",
    [
        ("aac.mp4", "aac", "aac"),
        ("aac.ts", "aac", "aac"),
        ("mp3.mkv", "libmp3lame", "mp3float"),
        ("ac3.mkv", "ac3", "ac3"),
        ("opus.mkv", "libopus", "aac"),
        ("flac.mkv", "flac", "aac"),
        ("pcm.mov", "pcm_s16le", "aac"),
        ("mp2.ts", "mp2", "aac"),
    ],
)
@each_case("start_s, late_s, skip", [(0.0, 0.0, 0), (3.0, 0.5, 0), (0.0, 0.0, 10)])
def test_sound_stays_in_step(
    tmp_path: Path, name: str, codec: str, kept: str, start_s: float, late_s: float, skip: int
) -> None:
    source = make_talkie(tmp_path / name, codec, start_s=start_s, late_s=late_s)
    lag_before_s = beep_onset_s(source) - probe(source).start_s - flash_s(source)
    target = rewrite(source, tmp_path / "out.mp4", skip)
    with av.open(str(target)) as container:
        assert container.streams.audio[0].codec_context.name == kept
        end_s = container.duration / av.time_base
    assert abs(beep_onset_s(target) - flash_s(target) - lag_before_s) < 0.012
    assert end_s == pytest.approx(3.0 - skip / 25, abs=0.06)


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_gap_in_the_sound_keeps_it_in_step(tmp_path: Path, codec: str) -> None:
    source = make_talkie(tmp_path / "gap.mkv", codec, gap_s=(0.2, 0.8))
    target = rewrite(source, tmp_path / "out.mp4")
    assert abs(beep_onset_s(target) - flash_s(target)) < 0.03


def test_no_sound_is_no_problem(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = make_video(tmp_path / "silent.mp4", cfr(10, 25))
    assert not probe(rewrite(source, tmp_path / "out.mp4")).has_audio
    assert not caplog.records


def test_broken_sound_is_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = make_talkie(tmp_path / "flac.mkv", "flac")
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        spans = [(packet.pos, packet.size) for packet in container.demux(audio=0) if packet.pos]
    for position, size in spans:
        data[position + 4 : position + 4 + size] = bytes(size)
    source.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        target = rewrite(source, tmp_path / "out.mp4")
    with VideoReader(target) as reader:
        assert len(list(reader.frames())) == 75 and not reader.info.has_audio
    assert "sound of" in caplog.text and "left out of" in caplog.text


def test_sound_that_breaks_half_way_keeps_the_pictures(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_talkie(tmp_path / "opus.mkv", "libopus")
    real = write.Sound.packets

    def breaks(self: write.Sound, until_s: float, last: bool = False) -> object:
        if until_s > 1.5:
            raise av.error.InvalidDataError(1, "bad sound")
        yield from real(self, until_s, last)

    monkeypatch.setattr(write.Sound, "packets", breaks)
    target = rewrite(source, tmp_path / "out.mp4")
    with VideoReader(target) as reader:
        assert len(list(reader.frames())) == 75
    assert "bad sound" in caplog.text


def test_sound_from_a_missing_file_costs_only_the_sound(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with VideoWriter(tmp_path / "out.mp4", SIZE_HW, 25, audio_from=tmp_path / "missing.mp4") as writer:
        writer.write(barcode(0), 0.0)
    assert probe(tmp_path / "out.mp4").num_frames == 1
    assert "no such video" in caplog.text


def test_error_in_the_block_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), VideoWriter(path, SIZE_HW, 25) as writer:
        for number in range(30):
            writer.write(barcode(number), number / 25)
        raise ZeroDivisionError
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.mp4"]
    assert path.read_text() == "old"


def test_video_without_frames_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(AvadetError, match="no frame was written to"),
        VideoWriter(tmp_path / "out.mp4", SIZE_HW, 25),
    ):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name, size_hw, fps, message",
    [
        ("out.avi", (64, 64), 25, "written as .mp4, got out.avi"),
        ("out.mp4", (0, 64), 25, "got 64x0"),
        ("out.mp4", (64, 64), 0, "frame rate must lie between"),
    ],
)
def test_what_cannot_be_written_is_refused_at_once(
    tmp_path: Path, name: str, size_hw: tuple[int, int], fps: float, message: str
) -> None:
    with pytest.raises(AvadetError, match=message):
        VideoWriter(tmp_path / name, size_hw, fps)


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.mp4").mkdir()
    for path in (tmp_path / "file" / "out.mp4", tmp_path / "folder.mp4"):
        with pytest.raises(AvadetError, match="cannot write"), VideoWriter(path, SIZE_HW, 25):
            pass


def test_wrong_frames_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(AvadetError, match=r"got uint8 \(32, 80, 3\)"),
        VideoWriter(tmp_path / "out.mp4", SIZE_HW, 25) as writer,
    ):
        writer.write(barcode(0, (32, 80)), 0.0)
    with (
        pytest.raises(AvadetError, match=r"got 0\.5 s after 1\.0 s"),
        VideoWriter(tmp_path / "out.mp4", SIZE_HW, 25) as writer,
    ):
        for time_s in (0.0, 1.0, 0.5):
            writer.write(barcode(0), time_s)
    assert not list(tmp_path.iterdir())


def test_other_encoder_where_x264_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "ENCODERS", ("no_such_encoder", "mpeg4"))
    path = write_barcodes(tmp_path / "out.mp4", cfr(40, Fraction(30000, 1001)))
    with VideoReader(path) as reader:
        assert [number_of(frame.image) for frame in reader.frames()] == list(range(40))
    monkeypatch.setattr(write, "ENCODERS", ("no_such_encoder",))
    with pytest.raises(AvadetError, match="no encoder among no_such_encoder"):
        write_barcodes(tmp_path / "other.mp4", [0.0])
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.mp4"]


FULL_DISK = """
import resource, sys
import numpy as np
from avadet.errors import AvadetError
from avadet.video.write import VideoWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
rng = np.random.default_rng(0)
try:
    with VideoWriter(sys.argv[1], (240, 320), 25) as writer:
        for number in range(60):
            writer.write(rng.integers(0, 255, (240, 320, 3), np.uint8), number / 25)
except AvadetError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [100, 20_000, 400_000])
def test_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, limit: int) -> None:
    """A limit on the file's size stands in for the disk's end."""
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "out.mp4"), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"cannot write {tmp_path}/out.mp4: ") and done.stdout.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.shared
@pytest.mark.parametrize(
    "name", ["clean/decord_flipping_a_pancake.mkv", "clean/nasa_13013.mp4", "clean/mmaction_test.avi"]
)
def test_real_sound_is_kept(shared: Path, tmp_path: Path, name: str) -> None:
    source = shared / "data/videos" / name
    target = rewrite(source, tmp_path / "out.mp4")
    before, after = (loudness(path) for path in (source, target))
    length = min(len(before), len(after))
    assert length > 40
    assert np.corrcoef(before[:length], after[:length])[0, 1] > 0.9
    with VideoReader(source) as old, VideoReader(target) as new:
        times_s = [[frame.time_s for frame in reader.frames()] for reader in (old, new)]
    np.testing.assert_allclose(times_s[0], times_s[1], atol=1e-4)


def loudness(path: Path) -> np.ndarray:
    """Sound level in steps of a tenth of a second after the first picture, root mean square."""
    start_s = probe(path).start_s
    sums, counts = np.zeros(1000), np.zeros(1000)
    with av.open(str(path)) as container:
        stream = container.streams.best("audio")
        for frame in container.decode(stream):
            step = int((frame.pts * frame.time_base - start_s) * 10)
            if 0 <= step < 1000:
                sums[step] += np.square(frame.to_ndarray().astype(np.float64)).mean()
                counts[step] += 1
    return np.sqrt(sums[counts > 0] / counts[counts > 0])


def stamps_of(path: Path) -> list[float]:
    with VideoReader(path) as reader:
        return [picture.time_s for picture in reader.pictures()]


def test_a_pause_of_26_hours_keeps_its_times_and_costs_nothing(tmp_path: Path) -> None:
    times_s = [0.0, 0.04, 0.08, *(26.5 * 3600 + index / 25 for index in range(12))]
    path = tmp_path / "pause.mp4"
    with VideoWriter(path, SIZE_HW, 25) as writer:
        for index, time_s in enumerate(times_s):
            writer.write(barcode(index), time_s)
    written_s = stamps_of(path)
    stills = [0.08 + 3600 * hour for hour in range(1, 27)]
    np.testing.assert_allclose(written_s, sorted([*times_s, *stills]), atol=1e-4)
    assert path.stat().st_size < 50_000


def test_a_pause_that_no_mp4_should_hold_is_cut_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "pause.mp4"
    with VideoWriter(path, SIZE_HW, 25) as writer:
        for index, time_s in enumerate([0.0, 0.04, 1e9, 1e9 + 0.04]):
            writer.write(barcode(index), time_s)
    written_s = stamps_of(path)
    assert len(written_s) == 4 + 100 and written_s[-1] < 101 * 3600
    assert written_s[-1] - written_s[-2] == pytest.approx(0.04, abs=1e-3)
    assert "of a pause are cut out of it" in caplog.text


@pytest.mark.parametrize("codec", ["aac", "libopus"])
def test_sound_is_kept_in_step_over_a_pause_of_both(tmp_path: Path, codec: str) -> None:
    """Ten minutes without sound are no ten minutes of encoded silence."""
    first = make_talkie(tmp_path / "first.mkv", codec, seconds=2.0, flash_s=9.0)
    late = make_talkie(tmp_path / "late.mkv", codec, seconds=2.0, flash_s=1.0)
    source = joined_late(tmp_path / "source.mkv", first, late, 600.0)
    path = tmp_path / "out.mp4"
    with VideoReader(source) as reader, VideoWriter(path, reader.info.size_hw, 25, source) as writer:
        for frame in reader.frames():
            writer.write(frame.image, frame.time_s)
    assert beep_onset_s(path) == pytest.approx(601.0, abs=0.06)
    with av.open(str(path)) as container:
        sound = container.streams.audio[0]
        assert sum(packet.duration * packet.time_base for packet in container.demux(sound) if packet.size) < 700
        assert path.stat().st_size < 200_000


def joined_late(path: Path, first: Path, second: Path, late_s: float) -> Path:
    """Two files of equal streams in one, the second so many seconds later."""
    with av.open(str(path), "w") as output, av.open(str(first)) as one, av.open(str(second)) as other:
        streams = [output.add_stream_from_template(stream) for stream in one.streams]
        for source, shift_s in ((one, 0.0), (other, late_s)):
            for packet in source.demux():
                if packet.dts is None:
                    continue
                shift = round(shift_s / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                packet.stream = streams[packet.stream.index]
                output.mux(packet)
    return path


def test_sound_whose_clock_begins_anew_ends_there_and_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    part = make_talkie(tmp_path / "part.ts", "aac", seconds=2.0)
    source = tmp_path / "joined.ts"
    source.write_bytes(part.read_bytes() * 2)
    path = tmp_path / "out.mp4"
    with VideoReader(source) as reader, VideoWriter(path, reader.info.size_hw, 25, source) as writer:
        for frame in reader.frames():
            writer.write(frame.image, frame.time_s)
    assert len(stamps_of(path)) == 100
    assert "its clock begins anew" in caplog.text and " s on: " in caplog.text
