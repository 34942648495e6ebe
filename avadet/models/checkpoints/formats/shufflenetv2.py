"""Checkpoints of ShuffleNetV2's authors, which classify images; they start the tiny families."""

from __future__ import annotations

from avadet.models.checkpoints.formats.format import IMAGES, CheckpointFormat

SHUFFLENET = CheckpointFormat("shufflenetv2", r"^first_conv\.0\.weight$", classifies=IMAGES)

FORMATS = (SHUFFLENET,)
