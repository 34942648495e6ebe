"""Checkpoints of V-JEPA 2's authors: a pre-trained encoder, from which a training starts, beside its predictor."""

from __future__ import annotations

from avadet.models.checkpoints.formats.format import CheckpointFormat

VJEPA2 = CheckpointFormat(
    "v-jepa 2",
    r"^backbone\.patch_embed\.proj\.weight$",
    ((r"^backbone\.patch_embed\.proj\.", "backbone.patch_embed."),),
    ignore=r"^backbone\.pos_embed$",  # a table that nothing reads, for queries and keys turn instead
)

FORMATS = (VJEPA2,)
