"""Hiera: published sizes, mask units and pooling by hand, and the authors' features from the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from counting import sizes
from each_case import each_case
from torch import Tensor, nn

from avadet.errors import AvadetError
from avadet.models.backbones.hiera import (
    Hiera,
    UnitAttention,
    pooled,
    window_partition,
)
from avadet.models.build import build
from avadet.models.checkpoints.formats import recognise, translate
from avadet.models.checkpoints.formats.hiera import HIERA

SMALL: dict[str, Any] = {"embed_dim": 8, "heads": 1, "depths": (1, 2, 2, 1), "grid": (2, 16, 24)}


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
    [  # parameters counted on the authors' models of 400 classes; multiply-adds of the paper's table of Kinetics-400
        ("hiera_b", 51_092_560, 96, 102),
        ("hiera_b_plus", 69_392_240, 112, 133),
        pytest.param("hiera_l", 213_091_600, 144, 413, marks=pytest.mark.slow),
        pytest.param("hiera_h", 671_627_664, 256, 1159, marks=pytest.mark.slow),
    ],
)
def test_published_sizes(builder: str, parameters: int, channels: int, gflops: float) -> None:
    found, operations, shapes = sizes(builder, (16, 224, 224))
    third, fourth = 4 * channels, 8 * channels
    # 80 classes instead of 400, from the third stage as well, which has a norm of its own.
    assert found == parameters - 400 * (fourth + 1) + 80 * (third + fourth + 1) + 2 * third
    assert operations == pytest.approx(gflops, rel=0.01)
    assert shapes == [(1, third, 8, 14, 14), (1, fourth, 8, 7, 7)]


def test_maps_of_all_stages() -> None:
    _, _, shapes = sizes("hiera_b", (16, 224, 224), maps=(1, 2, 3, 4))
    assert shapes == [(1, 96, 8, 56, 56), (1, 192, 8, 28, 28), (1, 384, 8, 14, 14), (1, 768, 8, 7, 7)]


def test_maps_of_a_size_that_no_mask_unit_divides() -> None:
    _, _, shapes = sizes("hiera_b", (9, 250, 341), maps=(1, 3, 4))
    assert shapes == [(1, 96, 5, 63, 86), (1, 384, 5, 16, 22), (1, 768, 5, 8, 11)]


def test_stages_that_nobody_sees_are_not_built() -> None:
    net = Hiera(**SMALL, maps=(3,))
    assert len(net.blocks) == 5
    assert net.out_channels == (32,)
    whole = Hiera(**SMALL).state_dict()
    assert set(whole) - set(net.state_dict()) == {name for name in whole if name.startswith(("blocks.5.", "norm."))}


def test_a_stage_that_is_not_there_is_refused() -> None:
    with pytest.raises(AvadetError, match=r"maps of a Hiera must be stages from 1 to 4, got \[3, 5\]"):
        build("hiera", 5, **SMALL, maps=(3, 5))
    with pytest.raises(AvadetError, match=r"maps of a Hiera must be stages from 1 to 4, got \[\]"):
        build("hiera", 5, **SMALL, maps=())


def test_heads_that_do_not_divide_channels_are_refused() -> None:
    with pytest.raises(AvadetError, match=r"heads must divide channels, got 3 for 8"):
        build("hiera", 5, **{**SMALL, "heads": 3})


def test_each_map_passes_a_norm_of_its_own() -> None:
    torch.manual_seed(0)
    net = Hiera(**SMALL, maps=(4, 2)).eval()
    clip = torch.randn(1, 3, 4, 64, 96)
    with torch.no_grad():
        maps = net(clip)
        net.norm.weight *= 2  # the last stage's, whichever place it has among the maps
        again = net(clip)
    assert tuple(one_map.shape[1] for one_map in maps) == net.out_channels == (64, 16)
    for one_map in maps:
        torch.testing.assert_close(one_map.mean(dim=1), torch.zeros_like(one_map[:, 0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(again, [2 * maps[0], maps[1]])


def numbered(rows: int, columns: int) -> Tensor:
    """Cells (1, 1, rows, columns, 1) that hold 10 times their row plus their column."""
    return (10.0 * torch.arange(rows)[:, None] + torch.arange(columns)).reshape(1, 1, rows, columns, 1)


def test_squares_by_hand() -> None:
    cut = window_partition(numbered(3, 4), 2, filling=-1)
    assert cut.shape == (1, 1, 2, 2, 4, 1)
    assert cut[0, 0, 0, :, :, 0].tolist() == [[0, 1, 10, 11], [2, 3, 12, 13]]
    assert cut[0, 0, 1, :, :, 0].tolist() == [[20, 21, -1, -1], [22, 23, -1, -1]]


def test_pooling_by_hand() -> None:
    assert pooled(numbered(4, 4))[0, 0, :, :, 0].tolist() == [[11, 13], [31, 33]]
    assert pooled(numbered(3, 5))[0, 0, :, :, 0].tolist() == [[11, 13, 14], [21, 23, 24]]
    assert pooled(-1 - numbered(3, 3))[0, 0, :, :, 0].tolist() == [[-1, -3], [-21, -23]]  # not 0, the padding of others


def written_out(layer: UnitAttention, cells: Tensor) -> Tensor:
    """Attention of cells (H, W, C) query by query: its place, the keys of its unit, their softmax."""
    rows, columns = cells.shape[:2]
    q, k, v = layer.qkv(cells).chunk(3, dim=-1)
    unit, step = layer.unit or max(rows, columns), 2 if layer.pools else 1
    width = q.shape[2] // layer.heads
    answer = torch.zeros(-(-rows // step), -(-columns // step), q.shape[2])
    for row in range(answer.shape[0]):
        for column in range(answer.shape[1]):
            query = q[row * step : (row + 1) * step, column * step : (column + 1) * step].amax(dim=(0, 1))
            top, left = row * step // unit * unit, column * step // unit * unit
            keys = k[top : top + unit, left : left + unit].flatten(0, 1)
            values = v[top : top + unit, left : left + unit].flatten(0, 1)
            for head in range(layer.heads):
                part = slice(head * width, (head + 1) * width)
                weights = (keys[:, part] @ query[part] / width**0.5).softmax(dim=0)
                answer[row, column, part] = weights @ values[:, part]
    projected: Tensor = layer.proj(answer)
    return projected


@each_case("channels", [6, 12])  # 6 stay 6, 12 are pooled
@each_case("unit", [2, 4, None])
@each_case("hw", [(4, 8), (5, 7), (3, 2)])
def test_attention_written_out(channels: int, unit: int | None, hw: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = UnitAttention(6, channels, 3, unit)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    cells = torch.randn(2, 1, *hw, 6)
    with torch.no_grad():
        found = layer(cells)
        for one, expected in zip(found[:, 0], [written_out(layer, frame[0]) for frame in cells]):
            torch.testing.assert_close(one, expected, atol=1e-4, rtol=1e-4)


def test_heads_and_mask_units_of_each_block() -> None:
    net = Hiera(**SMALL)  # 1, 2, 2, 1 blocks; the first of a stage attends as the stage before it
    assert [block.attn.heads for block in net.blocks] == [1, 2, 2, 4, 4, 8]
    assert [block.attn.unit for block in net.blocks] == [8, 8, 4, 4, None, None]
    assert [block.attn.pools for block in net.blocks] == [False, True, False, True, False, True]


def test_blocks_written_out() -> None:
    torch.manual_seed(0)
    plain, pooling = strong(Hiera(**SMALL)).blocks[2:4]
    cells = torch.randn(1, 1, 5, 6, 16)
    with torch.no_grad():
        halfway = cells + plain.attn(plain.norm1(cells))
        torch.testing.assert_close(plain(cells), halfway + plain.mlp(plain.norm2(halfway)))
        normed = pooling.norm1(cells)
        halfway = pooled(pooling.proj(normed)) + pooling.attn(normed)
        torch.testing.assert_close(pooling(cells), halfway + pooling.mlp(pooling.norm2(halfway)))
    assert pooling(cells).shape == (1, 1, 3, 3, 32)


def test_frames_attend_to_one_another_only_where_there_are_no_units() -> None:
    torch.manual_seed(0)
    cells = torch.randn(1, 2, 4, 4, 6)
    other = torch.cat([cells[:, :1], torch.randn(1, 1, 4, 4, 6)], dim=1)
    for unit, is_told in ((2, False), (None, True)):
        layer = UnitAttention(6, 6, 1, unit)
        with torch.no_grad():
            assert torch.equal(layer(cells)[:, 0], layer(other)[:, 0]) is not is_told


def test_a_mask_unit_is_by_itself_in_the_first_two_stages() -> None:
    torch.manual_seed(0)
    net = strong(Hiera(**SMALL, maps=(1, 2, 3)))
    clip = torch.randn(1, 3, 4, 64, 96)
    changed = clip.clone()
    changed[:, :, 2:, 44:52, 44:52] += 1  # well inside the unit of rows 32 to 63 and columns 32 to 63
    with torch.no_grad():
        first, second, third = (before != after for before, after in zip(net(clip), net(changed)))
    for changes, side in ((first, 8), (second, 4)):
        where = changes[0].any(dim=0).nonzero()
        assert {(frame, row // side, column // side) for frame, row, column in where.tolist()} == {(1, 1, 1)}
        assert len(where) == side**2
    where = third[0].any(dim=0).nonzero()
    assert len({(frame, row // 2, column // 2) for frame, row, column in where.tolist()}) == 2 * 2 * 3  # all units


def test_positions_are_the_sum_of_a_place_and_a_time() -> None:
    torch.manual_seed(0)
    net = strong(Hiera(**{**SMALL, "grid": (2, 2, 3)}))
    table = net.pos_embed((2, 2, 3)).reshape(2, 2, 3, 8)
    for frame in range(2):
        for row in range(2):
            for column in range(3):
                expected = net.pos_embed.temporal[0, frame] + net.pos_embed.spatial[0, 3 * row + column]
                torch.testing.assert_close(table[frame, row, column], expected)
    # Twice as many columns: the first and last are the old ones, between old 0 and 1 there are 1/4 and 3/4.
    wide = net.pos_embed((2, 2, 6)).reshape(2, 2, 6, 8)
    torch.testing.assert_close(wide[:, :, 0], table[:, :, 0])
    torch.testing.assert_close(wide[:, :, 5], table[:, :, 2])
    torch.testing.assert_close(wide[:, :, 1], 0.75 * table[:, :, 0] + 0.25 * table[:, :, 1])


def test_places_and_times_count_by_their_tables_alone() -> None:
    torch.manual_seed(0)
    net = strong(Hiera(**SMALL, maps=(3,)))
    net.patch_embed.weight.data[:, :, 0] = 0  # tokens of two frames, which do not reach into those before
    clip = torch.randn(1, 3, 4, 64, 64)
    swapped = clip[:, :, [2, 3, 0, 1]]
    with torch.no_grad():
        assert not torch.allclose(net(swapped)[0], net(clip)[0].flip(2), atol=1e-3)
        net.pos_embed.temporal.zero_()
        torch.testing.assert_close(net(swapped)[0], net(clip)[0].flip(2))


def test_the_authors_have_the_same_features() -> None:
    library = pytest.importorskip("hiera", reason="the library hiera-transformer is not installed")
    torch.manual_seed(0)
    theirs = library.Hiera(
        input_size=(4, 64, 96),
        num_classes=5,
        embed_dim=8,
        num_heads=1,
        stages=(1, 2, 2, 1),
        q_stride=(1, 2, 2),
        mask_unit_size=(1, 8, 8),
        patch_kernel=(3, 7, 7),
        patch_stride=(2, 4, 4),
        patch_padding=(1, 3, 3),
        sep_pos_embed=True,
    )
    strong(theirs)
    own = Hiera(**SMALL, maps=(1, 2, 3, 4)).eval()
    tensors = translate(theirs.state_dict(), recognise(theirs.state_dict(), "x.pth"))
    names = {name.removeprefix("backbone."): tensor for name, tensor in tensors.items() if name.startswith("backbone.")}
    missing, unexpected = own.load_state_dict(names, strict=False)
    assert (set(missing), unexpected) == ({f"norms.{n}.{kind}" for n in (1, 2, 3) for kind in ("weight", "bias")}, [])
    own.norm, own.norms = nn.Identity(), nn.ModuleDict({str(n): nn.Identity() for n in (1, 2, 3)})
    clip = torch.randn(2, 3, 4, 64, 96)
    with torch.no_grad():
        logits, expected = theirs(clip, return_intermediates=True)
        found = own(clip)
    for one, other in zip(found, expected):
        torch.testing.assert_close(one.permute(0, 2, 3, 4, 1), other, atol=1e-4, rtol=1e-4)
    whole = theirs.norm(found[3].mean(dim=(2, 3, 4)))
    torch.testing.assert_close(theirs.head(whole), logits)


@each_case("name", ["base", "base_plus"])
def test_the_authors_checkpoints_have_these_shapes(name: str) -> None:
    library = pytest.importorskip("hiera", reason="the library hiera-transformer is not installed")
    builder = {"base": "hiera_b", "base_plus": "hiera_b_plus"}[name]
    theirs = getattr(library, f"hiera_{name}_16x224")().state_dict()
    with torch.device("meta"):
        own = build(builder, 400, maps=(4,)).state_dict()
    tensors = translate(theirs, HIERA)
    assert {name: tensor.shape for name, tensor in tensors.items()} == {name: t.shape for name, t in own.items()}
