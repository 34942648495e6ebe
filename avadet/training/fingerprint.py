"""What of a config decides the weights of a run: by this fingerprint a checkpoint knows whether a run may resume it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avadet.config import Config

_MACHINE = {"root", "cache", "workers", "on_error", "max_skipped"}
_NO_MATTER = {"threads", "shard", "save_every", "log_every", "tensorboard"}


def portable_values(config: Config) -> dict[str, Any]:
    """The config as plain values without what holds on one machine only: folders, device, processes, threads, logs.

    Nor what an unreadable clip means: a run that stopped at one may go on without it.

    Initial weights are named by their file's name.
    """
    machine: Any = {"device": True, "run_dir": True, "data": _MACHINE, "train": _NO_MATTER}
    machine |= {"bank": {"folder"}}
    values = config.model_dump(mode="json", exclude=machine)
    values["data"]["spec"] = Path(config.data.spec).name
    if config.model.init is not None:
        values["model"]["init"] = config.model.init.name
    if config.bank is None:
        del values["bank"]
    else:
        values["bank"]["model"] = config.bank.model.name
    return values


def resume_fingerprint(config: Config) -> str:
    """Every value that decides what weights come out, one `section.key=value` a line.

    A run may be resumed on another machine, and scored otherwise, but with these values only.
    """
    lines = []
    for name, section in portable_values(config).items():
        leaves = section.items() if isinstance(section, dict) else [("", section)]
        lines += [f"{name}.{key}={value}".replace(".=", "=", 1) for key, value in leaves]
    return "\n".join(line for line in lines if not line.startswith("evaluate."))
