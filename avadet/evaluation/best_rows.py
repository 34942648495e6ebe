"""The best rows of each keyframe, chosen and ordered as ActivityNet's script does.

The script reads rows in file order into a binary heap (Python's heapq) of at most `cap` rows a keyframe, compared by
(score, class id, y1, x1, y2, x2). A row enters a full heap only if its score is larger than the smallest one.
So the chosen rows are the `cap` best by score; only where scores are equal does the heap decide, at the edge of the
cap and in the order of rows with the same class and score. Those keyframes alone are replayed row by row.
"""

from __future__ import annotations

import heapq
from collections import defaultdict

import numpy as np

from avadet.evaluation.rows import Rows
from avadet.types import BoolArray, Float64Array, IntArray

_FRAMES_AT_ONCE = 512
_HeapItem = tuple[float, int, float, float, float, float]


class BestRows:
    """Chooses rows of a table keyframe by keyframe.

    Attributes:
        kept: int64 (k,), the chosen rows, sorted by keyframe.
    """

    def __init__(self, rows: Rows, counted: IntArray, cap: int) -> None:
        """Choose.

        Args:
            rows: the table.
            counted: int64 (n,), the rows that may be chosen, sorted by keyframe and in file order within each.
            cap: rows that a keyframe may keep.
        """
        self._rows = rows
        self._counted = counted
        self._cap = cap
        self._counts = np.bincount(rows.frames[counted]) if len(counted) else np.zeros(0, np.int64)
        self._starts = np.cumsum(self._counts) - self._counts
        self._place = np.zeros(len(rows.frames), np.int32)
        self._replayed: set[int] = set()
        self.kept = counted[self._choose()] if len(counted) else counted

    def _choose(self) -> BoolArray:
        """Mark the rows of `counted` that are kept."""
        scores = self._rows.scores[self._counted]
        keep = scores >= np.repeat(self._worst_kept(scores), self._counts)
        filled = np.flatnonzero(self._counts)
        num_kept = np.add.reduceat(keep, self._starts[filled], dtype=np.int64)
        crowded = filled[num_kept > self._cap]
        for frame in crowded:
            part = slice(self._starts[frame], self._starts[frame] + self._counts[frame])
            keep[part] = np.isin(self._counted[part], self._replay(int(frame)))
        return keep

    def _worst_kept(self, scores: Float64Array) -> Float64Array:
        """The `cap`-th best score of each keyframe, -inf where it has no more than `cap` rows."""
        worst = np.full(len(self._counts), -np.inf)
        crowded = np.flatnonzero(self._counts > self._cap)
        crowded = crowded[np.argsort(self._counts[crowded])]  # keyframes of a like size share a grid
        for first in range(0, len(crowded), _FRAMES_AT_ONCE):
            frames = crowded[first : first + _FRAMES_AT_ONCE]
            column = np.arange(self._counts[frames].max())
            filled = column < self._counts[frames, None]
            grid = np.full(filled.shape, -np.inf)
            grid[filled] = scores[(self._starts[frames, None] + column)[filled]]
            edge = len(column) - self._cap
            worst[frames] = np.partition(grid, edge, axis=1)[:, edge]
        return worst

    def arrange(self, block: IntArray, tied_frames: IntArray) -> IntArray:
        """Order rows by keyframe and, within `tied_frames`, in the order of the heap.

        Args:
            block: int64 (m,), chosen rows of one class, sorted by keyframe.
            tied_frames: keyframes of `block` in which rows of equal score meet.
        """
        for frame in np.unique(tied_frames):
            self._replay(int(frame))
        order = np.lexsort((self._place[block], self._rows.frames[block]))
        return block[order]

    def _replay(self, frame: int) -> IntArray:
        """The rows that a keyframe keeps; notes each one's place among them."""
        part = self._counted[self._starts[frame] : self._starts[frame] + self._counts[frame]]
        kept = part[self._place[part] > 0]
        if frame not in self._replayed:
            self._replayed.add(frame)
            kept = part[_heap_order(self._items(part), self._cap)]
            self._place[kept] = np.arange(1, len(kept) + 1)
        return kept

    def _items(self, rows: IntArray) -> list[_HeapItem]:
        """What the script compares."""
        y1_x1_y2_x2 = self._rows.boxes[rows][:, [1, 0, 3, 2]]
        columns = [self._rows.scores[rows], self._rows.class_ids[rows], *y1_x1_y2_x2.T]
        return list(zip(*(column.tolist() for column in columns)))


def _heap_order(items: list[_HeapItem], cap: int) -> list[int]:
    """Positions of the items that stay in a heap of `cap`, best score first, equal scores by place in the heap."""
    heap: list[_HeapItem] = []
    positions: defaultdict[_HeapItem, list[int]] = defaultdict(list)
    for position, item in enumerate(items):
        if len(heap) < cap:
            heapq.heappush(heap, item)
        elif item[0] > heap[0][0]:
            heapq.heapreplace(heap, item)
        else:
            continue
        positions[item].append(position)
    heap.sort(key=lambda item: -item[0])
    return [positions[item].pop(0) for item in heap]
