"""Numbering keyframes across files, so that a video and a moment become one integer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avadet.types import Float64Array, IntArray

_MICROSECONDS = 1e6


def number_keyframes(tables: Sequence[tuple[NDArray[Any], Float64Array]]) -> list[IntArray]:
    """Give every distinct (video, microsecond) a number, in order of first appearance.

    Args:
        tables: of each table the video ids (n,) and the times (n,) in seconds.

    Returns:
        of each table the numbers int64 (n,), from 0 without gaps.
    """
    names: dict[str, int] = {}
    runs = [_runs(ids, times, names) for ids, times in tables]
    videos = np.concatenate([run[0] for run in runs])
    _, moments = np.unique(np.concatenate([run[1] for run in runs]), return_inverse=True)
    pairs = videos * (moments.max(initial=0) + 1) + moments
    _, first, which = np.unique(pairs, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    of_run = np.split(rank[which], np.cumsum([len(run[0]) for run in runs])[:-1])
    return [np.repeat(numbers, run[2]) for numbers, run in zip(of_run, runs)]


def _runs(ids: NDArray[Any], times: Float64Array, names: dict[str, int]) -> tuple[IntArray, IntArray, IntArray]:
    """Video number, moment and length of each stretch of rows of one keyframe; `names` learns new videos."""
    if not len(ids):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64)
    changes = (ids[1:] != ids[:-1]) | (times[1:] != times[:-1])
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    videos = np.array([names.setdefault(str(name), len(names)) for name in ids[starts]], np.int64)
    moments = np.rint(times[starts] * _MICROSECONDS).astype(np.int64)
    return videos, moments, np.diff(starts, append=len(ids))
