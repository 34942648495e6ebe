"""Less memory for more time: blocks of a backbone forget their activations and compute them again on the way back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from avadet.errors import AvadetError
from avadet.training.norms import batch_norms


def recompute_blocks(model: nn.Module) -> int:
    """Let every block of every backbone in a model be computed again on the way back (Chen et al., 2016).

    Random draws are repeated as they were, and BatchNorm's running statistics take a batch in once only, so that
    results do not change.

    Returns:
        how many blocks.

    Raises:
        AvadetError: if there are none.
    """
    found = blocks(model)
    if not found:
        raise AvadetError("train.recompute: this model's backbone has no blocks; set it to false")
    for block in found:
        block.forward = partial(_recomputed, block, block.forward)
    return len(found)


def blocks(model: nn.Module) -> list[nn.Module]:
    """The blocks of every backbone in a model: what stands in its outermost lists and sequences and has parts."""
    backbones = [module for name, module in model.named_modules() if name.split(".")[-1] == "backbone"]
    return list(dict.fromkeys(block for backbone in backbones for block in _blocks(backbone)))  # one may hold another


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, nn.Sequential | nn.ModuleList):
            yield from (block for block in child.children() if any(block.children()))
        else:
            yield from _blocks(child)


def _recomputed(block: nn.Module, forward: Any, *inputs: Any) -> Any:
    if not block.training:
        return forward(*inputs)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_at_rest(block)

    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts)


@contextmanager
def _statistics_at_rest(block: nn.Module) -> Iterator[None]:
    """BatchNorms that look at the batch and remember nothing of it."""
    norms = [norm for norm in batch_norms(block) if norm.training and norm.num_batches_tracked is not None]
    momenta = [norm.momentum for norm in norms]
    counts = [norm.num_batches_tracked.clone() for norm in norms if norm.num_batches_tracked is not None]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, count in zip(norms, momenta, counts):
            norm.momentum = momentum
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked.copy_(count)
