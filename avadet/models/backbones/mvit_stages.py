"""The stages of the published multiscale transformers, as arguments of `MViT`; plain values, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def pyramid(
    depths: Sequence[int], width: int = 96, heads: int = 1, kv_stride: int = 8, last_stride: int = 2
) -> list[dict[str, Any]]:
    """The stages of all published models: channels and heads double, rows and columns halve, from stage to stage.

    Args:
        depths: blocks of each stage.
        width: channels of the first stage.
        heads: of the first stage.
        kv_stride: along rows and columns in the first stage; it halves with them.
        last_stride: of the last stage's queries; 1 gives the map of a detector twice the rows and columns.
    """
    rows: list[dict[str, Any]] = []
    for index, depth in enumerate(depths):
        stride = 1 if index == 0 else last_stride if index == len(depths) - 1 else 2
        kv_stride = max(kv_stride // stride, 1)
        row = {"depth": depth, "embed_dim": width * 2**index, "heads": heads * 2**index}
        rows.append({**row, "q_stride": (1, stride, stride), "kv_stride": (1, kv_stride, kv_stride)})
    return rows


V1 = {"absolute_positions": "separate"}
V2 = {"pool_all_queries": True, "widen_in_attention": True, "residual_pooling": True, "relative_positions": True}
