"""The non-local block (Wang et al., CVPR 2018): every place and moment of a map looks at all others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class NonLocal(nn.Module):
    """Adds to each position a weighted mean of all positions; at the start nothing, for its last norm is zero.

    The weights come from the inner products of two projections of the map: through a softmax ("embedded Gaussian",
    scaled by the root of the channels as in Vaswani et al., 2017) or divided by the number of positions ("dot
    product"). Positions looked at are pooled first, for speed; the map keeps its size.
    """

    def __init__(
        self, channels: int, *, softmax: bool = True, pool: Sequence[int] = (1, 2, 2), pool_projections: bool = False
    ) -> None:
        """Build it.

        Args:
            channels: C of the map; half as many inside.
            softmax: whether inner products pass a softmax.
            pool: (time, height, width) cells that are max-pooled into one of those looked at.
            pool_projections: whether the projections are pooled, as mmaction2 does, whose last convolution has no
                bias, rather than the map that is projected, as PySlowFast does.
        """
        super().__init__()
        inner = channels // 2
        self.softmax = softmax
        self.pool_projections = pool_projections
        self.pool = nn.MaxPool3d(tuple(pool), tuple(pool)) if max(pool) > 1 else nn.Identity()
        self.conv_theta = nn.Conv3d(channels, inner, 1)
        self.conv_phi = nn.Conv3d(channels, inner, 1)
        self.conv_g = nn.Conv3d(channels, inner, 1)
        self.conv_out = nn.Conv3d(inner, channels, 1, bias=not pool_projections)
        self.norm = nn.BatchNorm3d(channels)
        # pytorchvideo's mark of norms that start at zero, which `random_weights` goes by.
        self.norm.block_final_bn = True  # type: ignore[assignment]
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> the same shape; T, H and W must not be below `pool`."""
        query = self.conv_theta(x).flatten(2)
        if self.pool_projections:
            key, value = self.pool(self.conv_phi(x)).flatten(2), self.pool(self.conv_g(x)).flatten(2)
        else:
            seen = self.pool(x)
            key, value = self.conv_phi(seen).flatten(2), self.conv_g(seen).flatten(2)
        products = query.transpose(1, 2) @ key
        if self.softmax:
            weights = torch.softmax(products * query.shape[1] ** -0.5, dim=2)
        else:
            weights = products / products.shape[2]
        looked_up = (value @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
        added: Tensor = self.norm(self.conv_out(looked_up))
        return x + added


def with_nonlocal_blocks(
    stage: nn.Sequential, channels: int, after: Sequence[int], options: dict[str, Any]
) -> nn.Sequential:
    """The stage with a non-local block behind each of the blocks counted in `after`.

    The residual blocks keep their names ("0", "1", ...), the new ones are called "nonlocalI", I the block before.
    """
    if not after:
        return stage
    joined = nn.Sequential()
    for index, block in enumerate(stage):
        joined.add_module(str(index), block)
        if index in after:
            joined.add_module(f"nonlocal{index}", NonLocal(channels, **options))
    return joined
