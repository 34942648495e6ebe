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
from typing import Any

import torch
from torch import Tensor, nn

from avadet.models.backbones.vit_blocks import EPS, Block, Grid, Tubelets, as_map, drops, random_weights, vit_detector
from avadet.models.detectors.two_stage import KINETICS_MEAN, KINETICS_STD, ActionDetector

BASE = 10000.0
"""The slowest channels turn by nearly 1 / BASE a step, the fastest by 1 (rad)."""


class VJEPA2(nn.Module):
    """Clip -> tubelets -> blocks -> norm -> one map.

    Clips of any size are welcome: positions are computed for the grid at hand, rows and columns counted from 0.

    Attributes:
        out_channels: channels of its one map.
        strides: (rows, columns) px of one of its cells.
    """

    def __init__(
        self,
        *,
        channels: int = 1024,
        depth: int = 24,
        heads: int = 16,
        mlp_ratio: float = 4.0,
        tubelet: Sequence[int] = (2, 16, 16),
        drop_path: float = 0.0,
    ) -> None:
        """Build it with random weights.

        Args:
            channels: of the tokens.
            depth: blocks.
            heads: of attention; each has channels / heads channels.
            mlp_ratio: hidden units of a perceptron, as a multiple of its inputs.
            tubelet: frames, rows and columns (px) of a token.
            drop_path: share of samples that skip the last block in training; for earlier blocks less, down to 0.

        Raises:
            AvadetError: if heads do not divide channels.
        """
        super().__init__()
        self.width = channels // heads
        self.patches = Tubelets(channels, tubelet)
        self.blocks = nn.ModuleList(RotaryBlock(channels, heads, mlp_ratio, drop) for drop in drops(depth, drop_path))
        self.norm = nn.LayerNorm(channels, EPS)
        self.out_channels = (channels,)
        self.strides = (self.patches.cell_px,)
        random_weights(self)

    def forward(self, clip: Tensor) -> list[Tensor]:
        """Normalised clip (B, 3, T, H, W) -> one map (B, C, T / 2, H / 16, W / 16), rounded down."""
        tokens, grid = self.patches(clip)
        angles = rotary_angles(grid, self.width, tokens.device)
        for block in self.blocks:
            tokens = block(tokens, angles)
        return [as_map(self.norm(tokens), grid)]


def rotary_angles(grid: Grid, width: int, device: torch.device | None = None) -> Tensor:
    """By how much (rad) each channel of a head turns at every place of a grid, float32 (N, width).

    Frames, rows and columns have a third of the channels each, rounded down to an even number; the rest never turns.
    Of an axis' n channels, number i turns by place / 10000 ** (2 i / n), and from n / 2 on the same begins anew.
    """
    share = width // 3 // 2 * 2
    speeds = BASE ** -(torch.arange(share // 2, device=device) / max(share / 2, 1))
    places = torch.meshgrid(*(torch.arange(size, device=device) for size in grid), indexing="ij")
    turning = [(axis.flatten()[:, None] * speeds).repeat(1, 2) for axis in places]
    return torch.cat([*turning, torch.zeros(len(turning[0]), width - 3 * share, device=device)], dim=1)


def turned(tokens: Tensor, angles: Tensor) -> Tensor:
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
        attended = self.attn.proj(self.attn.attend(turned(q, angles), turned(k, angles), v))
        tokens = tokens + self.drop(attended)
        told: Tensor = tokens + self.drop(self.mlp(self.norm2(tokens)))
        return told


def vjepa2(
    num_classes: int,
    *,
    mean: Sequence[float] = KINETICS_MEAN,
    std: Sequence[float] = KINETICS_STD,
    head: dict[str, Any] | None = None,
    **backbone: Any,
) -> ActionDetector:
    """V-JEPA 2's encoder of any size as an action model.

    Args:
        num_classes: K, logits a box.
        mean: of RGB on a 0-1 scale; published weights saw pictures normalised by those of ImageNet.
        std: of RGB on a 0-1 scale.
        head: arguments of `RoIHead`; aligned, unless they say otherwise.
        backbone: arguments of `VJEPA2`.
    """
    net = VJEPA2(**backbone)
    return vit_detector(net, net.out_channels, num_classes, mean, std, head)


def vjepa2_l(num_classes: int, **options: Any) -> ActionDetector:
    """ViT-L, 16 frames every 8 at 256 px: 303.967 M parameters with 80 classes, 828 GFLOPs."""
    return vjepa2(num_classes, **options)


def vjepa2_h(num_classes: int, **options: Any) -> ActionDetector:
    """ViT-H, 16 frames every 8 at 256 px: 631.750 M parameters with 80 classes, 1636 GFLOPs."""
    return vjepa2(num_classes, **{"channels": 1280, "depth": 32, **options})


def vjepa2_g(num_classes: int, **options: Any) -> ActionDetector:
    """ViT-g, 16 frames every 8 at 256 px: 1012.287 M parameters with 80 classes, 2544 GFLOPs."""
    return vjepa2(num_classes, **{"channels": 1408, "depth": 40, "heads": 22, "mlp_ratio": 48 / 11, **options})
