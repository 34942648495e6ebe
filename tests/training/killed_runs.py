"""Runs on the staged squares for tests that kill them: in processes of their own, started from a warm server."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from staged_squares import config, use_squares

from avadet.config import Config
from avadet.training import loop

STEPS = 3
EPOCHS = 3


def killed_config(run_dir: Path, epochs: int = EPOCHS) -> Config:
    """Epochs of three steps, a checkpoint after each, with dropout, momenta, mixup and an average."""
    return config(
        run_dir,
        data={"batch_size": 4},
        model={"dropout": 0.5},
        schedule={"epochs": epochs},
        train={"threads": 1, "save_every": 1, "log_every": 1, "ema_decay": 0.9},
        evaluate={"frame_step": 4, "every_epochs": 2},
    )


def run_until_killed(run_dir: str, epochs: int, resume: bool, after_s: float) -> None:
    """Train in a process that kills itself without a word `after_s` seconds after its first checkpoint begins."""
    os.setsid()
    write = loop.write_state

    def write_and_count_down(path: Path, state: dict) -> None:
        threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGKILL)).start()
        write(path, state)

    with pytest.MonkeyPatch.context() as patch:
        use_squares(patch)
        patch.setattr(loop, "write_state", write_and_count_down)
        loop.train(killed_config(Path(run_dir), epochs), resume=resume)
    os._exit(0)
