"""What the plain vision transformers of video have in common: tubelets, attention, blocks, and the way through them.

Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021. In a plain ViT the number of tokens and of channels
stays the same from the first block to the last (unlike in `mvit`). Its relatives for video differ in which tokens
attend to which, and every module here works on the last two axes of its input, so that (B, T, N, C) gives attention
within each frame and its transpose (B, N, T, C) attention along time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from avadet.errors import AvadetError
from avadet.models.backbones.backbone import Allowed, Backbone, Stride
from avadet.models.backbones.image_vit import image_vit_names, start_from_image
from avadet.models.backbones.positions import INIT_STD, Grid, grid_of

EPS = 1e-6


class Tubelets(nn.Conv3d):
    """A clip cut into boxes of pixels that do not overlap, each projected to a token; a rest at the edges is left."""

    def __init__(self, embed_dim: int, size: Sequence[int]) -> None:
        """Make it for tokens of `embed_dim` and tubelets of `size` = (frames, rows, columns) px."""
        super().__init__(3, embed_dim, grid_of(size), grid_of(size))

    @property
    def cell(self) -> Stride:
        """What of a clip a token covers."""
        return Stride(*grid_of(self.kernel_size))

    def forward(self, clip: Tensor) -> tuple[Tensor, Grid]:  # type: ignore[override]
        """Clip (B, 3, T, H, W) -> tokens (B, N, C), frame by frame and row by row, and their grid."""
        volume = super().forward(clip)
        return volume.flatten(2).transpose(1, 2), grid_of(volume.shape[2:])


def by_frame(tokens: Tensor, frames: int) -> Tensor:
    """Tokens (B, T * N, C) as (B, T, N, C)."""
    return tokens.reshape(len(tokens), frames, -1, tokens.shape[-1])


def as_map(tokens: Tensor, grid: Grid) -> Tensor:
    """Tokens (B, N, C) of a grid as a map (B, C, T, H, W)."""
    return tokens.transpose(1, 2).reshape(len(tokens), -1, *grid)


class PlainViT(Backbone):
    """Clip -> tubelets -> an encoder -> one map; subclasses have the encoder.

    Clips of any picture size are welcome: positions are interpolated to the grid at hand.
    """

    graph_has_one_size = True

    def __init__(self, embed_dim: int, tubelet: Sequence[int]) -> None:
        """Build what all of them share.

        Args:
            embed_dim: of the tokens.
            tubelet: frames, rows and columns (px) of a token.
        """
        super().__init__()
        self.patch_embed = Tubelets(embed_dim, tubelet)
        self.out_channels = (embed_dim,)
        self.strides = (self.patch_embed.cell,)
        frames, rows, columns = grid_of(tubelet)
        self.num_frames, self.sizes = Allowed(frames), (Allowed(rows), Allowed(columns))

    def forward(self, clip: Tensor) -> list[Tensor]:
        """Normalised clip (B, 3, T, H, W) -> one map (B, C, T / frames, H / rows, W / columns), rounded down."""
        self.check(clip)
        tokens, grid = self.patch_embed(clip)
        return [as_map(self.encode(tokens, grid), grid)]

    def encode(self, tokens: Tensor, grid: Grid) -> Tensor:
        """Tokens (B, N, C) of a grid -> the same shape."""
        raise NotImplementedError

    def fill_from_image(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """Take over torchvision's `VisionTransformer` of the same width and depth."""
        return start_from_image(self, image_vit_names(tensors))


class Attention(nn.Module):
    """Multi-head attention of tokens to one another."""

    def __init__(self, embed_dim: int, heads: int, key_bias: bool = True) -> None:
        """Build it.

        Args:
            embed_dim: of the tokens.
            heads: each of channels / heads channels.
            key_bias: whether keys have a bias as queries and values do. It changes nothing (the softmax cancels it);
                BEiT and VideoMAE leave it out and keep the other two by themselves.

        Raises:
            AvadetError: if heads do not divide channels.
        """
        super().__init__()
        if embed_dim % heads:
            raise AvadetError(f"heads must divide channels, got {heads} for {embed_dim}")
        self.heads = heads
        self.q_bias = None if key_bias else nn.Parameter(torch.zeros(embed_dim))
        self.v_bias = None if key_bias else nn.Parameter(torch.zeros(embed_dim))
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim, bias=key_bias)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (..., N, C) -> the same shape."""
        attended: Tensor = self.proj(self.attend(*self.projected(tokens)))
        return attended

    def projected(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (..., N, C) of tokens (..., N, C)."""
        bias: Tensor | None = self.qkv.bias
        if self.q_bias is not None and self.v_bias is not None:
            bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        q, k, v = F.linear(tokens, self.qkv.weight, bias).chunk(3, dim=-1)
        return q, k, v

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Values (..., N, C), mixed for each query by the softmax of its products with the keys, head by head."""
        return attention(q, k, v, self.heads)


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention of queries (..., N, C) to keys and values (..., M, C), head by head.

    `mask` (..., M) says which keys are to be seen; None = all.
    """
    mask = None if mask is None else mask.reshape(-1, 1, 1, mask.shape[-1])
    mixed = F.scaled_dot_product_attention(_by_head(q, heads), _by_head(k, heads), _by_head(v, heads), mask)
    return mixed.transpose(1, 2).reshape(*q.shape[:-1], v.shape[-1])


def _by_head(tokens: Tensor, heads: int) -> Tensor:
    """Tokens (..., N, C) -> (B, heads, N, C / heads), as fast attention wants them."""
    return tokens.reshape(-1, tokens.shape[-2], heads, tokens.shape[-1] // heads).transpose(1, 2)


def mlp(embed_dim: int, hidden: int, channels_out: int | None = None, gelu: str = "none") -> nn.Sequential:
    """Two linear layers with GELU between; `gelu` is its approximation, "tanh" in models trained with JAX.

    It is torchvision's `MLP` without dropout, under the names that published checkpoints have.
    """
    layers = {
        "fc1": nn.Linear(embed_dim, hidden),
        "gelu": nn.GELU(gelu),
        "fc2": nn.Linear(hidden, channels_out or embed_dim),
    }
    return nn.Sequential(OrderedDict(layers))


class Block(nn.Module):
    """Attention and perceptron, each after a norm and beside a shortcut."""

    attention: ClassVar[type[Attention]] = Attention

    def __init__(
        self,
        embed_dim: int,
        heads: int,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        key_bias: bool = True,
        gelu: str = "none",
    ) -> None:
        """Build it; `drop_path` is the share of samples that skip a branch in training, for the rest see the parts."""
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dim, EPS)
        self.attn = self.attention(embed_dim, heads, key_bias)
        self.norm2 = nn.LayerNorm(embed_dim, EPS)
        self.mlp = mlp(embed_dim, round(embed_dim * mlp_ratio), gelu=gelu)
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (..., N, C) -> the same shape; those of one sample and leading index attend to one another."""
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens)))
        out: Tensor = tokens + self.drop_path(self.mlp(self.norm2(tokens)))
        return out


def blocks(depth: int, embed_dim: int, heads: int, mlp_ratio: float, drop_path: float, **options: Any) -> nn.ModuleList:
    """Blocks one after the other, the first never skipped in training, the last with a probability of `drop_path`."""
    return nn.ModuleList(Block(embed_dim, heads, mlp_ratio, rate, **options) for rate in drops(depth, drop_path))


def drops(depth: int, last: float) -> list[float]:
    """The share of samples that skip each block: from 0 up to `last` in even steps."""
    return [last * number / max(depth - 1, 1) for number in range(depth)]


def random_weights(net: nn.Module) -> None:
    """Normal of deviation 0.02 for the matrices of linear layers, zeros for their biases."""
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=INIT_STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
