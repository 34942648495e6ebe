"""VideoMAE's encoder: a plain ViT over tubelets, all of which attend to all.

Tong et al., "VideoMAE: Masked Autoencoders are Data-Efficient Learners for Self-Supervised Video Pre-Training",
NeurIPS 2022. No class token; positions are sines and cosines of a token's number, not learned; keys have no bias.
Pre-training masks most tubelets and has a decoder guess their pixels, which is no business of a detector: only the
encoder is here, its parameters named as in the published checkpoints (`blocks.0.attn.q_bias`, `.mlp.fc1.weight`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from avadet.models.backbones.positions import Grid, grid_of, resized
from avadet.models.backbones.vit_blocks import EPS, PlainViT, blocks, random_weights


class VideoMAE(PlainViT):
    """Clip -> tubelets -> blocks -> norm -> one map.

    Clips of any size are welcome: positions are interpolated to the grid at hand.
    """

    pos_embed: Tensor

    def __init__(
        self,
        *,
        embed_dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        tubelet: Sequence[int] = (2, 16, 16),
        grid: Sequence[int] = (8, 14, 14),
        drop_path: float = 0.0,
    ) -> None:
        """Build it with random weights.

        Args:
            embed_dim: of the tokens.
            depth: blocks.
            heads: of attention; each has channels / heads channels.
            mlp_ratio: hidden units of a perceptron, as a multiple of its inputs.
            tubelet: frames, rows and columns (px) of a token.
            grid: tokens (frames, rows, columns) of the clips it is trained on.
            drop_path: share of samples that skip the last block in training; for earlier blocks less, down to 0.
        """
        super().__init__(embed_dim, tubelet)
        self.grid = grid_of(grid)
        self.register_buffer("pos_embed", sines_and_cosines(math.prod(self.grid), embed_dim), persistent=False)
        self.blocks = blocks(depth, embed_dim, heads, mlp_ratio, drop_path, key_bias=False)
        self.norm = nn.LayerNorm(embed_dim, EPS)
        random_weights(self)

    def encode(self, tokens: Tensor, grid: Grid) -> Tensor:
        """Tokens (B, N, C) of a grid -> the same shape."""
        tokens = tokens + resized(self.pos_embed, self.grid, grid)
        for block in self.blocks:
            tokens = block(tokens)
        encoded: Tensor = self.norm(tokens)
        return encoded


def sines_and_cosines(tokens: int, embed_dim: int) -> Tensor:
    """A table (1, tokens, channels) of positions: for number n, sin and cos of n / 10000 ** (2i / channels) in turn.

    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.5.
    """
    pairs = torch.arange(embed_dim, dtype=torch.float64) // 2
    angles = torch.arange(tokens, dtype=torch.float64)[:, None] / 10000 ** (2 * pairs / embed_dim)
    is_even = torch.arange(embed_dim) % 2 == 0
    return torch.where(is_even, angles.sin(), angles.cos()).float()[None]
