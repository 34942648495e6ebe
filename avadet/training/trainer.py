"""One step, readable in a minute, and the state that makes a run of them go on as if nothing had happened."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from avadet.config import Config
from avadet.data.batching import ClipBatch
from avadet.errors import AvadetError
from avadet.models.detectors.two_stage import ActionModel
from avadet.training.distributed import Processes
from avadet.training.exchange import Views, exchange
from avadet.training.feed import Feed, Share
from avadet.training.losses import ActionLoss, mixup
from avadet.training.norms import freeze_norms
from avadet.training.optim import WeightAverage, lr_factor, set_lr
from avadet.training.sharding import gathered, load_optimizer, load_weights, whole
from avadet.types import IntArray

AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
"""What each precision runs the forward pass in."""

_NAMED = 8  # samples that an error lists at most
_LEAST_SCALE = 1.0


@dataclass
class Position:
    """Where in a run one is.

    Attributes:
        epoch: epochs done.
        step: steps of the next one done.
        sums: float32 (2,): of loss and gradient norm over those steps.
        seconds: that those steps took.
        data_seconds: that were spent waiting for batches.
    """

    epoch: int = 0
    step: int = 0
    sums: Tensor = field(default_factory=lambda: torch.zeros(2))
    seconds: float = 0.0
    data_seconds: float = 0.0

    def means(self) -> dict[str, float]:
        """What is reported of the epoch so far."""
        loss, norm = (self.sums / max(1, self.step)).tolist()
        seconds, data_seconds = round(self.seconds, 1), round(self.data_seconds, 1)
        return {"loss": round(loss, 5), "grad_norm": round(norm, 4), "seconds": seconds, "data_seconds": data_seconds}


@dataclass
class Trainer:
    """Everything that changes while training, and what it needs to.

    Attributes:
        config: the run.
        processes: who takes part.
        device: where the model is.
        model: the weights being trained.
        views: the model, as it is called in training.
        average: the running average of its weights.
        optimizer: over the model.
        scaler: of the loss, idle unless precision is fp16.
        loss: what is minimised.
        feed: this process's batches, part by part.
        share: how a batch is divided.
        steps: of an epoch.
        names: names of keyframes by their numbers, for errors.
        position: where the run is.
        best: the best evaluation so far, {} = there was none.
    """

    config: Config
    processes: Processes
    device: torch.device
    model: ActionModel
    views: Views | DistributedDataParallel
    average: WeightAverage[ActionModel]
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    loss: ActionLoss
    feed: Feed
    share: Share
    steps: int
    names: Callable[[IntArray], list[str]]
    position: Position = field(default_factory=Position)
    best: dict[str, float] = field(default_factory=dict)

    def epoch(self) -> Iterator[Tensor]:
        """Train what is left of the present epoch; gives (2,), loss and gradient norm, after each step."""
        self.model.train()
        if self.config.train.batch_norm == "frozen":
            freeze_norms(self.model)
        position = self.position
        parts = self.feed.parts(position.epoch, position.step * self.share.parts)
        began = time.perf_counter()
        while position.step < self.steps:
            batch = list(islice(parts, self.share.parts))
            waited = time.perf_counter() - began
            outcome = self.step(batch)
            position.step += 1
            position.sums += outcome.nan_to_num(posinf=0.0)  # a step that fp16's scaler skips has no gradient
            position.data_seconds += waited
            position.seconds += time.perf_counter() - began
            began = time.perf_counter()
            yield outcome

    def step(self, parts: Sequence[ClipBatch]) -> Tensor:
        """One step of the optimizer on this process's parts of a batch; returns (2,): loss and gradient norm.

        The loss is the mean over the people of all parts of all processes, as if they were one batch.
        """
        config, place = self.config, self.position
        set_lr(self.optimizer, lr_factor(place.epoch + place.step / self.steps, **config.schedule.model_dump()))
        people = [self.loss.people(part.labels) for part in parts]
        everybody = self.processes.total(torch.tensor(float(sum(people)), device=self.device)).item()
        self.optimizer.zero_grad()
        total = torch.zeros((), device=self.device)
        logits = []
        for number, (part, count) in enumerate(zip(parts, people)):
            part = self._mixed(part.to(self.device), number)
            with exchange(self.views, is_last=number == len(parts) - 1):
                views = self._forward(part)
                loss = torch.stack([self.loss(one, part.labels) for one in views]).mean()
                loss = loss * (count * self.processes.count / max(1.0, everybody))
                torch.autograd.backward(self.scaler.scale(loss))
            total += loss.detach()
            logits.append(torch.cat([one.detach() for one in views], dim=1))
        self.scaler.unscale_(self.optimizer)
        norm = whole(clip_grad_norm_(self.model.parameters(), config.optim.grad_clip or float("inf")))
        outcome = torch.stack([self.processes.total(total) / self.processes.count, norm]).cpu()
        self._check(outcome, parts, logits)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.average.update(self.model)
        return outcome

    def _mixed(self, part: ClipBatch, number: int) -> ClipBatch:
        """The part blended with itself, if the config and a draw say so."""
        cfg, place = self.config.loss, self.position
        which = self.share.rank * self.share.parts + number
        rng = np.random.default_rng((self.config.seed, place.epoch, place.step, *([which] if which else [])))
        if cfg.mixup_alpha and rng.random() < cfg.mixup_share:
            return mixup(part, rng, cfg.mixup_alpha)
        return part

    def _forward(self, part: ClipBatch) -> list[Tensor]:
        dtype = AUTOCAST[self.config.train.precision]
        with torch.autocast(self.device.type, dtype, enabled=dtype is not None):
            views = self.views(*part.inputs())
        return [logits.float() for logits in views]

    def _check(self, outcome: Tensor, parts: Sequence[ClipBatch], logits: Sequence[Tensor]) -> None:
        """Stop before weights are spoilt; all processes come to the same conclusion.

        Raises:
            AvadetError: if the loss or a gradient is no number; names the samples.
        """
        loss, norm = outcome.tolist()
        if np.isfinite(loss) and (np.isfinite(norm) or self._scale_too_high()):
            return
        place, names = self.position, self.processes.gather(self._suspects(parts, logits))
        listed = list(dict.fromkeys(name for own in names for name in own))
        more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
        raise AvadetError(
            f"the loss is {loss:g} and the gradient's norm {norm:g} in step {place.step + 1} of epoch "
            f"{place.epoch + 1}, on {', '.join(listed[:_NAMED])}{more}; weights were not changed and the last "
            "checkpoint is good: look at these samples, or lower optim.lr or set optim.grad_clip in a new run"
        )

    def _scale_too_high(self) -> bool:
        """Whether an infinite gradient is fp16's, whose scale has still room to fall."""
        return self.scaler.is_enabled() and self.scaler.get_scale() > _LEAST_SCALE

    def _suspects(self, parts: Sequence[ClipBatch], logits: Sequence[Tensor]) -> list[str]:
        """Names of the clips of this process whose logits are no numbers; of all if there are none such."""
        found, everything = [], []
        for part, values in zip(parts, logits):
            keyframes = part.keyframes.numpy()
            wrong = (~torch.isfinite(values).all(dim=1)).cpu()
            owners = np.unique(part.rois[:, 0].cpu().long().numpy()[wrong.numpy()])
            found += self.names(keyframes[owners])
            everything += self.names(keyframes)
        return found or everything

    def state(self, config: str, facts: dict[str, Any]) -> dict[str, Any]:
        """Tensors and plain values from which `restore` goes on bit-equal; every process must ask.

        The learning rate follows from the position and every sample from (seed, epoch, index), so besides weights
        and optimizer only torch's own generators (dropout) have a state, each process's its own. Of a divided model the
        first process has the whole tensors, the others nothing.

        Args:
            config: the values that decide the run, one a line.
            facts: anything else worth keeping.
        """
        rng = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            rng["cuda"] = torch.cuda.get_rng_state(self.device)
        weights = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict(),
        }
        return {
            **gathered(weights, keep=self.processes.is_first),
            "scaler": self.scaler.state_dict(),
            "position": dict(vars(self.position)),
            "best": self.best,
            "rng": self.processes.gather(rng),
            "config": config,
            **facts,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave.

        With another number of processes the generators cannot go on as they were; samples still do.
        """
        load_weights(self.model, state["model"])
        load_optimizer(self.optimizer, state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.average.load_state_dict(state["average"])
        self.position = Position(**state["position"])
        self.best = dict(state["best"])
        if len(state["rng"]) == self.processes.count:
            own = state["rng"][self.processes.rank]
            torch.set_rng_state(own["cpu"])
            if "cuda" in own and self.device.type == "cuda":
                torch.cuda.set_rng_state(own["cuda"], self.device)
