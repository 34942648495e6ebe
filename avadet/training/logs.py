"""The run folder: what was run, with what, and how it went."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from avadet.files import whole_file

_PACKAGES = ("avadet", "torch", "torchvision", "numpy", "opencv-python", "av")

Metrics = Mapping[str, float | int | str]


def git_commit(folder: Path) -> str:
    """Commit of the checkout that holds `folder`, with "+changes" if files differ from it; "" outside of git."""
    try:
        commit, status = (
            subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit + ("+changes" if status else "")


def describe_machine() -> dict[str, str]:
    """Versions of Python and of what numbers depend on, processor or GPU, commit."""
    import torch

    facts = {"python": platform.python_version(), "machine": platform.machine()}
    for package in _PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "absent"
    facts["gpu"] = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
    facts["commit"] = git_commit(Path(__file__).parent)
    return facts


class RunFolder:
    """The folder of one training run.

    Attributes:
        path: the folder.
        checkpoint: where the state after the last whole epoch lies.
        model: where the trained model goes.
    """

    def __init__(self, path: Path) -> None:
        """Name the folder; `start` or `resume` makes it."""
        self.path = path
        self.checkpoint = path / "last.pt"
        self.model = path / "model.safetensors"
        self._metrics = path / "metrics.jsonl"

    def start(self, config: str) -> None:
        """Write the resolved config and the facts of the machine; begin the metrics anew."""
        self._write("config.yaml", config)
        self._write("run.json", json.dumps({"command": sys.argv, **describe_machine()}, indent=2) + "\n")
        self._write("metrics.jsonl", "")

    def resume(self, epochs_done: int) -> dict[str, float]:
        """Drop the metrics of epochs that were begun and never finished; returns those of the last finished one."""
        lines = self._metrics.read_text(encoding="utf-8").splitlines() if self._metrics.is_file() else []
        kept = [line for line in lines if json.loads(line).get("epoch", 0) <= epochs_done]
        self._write("metrics.jsonl", "".join(f"{line}\n" for line in kept))
        return dict(json.loads(kept[-1])) if kept else {}

    def log(self, metrics: Metrics) -> None:
        """Append one line of metrics."""
        with self._metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(metrics)) + "\n")

    def _write(self, name: str, text: str) -> None:
        with whole_file(self.path / name) as partial:
            partial.write_text(text, encoding="utf-8")
