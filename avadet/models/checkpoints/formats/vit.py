"""What checkpoints of transformers share, whichever project trained them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

from avadet.models.checkpoints.formats.format import Tensors


def join_qkv(tensors: Tensors) -> Tensors:
    """Tensors with separate matrices of queries, keys and values joined into one, as the models here have them.

    Args:
        tensors: under the names they have here, but perhaps ...attn.q.weight, ...attn.k.weight, ...attn.v.weight.
    """
    joined: Tensors = {}
    for name, tensor in tensors.items():
        found = re.fullmatch(r"(.*\.attn)\.[qkv]\.(weight|bias)", name)
        parts = [f"{found[1]}.{part}.{found[2]}" for part in "qkv"] if found else []
        if found and all(part in tensors for part in parts):
            joined[f"{found[1]}.qkv.{found[2]}"] = torch.cat([tensors[part] for part in parts])
        else:
            joined[name] = tensor
    return joined


def num_heads(embed_dim: int, published: Mapping[int, int]) -> int:
    """Heads of attention, which no shape shows: those of the published sizes, in others 64 channels each."""
    return published.get(embed_dim, max(embed_dim // 64, 1))
