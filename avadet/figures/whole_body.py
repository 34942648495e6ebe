"""Actions of the whole body: sit down, stand up, pick something up, push something along."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from avadet.figures.look import even_colour
from avadet.figures.skeleton import ANKLE_HEIGHT, STANDING, Motion, Prop
from avadet.figures.steps import box, walk
from avadet.figures.timing import at_rest, hanging, mirrored_pair, smooth, through
from avadet.types import Float64Array


def _chair(rng: np.random.Generator, seat: float) -> tuple[Prop, ...]:
    """A stool, bench or chair behind the person, seat at that height."""
    colour = even_colour(rng, 40, 200)
    width = rng.uniform(0.14, 0.3)
    parts = [Prop("solid", box((-0.27, 0, seat / 2), (0.13, width, seat / 2)), colour=colour, behind=True)]
    if rng.random() < 0.6:
        back = box((-0.42, 0, seat + 0.1), (0.02, width, 0.2))
        parts.insert(0, Prop("solid", back, colour=colour))
    return tuple(parts)


def _seated(t: Float64Array, rng: np.random.Generator, down: Float64Array) -> Motion:
    """A body between standing (down = 0) and sitting on a chair (down = 1)."""
    rest = at_rest(t, rng)
    seat = rng.uniform(0.22, 0.27)
    bump = np.sin(np.pi * down)
    lean = rest.lean + rng.uniform(0.4, 0.75) * bump - rng.uniform(0, 0.15) * down
    x = -0.235 * smooth(down * 1.15) + 0.03 * bump
    z = STANDING + (seat + 0.055 - STANDING) * down
    hands_down = np.array([rng.uniform(0.45, 0.75), rng.uniform(-0.1, 0.1), -0.6])
    hand = rest.hands * (1 - down)[:, None, None] + hands_down * down[:, None, None]
    reach = np.stack([0.45 * bump, 0 * t, 0.1 * bump], axis=-1)
    pelvis = np.stack([x, rest.pelvis[:, 1] * (1 - down), z], axis=-1)
    return replace(rest, pelvis=pelvis, lean=lean, hands=hand + reach[:, None], props=_chair(rng, seat))


def _once(t: Float64Array, rng: np.random.Generator) -> Float64Array:
    """0 to 1 (T,): something that takes about a second and happens once, early in the clip."""
    lasts = rng.uniform(0.7, 1.3)
    spare = max(float(t[-1] - t[0]) - lasts, 0.0)
    begins = t[0] + rng.uniform(-0.1, min(0.3, max(spare, 0.0)))
    return smooth((t - begins) / lasts)


def sit(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Sit down on a chair and stay there."""
    return _seated(t, rng, _once(t, rng))


def stand(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Stand up from a chair and stay there."""
    return _seated(t, rng, 1 - _once(t, rng))


def pick(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Bend down, take something off the ground, rise with it; again and again."""
    rest = at_rest(t, rng)
    u = (t / rng.uniform(1.6, 2.4) + rng.uniform(0, 1)) % 1
    down = through(u, [0, 0.08, 0.4, 0.5, 0.85], [0, 0.05, 1, 1, 0.03], 1).clip(0, 1.02)
    squat = rng.uniform(0.06, 0.22)
    lean = rest.lean + (1.75 - 2.6 * squat) * down
    pelvis = rest.pelvis + np.stack([-0.11 * down, 0 * t, -squat * down], axis=-1)
    ahead = np.array([0.16, -0.12, 0.0])
    reaching = hanging(lean, 0.97) + ahead * down[:, None]
    lifted = u > 0.46
    carried = np.where(lifted, 1 - down, 0)[:, None] * np.array([0.45, -0.1, 0.35])
    other = hanging(lean, 0.75)
    both = rng.random() < 0.4
    hands = mirrored_pair(reaching + carried if both else other, reaching + carried, len(t))
    colour = even_colour(rng, 30, 220)
    x = 0.27 if squat < 0.14 else 0.2
    half = rng.uniform(0.025, 0.05)
    place = box((x, 0.0 if both else -0.1, half), (half, half * 1.2, half))
    where = np.where(lifted[:, None, None], box((0.0, 0.1 if both else 0, -half), (half, half * 1.2, half)), place)
    thing = Prop("solid", where, colour=colour, held=lifted)
    return replace(rest, pelvis=pelvis, lean=lean, nod=0.25 * down, hands=hands, props=(thing,))


def push(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Walk bent forward behind a heavy box, both arms straight against it."""
    slow = walk(0.55 * t, rng)
    lean = rng.uniform(0.4, 0.65) + 0 * t
    hands = mirrored_pair([0.85, -0.05, 0.12], [0.85, -0.05, 0.12], len(t))
    pelvis = slow.pelvis - [0, 0, 0.02]
    depth, tall = rng.uniform(0.12, 0.3), rng.uniform(0.3, 0.45)
    front = slow.pelvis[:, :1] + 0.43 + 0.5 * lean[:, None] * 0.3
    load = box((depth, 0, tall), (depth, rng.uniform(0.2, 0.35), tall)) + front[:, :, None] * np.array([1.0, 0, 0])
    colour = even_colour(rng, 50, 200)
    crate = Prop("solid", load, colour=colour)
    return replace(
        slow, pelvis=pelvis, lean=lean, hands=hands, twist=0 * t, nod=-0.2 + 0 * t, props=(crate,),
        elbows=mirrored_pair([-0.2, 1, -0.6], [-0.2, 1, -0.6], len(t)),
        feet=slow.feet.clip(min=[-np.inf, -np.inf, ANKLE_HEIGHT]),
    )  # fmt: skip
