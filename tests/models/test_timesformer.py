"""TimeSformer: published sizes, which tokens see which, and transformers' features from the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from counting import sizes
from each_case import each_case
from torch import Tensor, nn

from avadet.errors import AvadetError
from avadet.models.backbones.timesformer import TimeSformer

SMALL = {"embed_dim": 16, "depth": 2, "heads": 2, "grid": (3, 2, 3)}
BLOCK = 12 * 768**2 + 13 * 768
TIME = 5 * 768**2 + 7 * 768
"""A divided block has more: attention along time, another matrix behind it, and a norm before it."""


def by_hand(blocks: int, frames: int, places: int) -> int:
    """Parameters with 80 classes: patches of 16 x 16 px, class token, positions, times, blocks, norm, classifier."""
    return 769 * 768 + (2 + places + frames) * 768 + 12 * blocks + 2 * 768 + 80 * 769


@pytest.mark.parametrize(
    ("builder", "options", "clip", "parameters", "gflops"),
    [  # operations: the paper has 0.59, 5.11 and 7.14 * 10 ** 12 for three crops; mmaction2 lists 180 and 141
        ("timesformer_b", {}, (8, 224, 224), by_hand(BLOCK + TIME, 8, 196), 590 / 3),
        pytest.param(
            "timesformer_b_hr",
            {},
            (16, 448, 448),
            by_hand(BLOCK + TIME, 16, 784),
            5110 / 3,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "timesformer_b_l",
            {},
            (96, 224, 224),
            by_hand(BLOCK + TIME, 96, 196),
            7140 / 3,
            marks=pytest.mark.slow,
        ),
        ("timesformer_b", {"form": "joint"}, (8, 224, 224), by_hand(BLOCK, 8, 196), 180),
        ("timesformer_b", {"form": "space"}, (8, 224, 224), by_hand(BLOCK, 0, 196), 141),
    ],
)
def test_published_sizes(
    builder: str,
    options: dict[str, Any],
    clip: tuple[int, int, int],
    parameters: int,
    gflops: float,
) -> None:
    found, operations, shapes = sizes(builder, clip, **options)
    assert found == parameters
    assert operations == pytest.approx(gflops, rel=0.01)
    assert shapes == [(1, 768, clip[0], clip[1] // 16, clip[2] // 16)]


def backbone(**changes: Any) -> nn.Module:
    """A small one with no weight at zero."""
    torch.manual_seed(0)
    net = TimeSformer(**{**SMALL, **changes})
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    return net.eval()


def both_ways(net: nn.Module) -> tuple[Tensor, Tensor]:
    """The map of a clip, and that of the clip with its frames in another order, put in the first's order."""
    clip = torch.randn(1, 3, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        (first,), (second,) = net(clip), net(clip[:, :, [1, 2, 0]])
    return first, second[:, :, [2, 0, 1]]


@each_case("form", ["divided", "joint"])
def test_order_of_frames_counts(form: str) -> None:
    first, second = both_ways(backbone(form=form))
    assert (first - second).abs().max() > 0.01


@each_case("form", ["divided", "joint"])
def test_without_times_order_does_not_count(form: str) -> None:
    net = backbone(form=form)
    nn.init.zeros_(net.times.table)
    first, second = both_ways(net)
    torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)


def test_frames_by_themselves_do_not_see_each_other() -> None:
    net = backbone(form="space")
    clip = torch.randn(1, 3, 3, 32, 48)
    with torch.no_grad():
        (whole,), (one,) = net(clip), net(clip[:, :, 1:2])
    torch.testing.assert_close(whole[:, :, 1:2], one, atol=1e-5, rtol=1e-5)


def test_a_divided_block_looks_along_time_then_within_the_frame() -> None:
    net = backbone(depth=1)
    clip = torch.randn(1, 3, 3, 32, 48)
    other = clip.clone()
    other[:, :, 0, :16, :16] += 1  # the first place of the first frame
    block = net.blocks[0]
    cls = torch.zeros(1, 1, 16)
    with torch.no_grad():
        tokens = [net.patch_embed(each)[0].reshape(1, 3, 6, 16) for each in (clip, other)]
        # Attention along time alone: the first place of every frame changes, nothing else.
        along = [block.temporal_attn(one.transpose(1, 2)).transpose(1, 2) for one in tokens]
        (_, before), (_, after) = block(cls, tokens[0]), block(cls, tokens[1])
    assert ((along[0] - along[1]).abs().amax(dim=(0, 3)) > 1e-5).tolist() == [[True] + 5 * [False]] * 3
    assert ((before - after).abs().amax(dim=3) > 1e-5).all()


def test_a_fresh_one_does_not_see_other_frames_but_by_its_class_token() -> None:
    torch.manual_seed(0)
    net = TimeSformer(**SMALL, form="divided").eval()
    twin = TimeSformer(**SMALL, form="space").eval()
    twin.load_state_dict(net.state_dict(), strict=False)
    clip = torch.randn(1, 3, 1, 32, 48).expand(-1, -1, 3, -1, -1)  # of a clip that stands still the mean is each
    with torch.no_grad():
        torch.testing.assert_close(net(clip)[0], twin(clip)[0], atol=1e-5, rtol=1e-5)


def test_an_unknown_form() -> None:
    with pytest.raises(AvadetError, match="must be one of divided, joint, space, got 'axial'"):
        TimeSformer(form="axial")


def own_names(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """transformers' tensors of a `TimesformerModel` under the names they have here."""
    renames = (
        ("embeddings.patch_embeddings.projection", "patch_embed"),
        ("embeddings.position_embeddings", "pos_embed.table"),
        ("embeddings.time_embeddings", "times.table"),
        ("embeddings.cls_token", "cls_token"),
        ("encoder.layer", "blocks"),
        ("temporal_attention.attention", "temporal_attn"),
        ("temporal_attention.output.dense", "temporal_attn.proj"),
        ("temporal_layernorm", "temporal_norm"),
        ("temporal_dense", "temporal_fc"),
        ("attention.attention", "attn"),
        ("attention.output.dense", "attn.proj"),
        ("layernorm_before", "norm1"),
        ("layernorm_after", "norm2"),
        ("intermediate.dense", "mlp.fc1"),
        ("output.dense", "mlp.fc2"),
        ("layernorm", "norm"),
    )
    named = {}
    for name, tensor in theirs.items():
        for old, new in renames:
            name = name.replace(old, new)
        named[name] = tensor[:, :, None] if name == "patch_embed.weight" else tensor
    return named


@each_case(("form", "attention_type"), [("divided", "divided_space_time"), ("joint", "joint_space_time")])
def test_transformers_has_the_same_features(form: str, attention_type: str) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra transformers is not installed")
    torch.manual_seed(0)
    config = transformers.TimesformerConfig(
        image_size=32,
        num_frames=3,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        attention_type=attention_type,
    )
    theirs = transformers.TimesformerModel(config).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    own = TimeSformer(**{**SMALL, "grid": (3, 2, 2)}, form=form).eval()
    own.load_state_dict(own_names(theirs.state_dict()))
    clip = torch.randn(2, 3, 3, 32, 32)
    with torch.no_grad():
        expected = theirs(clip.transpose(1, 2)).last_hidden_state[:, 1:]  # place by place, then frame by frame
        (found,) = own(clip)
    torch.testing.assert_close(found.flatten(3).permute(0, 3, 2, 1).flatten(1, 2), expected, atol=1e-4, rtol=0)
