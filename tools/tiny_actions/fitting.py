"""Fitting scores to what validation says: shift and temperature of poses, temperature of an action, thresholds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from avadet.types import Float64Array

NEVER = 1.0
ADDED_PRECISION = 0.7
PULL_TO_ZERO = 0.02
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.3, 5.0


@dataclass(frozen=True)
class Threshold:
    """From which score on a class is shown.

    Attributes:
        score: 0-1; 1 = never.
        precision: of what is shown of the validation data; nan if nothing is.
        recall: part of the present that are shown.
        present: how many are present in the validation data.
    """

    score: float
    precision: float
    recall: float
    present: int


def choose_threshold(
    score: Float64Array, right: Float64Array, weight: Float64Array, fewest_right: int, precision: float
) -> Threshold:
    """The lowest score from which on the precision, less its standard error, is high enough, with so many right.

    One label of weight 1 at a precision of 0.7 is added, so that few labels do not decide much.

    Args:
        score: (N,) 0-1.
        right: (N,) 1 where the class is present, else 0.
        weight: (N,).
        fewest_right: of what is shown.
        precision: that is asked for, 0-1.
    """
    order = np.argsort(-score)
    hits = np.cumsum(right[order] * weight[order])
    shown = np.cumsum(weight[order])
    enough = np.cumsum(right[order]) >= fewest_right
    found = (hits + ADDED_PRECISION) / (shown + 1)
    error = np.sqrt(found * (1 - found) * np.cumsum(weight[order] ** 2)) / shown
    good = np.flatnonzero((found - error >= precision) & enough)
    present = int(right.sum())
    if not len(good):
        return Threshold(NEVER, float("nan"), 0.0, present)
    last = good[-1]
    return Threshold(
        float(score[order][last]), float(hits[last] / shown[last]), float(hits[last] / max(hits[-1], 1e-9)), present
    )


def fit_poses(logits: Tensor, truth: Tensor, weight: Tensor) -> tuple[Tensor, float]:
    """A shift of each pose and one temperature that make the softmax of (logits + shift) / temperature most likely.

    Args:
        logits: (N, P).
        truth: (N, P) probabilities.
        weight: (N,).

    Returns:
        (P,) and a number, both pulled a little to 0 and 1.
    """
    shift, log_temperature = torch.zeros(logits.shape[1], requires_grad=True), torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([shift, log_temperature], max_iter=200)

    def cost() -> Tensor:
        optimizer.zero_grad()
        log_part = ((logits + shift) / log_temperature.exp()).log_softmax(dim=1)
        loss = (-(truth * log_part).sum(dim=1) * weight).sum() / weight.sum()
        loss = loss + PULL_TO_ZERO * (shift.square().sum() + log_temperature.square())
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(cost)  # type: ignore[no-untyped-call]
    return shift.detach(), float(log_temperature.detach().exp())


def fit_temperature(logit: Float64Array, present: Float64Array, weight: Float64Array) -> float:
    """The temperature of an action, fitted together with a shift that is not kept, between 0.3 and 5.

    Args:
        logit: (N,).
        present: (N,) 1 or 0.
        weight: (N,), to a sum of 1.
    """
    values, truth, weights = (torch.from_numpy(table) for table in (logit, present, weight))
    log_temperature = torch.zeros((), dtype=torch.double, requires_grad=True)
    shift = torch.zeros((), dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature, shift], max_iter=100)

    def cost() -> Tensor:
        optimizer.zero_grad()
        scaled = values / log_temperature.exp() + shift
        each = functional.binary_cross_entropy_with_logits(scaled, truth, reduction="none")
        loss = (each * weights).sum() + 1e-4 * log_temperature.square() + 1e-5 * shift.square()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(cost)  # type: ignore[no-untyped-call]
    return float(log_temperature.detach().exp().clamp(LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE))
