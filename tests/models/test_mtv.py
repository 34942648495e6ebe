"""Multiview transformers: counts by hand, independent views at first, and who asks whom."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from counting import sizes
from torch import Tensor, nn

from avadet.errors import AvadetError
from avadet.models.backbones.mtv import MTV, CrossViewAttention, View
from avadet.models.backbones.vit_blocks import Block, attention
from avadet.models.build import build

VIEWS = (
    {"frames": 8, "embed_dim": 8, "heads": 1},
    {"frames": 4, "embed_dim": 12, "heads": 2},
    {"frames": 2, "embed_dim": 16, "heads": 2},
)
SMALL = {
    "views": VIEWS,
    "depth": 2,
    "fuse_at": (1,),
    "global_depth": 1,
    "global_heads": 2,
    "global_hidden": 20,
    "grid": (4, 2, 3),
}
CLIP = (1, 3, 8, 32, 48)


def block(channels: int, hidden: int) -> int:
    """Parameters of a block."""
    return 4 * channels**2 + 2 * channels * hidden + 4 * channels + 5 * channels + hidden


# Channels, frames of a tubelet, blocks: Ti/8+S/4+B/2 and Ti/16+S/8+B/4+L/2 of the released configs.
BASE = ((192, 8, 12), (384, 4, 12), (768, 2, 12))
LARGE = ((192, 16, 12), (384, 8, 12), (768, 4, 12), (1024, 2, 24))


def released(views: tuple[tuple[int, int, int], ...]) -> int:
    """Parameters of a released model as a detector of 80 classes, by hand."""
    tubelets = sum(3 * frames * 256 * width + width for width, frames, _ in views)
    cls_tokens = sum(32 // frames * width for width, frames, _ in views)
    positions = sum(197 * width for width, _, _ in views)
    blocks = sum(depth * block(width, 4 * width) for width, _, depth in views)
    widths = [width for width, _, _ in views]
    # Queries and outputs of the narrower view, keys and values of the wider one brought to its width; a norm a view.
    cross = sum(2 * (a * a + a) + 2 * (b * a + a) for a, b in itertools.pairwise(widths))
    cross += sum(2 * width for width in widths)
    total = sum(widths)
    merged = 12 * block(total, 3072) + total + 17 * total + 2 * total
    return tubelets + cls_tokens + positions + blocks + 2 * cross + merged + 80 * (total + 1)


def test_sizes_of_mtv_b() -> None:
    parameters, operations, shapes = sizes("mtv_b", (32, 224, 224))
    assert parameters == released(BASE) == 303_840_464
    width = 768 + 384 + 192
    # A stretch of 8 frames has 197, 2 x 197 and 4 x 197 tokens; there are four.
    counts = (197, 394, 788)
    within = sum(48 * n * (12 * c**2 + 2 * n * c) for n, (c, _, _) in zip(counts, BASE))
    embedded = sum(32 // frames * 196 * 3 * frames * 256 * c for c, frames, _ in BASE)
    asked = sum(
        8 * (n * 2 * a**2 + m * 2 * a * b + 2 * n * m * a)
        for n, m, a, b in ((197, 394, 192, 384), (394, 788, 384, 768))
    )
    overall = 12 * 17 * (4 * width**2 + 2 * width * 3072 + 2 * 17 * width)
    assert operations == pytest.approx((within + embedded + asked + overall) / 1e9, rel=0.001)
    assert shapes == [(1, width, 16, 14, 14)]


def test_views_may_have_depths_of_their_own() -> None:
    views = [
        {"frames": frames, "embed_dim": width, "heads": heads, "depth": depth}
        for (width, frames, depth), heads in zip(LARGE, (3, 6, 12, 16))
    ]
    parameters, _, shapes = sizes("mtv", (32, 224, 224), views=views, fuse_at=(11, 23))
    assert parameters == released(LARGE) == 875_150_672
    assert shapes == [(1, 192 + 384 + 768 + 1024, 16, 14, 14)]


def filled(net: nn.Module) -> nn.Module:
    """The same net with no weight at zero."""
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    return net.eval()


def net_of(**changes: Any) -> MTV:
    torch.manual_seed(0)
    return MTV(**{**SMALL, **changes}).eval()


def after_blocks(net: MTV, clip: Tensor) -> list[Tensor]:
    """The tokens of every view after its blocks."""
    frames, _ = net._tokenised(clip)
    tokens = [one.reshape(1, 1, -1, one.shape[-1]) for one in frames]
    for one in net.blocks:
        tokens = one(tokens)
    return tokens


def test_fresh_views_are_independent() -> None:
    net = net_of()
    clip = torch.randn(CLIP)
    with torch.no_grad():
        frames, _ = net._tokenised(clip)
        assert [tuple(one.shape) for one in frames] == [(1, 1, 7, 8), (1, 2, 7, 12), (1, 4, 7, 16)]
        for number, (found, tokens) in enumerate(zip(after_blocks(net, clip), frames)):
            tokens = tokens.flatten(1, 2)[:, None]
            for layer in net.blocks:
                plain: Block = layer.views[number]
                tokens = plain(tokens)
            assert torch.equal(found, tokens)


def test_cross_view_attention_gives_zeros_at_first() -> None:
    torch.manual_seed(0)
    net = net_of()
    assert [len(layer.cross) for layer in net.blocks] == [0, 2]
    for cross, (n, c), (m, d) in zip(net.blocks[1].cross, ((7, 8), (14, 12)), ((14, 12), (28, 16))):
        assert not cross(torch.randn(1, 1, n, c), torch.randn(1, 1, m, d)).any()


def test_each_view_asks_the_next_with_shorter_tubelets() -> None:
    net = filled(net_of())
    clip = torch.randn(CLIP)
    with torch.no_grad():
        before = after_blocks(net, clip)
        for changed, told in ((0, [True, False, False]), (1, [True, True, False]), (2, [False, True, True])):
            weight = net.patch_embed[changed].weight
            kept = weight.clone()
            weight.mul_(2)
            after = after_blocks(net, clip)
            weight.copy_(kept)
            assert [not torch.equal(one, other) for one, other in zip(before, after)] == told


def test_weights_of_cross_view_attention_sum_to_one() -> None:
    torch.manual_seed(0)
    cross = filled(CrossViewAttention(View(4, 16, 2), View(2, 12, 2)))
    asking, asked = torch.randn(1, 9, 16), torch.randn(1, 5, 12)
    with torch.no_grad():
        nn.init.zeros_(cross.kv.weight[16:])  # values are their bias, the same for all keys
        found = cross(asking, asked)
        expected = cross.proj(cross.kv.bias[16:]).expand(1, 9, 16)
        torch.testing.assert_close(found, expected)
        ones = attention(cross.q(asking), cross.kv(asked)[..., :16], torch.ones(1, 5, 16), 2)
    torch.testing.assert_close(ones, torch.ones(1, 9, 16))


def test_views_of_fewer_steps_are_tiled() -> None:
    net = filled(net_of())
    frames = [torch.zeros(1, 1, 7, 8), torch.zeros(1, 2, 7, 12), torch.zeros(1, 4, 7, 16)]
    frames[1][0, 1, 3] = 1  # the second of two tubelets of 4 frames, at the third place
    net.global_blocks = nn.ModuleList()
    nn.init.zeros_(net.global_pos_embed.table)
    net.norm = nn.Identity()
    joined = net._joined(frames, (4, 2, 3))
    assert joined.shape == (1, 4, 6, 36)
    assert joined.nonzero()[:, 1:3].unique(dim=0).tolist() == [[1, 2], [3, 2]]
    assert joined[0, 1, 2].nonzero().flatten().tolist() == list(range(8, 20))


def test_every_step_of_every_view_has_a_class_token() -> None:
    net = net_of()
    assert [tuple(token.shape) for token in net.cls_tokens] == [(1, 1, 8), (1, 2, 12), (1, 4, 16)]
    assert not any(token.any() for token in net.cls_tokens)
    with torch.no_grad():
        net.cls_tokens[2].copy_(torch.tensor([0.0, 1, 2, 3])[:, None].expand(4, 16))
        net.pos_embed[2].table.zero_()
        # A clip of half the length: what lies between its two steps' tokens.
        found, _ = net._tokenised(torch.zeros(1, 3, 8, 32, 48))
        half, _ = MTV(**{**SMALL, "grid": (8, 2, 3)})._tokenised(torch.zeros(1, 3, 8, 32, 48))
    assert found[2][0, :, 0, 0].tolist() == [0, 1, 2, 3]
    assert half[2].shape == (1, 4, 7, 16)


def test_a_view_that_asks_and_is_asked_is_normed_once() -> None:
    net = net_of()
    assert [len(layer.norms) for layer in net.blocks] == [0, 3]
    assert [tuple(norm.weight.shape) for norm in net.blocks[1].norms] == [(8,), (12,), (16,)]


def test_only_positions_and_class_tokens_know_the_order_of_stretches() -> None:
    net = filled(net_of(views=VIEWS[2:], fuse_at=()))
    clip = torch.randn(1, 3, 16, 32, 48)
    halves = torch.cat([clip[:, :, 8:], clip[:, :, :8]], dim=2)
    with torch.no_grad():
        for table in (net.global_pos_embed.table, net.cls_tokens[0]):
            (first,), (second,) = net(clip), net(halves)
            assert (first - second.roll(4, dims=2)).abs().max() > 0.01
            table.data = table.data[:, :1].expand_as(table).clone()
        (first,), (second,) = net(clip), net(halves)
    torch.testing.assert_close(first, second.roll(4, dims=2), atol=1e-4, rtol=1e-4)


def test_what_cannot_be_built_or_seen() -> None:
    with pytest.raises(AvadetError, match=r"must fit into those of the view before, longest first, got \[8, 3\]"):
        build("mtv", 5, views=({**VIEWS[0]}, {**VIEWS[1], "frames": 3}))
    with pytest.raises(AvadetError, match="MTV takes clips of a multiple of 8 frames, got 12"):
        net_of()(torch.zeros(1, 3, 12, 32, 48))
