"""Progress bars are for terminals alone, and `--quiet` leaves results, warnings and errors."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest
import staged
from each_case import each_case

from avadet.cli import videos
from avadet.cli.main import COMMANDS, _build_parser, main
from avadet.progress import set_quiet


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("avadet.persons.load.load_detector", lambda *_: staged.BrightSquare())
    return staged.write_video(tmp_path / "clip.mp4")


def detect(clip: Path, *more: str) -> int:
    return main(["detect-persons", str(clip), "--out", str(clip.with_name("boxes.csv")), "--overwrite", *more])


def test_a_pipe_gets_lines_without_control_characters(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert detect(clip) == 0
    said = capsys.readouterr()
    assert said.err == "avadet: detector: tiny, on cpu\n"
    assert all(character.isprintable() or character == "\n" for character in said.out + said.err)


def test_a_terminal_gets_a_bar(clip: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert detect(clip) == 0
    assert "clip.mp4: 100%|" in capsys.readouterr().err


def test_quiet_leaves_results_alone(
    clip: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert detect(clip, "--quiet") == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.splitlines()[0].startswith("clip.mp4: 3 keyframes, ") and "boxes: " in said.out


def test_quiet_keeps_errors_and_warnings(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert detect(clip.with_name("none.mp4"), "--quiet") == 1
    videos.note("warning: w")
    videos.inform("not said")
    err = capsys.readouterr().err
    assert "avadet: error: no such video" in err and err.endswith("avadet: warning: w\n") and "not said" not in err


def test_quiet_lasts_for_one_call(capsys: pytest.CaptureFixture[str], clip: Path) -> None:
    set_quiet(True)
    assert detect(clip) == 0
    assert "detector: tiny" in capsys.readouterr().err


@each_case("name", [command.name for command in COMMANDS])
def test_every_command_takes_quiet(name: str) -> None:
    parser, _ = _build_parser(next(command for command in COMMANDS if command.name == name))
    (choices,) = [one.choices for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    assert "--quiet" in choices[name].format_help()
