"""Parameters and multiply-adds of a net, counted on tensors without memory."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(net: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in net.parameters())


def gflops(net: nn.Module, shape: tuple[int, ...], norms: bool = False) -> float:
    """1e9 multiply-adds of one forward pass of a net on the meta device.

    Args:
        net: built under `torch.device("meta")`.
        shape: of its input.
        norms: whether batch norms count, two operations a value, as fvcore has it.
    """
    in_norms = [0]
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, out: in_norms.append(2 * out.numel()))
        for module in net.modules()
        if norms and isinstance(module, nn.modules.batchnorm._BatchNorm)
    ]
    with FlopCounterMode(display=False) as counter, torch.no_grad(), torch.device("meta"):
        net.eval()(torch.empty(shape))
    for hook in hooks:
        hook.remove()
    return (counter.get_total_flops() / 2 + sum(in_norms)) / 1e9
