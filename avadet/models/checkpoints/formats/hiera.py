"""Hiera checkpoints of the authors: what their tensors are called here, and which model fits them.

Their files of video models hold either a classifier of Kinetics or the pre-trained encoder beside its decoder. Tensors
need no reordering, although the authors' tokens are in another order: no weight belongs to one place but for those of
positions, which are in the order of the picture.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from avadet.errors import AvadetError

HIERA_MARKER = r"^pos_embed_temporal$"
"""A regular expression that matches a name of every checkpoint of a video model, and of some MViT: look for these
first."""

HIERA_RULES = (
    (r"^head\.projection\.", "head.proj."),
    (r"^(?=patch_embed\.|pos_embed_|blocks\.|norm\.)", "backbone."),
    (r"\.patch_embed\.proj\.", ".patches."),
    (r"\.pos_embed_(spatial|temporal)$", r".positions.\1"),
    (r"(blocks\.\d+)\.proj\.", r"\1.widen."),
)
"""(regular expression, replacement) pairs, applied in order to every name."""

HIERA_NO_WEIGHT = r"^decoder_|^encoder_norm\.|^multi_scale_fusion_heads\.|^mask_token$"
"""A regular expression of names that stand for nothing here: the half that guesses pixels, and what feeds it."""

HEADS = {96: 1, 112: 2, 144: 2, 256: 4}
"""Of the first stage, by its channels, in the published sizes; others are taken to have 64 channels a head."""


def hiera_arguments(tensors: Mapping[str, Tensor], source: str) -> dict[str, Any]:
    """Arguments of `Hiera`, without those that only training asks for.

    Shapes tell all but the number of heads, which comes from the published sizes, and the maps: the classifier of
    these files sees the last one.

    Args:
        tensors: under the names they have here.
        source: the file, for messages.

    Raises:
        AvadetError: if this is no Hiera over video of square pictures.
    """
    patches = tensors.get("backbone.patches.weight")
    hidden = tensors.get("backbone.blocks.0.mlp.fc1.weight")
    tables = [tensors.get(f"backbone.positions.{kind}") for kind in ("temporal", "spatial")]
    if patches is None or patches.ndim != 5 or hidden is None or any(table is None for table in tables):
        raise AvadetError(f"{source}: not a Hiera over video: no tubelets, blocks or positions among its tensors")
    frames, places = (table.shape[1] for table in tables if table is not None)
    side = math.isqrt(places)
    if side**2 != places:
        raise AvadetError(f"{source}: a Hiera of {places} places a frame, expected a square number")
    channels = patches.shape[0]
    norms = [name for name in tensors if re.fullmatch(r"backbone\.blocks\.\d+\.norm2\.weight", name)]
    depth_of = Counter(len(tensors[name]) for name in norms)
    depths = [depth_of[width] for width in sorted(depth_of)]
    return {
        "channels": channels,
        "heads": HEADS.get(channels, max(channels // 64, 1)),
        "depths": depths,
        "mlp_ratio": hidden.shape[0] / channels,
        "grid": [frames, side, side],
        "maps": [len(depths)],
    }
