"""Processes that make batches: killed, failing, or left by their run; it ends in one line and nothing stays behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import squares_command
import staged_squares
import torch
from staged_squares import config, use_squares

from avadet.annotations.splits import DataVideo
from avadet.config import Config
from avadet.data.frame_cache import CachedVideo
from avadet.data.workers import with_signal
from avadet.errors import AvadetError
from avadet.failures import explain
from avadet.schema import dump_config
from avadet.training.loop import train
from avadet.training.trainer import Trainer


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """Whatever a test does, no process is left."""
    yield
    assert multiprocessing.active_children() == []


@pytest.fixture
def squares(monkeypatch: pytest.MonkeyPatch) -> None:
    use_squares(monkeypatch)


def two_workers(run_dir: Path) -> Config:
    return config(run_dir, data={"batch_size": 2, "workers": 2}, train={"log_every": 1}, schedule={"epochs": 1000})


@pytest.mark.usefixtures("squares")
def test_a_worker_that_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Trainer.step

    def kill_and_step(self: Trainer, parts: list) -> torch.Tensor:
        if self.position.step == 1:
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
        return step(self, parts)

    monkeypatch.setattr(Trainer, "step", kill_and_step)
    with pytest.raises(AvadetError, match=r"was killed \(Killed\); .*data\.batch_size.* fewer data\.workers"):
        train(two_workers(tmp_path))


def test_the_signal_is_named_where_torch_notices_the_end_first() -> None:
    ended = RuntimeError("DataLoader worker (pid(s) 5) exited unexpectedly")
    worker = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
    worker.start()
    os.kill(worker.pid, signal.SIGKILL)
    found = explain(with_signal(ended, [worker]))
    assert found is not None and str(found).startswith("a worker process that makes batches was killed (Killed); ")
    assert with_signal(ended, []) is ended
    other = RuntimeError("out of memory")
    assert with_signal(other, [worker]) is other


@pytest.mark.usefixtures("squares")
@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (ZeroDivisionError("a bug"), ZeroDivisionError, "a bug"),
        (KeyboardInterrupt("^C"), KeyboardInterrupt, "C"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."), AvadetError, "recompute=true"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            AvadetError,
            "train.accumulate",
        ),
    ],
)
def test_an_error_in_a_step_ends_the_workers(
    error: BaseException, kind: type, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Trainer, parts: list) -> torch.Tensor:
        assert len(multiprocessing.active_children()) == 2
        raise error

    monkeypatch.setattr(Trainer, "step", fail)
    with pytest.raises(kind, match=said):
        train(two_workers(tmp_path))
    assert multiprocessing.active_children() == []  # though the traceback is still held


@pytest.mark.usefixtures("squares")
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            AvadetError("video 3 is damaged: fetch it again"),
            r"^video \w+/\d+: video 3 is damaged: fetch it again \(data\.on_error=skip .*\)$",
        ),
        (ValueError("not\nthis"), r"^a worker process that makes batches failed: ValueError: not this; --debug shows "),
        (MemoryError("Unable to allocate 127. MiB for an array"), r"^out of memory \(127 MiB more were asked for\); "),
    ],
)
def test_an_error_in_a_worker_is_one_line(
    error: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint = staged_squares.painted

    def fail(video: DataVideo) -> CachedVideo:
        if multiprocessing.parent_process() is not None:
            raise error
        return paint(video)

    monkeypatch.setattr(staged_squares, "painted", fail)
    with pytest.raises(AvadetError, match=said):
        train(two_workers(tmp_path))


@pytest.mark.parametrize(
    ("whom", "number", "code", "said"),
    [
        ("worker", signal.SIGKILL, 1, "avadet: error: a worker process that makes batches was killed (Killed); "),
        ("group", signal.SIGHUP, 129, "avadet: stopped after step "),
        pytest.param("run", signal.SIGKILL, -signal.SIGKILL, "", marks=pytest.mark.slow),
    ],
)
def test_the_command_ends_at_once_and_so_do_its_workers(
    whom: str, number: int, code: int, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "squares.yaml"
    path.write_text(dump_config(two_workers(tmp_path / "run")))
    command = [sys.executable, squares_command.__file__, str(path), "--quiet"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        next(line for line in run.stdout if line.startswith("step 3/"))
        workers = psutil.Process(run.pid).children(recursive=True)
        assert len(workers) == 2
        began_s = time.monotonic()
        if whom == "group":
            os.killpg(run.pid, number)
        else:
            os.kill(workers[0].pid if whom == "worker" else run.pid, number)
        err = run.communicate(timeout=60)[1]
        assert run.returncode == code, err
        assert psutil.wait_procs(workers, timeout=20)[1] == []
        assert time.monotonic() - began_s < 20
    assert not said or (err.startswith(said) and err.count("\n") == 1)
    assert not list((tmp_path / "run").glob(".*"))
