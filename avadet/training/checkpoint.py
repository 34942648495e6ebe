"""Everything a training run needs to go on as if nothing had happened, in one file, written whole."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import torch

from avadet.errors import AvadetError
from avadet.files import whole_file


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
