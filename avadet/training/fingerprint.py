"""What of a config decides a run's weights: its fingerprint, by which a checkpoint knows whether a run may resume it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avadet.config import Config

_NO_MATTER = {"threads", "shard", "save_every", "log_every", "tensorboard"}


def portable_values(config: Config) -> dict[str, Any]:
    """The config as plain values without what holds on one machine only: folders, device, processes, threads, logs.

    Initial weights and boxes are named by their file's name.
    """
    machine: Any = {"device": True, "run_dir": True, "data": {"root", "cache", "workers"}, "train": _NO_MATTER}
    machine |= {"bank": {"folder"}}
    values = config.model_dump(mode="json", exclude=machine)
    if config.data.spec is not None:
        values["data"]["spec"] = Path(config.data.spec).name
    if config.model.init is not None:
        values["model"]["init"] = config.model.init.name
    if config.bank is None:
        del values["bank"]
    else:
        values["bank"]["model"] = config.bank.model.name
    if config.evaluate.boxes is not None:
        values["evaluate"]["boxes"] = config.evaluate.boxes.name
    return values


def resume_fingerprint(config: Config) -> str:
    """Every value that decides what weights come out, one `section.key=value` a line.

    A run may be resumed on another machine, and scored otherwise, but with these values only.
    """
    lines = []
    for name, section in portable_values(config).items():
        leaves = section.items() if isinstance(section, dict) else [("", section)]
        lines += [f"{name}.{key}={value}".replace(".=", "=", 1) for key, value in leaves if key != "split_eval"]
    return "\n".join(line for line in lines if not line.startswith("evaluate."))
