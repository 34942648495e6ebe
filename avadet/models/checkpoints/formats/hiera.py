"""Checkpoints of Hiera's authors.

A file of a video model holds either a classifier of Kinetics or the pre-trained encoder beside its decoder. Tensors
need no reordering, although the authors' tokens are in another order: no weight belongs to one place but for those of
positions, which are in the order of the image.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from avadet.models.checkpoints.formats.detector import detector_recipe
from avadet.models.checkpoints.formats.format import CheckpointFormat, Defaults, Evidence, Recipe
from avadet.models.checkpoints.formats.vit import num_heads

HEADS = {96: 1, 112: 2, 144: 2, 256: 4}
"""Of the first stage, by its channels, in the published sizes."""


def hiera_arguments(found: Evidence) -> dict[str, Any]:
    """Arguments of `Hiera`, without those that only training asks for; the classifier of these files sees the last map.

    Raises:
        AvadetError: if this is no Hiera over video of square images.
    """
    tensors = found.tensors
    patches = tensors.get("backbone.patch_embed.weight")
    hidden = tensors.get("backbone.blocks.0.mlp.fc1.weight")
    temporal, spatial = (tensors.get(f"backbone.pos_embed.{kind}") for kind in ("temporal", "spatial"))
    if patches is None or patches.ndim != 5 or hidden is None or temporal is None or spatial is None:
        raise found.error("not a Hiera over video: no tubelets, blocks or positions among its tensors")
    channels, places = patches.shape[0], spatial.shape[1]
    side = math.isqrt(places)
    if side**2 != places:
        raise found.error(f"a Hiera of {places} places a frame, expected a square number")
    depth_of = Counter(len(norm) for norm in found.numbered("backbone.blocks.{}.norm2.weight"))
    return {
        "embed_dim": channels,
        "heads": num_heads(channels, HEADS),
        "depths": [depth_of[width] for width in sorted(depth_of)],
        "mlp_ratio": hidden.shape[0] / channels,
        "grid": [temporal.shape[1], side, side],
        "maps": [len(depth_of)],
    }


def _infer(found: Evidence) -> Recipe:
    arguments = hiera_arguments(found)
    channels = arguments["embed_dim"] * 2 ** (arguments["maps"][0] - 1)
    return detector_recipe(found, "hiera", arguments, channels, (16, 4, 256))


HIERA = CheckpointFormat(
    "hiera",
    r"^pos_embed_temporal$",  # of some MViT too, which are to be looked for first
    (
        (r"^head\.projection\.", "head.proj."),
        (r"^(?=patch_embed\.|pos_embed_|blocks\.|norm\.)", "backbone."),
        (r"\.patch_embed\.proj\.", ".patch_embed."),
        (r"\.pos_embed_(spatial|temporal)$", r".pos_embed.\1"),
    ),
    # The half that guesses pixels, and what feeds it.
    ignore=r"^decoder_|^encoder_norm\.|^multi_scale_fusion_heads\.|^mask_token$",
    defaults=Defaults(aligned=True, boxes="exact"),
    infer=_infer,
)

FORMATS = (HIERA,)
