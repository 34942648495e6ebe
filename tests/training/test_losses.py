"""Losses and mixup, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from each_case import each_case

from avadet.data.batching import ClipBatch
from avadet.training.losses import ActionLoss, balanced_weights, mixup, smooth


def test_smoothing_by_hand() -> None:
    targets = torch.tensor([[1.0, 0, 0, 0]])
    torch.testing.assert_close(smooth(targets, 0.1, exclusive=True), torch.tensor([[0.925, 0.025, 0.025, 0.025]]))
    torch.testing.assert_close(smooth(targets, 0.1, exclusive=False), torch.tensor([[0.95, 0.05, 0.05, 0.05]]))
    torch.testing.assert_close(smooth(targets, 0.0, exclusive=True), targets)


def test_losses_by_hand() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])
    targets = torch.tensor([[1.0, 0], [0, 1]])
    # softmax: 3/4 and 1/2
    assert ActionLoss("cross_entropy")(logits, targets).item() == pytest.approx((-math.log(0.75) + math.log(2)) / 2)
    # sigmoid: 3/4 and 1/2 in the first row, 1/2 and 1/2 in the second
    expected = (-math.log(0.75) + 3 * math.log(2)) / 2
    assert ActionLoss("bce")(logits, targets).item() == pytest.approx(expected)


THREE = math.log(3.0)  # of which the sigmoid is 3/4


def test_focal_by_hand() -> None:
    logits, targets = torch.tensor([[THREE, THREE]]), torch.tensor([[1.0, 0.0]])
    # right with 3/4: (1/4)**2 * -log(3/4); right with 1/4: (3/4)**2 * -log(1/4)
    expected = -math.log(0.75) / 16 - math.log(0.25) * 9 / 16
    assert ActionLoss("focal", gamma=2.0)(logits, targets).item() == pytest.approx(expected)
    balanced = -0.25 * math.log(0.75) / 16 - 0.75 * math.log(0.25) * 9 / 16
    assert ActionLoss("focal", gamma=2.0, alpha=0.25)(logits, targets).item() == pytest.approx(balanced)
    plain = ActionLoss("bce")(logits, targets).item()
    assert ActionLoss("focal", gamma=0.0)(logits, targets).item() == pytest.approx(plain)
    assert ActionLoss("focal", gamma=0.0, weight=3.0)(logits, targets).item() == pytest.approx(3 * plain)
    assert ActionLoss("bce", class_mean=True)(logits, targets).item() == pytest.approx(plain / 2)


def test_asymmetric_by_hand() -> None:
    logits, targets = torch.tensor([[THREE, THREE, -THREE]]), torch.tensor([[1.0, 0.0, 0.0]])
    # positive of 3/4; negatives of 3/4 and 1/4, of which the margin leaves 0.65 and 0.15
    expected = -0.25 * math.log(0.75) - 0.65**4 * math.log(0.35) - 0.15**4 * math.log(0.85)
    loss = ActionLoss("asymmetric", gamma_positive=1.0, gamma_negative=4.0, margin=0.1)
    assert loss(logits, targets).item() == pytest.approx(expected, rel=1e-5)
    same = ActionLoss("asymmetric", gamma_positive=0.0, gamma_negative=0.0, margin=0.0)
    assert same(logits, targets).item() == pytest.approx(ActionLoss("bce")(logits, targets).item(), rel=1e-5)
    easy = torch.tensor([[-5.0]])  # a negative of 0.0067, below the margin, costs nothing
    assert ActionLoss("asymmetric", margin=0.05)(easy, torch.zeros(1, 1)).item() == 0.0


def test_asymmetric_stays_finite_at_the_ends() -> None:
    for margin in (0.0, 0.05):
        logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
        ActionLoss("asymmetric", margin=margin)(logits, torch.tensor([[0.0, 1.0]])).backward()
        assert torch.isfinite(logits.grad).all()


def test_pose_softmax_by_hand() -> None:
    poses = torch.tensor([True, False, True])
    logits = torch.tensor([[THREE, THREE, 0.0], [0.0, 0.0, 0.0]])
    targets = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    # first: softmax 3/4 of the pose, sigmoid 3/4 of what is wrong; second: no pose, sigmoid 1/2 of what is right
    expected = (-math.log(0.75) - math.log(0.25) + math.log(2)) / 2
    assert ActionLoss("pose_softmax", poses=poses)(logits, targets).item() == pytest.approx(expected)
    logits.requires_grad_()
    ActionLoss("pose_softmax", poses=poses)(logits, targets).backward()
    assert torch.isfinite(logits.grad).all() and logits.grad[1, 0] == 0


def test_classes_balanced_by_hand() -> None:
    weights = balanced_weights([1, 2], 0.5)  # effective 1 and 1.5: 1 and 2/3, scaled to a mean of 1
    torch.testing.assert_close(weights, torch.tensor([1.2, 0.8]))
    assert balanced_weights([0, 1, 1], 0.9).tolist() == [1.0, 1.0, 1.0]
    logits, targets = torch.tensor([[THREE, THREE]]), torch.tensor([[1.0, 0.0]])
    expected = -1.2 * math.log(0.75) - 0.8 * math.log(0.25)
    assert ActionLoss("bce", class_weights=weights)(logits, targets).item() == pytest.approx(expected)
    one = torch.tensor([[THREE, 0.0]])
    loss = ActionLoss("cross_entropy", class_weights=weights)(one, targets).item()
    assert loss == pytest.approx(-1.2 * math.log(0.75))


def test_people_without_a_label() -> None:
    logits = torch.tensor([[THREE, 0.0], [9.0, -9.0]])
    targets = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    smoothed = ActionLoss("cross_entropy", label_smoothing=0.0)
    assert smoothed(logits, targets).item() == pytest.approx(-math.log(0.75))  # he says nothing
    assert smoothed.people(targets) == 1
    negative = ActionLoss("bce")
    expected = (-math.log(0.75) + math.log(2) + math.log1p(math.exp(9.0)) + math.log1p(math.exp(-9.0))) / 2
    assert negative(logits, targets).item() == pytest.approx(expected)  # he does neither
    assert negative.people(targets) == 2


@each_case("kind", ["cross_entropy", "bce", "focal", "asymmetric", "pose_softmax"])
def test_nobody_costs_nothing_and_has_a_gradient(kind: str) -> None:
    logits = torch.zeros(0, 2, requires_grad=True)
    loss = ActionLoss(kind, poses=torch.tensor([True, True]))(logits, torch.zeros(0, 2))
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None


@each_case("kind", ["cross_entropy", "bce", "focal", "asymmetric", "pose_softmax"])
def test_the_order_of_people_and_doubling_them_change_nothing(kind: str) -> None:
    draw = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(6, 4, generator=draw), torch.eye(4)[[0, 1, 2, 3, 0, 1]]
    loss = ActionLoss(kind, poses=torch.tensor([True, True, False, False]), label_smoothing=0.1)
    once = loss(logits, targets)
    torch.testing.assert_close(loss(logits.flip(0), targets.flip(0)), once)
    torch.testing.assert_close(loss(logits.repeat(2, 1), targets.repeat(2, 1)), once)


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
