"""Parameters, multiply-adds and shapes of a net, counted on tensors without memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from avadet.models.build import build
from avadet.models.engines.summary import count_flops

Shape = tuple[int, ...]


def parameters(net: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in net.parameters())


def gflops(net: nn.Module, shape: Shape, norms: bool = False) -> float:
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
    _, operations = _run(net, shape)
    for hook in hooks:
        hook.remove()
    return (operations + sum(in_norms)) / 1e9


def sizes(architecture: str, clip: tuple[int, int, int], **options: Any) -> tuple[int, float, list[Shape]]:
    """Parameters with 80 classes, 1e9 multiply-adds of the backbone for one clip (T, H, W), shapes of its maps."""
    with torch.device("meta"):
        model = build(architecture, 80, **options)
    maps, operations = _run(model.backbone, (1, 3, *clip))
    return parameters(model), operations / 1e9, [tuple(one_map.shape) for one_map in maps]


def _run(net: nn.Module, shape: Shape) -> tuple[list[Tensor], float]:
    """What a net gives for an input of this shape, and its multiply-adds."""
    with count_flops(net) as counter, torch.device("meta"):
        answer = net.eval()(torch.empty(shape))
    return answer, counter.get_total_flops() / 2
