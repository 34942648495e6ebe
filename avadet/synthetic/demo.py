"""The demo clip: three persons, each doing one thing, before a calm wall; always the same."""

from __future__ import annotations

import numpy as np

from avadet.synthetic.backdrop import clouds, ramp
from avadet.synthetic.camera import Camera, View, backdrop_hw
from avadet.synthetic.scene import SyntheticClip, make_person, render

SIZE_HW = (480, 640)
FPS = 30.0
NUM_FRAMES = 180
HORIZON_PX = (320.0, 60.0)
WALL_FOOT = 150
CAST = (
    ("walk", 25, View(0.5 * np.pi, 155.0, (36.0, 218.0), HORIZON_PX, 12.0)),
    ("wave", 1, View(0.1, 200.0, (165.0, 468.0), HORIZON_PX, 9.0)),
    ("jump", 12, View(-0.7, 175.0, (480.0, 462.0), HORIZON_PX, 9.0)),
)
"""Who is in it: action, seed of body and clothes, place."""


def demo_clip(num_frames: int = NUM_FRAMES) -> SyntheticClip:
    """Render the demo clip (640x480, 30 fps, 6 s), or its first frames: one walks past, one waves, one jumps."""
    height, width = SIZE_HW
    stage = ramp(SIZE_HW, (198, 204, 206), (216, 216, 210))
    stage[WALL_FOOT:] = ramp((height - WALL_FOOT, width), (150, 148, 142), (178, 174, 166))
    stage[WALL_FOOT - 5 : WALL_FOOT] = (120, 116, 110)
    stage = np.clip(stage + 5 * clouds(np.random.default_rng(1), SIZE_HW, 6, 5), 0, 255).astype(np.uint8)
    pads = [((large - small) // 2, (large - small + 1) // 2) for large, small in zip(backdrop_hw(SIZE_HW), SIZE_HW)]
    backdrop = np.pad(stage, [*pads, (0, 0)], mode="edge")
    warps = np.repeat(np.eye(2, 3)[None], num_frames, axis=0)
    camera = Camera(warps, np.ones((num_frames, 3)), 0.6, np.zeros((0, *SIZE_HW, 3), np.int16))
    t = np.arange(num_frames) / FPS
    persons = [make_person(np.random.default_rng(seed), action, t, view) for action, seed, view in CAST]
    return render(persons, backdrop, camera, SIZE_HW, FPS)
