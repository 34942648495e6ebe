"""Where a token is: tables of absolute positions over a grid of frames, rows and columns, for grids of any size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Grid = tuple[int, int, int]
"""Frames, rows and columns of tokens; also strides and kernels over them."""

INIT_STD = 0.02


def grid_of(sizes: Sequence[int]) -> Grid:
    """Three numbers of any sequence as a tuple."""
    frames, rows, columns = sizes
    return int(frames), int(rows), int(columns)


class Positions(nn.Module):
    """A learned vector for every place of a grid, and for the class token if there is one."""

    def __init__(self, embed_dim: int, grid: Grid, cls_tokens: int = 0, *, trilinear: bool = False) -> None:
        """Make a table for the grid of the clips that the model is trained on; `trilinear` as in `resized`."""
        super().__init__()
        self.grid = grid
        self.cls_tokens = cls_tokens
        self.trilinear = trilinear
        self.table = nn.Parameter(torch.zeros(1, cls_tokens + math.prod(grid), embed_dim))
        nn.init.trunc_normal_(self.table, std=INIT_STD)

    def forward(self, grid: Grid) -> Tensor:
        """What to add to class token and tokens of any grid, (1, [1 +] N, C)."""
        cells = resized(self.table[:, self.cls_tokens :], self.grid, grid, trilinear=self.trilinear)
        return torch.cat([self.table[:, : self.cls_tokens], cells], dim=1)


class SeparatePositions(nn.Module):
    """Positions as the sum of a table of places and a table of times."""

    def __init__(self, embed_dim: int, grid: Grid, cls_tokens: int = 0) -> None:
        """Make tables for the grid of the clips that the model is trained on."""
        super().__init__()
        self.grid = grid
        self.spatial = nn.Parameter(torch.zeros(1, grid[1] * grid[2], embed_dim))
        self.temporal = nn.Parameter(torch.zeros(1, grid[0], embed_dim))
        self.cls = nn.Parameter(torch.zeros(1, cls_tokens, embed_dim)) if cls_tokens else None
        for table in self.parameters():
            nn.init.trunc_normal_(table, std=INIT_STD)

    def forward(self, grid: Grid) -> Tensor:
        """What to add to class token and tokens of any grid, (1, [1 +] N, C)."""
        cells = (self.temporal[:, :, None] + self.spatial[:, None]).flatten(1, 2)
        cells = resized(cells, self.grid, grid, trilinear=True)
        return cells if self.cls is None else torch.cat([self.cls, cells], dim=1)


def resized(cells: Tensor, old: Grid, new: Grid, *, trilinear: bool = False) -> Tensor:
    """A table (1, N, C) over one grid, interpolated to another.

    Multiscale transformers were trained with trilinear interpolation; plain ones with bicubic over rows and columns
    and linear over frames.
    """
    if old == new:
        return cells
    if trilinear:
        volume = F.interpolate(cells.transpose(1, 2).reshape(1, -1, *old), size=new, mode="trilinear")
        return volume.flatten(2).transpose(1, 2)
    frames = cells.reshape(old[0], *old[1:], -1).permute(0, 3, 1, 2)
    if old[1:] != new[1:]:
        frames = F.interpolate(frames, size=new[1:], mode="bicubic")
    lines = frames.flatten(1).T[None]  # (1, C * H * W, T)
    if old[0] != new[0]:
        lines = F.interpolate(lines, size=new[0], mode="linear")
    return lines[0].T.reshape(new[0], -1, *new[1:]).permute(0, 2, 3, 1).reshape(1, math.prod(new), -1)


def one_hot_places(grid: Grid, like: Tensor) -> Tensor:
    """(N, T + H + W): frame, row and column of every cell of a grid, one-hot, side by side."""
    axes = [torch.eye(size, dtype=like.dtype, device=like.device) for size in grid]
    frames = axes[0][:, None, None].expand(*grid, -1)
    rows = axes[1][None, :, None].expand(*grid, -1)
    columns = axes[2][None, None].expand(*grid, -1)
    return torch.cat([frames, rows, columns], dim=-1).flatten(0, 2)
