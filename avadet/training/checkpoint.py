"""Everything a training run needs to go on as if nothing had happened, in one file, written whole."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from avadet.errors import AvadetError
from avadet.files import whole_file
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


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values such that `path` holds either all of them or what it held before.

    Raises:
        AvadetError: if they cannot be written, the disk being full, say.
    """
    with whole_file(path) as partial:
        try:
            torch.save(state, partial)
        except (OSError, RuntimeError) as error:  # torch's writer raises RuntimeError for a full disk
            free = shutil.disk_usage(path.parent).free / 1e6
            kept = f"{path} is kept as it was" if path.exists() else "there is none yet"
            reason = getattr(error, "strerror", None) or "it is not all written"
            raise AvadetError(
                f"cannot write a checkpoint to {path.parent}, where {free:.0f} MB are free: {reason}; {kept}; "
                "free some space and continue with --resume"
            ) from error


def read_state(path: Path, config: str) -> dict[str, Any]:
    """Read what `write_state` wrote; never runs code from the file.

    Args:
        path: the file.
        config: must equal the state's "config".

    Raises:
        AvadetError: if the file is missing, damaged, or of another config.
    """
    if not path.is_file():
        raise AvadetError(f"nothing to resume: {path} is missing; start without --resume")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise AvadetError(f"{path} is damaged or no checkpoint: {str(error).splitlines()[0]}") from error
    if not (isinstance(state, dict) and isinstance(state.get("config"), str)):
        raise AvadetError(f"{path} is no checkpoint of a training by avadet; start from its weights: model.init={path}")
    if state["config"] != config:
        changed = sorted(set(config.splitlines()) ^ set(state["config"].splitlines()))
        raise AvadetError(f"{path} was trained with another config ({'; '.join(changed)}); use another run_dir")
    return state
