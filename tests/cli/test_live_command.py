"""`avadet infer` on streams: files that grow and end whole, whoever ends the stream."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import staged
from served import Sender, encoded, squares

from avadet.annotations.ava import read_detections
from avadet.cli import live as cli_live
from avadet.cli.live import run_live
from avadet.cli.main import main
from avadet.errors import AvadetError
from avadet.inference.run import Setup
from avadet.video import live
from avadet.video.read import VideoReader, probe

SECRET = "s3cr3t"


@pytest.fixture(scope="module")
def pieces() -> list:
    return encoded(squares(3.0))


@pytest.fixture(autouse=True)
def _no_second_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live.LiveReader.__init__, "__defaults__", ("live", float("inf"), None, ()))


def run(url: str, out: Path, no_video: bool = True, **more: object) -> int:
    args = argparse.Namespace(
        out=out, no_video=no_video, threshold=0.3, timeout=None, seconds=more.pop("seconds", None)
    )
    setup = Setup(staged.staged_model(), staged.BrightSquare(), **more)
    return run_live(url, args, setup)


def results(out: Path, suffix: str) -> Path:
    (path,) = out.glob(f"127-0-0-1-*{suffix}")
    return path


def endings(out: Path) -> list[str]:
    """What comes after the stems, sorted."""
    return sorted(path.name.partition(".")[2] for path in out.iterdir())


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def _signals_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    assert {number: signal.getsignal(number) for number in before} == before


def test_a_stream_that_breaks_off_leaves_whole_files(
    pieces: list, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Sender(pieces) as sender:
        url = sender.url.replace("tcp://", f"tcp://joe:{SECRET}@")
        assert run(url, tmp_path, no_video=False) == 1
    assert endings(tmp_path) == ["ava.csv", "events.csv", "jsonl", "mp4"]
    lines = lines_of(results(tmp_path, ".jsonl"))
    assert {line["track_id"] for line in lines} == {1}
    assert {0.0, 2.0} <= {line["time_s"] for line in lines} <= {0.0, 1.0, 2.0, 3.0}
    assert {line["video"] for line in lines} == {results(tmp_path, ".jsonl").stem}
    assert len(read_detections(results(tmp_path, ".ava.csv")).video_ids) == 2 * len(lines)
    assert probe(results(tmp_path, ".mp4")).duration_s == pytest.approx(3.0, abs=0.1)
    said = capsys.readouterr()
    headline = (
        rf"{sender.url}: 3.0 s of stream, {len(lines)} keyframes, 1 person tracked, \d+ of 75 frames dropped, latency "
    )
    assert re.search(headline, said.out)
    assert "latency is at least 0.20 s" in said.err
    assert f"{results(tmp_path, '.jsonl')}.part" in said.err
    assert "was lost (the sender ended it)" in said.err
    assert SECRET not in said.out + said.err
    for path in tmp_path.glob("*.[acej]*"):
        assert SECRET not in path.name + path.read_text(errors="replace")


def test_results_can_be_read_while_they_grow(pieces: list, tmp_path: Path) -> None:
    seen: list[int] = []
    over = threading.Event()

    def tail() -> None:
        while not over.wait(0.05):
            for path in tmp_path.glob("*.jsonl.part"):
                text = path.read_text()
                assert text == "" or text.endswith("\n")
                seen.append(len(text.splitlines()))

    thread = threading.Thread(target=tail)
    thread.start()
    try:
        with Sender(pieces) as sender:
            run(sender.url, tmp_path)
    finally:
        over.set()
        thread.join()
    assert set(seen) & {1, 2}, "lines are there before the stream ends"


def test_a_slow_detector_stays_near_now(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Half a second a look, five looks a second wanted: as slow as 0.4 times real time."""

    class Slow(staged.BrightSquare):
        def __call__(self, frame):
            time.sleep(0.5)
            return super().__call__(frame)

    args = argparse.Namespace(out=tmp_path, no_video=True, threshold=0.3, timeout=None, seconds=5.0)
    with Sender(encoded(squares(20.0))) as sender:
        setup = Setup(staged.staged_model(), Slow(), every_s=1.0, detect_every_s=0.2)
        assert run_live(sender.url, args, setup) == 0
    said = capsys.readouterr().out
    most_s = float(said.partition("at most ")[2].partition(" s")[0])
    assert most_s < live.QUEUE_S + 0.2 + 2 * 0.5 + 2.0, "queue, clip, two looks, and what a busy machine adds"
    assert lines_of(results(tmp_path, ".jsonl"))[0]["time_s"] == 0.0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.usefixtures("_signals_as_before")
def test_being_told_to_stop_is_a_good_end(number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Sender(encoded(squares(20.0))) as sender:
        threading.Timer(1.5, os.kill, (os.getpid(), number)).start()
        assert run(sender.url, tmp_path, no_video=False) == 0
    assert endings(tmp_path) == ["ava.csv", "events.csv", "jsonl", "mp4"]
    assert lines_of(results(tmp_path, ".jsonl"))[0]["time_s"] == 0.0
    assert "lost" not in capsys.readouterr().err


def test_what_goes_wrong_leaves_what_was_written(pieces: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(state: cli_live.LiveState, event: object) -> None:
        if state.reader.arrived > 50:
            raise AvadetError("the disk is full")

    monkeypatch.setattr(cli_live.LiveState, "see", fail)
    with Sender(pieces) as sender, pytest.raises(AvadetError, match="the disk is full"):
        run(sender.url, tmp_path)
    assert endings(tmp_path) == ["ava.csv.part", "events.csv.part", "jsonl.part"]
    assert lines_of(results(tmp_path, ".jsonl.part"))[0]["time_s"] == 0.0


def test_two_runs_of_one_second_share_no_file(tmp_path: Path) -> None:
    args = argparse.Namespace(out=tmp_path, no_video=True)
    assert cli_live.free_stem("cam", args) == "cam"
    (tmp_path / "cam.jsonl.part").touch()
    assert cli_live.free_stem("cam", args) == "cam-2"
    (tmp_path / "cam-2.ava.csv").touch()
    assert cli_live.free_stem("cam", args) == "cam-3"


def test_the_line_of_state(capsys: pytest.CaptureFixture[str]) -> None:
    reader = argparse.Namespace(arrived=502, dropped=12)
    state = cli_live.LiveState(reader, keyframes=3, people=2, latency_s=0.44, end_s=3680.2)
    assert state.line(20.0) == "live: 01:01:20, 25.1 fps in, 12 dropped, latency 0.4 s, 2 people in view"


def test_known_boxes_are_for_files(tmp_path: Path) -> None:
    from avadet.annotations.box_files import read_boxes
    from avadet.persons.precomputed import PrecomputedBoxes

    (tmp_path / "boxes.csv").write_text("clip,0,0.1,0.1,0.2,0.2\n")
    args = argparse.Namespace(out=tmp_path, no_video=True)
    setup = Setup(staged.staged_model(), PrecomputedBoxes(read_boxes(tmp_path / "boxes.csv")))
    with pytest.raises(AvadetError, match="--boxes are for files"):
        run_live("tcp://127.0.0.1:9", args, setup)


def test_nobody_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["infer", f"rtsp://joe:{SECRET}@127.0.0.1:9/x", "--out", str(out), "--model", "tiny"]) == 1
    said = capsys.readouterr()
    assert said.err.splitlines()[-1].startswith("avadet: error: cannot read rtsp://127.0.0.1:9: Connection refused; is")
    assert SECRET not in said.out + said.err
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_process_that_is_stopped(number: int, tmp_path: Path) -> None:
    """Ctrl-C leaves whole files; a kill leaves all results so far and a video that plays."""
    model = staged.write_random_model(tmp_path / "random.safetensors")
    out = tmp_path / "out"
    with Sender(encoded(squares(120.0))) as sender:
        command = [sys.executable, "-m", "avadet", "infer", sender.url, "--out", out, "--model", model]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            _wait_until(lambda: list(out.glob("*.mp4.part")) and next(out.glob("*.mp4.part")).stat().st_size > 20_000)
        finally:
            process.send_signal(number)
        said = process.communicate(timeout=60)[1]
    if number == signal.SIGINT:
        assert process.returncode == 0, said
        assert endings(out) == ["ava.csv", "events.csv", "jsonl", "mp4"]
        video = results(out, ".mp4")
    else:
        assert sorted(path.name.partition(".")[2] for path in out.glob("1*")) == [
            *("ava.csv.part", "events.csv.part", "jsonl.part", "mp4.part")
        ]
        (video,) = out.glob("*.mp4.part")
    with VideoReader(video) as reader:
        assert len(list(reader.frames())) > 50


def _wait_until(true: object) -> None:
    until_s = time.monotonic() + 90
    while not true():
        assert time.monotonic() < until_s, "it took too long"
        time.sleep(0.1)
