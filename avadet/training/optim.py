"""Optimizers, the learning rate's course, the running average of the weights."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from avadet.errors import AvadetError
from avadet.training.sharding import load_weights, own_share

_BLOCK = re.compile(r"\bblocks\.(\d+)\.")

Net = TypeVar("Net", bound=nn.Module)


def param_groups(
    model: nn.Module, lr: float, backbone_lr_factor: float, weight_decay: float, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """Parameters in groups: of a backbone or not, at which depth of it, decayed or not.

    Norms and biases (every parameter of one dimension) are not decayed. Each group carries `peak_lr`, the rate
    that `set_lr` scales. Frozen parameters, at factor 0 all of the backbone's, and empty groups are left out.

    Args:
        model: whose.
        lr: of the head.
        backbone_lr_factor: of the backbone, as a multiple of `lr`.
        weight_decay: of what is decayed.
        layer_decay: see `layer_factors`; 1 = a backbone's layers are all alike.

    Raises:
        AvadetError: if `layer_decay` is asked of a backbone without blocks.
    """
    factors = layer_factors(model, layer_decay) if layer_decay < 1 else {}
    groups: dict[tuple[bool, bool, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = ("backbone" in name.split("."), parameter.ndim > 1, factors.get(name, 1.0))
            groups.setdefault(key, []).append(parameter)
    settings = []
    for (is_backbone, decays, factor), members in sorted(groups.items(), key=lambda item: item[0], reverse=True):
        rate = lr * backbone_lr_factor * factor if is_backbone else lr
        if rate:
            decay = weight_decay if decays else 0.0
            settings.append({"params": members, "lr": rate, "peak_lr": rate, "weight_decay": decay})
    return settings


def layer_factors(model: nn.Module, decay: float) -> dict[str, float]:
    """What the learning rate of each parameter of a transformer's backbone is multiplied by.

    Of N blocks the last has `decay`, the one before `decay` ** 2, and so on; what stands before the blocks (patches,
    positions) has `decay` ** (N + 1), what stands behind them 1, like the head (Clark et al., "ELECTRA", ICLR 2020; the
    layers are counted as BEiT and VideoMAE do).

    Raises:
        AvadetError: if the backbone has no blocks.
    """
    names = [name for name, _ in model.named_parameters() if "backbone" in name.split(".")]
    places = {name: int(found[1]) for name in names if (found := _BLOCK.search(name))}
    if not places:
        raise AvadetError("optim.layer_decay is for transformers: this model's backbone has no blocks; set it to 1")
    count = max(places.values()) + 1
    first = names.index(next(iter(places)))
    depths = {name: places.get(name, -1 if names.index(name) < first else count) for name in names}
    return {name: decay ** (count - depth) for name, depth in depths.items()}


def build_optimizer(
    name: str,
    groups: list[dict[str, Any]],
    momentum: float,
    nesterov: bool = True,
    betas: tuple[float, float] = (0.9, 0.999),
) -> torch.optim.Optimizer:
    """AdamW ("adamw"), with `betas`, or SGD with momentum ("sgd") over `param_groups`."""
    if name == "adamw":
        return torch.optim.AdamW(groups, betas=betas)
    return torch.optim.SGD(groups, momentum=momentum, nesterov=nesterov and momentum > 0)


def scaled_lr(lr: float, batch_size: int, base_batch: int) -> float:
    """The learning rate for `batch_size` clips a step if `lr` is meant for `base_batch`; 0 = `lr` as it stands.

    The linear scaling rule: Goyal et al., "Accurate, Large Minibatch SGD", 2017.
    """
    return lr * batch_size / base_batch if base_batch else lr


def lr_factor(
    epoch: float,
    *,
    epochs: int,
    kind: str,
    warmup_epochs: float = 0.0,
    warmup_factor: float = 0.0,
    final_factor: float = 0.0,
    milestones: Sequence[float] = (),
    gamma: float = 0.1,
) -> float:
    """What the peak learning rate is multiplied by at `epoch`, which counts in fractions from 0.

    Args:
        epoch: position in the training, in [0, epochs].
        epochs: length of the training.
        kind: "cosine" falls from 1 to `final_factor` between warm-up and end; "step" multiplies by `gamma` at each
            milestone passed; "constant" stays at 1.
        warmup_epochs: epochs of linear rise to 1.
        warmup_factor: where the rise begins.
        final_factor: see `kind`.
        milestones: epochs, see `kind`.
        gamma: see `kind`.
    """
    if epoch < warmup_epochs:
        return warmup_factor + (1 - warmup_factor) * epoch / warmup_epochs
    if kind == "cosine":
        progress = min(1.0, (epoch - warmup_epochs) / max(epochs - warmup_epochs, 1e-9))
        return final_factor + (1 - final_factor) * 0.5 * (1 + math.cos(math.pi * progress))
    if kind == "step":
        return float(gamma ** sum(epoch >= milestone for milestone in milestones))
    return 1.0


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's learning rate to `factor` times its `peak_lr`."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor


class WeightAverage(Generic[Net]):
    """A running average of a model's weights, which usually scores better than the weights themselves.

    average <- d * average + (1 - d) * weights after every step, with d = min(decay, (1 + n) / (10 + n)) at step n,
    so that the first steps do not weigh on it for long. BatchNorm statistics are averaged the same way; integer
    buffers are copied.
    """

    def __init__(self, model: Net, decay: float) -> None:
        """Start from the present weights of `model`; decay 0 = always equal to it."""
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights after a step."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        own, new = ([own_share(value) for value in net.state_dict().values()] for net in (self.model, model))
        floating = [value.is_floating_point() for value in own]
        averaged = [value for value, is_float in zip(own, floating) if is_float]
        # A list operation runs once over all tensors; hundreds of small ones would cost more than the step.
        torch._foreach_lerp_(averaged, [value for value, is_float in zip(new, floating) if is_float], 1 - decay)
        for value, latest, is_float in zip(own, new, floating):
            if not is_float:
                value.copy_(latest)

    def state_dict(self) -> dict[str, Any]:
        """Everything `load_state_dict` needs to go on equally."""
        return {"model": self.model.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved average."""
        load_weights(self.model, state["model"])
        self.steps = state["steps"]
