"""Counting a model's parameters and operations without building it: on the meta device tensors have no numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from avadet.models.detector import ActionDetector

Shape = tuple[int, ...]


def sizes(
    builder: Callable[..., ActionDetector], clip: tuple[int, int, int], **options: Any
) -> tuple[int, float, list[Shape]]:
    """Parameters with 80 classes, multiply-adds of the backbone for one clip (T, H, W) in 10**9, shapes of its maps."""
    with torch.device("meta"):
        model = builder(80, **options).eval()
        pictures = torch.zeros(1, 3, *clip)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        maps = model.backbone(pictures)
    shapes = [tuple(one_map.shape) for one_map in maps]
    return sum(p.numel() for p in model.parameters()), counter.get_total_flops() / 2e9, shapes
