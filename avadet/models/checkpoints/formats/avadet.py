"""Checkpoints of avadet itself."""

from __future__ import annotations

from avadet.models.checkpoints.formats.format import CheckpointFormat, Defaults
from avadet.models.checkpoints.formats.resnets import infer_resnet

AVADET = CheckpointFormat(
    "avadet",
    r"^(\w+\.)?head\.proj\.weight$|^of_appearance\.weight$",
    companion=r"^(\w+\.)*backbone\.",  # others have a backbone or a classifier of the same name, but not both
    rules=((r"^appearance\.trunk\.", "appearance.backbone."),),  # the name in stored files
    defaults=Defaults(boxes="exact"),
    infer=infer_resnet,
)

FORMATS = (AVADET,)
