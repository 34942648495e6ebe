"""`avadet infer` over many videos: folders and patterns, reruns, failures, and being stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import staged

from avadet.cli import infer as infer_command
from avadet.cli import video_files
from avadet.cli.main import main
from avadet.errors import AvadetError
from avadet.inference import run as inference_run
from avadet.video.read import probe

KINDS = (".ava.csv", ".events.csv", ".html", ".jsonl", ".mp4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of a moving square, a text beside them, a clip one folder deeper; a model with random weights."""
    folder = tmp_path_factory.mktemp("inputs")
    staged.write_random_model(folder / "random.safetensors")
    for name in ("b.mp4", "a.MP4", "deeper/c.mp4"):
        path = folder / "clips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        staged.write_video(path.with_suffix(".mp4"), seconds=1.0).rename(path)
    (folder / "clips" / "notes.txt").write_text("no video\n")
    (folder / "clips" / ".b.partial-1.mp4").write_bytes(b"")
    return folder


@pytest.fixture(autouse=True)
def _square_finder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference_run, "load_detector", lambda name, device, threshold=None: staged.BrightSquare())


def infer(folder: Path, out: Path, *words: object) -> int:
    return main([str(word) for word in ["infer", *words, "--out", out, "--model", folder / "random.safetensors"]])


def results(*stems: str, kinds: tuple[str, ...] = KINDS) -> list[str]:
    return sorted(f"{stem}{kind}" for stem in stems for kind in (*kinds, ".run.json"))


def names(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir()) if out.exists() else []


def times_of_change(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in out.iterdir()}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["clips"], ["clips/a.MP4", "clips/b.mp4"]),
        (["clips/*.mp4"], ["clips/b.mp4"]),
        (["clips/**/*.mp4"], ["clips/b.mp4", "clips/deeper/c.mp4"]),
        (["clips/[ab].*"], ["clips/a.MP4", "clips/b.mp4"]),
        (["clips/b.mp4", "clips", "clips/../clips/b.mp4"], ["clips/b.mp4", "clips/a.MP4"]),
        (["nowhere.mp4", "clips/deeper"], ["nowhere.mp4", "clips/deeper/c.mp4"]),
        (["clips/notes.txt"], ["clips/notes.txt"]),
    ],
    ids=["folder", "pattern", "pattern over folders", "set", "named twice", "missing", "named though no video"],
)
def test_what_arguments_stand_for(
    words: list[str], found: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert video_files.expand(words) == [Path(one) for one in found]
    absolute = video_files.expand([str(folder / word) for word in words])
    assert [path.resolve() for path in absolute] == [(folder / one).resolve() for one in found]


def test_a_file_whose_name_looks_like_a_pattern_is_itself(tmp_path: Path) -> None:
    for name in ("[ab].mp4", "a.mp4"):
        (tmp_path / name).write_bytes(b"")
    assert video_files.expand([str(tmp_path / "[ab].mp4")]) == [tmp_path / "[ab].mp4"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("empty", r"empty is a folder without a video \(\.mp4, .*\) directly in it"),
        ("*.mkv", r"no file matches .*\*\.mkv"),
    ],
)
def test_words_that_stand_for_nothing(word: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(AvadetError, match=message):
        video_files.expand([str(tmp_path / word)])


def test_a_live_source_runs_alone(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert infer(folder, tmp_path / "out", folder / "clips", "rtsp://me:secret@host/cam") == 1
    said = capsys.readouterr().err
    assert said == "avadet: error: rtsp://host is live and runs alone, not together with other sources\n"


def test_a_single_live_source_is_handed_over(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr("avadet.cli.live.run_live", lambda source, args, setup: given.append((source, setup)) or 7)
    assert infer(folder, tmp_path / "out", "rtsp://host//two//slashes") == 7
    ((source, setup),) = given
    assert source == "rtsp://host//two//slashes"
    assert setup.model.name == "random"
    assert not (tmp_path / "out").exists()


def test_a_folder_and_then_the_same_again(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert infer(folder, tmp_path, folder / "clips") == 0
    assert names(tmp_path) == results("a", "b")
    before = times_of_change(tmp_path)
    capsys.readouterr()
    assert infer(folder, tmp_path, folder / "clips", folder / "clips" / "deeper") == 0
    assert names(tmp_path) == results("a", "b", "c")
    after = times_of_change(tmp_path)
    assert {name: after[name] for name in before} == before
    said = capsys.readouterr()
    assert said.out.splitlines()[:2] == [
        "a.MP4: already done, skipped; --overwrite does it again",
        "b.mp4: already done, skipped; --overwrite does it again",
    ]


def test_a_rerun_with_nothing_to_do_loads_no_model(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert infer(folder, tmp_path, folder / "clips") == 0
    monkeypatch.setattr(infer_command, "load_setup", lambda args: pytest.fail("loaded"))
    assert infer(folder, tmp_path, folder / "clips") == 0
    assert infer(folder, tmp_path, folder / "clips", "--no-video", "--no-page", "--batch", "3") == 0


def test_overwrite_does_everything_again(folder: Path, tmp_path: Path) -> None:
    assert infer(folder, tmp_path, folder / "clips", "--no-video") == 0
    before = times_of_change(tmp_path)
    assert infer(folder, tmp_path, folder / "clips", "--no-video", "--overwrite") == 0
    after = times_of_change(tmp_path)
    assert before.keys() == after.keys()
    assert all(after[name] > before[name] for name in before)


def test_what_is_missing_is_made(folder: Path, tmp_path: Path) -> None:
    assert infer(folder, tmp_path, folder / "clips", "--no-video", "--no-page") == 0
    assert names(tmp_path) == results("a", "b", kinds=(".ava.csv", ".events.csv", ".jsonl"))
    assert infer(folder, tmp_path, folder / "clips", "--no-page") == 0
    assert names(tmp_path) == results("a", "b", kinds=(".ava.csv", ".events.csv", ".jsonl", ".mp4"))
    (tmp_path / "a.jsonl").unlink()
    assert infer(folder, tmp_path, folder / "clips", "--no-page") == 0
    assert names(tmp_path) == results("a", "b", kinds=(".ava.csv", ".events.csv", ".jsonl", ".mp4"))


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--every", "0.5"], "(--every was not given, now 0.5)"),
        (["--threshold", "0.9"], "(--threshold was 0.3, now 0.9)"),
        (["--smooth", "ema"], "(--smooth was none, now ema)"),
    ],
)
def test_results_of_other_settings_are_not_replaced_unasked(
    more: list[str], reason: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert infer(folder, tmp_path, folder / "clips" / "b.mp4") == 0
    before = times_of_change(tmp_path)
    assert infer(folder, tmp_path, folder / "clips" / "b.mp4", *more) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "b.ava.csv" in said
    assert f"already there {reason}; add --overwrite" in said
    assert times_of_change(tmp_path) == before
    assert infer(folder, tmp_path, folder / "clips" / "b.mp4", *more, "--overwrite") == 0
    assert infer(folder, tmp_path, folder / "clips" / "b.mp4", *more) == 0


def test_another_video_of_the_same_name_is_no_finished_one(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = staged.write_video(tmp_path / "clip.mp4", seconds=1.0)
    assert infer(folder, tmp_path / "out", video) == 0
    staged.write_video(video, seconds=2.0)
    assert infer(folder, tmp_path / "out", video) == 1
    assert "already there (the video has changed)" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["b.jsonl", "b.run.json", "b.mp4"])
def test_files_of_others_are_not_replaced_unasked(
    name: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("mine\n")
    assert infer(folder, tmp_path, folder / "clips" / "b.mp4") == 1
    assert f"{tmp_path / name} already there; add --overwrite" in capsys.readouterr().err
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: "mine\n"}


def test_a_result_that_was_edited_since_is_not_replaced_unasked(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert infer(folder, tmp_path, folder / "clips" / "b.mp4") == 0
    with (tmp_path / "b.jsonl").open("a") as file:
        file.write("my own line\n")
    assert infer(folder, tmp_path, folder / "clips" / "b.mp4") == 1
    assert f"{tmp_path / 'b.jsonl'} already there; add --overwrite" in capsys.readouterr().err
    assert (tmp_path / "b.jsonl").read_text().endswith("my own line\n")


def test_what_a_run_that_died_left_is_made_anew(folder: Path, tmp_path: Path) -> None:
    assert infer(folder, tmp_path, folder / "clips" / "b.mp4") == 0
    record = json.loads((tmp_path / "b.run.json").read_text())
    assert record["results"] == {
        path.name: path.stat().st_size for path in tmp_path.iterdir() if path != tmp_path / "b.run.json"
    }
    (tmp_path / "b.run.json").write_text(json.dumps({**record, "finished": False, "results": {}}))
    (tmp_path / "b.jsonl").unlink()
    (tmp_path / "b.mp4").write_bytes(b"half of i")
    assert infer(folder, tmp_path, folder / "clips" / "b.mp4") == 0
    assert names(tmp_path) == results("b")
    assert probe(tmp_path / "b.mp4").num_frames == 10


def test_a_bug_in_one_video_does_not_stop_the_others(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = staged.BrightSquare.__call__

    def breaks_once(self, frame):
        if not broken:
            broken.append(True)
            raise ZeroDivisionError("division\nby zero")
        return find(self, frame)

    broken: list[bool] = []
    monkeypatch.setattr(staged.BrightSquare, "__call__", breaks_once)
    (tmp_path / "empty.mp4").write_bytes(b"")
    assert infer(folder, tmp_path / "out", folder / "clips", tmp_path / "empty.mp4") == 1
    assert names(tmp_path / "out") == results("b")
    said = capsys.readouterr().err
    assert said.splitlines()[-3:] == [
        "avadet: 2 of 3 videos failed:",
        f"avadet:   {tmp_path}/empty.mp4 is empty (0 bytes); fetch or copy the video again",
        f"avadet:   {folder}/clips/a.MP4: ZeroDivisionError: division by zero; --debug shows where",
    ]
    assert "Traceback" not in said
    broken.clear()
    assert infer(folder, tmp_path / "out", folder / "clips", "--debug") == 1
    assert "Traceback" in capsys.readouterr().err
    assert infer(folder, tmp_path / "out", folder / "clips") == 0
    assert names(tmp_path / "out") == results("a", "b")


def test_a_failed_replacement_leaves_what_was_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert infer(folder, tmp_path, folder / "clips" / "b.mp4") == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(staged.BrightSquare, "__call__", lambda self, frame: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            infer(folder, tmp_path, folder / "clips" / "b.mp4", "--overwrite", "--every", "0.5")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert infer(folder, tmp_path, folder / "clips" / "b.mp4") == 0


SCRIPT = """
import sys, time
import staged
from avadet.cli.main import main
from avadet.inference import run

class Slow(staged.BrightSquare):
    def __call__(self, frame):
        time.sleep(0.02)
        return super().__call__(frame)

run.load_detector = lambda name, device, threshold=None: Slow()
raise SystemExit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_drops_the_video_in_hand_and_keeps_the_finished(
    number: signal.Signals, code: int, folder: Path, tmp_path: Path
) -> None:
    staged.write_video(tmp_path / "long.mp4", seconds=120.0)
    out = tmp_path / "out"
    command = [sys.executable, "-c", SCRIPT, "infer", str(folder / "clips" / "b.mp4"), str(tmp_path / "long.mp4")]
    command += ["--out", str(out), "--model", str(folder / "random.safetensors"), "--detect-every", "0.1"]
    environment = {**os.environ, "PYTHONPATH": str(Path(staged.__file__).parent)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as run:
        until_s = time.monotonic() + 240
        while not list(out.glob(".long.partial-*")) and run.poll() is None and time.monotonic() < until_s:
            time.sleep(0.02)
        run.send_signal(number)
        try:
            stderr = run.communicate(timeout=60)[1]
        finally:
            run.kill()
    assert run.returncode == code, stderr
    assert names(out) == results("b")
    assert probe(out / "b.mp4").num_frames == 10
    assert "Traceback" not in stderr
    assert (
        stderr.splitlines()[-1]
        == "avadet: interrupted in long.mp4, whose results are discarded; 1 of 2 videos are done"
    )


def test_seconds_are_for_live_sources(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert infer(folder, tmp_path / "out", folder / "clips" / "b.mp4", "--seconds", 1) == 1
    assert "--seconds ends a live source" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
