"""How many pixels of a clip a cell of a map covers.

A backbone declares it: `strides`, for each of its maps (rows, columns) px; cell (0, 0) begins at pixel (0, 0). The
sizes of clip and map do not tell: 64 x 85 px and 4 x 6 cells are what strides of 16 px give that round up, and what
patches of 14 px give that leave a rest. For a backbone that declares nothing it is measured: from a clip that is
higher by many cells, and from one that is wider, made of tensors that have a shape and no numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from avadet.errors import AvadetError

Strides = Sequence[tuple[float, float]]
"""For each map (rows, columns) px of a cell."""

ADDED_PX = 2**6 * 3**2 * 5 * 7 * 11 * 13
"""A multiple of all strides there are, so that what a net rounds is the same with it and without."""

HOW = "give the backbone an attribute `strides`, for each of its maps (rows, columns) px of a cell"


def declared_strides(backbone: nn.Module) -> Strides | None:
    """What a backbone says of its maps; None if it says nothing.

    Raises:
        AvadetError: if that is not two positive numbers a map.
    """
    strides: Any = getattr(backbone, "strides", None)
    if strides is None:
        return None
    try:
        pairs = tuple((float(rows), float(columns)) for rows, columns in strides)
        fits = all(min(pair) > 0 for pair in pairs) and len(pairs) > 0
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise AvadetError(
            f"strides of {type(backbone).__name__} must be (rows, columns) px for each of its maps, got {strides}"
        )
    return pairs


def evident_stride(clip_hw: tuple[int, int], map_hw: tuple[int, int]) -> tuple[float, float]:
    """(rows, columns) px of a cell where nothing is known but two sizes, and nothing was rounded.

    Raises:
        AvadetError: if the map's sides do not divide the clip's.
    """
    if clip_hw[0] % map_hw[0] or clip_hw[1] % map_hw[1]:
        raise AvadetError(
            f"{map_hw[0]}x{map_hw[1]} cells of {clip_hw[0]}x{clip_hw[1]} px may be of several strides; set those "
            "of the head, `strides`, as ActionDetector does"
        )
    return clip_hw[0] / map_hw[0], clip_hw[1] / map_hw[1]


def measured_strides(backbone: nn.Module, clip_shape: Sequence[int]) -> Strides:
    """What the sizes of a backbone's maps say, exactly.

    Args:
        backbone: clip -> maps.
        clip_shape: (B, 3, T, H, W) that it takes.

    Raises:
        AvadetError: if it does not run on tensors without numbers, or its maps do not grow with the clip.
    """
    name = type(backbone).__name__
    height, width = clip_shape[3:]
    sizes = (height, width), (height + ADDED_PX, width), (height, width + ADDED_PX)
    try:
        shapes, higher, wider = ([m.shape for m in _maps(backbone, (*clip_shape[:3], *size_hw))] for size_hw in sizes)
    except Exception as error:  # whatever the net raises
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise AvadetError(f"{name} does not say its strides, and they cannot be measured ({reason}); {HOW}") from error
    added = [(high[3] - one[3], wide[4] - one[4]) for one, high, wide in zip(shapes, higher, wider)]
    if min(min(cells) for cells in added) < 1:
        raise AvadetError(f"maps of {name} do not grow with the clip, so that their strides cannot be measured; {HOW}")
    return tuple((ADDED_PX / rows, ADDED_PX / columns) for rows, columns in added)


def _maps(backbone: nn.Module, shape: Sequence[int]) -> Sequence[Tensor]:
    """The maps of a clip, all of them without numbers."""
    like = next(backbone.parameters(), torch.zeros(0))
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        maps: Sequence[Tensor] = backbone(torch.empty(*shape, dtype=like.dtype, device=like.device))
    return maps
