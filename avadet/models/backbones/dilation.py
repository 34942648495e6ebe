"""Twice as fine a map from a trained stage: give up its stride, look with its filters at every second cell.

People in a frame are small, so a detector wants cells of 16 px where classifiers end with cells of 32. Dilation
("a trous", Holschneider et al., 1989; Chen et al., DeepLab, ICLR 2015) keeps what each filter was trained to see.
"""

from __future__ import annotations

from typing import Any

from torch import nn

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)


def without_stride(stage: nn.Module) -> None:
    """Take the spatial stride of 2 out of a stage, in place; time keeps its stride.

    Every second cell of the new map, counted from 0, is a cell of the old one: strided convolutions come first in a
    stage and keep their dilation, all those behind them are dilated.
    """
    for module in stage.modules():
        if isinstance(module, CONVOLUTIONS) and max(module.stride[-2:]) > 1:
            module.stride = (*module.stride[:-2], 1, 1)
        elif isinstance(module, CONVOLUTIONS):
            _dilate(module)


def dilate(stage: nn.Module) -> None:
    """Have every filter and max pool of a stage without stride look at every second cell, in place."""
    for name, module in list(stage.named_modules()):
        if isinstance(module, CONVOLUTIONS):
            _dilate(module)
        elif isinstance(module, nn.MaxPool3d):
            parent, _, child = name.rpartition(".")
            setattr(stage.get_submodule(parent), child, _dilated_pool(module))


def _dilate(conv: nn.Conv2d | nn.Conv3d) -> None:
    """Double the spatial dilation and padding; nothing changes for a filter of one cell."""
    if max(conv.kernel_size[-2:]) > 1:
        conv.dilation = _doubled(conv.dilation)
        conv.padding = _doubled(conv.padding)  # type: ignore[arg-type]


def _dilated_pool(pool: nn.MaxPool3d) -> nn.Sequential:
    """The same with both doubled; the padding is a layer of its own, because pools refuse more than half a kernel."""
    time, height, width = _doubled(_per_axis(pool.padding))
    pad = nn.ConstantPad3d((width, width, height, height, time, time), float("-inf"))
    return nn.Sequential(pad, nn.MaxPool3d(pool.kernel_size, pool.stride, 0, _doubled(_per_axis(pool.dilation))))


def _doubled(values: tuple[int, ...]) -> tuple[int, ...]:
    """The last two numbers, those of space, doubled."""
    return (*values[:-2], 2 * values[-2], 2 * values[-1])


def _per_axis(value: Any) -> tuple[int, ...]:
    """An option of a 3-D pool, one number for each of its axes."""
    return (value,) * 3 if isinstance(value, int) else tuple(value)
