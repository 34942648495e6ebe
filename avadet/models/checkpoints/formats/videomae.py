"""VideoMAE checkpoints: what their tensors are called here, and which model fits them.

Two namings are known: that of the authors, whose files hold either a classifier (`blocks.0...`, `fc_norm`, `head`) or
the pre-trained encoder beside its decoder (`encoder.blocks.0...`), and that of mmaction2, whose files hold detectors of
AVA's actions. Positions need no tensors: they are sines and cosines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from avadet.errors import AvadetError

VIDEOMAE_MARKER = r"^(encoder\.)?blocks\.0\.attn\.q_bias$"
"""A regular expression that matches some name of every checkpoint of the authors."""

VIDEOMAE_RULES = (
    (r"^head\.", "head.proj."),
    (r"^(encoder\.)?(?=patch_embed\.|blocks\.|norm\.|fc_norm\.)", "backbone."),
    (r"\.patch_embed\.proj\.", ".patches."),
    (r"^backbone\.fc_norm\.", "backbone.norm."),
)
"""(regular expression, replacement) pairs, applied in order to every name."""

VIDEOMAE_NO_WEIGHT = r"^(encoder\.)?pos_embed$|^decoder\.|^encoder_to_decoder\.|^mask_token$"
"""A regular expression of names that stand for nothing here: positions, and the half that guesses pixels."""

MMACTION_VIT_MARKER = r"^backbone\.blocks\.0\.attn\.q_bias$"
"""As `VIDEOMAE_MARKER`, for checkpoints of mmaction2."""

MMACTION_VIT_RULES = (
    (r"^roi_head\.bbox_head\.fc_cls\.", "head.proj."),
    (r"^backbone\.fc_norm\.", "backbone.norm."),
    (r"\.patch_embed\.projection\.", ".patches."),
    (r"\.mlp\.layers\.0\.0\.", ".mlp.fc1."),
    (r"\.mlp\.layers\.1\.", ".mlp.fc2."),
)
"""As `VIDEOMAE_RULES`, for checkpoints of mmaction2."""

MMACTION_VIT_NO_WEIGHT = r"^backbone\.pos_embed$|^cls_head\."
"""As `VIDEOMAE_NO_WEIGHT`, for checkpoints of mmaction2; `cls_head` classifies whole clips."""

TRAINED_ON = (16, 224, 224)
"""Frames, rows and columns (px) of the clips of all published models; a detector's clips may be larger."""

HEADS = {1280: 16, 1408: 16}
"""By channels; narrower models have heads of 64 channels each."""


def videomae_arguments(tensors: Mapping[str, Tensor], source: str) -> dict[str, Any]:
    """Arguments of `VideoMAE`, without those that only training asks for.

    Shapes tell all but the number of heads, which comes from the published sizes.

    Args:
        tensors: under the names they have here.
        source: the file, for messages.

    Raises:
        AvadetError: if this is no encoder of VideoMAE.
    """
    patches = tensors.get("backbone.patches.weight")
    hidden = tensors.get("backbone.blocks.0.mlp.fc1.weight")
    if patches is None or patches.ndim != 5 or hidden is None:
        raise AvadetError(f"{source}: not an encoder of VideoMAE: no tubelets or no blocks among its tensors")
    channels, tubelet = patches.shape[0], list(patches.shape[2:])
    numbers = {int(found[1]) for name in tensors if (found := re.match(r"backbone\.blocks\.(\d+)\.", name))}
    return {
        "channels": channels,
        "depth": len(numbers),
        "heads": HEADS.get(channels, max(channels // 64, 1)),
        "mlp_ratio": hidden.shape[0] / channels,
        "tubelet": tubelet,
        "grid": [size // step for size, step in zip(TRAINED_ON, tubelet)],
    }
