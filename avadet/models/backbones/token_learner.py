"""TokenLearner: a few learned tokens instead of all patches, and TokenFuser, which brings them back to all places.

Ryoo et al., "TokenLearner: Adaptive Space-Time Tokenization for Videos", NeurIPS 2021, in its second version: weights
of places come from a perceptron and a softmax. From the middle of a ViT on each block sees, instead of the hundreds of
tokens of a frame, a few weighted means of them; what it made of these is fused back to every place and added to what
was there. A detector needs the places, so the fuser cannot be left out here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from avadet.models.backbones.image_vit import image_vit_names, start_from_image
from avadet.models.backbones.positions import Grid, Positions, grid_of
from avadet.models.backbones.vit_blocks import EPS, Block, PlainViT, by_frame, drops, mlp, random_weights


class TokenLearner(nn.Module):
    """Each learned token is a weighted mean of a frame's tokens; the weights depend on the tokens."""

    def __init__(self, embed_dim: int, tokens: int, hidden: int = 64) -> None:
        """Make it for `tokens` learned tokens; the perceptron that weighs places has so many hidden units."""
        super().__init__()
        self.norm = nn.LayerNorm(embed_dim, EPS)
        self.weigh = mlp(embed_dim, hidden, tokens)

    def weights(self, frames: Tensor) -> Tensor:
        """Tokens (..., N, C) -> what each counts in each learned token, (..., S, N); rows sum to 1."""
        weights: Tensor = self.weigh(self.norm(frames)).transpose(-2, -1).softmax(dim=-1)
        return weights

    def forward(self, frames: Tensor) -> Tensor:
        """Tokens (..., N, C) -> learned tokens (..., S, C)."""
        return self.weights(frames) @ frames


class TokenFuser(nn.Module):
    """Learned tokens, mixed with one another, and given to each place as it wants them."""

    def __init__(self, embed_dim: int, tokens: int, hidden: int = 64) -> None:
        """Make it for `tokens` learned tokens; it gives zeros at first.

        Here the last norm starts at zero; the authors start the mixing at zero, which leaves the norm nothing to norm.
        """
        super().__init__()
        self.norm_tokens = nn.LayerNorm(embed_dim, EPS)
        self.mix = nn.Linear(tokens, tokens)
        self.norm_mixed = nn.LayerNorm(embed_dim, EPS)
        self.norm_places = nn.LayerNorm(embed_dim, EPS)
        self.want = mlp(embed_dim, hidden, tokens)
        nn.init.zeros_(self.norm_mixed.weight)

    def forward(self, tokens: Tensor, frames: Tensor) -> Tensor:
        """Learned tokens (..., S, C) and the tokens (..., N, C) they came from -> what to add to these."""
        mixed = self.norm_mixed(self.mix(self.norm_tokens(tokens).transpose(-2, -1)).transpose(-2, -1))
        wanted = self.want(self.norm_places(frames)).sigmoid()
        fused: Tensor = wanted @ mixed
        return fused


class LearnedTokensBlock(nn.Module):
    """TokenLearner in each frame, a block over the learned tokens of all frames, TokenFuser; beside a shortcut."""

    def __init__(self, embed_dim: int, heads: int, mlp_ratio: float, drop_path: float, tokens: int) -> None:
        """Build it; `drop_path` is the share of samples that skip a branch in training."""
        super().__init__()
        self.learner = TokenLearner(embed_dim, tokens)
        self.block = Block(embed_dim, heads, mlp_ratio, drop_path)
        self.fuser = TokenFuser(embed_dim, tokens)

    def forward(self, frames: Tensor) -> Tensor:
        """Tokens (B, T, N, C) -> the same shape."""
        learned = self.learner(frames)
        seen = by_frame(self.block(learned.flatten(1, 2)), learned.shape[1])
        fused: Tensor = self.fuser(seen, frames)
        return frames + fused


class TokenLearnerViT(PlainViT):
    """Clip -> tubelets -> blocks, joint at first, then on learned tokens -> norm -> one map.

    Clips of any size are welcome: positions are interpolated to the grid at hand.
    """

    init_from_image = "torchvision vit"

    def __init__(
        self,
        *,
        embed_dim: int = 768,
        depth: int = 12,
        learn_after: int = 6,
        tokens: int = 8,
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
            learn_after: blocks that see all tokens; those after them see learned ones.
            tokens: learned tokens a frame (of tubelets).
            heads: of attention; each has channels / heads channels.
            mlp_ratio: hidden units of a block's perceptron, as a multiple of its inputs.
            tubelet: frames, rows and columns (px) of a token.
            grid: tokens (frames, rows, columns) of the clips it is trained on.
            drop_path: share of samples that skip the last block in training; for earlier blocks less, down to 0.
        """
        super().__init__(embed_dim, tubelet)
        self.pos_embed = Positions(embed_dim, grid_of(grid))
        rates = drops(depth, drop_path)
        early = [Block(embed_dim, heads, mlp_ratio, rate) for rate in rates[:learn_after]]
        late = [LearnedTokensBlock(embed_dim, heads, mlp_ratio, rate, tokens) for rate in rates[learn_after:]]
        self.blocks = nn.ModuleList([*early, *late])
        self.norm = nn.LayerNorm(embed_dim, EPS)
        random_weights(self)

    def encode(self, tokens: Tensor, grid: Grid) -> Tensor:
        """Tokens (B, N, C) of a grid -> the same shape."""
        tokens = tokens + self.pos_embed(grid)
        for block in self.blocks:
            if isinstance(block, LearnedTokensBlock):
                tokens = block(by_frame(tokens, grid[0])).flatten(1, 2)
            else:
                tokens = block(tokens)
        encoded: Tensor = self.norm(tokens)
        return encoded

    def fill_from_image(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """Take over torchvision's `VisionTransformer`; learners and fusers stay as they were drawn."""
        late = {str(number) for number, block in enumerate(self.blocks) if isinstance(block, LearnedTokensBlock)}

        def inside(match: re.Match[str]) -> str:
            return f"{match[0]}block." if match[1] in late else match[0]

        named = image_vit_names(tensors)
        return start_from_image(self, {re.sub(r"^blocks\.(\d+)\.", inside, name): one for name, one in named.items()})
