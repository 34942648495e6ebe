"""ViViT: vision transformers for video in four forms (Arnab et al., "ViViT: A Video Vision Transformer", ICCV 2021).

All cut a clip into tubelets; they differ in which tokens attend to which, and so in cost:

1. joint: all tokens attend to all.
2. factorised encoder: one transformer within each frame, then a smaller one over the frames.
3. factorised self-attention: each block attends within frames, then along time.
4. factorised dot-product: in each block half of the heads attend within frames, the other half along time.

Forms 3 and 4 have no class token, which would belong to no frame. A detector needs the tokens of all places, so the
second form gives each cell of a frame what the transformer over frames found for that frame, added; the published
model classifies the clip from that transformer's class token alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from avadet.errors import AvadetError
from avadet.models.backbones.positions import Grid, Positions, grid_of
from avadet.models.backbones.vit_blocks import (
    EPS,
    Attention,
    Block,
    PlainViT,
    attention,
    blocks,
    by_frame,
    drops,
    random_weights,
)

TUBELET = (2, 16, 16)
GRID = (16, 14, 14)
"""Of 32 frames of 224 px."""


class JointViViT(PlainViT):
    """Form 1: all tokens and a class token attend to all."""

    init_from_image = "torchvision vit"

    def __init__(
        self,
        *,
        embed_dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        tubelet: Sequence[int] = TUBELET,
        grid: Sequence[int] = GRID,
        drop_path: float = 0.0,
        gelu: str = "none",
    ) -> None:
        """Build it with random weights; arguments as `vivit` says."""
        super().__init__(embed_dim, tubelet)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = Positions(embed_dim, grid_of(grid), cls_tokens=1)
        self.blocks = blocks(depth, embed_dim, heads, mlp_ratio, drop_path, gelu=gelu)
        self.norm = nn.LayerNorm(embed_dim, EPS)
        random_weights(self)

    def encode(self, tokens: Tensor, grid: Grid) -> Tensor:
        """Tokens (B, N, C) of a grid -> the same shape; the class token takes part but is not returned."""
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1) + self.pos_embed(grid)
        for block in self.blocks:
            tokens = block(tokens)
        encoded: Tensor = self.norm(tokens)[:, 1:]
        return encoded


class FactorisedEncoder(PlainViT):
    """Form 2: a transformer within frames, whose class tokens are the input of a transformer over frames."""

    init_from_image = "torchvision vit"

    def __init__(
        self,
        *,
        embed_dim: int = 768,
        depth: int = 12,
        temporal_depth: int = 4,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        tubelet: Sequence[int] = TUBELET,
        grid: Sequence[int] = GRID,
        drop_path: float = 0.0,
        gelu: str = "none",
    ) -> None:
        """Build it with random weights; arguments as `vivit` says."""
        super().__init__(embed_dim, tubelet)
        frames, rows, columns = grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = Positions(embed_dim, (1, rows, columns), cls_tokens=1)
        self.blocks = blocks(depth, embed_dim, heads, mlp_ratio, drop_path, gelu=gelu)
        self.norm = nn.LayerNorm(embed_dim, EPS)
        self.temporal_cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.temporal_pos_embed = Positions(embed_dim, (frames, 1, 1), cls_tokens=1)
        self.temporal_blocks = blocks(temporal_depth, embed_dim, heads, mlp_ratio, drop_path, gelu=gelu)
        self.temporal_norm = nn.LayerNorm(embed_dim, EPS)
        random_weights(self)

    def encode(self, tokens: Tensor, grid: Grid) -> Tensor:
        """Tokens (B, N, C) of a grid -> the same shape: what each is in its frame, plus what its frame is in time."""
        frames = self.within_frames(by_frame(tokens, grid[0]), grid)
        of_frames = self.over_frames(frames[:, :, 0])
        return (frames[:, :, 1:] + of_frames[:, :, None]).flatten(1, 2)

    def within_frames(self, frames: Tensor, grid: Grid) -> Tensor:
        """Tokens (B, T, N, C) -> (B, T, 1 + N, C), each frame's class token first."""
        cls = self.cls_token.expand(*frames.shape[:2], -1, -1)
        frames = torch.cat([cls, frames], dim=2) + self.pos_embed((1, *grid[1:]))
        for block in self.blocks:
            frames = block(frames)
        normed: Tensor = self.norm(frames)
        return normed

    def over_frames(self, frames: Tensor) -> Tensor:
        """One token a frame (B, T, C) -> the same shape; a class token takes part but is not returned."""
        tokens = torch.cat([self.temporal_cls_token.expand(len(frames), -1, -1), frames], dim=1)
        tokens = tokens + self.temporal_pos_embed((frames.shape[1], 1, 1))
        for block in self.temporal_blocks:
            tokens = block(tokens)
        normed: Tensor = self.temporal_norm(tokens)
        return normed[:, 1:]


class FactorisedViViT(PlainViT):
    """What forms 3 and 4 share: no class token, and blocks that know frames from places."""

    init_from_image = "torchvision vit"

    def __init__(
        self,
        block: type[FactorisedSelfAttentionBlock] | type[FactorisedDotProductBlock],
        *,
        embed_dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        tubelet: Sequence[int] = TUBELET,
        grid: Sequence[int] = GRID,
        drop_path: float = 0.0,
    ) -> None:
        """Build it of `block`s with random weights; the other arguments as `vivit` says."""
        super().__init__(embed_dim, tubelet)
        self.pos_embed = Positions(embed_dim, grid_of(grid))
        self.blocks = nn.ModuleList(block(embed_dim, heads, mlp_ratio, rate) for rate in drops(depth, drop_path))
        self.norm = nn.LayerNorm(embed_dim, EPS)
        random_weights(self)
        for one in self.blocks:
            if isinstance(one, FactorisedSelfAttentionBlock):
                nn.init.zeros_(one.temporal_attn.proj.weight)

    def encode(self, tokens: Tensor, grid: Grid) -> Tensor:
        """Tokens (B, N, C) of a grid -> the same shape."""
        frames = by_frame(tokens + self.pos_embed(grid), grid[0])
        for block in self.blocks:
            frames = block(frames)
        normed: Tensor = self.norm(frames)
        return normed.flatten(1, 2)


class FactorisedSelfAttentionBlock(Block):
    """Attention within frames, attention along time, perceptron; each after a norm and beside a shortcut.

    Attention along time gives zeros at first, so that the block is that of an image model.
    """

    def __init__(self, embed_dim: int, heads: int, mlp_ratio: float, drop_path: float) -> None:
        """Build it; `drop_path` is the share of samples that skip a branch in training."""
        super().__init__(embed_dim, heads, mlp_ratio, drop_path)
        self.temporal_norm = nn.LayerNorm(embed_dim, EPS)
        self.temporal_attn = Attention(embed_dim, heads)

    def forward(self, frames: Tensor) -> Tensor:
        """Tokens (B, T, N, C) -> the same shape."""
        frames = frames + self.drop_path(self.attn(self.norm1(frames)))
        along_time = self.temporal_attn(self.temporal_norm(frames).transpose(1, 2)).transpose(1, 2)
        frames = frames + self.drop_path(along_time)
        out: Tensor = frames + self.drop_path(self.mlp(self.norm2(frames)))
        return out


class SplitAttention(Attention):
    """Attention in which the first half of the heads sees a token's frame, the second half its place in all frames."""

    def __init__(self, embed_dim: int, heads: int, key_bias: bool = True) -> None:
        """Build it.

        Raises:
            AvadetError: if the number of heads is odd.
        """
        if heads % 2:
            raise AvadetError(f"heads of factorised dot-product attention are split in two, got {heads} of them")
        super().__init__(embed_dim, heads, key_bias)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Queries, keys and values (B, T, N, C) -> values of the same shape, mixed."""
        (q1, q2), (k1, k2), (v1, v2) = (part.chunk(2, dim=-1) for part in (q, k, v))
        in_frame = attention(q1, k1, v1, self.heads // 2)
        in_time = attention(q2.transpose(1, 2), k2.transpose(1, 2), v2.transpose(1, 2), self.heads // 2)
        return torch.cat([in_frame, in_time.transpose(1, 2)], dim=-1)


class FactorisedDotProductBlock(Block):
    """Attention within frames and along time at once, perceptron; each after a norm and beside a shortcut."""

    attention = SplitAttention


def vivit(*, form: str = "joint", **arguments: Any) -> PlainViT:
    """A ViViT of a form, with random weights.

    Args:
        form: "joint", "factorised_encoder", "factorised_attention" or "factorised_dot_product".
        arguments: `embed_dim` of the tokens; `depth`, the number of blocks; `temporal_depth`, those over frames (the
            factorised encoder only); `heads`; `mlp_ratio`, hidden units of a perceptron as a multiple of its inputs;
            `tubelet`, (frames, rows, columns) px of a token; `grid`, (frames, rows, columns) of tokens of the clips it
            is trained on; `drop_path`, the share of samples that skip the last block in training; `gelu` (forms 1 and
            2), "none", or "tanh" for the approximation that the published weights were trained with.

    Raises:
        AvadetError: for an unknown form, or heads that do not divide channels.
    """
    if form == "joint":
        return JointViViT(**arguments)
    if form == "factorised_encoder":
        return FactorisedEncoder(**arguments)
    if form == "factorised_attention":
        return FactorisedViViT(FactorisedSelfAttentionBlock, **arguments)
    if form == "factorised_dot_product":
        return FactorisedViViT(FactorisedDotProductBlock, **arguments)
    raise AvadetError(
        "form of a ViViT must be one of joint, factorised_encoder, factorised_attention, factorised_dot_product, "
        f"got '{form}'"
    )
