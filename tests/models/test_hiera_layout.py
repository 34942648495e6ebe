"""Hiera checkpoints of the authors, understood without a single weight."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from each_case import each_case
from torch import Tensor

from avadet.errors import AvadetError
from avadet.models import zoo
from avadet.models.build import build
from avadet.models.checkpoints.formats import recognise, translate
from avadet.models.checkpoints.formats.format import Evidence
from avadet.models.checkpoints.formats.hiera import HIERA, hiera_arguments
from avadet.models.checkpoints.formats.pyslowfast import MVIT


@each_case(
    ("foreign", "own"),
    [
        ("patch_embed.proj.weight", "backbone.patch_embed.weight"),
        ("pos_embed_spatial", "backbone.pos_embed.spatial"),
        ("pos_embed_temporal", "backbone.pos_embed.temporal"),
        ("blocks.2.proj.bias", "backbone.blocks.2.proj.bias"),
        ("blocks.2.attn.proj.bias", "backbone.blocks.2.attn.proj.bias"),
        ("blocks.13.attn.qkv.weight", "backbone.blocks.13.attn.qkv.weight"),
        ("blocks.0.mlp.fc2.weight", "backbone.blocks.0.mlp.fc2.weight"),
        ("norm.weight", "backbone.norm.weight"),
        ("head.projection.weight", "head.proj.weight"),
    ],
)
def test_names(foreign: str, own: str) -> None:
    assert HIERA.rename(foreign) == own


def test_an_mvit_with_such_positions_is_none() -> None:
    assert recognise(["pos_embed_spatial", "pos_embed_temporal", "blocks.0.attn.pool_k.weight"], "x.pyth") is MVIT
    assert recognise(["pos_embed_spatial", "pos_embed_temporal", "blocks.0.attn.qkv.weight"], "x.pth") is HIERA


@each_case(
    "name",
    [
        *("decoder_pos_embed", "decoder_blocks.0.norm1.weight", "decoder_pred.bias", "mask_token"),
        *("encoder_norm.weight", "multi_scale_fusion_heads.0.weight"),
    ],
)
def test_what_is_no_weight_here(name: str) -> None:
    assert re.search(HIERA.ignore, name)
    assert not re.search(HIERA.ignore, "blocks.0.norm1.weight")


def foreign_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A detector's state dict as the authors would store it."""
    named = {}
    for name, tensor in tensors.items():
        name = name.removeprefix("backbone.").replace("patch_embed.", "patch_embed.proj.").replace(".proj.", ".proj.")
        named[name.replace("pos_embed.", "pos_embed_").replace("head.proj.", "head.projection.")] = tensor
    return named


@each_case(
    "builder",
    ["hiera_b", "hiera_b_plus", "hiera_l", "hiera_h"],
)
def test_shapes_alone_tell_the_model(builder: str) -> None:
    with torch.device("meta"):
        model = build(builder, 400, maps=(4,))
        tensors = translate(foreign_names(model.state_dict()), HIERA)
        found = hiera_arguments(Evidence(tensors, source="x.pth"))
        again = build("hiera", 400, **found)
    assert (found["grid"], found["mlp_ratio"], found["maps"]) == ([8, 56, 56], 4, [4])
    heads = [[block.attn.heads for block in net.backbone.blocks] for net in (again, model)]
    assert heads[0] == heads[1]
    assert {name: t.shape for name, t in again.state_dict().items()} == {name: t.shape for name, t in tensors.items()}


def test_a_file_of_the_authors_loads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    small = build("hiera", 7, embed_dim=16, depths=(1, 1, 2, 1), grid=(2, 16, 16), maps=(4,)).eval()
    torch.save({"model_state": foreign_names(small.state_dict())}, tmp_path / "small.pth")
    loaded = zoo.load(tmp_path / "small.pth")
    assert loaded.report.is_whole
    assert loaded.card["arguments"]["depths"] == [1, 1, 2, 1]
    assert (loaded.spec.num_frames, loaded.spec.stride, loaded.spec.mean) == (16, 4, (0.45, 0.45, 0.45))
    clips, rois = torch.rand(1, 3, 4, 64, 96), torch.tensor([[0.0, 10, 10, 50, 60]])
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(clips, rois), small(clips, rois))


def test_what_is_no_hiera_is_refused() -> None:
    with torch.device("meta"):
        tensors = build("hiera", 7, embed_dim=16, depths=(1, 1), grid=(2, 2, 3), maps=(2,)).state_dict()
    with pytest.raises(AvadetError, match=r"x\.pth: a Hiera of 6 places a frame, expected a square number"):
        hiera_arguments(Evidence(tensors, source="x.pth"))
    del tensors["backbone.pos_embed.temporal"]
    with pytest.raises(AvadetError, match=r"x\.pth: not a Hiera over video: no tubelets, blocks or positions"):
        hiera_arguments(Evidence(tensors, source="x.pth"))
