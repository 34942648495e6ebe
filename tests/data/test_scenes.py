"""Rendered training clips: shapes, and only the actions that were asked for."""

import numpy as np
import pytest

from avadet.data.scenes import SceneClips
from avadet.errors import AvadetError
from avadet.labels import read_label_map
from avadet.types import ClipSpec

LABELS = read_label_map("jhmdb21")
SPEC = ClipSpec(num_frames=4, stride=2, fps=30, short_side=96, mean=(0, 0, 0), std=(1, 1, 1))


def test_only_chosen_actions_are_drawn() -> None:
    scenes = SceneClips(LABELS, ["walk", "wave"])
    samples = [scenes(np.random.default_rng(seed), SPEC, (96, 128)) for seed in range(12)]
    assert all(sample.frames.shape == (4, 96, 128, 3) for sample in samples)
    assert all(len(sample.boxes_px) == len(sample.labels) for sample in samples)
    drawn = np.concatenate([sample.labels for sample in samples]).argmax(axis=1)
    assert {LABELS.names[row] for row in drawn} == {"walk", "wave"}


def test_unknown_action_is_named() -> None:
    with pytest.raises(AvadetError, match=r"unknown action in .* 'wlak'; did you mean walk"):
        SceneClips(LABELS, ["wlak"])
