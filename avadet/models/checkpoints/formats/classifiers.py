"""Checkpoints that classify whole clips or pictures: torchvision's, transformers', pytorchvideo's X3D, mmaction2's C3D.

A detector's training starts from them. Those of whole clips have the backbone of a model here, under other names; those
of pictures have no time, and `image_start` makes video of them.
"""

from __future__ import annotations

from avadet.models.checkpoints.formats.layout import Layout
from avadet.models.checkpoints.formats.mvit import join_qkv

CLIPS, PICTURES = "whole clips", "pictures"

X3D = Layout(
    "pytorchvideo x3d",
    r"^blocks\.0\.conv\.conv_xy\.weight$",
    (
        (r"^blocks\.5\.pool\.pre_(conv|norm)\.", r"backbone.conv5.\1."),
        (r"^blocks\.5\.proj\.", "head.proj."),
        (r"^blocks\.0\.", "backbone.stem."),
        *((rf"^blocks\.{number}\.res_blocks\.", f"backbone.res{number + 1}.") for number in (1, 2, 3, 4)),
    ),
    no_weight=r"^blocks\.5\.pool\.post_conv\.",  # behind the pooling, it belongs to the classifier
    classifies=CLIPS,
)

R3D = Layout(
    "torchvision r3d",
    r"^stem\.0\.weight$",
    ((r"^fc\.", "head.proj."), (r"^(?=stem\.|layer\d\.)", "backbone.")),
    classifies=CLIPS,
)

S3D = Layout(
    "torchvision s3d",
    r"^features\.0\.0\.0\.weight$",
    ((r"^classifier\.1\.", "head.proj."), (r"^(?=features\.)", "backbone.")),
    classifies=CLIPS,
)

SWIN3D = Layout(
    "torchvision swin3d",
    r"^features\.0\.0\.attn\.relative_position_bias_table$",
    ((r"^head\.", "head.proj."), (r"^(?=patch_embed\.|features\.|norm\.)", "backbone.")),
    classifies=CLIPS,
)

TORCHVISION_MVIT = Layout(
    "torchvision mvit",
    r"^pos_encoding\.class_token$",
    (
        (r"^head\.1\.", "head.proj."),
        (r"^conv_proj\.", "backbone.patches."),
        (r"^pos_encoding\.class_token$", "backbone.cls_token"),
        (r"^pos_encoding\.(class|spatial|temporal)_pos$", r"backbone.positions.\1"),
        (r"\.positions\.class$", ".positions.cls"),
        (r"^(?=blocks\.|norm\.)", "backbone."),
        (r"\.attn\.project\.0\.", ".attn.proj."),
        (r"\.pool_([qkv])\.pool\.", r".pool_\1.conv."),
        (r"\.pool_([qkv])\.norm_act\.0\.", r".pool_\1.norm."),
        (r"\.attn\.rel_pos_([thw])$", r".attn.positions.\1"),
        (r"(blocks\.\d+)\.project\.", r"\1.widen."),
    ),
    new_axes=(
        (r"^backbone\.(cls_token|positions\.\w+)$", 0),
        (r"^backbone\.(cls_token|positions\.cls)$", 0),
    ),
    classifies=CLIPS,
)

_TRANSFORMERS = (
    (r"^classifier\.", "head.proj."),
    (r"^(vivit|timesformer|videomae)\.", "backbone."),
    (r"\.embeddings\.patch_embeddings\.projection\.", ".patches."),
    (r"\.embeddings\.position_embeddings$", ".positions.table"),
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
"""Of old and new releases: checkpoints keep the names of the release that wrote them."""

VIVIT = Layout(
    "transformers vivit", r"^vivit\.embeddings\.cls_token$", _TRANSFORMERS, finish=join_qkv, classifies=CLIPS
)

TIMESFORMER = Layout(
    "transformers timesformer",
    r"^timesformer\.embeddings\.cls_token$",
    _TRANSFORMERS,
    new_axes=((r"^backbone\.patches\.weight$", 2),),
    classifies=CLIPS,
)

TRANSFORMERS_VIDEOMAE = Layout(
    "transformers videomae",
    r"^videomae\.embeddings\.",
    (
        *_TRANSFORMERS,
        (r"\.attn\.([qv])\.bias$", r".attn.\1_bias"),
        (r"^fc_norm\.", "backbone.norm."),
    ),
    no_weight=r"^decoder\.|^encoder_to_decoder\.|^mask_token$|position_embeddings$",
    finish=join_qkv,
    classifies=CLIPS,
)

MMACTION_C3D = Layout(
    "mmaction2 c3d",
    r"^(backbone\.)?conv1a\.conv\.weight$",  # without the prefix where a classifier is still to be trained
    tuple(
        (rf"^(backbone\.)?conv{group}([ab])\.conv\.", rf"backbone.groups.{group - 1}.conv{group}\2.")
        for group in range(1, 6)
    ),
    no_weight=r"^(backbone\.)?fc[678]\.|^cls_head\.",  # they take one small fixed frame
    classifies=CLIPS,
)

RESNET = Layout("torchvision resnet", r"^layer1\.0\.bn1\.running_mean$", (), r"^fc\.", classifies=PICTURES)

GOOGLENET = Layout(
    "torchvision googlenet", r"^inception3a\.branch1\.conv\.weight$", (), r"^fc\.|^aux\d\.", classifies=PICTURES
)

VIT = Layout("torchvision vit", r"^encoder\.pos_embedding$", (), r"^heads\.", classifies=PICTURES)

SHUFFLENET = Layout("shufflenetv2", r"^first_conv\.0\.weight$", (), classifies=PICTURES)
"""Of the authors; what starts the tiny families."""

CLASSIFIERS = (
    *(X3D, TORCHVISION_MVIT, SWIN3D, S3D, R3D, MMACTION_C3D),
    *(VIVIT, TIMESFORMER, TRANSFORMERS_VIDEOMAE, RESNET, GOOGLENET, VIT, SHUFFLENET),
)
