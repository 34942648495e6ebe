"""Training clips of rendered figures, with the same face as clips of real videos."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from avadet import boxes as box_math
from avadet.data.dataset import ClipSample
from avadet.errors import unknown_name
from avadet.synthetic.actions import ACTIONS
from avadet.synthetic.scene import random_scene
from avadet.types import ClipSpec, LabelMap


class SceneClips:
    """Draws rendered scenes and turns them into samples; their actions must be classes of the label map."""

    def __init__(self, labels: LabelMap, actions: Sequence[str] = (), most_people: int = 2) -> None:
        """Choose the classes.

        Args:
            labels: the classes, by JHMDB-21 names.
            actions: those that are drawn; empty = all of them.
            most_people: people in a scene, at most.

        Raises:
            AvadetError: if an action is not in the label map.
        """
        for name in actions:
            if name not in labels.names:
                raise unknown_name("action in data.figure_actions", name, labels.names)
        self._actions = tuple(actions) or tuple(name for name in ACTIONS if name in labels.names)
        self._row = {name: row for row, name in enumerate(labels.names)}
        self._most_people = most_people

    def __call__(self, rng: np.random.Generator, spec: ClipSpec, size_hw: tuple[int, int]) -> ClipSample:
        """A scene of `spec.num_frames` frames at the spec's pace, with the people visible at its keyframe."""
        scene = random_scene(
            rng, size_hw, spec.num_frames, spec.fps / spec.stride, (1, self._most_people), self._actions
        )
        key = spec.num_frames // 2
        shown = np.flatnonzero(scene.visible[key])
        labels = np.zeros((len(shown), len(self._row)), np.bool_)
        labels[np.arange(len(shown)), [self._row[scene.labels[person]] for person in shown]] = True
        return ClipSample(scene.frames, box_math.to_px(scene.boxes_norm[key][shown], size_hw), labels)
