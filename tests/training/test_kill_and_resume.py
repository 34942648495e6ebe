"""What is killed, stopped, full or no number: nothing is lost, and going on gives the same weights to the bit."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from killed_runs import EPOCHS, STEPS, killed_config, run_until_killed
from staged_squares import config, use_squares

from avadet.cli import train as train_command
from avadet.errors import AvadetError
from avadet.training import loop, setup
from avadet.training.checkpoint import write_state
from avadet.training.data import RunData
from avadet.training.logs import RunFolder
from avadet.training.loop import Run, train
from avadet.training.stopping import Stopped, StopRequests
from avadet.training.trainer import Trainer


def tensors(path: Path) -> dict[str, torch.Tensor]:
    """Everything in a checkpoint that is a tensor, by its place."""
    found: dict[str, torch.Tensor] = {}

    def look(place: str, value: object) -> None:
        if isinstance(value, torch.Tensor):
            found[place] = value
        elif isinstance(value, dict):
            for key, inner in value.items():
                look(f"{place}.{key}", inner)
        elif isinstance(value, list | tuple):
            for index, inner in enumerate(value):
                look(f"{place}.{index}", inner)

    look("", torch.load(path, weights_only=True))
    return found


def assert_equal_runs(one: RunFolder, other: RunFolder) -> None:
    first, second = tensors(one.checkpoint), tensors(other.checkpoint)
    assert first.keys() == second.keys()
    assert [key for key, value in first.items() if not torch.equal(value, second[key])] == []
    assert one.model.read_bytes() == other.model.read_bytes()
    assert epochs(one) == epochs(other)
    assert losses(one) == losses(other)


def epochs(folder: RunFolder) -> list[dict[str, float]]:
    return [{key: value for key, value in line.items() if "seconds" not in key} for line in folder.metrics()]


def losses(folder: RunFolder) -> list[tuple[float, float]]:
    lines = (folder.path / "steps.jsonl").read_text().splitlines()
    return [(json.loads(line)["step"], json.loads(line)["loss"]) for line in lines]


@pytest.fixture
def squares(monkeypatch: pytest.MonkeyPatch) -> RunData:
    return use_squares(monkeypatch)


@pytest.fixture
def straight(squares: RunData, tmp_path: Path) -> RunFolder:
    """A run that nothing happened to."""
    return train(killed_config(tmp_path / "straight"))


def test_a_run_broken_off_after_any_step_goes_on_bit_equal(
    straight: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run, broken off after every single one of its steps, and before and after every evaluation."""
    wanted, times = killed_config(tmp_path / "broken"), 0
    save, places = Run.save, [(0, 0)]

    def save_and_break(self: Run, is_best: bool = False) -> None:
        save(self, is_best)
        place = self.trainer.position
        if (place.epoch, place.step) != places[-1]:
            places.append((place.epoch, place.step))
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", save_and_break)
        for times in range(100):
            torch.manual_seed(times)  # a new process would start from another state
            try:
                train(wanted, resume=times > 0)
                break
            except KeyboardInterrupt:
                pass
    assert times == EPOCHS * STEPS + EPOCHS == len(set(places)) - 1  # after each step and each epoch
    assert_equal_runs(straight, RunFolder(tmp_path / "broken"))


@pytest.mark.slow
@pytest.mark.usefixtures("squares")
def test_sigkill_at_random_moments(tmp_path: Path) -> None:
    """Killed at moments that have nothing to do with steps: in a step, in writing a checkpoint, in scoring."""
    straight = train(killed_config(tmp_path / "straight", epochs=8))
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["killed_runs"])
    draw, folder, kills, places = random.Random(7), RunFolder(tmp_path / "killed"), 0, set()
    for _ in range(200):
        after_s = draw.uniform(0.0, 0.1) if kills < 12 else 600.0
        process = server.Process(
            target=run_until_killed, args=(str(folder.path), 8, folder.checkpoint.exists(), after_s)
        )
        process.start()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        kills += 1
        if folder.checkpoint.exists():
            place = torch.load(folder.checkpoint, weights_only=True)["position"]
            places.add((place["epoch"], place["step"]))
    print(f"{kills} kills, at {len(places)} places of the run")
    assert kills >= 10
    assert_equal_runs(straight, folder)
    assert not list(folder.path.glob(".*partial*"))


def test_epochs_and_workers_do_not_matter(tmp_path: Path, squares: RunData) -> None:
    """Batches made by worker processes, in a run that is resumed without them."""
    whole = config(tmp_path / "whole", data={"batch_size": 6, "workers": 1}, model={"dropout": 0.5})
    straight = train(whole)
    broken = whole.model_copy(update={"run_dir": tmp_path / "broken"})
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Run, "close_epoch", _interrupt)
        train(broken.model_copy(update={"train": broken.train.model_copy(update={"save_every": 1})}))
    alone = broken.model_copy(update={"data": broken.data.model_copy(update={"workers": 0})})
    assert straight.model.read_bytes() == train(alone, resume=True).model.read_bytes()


def _interrupt(self: Run) -> dict[str, float]:
    raise KeyboardInterrupt


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_told_to_stop_it_keeps_its_step_and_says_so(
    number: int, code: int, straight: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = killed_config(tmp_path / "told")
    step, handler = Trainer.step, signal.getsignal(number)

    def step_and_signal(self: Trainer, parts: list) -> torch.Tensor:
        if self.position.epoch == 1 and self.position.step == 1:
            os.kill(os.getpid(), number)
        return step(self, parts)

    with monkeypatch.context() as patch, pytest.raises(Stopped, match="stopped after step 2 of 3 of epoch 2") as caught:
        patch.setattr(Trainer, "step", step_and_signal)
        train(wanted)
    assert caught.value.code == code
    assert signal.getsignal(number) is handler
    assert_equal_runs(straight, train(wanted, resume=True))


@pytest.mark.usefixtures("squares")
def test_processes_that_make_batches_live_on_until_the_step_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchrun and terminals send signals to all of a group."""
    wanted = config(tmp_path, data={"batch_size": 2, "workers": 1}, schedule={"epochs": 50})
    step = Trainer.step

    def step_and_signal(self: Trainer, parts: list) -> torch.Tensor:
        workers = multiprocessing.active_children()
        assert workers
        if self.position.step == 1:
            for name in ("TERM", "INT"):  # from elsewhere: they heed this process
                subprocess.run(["kill", f"-{name}", *(str(worker.pid) for worker in workers)], check=True)
            os.kill(os.getpid(), signal.SIGTERM)
            for worker in workers:
                worker.join(1.0)
                assert worker.is_alive()
        return step(self, parts)

    monkeypatch.setattr(Trainer, "step", step_and_signal)
    with pytest.raises(Stopped, match="after step 2 of 6 of epoch 1"):
        train(wanted)


def test_a_second_signal_is_followed_at_once() -> None:
    with StopRequests() as requests:
        requests.patient = True
        signal.raise_signal(signal.SIGTERM)
        assert requests.signal == signal.SIGTERM
        with pytest.raises(SystemExit) as caught:
            signal.raise_signal(signal.SIGHUP)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert caught.value.code == 128 + signal.SIGHUP


def test_the_command_returns_the_code_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import argparse

    def stop(*_args: object, **_options: object) -> None:
        raise Stopped(signal.SIGTERM, "stopped after step 2")

    monkeypatch.setattr(loop, "train", stop)
    parser = argparse.ArgumentParser()
    train_command.add_arguments(parser)
    path = Path(__file__).resolve().parents[2] / "configs" / "jhmdb21" / "tiny.yaml"
    assert train_command.run(parser.parse_args([str(path)])) == 143
    assert capsys.readouterr().err == "avadet: stopped after step 2\n"


@contextmanager
def small_disk() -> Iterator[None]:
    """No file may grow beyond a megabyte; not even that in which the test runner's own words may go."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    write_state(path, {"config": "", "values": torch.arange(10)})
    said = r"cannot write a checkpoint to .* MB are free: .*last\.pt is kept as it was"
    with small_disk(), pytest.raises(AvadetError, match=said):
        write_state(path, {"config": "", "values": torch.zeros(1_000_000)})
    assert torch.equal(torch.load(path, weights_only=True)["values"], torch.arange(10))
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]


def test_a_run_on_a_full_disk_goes_on_from_its_last_checkpoint(
    straight: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, count = killed_config(tmp_path / "full"), 0

    def full_at_the_fourth(path: Path, state: dict) -> None:
        nonlocal count
        count += 1
        if count == 4:
            raise AvadetError("cannot write a checkpoint")
        write_state(path, state)

    with monkeypatch.context() as patch, pytest.raises(AvadetError, match="cannot write a checkpoint"):
        patch.setattr(loop, "write_state", full_at_the_fourth)
        train(wanted)
    assert_equal_runs(straight, train(wanted, resume=True))


def test_a_loss_that_is_no_number_stops_before_weights_change(
    squares: RunData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = killed_config(tmp_path / "nan")  # a BatchNorm would spread it over the batch
    alone = {"train": frozen.train.model_copy(update={"batch_norm": "frozen"})}  # as would mixup
    alone["loss"] = frozen.loss.model_copy(update={"mixup_alpha": 0.0})
    wanted = frozen.model_copy(update=alone)
    step, poisoned_clip = Trainer.step, []

    def poisoned(self: Trainer, parts: list) -> torch.Tensor:
        if self.position.epoch == 1 and self.position.step == 2:
            clips = parts[0].clips.float() / 255
            clips[2] = float("nan")
            poisoned_clip.extend(self.names(parts[0].keyframes[2:3].numpy()))
            parts = [replace(parts[0], clips=clips)]
        return step(self, parts)

    with monkeypatch.context() as patch, pytest.raises(AvadetError) as caught:
        patch.setattr(Trainer, "step", poisoned)
        train(wanted)
    said = str(caught.value)
    assert "in step 3 of epoch 2, on " in said and "the last checkpoint is good" in said
    state = torch.load(RunFolder(tmp_path / "nan").checkpoint, weights_only=True)
    assert state["position"]["epoch"] == 1 and state["position"]["step"] == 2
    assert all(torch.isfinite(value).all() for value in state["model"].values())
    assert said.split(", on ")[1].split(";")[0] == poisoned_clip[0]


def test_a_gradient_that_is_no_number_names_the_batch(
    squares: RunData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from avadet.training import trainer

    def infinite(parameters: object, _limit: float) -> torch.Tensor:
        return torch.tensor(float("inf"))

    monkeypatch.setattr(trainer, "clip_grad_norm_", infinite)
    with pytest.raises(
        AvadetError, match=r"the gradient's norm inf in step 1 of epoch 1, on (\w+/\d+@[\d.]+, ){3}\w+/\d+@[\d.]+; "
    ):
        train(killed_config(tmp_path / "inf"))
    assert not RunFolder(tmp_path / "inf").checkpoint.exists()


def test_what_a_checkpoint_holds(straight: RunFolder) -> None:
    state = torch.load(straight.checkpoint, weights_only=True)
    assert state["position"]["epoch"] == EPOCHS and state["position"]["step"] == 0
    assert "seed: 0" in state["settings"] and state["labels"]["names"] == ("left", "right", "still")
    best = torch.load(straight.best, weights_only=True)
    assert best["best"] == state["best"] and best["position"]["epoch"] == best["best"]["epoch"]
    scored = {line["epoch"]: line["frame_map"] for line in straight.metrics() if "frame_map" in line}
    assert state["best"]["frame_map"] == max(scored.values()) == scored[state["best"]["epoch"]]


@pytest.mark.usefixtures("squares")
def test_the_best_weights_become_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three evaluations the second one is the best."""
    from avadet.models.checkpoints.torch_file import read_safetensors
    from avadet.training.scoring import Outcome

    given = iter([10.0, 30.0, 20.0])

    def score(_data: object, *_rest: object) -> object:
        return lambda _model, _progress: Outcome({"frame_map": next(given)}, "table\n")

    monkeypatch.setattr(setup, "build_score", score)
    wanted = killed_config(tmp_path / "best")
    cfg = wanted.evaluate.model_copy(update={"every_epochs": 1, "keep": "best"})
    folder = train(wanted.model_copy(update={"evaluate": cfg}))
    state = torch.load(folder.best, weights_only=True)
    assert state["best"] == {"epoch": 2, "frame_map": 30.0}
    kept = read_safetensors(folder.model)
    assert all(torch.equal(value, kept[name]) for name, value in state["average"]["model"].items())
    assert json.loads(folder.model.with_suffix(".json").read_text())["numbers"]["frame_map"] == 30.0


def test_times_of_a_step_add_up(straight: RunFolder) -> None:
    lines = [json.loads(line) for line in (straight.path / "steps.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, EPOCHS * STEPS + 1))
    assert lines[-1]["left_seconds"] == 0 and all(0 <= line["data_seconds"] < line["step_seconds"] for line in lines)
    assert lines[-1]["lr"] < lines[2]["lr"]
    assert time.time() - straight.curves.stat().st_mtime < 600
    assert (straight.path / "environment.txt").read_text().count("torch==") == 1
