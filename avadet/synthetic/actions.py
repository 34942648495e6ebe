"""What each action looks like: from moments in time to the motion of a body. Names are those of JHMDB-21.

An action is a function of `t` (float64 (T,), seconds) and `rng`, which draws phase, speed and style; it repeats for
ever. Key poses are rows of what moves: hands in arm lengths (`Motion`), positions in body heights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from avadet.errors import unknown_name
from avadet.synthetic.appearance import cloth_colour
from avadet.synthetic.curves import at_rest, pair, smooth, through, xyz
from avadet.synthetic.skeleton import ANKLE_HEIGHT, ARM, LEFT, LEG, SHOULDER_HALF, STANDING, TORSO, Motion, Prop
from avadet.types import Float64Array

Action = Callable[[Float64Array, np.random.Generator], Motion]


def _swung_legs(phase: Float64Array, swing: float, knee: float, lift: float) -> Float64Array:
    """Ankles of a gait seen from their hips (T, 2, 3): thighs swing about `lift`, knees bend as they come forward.

    The third harmonic makes the swing nearly even, so that a foot that carries hardly slides.
    """
    both = np.stack([phase, phase + np.pi], axis=-1)
    thigh = lift + swing * (np.cos(both) + 0.09 * np.cos(3 * both))
    shin = thigh - (0.12 + knee * np.maximum(0, -np.sin(both + 0.25)) ** 1.4)
    half = 0.5 * LEG
    return xyz(half * (np.sin(thigh) + np.sin(shin)), 0.0, -half * (np.cos(thigh) + np.cos(shin)))


def _gait(
    t: Float64Array, rng: np.random.Generator, phase: Float64Array, legs: Float64Array, speed: float, hop: Float64Array
) -> Motion:
    """A body that travels on `legs` at `speed` (heights/s), lowest foot on the ground but for the hop."""
    rest = at_rest(t, rng)
    pelvis = xyz(speed * t, 0.012 * np.sin(phase), ANKLE_HEIGHT - legs[..., 2].min(axis=1) + hop)
    feet = pelvis[:, None] + legs + np.array([[0, 0.045, 0], [0, -0.045, 0]])
    both = np.stack([phase, phase + np.pi], axis=-1)
    toes = 0.75 * np.maximum(0, -np.cos(both + 0.3)) - 0.2 * np.maximum(0, np.cos(both))
    return replace(rest, pelvis=pelvis, feet=feet, toes=toes)


def walk(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Walk ahead, arms swinging against the legs."""
    rate, swing = rng.uniform(0.8, 1.1), rng.uniform(0.38, 0.5)
    phase = 2 * np.pi * (rate * t + rng.random())
    legs = _swung_legs(phase, swing, rng.uniform(0.75, 1.0), 0.06)
    gait = _gait(t, rng, phase, legs, 4 * rate * LEG * np.sin(1.09 * swing) * 0.95, 0 * t)
    arms = rng.uniform(0.25, 0.6) * np.cos(np.stack([phase + np.pi, phase], axis=-1)) + 0.08
    hands = xyz(0.95 * np.sin(arms + 0.12), 0.1, -0.95 * np.cos(arms + 0.12))
    return replace(gait, hands=hands, twist=0.12 * np.cos(phase), lean=0.05 + rng.uniform(0, 0.06) + 0 * t)


def run(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Run ahead, elbows bent, both feet off the ground between steps."""
    rate, swing = rng.uniform(1.25, 1.6), rng.uniform(0.65, 0.85)
    phase = 2 * np.pi * (rate * t + rng.random())
    legs = _swung_legs(phase, swing, rng.uniform(1.6, 2.0), 0.25)
    hop = 0.05 * np.maximum(0, np.cos(2 * phase))
    gait = _gait(t, rng, phase, legs, rng.uniform(1.6, 2.4), hop)
    arms = rng.uniform(0.6, 0.9) * np.cos(np.stack([phase + np.pi, phase], axis=-1)) - 0.15
    fore = arms + rng.uniform(1.4, 1.8)
    hands = xyz(0.53 * np.sin(arms) + 0.47 * np.sin(fore), 0.02, -0.53 * np.cos(arms) - 0.47 * np.cos(fore))
    return replace(
        gait, hands=hands, twist=0.22 * np.cos(phase), lean=rng.uniform(0.15, 0.3) + 0 * t, nod=-0.1 + 0 * t,
        elbows=pair([-1, 0.3, -0.2], [-1, 0.3, -0.2], len(t)),
    )  # fmt: skip


def jump(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Jump again and again: crouch, push off, fly, land; on the spot or ahead."""
    rest = at_rest(t, rng)
    period, height = rng.uniform(0.85, 1.25), rng.uniform(0.12, 0.26)
    cycles = t / period + rng.random()
    u, nth = cycles % 1, np.floor(cycles) - np.floor(cycles[0])
    crouch = rng.uniform(0.1, 0.17)
    z = STANDING + through(u, [0, 0.22, 0.36, 0.8, 0.9], [-0.02, -crouch, 0.01, 0.01, -0.6 * crouch], 1)
    flight = np.clip((u - 0.36) / 0.44, 0, 1)
    rise = 4 * height * flight * (1 - flight)
    tuck = rng.uniform(0, 0.14) * np.sin(np.pi * flight)
    ahead = (0.0 if rng.random() < 0.5 else rng.uniform(0.15, 0.6)) * (nth + smooth(flight))
    pelvis = xyz(ahead + rest.pelvis[:, 0] - 0.25 * (STANDING - np.minimum(z, STANDING)), 0.0, z + rise)
    feet = rest.feet + xyz(ahead - tuck * 0.7, 0.0, rise + tuck)[:, None]
    keys = [[-0.6, 0.25, -0.75], [-0.7, 0.3, -0.6], [0.5, 0.3, 0.7], [0.35, 0.5, 0.55], [0.4, 0.3, -0.5]]
    if rng.random() < 0.3:
        keys = [[0.1, 0.3, -0.9], [0.0, 0.35, -0.85], [0.05, 0.75, 0.5], [0.0, 0.7, 0.6], [0.1, 0.5, -0.7]]
    hand = through(u, [0, 0.2, 0.42, 0.62, 0.9], keys, 1)
    toes = np.repeat(0.7 * np.sin(np.pi * flight)[:, None], 2, axis=1)
    lean = through(u, [0, 0.22, 0.4, 0.8, 0.9], [0.1, 0.55, 0.02, 0.1, 0.35], 1)
    return replace(rest, pelvis=pelvis, feet=feet, hands=np.stack([hand, hand], 1), toes=toes, lean=lean)


def wave(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Wave with one raised hand, sometimes with both."""
    rest = at_rest(t, rng)
    beat = np.sin(2 * np.pi * (rng.uniform(1.3, 2.4) * t + rng.random()))
    wide, high = rng.uniform(0.18, 0.34), rng.uniform(0.5, 0.85)
    x, out = rng.uniform(0.05, 0.35), rng.uniform(0.3, 0.5)
    waving, pole = xyz(x, out + wide * beat, high - 0.35 * np.abs(wide * beat)), [-0.2, 1.0, -0.9]
    both = rng.random() < 0.15
    hands = pair(waving if both else rest.hands[:, LEFT], waving, len(t))
    elbows = pair(pole if both else rest.elbows[:, LEFT], pole, len(t))
    return replace(rest, hands=hands, elbows=elbows, roll=rest.roll + 0.05 + 0.02 * beat)


def clap(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Clap before the chest."""
    rest = at_rest(t, rng)
    beat = 0.5 + 0.5 * np.cos(2 * np.pi * (rng.uniform(1.6, 3.2) * t + rng.random()))
    apart = 0.03 + rng.uniform(0.28, 0.6) * beat**1.3
    point = np.array([rng.uniform(0.5, 0.68), 0.05 - SHOULDER_HALF / ARM, rng.uniform(-0.35, 0.1)])
    hands = point + xyz(0.0, apart, rng.uniform(-0.1, 0.1) * beat)
    elbows = pair([-0.4, 1, -0.9], [-0.4, 1, -0.9], len(t))
    return replace(rest, hands=pair(hands, hands, len(t)), elbows=elbows, lean=rest.lean + 0.03 * beat, nod=0.1 + 0 * t)


def pick(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Bend down, take something off the ground, rise with it; again and again."""
    rest = at_rest(t, rng)
    u = (t / rng.uniform(1.6, 2.4) + rng.uniform(0, 1)) % 1
    down = through(u, [0, 0.08, 0.4, 0.5, 0.85], [0, 0.05, 1, 1, 0.03], 1).clip(0, 1.02)
    squat = rng.uniform(0.06, 0.22)
    lean = rest.lean + (1.75 - 2.6 * squat) * down
    hanging, lifted = xyz(np.sin(lean), 0.08, -np.cos(lean)), u > 0.46
    reaching = 0.97 * hanging + np.array([0.16, -0.12, 0.0]) * down[:, None]
    reaching += np.where(lifted, 1 - down, 0)[:, None] * np.array([0.45, -0.1, 0.35])
    both = rng.random() < 0.4
    hands = pair(reaching if both else 0.75 * hanging, reaching, len(t))
    colour, radius = cloth_colour(rng), rng.uniform(0.03, 0.06)
    on_ground = [0.27 if squat < 0.14 else 0.2, 0.0 if both else -0.1, radius]
    places = np.where(lifted[:, None], [0.0, 0.1 if both else 0, -radius], on_ground)
    thing = Prop("ball", places[:, None], radius, colour, held=lifted)
    pelvis = rest.pelvis + xyz(-0.11 * down, 0.0, -squat * down)
    return replace(rest, pelvis=pelvis, lean=lean, nod=0.25 * down, hands=hands, props=(thing,))


def kick_ball(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Step up to a ball, swing the leg back, kick it away."""
    rest = at_rest(t, rng)
    period = rng.uniform(1.2, 1.6)
    cycles = t / period + rng.random()
    u, nth = cycles % 1, np.floor(cycles) - np.floor(cycles[0])
    step = rng.uniform(0.2, 0.35)
    ahead = step * (nth + through(u, [0, 0.38], [0, 1]))
    sunk = through(u, [0, 0.3, 0.5, 0.7, 0.95], [0, -0.04, -0.03, 0.0, 0.0], 1)
    lifted = ANKLE_HEIGHT + 0.06 * np.sin(np.pi * np.clip((u - 0.05) / 0.27, 0, 1))
    left = xyz(step * (nth + through(u, [0.05, 0.32], [0, 1])) + 0.03, 0.05, lifted)
    power = rng.uniform(0.8, 1.15)
    keys = [[-0.02, 0.0], [-0.18, 0.03], [-0.42 * power, 0.2], [0.16, 0.02], [0.46 * power, 0.28 * power], [0.15, 0.06]]
    kick = through(u, [0, 0.18, 0.36, 0.5, 0.66, 0.86], keys, 1)
    right = xyz(ahead + kick[:, 0], -0.06, ANKLE_HEIGHT + kick[:, 1].clip(0))
    at = [0, 0.36, 0.62, 0.9]
    arm = through(u, at, [[0.1, 0.2, -0.9], [0.5, 0.55, -0.55], [-0.5, 0.5, -0.6], [0.0, 0.2, -0.9]], 1)
    other = through(u, at, [[0, 0.2, -0.9], [-0.5, 0.6, -0.5], [0.5, 0.5, -0.6], [0.1, 0.2, -0.9]], 1)
    flown = np.maximum(0, u - 0.5) * period
    far = step * (nth + 1) + 0.25 + rng.uniform(2, 3.5) * flown
    height = np.maximum(0.055, 0.055 + rng.uniform(0.3, 1.8) * flown - 2.8 * flown**2)
    colours = [(235, 235, 235), (215, 110, 50), (210, 220, 70), (45, 45, 50), (190, 50, 50)]
    ball = Prop("ball", xyz(far, -0.06, height)[:, None], 0.055, colours[int(rng.integers(len(colours)))])
    return replace(
        rest, pelvis=xyz(ahead, 0.03, STANDING - 0.004 + sunk), feet=np.stack([left, right], 1),
        hands=np.stack([arm, other], 1), lean=through(u, [0, 0.36, 0.55, 0.7], [0.1, 0.05, 0.2, -0.12], 1),
        twist=through(u, [0, 0.36, 0.62], [0, -0.3, 0.35], 1), nod=0.2 + 0 * t,
        toes=np.stack([0 * t, 0.9 * np.minimum(1, 4 * kick[:, 1].clip(0))], 1),
        props=(ball,),
    )  # fmt: skip


def pullup(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Hang on a bar and pull the chin over it, again and again."""
    rest = at_rest(t, rng)
    up = 0.5 - 0.5 * np.cos(2 * np.pi * (rng.uniform(0.4, 0.75) * t + rng.random()))
    bar = rng.uniform(1.25, 1.4)
    swing = 0.02 * np.sin(2 * np.pi * rng.uniform(0.4, 0.7) * t)
    z = bar - 0.97 * ARM - TORSO + rng.uniform(0.2, 0.27) * up
    pelvis = xyz(-0.03 * up + swing, 0.0, z)
    hand = xyz(0.12 * up, rng.uniform(0.1, 0.5), (bar - z - TORSO) / ARM + 0.02)
    bent = rng.uniform(0, 0.3)
    drop = xyz(-bent + 0.04 * up + swing, 0.0, -0.455 + 0.8 * bent**1.5)
    feet = (pelvis + drop)[:, None] + np.array([[0, 0.035, 0], [0, -0.035, 0]])
    grey, reach = int(rng.integers(40, 150)), rng.uniform(0.5, 0.9)
    rod = Prop("stick", np.array([[[0.02, -reach, bar], [0.02, reach, bar]]]), 0.012, (grey, grey, grey))
    return replace(
        rest, pelvis=pelvis, feet=feet, hands=np.stack([hand, hand], 1), lean=0.02 - 0.1 * up, nod=-0.25 + 0 * t,
        elbows=pair([-0.3, 1, -0.6], [-0.3, 1, -0.6], len(t)), toes=np.full((len(t), 2), 0.9), props=(rod,),
    )  # fmt: skip


_ALL: tuple[Action, ...] = (clap, jump, kick_ball, pick, pullup, run, walk, wave)
ACTIONS = {action.__name__: action for action in _ALL}


def move(action: str, t: Float64Array, rng: np.random.Generator) -> Motion:
    """How a body moves that does `action` at `t` (float64 (T,), increasing seconds), left- or right-handed.

    Raises:
        AvadetError: if the action is unknown.
    """
    if action not in ACTIONS:
        raise unknown_name("action", action, ACTIONS)
    motion = ACTIONS[action](t, rng)
    return _mirrored(motion) if rng.random() < 0.35 else motion


def _mirrored(motion: Motion) -> Motion:
    """The mirror image of a motion: left and right change places."""
    flip = np.array([1.0, -1, 1])
    props = tuple(replace(prop, points=prop.points * flip, hand=1 - prop.hand) for prop in motion.props)
    return replace(
        motion, pelvis=motion.pelvis * flip, feet=motion.feet[:, ::-1] * flip, hands=motion.hands[:, ::-1],
        elbows=motion.elbows[:, ::-1], roll=-motion.roll, turn=-motion.turn, twist=-motion.twist,
        toes=motion.toes[:, ::-1], props=props,
    )  # fmt: skip
