"""V-JEPA 2's encoder: a plain ViT over tubelets whose attention knows places by turning queries and keys.

Assran et al., "V-JEPA 2: Self-Supervised Video Models Enable Understanding, Prediction and Planning", 2025,
arXiv:2506.09985. All tokens attend to all, as in `videomae`, but no position is added to them: in every block a third
of each head's channels turns with the frame, a third with the row, a third with the column (rotary positions: Su et
al., "RoFormer", 2021), so that no table binds the model to one size. Pre-training has a predictor guess what the
encoder says of hidden tubelets, which is no business of a detector: only the encoder is here.

Published weights turn channels in pairs of neighbours, but by the angles of two different frequencies: angle number i
of n goes to channels i and n + i, not to 2 i and 2 i + 1. What comes out is no rotation, and products of queries with
keys depend on more than their distance. The weights were trained with it, so it is done here too.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from avadet.models.backbones.positions import Grid
from avadet.models.backbones.vit_blocks import EPS, Block, PlainViT, drops, random_weights

BASE = 10000.0
"""The slowest channels turn by nearly 1 / BASE a step, the fastest by 1 (rad)."""


class VJEPA2(PlainViT):
    """Clip -> tubelets -> blocks -> norm -> one map.

    Clips of any size are welcome: positions are computed for the grid at hand, rows and columns counted from 0.
    """

    def __init__(
        self,
        *,
        embed_dim: int = 1024,
        depth: int = 24,
        heads: int = 16,
        mlp_ratio: float = 4.0,
        tubelet: Sequence[int] = (2, 16, 16),
        drop_path: float = 0.0,
    ) -> None:
        """Build it with random weights.

        Args:
            embed_dim: of the tokens.
            depth: blocks.
            heads: of attention; each has channels / heads channels.
            mlp_ratio: hidden units of a perceptron, as a multiple of its inputs.
            tubelet: frames, rows and columns (px) of a token.
            drop_path: share of samples that skip the last block in training; for earlier blocks less, down to 0.

        Raises:
            AvadetError: if heads do not divide channels.
        """
        super().__init__(embed_dim, tubelet)
        self.width = embed_dim // heads
        self.blocks = nn.ModuleList(RotaryBlock(embed_dim, heads, mlp_ratio, rate) for rate in drops(depth, drop_path))
        self.norm = nn.LayerNorm(embed_dim, EPS)
        random_weights(self)

    def encode(self, tokens: Tensor, grid: Grid) -> Tensor:
        """Tokens (B, N, C) of a grid -> the same shape."""
        angles = rotary_angles(grid, self.width, tokens.device)
        for block in self.blocks:
            tokens = block(tokens, angles)
        encoded: Tensor = self.norm(tokens)
        return encoded


def rotary_angles(grid: Grid, width: int, device: torch.device | None = None) -> Tensor:
    """By how much (rad) each channel of a head turns at every place of a grid, float32 (N, width).

    Frames, rows and columns have a third of the channels each, rounded down to an even number; the rest never turns.
    Of an axis' n channels, number i turns by place / 10000 ** (2 i / n), and from n / 2 on the same begins anew.
    """
    share = width // 3 // 2 * 2
    inv_freq = BASE ** -(torch.arange(share // 2, device=device) / max(share / 2, 1))
    places = torch.meshgrid(*(torch.arange(size, device=device) for size in grid), indexing="ij")
    turning = [(axis.flatten()[:, None] * inv_freq).repeat(1, 2) for axis in places]
    return torch.cat([*turning, torch.zeros(len(turning[0]), width - 3 * share, device=device)], dim=1)


def apply_rotary(tokens: Tensor, angles: Tensor) -> Tensor:
    """Queries or keys (B, N, C), the channels of each head turned in pairs of neighbours by angles (N, C / heads)."""
    heads = tokens.reshape(*tokens.shape[:2], -1, angles.shape[-1])
    first, second = heads[..., ::2], heads[..., 1::2]
    across = torch.stack([-second, first], dim=-1).flatten(-2)
    cos, sin = angles[:, None].cos().to(tokens.dtype), angles[:, None].sin().to(tokens.dtype)
    return (heads * cos + across * sin).flatten(-2)


class RotaryBlock(Block):
    """A block of a plain ViT, in whose attention queries and keys are turned by their places."""

    def forward(self, tokens: Tensor, angles: Tensor) -> Tensor:  # type: ignore[override]
        """Tokens (B, N, C) and what `rotary_angles` says of their places -> tokens of the same shape."""
        q, k, v = self.attn.projected(self.norm1(tokens))
        attended = self.attn.proj(self.attn.attend(apply_rotary(q, angles), apply_rotary(k, angles), v))
        tokens = tokens + self.drop_path(attended)
        out: Tensor = tokens + self.drop_path(self.mlp(self.norm2(tokens)))
        return out
