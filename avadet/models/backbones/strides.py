"""How many pixels of a clip a cell of a map covers, for a head that is used without a backbone."""

from __future__ import annotations

from collections.abc import Sequence

from avadet.errors import AvadetError

Strides = Sequence[tuple[float, float]]
"""For each map (rows, columns) px of a cell."""


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
