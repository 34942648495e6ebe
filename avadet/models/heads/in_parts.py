"""Box by box, some at a time, so that the boxes of a crowd take no more memory than a few."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def in_parts(function: Callable[..., Tensor], at_once: int, is_training: bool, *rows: Tensor) -> Tensor:
    """What `function` gives for rows, the same as for all of them at once.

    All go at once nevertheless in training, when gradients need everything and norms see the whole batch, and while a
    graph is traced, which has no loops.

    Args:
        function: rows (N, ...) of each tensor -> (N, ...), each from its own rows.
        at_once: rows of a part.
        is_training: whether the module that asks is in training mode.
        rows: tensors of N rows each; N may be 0.
    """
    if is_training or is_tracing() or torch.is_grad_enabled() or len(rows[0]) <= at_once:
        return function(*rows)
    return torch.cat([function(*part) for part in zip(*(torch.split(one, at_once) for one in rows))])


def is_tracing() -> bool:
    """Whether a graph of what runs now is being traced."""
    return bool(torch.jit.is_tracing() or torch.compiler.is_compiling())  # type: ignore[attr-defined, no-untyped-call]
