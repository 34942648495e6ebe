"""`avadet infer` and its page: written beside the other results unless told otherwise, with the ways to both videos."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import staged

from avadet.cli.main import main
from avadet.inference import run as inference_run


@pytest.fixture(autouse=True)
def _square_finder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the detector find the square."""
    monkeypatch.setattr(inference_run, "load_detector", lambda name, device, threshold=None: staged.BrightSquare())


def infer(folder: Path, *more: str) -> None:
    staged.write_video(folder / "in" / "a clip.mp4", seconds=2.0)
    staged.write_random_model(folder / "random.safetensors")
    words = [folder / "in" / "a clip.mp4", "--out", folder / "out", "--model", folder / "random.safetensors", *more]
    assert main(["infer", *map(str, words)]) == 0


def test_the_page_knows_the_way_to_both_videos(tmp_path: Path) -> None:
    infer(tmp_path)
    html = (tmp_path / "out" / "a clip.html").read_text()
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html)
    facts = json.loads(text)
    assert [(one["href"], one["drawn"]) for one in facts["sources"]] == [
        ("../in/a%20clip.mp4", False),
        ("a%20clip.mp4", True),
    ]
    assert facts["end_s"] == 2.0


def test_without_a_page_or_without_a_video(tmp_path: Path) -> None:
    infer(tmp_path, "--no-page", "--no-video")
    assert not list((tmp_path / "out").glob("*.html"))
    infer(tmp_path, "--no-video", "--overwrite")
    assert (tmp_path / "out" / "a clip.html").read_text().count('"drawn":') == 1
