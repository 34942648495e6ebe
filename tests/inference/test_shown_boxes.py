"""Where the pipeline tells a model that people are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from staged import SPEC, StagedPeople, staged_model

from avadet.inference.recognition import score_clips
from avadet.types import BoxRule, Clip


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # A frame of 90x130 px seen as 24x34: x by 34 / 130, y by 24 / 90 or, in the other rule, by 34 / 130 as well.
        ("exact", [[0, 13 * 34 / 130, 15 * 24 / 90, 65 * 34 / 130, 60 * 24 / 90], [0, 0, 0, 34, 24]]),
        ("pyslowfast", [[0, 13 * 34 / 130, 15 * 34 / 130, 65 * 34 / 130, 60 * 34 / 130], [0, 0, 0, 33, 23]]),
    ],
)
def test_the_pipeline_shows_boxes_as_the_model_knows_them(rule: BoxRule, expected: list[list[float]]) -> None:
    loaded = staged_model(spec=replace(SPEC, boxes=rule))
    people = StagedPeople([13, 15, 65, 60], [0, 0, 130, 90])(np.zeros((90, 130, 3), np.uint8))
    score_clips(loaded, [(Clip(np.zeros((4, 24, 34, 3), np.uint8), np.arange(4.0), 2), people)])
    np.testing.assert_allclose(loaded.model.rois[0], expected, atol=1e-5)
