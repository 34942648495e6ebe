"""Checkpoints of torchvision, which classify whole clips or images.

A detector's training starts from them. Those of whole clips have the backbone of a model here, under other names; those
of images have no time, and keep their own names until `image_start` makes video of them.
"""

from __future__ import annotations

from avadet.models.checkpoints.formats.format import CLIPS, IMAGES, CheckpointFormat

R3D = CheckpointFormat(
    "torchvision r3d",
    r"^stem\.0\.weight$",
    ((r"^fc\.", "head.proj."), (r"^(?=stem\.|layer\d\.)", "backbone.")),
    classifies=CLIPS,
)

S3D = CheckpointFormat(
    "torchvision s3d",
    r"^features\.0\.0\.0\.weight$",
    ((r"^classifier\.1\.", "head.proj."), (r"^(?=features\.)", "backbone.")),
    classifies=CLIPS,
)

SWIN3D = CheckpointFormat(
    "torchvision swin3d",
    r"^features\.0\.0\.attn\.relative_position_bias_table$",
    ((r"^head\.", "head.proj."), (r"^(?=patch_embed\.|features\.|norm\.)", "backbone.")),
    classifies=CLIPS,
)

TORCHVISION_MVIT = CheckpointFormat(
    "torchvision mvit",
    r"^pos_encoding\.class_token$",
    (
        (r"^head\.1\.", "head.proj."),
        (r"^conv_proj\.", "backbone.patch_embed."),
        (r"^pos_encoding\.class_token$", "backbone.cls_token"),
        (r"^pos_encoding\.(class|spatial|temporal)_pos$", r"backbone.pos_embed.\1"),
        (r"\.pos_embed\.class$", ".pos_embed.cls"),
        (r"^(?=blocks\.|norm\.)", "backbone."),
        (r"\.attn\.project\.0\.", ".attn.proj."),
        (r"\.pool_([qkv])\.pool\.", r".pool_\1.conv."),
        (r"\.pool_([qkv])\.norm_act\.0\.", r".pool_\1.norm."),
        (r"\.attn\.rel_pos_([thw])$", r".attn.rel_pos.\1"),
        (r"(blocks\.\d+)\.project\.", r"\1.proj."),
    ),
    new_axes=(
        (r"^backbone\.(cls_token|pos_embed\.\w+)$", 0),
        (r"^backbone\.(cls_token|pos_embed\.cls)$", 0),
    ),
    classifies=CLIPS,
)

RESNET = CheckpointFormat("torchvision resnet", r"^layer1\.0\.bn1\.running_mean$", ignore=r"^fc\.", classifies=IMAGES)

GOOGLENET = CheckpointFormat(
    "torchvision googlenet", r"^inception3a\.branch1\.conv\.weight$", ignore=r"^fc\.|^aux\d\.", classifies=IMAGES
)

VIT = CheckpointFormat("torchvision vit", r"^encoder\.pos_embedding$", ignore=r"^heads\.", classifies=IMAGES)

FORMATS = (TORCHVISION_MVIT, SWIN3D, S3D, R3D, RESNET, GOOGLENET, VIT)
