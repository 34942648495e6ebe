"""MTV: several views of a clip, each of tubelets of another length (Yan et al., "Multiview Transformers", CVPR 2022).

Short tubelets tell fast changes and are many; long ones tell slow changes and are few. Each view has a transformer of
its own, the larger the shorter its tubelets. It attends within a stretch of time, the length of the longest tubelet. In
a few blocks the tokens of a view also ask those of the next view with longer tubelets (cross-view attention), which
gives zeros at first, so that a fresh model is made of independent image models. In the end a global transformer looks
at the class tokens of all frames, those of all views side by side.

A detector needs the tokens of all places: they are put side by side in the same way, and what the global transformer
found for a frame is added to each place of it. The published model classifies from the global class token alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from avadet.errors import AvadetError
from avadet.models.detector import KINETICS_MEAN, KINETICS_STD, ActionDetector
from avadet.models.vit_blocks import (
    EPS,
    INIT_STD,
    Block,
    Grid,
    Positions,
    Tubelets,
    as_map,
    attention,
    blocks,
    by_frame,
    drops,
    random_weights,
    vit_detector,
)


@dataclass(frozen=True)
class View:
    """One view of the clip.

    Attributes:
        frames: of a tubelet.
        channels: of its tokens.
        heads: of attention; each has channels / heads channels.
    """

    frames: int
    channels: int
    heads: int


class CrossViewAttention(nn.Module):
    """What the tokens of one view learn from those of another; zeros at first."""

    def __init__(self, asking: View, asked: View) -> None:
        """Make it for tokens of these two views; it has the width and heads of the one that asks."""
        super().__init__()
        self.heads = asking.heads
        self.norm_asking = nn.LayerNorm(asking.channels, EPS)
        self.norm_asked = nn.LayerNorm(asked.channels, EPS)
        self.q = nn.Linear(asking.channels, asking.channels)
        self.kv = nn.Linear(asked.channels, 2 * asking.channels)
        self.proj = nn.Linear(asking.channels, asking.channels)

    def forward(self, asking: Tensor, asked: Tensor) -> Tensor:
        """Tokens (..., N, C) and (..., M, C') -> what to add to the first."""
        k, v = self.kv(self.norm_asked(asked)).chunk(2, dim=-1)
        learned: Tensor = self.proj(attention(self.q(self.norm_asking(asking)), k, v, self.heads))
        return learned


class MultiviewBlock(nn.Module):
    """A block of every view, in some layers after a look at the next view."""

    def __init__(self, views: Sequence[View], mlp_ratio: float, drop: float, fuses: bool) -> None:
        """Build it; `fuses`: whether views ask one another. `drop`: share of samples that skip a branch in training."""
        super().__init__()
        pairs = itertools.pairwise(views) if fuses else ()
        self.cross = nn.ModuleList(CrossViewAttention(asking, asked) for asking, asked in pairs)
        self.views = nn.ModuleList(Block(view.channels, view.heads, mlp_ratio, drop) for view in views)

    def forward(self, tokens: Sequence[Tensor]) -> list[Tensor]:
        """Tokens (B, stretches, N_i, C_i) of every view -> the same shapes."""
        learned = [cross(asking, asked) for cross, asking, asked in zip(self.cross, tokens, tokens[1:])]
        told = [own + new for own, new in zip(tokens, learned)]
        return [block(one) for block, one in zip(self.views, [*told, *tokens[len(told) :]])]


class MTV(nn.Module):
    """Clip -> tubelets of every view -> blocks -> all tokens side by side, plus the global transformer -> one map.

    Clips of any picture size are welcome: positions are interpolated to the grid at hand.

    Attributes:
        out_channels: channels of its one map, those of all views.
    """

    def __init__(
        self,
        *,
        views: Sequence[Mapping[str, int]],
        patch: int = 16,
        depth: int = 12,
        fuse_at: Sequence[int] = (5, 11),
        global_depth: int = 12,
        global_heads: int = 8,
        global_hidden: int = 3072,
        mlp_ratio: float = 4.0,
        grid: Sequence[int] = (16, 14, 14),
        drop_path: float = 0.0,
    ) -> None:
        """Build it with random weights.

        Args:
            views: each the fields of a `View`, the one of the shortest tubelets first.
            patch: px of a token along each side.
            depth: blocks of every view.
            fuse_at: the blocks, counted from 0, in which views ask one another.
            global_depth: blocks of the global transformer.
            global_heads: of its attention.
            global_hidden: hidden units of its perceptrons.
            mlp_ratio: hidden units of the views' perceptrons, as a multiple of their inputs.
            grid: tokens (frames, rows, columns) of the first view of the clips it is trained on.
            drop_path: share of samples that skip the last block in training; for earlier blocks less, down to 0.

        Raises:
            AvadetError: if tubelets do not fit into those of the next view.
        """
        super().__init__()
        rows = [View(**view) for view in views]
        _check(rows)
        self.tubelets = [view.frames for view in rows]
        total = sum(view.channels for view in rows)
        self.patches = nn.ModuleList(Tubelets(view.channels, (view.frames, patch, patch)) for view in rows)
        self.cls_tokens = nn.ParameterList(torch.zeros(1, 1, 1, view.channels) for view in rows)
        self.positions = nn.ModuleList(Positions(view.channels, (1, grid[1], grid[2]), 1) for view in rows)
        rates = drops(depth, drop_path)
        self.blocks = nn.ModuleList(
            MultiviewBlock(rows, mlp_ratio, rate, index in fuse_at) for index, rate in enumerate(rates)
        )
        self.global_cls_token = nn.Parameter(torch.zeros(1, 1, total))
        self.global_positions = Positions(total, (grid[0], 1, 1), cls_tokens=1)
        self.global_blocks = blocks(global_depth, total, global_heads, global_hidden / total, drop_path)
        self.norm = nn.LayerNorm(total, EPS)
        self.out_channels = (total,)
        self.strides = ((patch, patch),)
        self._random_weights()

    def _random_weights(self) -> None:
        """Small random matrices; cross-view attention gives zeros."""
        random_weights(self)
        for token in self.cls_tokens:
            nn.init.trunc_normal_(token, std=INIT_STD)
        for module in self.modules():
            if isinstance(module, CrossViewAttention):
                nn.init.zeros_(module.proj.weight)

    def forward(self, clip: Tensor) -> list[Tensor]:
        """Normalised clip (B, 3, T, H, W) -> one map (B, C, T / frames of the shortest tubelet, H / 16, W / 16).

        Raises:
            AvadetError: if T is no multiple of the longest tubelet.
        """
        if clip.shape[2] % self.tubelets[-1]:
            raise AvadetError(
                f"clips of this MTV must have a multiple of {self.tubelets[-1]} frames, its longest tubelet; "
                f"got {clip.shape[2]}"
            )
        stretches = clip.shape[2] // self.tubelets[-1]
        frames, grid = self._tokenised(clip)
        tokens = [one.reshape(len(one), stretches, -1, one.shape[-1]) for one in frames]
        for block in self.blocks:
            tokens = block(tokens)
        frames = [one.reshape(before.shape) for one, before in zip(tokens, frames)]
        return [as_map(self._joined(frames, grid).flatten(1, 2), grid)]

    def _tokenised(self, clip: Tensor) -> tuple[list[Tensor], Grid]:
        """Tokens (B, T_i, 1 + N, C_i) of every view, class tokens first, and the grid of the first view."""
        found, grids = [], []
        for patches, cls, positions in zip(self.patches, self.cls_tokens, self.positions):
            tokens, grid = patches(clip)
            frames = by_frame(tokens, grid[0])
            frames = torch.cat([cls.expand(*frames.shape[:2], -1, -1), frames], dim=2)
            found.append(frames + positions((1, *grid[1:])))
            grids.append(grid)
        return found, grids[0]

    def _joined(self, frames: Sequence[Tensor], grid: Grid) -> Tensor:
        """Tokens (B, T_i, 1 + N, C_i) of every view -> (B, T, N, C), after the global transformer and the norm."""
        side_by_side = torch.cat([one.repeat_interleave(grid[0] // one.shape[1], dim=1) for one in frames], dim=-1)
        of_frames = side_by_side[:, :, 0]
        tokens = torch.cat([self.global_cls_token.expand(len(of_frames), -1, -1), of_frames], dim=1)
        tokens = tokens + self.global_positions((grid[0], 1, 1))
        for block in self.global_blocks:
            tokens = block(tokens)
        joined: Tensor = self.norm(side_by_side[:, :, 1:] + tokens[:, 1:, None])
        return joined


def _check(views: Sequence[View]) -> None:
    """Raise unless tubelets of each view divide those of the next."""
    frames = [view.frames for view in views]
    if not frames or any(longer % shorter for shorter, longer in itertools.pairwise(frames)):
        raise AvadetError(f"tubelets of each view of an MTV must fit into those of the next, got {frames} frames")


B2_S4_TI8 = (
    {"frames": 2, "channels": 768, "heads": 12},
    {"frames": 4, "channels": 384, "heads": 6},
    {"frames": 8, "channels": 192, "heads": 3},
)
"""The views of MTV-B: ViT-B on 2 frames, ViT-S on 4 and ViT-Ti on 8."""


def mtv(
    num_classes: int,
    *,
    mean: Sequence[float] = KINETICS_MEAN,
    std: Sequence[float] = KINETICS_STD,
    head: dict[str, Any] | None = None,
    **backbone: Any,
) -> ActionDetector:
    """A multiview transformer of any size as an action model.

    Args:
        num_classes: K, logits a box.
        mean: of RGB on a 0-1 scale.
        std: of RGB on a 0-1 scale.
        head: arguments of `RoIHead`; aligned, unless they say otherwise.
        backbone: arguments of `MTV`.
    """
    net = MTV(**backbone)
    return vit_detector(net, net.out_channels, num_classes, mean, std, head)


def mtv_b(num_classes: int, **options: Any) -> ActionDetector:
    """MTV-B (B/2 + S/4 + Ti/8), 32 frames every 2 at 224 px: 306.044 M parameters with 80 classes, 382 GFLOPs."""
    return mtv(num_classes, **{"views": B2_S4_TI8, "drop_path": 0.1, **options})
