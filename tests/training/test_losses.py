"""Losses and mixup, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from avadet.data.loader import ClipBatch
from avadet.training.losses import action_loss, mixup, smooth


def test_smoothing_by_hand() -> None:
    targets = torch.tensor([[1.0, 0, 0, 0]])
    torch.testing.assert_close(smooth(targets, 0.1, exclusive=True), torch.tensor([[0.925, 0.025, 0.025, 0.025]]))
    torch.testing.assert_close(smooth(targets, 0.1, exclusive=False), torch.tensor([[0.95, 0.05, 0.05, 0.05]]))
    torch.testing.assert_close(smooth(targets, 0.0, exclusive=True), targets)


def test_losses_by_hand() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])
    targets = torch.tensor([[1.0, 0], [0, 1]])
    # softmax: 3/4 and 1/2
    assert action_loss(logits, targets, "cross_entropy").item() == pytest.approx((-math.log(0.75) + math.log(2)) / 2)
    # sigmoid: 3/4 and 1/2 in the first row, 1/2 and 1/2 in the second
    expected = (-math.log(0.75) + 3 * math.log(2)) / 2
    assert action_loss(logits, targets, "bce").item() == pytest.approx(expected)


def test_mixup_by_hand() -> None:
    clips = torch.stack([torch.full((3, 1, 2, 2), value, dtype=torch.uint8) for value in (0, 255)])
    rois = torch.tensor([[0.0, 0, 0, 1, 1], [1, 0, 0, 1, 1], [1, 0, 0, 2, 2]])
    batch = ClipBatch(clips, rois, torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]))
    swapped = next(seed for seed in range(20) if _draw(seed)[1].tolist() == [1, 0])
    weight = _draw(swapped)[0]
    mixed = mixup(batch, np.random.default_rng(swapped), 0.4)
    torch.testing.assert_close(mixed.clips[0], torch.full((3, 1, 2, 2), 1 - weight))
    torch.testing.assert_close(mixed.clips[1], torch.full((3, 1, 2, 2), weight))
    rest = 1 - weight
    expected = torch.tensor([[weight, rest / 2, rest / 2], [rest, weight, 0], [rest, 0, weight]])
    torch.testing.assert_close(mixed.labels, expected)
    assert mixed.rois is rois and weight >= 0.5


def _draw(seed: int) -> tuple[float, np.ndarray]:
    rng = np.random.default_rng(seed)
    weight = rng.beta(0.4, 0.4)
    return max(weight, 1 - weight), rng.permutation(2)


def test_mixup_of_a_clip_with_itself_changes_nothing() -> None:
    alone = ClipBatch(torch.full((1, 3, 1, 2, 2), 51, dtype=torch.uint8), torch.zeros(1, 5), torch.tensor([[0.0, 1]]))
    mixed = mixup(alone, np.random.default_rng(0), 0.4)
    torch.testing.assert_close(mixed.clips, torch.full((1, 3, 1, 2, 2), 0.2))
    torch.testing.assert_close(mixed.labels, alone.labels)
