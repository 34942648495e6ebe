"""Step `figures`: windows of drawn people, who teach movement alone."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from avadet.boxes import to_px
from avadet.synthetic.scene import random_scene
from tiny_actions.persons import Person, Report, write_persons
from tiny_actions.sources import FIGURES
from tiny_actions.windows import NUM_FRAMES, WindowFiles, Windows

SCENES = 420
FIRST_SEED = 10_000
FPS = 7.5
SMALLEST_PX = 30
ACTIONS = ("walk", "run", "jump", "wave", "clap", "pick", "kick_ball", "walk", "wave", "jump")


def draw(scene: int, files: WindowFiles) -> list[Person]:
    """One scene of one to three people; those who are in sight in its middle."""
    actions = [ACTIONS[(scene * 3 + place) % len(ACTIONS)] for place in range(3)]
    size_hw = (240, 320) if scene % 2 else (288, 384)
    clip = random_scene(np.random.default_rng(FIRST_SEED + scene), size_hw, NUM_FRAMES, FPS, (1, 3), actions)
    middle, persons = NUM_FRAMES // 2, []
    for place in np.flatnonzero(clip.visible[middle]):
        box = [float(side) for side in to_px(clip.boxes_norm[middle], size_hw)[place]]
        if box[3] - box[1] < SMALLEST_PX:
            continue
        files.add(list(clip.frames), box)
        name = f"fig/{scene}"
        persons.append(Person(FIGURES.name, name, name, box, list(size_hw), seconds=0.0, label=clip.labels[place]))
    return persons


def run(work: Path, report: Report, scenes: int = SCENES) -> None:
    """Write `figures.jsonl`, `figures_crops.raw` and `figures_greys.raw`."""
    cv2.setNumThreads(1)
    goal = Windows(work, "figures")
    with goal.write() as files:
        persons = [person for scene in range(scenes) for person in draw(scene, files)]
    write_persons(goal.table_path, persons)
    report(f"figures: {len(persons)} taken from {scenes} scenes")
