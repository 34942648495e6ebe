"""What each action looks like: from moments in time to the motion of a body. Names are those of JHMDB-21.

Every action is a function of `t` (float64 (T,), seconds) and `rng`, which draws phase, speed and style. Actions
that repeat do so for ever; sitting down and standing up happen once and then rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from avadet.errors import unknown_name
from avadet.figures.gestures import brush_hair, clap, pour, wave
from avadet.figures.skeleton import Motion
from avadet.figures.sports import (
    catch,
    golf,
    kick_ball,
    pullup,
    shoot_ball,
    shoot_bow,
    shoot_gun,
    swing_baseball,
    throw,
)
from avadet.figures.steps import climb_stairs, jump, run, walk
from avadet.figures.whole_body import pick, push, sit, stand
from avadet.types import Float64Array

Action = Callable[[Float64Array, np.random.Generator], Motion]

ACTIONS: dict[str, Action] = {
    action.__name__: action
    for action in (
        brush_hair, catch, clap, climb_stairs, golf, jump, kick_ball, pick, pour, pullup, push, run, shoot_ball,
        shoot_bow, shoot_gun, sit, stand, swing_baseball, throw, walk, wave,
    )
}  # fmt: skip


def move(action: str, t: Float64Array, rng: np.random.Generator) -> Motion:
    """How a body moves that does `action`, left- or right-handed.

    Args:
        action: a JHMDB-21 class name.
        t: float64 (T,), seconds, increasing.
        rng: draws phase, speed and style.

    Raises:
        AvadetError: if the action is unknown.
    """
    if action not in ACTIONS:
        raise unknown_name("action", action, ACTIONS)
    motion = ACTIONS[action](t, rng)
    return _other_handed(motion) if rng.random() < 0.35 else motion


def _other_handed(motion: Motion) -> Motion:
    """The mirror image of a motion: left and right change places."""
    flip = np.array([1.0, -1, 1])
    props = tuple(replace(prop, points=prop.points * flip, hand=1 - prop.hand) for prop in motion.props)
    return replace(
        motion, pelvis=motion.pelvis * flip, feet=motion.feet[:, ::-1] * flip, hands=motion.hands[:, ::-1],
        elbows=motion.elbows[:, ::-1], roll=-motion.roll, turn=-motion.turn, twist=-motion.twist,
        toes=motion.toes[:, ::-1], props=props,
    )  # fmt: skip
