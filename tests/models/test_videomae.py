"""VideoMAE's encoder: published sizes, positions by hand, and transformers' features from the same weights."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from counting import sizes
from torch import nn

from avadet.models.backbones.videomae import VideoMAE, sines_and_cosines

SMALL = {"embed_dim": 16, "depth": 2, "heads": 2, "grid": (2, 2, 3)}


def by_hand(channels: int, depth: int) -> int:
    """Parameters with 80 classes: tubelets of 2 x 16 x 16 px, blocks without a bias of keys, norm, classifier."""
    tubelets = 3 * 2 * 16 * 16 * channels + channels
    attention = 3 * channels**2 + 2 * channels + channels**2 + channels
    perceptron = 8 * channels**2 + 5 * channels
    return tubelets + depth * (attention + perceptron + 4 * channels) + 2 * channels + 80 * channels + 80


@pytest.mark.parametrize(
    ("builder", "channels", "depth", "millions", "gflops"),
    [  # of the paper's tables: 22, 87, 305 and 633 M with 400 or 174 classes
        ("videomae_s", 384, 12, 21.91, 57),
        ("videomae_b", 768, 12, 86.29, 180),
        pytest.param("videomae_l", 1024, 24, 303.94, 597, marks=pytest.mark.slow),
        pytest.param("videomae_h", 1280, 32, 631.71, 1192, marks=pytest.mark.slow),
    ],
)
def test_published_sizes(builder: str, channels: int, depth: int, millions: float, gflops: float) -> None:
    parameters, operations, shapes = sizes(builder, (16, 224, 224))
    assert parameters == by_hand(channels, depth)
    assert parameters / 1e6 == pytest.approx(millions, abs=0.006)
    assert operations == pytest.approx(gflops, rel=0.01)
    assert shapes == [(1, channels, 8, 14, 14)]  # 1568 tokens


def test_sines_and_cosines_by_hand() -> None:
    table = sines_and_cosines(3, 4)[0]
    # Channels 0 and 1 turn by n, channels 2 and 3 by n / 10000 ** (2 / 4).
    rows = [[math.sin(n), math.cos(n), math.sin(n / 100), math.cos(n / 100)] for n in range(3)]
    torch.testing.assert_close(table, torch.tensor(rows))


def test_parameters_are_named_as_in_published_checkpoints() -> None:
    names = set(VideoMAE(**SMALL).state_dict())
    assert {name for name in names if ".0." in name} == {
        f"blocks.0.{name}"
        for name in (
            *("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"),
            *("attn.q_bias", "attn.v_bias", "attn.qkv.weight", "attn.proj.weight", "attn.proj.bias"),
            *("mlp.fc1.weight", "mlp.fc1.bias", "mlp.fc2.weight", "mlp.fc2.bias"),
        )
    }
    assert {name for name in names if not name.startswith("blocks.")} == {
        *("patch_embed.weight", "patch_embed.bias", "norm.weight", "norm.bias")
    }


def test_order_of_frames_counts() -> None:
    torch.manual_seed(0)
    net = VideoMAE(**SMALL).eval()
    clip = torch.randn(1, 3, 4, 32, 48)
    with torch.no_grad():
        (forth,), (back,) = net(clip), net(clip[:, :, [2, 3, 0, 1]])
    assert not torch.allclose(forth, back.flip(2), atol=1e-3)


def own_names(theirs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """transformers' tensors of a `VideoMAEModel` under the names they have here."""
    renames = (
        ("embeddings.patch_embeddings.projection", "patch_embed"),
        ("encoder.layer", "blocks"),
        ("attention.attention", "attn"),
        ("attention.output.dense", "attn.proj"),
        ("attn.query.bias", "attn.q_bias"),
        ("attn.value.bias", "attn.v_bias"),
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
        parts = [named.pop(f"blocks.{number}.attn.{part}.weight") for part in ("query", "key", "value")]
        named[f"blocks.{number}.attn.qkv.weight"] = torch.cat(parts)
    return named


def test_transformers_has_the_same_features() -> None:
    transformers = pytest.importorskip("transformers", reason="the extra transformers is not installed")
    torch.manual_seed(0)
    config = transformers.VideoMAEConfig(
        image_size=[32, 48],
        num_frames=4,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        layer_norm_eps=1e-6,
        use_mean_pooling=False,
    )
    theirs = transformers.VideoMAEModel(config).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    own = VideoMAE(**SMALL).eval()
    own.load_state_dict(own_names(theirs.state_dict()))
    clip = torch.randn(2, 3, 4, 32, 48)
    with torch.no_grad():
        expected = theirs(clip.transpose(1, 2)).last_hidden_state
        (found,) = own(clip)
    torch.testing.assert_close(found.flatten(2).transpose(1, 2), expected, atol=1e-4, rtol=0)
