"""Checkpoints of VideoMAE's authors, and which VideoMAE fits tensors, those of mmaction2 as well.

A file holds either a classifier (`blocks.0...`, `fc_norm`, `head`) or the pre-trained encoder beside its decoder
(`encoder.blocks.0...`). Positions need no tensors: they are sines and cosines.
"""

from __future__ import annotations

from typing import Any

from avadet.models.checkpoints.formats.detector import detector_recipe
from avadet.models.checkpoints.formats.format import IMAGENET, CheckpointFormat, Defaults, Evidence, Recipe
from avadet.models.checkpoints.formats.vit import num_heads

TRAINED_ON = (16, 224, 224)
"""Frames, rows and columns (px) of the clips of all published models; a detector's clips may be larger."""

HEADS = {1280: 16, 1408: 16}
"""By channels, in the published sizes whose heads do not have 64 channels each."""


def videomae_arguments(found: Evidence) -> dict[str, Any]:
    """Arguments of `VideoMAE`, without those that only training asks for.

    Raises:
        AvadetError: if this is no encoder of VideoMAE.
    """
    patches = found.tensors.get("backbone.patch_embed.weight")
    hidden = found.numbered("backbone.blocks.{}.mlp.fc1.weight")
    if patches is None or patches.ndim != 5 or not hidden:
        raise found.error("not an encoder of VideoMAE: no tubelets or no blocks among its tensors")
    channels, tubelet = patches.shape[0], list(patches.shape[2:])
    return {
        "embed_dim": channels,
        "depth": len(hidden),
        "heads": num_heads(channels, HEADS),
        "mlp_ratio": hidden[0].shape[0] / channels,
        "tubelet": tubelet,
        "grid": [size // step for size, step in zip(TRAINED_ON, tubelet)],
    }


def infer_videomae(found: Evidence) -> Recipe:
    """A VideoMAE; raises AvadetError if it is none."""
    arguments = videomae_arguments(found)
    return detector_recipe(found, "videomae", arguments, arguments["embed_dim"], (16, 4, 256))


VIDEOMAE = CheckpointFormat(
    "videomae",
    r"^(encoder\.)?blocks\.0\.attn\.q_bias$",
    (
        (r"^head\.", "head.proj."),
        (r"^(encoder\.)?(?=patch_embed\.|blocks\.|norm\.|fc_norm\.)", "backbone."),
        (r"\.patch_embed\.proj\.", ".patch_embed."),
        (r"^backbone\.fc_norm\.", "backbone.norm."),
    ),
    ignore=r"^(encoder\.)?pos_embed$|^decoder\.|^encoder_to_decoder\.|^mask_token$",
    defaults=Defaults(aligned=True, boxes="exact", **IMAGENET),
    infer=infer_videomae,
)

FORMATS = (VIDEOMAE,)
