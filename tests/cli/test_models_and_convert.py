"""`avadet models` and `avadet convert`: the list, and another project's checkpoint in avadet's own form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from avadet.cli.main import main
from avadet.models import zoo

CLIPS = torch.linspace(0, 1, 3 * 4 * 64 * 64).view(1, 3, 4, 64, 64)
ROIS = torch.tensor([[0.0, 4, 4, 40, 60]])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("AVADET_CACHE", str(folder))
    return folder


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A small Slow as `torch.save` writes it."""
    torch.manual_seed(0)
    spec = zoo.clip_of(zoo.card_of(zoo.entry_of("slow_r50_4x16_ava")))
    small = zoo.build("slow_r50", 80, spec, {"width": 4, "depths": [1, 1, 1, 1], "head": {"aligned": True}})
    path = tmp_path / "small.pyth"
    torch.save({"model_state": small.state_dict()}, path)
    return path


def test_every_model_is_listed(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    assert main(["models"]) == 0
    head, *rows, _, kept = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "data", "set", "clip", "params", "GFLOPs", "mAP", "size", "here"]
    assert [row.split()[0] for row in rows] == [entry.name for entry in zoo.models()]
    assert rows[0].endswith("bundled")
    assert all(row.endswith("no") for row in rows[1:])
    assert str(cache) in kept


def test_a_cached_model_is_shown_with_the_size_of_its_file(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    cache.mkdir()
    zoo.entry_of("slow_r50_4x16_ava").path.write_bytes(bytes(3_000_000))
    assert main(["models", "slow_r50_4x16_ava", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["size"], facts["here"]) == ("3 MB", "cached")
    assert facts["url"].startswith("https://") and "Apache-2.0" in facts["licence"]


def test_an_unknown_model_gets_close_matches(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "slowfast_r50_8x8"]) == 1
    assert "did you mean slowfast_r50_8x8_ava" in capsys.readouterr().err


def test_a_converted_model_gives_the_same_scores(
    foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "own" / "small.safetensors"
    assert main(["convert", str(foreign), str(out), "--labels", "ava_v2.1"]) == 0
    said = capsys.readouterr().out
    assert "0 missing; 0 unexpected; 0 reshaped" in said and f"wrote {out}" in said
    first, again = zoo.load(foreign), zoo.load(out)
    assert sum(again.labels.evaluated) == 60
    with torch.no_grad():
        np.testing.assert_array_equal(first.model(CLIPS, ROIS), again.model(CLIPS, ROIS))


def test_nothing_is_overwritten_unasked(foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "small.safetensors"
    out.write_text("mine")
    assert main(["convert", str(foreign), str(out)]) == 1
    assert f"{out} exists; use --overwrite" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert main(["convert", str(foreign), str(out), "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--labels", "jhmdb21"], "the checkpoint has 80 classes, label map jhmdb21 has 21"),
        (["--labels", "nothing"], "unknown label map"),
    ],
)
def test_labels_must_fit(
    foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["convert", str(foreign), str(tmp_path / "small.safetensors"), *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "small.safetensors").exists()


def test_a_partial_checkpoint_is_converted_only_when_asked(
    foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(foreign, weights_only=True)
    del content["model_state"]["backbone.res5.0.branch2.norm_c.bias"]
    torch.save(content, foreign)
    out = tmp_path / "small.safetensors"
    assert main(["convert", str(foreign), str(out)]) == 1
    assert "1 missing (backbone.res5.0.branch2.norm_c.bias)" in capsys.readouterr().err
    assert main(["convert", str(foreign), str(out), "--partial"]) == 0
    assert out.exists()
