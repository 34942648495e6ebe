"""MTV: several views of a clip, each of tubelets of another length (Yan et al., "Multiview Transformers", CVPR 2022).

Long tubelets tell slow changes and are few; short ones tell fast changes and are many. Each view has a transformer of
its own, the larger the shorter its tubelets. It attends within a stretch of time, the length of the longest tubelet. In
a few blocks the tokens of a view also ask those of the next view with shorter tubelets (cross-view attention), which
gives zeros at first, so that a fresh model is made of independent image models. In the end a global transformer looks
at the class tokens of all time steps, those of all views side by side.

Where paper and released code differ, this is what the released configs of google-research/scenic compute
(k400_mtv_b2_cva and its siblings):

- Every time step of every view has a class token of its own, here interpolated to clips of another length.
- Longer tubelets ask shorter ones (`fuse_in_descending_order`), with heads and width of those that ask; the paper has
  it the other way round. In a block of cross-view attention each view has one norm, whether it asks or is asked.
- A view of fewer time steps is tiled, not stretched, to those of the first: 0 1 2 3 0 1 2 3 ..., and not 0 0 1 1 ....
  So the time axis of the map is that of the shortest tubelets' channels only, as in the authors' own map of features
  (`keep_spatiotemporal_features`); heads that pool over time do not mind.
- GELU is the approximation by tanh, class tokens start at zero.

A detector needs the tokens of all places: they are put side by side in the same way, and what the global transformer
found for a time step is added to each place of it. The published model classifies from the global class token alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from avadet.errors import AvadetError
from avadet.models.backbones.backbone import Allowed, Backbone, Stride
from avadet.models.backbones.positions import Grid, Positions, resized
from avadet.models.backbones.vit_blocks import (
    EPS,
    Block,
    Tubelets,
    as_map,
    attention,
    blocks,
    by_frame,
    drops,
    random_weights,
)


@dataclass(frozen=True)
class View:
    """One view of the clip.

    Attributes:
        frames: of a tubelet.
        embed_dim: of its tokens.
        heads: of attention; each has channels / heads channels.
        depth: blocks; None = as many as the net has. Behind its last block a view still asks and is asked.
    """

    frames: int
    embed_dim: int
    heads: int
    depth: int | None = None


class CrossViewAttention(nn.Module):
    """What the tokens of one view learn from those of another; zeros at first."""

    def __init__(self, query: View, key_value: View) -> None:
        """Make it for normed tokens of these two views; it has the width and heads of the one that asks."""
        super().__init__()
        self.heads = query.heads
        self.q = nn.Linear(query.embed_dim, query.embed_dim)
        self.kv = nn.Linear(key_value.embed_dim, 2 * query.embed_dim)
        self.proj = nn.Linear(query.embed_dim, query.embed_dim)

    def forward(self, query: Tensor, key_value: Tensor) -> Tensor:
        """Tokens (..., N, C) and (..., M, C') -> what to add to the first."""
        k, v = self.kv(key_value).chunk(2, dim=-1)
        out: Tensor = self.proj(attention(self.q(query), k, v, self.heads))
        return out


class MultiviewBlock(nn.Module):
    """A block of every view that is not at its end, in some layers after a look at the next view."""

    def __init__(self, views: Sequence[View], rates: Sequence[float | None], mlp_ratio: float, fuses: bool) -> None:
        """Build it.

        Args:
            views: longest tubelets first.
            rates: of each view the share of samples that skip a branch in training; None = it has no block here.
            mlp_ratio: hidden units of perceptrons, as a multiple of their inputs.
            fuses: whether views ask one another.
        """
        super().__init__()
        fused = views if fuses else ()
        self.norms = nn.ModuleList(nn.LayerNorm(view.embed_dim, EPS) for view in fused)
        self.cross = nn.ModuleList(CrossViewAttention(*pair) for pair in itertools.pairwise(fused))
        self.drops = nn.ModuleList(StochasticDepth(rate or 0.0, "row") for rate in rates[1:] if fuses)
        self.views = nn.ModuleList(
            nn.Identity() if rate is None else Block(view.embed_dim, view.heads, mlp_ratio, rate, gelu="tanh")
            for view, rate in zip(views, rates)
        )

    def forward(self, tokens: Sequence[Tensor]) -> list[Tensor]:
        """Tokens (B, windows, N_i, C_i) of every view -> the same shapes."""
        out = list(tokens)
        normed = [norm(one) for norm, one in zip(self.norms, tokens)]
        for index, (cross, drop) in enumerate(zip(self.cross, self.drops)):
            out[index] = out[index] + drop(cross(normed[index], normed[index + 1]))
        return [block(one) for block, one in zip(self.views, out)]


class MTV(Backbone):
    """Clip -> tubelets of every view -> blocks -> all tokens side by side, plus the global transformer -> one map.

    Clips of any picture size are welcome: positions are interpolated to the grid at hand.
    """

    graph_has_one_size = True

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
            views: each the fields of a `View`, the one of the longest tubelets first.
            patch: px of a token along each side.
            depth: blocks of every view that does not say how many it has.
            fuse_at: the blocks, counted from 0, in which views ask one another.
            global_depth: blocks of the global transformer.
            global_heads: of its attention.
            global_hidden: hidden units of its perceptrons.
            mlp_ratio: hidden units of the views' perceptrons, as a multiple of their inputs.
            grid: tokens (frames, rows, columns) of the view of the shortest tubelets, in clips that it is trained on.
            drop_path: share of samples that skip the last block in training; for earlier blocks less, down to 0.

        Raises:
            AvadetError: if tubelets do not fit into those of the view before.
        """
        super().__init__()
        rows = [View(**view) for view in views]
        _check(rows)
        self.tubelets = [view.frames for view in rows]
        total = sum(view.embed_dim for view in rows)
        self.patch_embed = nn.ModuleList(Tubelets(view.embed_dim, (view.frames, patch, patch)) for view in rows)
        steps = [grid[0] * self.tubelets[-1] // frames for frames in self.tubelets]
        self.cls_tokens = nn.ParameterList(torch.zeros(1, count, view.embed_dim) for view, count in zip(rows, steps))
        self.pos_embed = nn.ModuleList(Positions(view.embed_dim, (1, grid[1], grid[2]), 1) for view in rows)
        rates = list(itertools.zip_longest(*(drops(view.depth or depth, drop_path) for view in rows)))
        self.blocks = nn.ModuleList(
            MultiviewBlock(rows, rate, mlp_ratio, index in fuse_at) for index, rate in enumerate(rates)
        )
        self.global_cls_token = nn.Parameter(torch.zeros(1, 1, total))
        self.global_pos_embed = Positions(total, (grid[0], 1, 1), cls_tokens=1)
        self.global_blocks = blocks(global_depth, total, global_heads, global_hidden / total, drop_path, gelu="tanh")
        self.norm = nn.LayerNorm(total, EPS)
        self.out_channels = (total,)
        self.strides = (Stride(self.tubelets[-1], patch, patch),)
        self.num_frames = Allowed(self.tubelets[0], multiple_of=self.tubelets[0])
        self.sizes = (Allowed(patch), Allowed(patch))
        self._random_weights()

    def _random_weights(self) -> None:
        """Small random matrices; cross-view attention gives zeros."""
        random_weights(self)
        for module in self.modules():
            if isinstance(module, CrossViewAttention):
                nn.init.zeros_(module.proj.weight)

    def forward(self, clip: Tensor) -> list[Tensor]:
        """Normalised clip (B, 3, T, H, W) -> one map (B, C, T / frames of the shortest tubelet, H / 16, W / 16).

        Raises:
            AvadetError: if T is no multiple of the longest tubelet.
        """
        self.check(clip)
        windows = clip.shape[2] // self.tubelets[0]
        frames, grid = self._tokenised(clip)
        tokens = [one.reshape(len(one), windows, -1, one.shape[-1]) for one in frames]
        for block in self.blocks:
            tokens = block(tokens)
        frames = [one.reshape(before.shape) for one, before in zip(tokens, frames)]
        return [as_map(self._joined(frames, grid).flatten(1, 2), grid)]

    def _tokenised(self, clip: Tensor) -> tuple[list[Tensor], Grid]:
        """Tokens (B, T_i, 1 + N, C_i) of every view, class tokens first, and the grid of the shortest tubelets."""
        found, grids = [], []
        for patches, cls, positions in zip(self.patch_embed, self.cls_tokens, self.pos_embed):
            tokens, grid = patches(clip)
            frames = by_frame(tokens, grid[0])
            steps = resized(cls, (cls.shape[1], 1, 1), (grid[0], 1, 1))[:, :, None]
            frames = torch.cat([steps.expand(len(frames), -1, -1, -1), frames], dim=2)
            found.append(frames + positions((1, *grid[1:])))
            grids.append(grid)
        return found, grids[-1]

    def _joined(self, frames: Sequence[Tensor], grid: Grid) -> Tensor:
        """Tokens (B, T_i, 1 + N, C_i) of every view -> (B, T, N, C), after the global transformer and the norm."""
        side_by_side = torch.cat([one.repeat(1, grid[0] // one.shape[1], 1, 1) for one in frames], dim=-1)
        of_frames = side_by_side[:, :, 0]
        tokens = torch.cat([self.global_cls_token.expand(len(of_frames), -1, -1), of_frames], dim=1)
        tokens = tokens + self.global_pos_embed((grid[0], 1, 1))
        for block in self.global_blocks:
            tokens = block(tokens)
        joined: Tensor = self.norm(side_by_side[:, :, 1:] + tokens[:, 1:, None])
        return joined


def _check(views: Sequence[View]) -> None:
    """Raise unless tubelets of each view divide those of the view before."""
    frames = [view.frames for view in views]
    if not frames or any(longer % shorter for longer, shorter in itertools.pairwise(frames)):
        raise AvadetError(
            f"tubelets of each view of an MTV must fit into those of the view before, longest first, got {frames}"
        )
