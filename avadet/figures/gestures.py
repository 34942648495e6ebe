"""Actions of the hands of a person who stands: wave, clap, brush hair, pour."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from avadet.figures.skeleton import LEFT, Motion, Prop
from avadet.figures.timing import at_rest, grip, mirrored_pair
from avadet.types import Float64Array


def wave(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Wave with one raised hand, sometimes with both."""
    rest = at_rest(t, rng)
    beat = np.sin(2 * np.pi * (rng.uniform(1.3, 2.4) * t + rng.random()))
    wide, high = rng.uniform(0.18, 0.34), rng.uniform(0.5, 0.85)
    x, out = rng.uniform(0.05, 0.35), rng.uniform(0.3, 0.5)
    lift = high - 0.35 * np.abs(wide * beat)
    waving = np.stack([x + 0 * t, out + wide * beat, lift], axis=-1)
    both = rng.random() < 0.15
    hands = mirrored_pair(waving if both else rest.hands[:, LEFT], waving, len(t))
    pole = [-0.2, 1.0, -0.9]
    elbows = mirrored_pair(pole if both else rest.elbows[:, LEFT], pole, len(t))
    return replace(rest, hands=hands, elbows=elbows, roll=rest.roll + 0.05 + 0.02 * beat)


def clap(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Clap before the chest."""
    rest = at_rest(t, rng)
    beat = 0.5 + 0.5 * np.cos(2 * np.pi * (rng.uniform(1.6, 3.2) * t + rng.random()))
    apart = 0.03 + rng.uniform(0.28, 0.6) * beat**1.3
    point = np.array([rng.uniform(0.5, 0.68), 0, rng.uniform(-0.35, 0.1)])
    hands = grip(point, len(t))
    hands[..., 1] += apart[:, None]
    hands[..., 2] += (rng.uniform(-0.1, 0.1) * beat)[:, None]
    elbows = mirrored_pair([-0.4, 1, -0.9], [-0.4, 1, -0.9], len(t))
    return replace(rest, hands=hands, elbows=elbows, lean=rest.lean + 0.03 * beat, nod=0.1 + 0 * t)


def brush_hair(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Draw a brush down one side of the head, stroke after stroke."""
    rest = at_rest(t, rng)
    u = (rng.uniform(0.7, 1.2) * t + rng.random()) % 1
    down = np.where(u < 0.65, u / 0.65, (1 - u) / 0.35)
    away = np.where(u < 0.65, 0.0, 0.25 * np.sin(np.pi * (u - 0.65) / 0.35))
    x = 0.18 - 0.1 * down
    brushing = np.stack([x, -0.02 + 0.1 * np.sin(np.pi * down) + away, 0.68 - 0.75 * down], axis=-1)
    hands = mirrored_pair(rest.hands[:, LEFT], brushing, len(t))
    elbows = mirrored_pair(rest.elbows[:, LEFT], [0.35, 1.0, -0.25], len(t))
    brush = Prop("stick", np.array([[[0, 0.0, 0], [0.02, 0.03, 0.07]]]), 0.014, (60, 40, 35), held=t > -1)
    return replace(rest, hands=hands, elbows=elbows, roll=-0.08 + 0 * t, nod=0.12 + 0 * t, props=(brush,))


def pour(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Tilt a bottle over a glass that the other hand holds."""
    rest = at_rest(t, rng)
    tilt = 0.9 + 0.9 * np.sin(2 * np.pi * (rng.uniform(0.15, 0.35) * t + rng.random()))
    glass = grip([0.6, 0.12, -0.5], len(t))[:, LEFT]
    bottle = grip(np.array([0.62, -0.18, -0.22]), len(t))[:, 1] + np.stack([0 * t, 0 * t, 0.14 * tilt], axis=-1)
    elbows = mirrored_pair([-0.5, 0.8, -0.6], [-0.4, 1, -0.3], len(t))
    mouth = np.stack([0 * t, np.sin(tilt), np.cos(tilt)], axis=-1)
    flask = Prop("stick", np.stack([-0.04 * mouth, 0.1 * mouth], axis=1), 0.021, (40, 90, 60), held=t > -1)
    cup_points = np.array([[[0.02, 0, -0.01], [0.02, 0, 0.05]]])
    cup = Prop("stick", cup_points, 0.019, (205, 215, 220), hand=LEFT, held=t > -1)
    return replace(rest, hands=mirrored_pair(glass, bottle, len(t)), elbows=elbows, nod=0.3 + 0 * t, props=(flask, cup))
