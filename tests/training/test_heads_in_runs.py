"""Heads that look beyond a person's box, in whole runs: they are asked for in the config, learn, and load again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from staged_squares import config, use_squares

from avadet.config import Config
from avadet.models import zoo
from avadet.training.loop import train


def small_slow(folder: Path, head: dict[str, Any]) -> Config:
    """A config of a small Slow with a head."""
    arguments = {"width": 8, "depths": [1, 1, 1, 1], "head": head}
    changes = {"optim": {"lr": 5e-3}, "loss": {"mixup_alpha": 0.0}, "schedule": {"epochs": 4}}
    return config(folder, model={"family": "slow_r50", "arguments": arguments}, **changes)


def test_relations_are_learnt_and_come_back_from_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_squares(monkeypatch)
    wanted = small_slow(tmp_path / "run", {"acar": {"width": 8, "depth": 2}})
    folder = train(wanted)
    losses = [json.loads(line)["loss"] for line in (folder.path / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0]
    loaded = zoo.load(str(folder.model))
    assert loaded.card["arguments"]["head"]["acar"] == {"width": 8, "depth": 2}
    average = torch.load(folder.checkpoint, weights_only=True)["average"]["model"]
    names = [name for name in average if name.startswith("head.acar.layers.1.")]
    assert len(names) == 6
    assert all(torch.equal(loaded.model.state_dict()[name], average[name]) for name in average)
