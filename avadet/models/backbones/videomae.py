"""VideoMAE's encoder: a plain ViT over tubelets, all of which attend to all.

Tong et al., "VideoMAE: Masked Autoencoders are Data-Efficient Learners for Self-Supervised Video Pre-Training",
NeurIPS 2022. No class token; positions are sines and cosines of a token's number, not learned; keys have no bias.
Pre-training masks most tubelets and has a decoder guess their pixels, which is no business of a detector: only the
encoder is here, its parameters named as in the published checkpoints (`blocks.0.attn.q_bias`, `.mlp.fc1.weight`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from avadet.models.backbones.vit_blocks import (
    EPS,
    Tubelets,
    as_map,
    blocks,
    grid_of,
    random_weights,
    resized,
    vit_detector,
)
from avadet.models.detectors.two_stage import KINETICS_MEAN, KINETICS_STD, ActionDetector


class VideoMAE(nn.Module):
    """Clip -> tubelets -> blocks -> norm -> one map.

    Clips of any size are welcome: positions are interpolated to the grid at hand.

    Attributes:
        out_channels: channels of its one map.
        strides: (rows, columns) px of one of its cells.
    """

    positions: Tensor

    def __init__(
        self,
        *,
        channels: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        tubelet: Sequence[int] = (2, 16, 16),
        grid: Sequence[int] = (8, 14, 14),
        drop_path: float = 0.0,
    ) -> None:
        """Build it with random weights.

        Args:
            channels: of the tokens.
            depth: blocks.
            heads: of attention; each has channels / heads channels.
            mlp_ratio: hidden units of a perceptron, as a multiple of its inputs.
            tubelet: frames, rows and columns (px) of a token.
            grid: tokens (frames, rows, columns) of the clips it is trained on.
            drop_path: share of samples that skip the last block in training; for earlier blocks less, down to 0.
        """
        super().__init__()
        self.grid = grid_of(grid)
        self.patches = Tubelets(channels, tubelet)
        self.register_buffer("positions", sines_and_cosines(math.prod(self.grid), channels), persistent=False)
        self.blocks = blocks(depth, channels, heads, mlp_ratio, drop_path, key_bias=False)
        self.norm = nn.LayerNorm(channels, EPS)
        self.out_channels = (channels,)
        self.strides = (self.patches.cell_px,)
        random_weights(self)

    def forward(self, clip: Tensor) -> list[Tensor]:
        """Normalised clip (B, 3, T, H, W) -> one map (B, C, T / 2, H / 16, W / 16), rounded down."""
        tokens, grid = self.patches(clip)
        tokens = tokens + resized(self.positions, self.grid, grid)
        for block in self.blocks:
            tokens = block(tokens)
        return [as_map(self.norm(tokens), grid)]


def sines_and_cosines(tokens: int, channels: int) -> Tensor:
    """A table (1, tokens, channels) of positions: for number n, sin and cos of n / 10000 ** (2i / channels) in turn.

    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.5.
    """
    pairs = torch.arange(channels, dtype=torch.float64) // 2
    angles = torch.arange(tokens, dtype=torch.float64)[:, None] / 10000 ** (2 * pairs / channels)
    is_even = torch.arange(channels) % 2 == 0
    return torch.where(is_even, angles.sin(), angles.cos()).float()[None]


def videomae(
    num_classes: int,
    *,
    mean: Sequence[float] = KINETICS_MEAN,
    std: Sequence[float] = KINETICS_STD,
    head: dict[str, Any] | None = None,
    **backbone: Any,
) -> ActionDetector:
    """VideoMAE's encoder of any size as an action model.

    Args:
        num_classes: K, logits a box.
        mean: of RGB on a 0-1 scale.
        std: of RGB on a 0-1 scale.
        head: arguments of `RoIHead`; aligned, unless they say otherwise.
        backbone: arguments of `VideoMAE`.
    """
    net = VideoMAE(**backbone)
    return vit_detector(net, net.out_channels, num_classes, mean, std, head)


def videomae_s(num_classes: int, **options: Any) -> ActionDetector:
    """ViT-S, 16 frames at 224 px: 21.911 M parameters with 80 classes, 57 GFLOPs."""
    return videomae(num_classes, **{"channels": 384, "heads": 6, "drop_path": 0.1, **options})


def videomae_b(num_classes: int, **options: Any) -> ActionDetector:
    """ViT-B, 16 frames at 224 px: 86.289 M parameters with 80 classes, 180 GFLOPs."""
    return videomae(num_classes, **{"drop_path": 0.2, **options})


def videomae_l(num_classes: int, **options: Any) -> ActionDetector:
    """ViT-L, 16 frames at 224 px: 303.943 M parameters with 80 classes, 597 GFLOPs."""
    return videomae(num_classes, **{"channels": 1024, "depth": 24, "heads": 16, "drop_path": 0.2, **options})


def videomae_h(num_classes: int, **options: Any) -> ActionDetector:
    """ViT-H, 16 frames at 224 px: 631.710 M parameters with 80 classes, 1191 GFLOPs."""
    return videomae(num_classes, **{"channels": 1280, "depth": 32, "heads": 16, "drop_path": 0.2, **options})
