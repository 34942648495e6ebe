"""Multiview transformers: counts by hand, independent views at first, and who asks whom."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from counting import sizes
from torch import Tensor, nn

from avadet.errors import AvadetError
from avadet.models.mtv import MTV, CrossViewAttention, View, mtv, mtv_b
from avadet.models.vit_blocks import Block, attention

VIEWS = (
    {"frames": 2, "channels": 16, "heads": 2},
    {"frames": 4, "channels": 12, "heads": 2},
    {"frames": 8, "channels": 8, "heads": 1},
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


def test_sizes_of_mtv_b() -> None:
    parameters, operations, shapes = sizes(mtv_b, (32, 224, 224))
    views = ((768, 2), (384, 4), (192, 8))
    tubelets = sum(3 * frames * 256 * width + width for width, frames in views)
    blocks = sum(12 * block(width, 4 * width) for width, _ in views)
    tables = sum((197 + 1) * width for width, _ in views)
    cross = sum(2 * a**2 + 2 * a * b + 4 * a + 2 * a + 2 * b for a, b in ((768, 384), (384, 192)))
    width = 768 + 384 + 192
    merged = 12 * block(width, 3072) + (17 + 1 + 2) * width
    assert parameters == tubelets + blocks + tables + 2 * cross + merged + 80 * (width + 1)
    # A stretch of 8 frames has 4 x 197, 2 x 197 and 197 tokens; there are four.
    counts = (788, 394, 197)
    within = sum(48 * n * (12 * c**2 + 2 * n * c) for n, (c, _) in zip(counts, views))
    embedded = sum(32 // frames * 196 * 3 * frames * 256 * c for c, frames in views)
    asked = sum(
        8 * (n * 2 * a**2 + m * 2 * a * b + 2 * n * m * a)
        for n, m, a, b in ((788, 394, 768, 384), (394, 197, 384, 192))
    )
    overall = 12 * 17 * (4 * width**2 + 2 * width * 3072 + 2 * 17 * width)
    assert operations == pytest.approx((within + embedded + asked + overall) / 1e9, rel=0.001)
    assert shapes == [(1, width, 16, 14, 14)]


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
        assert [tuple(one.shape) for one in frames] == [(1, 4, 7, 16), (1, 2, 7, 12), (1, 1, 7, 8)]
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
    for cross, (n, c), (m, d) in zip(net.blocks[1].cross, ((28, 16), (14, 12)), ((14, 12), (7, 8))):
        assert not cross(torch.randn(1, 1, n, c), torch.randn(1, 1, m, d)).any()


def test_each_view_asks_the_next() -> None:
    net = filled(net_of())
    clip = torch.randn(CLIP)
    with torch.no_grad():
        before = after_blocks(net, clip)
        for changed, told in ((0, [True, False, False]), (1, [True, True, False]), (2, [False, True, True])):
            weight = net.patches[changed].weight
            kept = weight.clone()
            weight.mul_(2)
            after = after_blocks(net, clip)
            weight.copy_(kept)
            assert [not torch.equal(one, other) for one, other in zip(before, after)] == told


def test_weights_of_cross_view_attention_sum_to_one() -> None:
    torch.manual_seed(0)
    cross = filled(CrossViewAttention(View(2, 16, 2), View(4, 12, 2)))
    asking, asked = torch.randn(1, 9, 16), torch.randn(1, 5, 12)
    with torch.no_grad():
        nn.init.zeros_(cross.kv.weight[16:])  # values are their bias, the same for all keys
        found = cross(asking, asked)
        expected = cross.proj(cross.kv.bias[16:]).expand(1, 9, 16)
        torch.testing.assert_close(found, expected)
        ones = attention(cross.q(asking), cross.kv(asked)[..., :16], torch.ones(1, 5, 16), 2)
    torch.testing.assert_close(ones, torch.ones(1, 9, 16))


def test_views_with_longer_tubelets_last_as_long() -> None:
    net = filled(net_of())
    frames = [torch.zeros(1, 4, 7, 16), torch.zeros(1, 2, 7, 12), torch.zeros(1, 1, 7, 8)]
    frames[1][0, 1, 3] = 1  # the second tubelet of 4 frames, at the third place: tubelets 2 and 3 of 2 frames
    net.global_blocks = nn.ModuleList()
    nn.init.zeros_(net.global_positions.table)
    net.norm = nn.Identity()
    joined = net._joined(frames, (4, 2, 3))
    assert joined.shape == (1, 4, 6, 36)
    assert joined.nonzero()[:, 1:3].unique(dim=0).tolist() == [[2, 2], [3, 2]]
    assert joined[0, 2, 2].nonzero().flatten().tolist() == list(range(16, 28))


def test_order_of_frames_counts_over_a_stretch() -> None:
    net = filled(net_of())
    clip = torch.randn(1, 3, 16, 32, 48)
    halves = torch.cat([clip[:, :, 8:], clip[:, :, :8]], dim=2)
    with torch.no_grad():
        (first,), (second,) = net(clip), net(halves)
        assert (first - second.roll(4, dims=2)).abs().max() > 0.01
        table = net.global_positions.table
        table.data = table.data[:, :1].expand_as(table).clone()
        (first,), (second,) = net(clip), net(halves)
    torch.testing.assert_close(first, second.roll(4, dims=2), atol=1e-4, rtol=1e-4)


def test_what_cannot_be_built_or_seen() -> None:
    with pytest.raises(AvadetError, match=r"must fit into those of the next, got \[2, 3\] frames"):
        mtv(5, views=({**VIEWS[0]}, {**VIEWS[1], "frames": 3}))
    with pytest.raises(AvadetError, match="must have a multiple of 8 frames, its longest tubelet; got 12"):
        net_of()(torch.zeros(1, 3, 12, 32, 48))
