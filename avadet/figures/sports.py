"""Actions with a ball, a bat, a bow, a bar: kick, throw, catch, shoot, swing, pull up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from avadet.figures.skeleton import ANKLE_HEIGHT, ARM, LEFT, STANDING, TORSO, Motion, Prop
from avadet.figures.timing import at_rest, grip, mirrored_pair, through
from avadet.types import Float64Array


def _ball_colour(rng: np.random.Generator) -> tuple[int, int, int]:
    """White, orange, yellow, black or red."""
    choices = [(235, 235, 235), (215, 110, 50), (210, 220, 70), (45, 45, 50), (190, 50, 50)]
    return choices[int(rng.integers(len(choices)))]


def kick_ball(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Step up to a ball, swing the leg back, kick it away."""
    rest = at_rest(t, rng)
    period = rng.uniform(1.2, 1.6)
    cycles = t / period + rng.random()
    u, nth = cycles % 1, np.floor(cycles) - np.floor(cycles[0])
    step = rng.uniform(0.2, 0.35)
    ahead = step * (nth + through(u, [0, 0.38], [0, 1]))
    z = STANDING - 0.004 + through(u, [0, 0.3, 0.5, 0.7, 0.95], [0, -0.04, -0.03, 0.0, 0.0], 1)
    pelvis = np.stack([ahead, 0.03 + 0 * t, z], axis=-1)
    planted = step * (nth + through(u, [0.05, 0.32], [0, 1])) + 0.03
    lifted = ANKLE_HEIGHT + 0.06 * np.sin(np.pi * np.clip((u - 0.05) / 0.27, 0, 1))
    left = np.stack([planted, 0.05 + 0 * t, lifted], axis=-1)
    power = rng.uniform(0.8, 1.15)
    keys = [[-0.02, 0.0], [-0.18, 0.03], [-0.42 * power, 0.2], [0.16, 0.02], [0.46 * power, 0.28 * power], [0.15, 0.06]]
    kick = through(u, [0, 0.18, 0.36, 0.5, 0.66, 0.86], keys, 1)
    right = np.stack([ahead + kick[:, 0], -0.06 + 0 * t, ANKLE_HEIGHT + kick[:, 1].clip(0)], axis=-1)
    arm = through(
        u, [0, 0.36, 0.62, 0.9], [[0.1, 0.2, -0.9], [0.5, 0.55, -0.55], [-0.5, 0.5, -0.6], [0.0, 0.2, -0.9]], 1
    )
    other = through(u, [0, 0.36, 0.62, 0.9], [[0, 0.2, -0.9], [-0.5, 0.6, -0.5], [0.5, 0.5, -0.6], [0.1, 0.2, -0.9]], 1)
    flown = np.maximum(0, u - 0.5) * period
    far = step * (nth + 1) + 0.25 + rng.uniform(2, 3.5) * flown
    height = np.maximum(0.055, 0.055 + rng.uniform(0.3, 1.8) * flown - 2.8 * flown**2)
    ball = Prop("ball", np.stack([far, -0.06 + 0 * t, height], axis=-1)[:, None], 0.055, _ball_colour(rng))
    lean = through(u, [0, 0.36, 0.55, 0.7], [0.1, 0.05, 0.2, -0.12], 1)
    twist = through(u, [0, 0.36, 0.62], [0, -0.3, 0.35], 1)
    return replace(
        rest, pelvis=pelvis, feet=np.stack([left, right], 1), hands=np.stack([arm, other], 1), lean=lean, twist=twist,
        nod=0.2 + 0 * t, toes=np.stack([0 * t, 0.9 * np.minimum(1, 4 * kick[:, 1].clip(0))], 1), props=(ball,),
    )  # fmt: skip


def throw(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Throw a ball overhand: reach back, step, whip the arm forward."""
    rest = at_rest(t, rng)
    period = rng.uniform(1.2, 1.7)
    u = (t / period + rng.random()) % 1
    keys = [
        [0.5, 0.0, -0.25],
        [-0.45, 0.6, 0.1],
        [-0.4, 0.5, 0.55],
        [0.15, 0.4, 0.9],
        [0.8, 0.1, 0.5],
        [0.45, -0.4, -0.7],
    ]
    hand = through(u, [0, 0.25, 0.36, 0.46, 0.53, 0.68], keys, 1)
    front = through(u, [0, 0.25, 0.4, 0.55, 0.75], [[0.5, 0, -0.25], [0.9, 0.2, 0.2], [0.7, 0.4, 0], [-0.1, 0.4, -0.6],
                                                    [0.1, 0.2, -0.8]], 1)  # fmt: skip
    twist = through(u, [0, 0.3, 0.5, 0.7], [0, -0.9, 0.3, 0.7], 1)
    stride = rng.uniform(0.16, 0.32)
    left_x = through(u, [0, 0.2, 0.4, 0.8], [0.03, 0.03, stride, stride], 1)
    left_z = through(u, [0, 0.2, 0.29, 0.4, 0.8], [0, 0, 0.14, 0, 0], 1).clip(0)
    left = np.stack([left_x, 0.06 + 0 * t, ANKLE_HEIGHT + left_z], axis=-1)
    right = np.broadcast_to([-0.08, -0.06, ANKLE_HEIGHT], (len(t), 3))
    x = through(u, [0, 0.3, 0.5, 0.7], [0, -0.06, 0.12, 0.16], 1)
    pelvis = np.stack([x, 0 * t, STANDING - 0.03 - 0.25 * (left_x - 0.03)], axis=-1)
    released = np.maximum(0, u - 0.52) * period
    path = np.stack([0.45 + 4.0 * released, -0.1 + 0 * t, 0.98 + 0.9 * released - 2.8 * released**2], axis=-1)
    held = u < 0.52
    radius = rng.uniform(0.02, 0.035)
    spot = np.where(held[:, None], [0.0, 0.0, 0.02], path)[:, None]
    ball = Prop("ball", spot, radius, _ball_colour(rng), held=held)
    return replace(
        rest, pelvis=pelvis, feet=np.stack([left, right], 1), hands=np.stack([front, hand], 1), twist=twist,
        turn=0.45 * twist, lean=through(u, [0, 0.3, 0.5, 0.68], [0.05, -0.15, 0.15, 0.5], 1), props=(ball,),
        elbows=mirrored_pair([-0.4, 0.8, -0.6], [-0.6, 1.0, 0.1], len(t)),
    )  # fmt: skip


def catch(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Raise both hands to a ball that comes flying and draw it to the chest."""
    rest = at_rest(t, rng, 0.1)
    period = rng.uniform(1.1, 1.6)
    u = (t / period + rng.random()) % 1
    high = rng.uniform(-0.1, 0.65)
    reach = through(
        u, [0, 0.3, 0.48, 0.7], [[0.4, 0, -0.5], [0.65, 0, 0.7 * high], [0.8, 0, high], [0.45, 0, -0.35]], 1
    )
    radius = rng.uniform(0.03, 0.055)
    coming = np.maximum(0, 0.5 - u) * period
    path = np.stack([0.38 + 4 * coming, 0 * t, 0.8 + 0.3 * high + 1.2 * coming - 2.8 * coming**2], axis=-1)
    held = u >= 0.5
    spot = np.where(held[:, None], [0.03, 0.04, 0.0], path)[:, None]
    ball = Prop("ball", spot, radius, _ball_colour(rng), held=held)
    dip = through(u, [0, 0.35, 0.55, 0.8], [-0.02, -0.06, -0.03, -0.02], 1)
    elbows = mirrored_pair([-0.2, 0.9, -0.9], [-0.2, 0.9, -0.9], len(t))
    return replace(
        rest, pelvis=rest.pelvis + np.stack([0 * t, 0 * t, dip], -1), hands=grip(reach, len(t), 0.1), elbows=elbows,
        lean=0.12 + 0 * t, props=(ball,),
    )  # fmt: skip


def shoot_ball(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Shoot a basketball: from the chest up over the head, on the toes or with a jump."""
    rest = at_rest(t, rng)
    period = rng.uniform(1.2, 1.7)
    u = (t / period + rng.random()) % 1
    keys = [[0.5, 0, -0.4], [0.5, 0, -0.35], [0.4, 0, 0.55], [0.55, 0, 0.9], [0.6, 0, 0.75], [0.5, 0, -0.1]]
    hands = grip(through(u, [0, 0.2, 0.4, 0.52, 0.65, 0.85], keys, 1), len(t), 0.1)
    flight = np.clip((u - 0.36) / 0.34, 0, 1)
    rise = (0.0 if rng.random() < 0.3 else rng.uniform(0.04, 0.15)) * 4 * flight * (1 - flight)
    dip = through(u, [0, 0.22, 0.38, 0.7, 0.8], [-0.01, -0.09, 0, 0, -0.05], 1)
    lift = np.stack([0 * t, 0 * t, rise], axis=-1)
    thrown = np.maximum(0, u - 0.52) * period
    path = np.stack([0.25 + 1.5 * thrown, 0 * t, 1.25 + 2.2 * thrown - 2.8 * thrown**2], axis=-1)
    held = u < 0.52
    spot = np.where(held[:, None], [0.03, 0.03, 0.04], path)[:, None]
    ball = Prop("ball", spot, 0.065, (205, 105, 50), held=held)
    return replace(
        rest, pelvis=rest.pelvis + lift + np.stack([0 * t, 0 * t, dip], -1), feet=rest.feet + lift[:, None],
        hands=hands, toes=np.repeat(0.6 * np.sin(np.pi * flight)[:, None], 2, 1), nod=-0.2 + 0 * t, props=(ball,),
        elbows=mirrored_pair([0.3, 0.8, -0.9], [0.3, 0.8, -0.9], len(t)),
    )  # fmt: skip


def _swing(
    t: Float64Array, rng: np.random.Generator, at: list[float], club: list[list[float]], body: list[list[float]],
    tool: Prop,
) -> Motion:  # fmt: skip
    """A two-handed swing; `body` rows are hands x, y, z, then turn, twist and lean, `club` the tool's direction."""
    period = rng.uniform(1.3, 1.9)
    u = (t / period + rng.random()) % 1
    rest = at_rest(t, rng, 0.12)
    rows = through(u, at, body, 1)
    along = through(u, at, club, 1)
    along /= np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-6)
    length = tool.points[0, 1, 2]
    stick = replace(tool, points=np.stack([-0.05 * along, length * along], axis=1), held=t > -1)
    elbows = mirrored_pair([-0.3, 0.9, -0.8], [-0.3, 0.9, -0.8], len(t))
    return replace(
        rest, pelvis=rest.pelvis - [0.03, 0, 0.035], hands=grip(rows[:, :3], len(t), 0.03), elbows=elbows,
        turn=rows[:, 3], twist=rows[:, 4], lean=rows[:, 5], nod=0.2 + 0 * t, props=(stick,),
    )  # fmt: skip


def swing_baseball(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Swing a bat flat from behind the right shoulder round to the left."""
    club = [
        [-0.3, -0.5, 0.9],
        [-0.6, -0.5, 0.7],
        [0.6, -0.9, 0.1],
        [0.9, 0.7, 0.05],
        [-0.4, 0.9, 0.5],
        [-0.3, 0.2, 0.9],
    ]
    body = [
        [0.35, -0.45, 0.15, 0.0, -0.3, 0.15],
        [0.2, -0.6, 0.2, -0.1, -0.6, 0.15],
        [0.65, -0.3, -0.15, 0.3, 0.0, 0.2],
        [0.75, 0.2, -0.1, 0.5, 0.5, 0.15],
        [0.35, 0.6, 0.25, 0.7, 0.8, 0.05],
        [0.4, 0.0, 0.1, 0.3, 0.2, 0.1],
    ]
    tool = Prop("stick", np.array([[[0, 0, 0], [0, 0, 0.42]]]), 0.016, (175, 135, 90))
    return _swing(t, rng, [0, 0.3, 0.42, 0.5, 0.62, 0.82], club, body, tool)


def golf(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Swing a club from the ball up behind the right shoulder, down and through."""
    club = [
        [0.5, 0, -0.9],
        [0.5, -0.2, -0.9],
        [-0.2, 0.3, 0.9],
        [0.5, -0.6, -0.7],
        [0.5, 0, -0.9],
        [0.4, 0.9, 0.1],
        [-0.5, -0.4, 0.6],
    ]
    body = [
        [0.6, 0.0, -0.75, 0.0, 0.0, 0.5],
        [0.6, 0.0, -0.75, 0.0, 0.0, 0.5],
        [0.3, -0.65, 0.4, -0.4, -0.9, 0.4],
        [0.6, -0.3, -0.6, 0.0, -0.3, 0.45],
        [0.6, 0.05, -0.75, 0.15, 0.1, 0.45],
        [0.6, 0.5, -0.1, 0.4, 0.5, 0.35],
        [0.3, 0.6, 0.45, 0.7, 0.8, 0.1],
    ]
    tool = Prop("stick", np.array([[[0, 0, 0], [0, 0, 0.5]]]), 0.007, (60, 60, 65))
    return _swing(t, rng, [0, 0.15, 0.42, 0.53, 0.58, 0.66, 0.8], club, body, tool)


def shoot_gun(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Aim a pistol with both arms straight, jerking at each shot."""
    rest = at_rest(t, rng, 0.1)
    kick = np.exp(-7 * ((rng.uniform(0.8, 1.8) * t + rng.random()) % 1))
    aim = np.array([0.88, 0, rng.uniform(0.02, 0.25)]) + np.stack([-0.06 * kick, 0 * t, 0.16 * kick], axis=-1)
    tilt = 0.4 * kick
    muzzle = 0.085 * np.stack([np.cos(tilt), 0 * t, np.sin(tilt)], axis=-1)
    barrel = np.stack([0 * muzzle, muzzle], axis=1) + 0.02
    gun = Prop("stick", barrel, 0.01, (30, 30, 32), held=t > -1)
    elbows = mirrored_pair([-0.1, 0.9, -0.6], [-0.1, 0.9, -0.6], len(t))
    return replace(rest, hands=grip(aim, len(t), 0.04), elbows=elbows, lean=0.1 - 0.06 * kick, props=(gun,))


def shoot_bow(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Stand sideways, left arm out with the bow, draw the string to the cheek and let go."""
    rest = at_rest(t, rng, 0.12)
    u = (t / rng.uniform(1.8, 2.8) + rng.random()) % 1
    draw = through(u, [0, 0.1, 0.55, 0.78, 0.84, 0.95], [0, 0, 1, 1, 0.9, 0.1], 1)
    bow_arm = mirrored_pair([0.12, 0.95, 0.12], [0.12, 0.95, 0.12], len(t))[:, LEFT]
    string = np.stack([0.55 - 0.35 * draw, -0.95 + 1.05 * draw, 0.1 + 0.12 * draw], axis=-1)
    elbows = mirrored_pair([-0.2, 0.3, -1], [-0.3, 1.0, 0.25], len(t))
    arc = np.linspace(-1, 1, 7)
    bend = np.stack([0 * arc, 0.06 - 0.1 * arc**2, 0.3 * arc], axis=-1)
    wood = tuple(
        Prop("stick", bend[None, k : k + 2], 0.008, (95, 60, 35), hand=LEFT, held=t > -1) for k in range(len(arc) - 1)
    )
    return replace(rest, hands=np.stack([bow_arm, string], 1), elbows=elbows, lean=0 * t, nod=0 * t, props=wood)


def pullup(t: Float64Array, rng: np.random.Generator) -> Motion:
    """Hang on a bar and pull the chin over it, again and again."""
    rest = at_rest(t, rng)
    up = 0.5 - 0.5 * np.cos(2 * np.pi * (rng.uniform(0.4, 0.75) * t + rng.random()))
    bar = rng.uniform(1.25, 1.4)
    low = bar - 0.97 * ARM - TORSO
    swing = 0.02 * np.sin(2 * np.pi * rng.uniform(0.4, 0.7) * t)
    z = low + rng.uniform(0.2, 0.27) * up
    pelvis = np.stack([-0.03 * up + swing, 0 * t, z], axis=-1)
    wide = rng.uniform(0.1, 0.5)
    hand = np.stack([0.12 * up, wide + 0 * t, (bar - z - TORSO) / ARM + 0.02], axis=-1)
    bent = rng.uniform(0, 0.3)
    drop = np.stack([-bent + 0.04 * up + swing, 0 * t, -0.455 + 0.8 * bent**1.5 + 0 * t], axis=-1)
    feet = (pelvis + drop)[:, None] + np.array([[0, 0.035, 0], [0, -0.035, 0]])
    grey = int(rng.integers(40, 150))
    reach = rng.uniform(0.5, 0.9)
    rod = Prop("stick", np.array([[[0.02, -reach, bar], [0.02, reach, bar]]]), 0.012, (grey, grey, grey), behind=True)
    posts = tuple(
        Prop("stick", np.array([[[0.02, y, 0], [0.02, y, bar]]]), 0.017, (grey, grey, grey), behind=True)
        for y in (-reach, reach)
    )
    return replace(
        rest, pelvis=pelvis, feet=feet, hands=np.stack([hand, hand], 1), lean=0.02 - 0.1 * up, nod=-0.25 + 0 * t,
        elbows=mirrored_pair([-0.3, 1, -0.6], [-0.3, 1, -0.6], len(t)), toes=np.full((len(t), 2), 0.9),
        props=(rod, *posts),
    )  # fmt: skip
