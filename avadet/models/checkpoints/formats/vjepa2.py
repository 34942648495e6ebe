"""V-JEPA 2 checkpoints: what their tensors are called here.

Two namings are known: that of transformers, in which the weights are published as safetensors, and that of the
authors' own files. Both hold the pre-trained encoder beside its predictor, those of transformers perhaps a classifier
of whole clips, which has layers of attention of its own and no place here: all of them are for starting a training.
"""

from __future__ import annotations

VJEPA2_MARKER = r"^(vjepa2\.)?encoder\.layer\.0\.attention\.query\.weight$"
"""A regular expression that matches a name of every checkpoint of transformers."""

VJEPA2_RULES = (
    (r"^(vjepa2\.)?encoder\.", "backbone."),
    (r"^backbone\.embeddings\.patch_embeddings\.proj\.", "backbone.patches."),
    (r"^backbone\.layer\.", "backbone.blocks."),
    (r"^backbone\.layernorm\.", "backbone.norm."),
    (r"\.attention\.([qkv])(uery|ey|alue)\.", r".attn.\1."),
    (r"\.attention\.proj\.", ".attn.proj."),
)
"""(regular expression, replacement) pairs, applied in order to every name; queries, keys and values are then to be
joined by `mvit_layout.join_qkv`."""

VJEPA2_NO_WEIGHT = r"^(vjepa2\.)?predictor\.|^pooler\.|^classifier\."
"""A regular expression of names that stand for nothing here: the half that guesses, and the classifier of clips."""

VJEPA2_AUTHORS_MARKER = r"^backbone\.patch_embed\.proj\.weight$"
"""As `VJEPA2_MARKER`, for files of the authors."""

VJEPA2_AUTHORS_RULES = ((r"^backbone\.patch_embed\.proj\.", "backbone.patches."),)
"""As `VJEPA2_RULES`, for files of the authors."""

VJEPA2_AUTHORS_NO_WEIGHT = r"^backbone\.pos_embed$"
"""As `VJEPA2_NO_WEIGHT`, for files of the authors: a table that nothing reads, for queries and keys turn instead."""
