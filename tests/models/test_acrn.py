"""The actor-centric relation network against numbers worked out by hand and a plain restatement of it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from each_case import each_case
from small_heads import roi_head
from test_laws import CLASSES, SPEC
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv3d

from avadet.models.build import build
from avadet.models.engines.folding import fold_norms
from avadet.models.heads.acrn import AcrnOptions, ActorCentricRelation
from avadet.models.heads.roi_head import RoIHead

HW = (48, 64)
ROIS = torch.tensor([[1.0, 4, 8, 40, 60], [0, 0, 0, 64, 64], [1, 30, 2, 62, 62], [0, 20, 20, 26, 28]])


def some_relation(features: int = 4, channels: int = 3, width: int = 5) -> ActorCentricRelation:
    """Norms that matter, in eval mode."""
    torch.manual_seed(0)
    relation = ActorCentricRelation(features, channels, AcrnOptions(width)).eval()
    for norm in (relation.join_norm, relation.conv_norm):
        for tensor in (norm.weight, norm.running_var):
            nn.init.uniform_(tensor, 0.5, 1.5)
        for tensor in (norm.bias, norm.running_mean):
            nn.init.uniform_(tensor, -0.5, 0.5)
    return relation


def some_maps() -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(2, count, frames, 6, 8, generator=generator) for count, frames in ((2, 2), (1, 4))]


def test_one_channel_by_hand() -> None:
    relation = ActorCentricRelation(1, 1, AcrnOptions(1)).eval()
    for norm in (relation.join_norm, relation.conv_norm):
        norm.eps = 0.0
    with torch.no_grad():
        relation.join.weight.copy_(torch.tensor([3.0, 2.0]).view(1, 2, 1, 1, 1))  # the actor first, then the map
        relation.conv.weight.fill_(1)
        relation.join_norm.running_mean.fill_(5)
        relation.conv_norm.weight.fill_(10)
    # Means over time 1, 2, 0. An actor of 1: 3 + 2 * map - 5 = 0, 2, -2; what is above zero: 0, 2, 0; sums of
    # neighbours: 2, 2, 2. One of 3: 9 + 2 * map - 5 = 6, 8, 4; sums: 14, 18, 12. Times 10, the largest.
    one_map = torch.tensor([[0.0, 2, -1], [2, 2, 1]]).view(1, 1, 2, 1, 3)
    answer = relation(torch.tensor([[1.0], [3.0]]), [one_map], torch.tensor([0, 0]))
    assert answer.tolist() == [[20], [180]]


def test_the_split_is_one_convolution_over_the_tiled_actor_beside_the_map() -> None:
    relation, maps, owner = some_relation(), some_maps(), torch.tensor([1, 0, 1])
    actors, state = torch.randn(3, 4), some_relation().state_dict()
    scene = torch.cat([one_map.mean(dim=2, keepdim=True) for one_map in maps], dim=1)
    joined = torch.cat([actors.view(3, 4, 1, 1, 1).expand(-1, -1, 1, 6, 8), scene[owner]], dim=1)

    def layer(x: Tensor, conv: str, padding: Any) -> Tensor:
        norm = (state[f"{conv}_norm.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return batch_norm(conv3d(x, state[f"{conv}.weight"], padding=padding), *norm).relu()

    expected = layer(layer(joined, "join", 0), "conv", (0, 1, 1)).amax(dim=(2, 3, 4))
    torch.testing.assert_close(relation(actors, maps, owner), expected)
    assert expected.std(dim=0).min() > 1e-3


def test_norms_may_be_folded_into_the_convolutions() -> None:
    relation = some_relation()
    folded = copy.deepcopy(relation)
    actors, owner = torch.randn(3, 4), torch.tensor([1, 0, 1])
    assert fold_norms(folded, actors, some_maps(), owner).norms == 1  # the other norm reads the sum of two parts
    torch.testing.assert_close(folded(actors, some_maps(), owner), relation(actors, some_maps(), owner))


def some_head() -> RoIHead:
    """A head whose relation has learnt norms."""
    torch.manual_seed(1)
    head = roi_head([2, 1], CLASSES, aligned=True, acrn={"width": 5}).eval()
    head.acrn.load_state_dict(some_relation(3).state_dict())
    nn.init.normal_(head.proj.weight)
    return head


def test_the_relation_takes_the_place_of_the_actors_own_features() -> None:
    head = some_head()
    assert head.own_features == 3
    assert head.proj.in_features == 5
    related = head.acrn(head.box_features(some_maps(), ROIS, HW), some_maps(), ROIS[:, 0].long())
    torch.testing.assert_close(head(some_maps(), ROIS, HW), head.proj(related))
    with torch.device("meta"):
        assert roi_head([2, 1], CLASSES, acrn={}).proj.in_features == 3


def test_people_do_not_see_each_other_nor_other_clips() -> None:
    head = some_head()
    with torch.no_grad():
        logits = head(some_maps(), ROIS, HW)
        order = torch.tensor([2, 0, 3, 1])
        torch.testing.assert_close(head(some_maps(), ROIS[order], HW), logits[order])
        for index, roi in enumerate(ROIS):
            clip = int(roi[0])
            alone = head([m[clip : clip + 1] for m in some_maps()], (roi * torch.tensor([0, 1, 1, 1, 1]))[None], HW)
            torch.testing.assert_close(alone, logits[index : index + 1])


@each_case("training", [False, True])
def test_nobody_is_no_problem(training: bool) -> None:
    head = some_head().train(training)
    learnt = head.acrn.join_norm.running_var.clone()
    answer = head(some_maps(), torch.zeros(0, 5), HW)
    answer.sum().backward()
    assert answer.shape == (0, CLASSES)
    # Every parameter takes part, for processes that wait for each other's gradients; norms learn nothing from nobody.
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in head.parameters())
    assert torch.equal(head.acrn.join_norm.running_var, learnt)
    assert head(some_maps(), ROIS[:1], HW).isfinite().all()


def test_gradient_reaches_every_parameter() -> None:
    head = some_head()
    head(some_maps(), ROIS, HW).square().sum().backward()
    silent = [name for name, p in head.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_a_slowfast_with_it_has_the_parameters_of_mmaction2s() -> None:
    # 92 232 057 with a row for no class, which is not kept here: 2304 weights and a bias less.
    arguments = {"lateral_norm": False, "last_dilation": 1, "head": {"resolution": 8, "aligned": True, "acrn": {}}}
    with torch.device("meta"):
        model = build("slowfast_r50", 80, pixels=SPEC.pixels, **arguments)
    assert sum(parameter.numel() for parameter in model.parameters()) == 92_232_057 - 2305
