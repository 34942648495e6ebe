"""Losses on logits (R, K) and targets (R, K), and what is done to targets before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from avadet.data.batching import ClipBatch


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


@dataclass(frozen=True)
class ActionLoss:
    """The loss of a batch of people.

    A person without any label is a person who does nothing that is known. Kinds that ask of each class by itself learn
    from him that he does none of them; where classes exclude each other he says nothing and is left out.

    Attributes:
        kind: "cross_entropy": one action a person, softmax over the classes.
            "bce": binary cross-entropy of each class.
            "focal": the same, each term times (1 - p)**gamma, p the probability of what is true (Lin et al., "Focal
            Loss for Dense Object Detection", ICCV 2017).
            "asymmetric": the same with a gamma for positives and another for negatives, whose probability is lowered by
            `margin` first (Ridnik et al., "Asymmetric Loss For Multi-Label Classification", ICCV 2021). Deviation:
            gradients pass through the factors too.
            "pose_softmax": cross-entropy among the classes `poses`, binary cross-entropy of the others; a person
            without pose has only the latter.
        class_mean: average over a person's classes, not their sum; not for "cross_entropy".
        weight: of the whole.
        gamma: of "focal".
        alpha: weight of positives in "focal", of negatives 1 - alpha; None = 1 and 1.
        gamma_positive: of "asymmetric".
        gamma_negative: of "asymmetric".
        margin: of "asymmetric", 0-1.
        label_smoothing: see `smooth`.
        class_weights: float (K,), weight of each class's terms; None = 1.
        poses: bool (K,), the classes that exclude each other; for "pose_softmax".
    """

    kind: str = "cross_entropy"
    class_mean: bool = False
    weight: float = 1.0
    gamma: float = 2.0
    alpha: float | None = None
    gamma_positive: float = 0.0
    gamma_negative: float = 4.0
    margin: float = 0.05
    label_smoothing: float = 0.0
    class_weights: Tensor | None = None
    poses: Tensor | None = None

    @property
    def exclusive(self) -> bool:
        """Whether a person does exactly one of the classes."""
        return self.kind == "cross_entropy"

    def people(self, labels: Tensor) -> int:
        """How many rows of labels (R, K) the mean is taken over."""
        return int((labels.sum(dim=1) > 0).sum()) if self.exclusive else len(labels)

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean loss a person; 0, but with a gradient, for nobody.

        Args:
            logits: (R, K).
            labels: (R, K), 0-1, soft ones too.
        """
        if self.exclusive:
            known = labels.sum(dim=1) > 0
            if not bool(known.all()):
                logits, labels = logits[known], labels[known]
        if not len(logits):
            return logits.sum() * 0.0
        targets = smooth(labels, self.label_smoothing, self.exclusive)
        if self.exclusive:
            return functional.cross_entropy(logits, targets, self.class_weights) * self.weight
        terms = self._terms(logits, targets)
        if self.class_weights is not None:
            terms = terms * self.class_weights
        return terms.sum() / (len(logits) * (logits.shape[1] if self.class_mean else 1)) * self.weight

    def _terms(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(R, K), the loss of each person and class."""
        if self.kind == "asymmetric":
            return self._asymmetric(logits, targets)
        plain = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        if self.kind == "focal":
            right = torch.exp(-plain)
            balance = 1.0 if self.alpha is None else self.alpha * targets + (1 - self.alpha) * (1 - targets)
            return balance * (1 - right) ** self.gamma * plain
        if self.kind == "pose_softmax":
            return self._softmax_of_poses(logits, targets, plain)
        return plain

    def _asymmetric(self, logits: Tensor, targets: Tensor) -> Tensor:
        score = logits.sigmoid()
        shown = (score - self.margin).clamp(min=0)
        found = -functional.logsigmoid(logits) * (1 - score) ** self.gamma_positive
        missed = functional.logsigmoid(-logits) if self.margin == 0 else torch.log1p(-shown.clamp(max=1 - 1e-7))
        return targets * found - (1 - targets) * missed * shown**self.gamma_negative

    def _softmax_of_poses(self, logits: Tensor, targets: Tensor, plain: Tensor) -> Tensor:
        assert self.poses is not None
        poses = self.poses.to(logits.device)
        among = logits.masked_fill(~poses, -torch.inf).log_softmax(dim=1)
        return torch.where(poses, -targets * among.masked_fill(~poses, 0.0), plain)


def balanced_weights(counts: Sequence[int], beta: float) -> Tensor:
    """Class weights (K,) by the effective number of samples: (1 - beta) / (1 - beta**n), scaled to a mean of 1.

    Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019. Classes without a sample weigh
    as much as those with one.

    Args:
        counts: n, samples of each class.
        beta: 0 up to 1; 0 = all alike, towards 1 = in inverse proportion to the counts.
    """
    effective = (1 - beta ** np.maximum(np.asarray(counts, np.float64), 1)) / (1 - beta)
    weights = 1 / effective
    return torch.from_numpy(weights / weights.mean()).float()


def mixup(batch: ClipBatch, rng: np.random.Generator, alpha: float) -> ClipBatch:
    """Blend each clip with another one of the batch, and the labels of its people with those of the other's.

    Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018. Deviations, for the sake of boxes: the
    blended clip keeps the boxes of its stronger part, and the weaker part's label is the mean over its people.

    Args:
        batch: what is blended; its clips may be uint8.
        rng: draws the weight and the pairing.
        alpha: both parameters of the Beta distribution of the weight.

    Returns:
        float clips 0-1, the same boxes and window of the feature bank, soft labels.
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
    return ClipBatch(clips, batch.rois, labels, window=batch.window)
