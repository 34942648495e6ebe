"""The run folder: what was run, with what, and how it went."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

from avadet.errors import AvadetError
from avadet.files import append_line, whole_file

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


def installed_packages() -> str:
    """Every package of this environment, `name==version`, one a line, sorted."""
    found = {f"{one.metadata['Name']}=={one.version}" for one in distributions()}
    return "".join(f"{line}\n" for line in sorted(found, key=str.lower))


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


class RunFolder:
    """The folder of one training run.

    Attributes:
        path: the folder.
        checkpoint: where the latest state lies.
        best: where the state after the best evaluation lies.
        model: where the trained model goes.
        bank: where the model goes whose feature banks it reads, if any.
        curves: where the picture of the learning curves goes.
        tensorboard: where TensorBoard's files go.
    """

    def __init__(self, path: Path) -> None:
        """Name the folder; `start` or `resume` makes it."""
        self.path = path
        self.checkpoint = path / "last.pt"
        self.best = path / "best.pt"
        self.model = path / "model.safetensors"
        self.bank = path / "bank.safetensors"
        self.curves = path / "curves.png"
        self.tensorboard = path / "tensorboard"
        self._metrics = path / "metrics.jsonl"
        self._steps = path / "steps.jsonl"

    def start(self, config: str) -> None:
        """Write the resolved config and the facts of the machine; begin the metrics anew."""
        self._steps.unlink(missing_ok=True)
        self._write("config.yaml", config)
        self._write("environment.txt", installed_packages())
        self._note({"command": sys.argv, **describe_machine()})
        self._write("metrics.jsonl", "")

    def resume(self, epochs_done: int, steps_done: int = 0) -> dict[str, float]:
        """Drop the metrics of epochs and steps behind the checkpoint; returns those of the last epoch before it.

        `run.json` gets another item of `resumed`: from where, by which command, on what machine.
        """
        notes = self._notes()
        place = {"epochs_done": epochs_done, "steps_done": steps_done}
        again = {**place, "command": sys.argv, **describe_machine()}
        self._note({**notes, "resumed": [*notes.get("resumed", []), again]})
        if self._steps.is_file():
            kept = [line for line in _lines(self._steps) if json.loads(line)["step"] <= steps_done]
            self._write("steps.jsonl", "".join(f"{line}\n" for line in kept))
        lines = [line for line in _lines(self._metrics) if json.loads(line).get("epoch", 0) <= epochs_done]
        self._write("metrics.jsonl", "".join(f"{line}\n" for line in lines))
        return dict(json.loads(lines[-1])) if lines else {}

    def metrics(self) -> list[dict[str, float]]:
        """What was logged of each epoch."""
        return [json.loads(line) for line in _lines(self._metrics)]

    def write_results(self, table: str) -> None:
        """Write the final table."""
        self._write("results.txt", table)

    def log_step(self, metrics: Metrics) -> None:
        """Append one line to the file of steps."""
        append_line(self._steps, json.dumps(dict(metrics)))

    def log(self, metrics: Metrics) -> None:
        """Append one line of metrics."""
        append_line(self._metrics, json.dumps(dict(metrics)))

    def _notes(self) -> dict[str, Any]:
        """What `run.json` says; {} if there is none, or nothing that can be read."""
        try:
            notes = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return notes if isinstance(notes, dict) else {}

    def _note(self, notes: Mapping[str, Any]) -> None:
        self._write("run.json", json.dumps(notes, indent=2) + "\n")

    def _write(self, name: str, text: str) -> None:
        with whole_file(self.path / name) as partial:
            partial.write_text(text, encoding="utf-8")


def _lines(path: Path) -> list[str]:
    """The whole lines of a file of JSON lines; a killed run may have left half of one."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return text.splitlines()[: text.count("\n")]


class StepLog:
    """Says how training goes between epochs: JSON lines, a line for the user, TensorBoard."""

    def __init__(
        self, folder: RunFolder, say: Callable[[str], None], every: int, total: int, tensorboard: bool, done: int = 0
    ) -> None:
        """Set up.

        Args:
            folder: of the run.
            say: takes lines for the user.
            every: steps between two lines; 0 = none.
            total: steps of the run.
            tensorboard: whether to write its files.
            done: steps of the run that were done before; TensorBoard hides what it was told of later ones.

        Raises:
            AvadetError: if TensorBoard is asked for and not installed.
        """
        self._folder, self._say, self._every, self._total = folder, say, every, total
        self._writer = tensorboard_writer()(folder.tensorboard, purge_step=done + 1) if tensorboard else None
        self._done = 0
        self._seconds = 0.0
        self._data_seconds = 0.0

    def step(self, number: int, epoch: float, metrics: dict[str, float], seconds: float, data_seconds: float) -> None:
        """Take in a step.

        Args:
            number: of the step, from 1.
            epoch: where it ends, epochs in fractions.
            metrics: loss and so on.
            seconds: that it took.
            data_seconds: of these, waiting for its batch.
        """
        self._done += 1
        self._seconds += seconds
        self._data_seconds += data_seconds
        if not self._every or number % self._every:
            return
        pace, wait = self._seconds / self._done, self._data_seconds / self._done
        left = (self._total - number) * pace
        times = {"step_seconds": round(pace, 4), "data_seconds": round(wait, 4), "left_seconds": round(left)}
        self._folder.log_step({"step": number, "epoch": round(epoch, 4), **metrics, **times})
        values = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        self._say(
            f"step {number}/{self._total}  {values}  {pace:.3g} s per step, {wait:.2g} s of it waiting for data, "
            f"{duration(left)} left"
        )
        self.numbers(number, {**metrics, **times})

    def numbers(self, step: int, metrics: Metrics) -> None:
        """Show numbers in TensorBoard, if it is on."""
        if self._writer is None:
            return
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """End TensorBoard's thread, if it is on."""
        if self._writer is not None:
            self._writer.close()


def tensorboard_writer() -> Any:
    """The class that writes TensorBoard's files.

    Raises:
        AvadetError: if TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise AvadetError("train.tensorboard needs TensorBoard: pip install 'avadet[tensorboard]'") from error
    return SummaryWriter
