"""What the trainings of both streams share: learning rate, running average, checkpoints, log."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from tool_checkpoint import load_checkpoint, save_checkpoint
from torch import Tensor, nn

from avadet.models.checkpoints.torch_file import read_safetensors
from avadet.models.checkpoints.weights import save_model
from avadet.training.logs import RunFolder
from avadet.training.optim import WeightAverage, build_optimizer, lr_factor, set_lr
from tiny_actions.persons import Report

Net = TypeVar("Net", bound=nn.Module)
WEIGHT_DECAY = 0.05
GRAD_CLIP = 5.0
FINAL_FACTOR = 0.02
AVERAGE_DECAY = 0.998


class Loop(Generic[Net]):
    """One training: the net, its optimizer, its running average, and the folder it writes to.

    The folder holds `metrics.jsonl`, the checkpoint `last.pt` and in the end `model.safetensors`, the average.
    """

    def __init__(
        self,
        net: Net,
        rates: Mapping[str, float],
        folder: Path,
        settings: Mapping[str, Any],
        warmup: int,
        every: int,
        decay: float = AVERAGE_DECAY,
    ) -> None:
        """Set it up.

        Args:
            net: whose parameters that require gradients are learnt.
            rates: learning rate by the beginning of a parameter's name; the longest beginning that fits counts.
            folder: made if missing.
            settings: what decides the run, `steps` among it; a checkpoint of another run is refused.
            warmup: steps over which the learning rate rises.
            every: steps between lines of the log.
            decay: of the running average.
        """
        self.net, self.folder, self.settings = net, RunFolder(folder), dict(settings)
        self.steps, self._warmup, self._every = int(settings["steps"]), warmup, every
        groups: dict[float, list[nn.Parameter]] = {rate: [] for rate in rates.values()}
        for name, parameter in net.named_parameters():
            if parameter.requires_grad:
                groups[rates[max((start for start in rates if name.startswith(start)), key=len)]].append(parameter)
        self.optimizer = build_optimizer(
            "adamw",
            [
                {"params": members, "lr": rate, "peak_lr": rate, "weight_decay": WEIGHT_DECAY}
                for rate, members in groups.items()
                if members
            ],
            momentum=0.0,
        )
        self._decay = decay
        self.average = WeightAverage(net, decay)
        self._sums: dict[str, float] = {}
        self._began = time.monotonic()

    def begin(self, resume: bool) -> int:
        """Start the folder anew, or go on from its checkpoint; the number of steps already done."""
        text = "".join(f"{name}: {json.dumps(value)}\n" for name, value in sorted(self.settings.items()))
        self._text = text
        if not resume:
            self.folder.start(text)
            return 0
        done = load_checkpoint(self.folder.checkpoint, self.net, self.optimizer, self.average, text)
        self.folder.resume(done)
        return done

    def learn(self, step: int, loss: Tensor, parts: Mapping[str, float], report: Report) -> None:
        """Take one step down the gradient of `loss`; `parts` go to the log."""
        set_lr(self.optimizer, rate_factor(step, self.steps, self._warmup))
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net.parameters(), GRAD_CLIP)
        self.optimizer.step()
        self.average.decay = min(self._decay, (step + 1) / (step + 20))
        self.average.update(self.net)
        for name, value in parts.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        if (step + 1) % self._every == 0:
            means = {name: round(value / self._every, 4) for name, value in self._sums.items()}
            self._sums.clear()
            self.log({"epoch": step + 1, **means, "seconds": round(time.monotonic() - self._began)}, report)

    def log(self, metrics: Mapping[str, float | int | str], report: Report) -> None:
        """Write one line of the log, and say it."""
        self.folder.log(metrics)
        report(" ".join(f"{'step' if name == 'epoch' else name} {value}" for name, value in metrics.items()))

    def save(self, step: int) -> None:
        """Write the checkpoint, whole or not at all."""
        save_checkpoint(self.folder.checkpoint, self.net, self.optimizer, self.average, step, self._text)

    def finish(self) -> Net:
        """Write the average as `model.safetensors` and give it."""
        net: Net = self.average.model
        save_model(self.folder.model, net, {"settings": self.settings})
        return net


def rate_factor(step: int, steps: int, warmup: int) -> float:
    """What the learning rates are multiplied by: half a cosine from 1 to 0.02, times a rise over the first steps."""
    cosine = lr_factor(step, epochs=steps, kind="cosine", final_factor=FINAL_FACTOR)
    return min(1.0, (step + 1) / warmup) * cosine


def load_finished(net: nn.Module, folder: Path) -> None:
    """Fill a net from the `model.safetensors` of a finished run."""
    net.load_state_dict(read_safetensors(RunFolder(folder).model))
