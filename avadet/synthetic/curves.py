"""Curves over time that every action is made of, and the body at rest that every action starts from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from avadet.synthetic.skeleton import ANKLE_HEIGHT, LEFT, STANDING, Motion
from avadet.types import Float64Array


def smooth(u: Float64Array) -> Float64Array:
    """0 up to u = 0, 1 from u = 1, without a jerk between."""
    v = np.clip(u, 0, 1)
    return v * v * (3 - 2 * v)


def through(u: Float64Array, times: Sequence[float], values: ArrayLike, period: float | None = None) -> Float64Array:
    """Smooth curve (cubic Hermite, Catmull-Rom slopes) through `values`, (K,) or (K, D), at K increasing `times`.

    It is read at `u`, float64 (T,), as float64 (T,) or (T, D); it repeats after `period`, or rests at both ends.
    """
    at, want = np.asarray(times, np.float64), np.asarray(values, np.float64)
    if period is None:
        u = np.clip(u, at[0], at[-1])
        at = np.concatenate([[at[0] - 1], at, [at[-1] + 1]])
        want = np.concatenate([want[:1], want, want[-1:]])
    else:
        u = (u - at[0]) % period + at[0]
        at = np.concatenate([[at[-1] - period], at, at[:2] + period])
        want = np.concatenate([want[-1:], want, want[:2]])
    flat = want.reshape(len(want), -1)
    slopes = np.zeros_like(flat)
    slopes[1:-1] = (flat[2:] - flat[:-2]) / (at[2:] - at[:-2])[:, None]
    left = np.clip(np.searchsorted(at, u, side="right") - 1, 1, len(at) - 3)
    span = (at[left + 1] - at[left])[:, None]
    v = (u - at[left])[:, None] / span
    rise = v * v * (3 - 2 * v)
    curve = flat[left] * (1 - rise) + flat[left + 1] * rise
    curve += span * v * (1 - v) * ((1 - v) * slopes[left] - v * slopes[left + 1])
    return np.asarray(curve.reshape(len(u), *want.shape[1:]))


def xyz(*parts: ArrayLike) -> Float64Array:
    """(T, 3) from three curves (T,), of which some may be constants."""
    return np.stack(np.broadcast_arrays(*parts), axis=-1).astype(np.float64)


def pair(left: ArrayLike, right: ArrayLike, count: int) -> Float64Array:
    """(T, 2, 3) from what the left and the right limb do, each (3,) or (T, 3)."""
    return np.stack([np.broadcast_to(np.asarray(side, np.float64), (count, 3)) for side in (left, right)], axis=1)


def at_rest(t: Float64Array, rng: np.random.Generator, stance: float | None = None) -> Motion:
    """A person who stands and sways a little, feet `stance` from the middle; None = drawn."""
    count, zero = len(t), np.zeros(len(t))
    sway = 0.008 * np.sin(2 * np.pi * (rng.uniform(0.2, 0.5) * t + rng.random()))
    half = float(rng.uniform(0.05, 0.09)) if stance is None else stance
    feet = pair([0.01, half, ANKLE_HEIGHT], [-0.01, -half, ANKLE_HEIGHT], count)
    elbows = pair([-1.0, 0.7, -0.2], [-1.0, 0.7, -0.2], count)
    bend = rng.uniform(0, 0.25, 2)
    hands = pair([bend[LEFT], 0.15, -0.94], [bend[1], 0.15, -0.94], count)
    pelvis = xyz(0.5 * sway, sway, STANDING - 0.001)
    return Motion(pelvis, feet, hands, elbows, 0.04 + 2 * sway, 2 * sway, zero, zero, 0.05 + zero, np.zeros((count, 2)))
