"""Hiera: a multiscale transformer with nothing added but what pre-training could not teach it.

Ryali et al., "Hiera: A Hierarchical Vision Transformer without the Bells-and-Whistles", ICML 2023. As in `mvit`, there
are fewer tokens of more channels from stage to stage; but no convolution pools, positions are only added once, and in
the early stages, where tokens are many, each attends to those of its own mask unit: a square of one frame, 32 px wide,
which pre-training hides or shows as a whole. Between stages four neighbours become one by their maximum.

The authors keep tokens in an order in which mask units and neighbours are contiguous, and need clips of whole units
for it. Here tokens stay where they are in the picture, the parameters are the same, and units at the edges may be cut.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from avadet.errors import AvadetError
from avadet.models.backbones.backbone import Backbone, Stride
from avadet.models.backbones.positions import SeparatePositions, grid_of
from avadet.models.backbones.vit_blocks import EPS, attention, drops, mlp, random_weights

UNIT = 8
"""Rows and columns of tokens in a mask unit of the first stage; they halve from stage to stage."""

LOCAL_STAGES = 2
"""So many stages attend within mask units, the others to the whole clip."""

PATCH_KERNEL, PATCH_STRIDE, PATCH_PADDING = (3, 7, 7), (2, 4, 4), (1, 3, 3)


class Hiera(Backbone):
    """Clip -> tokens of 2 x 4 x 4 px -> blocks -> the maps of chosen stages, each after a norm.

    Clips of any size are welcome: positions are interpolated to the grid at hand.
    """

    graph_has_one_size = True

    def __init__(
        self,
        *,
        embed_dim: int = 96,
        heads: int = 1,
        depths: Sequence[int] = (2, 3, 16, 3),
        mlp_ratio: float = 4.0,
        grid: Sequence[int] = (8, 56, 56),
        drop_path: float = 0.0,
        maps: Sequence[int] = (3, 4),
    ) -> None:
        """Build it with random weights.

        Args:
            embed_dim: of the first stage; they double from stage to stage.
            heads: of attention in the first stage; they double too.
            depths: blocks of each stage.
            mlp_ratio: hidden units of a perceptron, as a multiple of its inputs.
            grid: tokens (frames, rows, columns) of the clips it is trained on.
            drop_path: share of samples that skip the last block in training; for earlier blocks less, down to 0.
            maps: the stages, counted from 1, whose maps a detector is to see. Those after the last of them are not
                built.

        Raises:
            AvadetError: if a stage of `maps` is not there, or heads do not divide channels.
        """
        super().__init__()
        last = len(depths)
        if not maps or any(not 1 <= stage <= last for stage in maps):
            raise AvadetError(f"maps of a Hiera must be stages from 1 to {last}, got {list(maps)}")
        self.maps = tuple(maps)
        self.patch_embed = nn.Conv3d(3, embed_dim, PATCH_KERNEL, PATCH_STRIDE, PATCH_PADDING)
        self.pos_embed = SeparatePositions(embed_dim, grid_of(grid))
        rates = drops(sum(depths), drop_path)
        self.depths = tuple(depths[: max(maps)])
        self.blocks = nn.ModuleList(
            Block(embed_dim, heads, stage, is_first, mlp_ratio, rate)
            for (stage, is_first), rate in zip(_places(self.depths), rates)
        )
        widths = {stage: embed_dim * 2 ** (stage - 1) for stage in self.maps}
        # The last norm is the only one that pre-training has; it keeps its name.
        self.norm = nn.LayerNorm(widths[last], EPS) if last in widths else nn.Identity()
        self.norms = nn.ModuleDict({str(stage): nn.LayerNorm(widths[stage], EPS) for stage in widths if stage != last})
        self.out_channels = tuple(widths[stage] for stage in self.maps)
        self.strides = tuple(
            Stride(PATCH_STRIDE[0], *(step * 2 ** (stage - 1) for step in PATCH_STRIDE[1:])) for stage in self.maps
        )
        random_weights(self)

    def forward(self, clip: Tensor) -> list[Tensor]:
        """Normalised clip (B, 3, T, H, W) -> maps (B, C_i, T / 2, H / s, W / s), rounded up; s = 4, 8, 16, 32."""
        volume = self.patch_embed(clip)
        grid = grid_of(volume.shape[2:])
        cells = volume.permute(0, 2, 3, 4, 1) + self.pos_embed(grid).reshape(1, *grid, -1)
        stages: dict[int, Tensor] = {}
        for (stage, _), block in zip(_places(self.depths), self.blocks):
            cells = block(cells)
            stages[stage] = cells
        return [self._normed(stage, stages[stage]).permute(0, 4, 1, 2, 3) for stage in self.maps]

    def _normed(self, stage: int, cells: Tensor) -> Tensor:
        """Tokens (B, T, H, W, C) that leave a stage after its norm."""
        key = str(stage)
        normed: Tensor = self.norms[key](cells) if key in self.norms else self.norm(cells)
        return normed


def _places(depths: Sequence[int]) -> list[tuple[int, bool]]:
    """For every block its stage, counted from 1, and whether it is the first of it."""
    return [(stage, index == 0) for stage, depth in enumerate(depths, start=1) for index in range(depth)]


class Block(nn.Module):
    """Attention and perceptron, each after a norm and beside a shortcut.

    The first block of a stage, but for the first stage, doubles the channels and pools queries and shortcut. It still
    attends as the stage before it does.
    """

    def __init__(
        self, embed_dim: int, heads: int, stage: int, is_first: bool, mlp_ratio: float, drop_path: float
    ) -> None:
        """Build it.

        Args:
            embed_dim: of the model's first stage.
            heads: of the model's first stage.
            stage: the block's, counted from 1.
            is_first: whether it is the first block of its stage.
            mlp_ratio: hidden units of the perceptron, as a multiple of its inputs.
            drop_path: share of samples that skip a branch in training.
        """
        super().__init__()
        before = stage - 1 if is_first and stage > 1 else stage
        width_in, width = embed_dim * 2 ** (before - 1), embed_dim * 2 ** (stage - 1)
        unit = UNIT // 2 ** (before - 1) if before <= LOCAL_STAGES else None
        self.norm1 = nn.LayerNorm(width_in, EPS)
        self.attn = UnitAttention(width_in, width, heads * 2 ** (stage - 1), unit)
        self.norm2 = nn.LayerNorm(width, EPS)
        self.mlp = mlp(width, int(width * mlp_ratio))
        self.proj = nn.Linear(width_in, width) if width_in != width else None
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, cells: Tensor) -> Tensor:
        """Tokens (B, T, H, W, C) -> (B, T, H', W', C'), where H' and W' may be half of H and W, rounded up."""
        normed = self.norm1(cells)
        shortcut = cells if self.proj is None else pooled(self.proj(normed))
        cells = shortcut + self.drop_path(self.attn(normed))
        out: Tensor = cells + self.drop_path(self.mlp(self.norm2(cells)))
        return out


class UnitAttention(nn.Module):
    """Attention of tokens to those of their mask unit, or to all of the clip; it pools queries where it widens."""

    def __init__(self, channels_in: int, embed_dim: int, heads: int, unit: int | None) -> None:
        """Build it.

        Args:
            channels_in: of the tokens that come.
            embed_dim: of those that go; if they differ, queries are pooled.
            heads: each of channels / heads channels.
            unit: rows and columns of a mask unit of the tokens that come; None = the whole clip is one.

        Raises:
            AvadetError: if heads do not divide channels.
        """
        super().__init__()
        if embed_dim % heads:
            raise AvadetError(f"heads must divide channels, got {heads} for {embed_dim}")
        self.heads = heads
        self.unit = unit
        self.pools = channels_in != embed_dim
        self.qkv = nn.Linear(channels_in, 3 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, cells: Tensor) -> Tensor:
        """Tokens (B, T, H, W, C) -> (B, T, H', W', C')."""
        q, k, v = self.qkv(cells).chunk(3, dim=-1)
        q = pooled(q) if self.pools else q
        if self.unit is None:
            mixed = attention(q.flatten(1, 3), k.flatten(1, 3), v.flatten(1, 3), self.heads).reshape(q.shape)
        else:
            mixed = self._in_units(q, k, v, self.unit)
        attended: Tensor = self.proj(mixed)
        return attended

    def _in_units(self, q: Tensor, k: Tensor, v: Tensor, unit: int) -> Tensor:
        """Values (B, T, H, W, C) mixed for each query by the keys of its unit; a unit's missing cells have no say."""
        side = unit // 2 if self.pools else unit
        _, rows, columns = grid_of(k.shape[1:4])
        is_cut = rows % unit or columns % unit
        there = window_partition(torch.ones_like(k[:, :, :, :, :1]), unit)[..., 0] > 0 if is_cut else None
        mixed = attention(
            window_partition(q, side), window_partition(k, unit), window_partition(v, unit), self.heads, there
        )
        return window_reverse(mixed, side)[:, :, : q.shape[2], : q.shape[3]]


def window_partition(cells: Tensor, side: int, filling: float = 0.0) -> Tensor:
    """Cells (B, T, H, W, C) cut into squares of every frame, (B, T, rows, columns, side * side, C).

    Squares that reach beyond the edge, on the right and at the bottom, are filled up with `filling`.
    """
    frames, rows, columns = grid_of(cells.shape[1:4])
    rest = -rows % side, -columns % side
    if any(rest):
        cells = F.pad(cells, (0, 0, 0, rest[1], 0, rest[0]), value=filling)
    cut = cells.reshape(len(cells), frames, (rows + rest[0]) // side, side, -1, side, cells.shape[-1])
    return cut.transpose(3, 4).flatten(4, 5)


def window_reverse(cut: Tensor, side: int) -> Tensor:
    """Squares (B, T, rows, columns, side * side, C) back in their places, (B, T, rows * side, columns * side, C)."""
    rows = cut.reshape(*cut.shape[:4], side, side, -1).transpose(3, 4)
    return rows.flatten(4, 5).flatten(2, 3)


def pooled(cells: Tensor) -> Tensor:
    """The maximum of every two by two cells of a frame; of those that are there at an edge of odd length."""
    return window_partition(cells, 2, float("-inf")).amax(dim=4)
