"""ViViT's four forms: published sizes, which tokens see which, and transformers' features from the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from counting import sizes
from each_case import each_case
from torch import Tensor, nn

from avadet.errors import AvadetError
from avadet.models.backbones.vivit import FactorisedSelfAttentionBlock, JointViViT, SplitAttention
from avadet.models.build import build

FORMS = ("joint", "factorised_encoder", "factorised_attention", "factorised_dot_product")
SMALL = {"embed_dim": 16, "depth": 2, "heads": 2, "grid": (4, 2, 3)}
BLOCK = 12 * 768**2 + 13 * 768
"""Parameters of a block: matrices of 4 + 8 times C x C; biases of 4 + 5 times C; norms of 4 times C."""
TUBELETS = 3 * 2 * 16 * 16 * 768 + 768
REST = 2 * 768 + 80 * 768 + 80
"""A norm and a classifier of 80 classes."""


@each_case(
    ("builder", "parameters", "with_400_classes", "gflops"),
    [  # the last two columns are of the paper's table of forms: M, 10 ** 9 multiply-adds
        ("vivit_b_16x2", TUBELETS + 12 * BLOCK + (3137 + 1) * 768 + REST, 88.9, 455.2),
        (
            "vivit_b_16x2_factorised_encoder",
            TUBELETS + (12 + 4) * BLOCK + (197 + 1 + 17 + 1 + 2) * 768 + REST,
            115.1,
            284.4,
        ),
        (
            "vivit_b_16x2_factorised_attention",
            TUBELETS + 12 * (BLOCK + 4 * 768**2 + 6 * 768) + 3136 * 768 + REST,
            117.3,
            372.3,
        ),
        ("vivit_b_16x2_factorised_dot_product", TUBELETS + 12 * BLOCK + 3136 * 768 + REST, 88.9, 277.1),
    ],
)
def test_published_sizes(builder: str, parameters: int, with_400_classes: float, gflops: float) -> None:
    found, operations, shapes = sizes(builder, (32, 224, 224))
    assert found == parameters
    assert (found + 320 * 769) / 1e6 == pytest.approx(with_400_classes, abs=0.06)
    assert operations == pytest.approx(gflops, rel=0.01)
    assert shapes == [(1, 768, 16, 14, 14)]


@each_case(
    ("builder", "millions"),
    [("vivit_l_16x2", 307.180624), ("vivit_l_16x2_factorised_encoder", 354.575440)],
)
def test_large_ones(builder: str, millions: float) -> None:
    with torch.device("meta"):
        model = build(builder, 80)
    assert sum(p.numel() for p in model.parameters()) == round(millions * 1e6)


def backbone(form: str, **changes: Any) -> nn.Module:
    """A small one with no weight at zero."""
    torch.manual_seed(0)
    net = build("vivit", 5, form=form, **{**SMALL, **changes}).backbone
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    return net.eval()


def blind_to_order(net: nn.Module) -> nn.Module:
    """The net with the same positions in all frames."""
    for name, table in net.named_parameters():
        if name == "pos_embed.table" and net.pos_embed.grid[0] > 1:
            cls = net.pos_embed.cls_tokens
            first = table.data[:, cls : cls + 6]
            table.data = torch.cat([table.data[:, :cls], first.repeat(1, 4, 1)], dim=1)
        if name == "temporal_pos_embed.table":
            table.data = table.data[:, :1].expand_as(table).clone()
    return net


def both_ways(net: nn.Module) -> tuple[Tensor, Tensor]:
    """The map of a clip, and that of the clip with its tubelets in another order, put in the first's order."""
    clip = torch.randn(1, 3, 8, 32, 48, generator=torch.Generator().manual_seed(1))
    shuffled = clip[:, :, [4, 5, 0, 1, 6, 7, 2, 3]]
    with torch.no_grad():
        (first,), (second,) = net(clip), net(shuffled)
    back = [1, 3, 0, 2]
    return first, second[:, :, back]


@each_case("form", FORMS)
def test_order_of_frames_counts(form: str) -> None:
    first, second = both_ways(backbone(form))
    assert (first - second).abs().max() > 0.01


@each_case("form", FORMS)
def test_without_positions_in_time_order_does_not_count(form: str) -> None:
    first, second = both_ways(blind_to_order(backbone(form)))
    torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)


@each_case("form", FORMS)
def test_frames_see_each_other(form: str) -> None:
    net = backbone(form)
    clip = torch.randn(1, 3, 8, 32, 48)
    other = clip.clone()
    other[:, :, 6:] += 1
    with torch.no_grad():
        change = (net(clip)[0] - net(other)[0]).abs()
    assert (change.amax(dim=(0, 1)) > 1e-4).all()  # every cell, in frames that did not change too


def test_fresh_attention_along_time_gives_zeros() -> None:
    torch.manual_seed(0)
    net = build("vivit", 5, form="factorised_attention", **SMALL).backbone
    nn.init.zeros_(net.pos_embed.table)
    clip = torch.randn(1, 3, 8, 32, 48)
    with torch.no_grad():
        (whole,), (end,) = net(clip), net(clip[:, :, 6:])
    torch.testing.assert_close(whole[:, :, 3:], end)  # as if there were no other frames


def test_heads_of_the_dot_product_form_look_two_ways() -> None:
    torch.manual_seed(0)
    layer = SplitAttention(8, 4)
    layer.proj = nn.Identity()
    frames = torch.randn(1, 3, 5, 8)
    other = frames.clone()
    other[0, 2, 4] += 1  # one token of the last frame
    with torch.no_grad():
        change = (layer(frames) - layer(other)).abs()[0] > 1e-6
    assert change[2, :, :4].any(dim=1).all()  # the first heads: all of its frame ...
    assert not change[:2, :, :4].any()  # ... and no other
    assert change[:, 4, 4:].any(dim=1).all()  # the last heads: its place in all frames ...
    assert not change[:, :4, 4:].any()  # ... and no other


def test_each_head_has_channels_of_its_own() -> None:
    torch.manual_seed(0)
    layer = SplitAttention(8, 4)
    layer.proj = nn.Identity()
    frames = torch.randn(1, 3, 5, 8)
    with torch.no_grad():
        found = layer(frames)[0]
        q, k, v = (part[0].reshape(3, 5, 4, 2) for part in layer.projected(frames))
        for head in range(4):
            over = [part[:, :, head] if head < 2 else part[:, :, head].transpose(0, 1) for part in (q, k, v)]
            mixed = (over[0] @ over[1].transpose(1, 2) / 2**0.5).softmax(dim=-1) @ over[2]
            expected = mixed if head < 2 else mixed.transpose(0, 1)
            torch.testing.assert_close(found[:, :, 2 * head : 2 * head + 2], expected)


def test_cells_of_the_factorised_encoder_are_places_plus_frames() -> None:
    net = backbone("factorised_encoder")
    tokens, grid = net.patch_embed(torch.randn(1, 3, 8, 32, 48))
    with torch.no_grad():
        frames = net.within_frames(tokens.reshape(1, 4, 6, 16), grid)
        over = net.over_frames(frames[:, :, 0])
        assert (frames.shape, over.shape) == ((1, 4, 7, 16), (1, 4, 16))
        found = net.encode(tokens, grid).reshape(4, 6, 16)
    torch.testing.assert_close(found[2, 5], frames[0, 2, 6] + over[0, 2])


def test_what_cannot_be_built() -> None:
    with pytest.raises(AvadetError, match=r"must be one of joint, factorised_encoder, .*, got 'divided'"):
        build("vivit", 5, form="divided", **SMALL)
    with pytest.raises(AvadetError, match="are split in two, got 3 of them"):
        build("vivit", 5, form="factorised_dot_product", embed_dim=12, depth=1, heads=3)
    assert isinstance(
        build("vivit", 5, form="factorised_attention", **SMALL).backbone.blocks[0], FactorisedSelfAttentionBlock
    )


def own_names(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """transformers' tensors of a `VivitModel` under the names they have here."""
    renames = (
        ("embeddings.patch_embeddings.projection", "patch_embed"),
        ("embeddings.position_embeddings", "pos_embed.table"),
        ("embeddings.cls_token", "cls_token"),
        ("encoder.layer.", "blocks."),  # as checkpoints and older releases have it
        ("layers.", "blocks."),
        ("attention.attention.query", "attn.q"),
        ("attention.attention.key", "attn.k"),
        ("attention.attention.value", "attn.v"),
        ("attention.output.dense", "attn.proj"),
        ("attention.q_proj", "attn.q"),
        ("attention.k_proj", "attn.k"),
        ("attention.v_proj", "attn.v"),
        ("attention.o_proj", "attn.proj"),
        ("layernorm_before", "norm1"),
        ("layernorm_after", "norm2"),
        ("intermediate.dense", "mlp.fc1"),
        ("output.dense", "mlp.fc2"),
        ("layernorm", "norm"),
    )
    named: dict[str, Any] = {}
    for name, tensor in theirs.items():
        for old, new in renames:
            name = name.replace(old, new)
        named[name] = tensor
    for number in range(SMALL["depth"]):
        for kind in ("weight", "bias"):
            parts = [named.pop(f"blocks.{number}.attn.{part}.{kind}") for part in "qkv"]
            named[f"blocks.{number}.attn.qkv.{kind}"] = torch.cat(parts)
    return named


def test_transformers_has_the_same_features() -> None:
    transformers = pytest.importorskip("transformers", reason="the extra transformers is not installed")
    torch.manual_seed(0)
    config = transformers.VivitConfig(
        image_size=32,
        num_frames=8,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    theirs = transformers.VivitModel(config, add_pooling_layer=False).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    own = JointViViT(**{**SMALL, "grid": (4, 2, 2)}, gelu="tanh").eval()
    own.load_state_dict(own_names(theirs.state_dict()))
    clip = torch.randn(2, 3, 8, 32, 32)
    with torch.no_grad():
        expected = theirs(clip.transpose(1, 2)).last_hidden_state[:, 1:]
        (found,) = own(clip)
    torch.testing.assert_close(found.flatten(2).transpose(1, 2), expected, atol=1e-4, rtol=0)
