"""VideoMAE checkpoints of the authors and of mmaction2, understood without a single weight."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from avadet.errors import AvadetError
from avadet.models.build import build
from avadet.models.checkpoints.formats import Layout
from avadet.models.checkpoints.formats.videomae import (
    MMACTION_VIT_MARKER,
    MMACTION_VIT_NO_WEIGHT,
    MMACTION_VIT_RULES,
    VIDEOMAE_MARKER,
    VIDEOMAE_NO_WEIGHT,
    VIDEOMAE_RULES,
    videomae_arguments,
)

AUTHORS = Layout("videomae", VIDEOMAE_MARKER, VIDEOMAE_RULES, VIDEOMAE_NO_WEIGHT)
MMACTION_VIT = Layout("mmaction2 vit", MMACTION_VIT_MARKER, MMACTION_VIT_RULES, MMACTION_VIT_NO_WEIGHT, background=1)


@pytest.mark.parametrize(
    ("layout", "foreign", "own"),
    [
        (AUTHORS, "patch_embed.proj.weight", "backbone.patches.weight"),
        (AUTHORS, "encoder.patch_embed.proj.bias", "backbone.patches.bias"),
        (AUTHORS, "blocks.11.attn.q_bias", "backbone.blocks.11.attn.q_bias"),
        (AUTHORS, "encoder.blocks.3.attn.qkv.weight", "backbone.blocks.3.attn.qkv.weight"),
        (AUTHORS, "blocks.0.mlp.fc2.bias", "backbone.blocks.0.mlp.fc2.bias"),
        (AUTHORS, "encoder.norm.weight", "backbone.norm.weight"),
        (AUTHORS, "fc_norm.bias", "backbone.norm.bias"),
        (AUTHORS, "head.weight", "head.proj.weight"),
        (MMACTION_VIT, "backbone.patch_embed.projection.weight", "backbone.patches.weight"),
        (MMACTION_VIT, "backbone.blocks.7.attn.v_bias", "backbone.blocks.7.attn.v_bias"),
        (MMACTION_VIT, "backbone.blocks.7.mlp.layers.0.0.weight", "backbone.blocks.7.mlp.fc1.weight"),
        (MMACTION_VIT, "backbone.blocks.7.mlp.layers.1.bias", "backbone.blocks.7.mlp.fc2.bias"),
        (MMACTION_VIT, "backbone.norm.bias", "backbone.norm.bias"),
        (MMACTION_VIT, "roi_head.bbox_head.fc_cls.weight", "head.proj.weight"),
    ],
)
def test_names(layout: Layout, foreign: str, own: str) -> None:
    assert layout.rename(foreign) == own


def test_markers_tell_the_two_apart() -> None:
    for name, marker in (
        ("blocks.0.attn.q_bias", VIDEOMAE_MARKER),
        ("encoder.blocks.0.attn.q_bias", VIDEOMAE_MARKER),
        ("backbone.blocks.0.attn.q_bias", MMACTION_VIT_MARKER),
    ):
        assert [bool(re.search(one, name)) for one in (VIDEOMAE_MARKER, MMACTION_VIT_MARKER)] == [
            marker == VIDEOMAE_MARKER,
            marker == MMACTION_VIT_MARKER,
        ]


@pytest.mark.parametrize(
    "name",
    ["pos_embed", "encoder.pos_embed", "decoder.blocks.0.norm1.weight", "encoder_to_decoder.weight", "mask_token"],
)
def test_what_is_no_weight_here(name: str) -> None:
    assert re.search(VIDEOMAE_NO_WEIGHT, name)
    assert not re.search(VIDEOMAE_NO_WEIGHT, "blocks.0.norm1.weight")
    assert re.search(MMACTION_VIT_NO_WEIGHT, "backbone.pos_embed")


def mmaction_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A detector's state dict as mmaction2 would store it, less the classifier's row for no class."""
    named = {}
    for name, tensor in tensors.items():
        name = name.replace(".patches.", ".patch_embed.projection.").replace("head.proj.", "roi_head.bbox_head.fc_cls.")
        named[name.replace(".fc1.", ".layers.0.0.").replace(".fc2.", ".layers.1.")] = tensor
    return named


@pytest.mark.parametrize(
    "builder",
    [
        "videomae_s",
        "videomae_b",
        "videomae_l",
        "videomae_h",
    ],
)
def test_shapes_alone_tell_the_model(builder: str) -> None:
    with torch.device("meta"):
        model = build(builder, 80)
        foreign = mmaction_names(model.state_dict())
        tensors = {MMACTION_VIT.rename(name): tensor for name, tensor in foreign.items()}
        found = videomae_arguments(tensors, "x.pth")
        again = build("videomae", 80, **found)
    assert found["grid"] == [8, 14, 14]
    assert again.backbone.blocks[0].attn.heads == model.backbone.blocks[0].attn.heads
    assert {name: t.shape for name, t in again.state_dict().items()} == {name: t.shape for name, t in tensors.items()}


def test_what_is_no_encoder_is_refused() -> None:
    with pytest.raises(AvadetError, match=r"x\.pth: not an encoder of VideoMAE: no tubelets or no blocks"):
        videomae_arguments({"backbone.patches.weight": torch.empty(8, 3, 16, 16)}, "x.pth")
