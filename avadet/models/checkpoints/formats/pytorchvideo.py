"""Checkpoints of pytorchvideo: its ResNets, which number their blocks, and X3D."""

from __future__ import annotations

from collections.abc import Sequence

from avadet.models.checkpoints.formats.format import CLIPS, CheckpointFormat, Evidence, Recipe, Rules
from avadet.models.checkpoints.formats.resnets import infer_resnet


def _rules(stages: Sequence[tuple[int, str]]) -> Rules:
    """`stages` says which number is which stage."""
    return (
        (r"^model\.", ""),
        (r"^(detection_head|blocks\.[56])\.proj\.", "head.proj."),
        (r"\.conv_fast_to_slow\.", ".conv."),
        (r"^blocks\.(\d)\.multipathway_fusion\.", r"backbone.lateral.<\1>."),
        (r"^blocks\.(\d)\.multipathway_blocks\.0\.", r"backbone.slow.<\1>."),
        (r"^blocks\.(\d)\.multipathway_blocks\.1\.", r"backbone.fast.<\1>."),
        (r"^blocks\.(\d)\.", r"backbone.<\1>."),
        (r"\.res_blocks\.", "."),
        *((f"<{number}>", stage) for number, stage in stages),
    )


def _infer(found: Evidence) -> Recipe:
    """As `infer_resnet`, but for the two nets whose blocks have the names of Slow's: their middle sees many frames."""
    middle = "backbone.res2.0.branch2.conv_b"
    conv = found.tensors.get(f"{middle}.weight")
    if "backbone.fast.stem.conv.weight" in found.tensors:
        return infer_resnet(found)
    if conv is not None and conv.shape[2] > 1:
        kind, family = "CSN", "ir_csn_101"
    elif f"{middle}.conv_t.weight" in found.tensors:
        kind, family = "R(2+1)D", "r2plus1d_r50"
    else:
        return infer_resnet(found)
    raise found.error(
        f"weights of a {kind} of pytorchvideo that classify whole clips, not persons in boxes; a training starts from "
        f"them: model.family={family} model.init={found.source}"
    )


PYTORCHVIDEO = CheckpointFormat(
    "pytorchvideo",
    r"^(model\.)?blocks\.0\.(multipathway_blocks\.0\.)?conv\.weight$",
    _rules([(0, "stem"), (1, "res2"), (2, "res3"), (3, "res4"), (4, "res5")]),
    infer=_infer,
)

PYTORCHVIDEO_POOLED = CheckpointFormat(
    "pytorchvideo with a pool after res2",  # I3D and C2D; the pool, without weights, takes number 2
    r"^(model\.)?blocks\.5\.res_blocks\.0\.",
    _rules([(0, "stem"), (1, "res2"), (3, "res3"), (4, "res4"), (5, "res5")]),
    infer=infer_resnet,
)

X3D = CheckpointFormat(
    "pytorchvideo x3d",
    r"^blocks\.0\.conv\.conv_xy\.weight$",
    (
        (r"^blocks\.5\.pool\.pre_(conv|norm)\.", r"backbone.conv5.\1."),
        (r"^blocks\.5\.proj\.", "head.proj."),
        (r"^blocks\.0\.", "backbone.stem."),
        *((rf"^blocks\.{number}\.res_blocks\.", f"backbone.res{number + 1}.") for number in (1, 2, 3, 4)),
    ),
    ignore=r"^blocks\.5\.pool\.post_conv\.",  # behind the pooling, it belongs to the classifier
    classifies=CLIPS,
)

FORMATS = (PYTORCHVIDEO_POOLED, PYTORCHVIDEO, X3D)
