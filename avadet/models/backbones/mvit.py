"""Multiscale vision transformers: MViT (Fan et al., ICCV 2021) and MViTv2 (Li et al., CVPR 2022).

Tokens of a clip go through blocks of attention. From stage to stage there are fewer tokens of more channels: queries
are pooled with a stride, and keys and values are pooled further still, which is what makes attention over a whole
clip affordable. MViTv2 adds relative positions, adds pooled queries to what attention gives, and widens in attention
instead of in the perceptron after it.

Why torchvision's blocks are not used, although they have the same arithmetic: they write the matrix of attention out
and relative positions beside it, which `Attention` avoids (the same result, scored in less time and memory); they
insist on a class token; and they are no public part of torchvision. Its `MLP` and `StochasticDepth` are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import MLP, StochasticDepth

from avadet.errors import AvadetError
from avadet.models.backbones.backbone import Backbone, Stride
from avadet.models.backbones.positions import INIT_STD, Grid, Positions, SeparatePositions, grid_of, one_hot_places
from avadet.models.backbones.vit_blocks import EPS

ONE: Grid = (1, 1, 1)
KINDS = ("none", "separate", "joint")


@dataclass(frozen=True)
class Stage:
    """A run of blocks of equal width.

    Attributes:
        depth: blocks.
        embed_dim: of the tokens in attention.
        heads: of attention; each has channels / heads channels.
        q_stride: of the queries of the first block, by which the grid shrinks.
        kv_stride: of keys and values of every block, from the grid that enters the block.
    """

    depth: int
    embed_dim: int
    heads: int
    q_stride: Sequence[int] = ONE
    kv_stride: Sequence[int] = ONE


@dataclass(frozen=True)
class Traits:
    """What all blocks of a model have in common; see `MViT`."""

    cls_tokens: int
    pool_kernel: Grid | None
    pool_all_queries: bool
    widen_in_attention: bool
    residual_pooling: bool
    relative_positions: bool
    mlp_ratio: float


@dataclass(frozen=True)
class BlockShape:
    """One block: the grid it was trained on, channels before, in and after attention, heads, strides, and drop rate."""

    grid: Grid
    channels_in: int
    embed_dim: int
    channels_out: int
    heads: int
    q_stride: Grid
    kv_stride: Grid
    drop_path: float


class MViT(Backbone):
    """Clip -> tokens -> blocks -> norm -> one map; the class token, if there is one, takes part but is not returned.

    Clips of any size are welcome: tables of positions are interpolated to the grid at hand.
    """

    graph_has_one_size = True

    def __init__(
        self,
        *,
        stages: Sequence[Mapping[str, Any]],
        grid: Sequence[int] = (8, 56, 56),
        patch_kernel: Sequence[int] = (3, 7, 7),
        patch_stride: Sequence[int] = (2, 4, 4),
        pool_kernel: Sequence[int] | None = (3, 3, 3),
        pool_all_queries: bool = False,
        widen_in_attention: bool = False,
        residual_pooling: bool = False,
        relative_positions: bool = False,
        absolute_positions: str = "none",
        cls_token: bool = True,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
    ) -> None:
        """Build it with random weights.

        Args:
            stages: each the fields of a `Stage`.
            grid: patches (frames, rows, columns) of the clips it is trained on; the size of tables of positions.
            patch_kernel: of the convolution that makes tokens.
            patch_stride: of the same.
            pool_kernel: of the pooling of queries, keys and values; None = stride + 1 along each axis with a stride.
            pool_all_queries: whether queries are pooled where they have no stride too.
            widen_in_attention: whether attention of a stage's first block widens; else the perceptron before it.
            residual_pooling: whether pooled queries are added to the output of attention.
            relative_positions: whether attention depends on the distance of query and key.
            absolute_positions: "none"; "separate" = a table of places and one of times, added; "joint" = one table.
            cls_token: whether a class token goes along.
            mlp_ratio: hidden units of a perceptron for one of its inputs.
            drop_path: share of samples that skip the last block in training; for earlier blocks less, down to 0.

        Raises:
            AvadetError: if `absolute_positions` is of no known kind, or heads do not divide channels.
        """
        super().__init__()
        plan = [Stage(**row) for row in stages]
        traits = Traits(
            cls_tokens=int(cls_token),
            pool_kernel=grid_of(pool_kernel) if pool_kernel else None,
            pool_all_queries=pool_all_queries,
            widen_in_attention=widen_in_attention,
            residual_pooling=residual_pooling,
            relative_positions=relative_positions,
            mlp_ratio=mlp_ratio,
        )
        width, kernel = plan[0].embed_dim, grid_of(patch_kernel)
        self.cls_tokens = traits.cls_tokens
        self.patch_embed = nn.Conv3d(3, width, kernel, grid_of(patch_stride), _half(kernel))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width)) if cls_token else None
        self.pos_embed = _positions(absolute_positions, width, grid_of(grid), self.cls_tokens)
        shapes = block_shapes(plan, grid_of(grid), widen_in_attention, drop_path)
        self.blocks = nn.ModuleList(Block(shape, traits) for shape in shapes)
        self.norm = nn.LayerNorm(plan[-1].embed_dim, EPS)
        self.out_channels = (plan[-1].embed_dim,)
        steps = [grid_of(patch_stride), *(grid_of(stage.q_stride) for stage in plan)]
        self.strides = (Stride(*(math.prod(axis) for axis in zip(*steps))),)
        self._random_weights()

    def forward(self, clip: Tensor) -> list[Tensor]:
        """Normalised clip (B, 3, T, H, W) -> one map (B, C, T', H', W').

        With the published strides T' = T / 2, H' = H / 32 and W' = W / 32, rounded up.
        """
        volume = self.patch_embed(clip)
        grid = grid_of(volume.shape[2:])
        tokens = volume.flatten(2).transpose(1, 2)
        if self.cls_token is not None:
            tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        if self.pos_embed is not None:
            tokens = tokens + self.pos_embed(grid)
        for block in self.blocks:
            tokens, grid = block(tokens, grid)
        cells = self.norm(tokens[:, self.cls_tokens :])
        return [cells.transpose(1, 2).reshape(len(cells), -1, *grid)]

    def _random_weights(self) -> None:
        """Normal of deviation 0.02 for matrices, tables and the class token, zeros for biases."""
        tables = [
            p
            for name, p in self.named_parameters()
            if "pos_embed." in name or "rel_pos." in name or name == "cls_token"
        ]
        matrices = [module for module in self.modules() if isinstance(module, nn.Linear)]
        for weights in [*tables, *(matrix.weight for matrix in matrices)]:
            nn.init.trunc_normal_(weights, std=INIT_STD)
        for matrix in matrices:
            nn.init.zeros_(matrix.bias)


def _positions(kind: str, embed_dim: int, grid: Grid, cls_tokens: int) -> nn.Module | None:
    """The tables of a kind of absolute positions."""
    if kind not in KINDS:
        raise AvadetError(f"absolute_positions must be one of {', '.join(KINDS)}, got '{kind}'")
    if kind == "separate":
        return SeparatePositions(embed_dim, grid, cls_tokens)
    return Positions(embed_dim, grid, cls_tokens, trilinear=True) if kind == "joint" else None


def _half(kernel: Grid) -> Grid:
    """The padding with which a kernel gives as many cells as there were, but for its stride."""
    return kernel[0] // 2, kernel[1] // 2, kernel[2] // 2


def block_shapes(stages: Sequence[Stage], grid: Grid, widen_in_attention: bool, drop_path: float) -> list[BlockShape]:
    """The blocks of all stages, one after the other."""
    each = [(stage, index == 0) for stage in stages for index in range(stage.depth)]
    shapes: list[BlockShape] = []
    channels_in = stages[0].embed_dim
    for number, (stage, is_first) in enumerate(each):
        if stage.embed_dim % stage.heads:
            raise AvadetError(f"heads of a stage must divide its channels, got {stage.heads} for {stage.embed_dim}")
        following = each[min(number + 1, len(each) - 1)][0].embed_dim
        stride = grid_of(stage.q_stride) if is_first else ONE
        shape = BlockShape(
            grid=grid,
            channels_in=channels_in,
            embed_dim=stage.embed_dim,
            channels_out=stage.embed_dim if widen_in_attention else following,
            heads=stage.heads,
            q_stride=stride,
            kv_stride=grid_of(stage.kv_stride),
            drop_path=drop_path * number / max(len(each) - 1, 1),
        )
        shapes.append(shape)
        channels_in, grid = shape.channels_out, _shrunk(grid, stride)
    return shapes


def _shrunk(grid: Grid, stride: Grid) -> Grid:
    """A grid by a stride, rounded down, as tables of positions are sized (pooling itself rounds up)."""
    return grid[0] // stride[0], grid[1] // stride[1], grid[2] // stride[2]


class Block(nn.Module):
    """Attention and perceptron, each after a norm and beside a shortcut, which is max-pooled as queries are pooled."""

    def __init__(self, shape: BlockShape, traits: Traits) -> None:
        """Build it."""
        super().__init__()
        self.cls_tokens = traits.cls_tokens
        self.widen_in_attention = traits.widen_in_attention
        self.norm1 = nn.LayerNorm(shape.channels_in, EPS)
        self.attn = Attention(shape, traits)
        self.norm2 = nn.LayerNorm(shape.embed_dim, EPS)
        hidden = int(shape.embed_dim * traits.mlp_ratio)
        self.mlp = MLP(shape.embed_dim, [hidden, shape.channels_out], None, nn.GELU, inplace=None)
        widens = shape.channels_in != shape.channels_out
        self.proj = nn.Linear(shape.channels_in, shape.channels_out) if widens else None
        kernel = _kernel(shape.q_stride)
        self.pool = nn.MaxPool3d(kernel, shape.q_stride, _half(kernel)) if math.prod(shape.q_stride) > 1 else None
        self.drop_path = StochasticDepth(shape.drop_path, "row")

    def forward(self, tokens: Tensor, grid: Grid) -> tuple[Tensor, Grid]:
        """Tokens (B, [1 +] N, C) of a grid -> tokens (B, [1 +] N', C') of a grid that may be smaller."""
        normed = self.norm1(tokens)
        attended, new_grid = self.attn(normed, grid)
        shortcut = self.proj(normed) if self.proj is not None and self.widen_in_attention else tokens
        if self.pool is not None:
            shortcut, _ = _over_grid(self.pool, shortcut, grid, self.cls_tokens)
        tokens = shortcut + self.drop_path(attended)
        normed = self.norm2(tokens)
        shortcut = self.proj(normed) if self.proj is not None and not self.widen_in_attention else tokens
        return shortcut + self.drop_path(self.mlp(normed)), new_grid


def _kernel(stride: Grid) -> Grid:
    """The kernel that reaches one cell over its stride, and one cell where there is no stride."""
    return grid_of([step + 1 if step > 1 else 1 for step in stride])


def _over_grid(
    operation: Callable[[Tensor], Tensor], tokens: Tensor, grid: Grid, cls_tokens: int
) -> tuple[Tensor, Grid]:
    """Apply what works on volumes (B, C, T, H, W) to tokens (B, [1 +] N, C); class tokens stay as they are."""
    volume = operation(tokens[:, cls_tokens:].transpose(1, 2).reshape(len(tokens), -1, *grid))
    cells = volume.flatten(2).transpose(1, 2)
    return torch.cat([tokens[:, :cls_tokens], cells], dim=1), grid_of(volume.shape[2:])


class Attention(nn.Module):
    """Attention of pooled queries to pooled keys and values.

    With relative positions, the logit of query i and key j gains q_i . (R_t[i, j] + R_h[i, j] + R_w[i, j]), and R_t
    depends on the frames of i and j only, and so on. So the sum is a scalar product too: q_i . R_t for every frame of
    the keys, beside the same for rows and columns, times the one-hot frame, row and column of key j. Those numbers are
    appended to queries and keys, and any fast attention gives the exact answer without a matrix of N x N' numbers.
    On a CPU that is also faster than adding up such a matrix, although it takes more multiply-adds.

    Attributes:
        count_as_written: whether to use that matrix nevertheless, so that operations are the paper's (`summary`).
    """

    count_as_written = False

    def __init__(self, shape: BlockShape, traits: Traits) -> None:
        """Build it."""
        super().__init__()
        self.heads = shape.heads
        self.cls_tokens = traits.cls_tokens
        self.residual_pooling = traits.residual_pooling
        self.qkv = nn.Linear(shape.channels_in, 3 * shape.embed_dim)
        self.proj = nn.Linear(shape.embed_dim, shape.embed_dim)
        width = shape.embed_dim // shape.heads
        queries_pooled = traits.pool_all_queries or math.prod(shape.q_stride) > 1
        self.pool_q = _head_pool(width, shape.q_stride, traits) if queries_pooled else None
        self.pool_k = _head_pool(width, shape.kv_stride, traits)
        self.pool_v = _head_pool(width, shape.kv_stride, traits)
        self.rel_pos = RelativePositions(width, shape) if traits.relative_positions else None

    def forward(self, tokens: Tensor, grid: Grid) -> tuple[Tensor, Grid]:
        """Tokens (B, [1 +] N, C) of a grid -> tokens (B, [1 +] N', C') of the grid of the pooled queries."""
        parts = self.qkv(tokens).reshape(*tokens.shape[:2], 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        q, q_grid = self.pool_q(q, grid) if self.pool_q is not None else (q, grid)
        k, k_grid = self.pool_k(k, grid) if self.pool_k is not None else (k, grid)
        v, _ = self.pool_v(v, grid) if self.pool_v is not None else (v, grid)
        attended = self._attend(q, k, v, q_grid, k_grid)
        if self.residual_pooling:
            attended = attended + F.pad(q[:, :, self.cls_tokens :], (0, 0, self.cls_tokens, 0))
        return self.proj(attended.transpose(1, 2).flatten(2)), q_grid

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, q_grid: Grid, k_grid: Grid) -> Tensor:
        """The softmax of q times k, times v; all (B, heads, tokens, channels of a head)."""
        if self.rel_pos is None:
            return F.scaled_dot_product_attention(q, k, v)
        width, cls = q.shape[-1], self.cls_tokens  # the class token is nowhere: zeros for it
        of_queries = self.rel_pos(q[:, :, cls:], q_grid, k_grid)
        if self.count_as_written:
            frames, rows, columns = of_queries.split(k_grid, dim=-1)
            added = frames[..., None, None] + rows[..., None, :, None] + columns[..., None, None, :]
            return F.scaled_dot_product_attention(q, k, v, F.pad(added.flatten(3), (cls, 0, cls, 0)))
        of_queries = F.pad(of_queries, (0, 0, cls, 0))
        of_keys = F.pad(one_hot_places(k_grid, k), (0, 0, cls, 0)).expand(*k.shape[:2], -1, -1)
        # Fast kernels want equally wide queries, keys and values, by a multiple of 8.
        rest = -(width + of_queries.shape[-1]) % 8
        q = F.pad(torch.cat([q * width**-0.5, of_queries], dim=-1), (0, rest))
        k = F.pad(torch.cat([k, of_keys], dim=-1), (0, rest))
        v = F.pad(v, (0, q.shape[-1] - width))
        return F.scaled_dot_product_attention(q, k, v, scale=1.0)[..., :width]


class HeadPool(nn.Module):
    """A convolution over the grid, channel by channel and the same for all heads; then a norm."""

    def __init__(self, embed_dim: int, kernel: Grid, stride: Grid, cls_tokens: int) -> None:
        """Build it; the class token skips the convolution, not the norm."""
        super().__init__()
        self.conv = nn.Conv3d(embed_dim, embed_dim, kernel, stride, _half(kernel), groups=embed_dim, bias=False)
        self.norm = nn.LayerNorm(embed_dim, EPS)
        self.cls_tokens = cls_tokens

    def forward(self, tokens: Tensor, grid: Grid) -> tuple[Tensor, Grid]:
        """Tokens (B, heads, [1 +] N, C) of a grid -> the same with fewer cells."""
        pooled, new_grid = _over_grid(self.conv, tokens.flatten(0, 1), grid, self.cls_tokens)
        normed: Tensor = self.norm(pooled)
        return normed.reshape(*tokens.shape[:2], *normed.shape[1:]), new_grid


def _head_pool(embed_dim: int, stride: Grid, traits: Traits) -> HeadPool | None:
    """The pooling of a stride, None where it would neither look around nor skip."""
    kernel = traits.pool_kernel or _kernel(stride)
    is_needed = math.prod(kernel) > 1 or math.prod(stride) > 1
    return HeadPool(embed_dim, kernel, stride, traits.cls_tokens) if is_needed else None


class RelativePositions(nn.Module):
    """A table for each axis: a vector for every distance of query and key, in cells of the finer of the two."""

    def __init__(self, embed_dim: int, shape: BlockShape) -> None:
        """Make tables for the grid that the block was trained on."""
        super().__init__()
        q_grid, k_grid = _shrunk(shape.grid, shape.q_stride), _shrunk(shape.grid, shape.kv_stride)
        # Along time the published tables are sized before pooling.
        self.t = nn.Parameter(torch.zeros(2 * shape.grid[0] - 1, embed_dim))
        self.h = nn.Parameter(torch.zeros(2 * max(q_grid[1], k_grid[1]) - 1, embed_dim))
        self.w = nn.Parameter(torch.zeros(2 * max(q_grid[2], k_grid[2]) - 1, embed_dim))

    def forward(self, q: Tensor, q_grid: Grid, k_grid: Grid) -> Tensor:
        """Queries (B, heads, N, C) without class token -> (B, heads, N, T' + H' + W'), what each gives every place."""
        cells = q.reshape(*q.shape[:2], *q_grid, -1)
        frames = torch.einsum("bnthwc,tkc->bnthwk", cells, _by_distance(self.t, q_grid[0], k_grid[0]))
        rows = torch.einsum("bnthwc,hkc->bnthwk", cells, _by_distance(self.h, q_grid[1], k_grid[1]))
        columns = torch.einsum("bnthwc,wkc->bnthwk", cells, _by_distance(self.w, q_grid[2], k_grid[2]))
        return torch.cat([frames, rows, columns], dim=-1).flatten(2, 4)


def _by_distance(table: Tensor, queries: int, keys: int) -> Tensor:
    """A table (D, C) along one axis -> (queries, keys, C), interpolated if the axis has another length."""
    finer = max(queries, keys)
    if len(table) != 2 * finer - 1:
        table = F.interpolate(table.T[None], size=2 * finer - 1, mode="linear")[0].T
    q_at = torch.arange(queries, device=table.device) * max(keys / queries, 1.0)
    k_at = (torch.arange(keys, device=table.device) - (keys - 1)) * max(queries / keys, 1.0)
    return table[(q_at[:, None] - k_at).long()]
