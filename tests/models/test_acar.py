"""Actor-context relations against numbers worked out by hand, and the laws of people who see each other."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from each_case import each_case
from small_heads import roi_head
from test_laws import CLASSES, SMALL, SPEC
from torch import Tensor, nn
from torch.nn import functional

from avadet.config import ClipConfig, ModelConfig
from avadet.errors import AvadetError
from avadet.models.build import build
from avadet.models.heads.acar import AcarOptions, ActorContextRelation, HighOrderRelation, one_scene
from avadet.models.heads.roi_head import RoIHead
from avadet.models.sizes import SIZES
from avadet.training.setup import model_arguments

HW = (64, 64)
ROIS = torch.tensor([[1.0, 4, 8, 40, 60], [0, 0, 0, 64, 64], [1, 30, 2, 62, 62], [0, 20, 20, 26, 28]])
TOGETHER = torch.ones(2, 2, dtype=torch.bool)


def layer_of_numbers(query: float, key: float, value: float, out: float) -> HighOrderRelation:
    """One channel, one cell, no norm: everything a multiplication."""
    layer = HighOrderRelation(AcarOptions(1, kernel=1)).eval()
    layer.norm = nn.Identity()
    with torch.no_grad():
        for conv, number in ((layer.query, query), (layer.key, key), (layer.value, value), (layer.out, out)):
            conv.weight.fill_(number)
    return layer


def cells(*actors: list[float]) -> Tensor:
    """One row of cells an actor: (R, 1, 1, W)."""
    return torch.tensor(actors)[:, None, None]


def test_a_high_order_relation_by_hand() -> None:
    # Products r * s * ln 2: actor 1 weighs the two by 2 : 4, actor 2 by 4 : 16. Their values are 3 and 6.
    layer = layer_of_numbers(1, math.log(2), 3, 10)
    weights = layer.attention(cells([1.0], [2.0]), TOGETHER)
    torch.testing.assert_close(weights.flatten(1), torch.tensor([[1 / 3, 2 / 3], [0.2, 0.8]]))
    # 1 + 10 * (3 / 3 + 6 * 2 / 3), 2 + 10 * (3 / 5 + 6 * 4 / 5)
    torch.testing.assert_close(layer(cells([1.0], [2.0]), TOGETHER).flatten(), torch.tensor([51.0, 56.0]))
    # What is below zero does not come through: 3 becomes -3.
    assert layer_of_numbers(1, 1, -3, 10)(cells([1.0], [2.0]), TOGETHER).flatten().tolist() == [1, 2]


def test_each_place_is_a_matter_of_its_own() -> None:
    layer = layer_of_numbers(1, math.log(2), 3, 10)
    both = layer(cells([1.0, 0.0], [2.0, 3.0]), TOGETHER)
    # At the second place actor 1 weighs 0 and 9 equally; actor 2 by 1 : 512.
    expected = torch.tensor([[51.0, 45.0], [56.0, 3 + 90 * 512 / 513]])
    torch.testing.assert_close(both.flatten(1), expected)


def test_products_are_divided_by_the_root_of_the_channels() -> None:
    layer = HighOrderRelation(AcarOptions(4, kernel=1))
    with torch.no_grad():
        for conv in (layer.query, layer.key):
            conv.weight.copy_(torch.eye(4)[:, :, None, None])
    relations = torch.tensor([[1.0, 1, 1, 1], [2, 2, 2, 2]])[:, :, None, None]
    # Products 4, 8 and 8, 16; halved: e ** 2 : e ** 4 and e ** 4 : e ** 8.
    expected = torch.tensor([[1 / (1 + math.e**2), 1 / (1 + math.e**-2)], [1 / (1 + math.e**4), 1 / (1 + math.e**-4)]])
    torch.testing.assert_close(layer.attention(relations, TOGETHER)[:, :, 0, 0], expected)


def test_actors_of_other_clips_are_not_looked_at() -> None:
    layer = layer_of_numbers(1, 1, 3, 10)
    alone = layer.attention(cells([1.0], [2.0]), torch.eye(2, dtype=torch.bool))
    assert alone.flatten(1).tolist() == [[1, 0], [0, 1]]
    assert layer(cells([1.0], [2.0]), torch.eye(2, dtype=torch.bool)).flatten().tolist() == [31, 62]


def test_attention_sums_to_one() -> None:
    torch.manual_seed(0)
    owner = torch.tensor([1, 0, 1, 1, 2])
    together = owner[:, None] == owner
    weights = HighOrderRelation(AcarOptions(6)).attention(torch.randn(5, 6, 3, 4), together)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(5, 3, 4))
    assert weights.min() >= 0
    assert (weights[~together] == 0).all()
    assert (weights[together] > 0).all()


def test_a_first_order_relation_by_hand() -> None:
    relation = ActorContextRelation(1, 1, AcarOptions(width=1, depth=0, kernel=1, shrink=False))
    with torch.no_grad():
        for parameter, number in (
            (relation.scene.weight, 2), (relation.actor.weight, 3), (relation.actor.bias, 1),
            (relation.join.weight, 5), (relation.join.bias, -30),
        ):  # fmt: skip
            parameter.fill_(number)
    places = torch.tensor([[0.0, 1, 2], [1, 1, 1]]).view(2, 1, 1, 1, 3)
    # An actor of 1 says 3 * 1 + 1 = 4; with places 0, 1, 2 of his clip 4, 6, 8; then -10, 0, 10, of which 10 stays.
    # One of -1 says -2; with places of 1 in his: 0, and -30.
    actors, owner = torch.tensor([[-1.0], [1.0]]), torch.tensor([1, 0])
    assert relation.first_order(actors, [places], owner).flatten(1).tolist() == [[0, 0, 0], [0, 0, 10]]
    torch.testing.assert_close(relation(actors, [places], owner).flatten(), torch.tensor([0, 10 / 3]))


def test_the_split_convolution_is_one_over_the_tiled_actor_beside_the_map() -> None:
    torch.manual_seed(0)
    relation = ActorContextRelation(5, 3, AcarOptions(width=4))
    maps, actors, owner = torch.randn(2, 3, 2, 6, 8), torch.randn(3, 5), torch.tensor([1, 0, 1])
    tiled = actors[:, :, None, None].expand(-1, -1, 6, 8)
    joined = torch.cat([tiled, maps.mean(dim=2)[owner]], dim=1)
    weight = torch.cat([relation.actor.weight[:, :, None, None], relation.scene.weight], dim=1)
    pairs = functional.conv2d(joined, weight, relation.actor.bias).relu()
    expected = functional.max_pool2d(relation.join(pairs).relu(), 3, stride=2, padding=1)
    assert expected.shape == (3, 4, 3, 4)
    torch.testing.assert_close(relation.first_order(actors, [maps], owner), expected)


def test_without_padding_the_edge_is_lost() -> None:
    relation = ActorContextRelation(1, 1, AcarOptions(width=1, depth=0, pad=False, shrink=False))
    with torch.no_grad():
        for parameter in relation.parameters():
            parameter.fill_(0)
        for layer in (relation.scene, relation.join):
            layer.weight.fill_(1)
    places = torch.arange(12.0).view(1, 1, 1, 3, 4)
    # Sums of 3x3: nine times the middle ones, 5 and 6.
    assert relation.first_order(torch.zeros(1, 1), [places], torch.tensor([0])).tolist() == [[[[45, 54]]]]
    with pytest.raises(AvadetError, match="need maps of 3 cells along each side at least, got 2x4"):
        relation(torch.zeros(1, 1), [places[:, :, :, :2]], torch.tensor([0]))


def test_the_last_convolution_may_be_of_another_size() -> None:
    layer = HighOrderRelation(AcarOptions(4, out_kernel=1))
    assert [conv.kernel_size for conv in (layer.query, layer.key, layer.value, layer.out)] == [(3, 3)] * 3 + [(1, 1)]
    assert layer(torch.randn(2, 4, 5, 6), TOGETHER).shape == (2, 4, 5, 6)


def test_own_features_may_be_brought_to_another_width() -> None:
    torch.manual_seed(1)
    head = roi_head([3, 2], CLASSES, aligned=True, acar={"width": 6}, own_width=4).eval()
    maps = [torch.randn(2, 3, 2, 8, 8), torch.randn(2, 2, 4, 8, 8)]
    features = head.box_features(maps, ROIS, HW)
    joined = torch.cat([head.own(features).relu(), head.acar(features, maps, ROIS[:, 0].long())], dim=1)
    assert joined.shape == (4, 10) and (joined[:, :4] == 0).any()
    torch.testing.assert_close(head(maps, ROIS, HW), head.proj(joined))


def test_maps_meet_at_the_size_of_the_smallest() -> None:
    large = torch.arange(16.0).view(1, 1, 1, 4, 4).repeat(1, 1, 3, 1, 1)
    large[:, :, 0] += 3  # time is averaged
    small = torch.tensor([7.0, 8, 9, 10]).view(1, 1, 1, 2, 2)
    scene = one_scene([large, small.half()])
    assert scene.dtype == torch.float32
    # Means of four: 0 1 4 5 -> 2.5, and 1 for the first frame's 3.
    assert scene.tolist() == [[[[3.5, 5.5], [11.5, 13.5]], [[7, 8], [9, 10]]]]


def head_and_maps(**relation: Any) -> tuple[RoIHead, list[Tensor]]:
    """A head with relations on two maps of two clips."""
    torch.manual_seed(1)
    head = roi_head([3, 2], CLASSES, aligned=True, context=True, acar={"width": 6, **relation}).eval()
    nn.init.normal_(head.proj.weight)
    return head, [torch.randn(2, 3, 2, 8, 8), torch.randn(2, 2, 4, 8, 8)]


def test_relations_stand_beside_the_actors_own_features() -> None:
    head, maps = head_and_maps()
    own, owner = head.box_features(maps, ROIS, HW), ROIS[:, 0].long()
    assert own.shape == (4, head.own_features) == (4, 10)
    related = head.acar(own, maps, owner)
    torch.testing.assert_close(head(maps, ROIS, HW), head.proj(torch.cat([own, related], dim=1)))
    plain = roi_head([3, 2], CLASSES, aligned=True, context=True).eval()
    with torch.no_grad():
        plain.proj.weight.copy_(head.proj.weight[:, :10])
        plain.proj.bias.copy_(head.proj.bias)
        head.proj.weight[:, 10:] = 0
    torch.testing.assert_close(head(maps, ROIS, HW), plain(maps, ROIS, HW))


def test_people_of_one_clip_see_each_other_and_no_others() -> None:
    head, maps = head_and_maps(depth=2)
    with torch.no_grad():
        logits = head(maps, ROIS, HW)
        by_clip = head(maps, ROIS[ROIS[:, 0] == 1], HW)
        torch.testing.assert_close(by_clip, logits[[0, 2]])
        first_alone = head(maps, ROIS[:1], HW)
    assert (first_alone - logits[:1]).abs().max() > 1e-3


def test_without_the_high_order_nobody_sees_another() -> None:
    head, maps = head_and_maps(depth=0)
    with torch.no_grad():
        alone = torch.cat([head(maps, ROIS[index : index + 1], HW) for index in range(4)])
        torch.testing.assert_close(alone, head(maps, ROIS, HW))


def test_order_of_people_is_order_of_answers() -> None:
    head, maps = head_and_maps()
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        torch.testing.assert_close(head(maps, ROIS[order], HW), head(maps, ROIS, HW)[order])


def test_a_batch_of_two_is_two_batches_of_one() -> None:
    head, maps = head_and_maps()
    with torch.no_grad():
        both = head(maps, ROIS, HW)
        for clip, rows in ((0, [1, 3]), (1, [0, 2])):
            rois = ROIS[rows].clone()
            rois[:, 0] = 0
            torch.testing.assert_close(head([one_map[clip : clip + 1] for one_map in maps], rois, HW), both[rows])


@pytest.mark.parametrize("training", [False, True])
def test_nobody_and_somebody_alone_are_no_problem(training: bool) -> None:
    head, maps = head_and_maps(depth=2)
    head.train(training)
    nobody = head(maps, torch.zeros(0, 5), HW)
    assert nobody.shape == (0, CLASSES)
    nobody.sum().backward()
    # Every parameter takes part, for processes that wait for each other's gradients.
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in head.parameters())
    assert head(maps, ROIS[:1], HW).isfinite().all()


def test_gradient_reaches_every_parameter_and_every_map() -> None:
    head, maps = head_and_maps(depth=2)
    maps = [one_map.requires_grad_() for one_map in maps]
    head(maps, ROIS, HW).square().sum().backward()
    silent = [name for name, p in head.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []
    assert all(one_map.grad is not None and one_map.grad.abs().sum() > 0 for one_map in maps)


@pytest.mark.parametrize(("depth", "least", "most"), [(0, 0.5, 1.0), (1, 0.0, 0.1)])
def test_what_only_the_other_tells_is_learnt_by_the_high_order(depth: int, least: float, most: float) -> None:
    # Two people a clip; what each does is written on the other. By the first order alone the loss stays near ln 2.
    torch.manual_seed(0)
    relation = ActorContextRelation(1, 1, AcarOptions(width=8, depth=depth, kernel=1, shrink=False, dropout=0))
    classifier = nn.Linear(9, 1)
    optimizer = torch.optim.Adam([*relation.parameters(), *classifier.parameters()], lr=0.03)
    maps, owner = [torch.zeros(16, 1, 1, 2, 2)], torch.arange(16).repeat(2)
    for _ in range(60):
        own = torch.randint(0, 2, (32, 1)) * 2.0 - 1
        logits = classifier(torch.cat([own, relation(own, maps, owner)], dim=1))
        loss = functional.binary_cross_entropy_with_logits(logits, (own.roll(16, 0) > 0).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert least < loss.item() < most


def test_sizes_of_the_published_head() -> None:
    # On SlowFast's 2048 + 256 channels: a first order of 2304 * 512 each way and a 3x3 convolution, a high order of
    # four 3x3 convolutions and a norm.
    with torch.device("meta"):
        relation = ActorContextRelation(2304, 2304)
    square = 9 * 512 * 512
    assert sum(p.numel() for p in relation.scene.parameters()) == 2304 * 512
    assert sum(p.numel() for p in relation.parameters()) == 2 * 2304 * 512 + 512 + square + 512 + 4 * square + 2 * 512


WITHOUT_HEAD = ("tiny_actions", "tiny_two_views", "person_crops")


@each_case("architecture", sorted(set(SIZES) - {*WITHOUT_HEAD, "two_streams_r50"}))
def test_any_backbone_can_have_relations_and_a_bank(architecture: str) -> None:
    sizes = SMALL[architecture]
    head = {**sizes.get("head", {}), "acrn": {"width": 6}, "acar": {"width": 8}, "bank": {"width": 4}}
    with torch.device("meta"):
        model = build(architecture, CLASSES, pixels=SPEC.pixels, **{**sizes, "head": head})
    own = model.head.own_features
    assert model.head.proj.in_features == 6 + 8
    assert model.head.acrn.join.in_channels == own + sum(model.backbone.out_channels)
    assert model.head.acar.scene.in_channels == sum(model.backbone.out_channels)
    assert model.head.bank.out.weight.shape == (own, 4)


def test_an_option_that_means_nothing_is_refused() -> None:
    with pytest.raises(AvadetError, match=r"unknown option of head\.relation\.acar 'widht'; did you mean width"):
        build("slow_r50", CLASSES, pixels=SPEC.pixels, **{**SMALL["slow_r50"], "head": {"acar": {"widht": 8}}})


def test_a_config_asks_for_them_under_the_head() -> None:
    wanted = ModelConfig(family="slow_r50", arguments={**SMALL["slow_r50"], "head": {"acar": {"depth": 2}}})
    arguments = model_arguments(wanted, ClipConfig())
    assert arguments["head"]["acar"] == {"depth": 2}
    with torch.device("meta"):
        assert len(build("slow_r50", CLASSES, pixels=SPEC.pixels, **arguments).head.acar.layers) == 2
