"""Whole runs on a staged data set: they learn, they resume bit-equal, they leave a model that loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from each_case import each_case
from staged_squares import config, use_squares

from avadet.config import Config
from avadet.errors import AvadetError
from avadet.models import zoo
from avadet.training import loop
from avadet.training.distributed import Processes
from avadet.training.logs import RunFolder
from avadet.training.loop import Run, train
from avadet.training.trainer import Trainer


def _metrics(folder: RunFolder) -> list[dict[str, float]]:
    lines = (folder.path / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if "seconds" not in key} for line in lines]


def _tensors(folder: RunFolder) -> dict[str, torch.Tensor]:
    state = torch.load(folder.checkpoint, weights_only=True)
    return {**state["model"], **{f"average.{key}": value for key, value in state["average"]["model"].items()}}


def test_a_run_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples, model, loss, schedule and average work together, on videos that were not trained on."""
    use_squares(monkeypatch, train=36, scored=9)
    changes = {"loss": {"mixup_alpha": 0.0}, "train": {"ema_decay": 0.8, "threads": 1}, "optim": {"lr": 5e-3}}
    said: list[str] = []
    folder = train(config(tmp_path / "run", schedule={"epochs": 12}, **changes), say=said.append)
    metrics = _metrics(folder)
    assert [line["epoch"] for line in metrics] == list(range(1, 13))
    assert metrics[-1]["loss"] < 0.8 * metrics[0]["loss"]
    assert metrics[-1]["track_map"] > 90
    assert "frame_map" not in metrics[0] and "training on 288 keyframes" in said[0]


def _break_off_in_epoch_two(monkeypatch: pytest.MonkeyPatch, wanted: Config, **how: Any) -> None:
    """Train as Ctrl-C would leave it at the end of the second epoch."""
    close_epoch = Run.close_epoch

    def interrupted(self: Run) -> dict[str, float]:
        if self.trainer.position.epoch == 1:
            raise KeyboardInterrupt
        return close_epoch(self)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Run, "close_epoch", interrupted)
        train(wanted, **how)


def test_resume_is_bit_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_squares(monkeypatch)
    straight = train(config(tmp_path / "straight"))
    broken = config(tmp_path / "broken")
    _break_off_in_epoch_two(monkeypatch, broken)
    torch.manual_seed(99)  # a new process would start from another state
    resumed = train(broken, resume=True)
    first, second = _tensors(straight), _tensors(resumed)
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    assert _metrics(straight) == _metrics(resumed)
    assert len(_metrics(straight)) == 2


def test_the_exported_model_loads_and_scores_like_the_average(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_squares(monkeypatch)
    wanted = config(tmp_path / "run", schedule={"epochs": 1})
    folder = train(wanted)
    loaded = zoo.load(str(folder.model))
    average = torch.load(folder.checkpoint, weights_only=True)["average"]["model"]
    assert all(torch.equal(value, average[key]) for key, value in loaded.model.state_dict().items())
    assert loaded.spec.num_frames == 4 and loaded.spec.stride == 1 and loaded.spec.short_side == 48
    assert loaded.card["training"]["config"]["seed"] == 0
    assert str(tmp_path) not in json.dumps(loaded.card)  # a card goes into the world
    assert loaded.card["numbers"]["frame_map"] == _metrics(folder)[-1]["frame_map"]
    assert (folder.path / "config.yaml").is_file() and "torch" in json.loads((folder.path / "run.json").read_text())


def test_a_stopped_run_loads_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its checkpoint has a card of its own; the averaged weights are the model, as in the one that a run ends with."""
    use_squares(monkeypatch)
    folder = train(config(tmp_path))
    whole = zoo.load(folder.model)
    folder.model.unlink()
    for path, source in ((folder.path, folder.best), (folder.checkpoint, folder.checkpoint)):
        loaded = zoo.load(path)
        assert loaded.report.source == str(source)
        assert (loaded.spec, loaded.labels, loaded.card["scores"]) == (whole.spec, whole.labels, whole.card["scores"])
    state = torch.load(folder.best, weights_only=True)["average"]["model"]
    found = zoo.load(folder.best).model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    torch.save({"state_dict": {}}, folder.checkpoint)
    with pytest.raises(AvadetError, match=r"last\.pt is no checkpoint of a training by avadet; start from its weights"):
        train(config(tmp_path), resume=True)


def test_seeds_differ_and_equal_seeds_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_squares(monkeypatch)
    runs = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        wanted = config(tmp_path / name, schedule={"epochs": 1}).model_copy(update={"seed": seed})
        runs[name] = _tensors(train(wanted))["head.proj.weight"]
    assert torch.equal(runs["a"], runs["b"]) and not torch.equal(runs["a"], runs["c"])


@each_case(
    "changes",
    [
        {"model": {"family": "tiny_two_views", "crop_hw": (32, 32)}, "schedule": {"epochs": 1}},
        {"optim": {"name": "sgd", "lr": 0.05}, "schedule": {"epochs": 1, "kind": "step", "milestones": (0.5,)}},
        {"loss": {"kind": "bce"}, "train": {"precision": "bf16", "ema_decay": 0.0}, "schedule": {"epochs": 1}},
        {"data": {"batch_size": 4, "workers": 2, "samples_per_video": 2}, "schedule": {"epochs": 1}},
    ],
)
def test_other_ways_to_train(
    changes: dict[str, dict[str, object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_squares(monkeypatch)
    metrics = _metrics(train(config(tmp_path, **changes)))
    assert metrics[-1]["loss"] > 0 and 0 <= metrics[-1]["frame_map"] <= 100


def test_a_step_that_fp16_skips_leaves_no_infinity_in_the_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_squares(monkeypatch)
    step = Trainer.step

    def overflown(self: Trainer, parts: list) -> torch.Tensor:
        loss, norm = step(self, parts)
        return torch.stack([loss, norm if self.position.step else torch.tensor(float("inf"))])

    def no_number(text: str) -> float:
        raise AssertionError(f"{text} is not JSON")

    monkeypatch.setattr(Trainer, "step", overflown)
    folder = train(config(tmp_path, train={"threads": 1, "log_every": 1}, schedule={"epochs": 1}))
    files = [(folder.path / name).read_text().splitlines() for name in ("steps.jsonl", "metrics.jsonl")]
    steps, (epoch,) = ([json.loads(line, parse_constant=no_number) for line in lines] for lines in files)
    assert ["grad_norm" in line for line in steps] == [False, True]
    assert epoch["grad_norm"] == pytest.approx(steps[1]["grad_norm"] / 2, abs=1e-4)
    assert folder.curves.is_file()


def test_mistakes_are_told_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_squares(monkeypatch, train=4)
    with pytest.raises(AvadetError, match=r"an epoch has 4 samples, fewer than data\.batch_size 6"):
        train(config(tmp_path))
    with pytest.raises(AvadetError, match=r"nothing to resume: .* is missing; start without --resume"):
        train(config(tmp_path, data={"batch_size": 2}), resume=True)
    with pytest.raises(AvadetError, match=r"model\.frozen is for the tiny families with model\.init"):
        train(config(tmp_path, data={"batch_size": 2}, model={"frozen": 1}))
    with pytest.raises(AvadetError, match=r"none\.pth: no such file"):
        train(config(tmp_path, data={"batch_size": 2}, model={"init": tmp_path / "none.pth"}))


def test_a_run_is_not_overwritten_nor_resumed_with_another_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_squares(monkeypatch)
    wanted = config(tmp_path / "run", schedule={"epochs": 1})
    train(wanted)
    with pytest.raises(AvadetError, match="already holds a run; add --resume"):
        train(wanted)
    with pytest.raises(
        AvadetError, match=r"another config \(schedule\.epochs=1; schedule\.epochs=3\); use another run_dir"
    ):
        train(config(tmp_path / "run", schedule={"epochs": 3}), resume=True)
    moved = wanted.model_copy(
        update={"data": wanted.data.model_copy(update={"root": Path("/elsewhere"), "workers": 1})}
    )
    assert len(_metrics(train(moved, resume=True))) == 1  # nothing was left to train
    RunFolder(tmp_path / "run").checkpoint.write_bytes(b"garbage")
    with pytest.raises(AvadetError, match="damaged or no checkpoint"):
        train(wanted, resume=True)


def test_resume_auto_starts_goes_on_and_stops_where_it_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a queue needs that runs one command until the job is done."""
    use_squares(monkeypatch)
    straight = train(config(tmp_path / "straight"))
    wanted = config(tmp_path / "run")
    _break_off_in_epoch_two(monkeypatch, wanted, resume="auto")
    folder = train(wanted, resume="auto")
    assert _metrics(folder) == _metrics(straight) and len(_metrics(folder)) == 2
    kept, said = {path: path.stat().st_mtime_ns for path in folder.path.iterdir()}, []
    with monkeypatch.context() as patch:
        patch.setattr(loop, "read_run_data", lambda config: pytest.fail("its data is read again"))
        train(wanted, resume="auto", say=said.append)
        assert said == [f"finished already: {folder.model}"]
        assert {path: path.stat().st_mtime_ns for path in folder.path.iterdir()} == kept
        with pytest.raises(AvadetError, match=r"last\.pt was trained with another config \(schedule\.epochs=2"):
            train(config(tmp_path / "run", schedule={"epochs": 3}), resume="auto")
        folder.checkpoint.unlink()  # the model alone is kept, say
        train(wanted, resume="auto", say=said.append)
        with pytest.raises(AvadetError, match="is the model of a run with another config; use another run_dir"):
            train(config(tmp_path / "run", schedule={"epochs": 3}), resume="auto")
    assert len(said) == 2


def test_a_model_that_was_not_written_in_the_end_is_written_by_resume_auto(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_squares(monkeypatch)
    wanted = config(tmp_path / "run", schedule={"epochs": 1})
    folder = train(wanted)
    model = folder.model.read_bytes()
    folder.model.unlink()
    assert train(wanted, resume="auto").model.read_bytes() == model


def test_all_processes_go_by_what_the_first_one_finds(tmp_path: Path) -> None:
    """Another machine may not see the folder, or see it change."""
    first, other = RunFolder(tmp_path / "first"), RunFolder(tmp_path / "other")
    first.path.mkdir()
    first.checkpoint.write_bytes(b"x")
    seen = loop._find_run(first, Processes())
    assert seen == (True, False) and loop._find_run(other, Processes()) == (False, False)

    class Second(Processes):
        def gather(self, item: object) -> list:
            return [seen, item]

    assert loop._find_run(other, Second(rank=1, count=2)) == seen
