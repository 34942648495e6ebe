"""Actions of the legs: walk, run, jump, climb stairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from avadet.figures.look import even_colour
from avadet.figures.skeleton import ANKLE_HEIGHT, LEG, STANDING, Motion, Prop
from avadet.figures.timing import at_rest, mirrored_pair, smooth, through
from avadet.types import Float64Array

BOX_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)


def box(centre: tuple[float, float, float], half: tuple[float, float, float]) -> Float64Array:
    """Corners of an upright box, float64 (1, 8, 3)."""
    return np.asarray((np.array(centre) + BOX_CORNERS * np.array(half))[None])


def _swung_legs(phase: Float64Array, swing: float, knee: float, lift: float) -> Float64Array:
    """Ankles of a gait seen from their hips (T, 2, 3): thighs swing about `lift`, knees bend as they come forward.

    The third harmonic makes the swing nearly even, so that a foot that carries hardly slides.
    """
    both = np.stack([phase, phase + np.pi], axis=-1)
    thigh = lift + swing * (np.cos(both) + 0.09 * np.cos(3 * both))
    bend = 0.12 + knee * np.maximum(0, -np.sin(both + 0.25)) ** 1.4
    half = 0.5 * LEG
    x = half * (np.sin(thigh) + np.sin(thigh - bend))
    z = -half * (np.cos(thigh) + np.cos(thigh - bend))
    return np.stack([x, np.zeros_like(x), z], axis=-1)


def _gait(
    t: Float64Array, rng: np.random.Generator, phase: Float64Array, legs: Float64Array, speed: float, hop: Float64Array
) -> Motion:
    """A body that travels on `legs` at `speed` (heights/s), lowest foot on the ground but for the hop."""
    rest = at_rest(t, rng)
    height = ANKLE_HEIGHT - legs[..., 2].min(axis=1) + hop
    sway = 0.012 * np.sin(phase)
    pelvis = np.stack([speed * t, sway, height], axis=-1)
    feet = pelvis[:, None] + legs + np.array([[0, 0.045, 0], [0, -0.045, 0]])
    both = np.stack([phase, phase + np.pi], axis=-1)
    behind = np.maximum(0, -np.cos(both + 0.3))
    return replace(rest, pelvis=pelvis, feet=feet, toes=0.75 * behind - 0.2 * np.maximum(0, np.cos(both)))


def walk(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Walk ahead, arms swinging against the legs."""
    rate, swing = rng.uniform(0.8, 1.1), rng.uniform(0.38, 0.5)
    phase = 2 * np.pi * (rate * t + rng.random())
    legs = _swung_legs(phase, swing, rng.uniform(0.75, 1.0), 0.06)
    speed = 4 * rate * LEG * np.sin(1.09 * swing) * 0.95
    gait = _gait(t, rng, phase, legs, speed, 0 * t)
    arms = rng.uniform(0.25, 0.6) * np.cos(np.stack([phase + np.pi, phase], axis=-1)) + 0.08
    hands = np.stack([0.95 * np.sin(arms + 0.12), 0.1 + 0 * arms, -0.95 * np.cos(arms + 0.12)], axis=-1)
    twist = 0.12 * np.cos(phase)
    return replace(gait, hands=hands, twist=twist, lean=0.05 + rng.uniform(0, 0.06) + 0 * t)


def run(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Run ahead, elbows bent, both feet off the ground between steps."""
    rate, swing = rng.uniform(1.25, 1.6), rng.uniform(0.65, 0.85)
    phase = 2 * np.pi * (rate * t + rng.random())
    legs = _swung_legs(phase, swing, rng.uniform(1.6, 2.0), 0.25)
    hop = 0.05 * np.maximum(0, np.cos(2 * phase))
    gait = _gait(t, rng, phase, legs, rng.uniform(1.6, 2.4), hop)
    arms = rng.uniform(0.6, 0.9) * np.cos(np.stack([phase + np.pi, phase], axis=-1)) - 0.15
    bend = rng.uniform(1.4, 1.8)
    x = 0.53 * np.sin(arms) + 0.47 * np.sin(arms + bend)
    z = -0.53 * np.cos(arms) - 0.47 * np.cos(arms + bend)
    hands = np.stack([x, 0.02 + 0 * x, z], axis=-1)
    return replace(
        gait, hands=hands, twist=0.22 * np.cos(phase), lean=rng.uniform(0.15, 0.3) + 0 * t, nod=-0.1 + 0 * t,
        elbows=mirrored_pair([-1, 0.3, -0.2], [-1, 0.3, -0.2], len(t)),
    )  # fmt: skip


def jump(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Jump again and again: crouch, push off, fly, land; on the spot or ahead."""
    rest = at_rest(t, rng)
    period, height = rng.uniform(0.85, 1.25), rng.uniform(0.12, 0.26)
    cycles = t / period + rng.random()
    u = cycles % 1
    crouch = rng.uniform(0.1, 0.17)
    pelvis_z = STANDING + through(u, [0, 0.22, 0.36, 0.8, 0.9], [-0.02, -crouch, 0.01, 0.01, -0.6 * crouch], 1)
    flight = np.clip((u - 0.36) / 0.44, 0, 1)
    rise = 4 * height * flight * (1 - flight)
    tuck = rng.uniform(0, 0.14) * np.sin(np.pi * flight)
    ahead = (0.0 if rng.random() < 0.5 else rng.uniform(0.15, 0.6)) * (
        np.floor(cycles) - np.floor(cycles[0]) + smooth(flight)
    )
    pelvis = np.stack([ahead + rest.pelvis[:, 0] - 0.25 * (STANDING - np.minimum(pelvis_z, STANDING)),
                       0 * t, pelvis_z + rise], axis=-1)  # fmt: skip
    feet = rest.feet + np.stack([ahead - tuck * 0.7, 0 * t, rise + tuck], axis=-1)[:, None]
    keys = [[-0.6, 0.25, -0.75], [-0.7, 0.3, -0.6], [0.5, 0.3, 0.7], [0.35, 0.5, 0.55], [0.4, 0.3, -0.5]]
    if rng.random() < 0.3:
        keys = [[0.1, 0.3, -0.9], [0.0, 0.35, -0.85], [0.05, 0.75, 0.5], [0.0, 0.7, 0.6], [0.1, 0.5, -0.7]]
    hand = through(u, [0, 0.2, 0.42, 0.62, 0.9], keys, 1)
    toes = np.repeat(0.7 * np.sin(np.pi * flight)[:, None], 2, axis=1)
    lean = through(u, [0, 0.22, 0.4, 0.8, 0.9], [0.1, 0.55, 0.02, 0.1, 0.35], 1)
    return replace(rest, pelvis=pelvis, feet=feet, hands=np.stack([hand, hand], 1), toes=toes, lean=lean)


def climb_stairs(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Go up a flight of stairs, one step a foot."""
    rest = at_rest(t, rng)
    rate, run_, rise = rng.uniform(0.7, 1.0), rng.uniform(0.15, 0.19), rng.uniform(0.08, 0.11)
    start = rng.random()
    cycles = rate * t + start
    feet = np.zeros((len(t), 2, 3))
    for side in (0, 1):
        s = cycles + 0.5 * side
        whole = np.floor(s)
        swing = (s - whole) / 0.5
        feet[:, side, 0] = (2 * (whole + smooth(swing)) - side) * run_
        lift = 0.05 * np.sin(np.pi * np.clip(swing, 0, 1))
        feet[:, side, 1] = 0.05 - 0.1 * side
        feet[:, side, 2] = (2 * (whole + smooth(1.4 * swing)) - side) * rise + lift
    origin = np.array([2 * start * run_, 0, 2 * start * rise])
    ahead = 2 * cycles + 0.6
    pelvis = np.stack([ahead * run_, 0 * t, ahead * rise + STANDING - 0.05], axis=-1)
    arms = 0.4 * np.cos(2 * np.pi * cycles[:, None] + np.array([0, np.pi])) + 0.2
    hands = np.stack([0.9 * np.sin(arms), 0.12 + 0 * arms, -0.9 * np.cos(arms)], axis=-1)
    last = int(2 * cycles.max()) + 7
    colour = even_colour(rng, 90, 190)
    width = rng.uniform(0.3, 0.6)
    flight = tuple(
        Prop("solid", box((k * run_, 0, k * rise - 0.5), (0.5 * run_, width, 0.5)) - origin, colour=colour, behind=True)
        for k in range(last, -4, -1)
    )
    return replace(
        rest, pelvis=pelvis - origin, feet=feet + (np.array([0, 0, ANKLE_HEIGHT]) - origin), hands=hands,
        lean=0.2 + 0 * t, nod=0.15 + 0 * t, props=flight,
    )  # fmt: skip
