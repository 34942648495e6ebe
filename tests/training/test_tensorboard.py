"""TensorBoard's files say what the JSON lines say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from staged_squares import config, use_squares

from avadet.training.logs import RunFolder
from avadet.training.loop import Run, train

event_accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator", reason="needs the extra tensorboard"
)


def shown(folder: RunFolder) -> dict[str, dict[int, float]]:
    """Value by step, by name; every step once."""
    events = event_accumulator.EventAccumulator(str(folder.tensorboard)).Reload()
    told = {name: events.Scalars(name) for name in events.Tags()["scalars"]}
    assert all(len({one.step for one in values}) == len(values) for values in told.values())
    return {name: {one.step: one.value for one in values} for name, values in told.items()}


def logged(folder: RunFolder, steps: int) -> dict[str, dict[int, float]]:
    """The same of the JSON lines."""
    found: dict[str, dict[int, float]] = {}
    for line in map(json.loads, (folder.path / "steps.jsonl").read_text().splitlines()):
        for name, value in line.items():
            if name not in ("step", "epoch"):
                found.setdefault(name, {})[line["step"]] = value
    for line in folder.metrics():
        for name, value in line.items():
            found.setdefault(f"epoch/{name}", {})[line["epoch"] * steps] = value
    return found


def assert_equal(folder: RunFolder, steps: int) -> None:
    told, lines = shown(folder), logged(folder, steps)
    assert told.keys() == lines.keys() and {"loss", "lr", "epoch/frame_map", "data_seconds"} <= told.keys()
    for name, values in lines.items():
        assert told[name] == pytest.approx(values, rel=1e-6), name


def wanted(run_dir: Path) -> Any:
    cfg = {"threads": 1, "log_every": 1, "tensorboard": True, "save_every": 2}
    return config(run_dir, data={"batch_size": 4}, train=cfg, evaluate={"frame_step": 4})


def test_numbers_are_those_of_the_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_squares(monkeypatch)
    folder = train(wanted(tmp_path / "run"))
    assert_equal(folder, steps=3)
    assert list(shown(folder)["loss"]) == [1, 2, 3, 4, 5, 6] and list(shown(folder)["epoch/loss"]) == [3, 6]


def test_a_resumed_run_shows_each_step_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_squares(monkeypatch)
    save = Run.save

    def break_off(self: Run, is_best: bool = False) -> None:
        place = self.trainer.position
        if (place.epoch, place.step) == (1, 3):
            raise KeyboardInterrupt  # steps 5 and 6 are logged; the last checkpoint is of step 4
        save(self, is_best)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Run, "save", break_off)
        train(wanted(tmp_path / "run"))
    told = shown(RunFolder(tmp_path / "run"))["loss"]
    assert list(told) == [1, 2, 3, 4, 5, 6]
    folder = train(wanted(tmp_path / "run"), resume=True)
    assert_equal(folder, steps=3)
