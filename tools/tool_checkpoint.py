"""The checkpoint of a tool's own training loop: all that it needs to go on as if nothing had happened, in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from avadet.training.checkpoint import read_state, write_state
from avadet.training.optim import WeightAverage


def save_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: WeightAverage[Any], epoch: int, config: str
) -> None:
    """Write a checkpoint.

    The learning rate follows from the epoch and every sample from (seed, epoch, index), so besides weights and
    optimizer only torch's own generators (dropout) have a state.

    Args:
        path: where to.
        model: the weights being trained.
        optimizer: with its moments.
        average: the running average of the weights.
        epoch: epochs done; training goes on at the first batch of this one.
        config: the values that decide the run, one a line; `load_checkpoint` compares them.
    """
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": average.state_dict(),
        "epoch": epoch,
        "config": config,
        "rng": {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()},
    }
    write_state(path, state)


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: WeightAverage[Any], config: str
) -> int:
    """Read a checkpoint into the three and into torch's generators.

    Returns:
        epochs done.

    Raises:
        AvadetError: if the file is missing, damaged, or of another config.
    """
    state = read_state(path, config)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    average.load_state_dict(state["average"])
    torch.set_rng_state(state["rng"]["cpu"])
    if len(state["rng"]["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["rng"]["cuda"])
    return int(state["epoch"])
