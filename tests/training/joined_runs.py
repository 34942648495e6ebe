"""Runs on the staged squares by several processes, each started from a warm server."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from staged_squares import config, use_squares

from avadet.config import Config
from avadet.errors import AvadetError
from avadet.partials import partial_of
from avadet.training import loop
from avadet.training.trainer import Trainer

TOLD = 3
"""Exit code of a process that met an AvadetError and wrote it to the run folder."""


def joined_config(run_dir: Path, accumulate: int = 1, **train_knobs: object) -> Config:
    """What two processes can do as one: no draw of torch's, and BatchNorms that do not look at batches."""
    return config(
        run_dir,
        data={"batch_size": 4},
        model={"dropout": 0.0},
        loss={"mixup_alpha": 0.0, "class_balance": 0.9},
        optim={"name": "sgd", "lr": 0.05, "grad_clip": 1.0},
        train={"threads": 1, "batch_norm": "frozen", "accumulate": accumulate, "ema_decay": 0.9, **train_knobs},
        evaluate={"frame_step": 4, "every_epochs": 1},
    )


def transformer_config(run_dir: Path, dropout: float = 0.0, optimizer: str = "sgd", **train_knobs: object) -> Config:
    """The same with a transformer of three blocks, with sizes that two processes cannot halve."""
    plain = joined_config(run_dir, **{"batch_norm": "plain", **train_knobs})
    sizes = {"embed_dim": 15, "depth": 3, "heads": 3, "mlp_ratio": 2.2, "tubelet": [2, 8, 8], "grid": [2, 6, 8]}
    model = {"family": "videomae", "arguments": sizes, "dropout": dropout}
    optim = {**plain.optim.model_dump(), "name": optimizer, "lr": 0.05 if optimizer == "sgd" else 0.01}
    return Config.model_validate({**plain.model_dump(), "model": model, "optim": optim})


def together(*wanted: Config, resume: Sequence[Config] = (), mishap: str = "", count: int = 2) -> list[int | None]:
    """Train runs one after the other by several processes; returns their exit codes, in order of ranks.

    Args:
        wanted: runs to start.
        resume: runs to go on with afterwards.
        mishap: "kill" = the first process dies in writing the third checkpoint; "nan" = from the second epoch on the
            second one's clips are no numbers.
        count: of processes.
    """
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["joined_runs"])
    runs = [*((_free_port(), one, False) for one in wanted), *((_free_port(), one, True) for one in resume)]
    everybody = [server.Process(target=_train, args=(rank, count, runs, mishap)) for rank in range(count)]
    for process in everybody:
        process.start()
    while any(process.is_alive() for process in everybody):
        for process in everybody:
            process.join(0.2)
        if any(process.exitcode not in (None, 0, TOLD) for process in everybody):
            for process in everybody:  # as torchrun does
                process.kill()
    return [process.exitcode for process in everybody]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _train(rank: int, count: int, runs: Sequence[tuple[int, Config, bool]], mishap: str) -> None:
    """Train as one of `count` processes, as torchrun would start it."""
    own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1"}
    os.environ |= own
    with pytest.MonkeyPatch.context() as patch:
        use_squares(patch)
        if mishap == "kill":
            _kill_in_third_checkpoint(patch)
        if mishap == "nan" and rank == 1:
            _spoil_second_epoch(patch)
        for port, wanted, resume in runs:
            os.environ["MASTER_PORT"] = str(port)  # each its own: one who is early would join the run before
            try:
                loop.train(wanted, resume=resume)
            except AvadetError as error:
                (wanted.run_dir / f"error{rank}.txt").write_text(str(error))
                os._exit(TOLD)


def _kill_in_third_checkpoint(patch: pytest.MonkeyPatch) -> None:
    write, count = loop.write_state, 0

    def write_twice(path: Path, state: dict[str, Any]) -> None:
        nonlocal count
        count += 1
        if count == 3:
            partial_of(path).write_bytes(b"half of it")
            os.kill(os.getpid(), signal.SIGKILL)
        write(path, state)

    patch.setattr(loop, "write_state", write_twice)


def _spoil_second_epoch(patch: pytest.MonkeyPatch) -> None:
    step = Trainer.step

    def spoiled(self: Trainer, parts: list) -> torch.Tensor:
        if self.position.epoch == 1:
            parts = [replace(part, clips=part.clips.float() * float("nan")) for part in parts]
        return step(self, parts)

    patch.setattr(Trainer, "step", spoiled)
