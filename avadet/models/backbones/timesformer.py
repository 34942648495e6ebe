"""TimeSformer: attention divided into time and space.

Bertasius et al., "Is Space-Time Attention All You Need for Video Understanding?", ICML 2021. Every frame is cut into
patches as an image is. In a block of the divided form a token first attends to the tokens at its place in all frames,
then to those of its own frame; a class token joins each frame's attention, and what the frames made of it is averaged.
The two undivided forms are for comparison: all tokens attend to all ("joint"), or each frame is by itself ("space").

Attention along time ends in a matrix that starts at zero, so that a fresh model is the image model it came from.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from avadet.errors import AvadetError
from avadet.models.backbones.positions import INIT_STD, Grid, Positions, grid_of
from avadet.models.backbones.vit_blocks import EPS, Attention, Block, PlainViT, by_frame, drops, random_weights

FORMS = ("divided", "joint", "space")


class DividedBlock(Block):
    """Attention along time, attention within frames, perceptron; each after a norm and beside a shortcut."""

    def __init__(self, embed_dim: int, heads: int, mlp_ratio: float, drop_path: float) -> None:
        """Build it; `drop_path` is the share of samples that skip a branch in training."""
        super().__init__(embed_dim, heads, mlp_ratio, drop_path)
        self.temporal_norm = nn.LayerNorm(embed_dim, EPS)
        self.temporal_attn = Attention(embed_dim, heads)
        self.temporal_fc = nn.Linear(embed_dim, embed_dim)

    def forward(  # type: ignore[override]
        self, cls: Tensor, frames: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Class token (B, 1, C) and tokens (B, T, N, C) -> the same shapes."""
        along_time = self.temporal_attn(self.temporal_norm(frames).transpose(1, 2)).transpose(1, 2)
        frames = frames + self.temporal_fc(self.drop_path(along_time))
        tokens = torch.cat([cls[:, None].expand(-1, frames.shape[1], -1, -1), frames], dim=2)
        in_frame = self.drop_path(self.attn(self.norm1(tokens)))
        cls = cls + in_frame[:, :, 0].mean(dim=1, keepdim=True)
        frames = frames + in_frame[:, :, 1:]
        return cls + self.drop_path(self.mlp(self.norm2(cls))), frames + self.drop_path(self.mlp(self.norm2(frames)))


class TimeSformer(PlainViT):
    """Clip -> patches of every frame -> blocks -> norm -> one map; the class token takes part but is not returned.

    Clips of any size are welcome: positions are interpolated to the grid at hand.
    """

    init_from_image = "torchvision vit"

    def __init__(
        self,
        *,
        form: str = "divided",
        embed_dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        patch: int = 16,
        grid: Sequence[int] = (8, 14, 14),
        drop_path: float = 0.0,
    ) -> None:
        """Build it with random weights.

        Args:
            form: "divided"; "joint" = all tokens attend to all; "space" = frames by themselves.
            embed_dim: of the tokens.
            depth: blocks.
            heads: of attention; each has channels / heads channels.
            mlp_ratio: hidden units of a perceptron, as a multiple of its inputs.
            patch: px of a token along each side.
            grid: tokens (frames, rows, columns) of the clips it is trained on.
            drop_path: share of samples that skip the last block in training; for earlier blocks less, down to 0.

        Raises:
            AvadetError: for an unknown form, or heads that do not divide channels.
        """
        super().__init__(embed_dim, (1, patch, patch))
        if form not in FORMS:
            raise AvadetError(f"form of a TimeSformer must be one of {', '.join(FORMS)}, got '{form}'")
        self.form = form
        frames, rows, columns = grid_of(grid)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        nn.init.trunc_normal_(self.cls_token, std=INIT_STD)
        self.pos_embed = Positions(embed_dim, (1, rows, columns), cls_tokens=1)
        self.times = Positions(embed_dim, (frames, 1, 1)) if form != "space" else None
        block = DividedBlock if form == "divided" else Block
        self.blocks = nn.ModuleList(block(embed_dim, heads, mlp_ratio, rate) for rate in drops(depth, drop_path))
        self.norm = nn.LayerNorm(embed_dim, EPS)
        self._random_weights()

    def _random_weights(self) -> None:
        """Small random matrices, and zeros for what an image model lacks."""
        random_weights(self)
        if self.times is not None:
            nn.init.zeros_(self.times.table)
        for block in self.blocks:
            if isinstance(block, DividedBlock):
                nn.init.zeros_(block.temporal_fc.weight)

    def encode(self, tokens: Tensor, grid: Grid) -> Tensor:
        """Tokens (B, N, C) of a grid -> the same shape; the class token takes part but is not returned."""
        places = self.pos_embed((1, *grid[1:]))
        frames = by_frame(tokens, grid[0]) + places[:, 1:]
        if self.times is not None:
            frames = frames + self.times((grid[0], 1, 1)).transpose(0, 1)
        cls = (self.cls_token + places[:, :1]).expand(len(frames), -1, -1)
        encoded: Tensor = self.norm(self._through_blocks(cls, frames, grid))
        return encoded

    def _through_blocks(self, cls: Tensor, frames: Tensor, grid: Grid) -> Tensor:
        """Class token (B, 1, C) and tokens (B, T, N, C) through the blocks -> tokens (B, T * N, C)."""
        if self.form == "divided":
            for block in self.blocks:
                cls, frames = block(cls, frames)
            return frames.flatten(1, 2)
        if self.form == "space":
            tokens = torch.cat([cls[:, None].expand(-1, grid[0], -1, -1), frames], dim=2)
        else:
            tokens = torch.cat([cls, frames.flatten(1, 2)], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        cells = tokens[..., 1:, :]
        return cells.flatten(1, 2) if self.form == "space" else cells
