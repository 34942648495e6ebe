"""Models that read feature banks on the command line: two passes, and what becomes of the bank's model elsewhere."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import staged
import torch
from banked import MAKER, READER, WINDOW_S, write_both, write_maker
from served import Sender, encoded, squares

import avadet
from avadet.annotations.ava import read_detections
from avadet.cli.main import main
from avadet.inference import run as inference_run
from avadet.models import zoo
from avadet.types import PersonBoxes
from avadet.video import live
from avadet.video.write import VideoWriter

READS = f", feature bank of {WINDOW_S} s from a first pass)"
SMALL = ("--no-video", "--no-page", "--threshold", "0", "--every", "0.5")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of a moving square, a model that reads banks, and the one that makes them."""
    folder = tmp_path_factory.mktemp("inputs")
    staged.write_video(folder / "clip.mp4", seconds=3.0)
    write_both(folder)
    return folder


@pytest.fixture(autouse=True)
def _square_finder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the detector named tiny find the square."""
    monkeypatch.setattr(inference_run, "load_detector", lambda *_: staged.BrightSquare())


def infer(folder: Path, out: Path, *more: object, video: object = None) -> int:
    words = [
        "infer",
        video or folder / "clip.mp4",
        "--out",
        out,
        "--model",
        folder / "model.safetensors",
        *SMALL,
        *more,
    ]
    return main([str(word) for word in words])


def test_two_passes_give_what_the_package_gives(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make, made = inference_run.bank_of_video, []
    monkeypatch.setattr(inference_run, "bank_of_video", lambda *all, **more: made.append(1) or make(*all, **more))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert infer(folder, tmp_path) == 0
    assert made == [1]
    said = capsys.readouterr()
    assert READS in said.err
    assert said.err.index("clip.mp4, first pass: 100%") < said.err.index("clip.mp4: 100%")
    assert "6 keyframes, 1 person" in said.out
    lines = [json.loads(line) for line in (tmp_path / "clip.jsonl").read_text().splitlines()]
    got = [{action["id"]: action["score"] for action in line["actions"]} for line in lines]
    model = zoo.load(folder / "model.safetensors")
    clip = avadet.infer(folder / "clip.mp4", model=model, detector=staged.BrightSquare(), every=0.5)
    expected = np.concatenate([found.scores for found in clip])
    np.testing.assert_allclose([[line[class_id] for class_id in (1, 2, 3)] for line in got], expected, atol=1e-4)
    assert infer(folder, tmp_path / "two", "--batch", "2") == 0
    np.testing.assert_allclose(scores_in(tmp_path / "two"), scores_in(tmp_path), atol=1e-4)


def scores_in(out: Path) -> np.ndarray:
    """The scores of a table of detections, in its order."""
    return read_detections(out / "clip.ava.csv").scores


def test_known_boxes_serve_both_passes(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "boxes.csv").write_text("clip,0.5,0,0.25,0.5,0.75\nclip,1,0,0.25,0.5,0.75\nclip,9,0,0,1,1\n")
    assert infer(folder, tmp_path / "out", "--boxes", tmp_path / "boxes.csv") == 0
    said = capsys.readouterr()
    assert "2 keyframes" in said.out and "1 moment of --boxes after its end left out" in said.err
    (tmp_path / "boxes.csv").write_text("clip,9,0,0,1,1\n")
    assert infer(folder, tmp_path / "late", "--boxes", tmp_path / "boxes.csv") == 1
    assert "the boxes of video 'clip' begin at 9 s, but its last frame is at 2.900 s" in capsys.readouterr().err
    assert not (tmp_path / "late").exists()


def test_a_video_without_people_is_done(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staged.BrightSquare, "__call__", lambda self, frame: PersonBoxes.empty(frame.shape[:2]))
    assert infer(folder, tmp_path) == 0
    assert "6 keyframes, no people found" in capsys.readouterr().out


def test_a_video_cut_short_keeps_what_came_before(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    with VideoWriter(tmp_path / "noise.mp4", (48, 64), 10) as writer:
        for index in range(40):
            writer.write(rng.integers(0, 256, (48, 64, 3), np.uint8), index / 10)
    content = (tmp_path / "noise.mp4").read_bytes()
    (tmp_path / "noise.mp4").write_bytes(content[: len(content) * 2 // 3])
    assert infer(folder, tmp_path / "out", video=tmp_path / "noise.mp4") == 0
    said = capsys.readouterr()
    assert said.err.count("breaks off at 2.") == 1
    assert "5 keyframes" in said.out
    (tmp_path / "noise.mp4").write_bytes(content[:2000])
    assert infer(folder, tmp_path / "none", video=tmp_path / "noise.mp4") == 1
    assert "noise.mp4" in capsys.readouterr().err and not (tmp_path / "none").exists()


def test_ctrl_c_ends_the_first_pass(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks: list[int] = []

    def press_at_the_third(self: staged.BrightSquare, frame: np.ndarray) -> PersonBoxes:
        looks.append(1)
        if len(looks) == 3:
            signal.raise_signal(signal.SIGINT)
        return PersonBoxes.empty(frame.shape[:2])

    monkeypatch.setattr(staged.BrightSquare, "__call__", press_at_the_third)
    monkeypatch.setattr(inference_run.Setup, "events", lambda *_, **__: pytest.fail("came to the second pass"))
    assert infer(folder, tmp_path / "out") == 130
    assert "interrupted in clip.mp4, whose results are discarded; 0 of 1 videos are done" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_stream_is_seen_without_the_bank_and_told_so(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(live.LiveReader.__init__, "__defaults__", ("live", float("inf"), None, ()))
    monkeypatch.setattr(inference_run.Setup, "first_pass", lambda *_, **__: pytest.fail("went over a stream twice"))
    with Sender(encoded(squares(1.5))) as sender:
        assert infer(folder, tmp_path, video=sender.url) == 1  # that it ends is a lost connection
    said = capsys.readouterr()
    told = f", without its feature bank of {WINDOW_S} s, which takes a second pass over the video)"
    assert told in said.err and "first pass" not in said.err
    assert "1 person" in said.out


def test_graphs_are_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    no_input = "reader reads a feature bank (head.bank), for which ONNX files here have no input; torch runs it"
    for backend in ("onnx", "openvino"):
        assert infer(folder, tmp_path / "out", "--backend", backend) == 1
        assert no_input in capsys.readouterr().err
    assert main(["export", str(folder / "model.safetensors"), str(tmp_path / "model.onnx")]) == 1
    assert no_input in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_converted_model_takes_its_bank_along(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["convert", str(folder / "model.safetensors"), str(tmp_path / "mine.safetensors")]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert f"wrote {tmp_path / 'mine_bank.safetensors'} and {tmp_path / 'mine_bank.json'}: slow_r50" in said
    names = [f"mine{part}.{end}" for part in ("", "_bank") for end in ("json", "safetensors")]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    before, after = zoo.load(folder / "model.safetensors"), zoo.load(tmp_path / "mine.safetensors")
    assert after.bank_window_s == before.bank_window_s == WINDOW_S
    for one, other in ((before, after), (before.bank, after.bank)):
        assert all(torch.equal(value, other.model.state_dict()[key]) for key, value in one.model.state_dict().items())
    for name in ("mine.safetensors", "mine.json"):
        (tmp_path / name).unlink()
    assert main(words) == 1
    assert f"{tmp_path / 'mine_bank.safetensors'} and {tmp_path / 'mine_bank.json'} exists" in capsys.readouterr().err
    assert not (tmp_path / "mine.safetensors").exists()
    assert main([*words, "--overwrite"]) == 0


def test_a_file_is_shown_with_its_bank(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "model.safetensors"
    assert main(["models", "show", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"bank         {WINDOW_S} s of features of bank.safetensors (maker, slow_r50)" in lines
    assert f"architecture slow_r50 {json.dumps(READER)}" in lines
    assert main(["models", "show", str(folder / "bank.safetensors"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["bank"], facts["classes"], facts["clip"]) == ("", 3, "2x1 at 32 px")
    maker = zoo.load(folder / "bank.safetensors").model
    assert facts["parameters"] == sum(one.numel() for one in maker.parameters())
    write_maker(tmp_path / "other.safetensors", MAKER, bank={"weights": "a/b.safetensors", "window_s": 1})
    for name, message in (
        (str(tmp_path / "no.safetensors"), "no.safetensors: no such file"),
        (str(tmp_path / "other.safetensors"), "bank.weights must be a .safetensors file beside the model"),
    ):
        assert main(["models", "show", name]) == 1
        assert message in capsys.readouterr().err


def test_results_of_another_bank_are_not_taken_for_done(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_both(tmp_path)
    words = (tmp_path / "out", "--model", tmp_path / "model.safetensors")
    assert infer(folder, *words) == 0
    assert infer(folder, *words) == 0
    assert "clip.mp4: already done" in capsys.readouterr().out
    write_maker(tmp_path / "bank.safetensors", {**MAKER, "depths": [1, 2, 1, 1]})
    assert infer(folder, *words) == 1
    assert "--model was model.safetensors" in capsys.readouterr().err
    (tmp_path / "bank.safetensors").unlink()  # an unreadable model is told by whoever loads it
    assert infer(folder, *words, "--overwrite") == 1
    assert "bank.safetensors, which does not lie beside it" in capsys.readouterr().err
