"""Multiscale transformers: numbers by hand, other implementations' answers, and checkpoints understood."""

from __future__ import annotations

import itertools
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from counting import sizes
from each_case import each_case
from torch import Tensor
from torchvision.models.video.mvit import MSBlockConfig, MultiscaleBlock

from avadet.errors import AvadetError
from avadet.models.backbones.mvit import (
    Attention,
    Block,
    BlockShape,
    RelativePositions,
    Stage,
    Traits,
    block_shapes,
)
from avadet.models.backbones.mvit_stages import V1, V2, pyramid
from avadet.models.backbones.positions import Grid, Positions, SeparatePositions
from avadet.models.build import build
from avadet.models.checkpoints.formats.format import Evidence
from avadet.models.checkpoints.formats.pyslowfast import MVIT, mvit_arguments, mvit_clip
from avadet.models.checkpoints.formats.vit import join_qkv
from avadet.models.detectors.two_stage import ActionDetector

PUBLISHED = [
    # fixture, builder, what it is built with, frames and stride
    ("mvitv1_b_16x4_stride32_full", "mvitv1_b_16x4", {"stages": pyramid((1, 2, 11, 2))}, (16, 4)),
    ("mvitv1_b_32x3_stride32_full", "mvitv1_b_32x3", {"stages": pyramid((2, 3, 16, 3))}, (32, 3)),
    ("mvitv2_s_16x4_stride32_full", "mvitv2_s_16x4", {"stages": pyramid((1, 2, 11, 2))}, (16, 4)),
    (
        "mvitv2_s_16x4_stride16_full",
        "mvitv2_s_16x4",
        {"stages": pyramid((1, 2, 11, 2), last_stride=1)},
        (16, 4),
    ),
    ("mvitv2_b_32x3_stride32_full", "mvitv2_b_32x3", {"stages": pyramid((2, 3, 16, 3))}, (32, 3)),
]


def shape_of(**changes: Any) -> BlockShape:
    """A small block that shrinks its grid."""
    fields = {
        "grid": (3, 8, 8),
        "channels_in": 8,
        "embed_dim": 8,
        "channels_out": 8,
        "heads": 2,
        "q_stride": (1, 2, 2),
        "kv_stride": (1, 4, 4),
        "drop_path": 0.0,
    }
    return BlockShape(**{**fields, **changes})


def traits_of(**changes: Any) -> Traits:
    """What MViTv2 does."""
    fields = {
        "cls_tokens": 1,
        "pool_kernel": (3, 3, 3),
        "pool_all_queries": True,
        "widen_in_attention": True,
        "residual_pooling": True,
        "relative_positions": True,
        "mlp_ratio": 4.0,
    }
    return Traits(**{**fields, **changes})


def shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def as_json(value: object) -> Any:
    """As a model card would give it back."""
    return json.loads(json.dumps(value))


def test_stages_of_the_paper() -> None:
    # MViTv2-S of Li et al.: 1, 2, 11 and 2 blocks of 96 to 768 channels; keys and values always lie on one grid.
    rows = [Stage(**row) for row in pyramid((1, 2, 11, 2))]
    assert [(row.depth, row.embed_dim, row.heads) for row in rows] == [
        (1, 96, 1),
        (2, 192, 2),
        (11, 384, 4),
        (2, 768, 8),
    ]
    assert [row.q_stride for row in rows] == [(1, 1, 1), (1, 2, 2), (1, 2, 2), (1, 2, 2)]
    assert [row.kv_stride for row in rows] == [(1, 8, 8), (1, 4, 4), (1, 2, 2), (1, 1, 1)]
    detector = pyramid((1, 2, 11, 2), last_stride=1)[-1]
    assert (detector["q_stride"], detector["kv_stride"]) == ((1, 1, 1), (1, 2, 2))


def test_where_a_model_widens_and_shrinks() -> None:
    stages = [Stage(2, 8, 1), Stage(1, 16, 2, (1, 2, 2))]
    first = block_shapes(stages, (4, 9, 9), widen_in_attention=False, drop_path=0.5)
    second = block_shapes(stages, (4, 9, 9), widen_in_attention=True, drop_path=0.5)
    assert [(s.channels_in, s.embed_dim, s.channels_out) for s in first] == [(8, 8, 8), (8, 8, 16), (16, 16, 16)]
    assert [(s.channels_in, s.embed_dim, s.channels_out) for s in second] == [(8, 8, 8), (8, 8, 8), (8, 16, 16)]
    assert [s.drop_path for s in first] == [0, 0.25, 0.5]
    assert [s.grid for s in block_shapes([stages[1]] * 2, (4, 9, 9), True, 0)] == [(4, 9, 9), (4, 4, 4)]


def test_distances_along_an_axis() -> None:
    # Four queries and two keys: keys lie two cells apart, so distances run from 0 - 2 to 3 - 0, at entries 0 + 2 - ...
    positions = RelativePositions(1, shape_of(grid=(1, 1, 4), q_stride=(1, 1, 1), kv_stride=(1, 1, 2)))
    torch.nn.init.zeros_(positions.t)
    positions.w.data = torch.arange(7.0)[:, None]
    given = positions(torch.ones(1, 1, 4, 1), (1, 1, 4), (1, 1, 2))
    # columns: one frame, one row, two columns of keys
    assert given[0, 0].tolist() == [[0, 0, 2, 0], [0, 0, 3, 1], [0, 0, 4, 2], [0, 0, 5, 3]]
    # Half as many queries as the table is for: 7 entries become 3, the outer ones 2/3 of an entry inside.
    positions.w.data = torch.arange(7.0)[:, None]
    given = positions(torch.ones(1, 1, 2, 1), (1, 1, 2), (1, 1, 2))[0, 0, :, 2:]
    torch.testing.assert_close(given, torch.tensor([[3.0, 2 / 3], [16 / 3, 3.0]]))


@each_case("kind", [SeparatePositions, partial(Positions, trilinear=True)])
def test_absolute_positions_between_the_trained_ones(kind: type) -> None:
    positions = kind(1, (1, 1, 2), 1)
    torch.nn.init.zeros_(positions.get_parameter("temporal" if kind is SeparatePositions else "table"))
    if kind is SeparatePositions:
        positions.spatial.data = torch.tensor([[[0.0], [1.0]]])
        positions.cls.data = torch.tensor([[[7.0]]])
    else:
        positions.table.data = torch.tensor([[[7.0], [0.0], [1.0]]])
    assert positions((1, 1, 2)).flatten().tolist() == [7, 0, 1]
    assert positions((1, 1, 4)).flatten().tolist() == [7, 0, 0.25, 0.75, 1]
    assert positions((2, 1, 2)).flatten().tolist() == [7, 0, 1, 0, 1]


def written_out(attention: Attention, tokens: Tensor, grid: Grid) -> Tensor:
    """Attention by its definition, query by query and key by key."""
    cls = attention.cls_tokens
    parts = attention.qkv(tokens).reshape(1, tokens.shape[1], 3, attention.heads, -1).permute(2, 0, 3, 1, 4)
    (q, q_grid), (k, k_grid), (v, _) = (
        pool(part, grid) for pool, part in zip((attention.pool_q, attention.pool_k, attention.pool_v), parts)
    )
    logits = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
    places = [list(itertools.product(*(range(size) for size in one))) for one in (q_grid, k_grid)]
    for (i, at), (j, to) in itertools.product(enumerate(places[0], cls), enumerate(places[1], cls)):
        for table, here, there, queries, keys in zip(
            (attention.rel_pos.t, attention.rel_pos.h, attention.rel_pos.w), at, to, q_grid, k_grid
        ):
            finer = max(queries, keys)
            distance = int(here * finer / queries - (there - (keys - 1)) * finer / keys)
            logits[:, :, i, j] += q[:, :, i] @ table[distance]
    attended = logits.softmax(-1) @ v
    attended[:, :, cls:] += q[:, :, cls:]
    return attention.proj(attended.transpose(1, 2).flatten(2))


@each_case("cls_tokens", [0, 1])
def test_fast_attention_is_attention(cls_tokens: int) -> None:
    torch.manual_seed(0)
    attention = Attention(shape_of(grid=(2, 8, 8)), traits_of(cls_tokens=cls_tokens)).double()
    for table in attention.rel_pos.parameters():
        torch.nn.init.normal_(table)
    tokens = torch.randn(1, cls_tokens + 2 * 8 * 8, 8, dtype=torch.float64)
    with torch.no_grad():
        found, grid = attention(tokens, (2, 8, 8))
        assert grid == (2, 4, 4)
        torch.testing.assert_close(found, written_out(attention, tokens, (2, 8, 8)), atol=1e-12, rtol=0)
        attention.count_as_written = True
        torch.testing.assert_close(attention(tokens, (2, 8, 8))[0], found, atol=1e-12, rtol=0)


@each_case("second", [False, True])
@each_case("grid", [(3, 8, 8), (4, 5, 11)])
def test_torchvisions_blocks_agree_on_any_grid(second: bool, grid: Grid) -> None:
    torch.manual_seed(0)
    own = Block(
        shape_of(embed_dim=16 if second else 8, channels_out=16),
        traits_of(relative_positions=second, residual_pooling=second, widen_in_attention=second),
    )
    for parameter in own.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    twin = MultiscaleBlock(
        [3, 8, 8],
        MSBlockConfig(2, 8, 16, [3, 3, 3], [3, 3, 3], [1, 2, 2], [1, 4, 4]),
        residual_pool=second,
        residual_with_cls_embed=False,
        rel_pos_embed=second,
        proj_after_attn=second,
        norm_layer=lambda width: torch.nn.LayerNorm(width, 1e-6),
    )
    theirs = {
        re.sub(r"^proj\.", "project.", name)
        .replace("attn.proj.", "attn.project.0.")
        .replace("attn.rel_pos.", "attn.rel_pos_")
        .replace(".conv.", ".pool.")
        .replace("pool_q.norm", "pool_q.norm_act.0")
        .replace("pool_k.norm", "pool_k.norm_act.0")
        .replace("pool_v.norm", "pool_v.norm_act.0"): tensor
        for name, tensor in own.state_dict().items()
    }
    twin.load_state_dict(theirs)
    tokens = torch.randn(2, 1 + grid[0] * grid[1] * grid[2], 8)
    with torch.no_grad():
        found, new_grid = own(tokens, grid)
        expected, expected_grid = twin(tokens, grid)
    assert new_grid == expected_grid
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@each_case(("last_stride", "cells"), [(2, (8, 11)), (1, (16, 22))])
def test_wide_pictures_and_no_boxes(last_stride: int, cells: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = build("mvitv2_s_16x4", 5, stages=pyramid((1, 1, 1, 1), width=8, last_stride=last_stride)).eval()
    clip = torch.rand(1, 3, 4, 256, 341)
    with torch.no_grad():
        maps = model.backbone(clip)
        logits = model(clip, torch.tensor([[0.0, 10, 20, 150, 250], [0, 200, 0, 341, 256]]))
        assert model(clip, torch.zeros(0, 5)).shape == (0, 5)
    assert [tuple(one_map.shape) for one_map in maps] == [(1, 64, 2, *cells)]
    assert model.head.strides == ((16 * last_stride, 16 * last_stride),)
    assert logits.isfinite().all()
    assert not torch.equal(logits[0], logits[1])


@each_case(
    ("builder", "options", "millions", "gflops"),
    [  # multiply-adds as torchvision says of its own; of 32 frames PySlowFast's net counted, and the paper's number
        ("mvitv1_b_16x4", {}, 36.364592, 70.599),
        ("mvitv1_b_32x3", {}, 52.869200, 236.3),
        ("mvitv2_s_16x4", {}, 34.291664, 64.224),
        ("mvitv2_s_16x4", {"stages": pyramid((1, 2, 11, 2), last_stride=1)}, 34.294352, None),
        ("mvitv2_b_32x3", {}, 50.984048, 225.0),
    ],
)
def test_published_sizes(builder: str, options: dict[str, Any], millions: float, gflops: float | None) -> None:
    frames = 32 if builder in ("mvitv1_b_32x3", "mvitv2_b_32x3") else 16
    parameters, operations, _ = sizes(builder, (frames, 224, 224), **options)
    assert parameters == round(millions * 1e6)
    assert gflops is None or operations == pytest.approx(gflops, rel=0.005)


def test_what_cannot_be_built() -> None:
    with pytest.raises(AvadetError, match="must be one of none, separate, joint, got 'learned'"):
        build("mvit", 5, stages=pyramid((1,), width=8), absolute_positions="learned")
    with pytest.raises(AvadetError, match="heads of a stage must divide its channels, got 3 for 8"):
        build("mvit", 5, stages=pyramid((1,), width=8, heads=3))


@each_case(
    ("foreign", "own"),
    [
        ("patch_embed.proj.weight", "backbone.patch_embed.weight"),
        ("cls_token", "backbone.cls_token"),
        ("pos_embed", "backbone.pos_embed.table"),
        ("pos_embed_class", "backbone.pos_embed.cls"),
        ("pos_embed_spatial", "backbone.pos_embed.spatial"),
        ("blocks.14.proj.weight", "backbone.blocks.14.proj.weight"),
        ("blocks.14.attn.proj.weight", "backbone.blocks.14.attn.proj.weight"),
        ("blocks.0.attn.rel_pos_h", "backbone.blocks.0.attn.rel_pos.h"),
        ("blocks.0.attn.pool_q.weight", "backbone.blocks.0.attn.pool_q.conv.weight"),
        ("blocks.0.attn.norm_v.bias", "backbone.blocks.0.attn.pool_v.norm.bias"),
        ("blocks.0.norm1.bias", "backbone.blocks.0.norm1.bias"),
        ("blocks.0.mlp.fc2.bias", "backbone.blocks.0.mlp.3.bias"),
        ("norm.weight", "backbone.norm.weight"),
        ("head.projection.bias", "head.proj.bias"),
    ],
)
def test_names(foreign: str, own: str) -> None:
    assert MVIT.rename(foreign) == own


def test_separate_matrices_are_joined() -> None:
    parts = {
        f"backbone.blocks.0.attn.{part}.weight": torch.full((2, 3), value) for part, value in zip("qkv", (1, 2, 3))
    }
    joined = join_qkv({**parts, "backbone.norm.weight": torch.ones(1)})
    assert list(joined) == ["backbone.blocks.0.attn.qkv.weight", "backbone.norm.weight"]
    assert joined["backbone.blocks.0.attn.qkv.weight"][:, 0].tolist() == [1, 1, 2, 2, 3, 3]
    alone = {"backbone.blocks.0.attn.q.weight": torch.ones(1)}
    assert list(join_qkv(alone)) == list(alone)  # for the load report to name


VARIANTS: list[dict[str, Any]] = [
    {**V1, "stages": pyramid((1, 2, 2), width=8), "grid": (4, 12, 12), "pool_kernel": None},
    {**V1, "stages": pyramid((2, 2), width=8, heads=2), "grid": (2, 8, 8), "cls_token": False, "mlp_ratio": 2.0},
    {**V2, "stages": pyramid((1, 2, 3, 2), width=8), "grid": (4, 24, 24), "patch_kernel": (1, 5, 5)},
    {**V2, "stages": pyramid((1, 2, 3, 2), width=8, last_stride=1), "grid": (4, 39, 39), "cls_token": False},
    {**V2, "stages": pyramid((1, 2), width=8), "grid": (8, 28, 28), "absolute_positions": "joint"},
]


@each_case("arguments", VARIANTS)
def test_shapes_alone_tell_the_model(arguments: dict[str, Any]) -> None:
    with torch.device("meta"):
        tensors = build("mvit", 3, **arguments).state_dict()
        found = mvit_arguments(Evidence(tensors, {}, "x"))
        again = build("mvit", 3, **as_json(found)).state_dict()
    assert {name: found[name] for name in arguments} == as_json(arguments)
    assert shapes(again) == shapes(tensors)


def test_settings_speak_where_shapes_are_silent() -> None:
    with torch.device("meta"):
        tensors = build("mvit", 3, **V1, stages=pyramid((1, 1), width=8), grid=(16, 8, 8)).state_dict()
    said = {
        "PATCH_STRIDE": [1, 8, 8],
        "POOL_Q_STRIDE": [[1, 2, 2, 2]],
        "POOL_KV_STRIDE": [[0, 1, 4, 4], [1, 2, 2, 2]],
        "RESIDUAL_POOLING": True,
    }
    found = mvit_arguments(Evidence(tensors, {"MVIT": said}, "x"))
    assert [row["q_stride"] for row in found["stages"]] == [[1, 1, 1], [2, 2, 2]]
    assert [row["kv_stride"] for row in found["stages"]] == [[1, 4, 4], [2, 2, 2]]
    assert found["residual_pooling"] is True
    assert mvit_clip(found) == (16, 4, 64)


def test_a_joint_table_needs_the_frames() -> None:
    with torch.device("meta"):
        tensors = build(
            "mvit", 3, stages=pyramid((1,), width=8), grid=(4, 8, 8), absolute_positions="joint"
        ).state_dict()
    assert mvit_arguments(Evidence(tensors, {"DATA": {"NUM_FRAMES": 8}}, "x"))["grid"] == [4, 8, 8]
    with pytest.raises(AvadetError, match=r"x: positions of 32 places a frame, expected those of a square"):
        mvit_arguments(Evidence(tensors, {}, "x"))


@each_case(
    ("said", "message"),
    [
        ({"MODE": "conv_unshared"}, "by its settings: MODE conv_unshared"),
        ({"POOL_FIRST": True, "NORM_STEM": True}, "NORM_STEM True, POOL_FIRST True"),
        ({"REV": {"ENABLE": True}}, "REV.ENABLE True"),
        ({"PATCH_KERNEL": [3, 7, 7], "PATCH_PADDING": [1, 0, 0]}, r"PATCH_PADDING \[1, 0, 0\] for PATCH_KERNEL"),
    ],
)
def test_settings_of_another_kind_are_refused(said: dict[str, Any], message: str) -> None:
    with pytest.raises(AvadetError, match=rf"x\.pyth: an MViT of a kind that is not built here.*{message}"):
        mvit_arguments(Evidence({}, {"MVIT": said}, "x.pyth"))


def test_what_is_no_mvit_is_refused() -> None:
    with pytest.raises(AvadetError, match=r"x\.pyth: not an MViT over video"):
        mvit_arguments(Evidence({"backbone.patch_embed.weight": torch.empty(8, 3, 7, 7)}, {}, "x.pyth"))


def load_tiny(folder: Path) -> ActionDetector:
    """The fixture's model, built and filled; settings and shapes agree on what it is."""
    content = torch.load(folder / "checkpoint.pyth", weights_only=True)
    tensors = join_qkv({MVIT.rename(name): tensor for name, tensor in content["model_state"].items()})
    arguments = mvit_arguments(Evidence(tensors, yaml.safe_load(content["cfg"]), folder.name))
    assert arguments == mvit_arguments(Evidence(tensors, {}, folder.name))
    assert mvit_clip(arguments) == (16, 4, 96)
    model = build("mvit", 80, **arguments)
    model.load_state_dict(tensors)
    return model.eval()


@pytest.mark.shared
@each_case("fixture", ["mvitv1_b_16x4_stride32_tiny", "mvitv2_s_16x4_stride16_tiny"])
def test_tiny_checkpoints_give_the_stored_scores(shared: Path, fixture: str) -> None:
    folder = shared / "parity" / "models" / fixture
    model = load_tiny(folder)
    stored = np.load(folder / "io.npz")
    clips = torch.from_numpy(stored["frames"]).permute(0, 4, 1, 2, 3)
    with torch.no_grad():
        logits = model(clips, torch.from_numpy(stored["boxes"]))
        (one_map,) = model.backbone(model.normalise(clips))
    np.testing.assert_allclose(one_map.numpy(), stored["feat0"], atol=1e-4, rtol=0)
    np.testing.assert_allclose(logits.numpy(), stored["logits"], atol=1e-4, rtol=0)
    np.testing.assert_allclose(logits.sigmoid().numpy(), stored["scores"], atol=1e-4, rtol=0)


@pytest.mark.shared
@each_case(("fixture", "builder", "options", "clip"), PUBLISHED)
def test_full_key_lists_map_without_rest(
    shared: Path, fixture: str, builder: str, options: dict[str, Any], clip: tuple[int, int]
) -> None:
    folder = shared / "parity" / "models" / fixture
    listed = json.loads((folder / "keys.json").read_text())
    tensors = {MVIT.rename(name): torch.empty(shape, device="meta") for name, (shape, _) in listed.items()}
    arguments = mvit_arguments(Evidence(tensors, yaml.safe_load((folder / "cfg.yaml").read_text()), fixture))
    assert arguments == mvit_arguments(Evidence(tensors, {}, fixture))
    assert mvit_clip(arguments) == (*clip, 224)
    assert arguments["stages"] == as_json(options["stages"])
    with torch.device("meta"):
        named, read_off = build(builder, 80, **options), build("mvit", 80, **arguments)
    assert shapes(tensors) == shapes(named.state_dict()) == shapes(read_off.state_dict())
