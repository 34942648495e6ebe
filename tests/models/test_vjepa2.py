"""V-JEPA 2's encoder: published sizes, turning by hand, and transformers' features from the same weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from counting import sizes
from each_case import each_case
from safetensors.torch import save_file
from torch import nn

from avadet.errors import AvadetError
from avadet.models import zoo
from avadet.models.backbones.vit_blocks import attention
from avadet.models.backbones.vjepa2 import (
    VJEPA2,
    apply_rotary,
    rotary_angles,
)
from avadet.models.build import build
from avadet.models.checkpoints.formats import recognise, translate
from avadet.models.checkpoints.formats.transformers import TRANSFORMERS_VJEPA2 as TRANSFORMERS
from avadet.models.checkpoints.formats.vjepa2 import VJEPA2 as VJEPA2_AUTHORS
from avadet.models.checkpoints.weights import load_tensors, read_checkpoint

SMALL: dict[str, Any] = {"embed_dim": 32, "depth": 2, "heads": 2}


def strong(net: Any) -> Any:
    """Random weights, with which attention is far from even and no branch drowns another; in eval mode."""
    for name, parameter in net.named_parameters():
        if "norm" in name and name.endswith("weight"):
            nn.init.uniform_(parameter, 0.5, 1.5)
        else:
            nn.init.normal_(parameter, std=0.03 if parameter.ndim == 5 else 0.4)
    return net.eval()


@pytest.mark.parametrize(
    ("builder", "parameters", "channels", "gflops"),
    [  # both counted on the encoders of transformers
        ("vjepa2_l", 303_885_312, 1024, 827.85),
        pytest.param("vjepa2_h", 631_648_000, 1280, 1636.11, marks=pytest.mark.slow),
        pytest.param("vjepa2_g", 1_012_173_952, 1408, 2543.83, marks=pytest.mark.slow),
    ],
)
def test_published_sizes(builder: str, parameters: int, channels: int, gflops: float) -> None:
    found, operations, shapes = sizes(builder, (16, 256, 256))
    assert found == parameters + 80 * (channels + 1)
    assert operations == pytest.approx(gflops, rel=0.01)
    assert shapes == [(1, channels, 8, 16, 16)]


def test_the_giant_has_22_heads_and_6144_hidden_units() -> None:
    with torch.device("meta"):
        net = build("vjepa2_g", 80)
    assert {(block.attn.heads, block.mlp.fc1.out_features) for block in net.backbone.blocks} == {(22, 6144)}


def test_angles_by_hand() -> None:
    # Of 14 channels 4 turn with the frame, 4 with the row, 4 with the column; inv_freq are 1 and 1 / 10000 ** (2 / 4).
    angles = rotary_angles((2, 3, 4), 14)
    assert angles.shape == (24, 14)
    last = [1, 0.01, 1, 0.01, 2, 0.02, 2, 0.02, 3, 0.03, 3, 0.03, 0, 0]
    assert angles[-1].tolist() == pytest.approx(last)
    # Number 7 of 2 x 3 x 4 places is frame 0, row 1, column 3.
    assert angles[7].tolist() == pytest.approx([0] * 4 + [1, 0.01, 1, 0.01, 3, 0.03, 3, 0.03, 0, 0])
    assert rotary_angles((1, 1, 1), 5).tolist() == [[0] * 5]


def test_turning_by_hand() -> None:
    # A quarter turn takes (1, 2) to (-2, 1); each head by itself, the last channels not at all.
    tokens = torch.tensor([[[1.0, 2, 3, 4, 5, 6, 7, 8]]])
    angles = torch.tensor([[math.pi / 2, math.pi / 2, 0, 0]])
    torch.testing.assert_close(apply_rotary(tokens, angles), torch.tensor([[[-2.0, 1, 3, 4, -6, 5, 7, 8]]]))
    # Two angles in a pair, as published weights have it: 1 cos a - 2 sin a, 2 cos b + 1 sin b.
    pair = apply_rotary(torch.tensor([[[1.0, 2]]]), torch.tensor([[0.3, 0.5]])).flatten()
    by_hand = [math.cos(0.3) - 2 * math.sin(0.3), 2 * math.cos(0.5) + math.sin(0.5)]
    assert pair.tolist() == pytest.approx(by_hand)


def test_a_block_written_out() -> None:
    torch.manual_seed(0)
    block = strong(VJEPA2(**SMALL)).blocks[0]
    tokens, angles = torch.randn(1, 12, 32), rotary_angles((2, 2, 3), 16)
    with torch.no_grad():
        found = block(tokens, angles)
        q, k, v = block.attn.qkv(block.norm1(tokens)).chunk(3, dim=-1)
        halfway = tokens + block.attn.proj(attention(apply_rotary(q, angles), apply_rotary(k, angles), v, 2))
        torch.testing.assert_close(found, halfway + block.mlp(block.norm2(halfway)))
        # Values do not turn, and without turning the answer is another.
        plain = tokens + block.attn.proj(attention(q, k, v, 2))
        assert not torch.allclose(halfway, plain, atol=0.1)


@each_case(("axis", "size_hw"), [(2, (32, 32)), (3, (32, 32)), (4, (32, 32)), (3, (32, 48)), (4, (48, 32))])
def test_order_along_each_axis_counts(axis: int, size_hw: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net = strong(VJEPA2(**SMALL))
    clip = torch.randn(1, 3, 4, *size_hw)
    step = 2 if axis == 2 else 16
    order = torch.arange(clip.shape[axis]).reshape(-1, step).flip(0)  # tubelets in another order, each as it was
    with torch.no_grad():
        (forth,), (back,) = net(clip), net(clip.index_select(axis, order.flatten()))
        assert not torch.allclose(forth, back.flip(axis), atol=0.1)
        for block in net.blocks:  # nobody asks, so that places do not matter
            block.attn.qkv.weight[:32] = 0
            block.attn.qkv.bias[:32] = 0
        (forth,), (back,) = net(clip), net(clip.index_select(axis, order.flatten()))
    torch.testing.assert_close(forth, back.flip(axis))


def test_the_map_passes_the_norm() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        (one_map,) = VJEPA2(**SMALL).eval()(torch.randn(1, 3, 4, 32, 48))
    assert one_map.shape == (1, 32, 2, 2, 3)
    torch.testing.assert_close(one_map.mean(dim=1), torch.zeros(1, 2, 2, 3), atol=1e-5, rtol=0)


def test_a_place_means_the_same_in_pictures_of_any_width() -> None:
    # Row 1, column 2 of a wide grid turns as row 1, column 2 of a square one: no table, no running number.
    square = rotary_angles((2, 3, 3), 16).reshape(2, 3, 3, 16)
    wide = rotary_angles((2, 3, 5), 16).reshape(2, 3, 5, 16)
    assert torch.equal(wide[:, :, :3], square)


def transformers_encoder(**options: Any) -> tuple[Any, nn.Module]:
    """transformers, and its small V-JEPA 2 with no parameter near zero."""
    transformers = pytest.importorskip("transformers", reason="the extra transformers is not installed")
    torch.manual_seed(0)
    config = transformers.VJEPA2Config(
        crop_size=48,
        frames_per_clip=8,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        pred_hidden_size=12,
        pred_num_attention_heads=2,
        pred_num_hidden_layers=1,
        num_pooler_layers=1,
        **options,
    )
    return transformers, strong(transformers.VJEPA2Model(config))


def test_transformers_has_the_same_features() -> None:
    _, theirs = transformers_encoder()
    own = build("vjepa2", 5, **SMALL).eval()
    tensors = theirs.state_dict()
    layout = recognise(tensors, "x.safetensors")
    assert layout is TRANSFORMERS
    report = load_tensors(own, translate(tensors, layout), "x.safetensors", allow_partial=True)
    assert (report.missing, report.unexpected, report.reshaped) == (("head.proj.weight", "head.proj.bias"), (), ())
    clip = torch.randn(2, 3, 8, 48, 48)
    with torch.no_grad():
        expected = theirs(clip.transpose(1, 2), skip_predictor=True).last_hidden_state
        (found,) = own.backbone(clip)
    torch.testing.assert_close(found.flatten(2).transpose(1, 2), expected, atol=1e-4, rtol=0)


def test_transformers_classifier_starts_a_detector(tmp_path: Path) -> None:
    transformers, theirs = transformers_encoder(num_labels=7)
    whole = transformers.VJEPA2ForVideoClassification(theirs.config)
    save_file({name: tensor.clone() for name, tensor in whole.state_dict().items()}, tmp_path / "ssv2.safetensors")
    checkpoint = read_checkpoint(tmp_path / "ssv2.safetensors")
    report = load_tensors(build("vjepa2", 5, **SMALL), checkpoint.tensors, "ssv2.safetensors", allow_partial=True)
    assert (report.missing, report.unexpected, report.reshaped) == (("head.proj.weight", "head.proj.bias"), (), ())


@each_case(
    ("foreign", "own"),
    [
        ("encoder.embeddings.patch_embeddings.proj.weight", "backbone.patch_embed.weight"),
        ("encoder.layer.11.attention.query.bias", "backbone.blocks.11.attn.q.bias"),
        ("encoder.layer.11.attention.key.weight", "backbone.blocks.11.attn.k.weight"),
        ("vjepa2.encoder.layer.0.attention.value.weight", "backbone.blocks.0.attn.v.weight"),
        ("encoder.layer.3.attention.proj.weight", "backbone.blocks.3.attn.proj.weight"),
        ("encoder.layer.3.norm2.bias", "backbone.blocks.3.norm2.bias"),
        ("encoder.layer.3.mlp.fc1.weight", "backbone.blocks.3.mlp.fc1.weight"),
        ("vjepa2.encoder.layernorm.weight", "backbone.norm.weight"),
    ],
)
def test_names_of_transformers(foreign: str, own: str) -> None:
    assert TRANSFORMERS.rename(foreign) == own


def test_queries_keys_and_values_are_joined_and_the_rest_left() -> None:
    parts = [torch.full((2, 2), float(number)) for number in range(3)]
    names = [f"encoder.layer.0.attention.{part}.weight" for part in ("query", "key", "value")]
    others = ("predictor.layer.0.norm1.weight", "vjepa2.predictor.x", "pooler.q", "classifier.weight")
    found = translate({**dict(zip(names, parts)), **{name: parts[0] for name in others}}, TRANSFORMERS)
    assert list(found) == ["backbone.blocks.0.attn.qkv.weight"]
    assert found["backbone.blocks.0.attn.qkv.weight"][:, 0].tolist() == [0, 0, 1, 1, 2, 2]


def test_a_file_of_the_authors_starts_a_detector(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trained, fresh = build("vjepa2", 5, **SMALL), build("vjepa2", 5, **SMALL)
    encoder = {
        "module." + name.replace("patch_embed.", "patch_embed.proj."): tensor
        for name, tensor in trained.state_dict().items()
        if name.startswith("backbone.")
    }
    encoder["module.backbone.pos_embed"] = torch.zeros(1, 4, 32)
    content = {"encoder": {}, "predictor": {"module.backbone.x": torch.zeros(1)}, "target_encoder": encoder, "epoch": 3}
    torch.save(content, tmp_path / "vitl.pt")
    checkpoint = read_checkpoint(tmp_path / "vitl.pt")
    assert checkpoint.format is VJEPA2_AUTHORS
    report = load_tensors(fresh, checkpoint.tensors, "vitl.pt", allow_partial=True)
    assert (report.missing, report.unexpected, report.reshaped) == (("head.proj.weight", "head.proj.bias"), (), ())
    assert all(torch.equal(p, q) for p, q in zip(fresh.backbone.parameters(), trained.backbone.parameters()))
    with pytest.raises(AvadetError, match=r"vitl\.pt: no classifier among its \d+ tensors \(v-jepa 2 format\)"):
        zoo.load(tmp_path / "vitl.pt")


def test_the_next_version_is_refused() -> None:
    names = ["backbone.patch_embed.proj.weight", "backbone.norms_block.0.weight"]
    with pytest.raises(AvadetError, match=r"x\.pt: avadet does not build the norms between .* \(V-JEPA 2\.1\)"):
        recognise(names, "x.pt")
