"""Checkpoints of avadet itself."""

from __future__ import annotations

from avadet.models.checkpoints.formats.format import CheckpointFormat, Defaults
from avadet.models.checkpoints.formats.resnets import infer_resnet

AVADET = CheckpointFormat(
    "avadet",
    r"^(\w+\.)?head\.proj\.weight$|^of_appearance\.weight$",
    companion=r"^(\w+\.)*backbone\.",  # others have a backbone or a classifier of the same name, but not both
    rules=(  # from names of earlier versions
        (r"^appearance\.trunk\.", "appearance.backbone."),
        (r"(^|\.)patches\.", r"\1patch_embed."),
        (r"\.attn\.positions\.", ".attn.rel_pos."),
        (r"(^|\.)((?:temporal_|global_)?)positions\.", r"\1\2pos_embed."),
        (r"(blocks\.\d+)\.widen\.", r"\1.proj."),
    ),
    defaults=Defaults(boxes="exact"),
    infer=infer_resnet,
)

FORMATS = (AVADET,)
