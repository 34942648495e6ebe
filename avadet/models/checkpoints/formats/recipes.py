"""Which model fits the tensors of a checkpoint, and what it wants to see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from avadet.errors import AvadetError
from avadet.labels import evaluated_part, read_label_map
from avadet.models.backbones.backbone import KINETICS
from avadet.models.checkpoints.formats.acar import acar_head, is_fused_plainly
from avadet.models.checkpoints.formats.hiera import hiera_arguments
from avadet.models.checkpoints.formats.layout import Layout, Tensors
from avadet.models.checkpoints.formats.mvit import mvit_arguments, mvit_clip
from avadet.models.checkpoints.formats.names import (
    ACAR,
    AVADET,
    CAFFE2,
    FOREIGN_BANK,
    HIERA,
    MMACTION,
    MMACTION_VIT,
    MVIT,
    OWN_BANK,
    PYSLOWFAST,
    PYTORCHVIDEO,
    VIDEOMAE,
)
from avadet.models.checkpoints.formats.settings import name_settings
from avadet.models.checkpoints.formats.videomae import videomae_arguments
from avadet.models.zoo.acar_entries import ACAR_MEAN, ACAR_STD
from avadet.models.zoo.cards import ScoreRule
from avadet.types import BoxRule, ClipSpec, LabelMap

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
AVA_EVALUATED = 60


@dataclass(frozen=True)
class Recipe:
    """What to build for a checkpoint that brings no model card.

    Attributes:
        architecture: a key of `models.sizes.SIZES`.
        arguments: what its builder takes besides the number of classes, mean and std.
        clip: the frames it wants.
        num_classes: K.
        labels: the classes in order, where the project tells them; None = it says nothing that their number does not.
        scores: how logits become scores, None = as the classes say.
    """

    architecture: str
    arguments: dict[str, Any]
    clip: ClipSpec
    num_classes: int
    labels: LabelMap | None = None
    scores: ScoreRule | None = None


@dataclass(frozen=True)
class Habits:
    """What a project does the same way in all its AVA models, unless a checkpoint's settings say otherwise.

    Attributes:
        aligned: RoIAlign's half-pixel shift.
        resolution: cells of a cut-out.
        mean: of RGB on a 0-1 scale.
        std: of RGB on a 0-1 scale.
        last_dilation: spatial dilation of res5.
        slow_sampling: how SlowFast chooses its slow frames, see `slowfast.slow_frames`.
        alpha: frames of SlowFast's fast pathway for one of the slow; None = as the lateral connections tell.
        boxes: how boxes become those of a clip, see `boxes.clip_boxes`.
        stretch: whether each axis of a box is scaled to the map by itself.
    """

    aligned: bool = False
    resolution: int = 7
    mean: tuple[float, float, float] = KINETICS.mean
    std: tuple[float, float, float] = KINETICS.std
    last_dilation: int = 2
    slow_sampling: str = "linspace"
    alpha: int | None = None
    boxes: BoxRule = "pyslowfast"
    stretch: bool = False


HABITS = {
    AVADET.name: Habits(boxes="exact"),
    PYSLOWFAST.name: Habits(aligned=True),
    MVIT.name: Habits(aligned=True),
    MMACTION.name: Habits(
        True, 8, IMAGENET_MEAN, IMAGENET_STD, last_dilation=1, slow_sampling="nearest", boxes="exact"
    ),
    MMACTION_VIT.name: Habits(True, 8, IMAGENET_MEAN, IMAGENET_STD, boxes="exact"),
    VIDEOMAE.name: Habits(True, 7, IMAGENET_MEAN, IMAGENET_STD, boxes="exact"),
    HIERA.name: Habits(True, boxes="exact"),
    ACAR.name: Habits(alpha=4, boxes="exact", stretch=True),
}
"""By layout; those not listed have the habits that `Habits` has by default."""


def recipe_of(tensors: Tensors, layout: Layout, settings: Mapping[str, Any], source: str) -> Recipe:
    """Read the architecture off the shapes of tensors (named as here), and the clip off the settings.

    What shapes cannot tell comes from `settings`, the configuration stored with the weights in the words of
    PySlowFast; without it from the name of the file (`settings.name_settings`); without that from what the AVA models
    of the project do (`HABITS`): 4 frames every 16 for Slow, 32 every 2 for SlowFast, 8 every 8 for I3D and C2D, short
    side 256; the grid of its positions for MViT; RoIAlign aligned in PySlowFast and mmaction2, not aligned in
    pytorchvideo, in the caffe2 zoo and by ACAR-Net's authors.

    Raises:
        AvadetError: if this is no MViT and no ResNet of the Slow, SlowFast, I3D or C2D family, or no detector at all.
    """
    if layout.classifies:
        raise AvadetError(
            f"{source}: weights that classify {layout.classifies} ({layout.name}), no people in boxes; a training "
            "starts from them: model.init"
        )
    if layout is CAFFE2 and not any(name.endswith(".running_mean") for name in tensors):
        raise AvadetError(
            f"{source}: its norms have no statistics, as those of the caffe2 models of video-long-term-feature-banks, "
            "with a feature bank (LFB) or without; avadet does not build these, whose non-local blocks look at frames "
            "in groups; `avadet models` lists models it does build"
        )
    if "head.proj.weight" not in tensors:
        raise AvadetError(f"{source}: no classifier among its {len(tensors)} tensors ({layout.name} layout)")
    habits = HABITS.get(layout.name, Habits())
    if layout is ACAR and is_fused_plainly(tensors):
        habits = replace(habits, mean=ACAR_MEAN, std=ACAR_STD, slow_sampling="nearest")
    if layout is MVIT:
        architecture, arguments, known = "mvit", mvit_arguments(tensors, settings, source), settings
        frames, stride, short_side = mvit_clip(arguments)
        channels = arguments["stages"][-1]["channels"]
    elif layout in (MMACTION_VIT, VIDEOMAE):
        architecture, arguments, known = "videomae", videomae_arguments(tensors, source), settings
        frames, stride, short_side, channels = 16, 4, 256, arguments["channels"]
    elif layout is HIERA:
        architecture, arguments, known = "hiera", hiera_arguments(tensors, source), settings
        frames, stride, short_side = 16, 4, 256
        channels = arguments["channels"] * 2 ** (arguments["maps"][0] - 1)
    else:
        architecture, arguments, known = _resnet(tensors, layout, settings, habits, source)
        slow = arguments.get("temporal_pool") == 1
        frames, stride = (32, 2) if architecture == "slowfast" else (4, 16) if slow else (8, 8)
        short_side = 256
        channels = 32 * (arguments["width"] + arguments.get("fast_width", 0))
    arguments["head"] = _head_arguments(tensors, channels, known.get("DETECTION", {}), habits, source)
    clip = _clip_spec(known.get("DATA", {}), frames, stride, short_side, habits)
    num_classes = len(tensors["head.proj.weight"])
    if layout is ACAR and num_classes == AVA_EVALUATED:
        return Recipe(
            architecture, arguments, clip, num_classes, evaluated_part(read_label_map("ava_v2.2")), "pose_softmax"
        )
    return Recipe(architecture, arguments, clip, num_classes)


def _resnet(
    tensors: Tensors, layout: Layout, settings: Mapping[str, Any], habits: Habits, source: str
) -> tuple[str, dict[str, Any], Mapping[str, Any]]:
    """A ResNet's architecture, its arguments but for the head, and the settings, those in the file's name if none."""
    two_pathways = "backbone.fast.stem.conv.weight" in tensors
    known = settings or name_settings(source, two_pathways, layout is MMACTION)
    if two_pathways:
        architecture, arguments = "slowfast", _slowfast_arguments(tensors, known, habits, source)
    else:
        if layout is PYTORCHVIDEO:
            _check_blocks(tensors, source)
        architecture, arguments = "resnet3d", _resnet3d_arguments(tensors, "backbone.", known, source)
    arguments["last_dilation"] = _last_dilation(known, habits)
    return architecture, arguments, known


def _clip_spec(data: Mapping[str, Any], frames: int, stride: int, short_side: int, habits: Habits) -> ClipSpec:
    """PySlowFast's DATA settings as a clip spec, with defaults for what they lack."""
    red, green, blue = data.get("MEAN", habits.mean)
    return ClipSpec(
        num_frames=int(data.get("NUM_FRAMES", frames)),
        stride=int(data.get("SAMPLING_RATE", stride)),
        fps=float(data.get("TARGET_FPS", 30)),
        short_side=int(data.get("TEST_CROP_SIZE", short_side)),
        mean=(red, green, blue),
        std=tuple(data.get("STD", habits.std)),
        boxes=habits.boxes,
    )


def _head_arguments(
    tensors: Tensors, channels: int, detection: Mapping[str, Any], habits: Habits, source: str
) -> dict[str, Any]:
    """Arguments of `RoIHead` over maps of so many channels; a head over twice as many sees whole maps as well.

    A relation of actors reads their features and the maps beside each other; the classifier, its answer.
    """
    resolution = int(detection.get("ROI_XFORM_RESOLUTION", habits.resolution))
    head: dict[str, Any] = {
        "aligned": bool(detection.get("ALIGNED", habits.aligned)),
        "resolution": resolution,
        "time_pool": str(detection.get("TIME_POOL", "avg")),
    }
    if habits.stretch:
        head["stretch"] = True
    if "head.acar.scene.weight" in tensors:
        return {**head, **acar_head(tensors)}
    if "head.hidden.weight" in tensors:
        head["hidden"] = True
    features = tensors["head.proj.weight"].shape[1]
    if detection.get("BANK") and features != channels:  # a model that only fills a bank has a plain head
        raise AvadetError(f"{source}: avadet does not build {FOREIGN_BANK}; {OWN_BANK}")
    if "head.acrn.join.weight" in tensors:
        head["acrn"] = {"width": features}
        features = tensors["head.acrn.join.weight"].shape[1] - channels
    if features == 2 * channels:
        return {**head, "context": True, "context_cells": resolution}
    if features != channels:
        raise AvadetError(f"{source}: its classifier takes {features} features, expected the {channels} of its maps")
    return head


def _last_dilation(settings: Mapping[str, Any], habits: Habits) -> int:
    """Dilation of res5; settings of a classification model, which has a stride there, say nothing of detection."""
    resnet = settings.get("RESNET", {})
    strides, dilations = resnet.get("SPATIAL_STRIDES"), resnet.get("SPATIAL_DILATIONS")
    if strides and dilations and strides[3][0] == 1:
        return int(dilations[3][0])
    return habits.last_dilation


def _resnet3d_arguments(tensors: Tensors, prefix: str, settings: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Arguments of `ResNet3d` for the pathway under `prefix`, without those of its last stage's dilation."""
    stem = tensors.get(f"{prefix}stem.conv.weight")
    kernels = _temporal_kernels(tensors, prefix)
    if stem is None or not all(kernels):
        raise AvadetError(f"{source}: not a ResNet of the Slow, SlowFast, I3D or C2D family")
    # Slow keeps all frames; it alone has plain 2-D convolutions up to res2 and temporal ones at the end.
    is_slow = stem.shape[2] == 1 and max(kernels[0]) == 1 and max(kernels[3]) > 1
    return {
        "width": stem.shape[0],
        "depths": [len(stage) for stage in kernels],
        "stem_kernel": stem.shape[2],
        "temporal_kernels": kernels,
        "temporal_pool": 1 if is_slow else 2,
        **_nonlocal_arguments(tensors, prefix, settings, source),
    }


def _check_blocks(tensors: Tensors, source: str) -> None:
    """Raise for the two nets whose blocks have the names of Slow's, and a middle convolution that sees many frames."""
    middle = "backbone.res2.0.branch2.conv_b"
    conv = tensors.get(f"{middle}.weight")
    if conv is not None and conv.shape[2] > 1:
        kind, family = "CSN", "ir_csn_101"
    elif f"{middle}.conv_t.weight" in tensors:
        kind, family = "R(2+1)D", "r2plus1d_r50"
    else:
        return
    raise AvadetError(
        f"{source}: weights of a {kind} of pytorchvideo that classify whole clips, no people in boxes; a training "
        f"starts from them: model.family={family} model.init={source}"
    )


def _temporal_kernels(tensors: Tensors, prefix: str) -> list[list[int]]:
    """Temporal kernel of every block of the four stages."""
    stages: list[list[int]] = [[], [], [], []]
    for index, kernels in enumerate(stages):
        while (weight := tensors.get(f"{prefix}res{index + 2}.{len(kernels)}.branch2.conv_a.weight")) is not None:
            kernels.append(weight.shape[2])
    return stages


def _nonlocal_arguments(tensors: Tensors, prefix: str, settings: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Where non-local blocks stand, by their names, and of which kind they are; {} if there are none.

    Without settings they are those of the published models: dot product and pooling by (2, 2, 2) in SlowFast, softmax
    and pooling by (1, 2, 2) in one pathway.
    """
    after: list[list[int]] = [[], [], [], []]
    for name in tensors:
        stage, _, rest = name.removeprefix(f"{prefix}res").partition(".nonlocal")
        if name.startswith(f"{prefix}res") and rest.endswith(".conv_theta.weight"):
            after[int(stage) - 2].append(int(rest.partition(".")[0]))
    if not any(after):
        return {}
    said = settings.get("NONLOCAL", {})
    of_slowfast = prefix != "backbone."
    default = [[[2, 2, 2] if of_slowfast else [1, 2, 2]]] * 4
    pools = [list(stage[0]) for stage, blocks in zip(said.get("POOL", default), after) if blocks]
    groups = [stage[0] for stage, blocks in zip(said.get("GROUP", [[1]] * 4), after) if blocks]
    if any(pool != pools[0] for pool in pools) or set(groups) != {1}:
        raise AvadetError(f"{source}: non-local blocks must pool alike and look at all frames, got {pools}, {groups}")
    softmax = said.get("INSTANTIATION", "dot_product" if of_slowfast else "softmax") == "softmax"
    options: dict[str, Any] = {"softmax": softmax, "pool": pools[0]}
    if not any(".nonlocal" in name and name.endswith(".conv_out.bias") for name in tensors):
        options["pool_projections"] = True  # the form of mmaction2, told by the bias it lacks
    return {"nonlocal_after": [sorted(blocks) for blocks in after], "nonlocal_options": options}


def _slowfast_arguments(tensors: Tensors, settings: Mapping[str, Any], habits: Habits, source: str) -> dict[str, Any]:
    """Arguments of `SlowFast`; alpha, which no shape shows, from the settings.

    Without settings alpha is 4; in mmaction2, whose lateral kernels differ by it, 8 where those are 5 long.
    """
    slow = _resnet3d_arguments(tensors, "backbone.slow.", settings, source)
    fast = _resnet3d_arguments(tensors, "backbone.fast.", settings, source)
    lateral = tensors.get("backbone.lateral.stem.conv.weight")
    if lateral is None or slow["depths"] != fast["depths"] or "nonlocal_after" in fast:
        raise AvadetError(f"{source}: two pathways, but not those of SlowFast")
    lateral_norm = "backbone.lateral.stem.norm.weight" in tensors
    alpha = habits.alpha or (8 if not lateral_norm and lateral.shape[2] == 5 else 4)
    return {
        "width": slow["width"],
        "fast_width": fast["width"],
        "depths": slow["depths"],
        "alpha": int(settings.get("SLOWFAST", {}).get("ALPHA", alpha)),
        "lateral_kernel": lateral.shape[2],
        "lateral_ratio": lateral.shape[0] // fast["width"],
        "lateral_norm": lateral_norm,
        "slow_sampling": habits.slow_sampling,
        "slow_kernels": slow["temporal_kernels"],
        "fast_kernels": fast["temporal_kernels"],
        **{key: value for key, value in slow.items() if key.startswith("nonlocal_")},
    }
