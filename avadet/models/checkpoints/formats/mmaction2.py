"""Checkpoints of mmaction2: SlowOnly and SlowFast, CSN, C3D and ViT, and the configuration stored with them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from avadet.models.checkpoints.formats.format import CLIPS, IMAGENET, CheckpointFormat, Defaults, Tensors
from avadet.models.checkpoints.formats.resnets import infer_resnet
from avadet.models.checkpoints.formats.videomae import infer_videomae

CSN_EPSILON, EPSILON = 1e-3, 1e-5
"""What norms add to a variance: there in CSN, and here."""


def _colour(text: str) -> list[float] | None:
    """Red, green and blue on a scale of 0-1."""
    values = [float(value) / 255 for value in text.replace(",", " ").split()]
    return values if len(values) == 3 else None


SETTINGS: tuple[tuple[str, str, str, Callable[[str], Any]], ...] = (
    ("DATA", "NUM_FRAMES", r"\bclip_len\s*=\s*(\d+)\b", int),
    ("DATA", "SAMPLING_RATE", r"\bframe_interval\s*=\s*(\d+)\b", int),
    ("DATA", "MEAN", r"\bmean\s*=\s*[\[(]([\d.,\s]+)[\])]", _colour),
    ("DATA", "STD", r"\bstd\s*=\s*[\[(]([\d.,\s]+)[\])]", _colour),
    ("DETECTION", "ROI_XFORM_RESOLUTION", r"\boutput_size\s*=\s*(\d+)\b", int),
    ("DETECTION", "TIME_POOL", r"\btemporal_pool_mode\s*=\s*['\"](max|avg)['\"]", str),
    ("DETECTION", "BACKGROUND", r"\bbackground_class\s*=\s*(False)\b", lambda _: False),
    ("DETECTION", "BANK", r"\b(FBOHead)\b", lambda _: True),
    ("SLOWFAST", "ALPHA", r"\bresample_rate\s*=\s*(\d+)\b", int),
)
"""(section and word of PySlowFast, pattern in a configuration of mmaction2, value of what is found)."""


def mmaction_settings(text: str) -> dict[str, dict[str, Any]]:
    """Read a configuration, which checkpoints hold as Python source, in PySlowFast's words; nothing of it is run.

    Only plain values are found. The frames are those of the first pipeline, which is the same in all AVA
    configurations; means and deviations are there on a scale of 0-255.
    """

    settings: dict[str, dict[str, Any]] = {}
    for section, word, pattern, value_of in SETTINGS:
        found = re.search(pattern, text)
        value = value_of(found[1]) if found else None
        settings.setdefault(section, {}).update({} if value is None else {word: value})
    return settings


def has_background(settings: Mapping[str, Any], source: str) -> bool:
    """Whether mmaction2's classifier has a row for "no action"; all but those of its MultiSports models have."""
    setting = settings.get("DETECTION", {}).get("BACKGROUND")
    return bool(setting) if setting is not None else "multisports" not in Path(source).stem.lower()


def _csn_tensors(tensors: Tensors) -> Tensors:
    """Take the lists of middle convolutions apart and move the variances of all norms.

    The middle convolution of a block is a list, of the depthwise convolution alone or of the 1x1x1 one that preserves
    interactions before it. Norms add 0.001 to a variance where those here add 0.00001, so the difference is added to
    the variances stored: answers are the same, and stay so as long as norms are frozen.

    Args:
        tensors: under the names that mmaction2's rules give, middle convolutions as `....branch2.b.0.conv.weight`.
    """
    is_preserved = any(".branch2.b.1." in name for name in tensors)
    places = ("conv_b.0", "conv_b.1", "conv_b.2", "norm_b") if is_preserved else ("conv_b", "norm_b")
    layers = (".b.0.conv.", ".b.0.bn.", ".b.1.conv.", ".b.1.bn.")
    named = {}
    for name, tensor in tensors.items():
        for layer, place in zip(layers, places):
            name = name.replace(layer, f".{place}.")
        named[name] = tensor + (CSN_EPSILON - EPSILON) if name.endswith(".running_var") else tensor
    return named


_DEFAULTS = Defaults(aligned=True, resolution=8, boxes="exact", **IMAGENET)

MMACTION = CheckpointFormat(
    "mmaction2",
    r"^backbone\.(slow_path\.)?conv1\.conv\.weight$",
    (
        (r"^roi_head\.bbox_head\.fc_cls\.0\.", "head.hidden."),  # of two layers, if there are
        (r"^roi_head\.bbox_head\.fc_cls\.(2\.)?", "head.proj."),
        (r"^roi_head\.shared_head\.conv1\.conv\.", "head.acrn.join."),
        (r"^roi_head\.shared_head\.conv1\.bn\.", "head.acrn.join_norm."),
        (r"^roi_head\.shared_head\.conv2\.conv\.", "head.acrn.conv."),
        (r"^roi_head\.shared_head\.conv2\.bn\.", "head.acrn.conv_norm."),
        (r"\.(layer\d)\.(\d+)\.non_local_block\.(theta|phi|g)(\.0)?\.conv\.", r".\1.nonlocal\2.conv_\3."),
        (r"\.(layer\d)\.(\d+)\.non_local_block\.conv_out\.conv\.", r".\1.nonlocal\2.conv_out."),
        (r"\.(layer\d)\.(\d+)\.non_local_block\.conv_out\.bn\.", r".\1.nonlocal\2.norm."),
        (r"^backbone\.slow_path\.(conv1|layer\d)_lateral\.", r"backbone.lateral.\1."),
        (r"^backbone\.(slow|fast)_path\.", r"backbone.\1."),
        (r"^backbone\.(?=conv1|layer)", "backbone.slow."),
        (r"(layer\d\.\d+)\.conv1\.", r"\1.branch2.a."),
        (r"(layer\d\.\d+)\.conv2\.", r"\1.branch2.b."),
        (r"(layer\d\.\d+)\.conv3\.", r"\1.branch2.c."),
        (r"\.downsample\.conv\.", ".branch1_conv."),
        (r"\.downsample\.bn\.", ".branch1_norm."),
        (r"\.([abc])\.conv\.", r".conv_\1."),
        (r"\.([abc])\.bn\.", r".norm_\1."),
        (r"\.conv1\.", ".stem."),
        (r"\.stem\.bn\.", ".stem.norm."),
        *((rf"\.layer{number}\.", f".res{number + 1}.") for number in (1, 2, 3, 4)),
    ),
    ignore=r"^cls_head\.",  # classifies whole clips
    background=1,
    defaults=replace(_DEFAULTS, last_dilation=1, slow_sampling="nearest", named_by_clip=True),
    infer=infer_resnet,
)

MMACTION_CSN = replace(
    MMACTION,
    name="mmaction2 csn",
    marker=r"^backbone\.layer1\.0\.conv2\.0\.conv\.weight$",
    background=0,
    finish=_csn_tensors,
    classifies=CLIPS,
)

MMACTION_C3D = CheckpointFormat(
    "mmaction2 c3d",
    r"^(backbone\.)?conv1a\.conv\.weight$",  # without the prefix where a classifier is still to be trained
    tuple(
        (rf"^(backbone\.)?conv{group}([ab])\.conv\.", rf"backbone.groups.{group - 1}.conv{group}\2.")
        for group in range(1, 6)
    ),
    ignore=r"^(backbone\.)?fc[678]\.|^cls_head\.",  # they take one small fixed frame
    classifies=CLIPS,
)

MMACTION_VIT = CheckpointFormat(
    "mmaction2 vit",
    r"^backbone\.blocks\.0\.attn\.q_bias$",
    (
        (r"^roi_head\.bbox_head\.fc_cls\.", "head.proj."),
        (r"^backbone\.fc_norm\.", "backbone.norm."),
        (r"\.patch_embed\.projection\.", ".patch_embed."),
        (r"\.mlp\.layers\.0\.0\.", ".mlp.fc1."),
        (r"\.mlp\.layers\.1\.", ".mlp.fc2."),
    ),
    ignore=r"^backbone\.pos_embed$|^cls_head\.",
    background=1,
    defaults=_DEFAULTS,
    infer=infer_videomae,
)

FORMATS = (MMACTION_CSN, MMACTION, MMACTION_C3D, MMACTION_VIT)
