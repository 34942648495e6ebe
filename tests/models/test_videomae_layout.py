"""VideoMAE checkpoints of the authors and of mmaction2, understood without a single weight."""

from __future__ import annotations

import re

import pytest
import torch
from each_case import each_case
from torch import Tensor

from avadet.errors import AvadetError
from avadet.models.build import build
from avadet.models.checkpoints.formats import recognise
from avadet.models.checkpoints.formats.format import CheckpointFormat, Evidence
from avadet.models.checkpoints.formats.mmaction2 import MMACTION_VIT
from avadet.models.checkpoints.formats.videomae import VIDEOMAE, videomae_arguments


@each_case(
    ("form", "foreign", "own"),
    [
        (VIDEOMAE, "patch_embed.proj.weight", "backbone.patch_embed.weight"),
        (VIDEOMAE, "encoder.patch_embed.proj.bias", "backbone.patch_embed.bias"),
        (VIDEOMAE, "blocks.11.attn.q_bias", "backbone.blocks.11.attn.q_bias"),
        (VIDEOMAE, "encoder.blocks.3.attn.qkv.weight", "backbone.blocks.3.attn.qkv.weight"),
        (VIDEOMAE, "blocks.0.mlp.fc2.bias", "backbone.blocks.0.mlp.fc2.bias"),
        (VIDEOMAE, "encoder.norm.weight", "backbone.norm.weight"),
        (VIDEOMAE, "fc_norm.bias", "backbone.norm.bias"),
        (VIDEOMAE, "head.weight", "head.proj.weight"),
        (MMACTION_VIT, "backbone.patch_embed.projection.weight", "backbone.patch_embed.weight"),
        (MMACTION_VIT, "backbone.blocks.7.attn.v_bias", "backbone.blocks.7.attn.v_bias"),
        (MMACTION_VIT, "backbone.blocks.7.mlp.layers.0.0.weight", "backbone.blocks.7.mlp.fc1.weight"),
        (MMACTION_VIT, "backbone.blocks.7.mlp.layers.1.bias", "backbone.blocks.7.mlp.fc2.bias"),
        (MMACTION_VIT, "backbone.norm.bias", "backbone.norm.bias"),
        (MMACTION_VIT, "roi_head.bbox_head.fc_cls.weight", "head.proj.weight"),
    ],
)
def test_names(form: CheckpointFormat, foreign: str, own: str) -> None:
    assert form.rename(foreign) == own


def test_markers_tell_the_two_apart() -> None:
    for name, form in (
        ("blocks.0.attn.q_bias", VIDEOMAE),
        ("encoder.blocks.0.attn.q_bias", VIDEOMAE),
        ("backbone.blocks.0.attn.q_bias", MMACTION_VIT),
    ):
        assert recognise([name], "x.pth") is form


@each_case(
    "name",
    ["pos_embed", "encoder.pos_embed", "decoder.blocks.0.norm1.weight", "encoder_to_decoder.weight", "mask_token"],
)
def test_what_is_no_weight_here(name: str) -> None:
    assert re.search(VIDEOMAE.ignore, name)
    assert not re.search(VIDEOMAE.ignore, "blocks.0.norm1.weight")
    assert re.search(MMACTION_VIT.ignore, "backbone.pos_embed")


def mmaction_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A detector's state dict as mmaction2 would store it, less the classifier's row for no class."""
    named = {}
    for name, tensor in tensors.items():
        name = name.replace(".patch_embed.", ".patch_embed.projection.").replace(
            "head.proj.", "roi_head.bbox_head.fc_cls."
        )
        named[name.replace(".fc1.", ".layers.0.0.").replace(".fc2.", ".layers.1.")] = tensor
    return named


@each_case(
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
        found = videomae_arguments(Evidence(tensors, source="x.pth"))
        again = build("videomae", 80, **found)
    assert found["grid"] == [8, 14, 14]
    assert again.backbone.blocks[0].attn.heads == model.backbone.blocks[0].attn.heads
    assert {name: t.shape for name, t in again.state_dict().items()} == {name: t.shape for name, t in tensors.items()}


def test_what_is_no_encoder_is_refused() -> None:
    with pytest.raises(AvadetError, match=r"x\.pth: not an encoder of VideoMAE: no tubelets or no blocks"):
        videomae_arguments(Evidence({"backbone.patch_embed.weight": torch.empty(8, 3, 16, 16)}, source="x.pth"))
