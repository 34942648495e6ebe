"""Recordings on web servers that break off: all that came is given, the loss is said, and nothing is tried for ever."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from each_case import each_case
from web import WebServer

from avadet.errors import AvadetError
from avadet.video.live import LiveReader
from avadet.video.sources import web_stem_of

FPS = 25
SECRET = "s3cr3t"


@pytest.fixture(scope="module")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Four seconds of noise, so that there are bytes enough to break off between; index first, no B-frames."""
    path = tmp_path_factory.mktemp("web") / "clip.mp4"
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as output:
        stream = output.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "bf": "0"})
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        for _ in range(4 * FPS):
            image = rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        output.mux(stream.encode(None))
    return path.read_bytes()


@pytest.fixture(scope="module")
def rewritten(mp4: bytes, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """The same in another container, or as mp4 with the index last."""

    def rewrite(suffix: str) -> bytes:
        folder = tmp_path_factory.mktemp("web")
        (folder / "in.mp4").write_bytes(mp4)
        with av.open(str(folder / "in.mp4")) as source, av.open(str(folder / f"out{suffix}"), "w") as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
        return (folder / f"out{suffix}").read_bytes()

    return rewrite


def read(server: WebServer, **more: object) -> tuple[np.ndarray, LiveReader]:
    """Times of the frames that come, and the reader at its end."""
    url = server.url.replace("http://", f"HTTP://me:{SECRET}@") + f"?token={SECRET}"
    with LiveReader(url, **more) as reader:
        times_s = np.array([frame.time_s for frame in reader.frames()])
    assert SECRET not in reader.lost
    return times_s, reader


def test_all_of_it_is_no_loss(mp4: bytes) -> None:
    with WebServer(mp4) as server:
        times_s, reader = read(server)
    np.testing.assert_allclose(times_s, np.arange(100) / FPS, atol=1e-4)
    assert (reader.lost, reader.ended_early_s) == ("", 0.0)


@pytest.mark.parametrize(
    ("silent_s", "why"), [(0.0, "the sender hung up"), (30.0, "nothing came for 1 s")], ids=["hangs up", "stalls"]
)
def test_half_of_it_is_given_whole_and_the_rest_is_said(mp4: bytes, silent_s: float, why: str) -> None:
    began_s = time.monotonic()
    with WebServer(mp4, share=0.6, silent_s=silent_s) as server:
        times_s, reader = read(server, timeout_s=1.0)
        assert server.asked == 1, "it is not fetched again"
    assert time.monotonic() - began_s < 15
    assert 25 <= len(times_s) < 90
    np.testing.assert_allclose(times_s, np.arange(len(times_s)) / FPS, atol=1e-4)
    assert reader.ended_early_s == pytest.approx(4.0 - len(times_s) / FPS, abs=0.01)
    end_s, missing_s = len(times_s) / FPS, 4.0 - len(times_s) / FPS
    name = server.url.removesuffix("/films/clip.mp4")
    assert reader.lost == (
        f"{name} breaks off at {end_s:.2f} s ({why}), {missing_s:.2f} s before the end that its header gives"
    )


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_without_a_length_nobody_can_know_but_nothing_is_dropped(rewritten: Callable, share: float) -> None:
    with WebServer(rewritten(".ts"), share, says_length=False) as server:
        with LiveReader(server.url) as reader:
            times_s = []
            for frame in reader.frames():
                times_s.append(frame.time_s)
                time.sleep(0.01)
        assert server.asked == 1
    assert reader.is_recording and reader.dropped == 0
    np.testing.assert_allclose(times_s, np.arange(len(times_s)) / FPS, atol=1e-3)
    assert len(times_s) == 100 if share == 1.0 else 25 < len(times_s) < 75
    assert "(the sender hung up); it gives no length, so whether this is all cannot be told" in reader.lost


def test_a_recording_at_the_pace_of_a_camera_is_not_read_twice(rewritten: Callable) -> None:
    """Who begins again as before sends a file, and would send it for ever."""
    with WebServer(rewritten(".ts"), says_length=False) as server:
        reader = LiveReader(server.url, retries_s=(0.0,))
        with reader:
            list(reader.frames())
            assert reader._reconnect("the sender hung up", fresh=True) is None
    assert "it is a recording, and not read twice" in reader.lost


def test_an_index_at_the_end_needs_a_server_that_gives_parts(rewritten: Callable) -> None:
    with WebServer(rewritten(".mp4")) as server, pytest.raises(AvadetError, match=r"Range.*faststart"):
        LiveReader(server.url)


def test_what_breaks_off_before_its_index_is_said(rewritten: Callable) -> None:
    with WebServer(rewritten(".mp4"), 0.5) as server, pytest.raises(AvadetError, match="breaks off before its first"):
        LiveReader(server.url)


@each_case(
    ("url", "stem"),
    [
        ("http://h:80/films/my clip.final.mp4?token=x", "my-clip.final"),
        ("http://h/films/?token=x", "h"),
        ("http://h", "h"),
        ("http://h/..%2f..%2fa.mp4", "2f..-2fa"),
    ],
)
def test_stems_of_files_on_the_web(url: str, stem: str) -> None:
    assert web_stem_of(url) == stem


def test_pictures_of_a_stream_are_shown_like_those_of_files(tmp_path: Path) -> None:
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as output:
        stream = output.add_stream("libx264", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2)
        stream.set_display_rotation(0, hflip=True)
        image = np.zeros((48, 64, 3), np.uint8)
        image[:, :32] = 255
        for _ in range(10):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        output.mux(stream.encode(None))
    with WebServer(path.read_bytes()) as server, LiveReader(server.url) as reader:
        frame = next(reader.frames())
        assert reader.info.size_hw == (48, 128) == frame.image.shape[:2]
        assert len(reader.info.display_notes) == 2
    assert frame.image[:, :56].max() < 30 and frame.image[:, 72:].min() > 225
