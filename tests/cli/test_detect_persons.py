"""`avadet detect-persons`: the rows it writes, that `infer --boxes` makes the same of them, what it refuses."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import staged

from avadet.annotations.box_files import read_boxes
from avadet.cli.eval_persons import score_files
from avadet.cli.main import main
from avadet.inference import run as inference_run
from avadet.persons import load
from avadet.persons.precomputed import PrecomputedBoxes
from avadet.types import ActionDetections, PersonBoxes, PersonDetector, UInt8Array
from avadet.video.read import VideoReader


class SquareAndShadows:
    """Finds the square, and two people beside it who move with the picture; boxes at odd fractions of a pixel."""

    def __call__(self, frame: UInt8Array) -> PersonBoxes:
        square = staged.BrightSquare()(frame).boxes_px
        if not len(square):
            return PersonBoxes.empty(frame.shape[:2])
        drift = np.float32(square[0, 0] / 7)
        shadows = np.array([[1.3 + drift, 2.7, 20.1 + drift, 30.9], [30.7, 5.1, 50.3, 44.4 - drift]], np.float32)
        scores = np.array([0.9, 0.61803399, 0.31415927], np.float32)
        return PersonBoxes(np.concatenate((square, shadows)).astype(np.float32), scores, frame.shape[:2])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of a moving square and a broken one."""
    folder = tmp_path_factory.mktemp("inputs")
    staged.write_video(folder / "clip.mp4", seconds=3.0)
    staged.write_video(folder / "other.mp4", seconds=2.0)
    (folder / "broken.mp4").write_bytes(b"no video at all")
    return folder


@pytest.fixture(autouse=True)
def _finder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every detector find the square."""
    monkeypatch.setattr(load, "load_detector", lambda name, device, threshold=None: SquareAndShadows())


def detect(folder: Path, out: Path, *more: object, videos: tuple[str, ...] = ("clip.mp4",)) -> int:
    return main([str(w) for w in ["detect-persons", *(folder / video for video in videos), "--out", out, *more]])


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_rows_by_hand(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At 1 s the square stands at x 16-32, y 16-32 of 64x48; its first shadow has drifted by 16 / 7 px."""
    assert detect(folder, tmp_path / "boxes.csv") == 0
    found = rows(tmp_path / "boxes.csv")
    assert [(row[0], row[1]) for row in found] == [("clip", time) for time in "012" for _ in range(3)]
    assert found[3] == ["clip", "1", "0.25", "0.333333", "0.5", "0.666667", "", "0.900000"]
    assert [float(cell) for cell in found[4][2:6]] == pytest.approx(
        [(1.3 + 16 / 7) / 64, 2.7 / 48, (20.1 + 16 / 7) / 64, 30.9 / 48], abs=1e-6
    )
    said = capsys.readouterr()
    assert "clip.mp4: 3 keyframes, 9 boxes" in said.out and str(tmp_path / "boxes.csv") in said.out
    assert said.err == "avadet: detector: tiny, on cpu\n", "no bar where nobody watches"


def test_times_are_rounded_and_may_be_asked_for_as_a_fraction(folder: Path, tmp_path: Path) -> None:
    assert detect(folder, tmp_path / "boxes.csv", "--every", "1/3") == 0
    times = list(dict.fromkeys(row[1] for row in rows(tmp_path / "boxes.csv")))
    assert times == ["0", "0.333333", "0.666667", "1", "1.333333", "1.666667", "2", "2.333333", "2.666667"]
    with pytest.raises(SystemExit):
        detect(folder, tmp_path / "boxes.csv", "--overwrite", "--every", "1/0")


@pytest.mark.parametrize("every", [1.0, 0.7, 0.05, 5.0])
def test_infer_makes_of_the_file_what_it_makes_of_the_detector(folder: Path, tmp_path: Path, every: float) -> None:
    """Also at 0.05 s, where two keyframes share a frame, and at 5 s, where the only one lies amid the video."""
    assert detect(folder, tmp_path / "boxes.csv", "--every", every) == 0
    alone = keyframes(folder, SquareAndShadows(), every)
    known = keyframes(folder, PrecomputedBoxes(read_boxes(tmp_path / "boxes.csv")), None)
    assert len(alone) == len(known) == {1.0: 3, 0.7: 5, 0.05: 60, 5.0: 1}[every]
    for first, second in zip(alone, known):
        assert first.key == second.key and len(first) == len(second) == 3
        np.testing.assert_allclose(first.boxes_norm, second.boxes_norm, atol=1e-6)
        np.testing.assert_allclose(first.person_scores, second.person_scores, atol=1e-6)
        assert first.track_ids is not None and second.track_ids is not None
        assert first.track_ids.tolist() == second.track_ids.tolist()


def keyframes(folder: Path, persons: PersonDetector | PrecomputedBoxes, every: float | None) -> list[ActionDetections]:
    """What `avadet infer` finds, with an action model that costs nothing."""
    setup = inference_run.Setup(staged.staged_model(), persons, every)
    with VideoReader(folder / "clip.mp4") as reader:
        return [event for event in setup.events(reader) if isinstance(event, ActionDetections)]


def test_readers_take_the_file_as_it_is(folder: Path, tmp_path: Path) -> None:
    assert detect(folder, tmp_path / "boxes.csv", videos=("clip.mp4", "other.mp4")) == 0
    table = read_boxes(tmp_path / "boxes.csv")
    assert len(table) == 15 and table.scores is not None and set(table.video_ids) == {"clip", "other"}
    assert (table.class_ids == 0).all()
    truth = tmp_path / "truth.csv"
    truth.write_text("".join(f"{','.join(row[:6])},1\n" for row in rows(tmp_path / "boxes.csv")))
    assert score_files(tmp_path / "boxes.csv", truth).stats["ap_50"] == pytest.approx(1.0)


def test_a_broken_video_does_not_cost_the_others(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    videos = ("clip.mp4", "broken.mp4", "other.mp4", "absent.mp4")
    assert detect(folder, tmp_path / "boxes.csv", videos=videos) == 1
    assert [row[0] for row in rows(tmp_path / "boxes.csv")] == ["clip"] * 9 + ["other"] * 6
    said = capsys.readouterr().err
    assert "2 of 4 videos failed" in said and "broken.mp4" in said and "absent.mp4" in said


def test_a_video_that_fails_half_way_leaves_no_rows(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from avadet.errors import AvadetError

    calls = []

    def fail_on_the_second_look(self: object, frame: UInt8Array) -> PersonBoxes:
        calls.append(frame)
        if len(calls) == 2:
            raise AvadetError("the detector gave up")
        return staged.BrightSquare()(frame)

    monkeypatch.setattr(SquareAndShadows, "__call__", fail_on_the_second_look)
    assert detect(folder, tmp_path / "boxes.csv", videos=("clip.mp4", "other.mp4")) == 1
    assert {row[0] for row in rows(tmp_path / "boxes.csv")} == {"other"}


def test_without_a_good_video_nothing_is_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert detect(folder, tmp_path / "new" / "boxes.csv", videos=("broken.mp4", "absent.mp4")) == 1
    assert not (tmp_path / "new").exists()
    said = capsys.readouterr().err
    assert "broken.mp4" in said and "absent.mp4" in said and "Traceback" not in said


def test_nobody_is_no_error(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SquareAndShadows, "__call__", lambda self, frame: PersonBoxes.empty(frame.shape[:2]))
    assert detect(folder, tmp_path / "boxes.csv") == 0
    assert "clip.mp4: 3 keyframes, no people found" in capsys.readouterr().out
    assert (tmp_path / "boxes.csv").read_text() == "clip,0\nclip,1\nclip,2\n"
    known = PrecomputedBoxes(read_boxes(tmp_path / "boxes.csv"))
    assert known.times_s("clip").tolist() == [0.0, 1.0, 2.0]
    assert len(known.at("clip", 1.0, (100, 100))) == 0


def test_ctrl_c_leaves_what_was_there(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: object, frame: UInt8Array) -> PersonBoxes:
        raise KeyboardInterrupt

    (tmp_path / "boxes.csv").write_text("mine\n")
    monkeypatch.setattr(SquareAndShadows, "__call__", stop)
    assert detect(folder, tmp_path / "boxes.csv", "--overwrite") == 130
    assert [path.name for path in tmp_path.iterdir()] == ["boxes.csv"]
    assert (tmp_path / "boxes.csv").read_text() == "mine\n"


def test_what_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "boxes.csv").write_text("mine\n")
    clip, twin = folder / "clip.mp4", tmp_path / "clip.avi"
    for words, said in (
        ([clip, "--out", tmp_path / "boxes.csv"], "already there; add --overwrite"),
        ([clip, "--out", tmp_path], "is a folder; expected the name of a CSV file"),
        ([clip, "--out", clip, "--overwrite"], "would replace the input"),
        ([clip, twin, "--out", tmp_path / "new.csv"], "would both begin with clip"),
        ([clip, "--out", tmp_path / "new.csv", "--device", "cuda:77"], "not available here"),
    ):
        assert main([str(word) for word in ["detect-persons", *words]]) == 1
        assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["boxes.csv"]
    assert (tmp_path / "boxes.csv").read_text() == "mine\n"
    assert detect(folder, tmp_path / "boxes.csv", "--overwrite") == 0 and len(rows(tmp_path / "boxes.csv")) == 9


def test_an_unknown_detector_leaves_nothing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    assert detect(folder, tmp_path / "new" / "boxes.csv", "--detector", "fcos_resnet50") == 1
    assert "did you mean fcos_resnet50_fpn" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
