"""Gaps, jumps, joins and headers that lie, from the command line: what is written, what is said, what it costs."""

from __future__ import annotations

import csv
import json
import os
import signal
import threading
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import staged

from avadet.cli import videos
from avadet.cli.main import main
from avadet.inference import run as inference_run
from avadet.persons import load as persons_load
from avadet.video.read import VideoReader

SECOND = [index / 10 for index in range(10)]


def write(path: Path, times_s: Sequence[float], options: dict[str, str] | None = None) -> Path:
    """A bright square at rest, at any times that the container can hold."""
    image = np.full((*staged.SIZE_HW, 3), 30, np.uint8)
    image[16:32, 20:36] = 220
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = *staged.SIZE_HW, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for time_s in times_s:
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = round(1000 * time_s), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(autouse=True)
def _square_finder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the detector named tiny find the square."""
    monkeypatch.setattr(inference_run, "load_detector", lambda *_: staged.BrightSquare())
    monkeypatch.setattr(persons_load, "load_detector", lambda *_: staged.BrightSquare())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return staged.write_random_model(tmp_path_factory.mktemp("model") / "random.safetensors")


def infer(video: Path, model: Path, *more: object) -> dict[str, Path]:
    out = video.parent / "out"
    words = ["infer", video, "--out", out, "--model", model, "--threshold", "0.01", *more]
    assert main([str(word) for word in words]) == 0
    return {path.name.removeprefix(video.stem): path for path in out.iterdir()}


def keyframes(jsonl: Path) -> dict[float, int]:
    """The keyframes with somebody, and who it is."""
    rows = [json.loads(line) for line in jsonl.read_text().splitlines()]
    return {row["time_s"]: row["track_id"] for row in rows}


def spans(events_csv: Path) -> set[tuple[float, float]]:
    with events_csv.open() as file:
        return {(float(row["start_s"]), float(row["end_s"])) for row in csv.DictReader(file)}


@pytest.mark.parametrize(
    ("gap_s", "said"), [(600.0, "10 min 0 s after 2.00 s"), (26 * 3600.0, "26 h 0 min 0 s after 2.00 s")]
)
def test_a_gap_costs_what_its_pictures_cost(
    tmp_path: Path, model: Path, gap_s: float, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    again_s = 2.0 + gap_s
    times_s = [*SECOND, *(1 + s for s in SECOND), *(again_s + s for s in SECOND), *(again_s + 1 + s for s in SECOND)]
    found = infer(write(tmp_path / "gap.mkv", times_s), model)
    assert keyframes(found[".jsonl"]) == {0.0: 1, 1.0: 1, again_s: 2, again_s + 1: 2}
    assert spans(found[".events.csv"]) == {(0.0, 2.0), (again_s, again_s + 2.0)}
    assert sum(path.stat().st_size for path in found.values()) < 300_000
    with VideoReader(found[".mp4"]) as reader:
        written_s = [picture.time_s for picture in reader.pictures()]
    assert set(np.round(times_s, 3)) <= set(np.round(written_s, 3)) and len(written_s) < 80
    output = capsys.readouterr()
    assert f"nothing was recorded for {said}; there are no results for that time" in output.err
    assert "gap.mkv: 3.9 s of video, 4 keyframes, 2 people" in output.out


def test_boxes_in_a_gap_are_counted(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = write(tmp_path / "gap.mkv", [*SECOND, *(600 + s for s in SECOND)])
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("".join(f"gap,{s},0.25,0.25,0.5,0.5\n" for s in (0, 300, 400, 600, 700)))
    found = infer(video, model, "--boxes", boxes)
    assert set(keyframes(found[".jsonl"])) == {0.0, 600.0}
    assert "3 moments of --boxes after its end or in a gap of the recording left out" in capsys.readouterr().err


def test_joined_recordings_are_read_whole_and_said(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part, video = write(tmp_path / "part.ts", [1 + s for s in SECOND]), tmp_path / "joined.ts"
    video.write_bytes(3 * part.read_bytes())
    found = infer(video, model, "--no-page")
    assert set(keyframes(found[".jsonl"])) == {0.0, 1.0, 2.0}
    assert spans(found[".events.csv"]) == {(0.0, 3.0)}
    assert "its clock begins anew 2 times, first at 1.00 s" in capsys.readouterr().err
    assert main(["detect-persons", str(video), "--out", str(tmp_path / "boxes.csv")]) == 0
    assert [line.split(",")[1] for line in (tmp_path / "boxes.csv").read_text().splitlines()] == ["0", "1", "2"]
    assert "its clock begins anew 2 times" in capsys.readouterr().err


def promising(path: Path, times_s: Sequence[float], seconds: float) -> Path:
    """A Matroska file whose header gives another duration than its pictures have."""
    data = bytearray(write(path, times_s).read_bytes())
    place = data.index(b"\x44\x89\x88") + 3  # Duration, float of 8 bytes, in milliseconds
    data[place : place + 8] = np.array(1000.0 * seconds, ">f8").tobytes()
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("seconds", [0.5, 1.0, 40.0])
def test_a_header_decides_nothing(tmp_path: Path, model: Path, seconds: float) -> None:
    video = promising(tmp_path / "lies.mkv", [start_s + s for start_s in range(4) for s in SECOND], seconds)
    with VideoReader(video) as reader:
        assert reader.info.duration_s == seconds
    found = infer(video, model, "--no-page", "--no-video")
    assert list(keyframes(found[".jsonl"])) == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_work_that_has_no_good_moment_to_stop(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    monkeypatch.setattr(videos, "PATIENCE_S", 0.1)
    before = signal.signal(number, end)
    began_s = time.monotonic()
    try:
        with pytest.raises(SystemExit) as caught, videos.held_signals():
            os.kill(os.getpid(), number)
            held, waits = True, threading.Event()
            waits.wait(20)  # as for the next frame of a damaged file
        assert signal.getsignal(number) is end
    finally:
        signal.signal(number, before)
    assert held and caught.value.code == 128 + number
    assert time.monotonic() - began_s < 10
