"""Runs on the staged squares by several processes, each started from a warm server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from staged_squares import config, use_squares

from avadet.config import Config
from avadet.training.loop import train


def joined_config(run_dir: Path, accumulate: int = 1, **train_knobs: object) -> Config:
    """What two processes can do as one: no draw of torch's, and BatchNorms that do not look at batches."""
    return config(
        run_dir,
        data={"root": "nowhere", "batch_size": 4},
        model={"dropout": 0.0},
        loss={"mixup_alpha": 0.0, "class_balance": 0.9},
        optim={"name": "sgd", "lr": 0.05, "grad_clip": 1.0},
        train={"threads": 1, "batch_norm": "frozen", "accumulate": accumulate, "ema_decay": 0.9, **train_knobs},
        evaluate={"frame_step": 4, "every_epochs": 1},
    )


def run_as(rank: int, count: int, port: int, run_dir: str) -> None:
    """Train as one of `count` processes, as torchrun would start it."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    with pytest.MonkeyPatch.context() as patch:
        use_squares(patch)
        train(joined_config(Path(run_dir)))
