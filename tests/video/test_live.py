"""Live streams: never far behind, in bounded memory, by times that increase, and without giving secrets away."""

from __future__ import annotations

import itertools
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import staged
from each_case import each_case
from served import FPS, HTTP_HEAD, Sender, Sent, encoded, squares

from avadet.errors import AvadetError
from avadet.video import live
from avadet.video.live import QUEUE_S, LiveReader
from avadet.video.live_clock import AHEAD_S, StreamClock
from avadet.video.sources import is_live, shown_name, stem_of
from avadet.video.write import VideoWriter

SECRET = "s3cr3t"


@pytest.fixture(scope="module")
def pieces() -> list:
    return encoded(squares(2.0))


@each_case(
    "text",
    [
        *("rtsp://cam/1", "RTSP://cam", "rtmp://h/a", "http://h/v.m3u8", "https://h", "udp://@239.0.0.1:1234"),
        *("tcp://h:1", "srt://h:1", "/dev/video0", "/dev/video12", "0", "7"),
    ],
)
def test_what_is_live(text: str) -> None:
    assert is_live(text)


@each_case("text", ["clip.mp4", "./0", "file:///a.mp4", "/dev/null", "1234", "-1", "", "a0", "ftp://h/a"])
def test_what_is_not_live(text: str) -> None:
    assert not is_live(text)


@each_case(
    "source, shown",
    [
        ("rtsp://cam.example:554/ch1", "rtsp://cam.example:554"),
        (f"rtsp://joe:{SECRET}@cam:554/ch1", "rtsp://cam:554"),
        (f"rtsp://joe:{SECRET}@x@cam/ch1", "rtsp://cam"),
        (f"rtsp://joe:{SECRET}/{SECRET}@cam/ch1", "rtsp://..."),
        (f"rtsp://joe:#{SECRET}@cam/ch1", "rtsp://..."),
        (f"rtsp://cam/user=joe_password={SECRET}_channel=1", "rtsp://cam"),
        (f"http://cam/v.m3u8?token={SECRET}", "http://cam"),
        (f"http://cam?token={SECRET}@home", "http://..."),
        (f"rtmp://host/app/{SECRET}", "rtmp://host"),
        ("udp://@239.0.0.1:1234", "udp://239.0.0.1:1234"),
        ("tcp://[::1]:9", "tcp://[::1]:9"),
        ("0", "/dev/video0"),
        ("/dev/video3", "/dev/video3"),
    ],
)
def test_names_give_no_secret_away(source: str, shown: str) -> None:
    assert shown_name(source) == shown
    assert SECRET not in stem_of(source, datetime(2026, 1, 2))


def test_stems_are_plain_words_and_a_time() -> None:
    began = datetime(2026, 1, 2, 3, 4, 5)
    assert stem_of("rtsp://a:b@cam.example:554/ch1", began) == "cam-example-554-20260102-030405"
    assert stem_of("/dev/video3", began) == "video3-20260102-030405"
    assert stem_of("2", began) == "video2-20260102-030405"
    for source in ("tcp://../../etc/passwd", "tcp://..\\..\\x", "tcp://" + "a" * 500, "tcp://", "tcp://..@.."):
        stem = stem_of(source, began)
        assert Path(stem).name == stem == Path(stem + ".csv").stem
        assert len(stem) < 100


def test_every_frame_of_a_stream_at_its_time(pieces: list) -> None:
    with Sender(pieces) as sender, LiveReader(sender.url, "cam", retries_s=()) as reader:
        frames = list(reader.frames())
        assert reader.info.path == Path("cam")
        assert (reader.info.size_hw, reader.info.fps, reader.info.duration_s) == ((48, 64), FPS, 0.0)
        assert not reader.is_recording
        assert (reader.arrived, reader.dropped, reader.damaged) == (len(pieces), 0, 0)
        assert "the sender ended it" in reader.lost
    assert [frame.index for frame in frames] == list(range(len(pieces)))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(len(pieces)) / FPS, atol=1e-4)
    lefts = [np.nonzero(frame.image[24, :, 0] > 128)[0].min() for frame in frames]
    assert lefts[0] < 2 and lefts[-1] > 44 and lefts == sorted(lefts)


def test_http_is_read_as_well(pieces: list) -> None:
    with Sender(pieces, head=HTTP_HEAD) as sender:
        url = f"http://joe:{SECRET}@127.0.0.1:{sender.port}/live?token={SECRET}"
        with LiveReader(url, retries_s=()) as reader:
            assert len(list(reader.frames())) == len(pieces)
            assert SECRET not in reader.lost


def test_slow_work_is_never_far_behind() -> None:
    """Each frame takes five times as long as until the next one comes."""
    pieces = encoded(squares(20.0))
    with Sender(pieces) as sender, LiveReader(sender.url, seconds=6.0, retries_s=()) as reader:
        times_s, late_s, waiting = [], [], []
        for frame in reader.frames():
            late_s.append(reader.latency_s(frame.time_s))
            times_s.append(frame.time_s)
            time.sleep(5 / FPS)
            waiting.append(len(reader._queue))
        assert (np.diff(times_s) > 0).all()
        assert len(times_s) < 3.0 * FPS
        assert reader.dropped > 2.0 * FPS
        assert max(waiting) <= QUEUE_S * FPS + 1
    assert max(late_s) < QUEUE_S + 2.0, "beyond the queue only what a busy machine adds"


def test_what_is_dropped_is_dropped_in_one_piece() -> None:
    """A stall costs one stretch of frames, not every other one: clips of motion stay clips of motion."""
    with Sender(encoded(squares(5.0))) as sender, LiveReader(sender.url, retries_s=()) as reader:
        times_s = []
        for frame in reader.frames():
            times_s.append(frame.time_s)
            if len(times_s) == 10:
                time.sleep(QUEUE_S + 0.8)
        gaps_s = np.diff(times_s)
        assert reader.dropped > QUEUE_S * FPS * 0.8
    assert (gaps_s > 1.5 / FPS).sum() == 1
    gap_at = int(gaps_s.argmax())
    middle_s = (times_s[gap_at] + times_s[gap_at + 1]) / 2
    assert not reader.covers(middle_s)
    assert reader.covers(times_s[gap_at]) and reader.covers(times_s[gap_at + 1])


def test_memory_of_the_queue_is_bounded(pieces: list, monkeypatch: pytest.MonkeyPatch) -> None:
    room = 10 * 48 * 64 * 2
    monkeypatch.setattr(live, "QUEUE_BYTES", room)
    with Sender(pieces) as sender, LiveReader(sender.url, retries_s=()) as reader:
        frames, most = reader.frames(), 0
        next(frames)
        for _ in range(50):
            time.sleep(0.02)
            most = max(most, reader._queue_bytes)
        assert 0 < most <= room
        assert reader.dropped > 0


def test_seconds_end_a_stream(pieces: list) -> None:
    with Sender(pieces) as sender, LiveReader(sender.url, seconds=0.5) as reader:
        assert max(frame.time_s for frame in reader.frames()) == pytest.approx(0.48, abs=1e-3)
        assert reader.lost == ""


def test_stop_ends_a_stream_soon() -> None:
    with Sender(encoded(squares(20.0))) as sender, LiveReader(sender.url) as reader:
        frames = reader.frames()
        next(frames)
        reader.stop()
        began_s = time.monotonic()
        assert list(frames) == []
        assert time.monotonic() - began_s < 2.0
        assert reader.lost == ""


def test_a_lost_connection_is_made_again(pieces: list) -> None:
    told: list[str] = []
    sender = Sender(pieces, clients=2)
    with sender, LiveReader(sender.url, tell=told.append, retries_s=(0.3, 0.1)) as reader:
        times_s = [frame.time_s for frame in reader.frames()]
        lost = reader.lost
    assert len(times_s) == 2 * len(pieces)
    assert (np.diff(times_s) > 0).all()
    pause_s = times_s[len(pieces)] - times_s[len(pieces) - 1]
    assert pause_s > 0.3, "time goes on while nothing comes"
    name = sender.url
    assert told[0] == f"the connection to {name} is lost (the sender ended it); trying for 0.4 s to connect again"
    assert told[1] == f"connected to {name} again"
    assert "Connection refused" in lost


@each_case(
    "source, message",
    [
        ("tcp://127.0.0.1:9", "cannot read tcp://127.0.0.1:9: Connection refused; is the address right"),
        (f"rtsp://joe:{SECRET}@127.0.0.1:9/x", "cannot read rtsp://127.0.0.1:9: Connection refused"),
        (f"http://joe:{SECRET}@127.0.0.1:9/x?k={SECRET}", "cannot read http://127.0.0.1:9: Connection refused"),
        (f"tcp://joe:{SECRET}@host.invalid:9", "cannot read tcp://host.invalid:9: "),
        ("/dev/video987", "no such camera: /dev/video987; cameras here: "),
        ("987", "no such camera: /dev/video987; cameras here: "),
    ],
)
def test_what_cannot_be_opened_is_said_in_one_line(source: str, message: str) -> None:
    with pytest.raises(AvadetError) as caught:
        LiveReader(source)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__, "the traceback of --debug would show the whole URL"


def test_what_is_no_video_is_said_in_one_line() -> None:
    message = r"^cannot read http://127.0.0.1:\d+: .*; is the address right"
    sender = Sender([Sent(0.0, b"<html>no video</html>" * 500)], head=HTTP_HEAD)
    with sender, pytest.raises(AvadetError, match=message):
        LiveReader(sender.http_url)


def test_a_recording_is_read_whole_however_slow_the_work(tmp_path: Path) -> None:
    """A file on a web server knows how long it is, and can wait."""
    staged.write_video(tmp_path / "clip.mp4", seconds=4.0, fps=30)
    data = (tmp_path / "clip.mp4").read_bytes()
    head = f"HTTP/1.0 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: {len(data)}\r\n\r\n".encode()
    with Sender([Sent(0.0, data)], head=head) as sender, LiveReader(sender.http_url) as reader:
        assert reader.is_recording
        assert reader.info.duration_s == pytest.approx(4.0, abs=0.05)
        times_s = []
        for frame in reader.frames():
            times_s.append(frame.time_s)
            if len(times_s) == 20:
                time.sleep(0.5)
        assert (reader.dropped, reader.lost) == (0, "")
    np.testing.assert_allclose(times_s, np.arange(120) / 30, atol=1e-4)


def test_a_gap_of_a_recording_is_one_of_its_frames(tmp_path: Path) -> None:
    times_s = [*(np.arange(30) / 30), *(600 + np.arange(30) / 30)]
    with VideoWriter(tmp_path / "gap.mp4", (48, 64), 30) as writer:
        for time_s in times_s:
            writer.write(np.full((48, 64, 3), 90, np.uint8), time_s)
    data = (tmp_path / "gap.mp4").read_bytes()
    head = f"HTTP/1.0 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: {len(data)}\r\n\r\n".encode()
    with Sender([Sent(0.0, data)], head=head) as sender, LiveReader(sender.http_url) as reader:
        frames = [(frame.time_s, frame.after_gap) for frame in reader.frames()]
    np.testing.assert_allclose([time_s for time_s, _ in frames], times_s, atol=1e-4)
    assert [index for index, (_, after_gap) in enumerate(frames) if after_gap] == [30]


class _Passed:
    """A reader whose last frame was at a given time."""

    is_recording = False

    def __init__(self, latest_s: float, waits: int = 0) -> None:
        self._latest_s, self._waits = latest_s, waits


def test_keyframes_lie_where_frames_are() -> None:
    reader = _Passed(0.0)
    times = LiveReader.keyframes_s(reader, 1.0)
    assert next(times) == 0.0
    reader._latest_s = 0.04
    assert next(times) == 1.0
    reader._latest_s = 1.04
    assert next(times) == 2.0
    reader._latest_s = 40.4
    assert next(times) == 40.0
    reader._latest_s = 41.6
    assert next(times) == 42.0


def test_no_keyframe_of_a_recording_is_left_out() -> None:
    reader = _Passed(40.4)
    reader.is_recording = True
    for times_s in (LiveReader.keyframes_s(reader, 0.1), LiveReader.looks_s(reader, 0.1)):
        assert [next(times_s) for _ in range(4)] == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_looks_between_keyframes_give_way_to_slow_work() -> None:
    reader = _Passed(0.0)
    times = LiveReader.looks_s(reader, 0.2)
    assert next(times) == 0.0
    for at_s in (0.2, 0.4, 0.6):  # frames had to be waited for: there is time
        reader._waits += 1
        assert next(times) == pytest.approx(at_s)
        reader._latest_s = at_s + 0.04
    given = [next(times) for _ in range(8)]
    assert np.diff(given).tolist() == pytest.approx([0.8, 1.6, 3.2, 6.4, 8.0, 8.0, 8.0])
    reader._waits += 1
    reader._latest_s = given[-1] + 0.04
    assert next(times) == pytest.approx(given[-1] + 0.2)


@each_case(
    "stamps_s",
    [
        [None] * 6,
        [5.0] * 6,
        [7.0, 7.04, 3.0, 3.04, 3.08, 3.12],
        [7.0, 7.04, 7.08 + AHEAD_S + 1, 7.12 + AHEAD_S + 1, 7.16 + AHEAD_S + 1, 7.2 + AHEAD_S + 1],
        [7.0, 7.04, None, 7.12, 7.16, 7.2],
        [None, None, 7.0, 7.04, 7.08, 7.12],
    ],
)
def test_timestamps_that_cannot_be_are_replaced_by_the_clock(stamps_s: list[float | None]) -> None:
    clock = StreamClock()
    came_s = 100 + np.arange(6) / 25
    times_s = [clock.time_s(stamp_s, came) for stamp_s, came in zip(stamps_s, came_s)]
    np.testing.assert_allclose(times_s, np.arange(6) / 25, atol=2e-3)


def test_timestamps_that_can_be_decide_over_arrival() -> None:
    """A network that holds packets back and then lets them go moves no picture in time."""
    clock = StreamClock()
    came_s = [100.0, 100.04, 100.9, 100.9, 100.9, 101.0]
    times_s = [clock.time_s(7 + index / 25, came) for index, came in enumerate(came_s)]
    np.testing.assert_allclose(times_s, np.arange(6) / 25, atol=1e-9)
    assert clock.edge_s == pytest.approx(100.0, abs=1e-3)


def test_the_live_edge_is_where_pictures_come_soonest() -> None:
    clock = StreamClock()
    clock.time_s(0.0, 100.8)  # held back while the connection was probed
    clock.time_s(0.04, 100.8)
    clock.time_s(1.0, 101.0)
    assert clock.edge_s == pytest.approx(100.0, abs=1e-3)


def test_a_decoder_that_is_too_slow_leaves_out_packets_up_to_a_key_picture() -> None:
    """Packets that never had to be waited for: 8 s of stream at once, key pictures every 2 s."""
    clock = StreamClock()
    clock.time_s(0.0, 100.0)
    stamps_s = np.arange(1, 25 * 8) / 25
    keys = np.arange(1, 25 * 8) % 50 == 0
    wanted = [clock.wants(stamp_s, 108.0, bool(key)) for stamp_s, key in zip(stamps_s, keys)]
    assert not any(wanted), "all are more than half a second behind"
    assert clock.wants(8.0, 108.05, True)
    assert clock.wants(8.04, 108.06, False)
    assert clock.edge_s == pytest.approx(100.0)


def test_a_sender_that_paused_is_not_taken_for_a_slow_decoder() -> None:
    clock = StreamClock()
    clock.time_s(0.0, 100.0)
    wanted = {}
    for index in range(1, 200):  # silent for ten seconds, then as if nothing had been; a key picture every second
        wanted[index] = clock.wants(index / 25, 110 + index / 25, index % 25 == 0)
    first = min(index for index, want in wanted.items() if want)
    assert first == 25, "the first key picture after half a second of waiting for packets"
    assert all(want for index, want in wanted.items() if index >= first)
    assert clock.edge_s == pytest.approx(110.0)


def test_times_of_any_stream_increase() -> None:
    rng = np.random.default_rng(0)
    for step_s in (None, 0.04):
        clock = StreamClock(step_s)
        came_s = 50 + np.cumsum(rng.exponential(0.05, 300))
        stamps_s = [None if rng.random() < 0.1 else float(stamp) for stamp in rng.normal(0, 30, 300)]
        times_s = [clock.time_s(stamp_s, came) for stamp_s, came in zip(stamps_s, came_s)]
        assert times_s[0] == 0.0
        assert all(later > earlier for earlier, later in itertools.pairwise(times_s))
