"""Schedules, parameter groups and the running average, by hand."""

from __future__ import annotations

import pytest
import torch
from each_case import each_case

from avadet.errors import AvadetError
from avadet.models.build import build
from avadet.training.optim import (
    WeightAverage,
    build_optimizer,
    layer_factors,
    lr_factor,
    param_groups,
    scaled_lr,
    set_lr,
)


@each_case(
    ("epoch", "factor"),
    [(0, 0.0), (0.5, 0.25), (1, 0.5), (2, 1.0), (6, 0.55), (10, 0.1)],  # halfway: 0.1 + 0.9 / 2
)
def test_cosine_with_warm_up(epoch: float, factor: float) -> None:
    got = lr_factor(epoch, epochs=10, kind="cosine", warmup_epochs=2, final_factor=0.1)
    assert got == pytest.approx(factor)


def test_step_and_constant() -> None:
    course = [lr_factor(e, epochs=9, kind="step", milestones=(3, 6), gamma=0.1) for e in (0, 2.9, 3, 5.9, 6, 9)]
    assert course == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert lr_factor(5, epochs=9, kind="constant") == 1


def test_every_parameter_is_in_one_group_and_norms_do_not_decay() -> None:
    model = build("tiny_actions", 3)
    groups = param_groups(model, lr=0.1, backbone_lr_factor=0.5, weight_decay=0.2)
    members = [id(p) for group in groups for p in group["params"]]
    assert sorted(members) == sorted(id(p) for p in model.parameters())
    assert [(g["peak_lr"], g["weight_decay"]) for g in groups] == [(0.05, 0.2), (0.05, 0), (0.1, 0.2), (0.1, 0)]
    assert all(p.ndim > 1 for g in groups for p in g["params"] if g["weight_decay"])
    assert any(p is model.head.proj.weight for p in groups[2]["params"])


def test_frozen_parts_and_factor_zero_leave_the_optimizer() -> None:
    model = build("tiny_actions", 3)
    model.backbone.freeze(2)
    frozen = {id(p) for part in (model.backbone.trunk.stem, model.backbone.trunk.stages[0]) for p in part.parameters()}
    members = {id(p) for group in param_groups(model, 0.1, 0.5, 0.2) for p in group["params"]}
    assert frozen and not frozen & members
    assert {g["peak_lr"] for g in param_groups(model, 0.1, 0.0, 0.2)} == {0.1}


def test_warm_up_from_a_factor() -> None:
    """PySlowFast's course on AVA: 1.25e-4 to 0.1 in five epochs, a tenth of it at 10 and at 15."""
    cfg = {"epochs": 20, "kind": "step", "warmup_epochs": 5, "warmup_factor": 1.25e-3, "milestones": (10, 15)}
    course = [0.1 * lr_factor(epoch, **cfg) for epoch in (0, 1, 5, 9.99, 10, 15, 20)]
    assert course == pytest.approx([1.25e-4, 1.25e-4 + (0.1 - 1.25e-4) / 5, 0.1, 0.1, 0.01, 0.001, 0.001])


def test_linear_scaling() -> None:
    assert scaled_lr(0.1, 16, 64) == pytest.approx(0.025) and scaled_lr(0.1, 16, 0) == 0.1


def test_layers_decay_by_the_depth_of_their_block() -> None:
    with torch.device("meta"):
        model = build("mvitv2_s_16x4", 3)
    factors = layer_factors(model, 0.5)
    assert factors["backbone.patch_embed.weight"] == 0.5**17
    assert {value for name, value in factors.items() if ".blocks.0." in name} == {0.5**16}
    assert {value for name, value in factors.items() if ".blocks.15." in name} == {0.5}
    assert factors["backbone.norm.weight"] == 1 and not any(name.startswith("head") for name in factors)
    groups = param_groups(model, 0.1, 0.5, 0.2, layer_decay=0.5)
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    rates = {id(p): group["peak_lr"] for group in groups for p in group["params"]}
    assert rates[id(model.head.proj.weight)] == 0.1
    last = next(model.backbone.blocks[15].parameters())
    assert rates[id(last)] == pytest.approx(0.1 * 0.5 * 0.5)
    with pytest.raises(AvadetError, match=r"optim\.layer_decay is for transformers"):
        param_groups(build("tiny_actions", 3), 0.1, 0.5, 0.2, layer_decay=0.5)


def test_momenta_of_the_optimizers() -> None:
    groups = param_groups(build("tiny_actions", 3), 0.1, 0.5, 0.2)
    assert build_optimizer("sgd", groups, 0.9).defaults["nesterov"]
    assert not build_optimizer("sgd", groups, 0.9, nesterov=False).defaults["nesterov"]
    assert build_optimizer("adamw", groups, 0.9, betas=(0.8, 0.9)).defaults["betas"] == (0.8, 0.9)


def test_set_lr_scales_the_peak_not_the_present_rate() -> None:
    optimizer = build_optimizer("sgd", param_groups(build("tiny_actions", 3), 0.1, 0.5, 0.0), 0.9)
    set_lr(optimizer, 0.5)
    set_lr(optimizer, 0.5)
    assert {group["lr"] for group in optimizer.param_groups} == {0.025, 0.05}


def test_average_by_hand() -> None:
    model = build("tiny_actions", 2)
    average = WeightAverage(model, decay=0.15)
    bias, mean = model.head.proj.bias, model.head.norm.running_mean
    count = model.head.norm.num_batches_tracked
    with torch.no_grad():
        for value in (1.0, 2.0):
            bias.fill_(value)
            mean.fill_(10 * value)
            count.fill_(int(value))
            average.update(model)
    # d = min(0.15, 1/10) = 0.1: 0.9 * 1; then d = min(0.15, 2/11) = 0.15: 0.15 * 0.9 + 0.85 * 2
    kept = average.model.head
    torch.testing.assert_close(kept.proj.bias, torch.full((2,), 1.835))
    torch.testing.assert_close(kept.norm.running_mean, torch.full_like(mean, 18.35))
    assert int(kept.norm.num_batches_tracked) == 2
    assert not kept.training and not kept.proj.bias.requires_grad


def test_average_without_decay_is_the_model() -> None:
    model = build("tiny_actions", 2)
    average = WeightAverage(model, decay=0.0)
    with torch.no_grad():
        model.head.proj.weight.normal_()
    average.update(model)
    torch.testing.assert_close(average.model.head.proj.weight, model.head.proj.weight.detach(), rtol=0, atol=0)
