"""Where a token is: tables of absolute positions over a grid of frames, rows and columns, for grids of any size."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avadet.errors import AvadetError

Grid = tuple[int, int, int]
"""Frames, rows and columns of a box of tokens; also strides and kernels over it."""

KINDS = ("none", "separate", "joint")


class SeparatePositions(nn.Module):
    """Absolute positions as the sum of a table of places and a table of times."""

    def __init__(self, channels: int, grid: Grid, cls_tokens: int) -> None:
        """Make tables for a grid."""
        super().__init__()
        self.grid = grid
        self.spatial = nn.Parameter(torch.zeros(1, grid[1] * grid[2], channels))
        self.temporal = nn.Parameter(torch.zeros(1, grid[0], channels))
        self.cls = nn.Parameter(torch.zeros(1, cls_tokens, channels)) if cls_tokens else None

    def forward(self, grid: Grid) -> Tensor:
        """What to add to class token and tokens of a grid, (1, [1 +] N, C)."""
        cells = self.temporal[:, :, None] + self.spatial[:, None]
        cells = _resized(cells.flatten(1, 2), self.grid, grid)
        return cells if self.cls is None else torch.cat([self.cls, cells], dim=1)


class JointPositions(nn.Module):
    """Absolute positions as one table."""

    def __init__(self, channels: int, grid: Grid, cls_tokens: int) -> None:
        """Make a table for a grid."""
        super().__init__()
        self.grid = grid
        self.cls_tokens = cls_tokens
        self.table = nn.Parameter(torch.zeros(1, cls_tokens + math.prod(grid), channels))

    def forward(self, grid: Grid) -> Tensor:
        """What to add to class token and tokens of a grid, (1, [1 +] N, C)."""
        cells = _resized(self.table[:, self.cls_tokens :], self.grid, grid)
        return torch.cat([self.table[:, : self.cls_tokens], cells], dim=1)


def positions_of(kind: str, channels: int, grid: Grid, cls_tokens: int) -> nn.Module | None:
    """The module of a kind of absolute positions."""
    if kind not in KINDS:
        raise AvadetError(f"absolute_positions must be one of {', '.join(KINDS)}, got '{kind}'")
    if kind == "none":
        return None
    return (SeparatePositions if kind == "separate" else JointPositions)(channels, grid, cls_tokens)


def one_hot_places(grid: Grid, like: Tensor) -> Tensor:
    """(N, T + H + W): frame, row and column of every cell of a grid, one-hot, side by side."""
    axes = [torch.eye(size, dtype=like.dtype, device=like.device) for size in grid]
    frames = axes[0][:, None, None].expand(*grid, -1)
    rows = axes[1][None, :, None].expand(*grid, -1)
    columns = axes[2][None, None].expand(*grid, -1)
    return torch.cat([frames, rows, columns], dim=-1).flatten(0, 2)


def _resized(cells: Tensor, old: Grid, new: Grid) -> Tensor:
    """A table (1, N, C) over one grid, interpolated (trilinearly) to another."""
    if old == new:
        return cells
    volume = F.interpolate(cells.transpose(1, 2).reshape(1, -1, *old), size=new, mode="trilinear")
    return volume.flatten(2).transpose(1, 2)
