"""Losses on logits (R, K) and targets (R, K), and what is done to targets before."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from avadet.data.loader import ClipBatch


def smooth(targets: Tensor, amount: float, exclusive: bool) -> Tensor:
    """Soften 0-1 targets (R, K).

    Args:
        targets: 0 or 1; rows sum to 1 if `exclusive`.
        amount: share that is taken away from the given labels.
        exclusive: True: the share is spread evenly over all K classes (Szegedy et al., 2016); False: each class is
            its own question and moves towards one half.
    """
    even = 1 / targets.shape[1] if exclusive else 0.5
    return targets * (1 - amount) + amount * even


def action_loss(logits: Tensor, targets: Tensor, kind: str) -> Tensor:
    """Mean loss a person.

    Args:
        logits: (R, K).
        targets: (R, K), 0-1, soft ones too.
        kind: "cross_entropy": one action a person; "bce": binary cross-entropy, summed over the classes.
    """
    if kind == "cross_entropy":
        return functional.cross_entropy(logits, targets)
    return functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / max(1, len(logits))


def mixup(batch: ClipBatch, rng: np.random.Generator, alpha: float) -> ClipBatch:
    """Blend each clip with another one of the batch, and the labels of its people with those of the other's.

    Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018. Deviations, for the sake of boxes: the
    blended clip keeps the boxes of its stronger part, and the weaker part's label is the mean over its people.

    Args:
        batch: what is blended; its clips may be uint8.
        rng: draws the weight and the pairing.
        alpha: both parameters of the Beta distribution of the weight.

    Returns:
        float clips 0-1, the same boxes, soft labels.
    """
    weight = float(rng.beta(alpha, alpha))
    weight = max(weight, 1 - weight)
    partner = torch.from_numpy(rng.permutation(len(batch.clips))).to(batch.clips.device)
    clips = batch.clips.float() / 255
    clips = weight * clips + (1 - weight) * clips[partner]
    owner = batch.rois[:, 0].long()
    counts = torch.zeros(len(clips), device=owner.device).index_add_(0, owner, torch.ones_like(batch.rois[:, 0]))
    sums = torch.zeros(len(clips), batch.labels.shape[1], device=owner.device).index_add_(0, owner, batch.labels)
    means = sums / counts.clamp(min=1)[:, None]
    labels = weight * batch.labels + (1 - weight) * means[partner[owner]]
    return ClipBatch(clips, batch.rois, labels)
