"""Checkpoints of transformers, in the names of old and new releases: a file keeps those of the one that wrote it.

All of them only start a training: they classify whole clips, or hold a pre-trained encoder.
"""

from __future__ import annotations

from avadet.models.checkpoints.formats.format import CLIPS, CheckpointFormat
from avadet.models.checkpoints.formats.vit import join_qkv

_RULES = (
    (r"^classifier\.", "head.proj."),
    (r"^(vivit|timesformer|videomae)\.", "backbone."),
    (r"\.embeddings\.patch_embeddings\.projection\.", ".patch_embed."),
    (r"\.embeddings\.position_embeddings$", ".pos_embed.table"),
    (r"\.embeddings\.time_embeddings$", ".times.table"),
    (r"\.embeddings\.cls_token$", ".cls_token"),
    (r"^backbone\.(encoder\.layer|layers)\.", "backbone.blocks."),
    (r"\.temporal_attention\.attention\.", ".temporal_attn."),
    (r"\.temporal_attention\.output\.dense\.", ".temporal_attn.proj."),
    (r"\.temporal_layernorm\.", ".temporal_norm."),
    (r"\.temporal_dense\.", ".temporal_fc."),
    (r"\.attention\.attention\.", ".attn."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.attention\.o_proj\.", ".attn.proj."),
    (r"\.attention\.([qkv])_proj\.", r".attn.\1."),
    (r"\.attn\.(q|k|v)(?:uery|ey|alue)\.", r".attn.\1."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"^backbone\.layernorm\.", "backbone.norm."),
)

VIVIT = CheckpointFormat(
    "transformers vivit", r"^vivit\.embeddings\.cls_token$", _RULES, finish=join_qkv, classifies=CLIPS
)

TIMESFORMER = CheckpointFormat(
    "transformers timesformer",
    r"^timesformer\.embeddings\.cls_token$",
    _RULES,
    new_axes=((r"^backbone\.patch_embed\.weight$", 2),),
    classifies=CLIPS,
)

TRANSFORMERS_VIDEOMAE = CheckpointFormat(
    "transformers videomae",
    r"^videomae\.embeddings\.",
    (*_RULES, (r"\.attn\.([qv])\.bias$", r".attn.\1_bias"), (r"^fc_norm\.", "backbone.norm.")),
    ignore=r"^decoder\.|^encoder_to_decoder\.|^mask_token$|position_embeddings$",
    finish=join_qkv,
    classifies=CLIPS,
)

TRANSFORMERS_VJEPA2 = CheckpointFormat(
    "transformers v-jepa 2",
    r"^(vjepa2\.)?encoder\.layer\.0\.attention\.query\.weight$",
    (
        (r"^(vjepa2\.)?encoder\.", "backbone."),
        (r"^backbone\.embeddings\.patch_embeddings\.proj\.", "backbone.patch_embed."),
        (r"^backbone\.layer\.", "backbone.blocks."),
        (r"^backbone\.layernorm\.", "backbone.norm."),
        (r"\.attention\.([qkv])(uery|ey|alue)\.", r".attn.\1."),
        (r"\.attention\.proj\.", ".attn.proj."),
    ),
    # The half that guesses, and perhaps a classifier of clips, which has layers of attention of its own.
    ignore=r"^(vjepa2\.)?predictor\.|^pooler\.|^classifier\.",
    finish=join_qkv,
)

FORMATS = (VIVIT, TIMESFORMER, TRANSFORMERS_VIDEOMAE, TRANSFORMERS_VJEPA2)
