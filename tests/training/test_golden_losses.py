"""Training computes what it computed: a stored curve of losses on a data set without loss of pixels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from golden_run import STEPS, STORED, losses


def test_losses_are_those_that_are_stored(tmp_path: Path) -> None:
    """Steps add up rounding of the machine's own, gradients before losses."""
    stored, found = json.loads(STORED.read_text()), losses(tmp_path)
    assert len(found) == len(stored) == STEPS
    assert [step["loss"] for step in found] == pytest.approx([step["loss"] for step in stored], rel=1e-4)
    assert [step["grad_norm"] for step in found] == pytest.approx([step["grad_norm"] for step in stored], rel=1e-3)
