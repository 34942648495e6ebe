"""ResNets of the Slow, SlowFast, I3D and C2D families, whichever project trained them: which one fits the tensors."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from avadet.models.checkpoints.formats.detector import detector_recipe
from avadet.models.checkpoints.formats.format import Evidence, Recipe

STRIDES = (2, 4, 8, 16)
MAX_FRAMES = 128


def infer_resnet(found: Evidence) -> Recipe:
    """A Slow, I3D or C2D, or a SlowFast; the name of the file tells what no settings do.

    Raises:
        AvadetError: if it is none of these.
    """
    two_pathways = "backbone.fast.stem.conv.weight" in found.tensors
    if not found.settings:
        named = name_settings(found.source, two_pathways, found.defaults.named_by_clip)
        found = replace(found, settings=named)
    arguments = _slowfast_arguments(found) if two_pathways else _resnet3d_arguments(found, "backbone.")
    arguments["last_dilation"] = _last_dilation(found)
    channels = 32 * (arguments["width"] + arguments.get("fast_width", 0))
    if two_pathways:
        return detector_recipe(found, "slowfast", arguments, channels, (32, 2, 256))
    is_slow = arguments["temporal_pool"] == 1
    return detector_recipe(found, "resnet3d", arguments, channels, (4, 16, 256) if is_slow else (8, 8, 256))


def name_settings(source: str, two_pathways: bool, named_by_clip: bool) -> dict[str, dict[str, Any]]:
    """Settings in the published name of a file: SLOWFAST_64x2_R101_50_50.pkl, slowfast_..._4x16x1_20e_ava_rgb.pth.

    AxB means A frames every B. In names of SlowFast that is the fast pathway where B is 2 and the slow one, whose
    frames are spread over fast ones every 2, where it is more. One pathway's name counts in mmaction2 only
    (`named_by_clip`): PySlowFast's are wrong (its C2D_8x8_R50.pkl for AVA is a Slow of 4 frames every 16).
    """
    stem = Path(source).stem.lower()
    settings: dict[str, dict[str, Any]] = {}
    found = re.search(r"(?<![\dx])(\d+)x(\d+)(?:x1)?(?![\dx])", stem)
    frames, stride = (int(found[1]), int(found[2])) if found else (0, 0)
    if 1 < frames <= MAX_FRAMES and stride in STRIDES:
        if two_pathways and stride > 2:
            settings["DATA"] = {"NUM_FRAMES": frames * stride // 2, "SAMPLING_RATE": 2}
            settings["SLOWFAST"] = {"ALPHA": stride // 2}
        elif two_pathways or named_by_clip:
            settings["DATA"] = {"NUM_FRAMES": frames, "SAMPLING_RATE": stride}
    if named_by_clip and re.search(r"temporal[-_]max|-tricks_", stem):
        settings["DETECTION"] = {"TIME_POOL": "max"}
    if named_by_clip and re.search(r"(?<![a-z])lfb[-_]", stem):
        settings["DETECTION"] = {"BANK": True}
    return settings


def _last_dilation(found: Evidence) -> int:
    """Dilation of res5; settings of a classification model, which has a stride there, say nothing of detection."""
    resnet = found.section("RESNET")
    strides, dilations = resnet.get("SPATIAL_STRIDES"), resnet.get("SPATIAL_DILATIONS")
    if strides and dilations and strides[3][0] == 1:
        return int(dilations[3][0])
    return found.defaults.last_dilation


def _slowfast_arguments(found: Evidence) -> dict[str, Any]:
    """Arguments of `SlowFast`; alpha, which no shape shows, from the settings.

    Without settings alpha is 4; in mmaction2, whose lateral kernels differ by it, 8 where those are 5 long.
    """
    slow, fast = (_resnet3d_arguments(found, f"backbone.{pathway}.") for pathway in ("slow", "fast"))
    lateral = found.tensors.get("backbone.lateral.stem.conv.weight")
    if lateral is None or slow["depths"] != fast["depths"] or "nonlocal_after" in fast:
        raise found.error("two pathways, but not those of SlowFast")
    lateral_norm = "backbone.lateral.stem.norm.weight" in found.tensors
    alpha = found.defaults.alpha or (8 if not lateral_norm and lateral.shape[2] == 5 else 4)
    return {
        "width": slow["width"],
        "fast_width": fast["width"],
        "depths": slow["depths"],
        "alpha": int(found.section("SLOWFAST").get("ALPHA", alpha)),
        "lateral_kernel": lateral.shape[2],
        "lateral_ratio": lateral.shape[0] // fast["width"],
        "lateral_norm": lateral_norm,
        "slow_sampling": found.defaults.slow_sampling,
        "slow_kernels": slow["temporal_kernels"],
        "fast_kernels": fast["temporal_kernels"],
        **{key: value for key, value in slow.items() if key.startswith("nonlocal_")},
    }


def _resnet3d_arguments(found: Evidence, prefix: str) -> dict[str, Any]:
    """Arguments of `ResNet3d` for the pathway under `prefix`, without those of its last stage's dilation."""
    stem = found.tensors.get(f"{prefix}stem.conv.weight")
    stages = [found.numbered(f"{prefix}res{stage}.{{}}.branch2.conv_a.weight") for stage in (2, 3, 4, 5)]
    kernels = [[conv.shape[2] for conv in blocks] for blocks in stages]
    if stem is None or not all(kernels):
        raise found.error("not a ResNet of the Slow, SlowFast, I3D or C2D family")
    # Slow keeps all frames; it alone has plain 2-D convolutions up to res2 and temporal ones at the end.
    is_slow = stem.shape[2] == 1 and max(kernels[0]) == 1 and max(kernels[3]) > 1
    return {
        "width": stem.shape[0],
        "depths": [len(stage) for stage in kernels],
        "stem_kernel": stem.shape[2],
        "temporal_kernels": kernels,
        "temporal_pool": 1 if is_slow else 2,
        **_nonlocal_arguments(found, prefix),
    }


def _nonlocal_arguments(found: Evidence, prefix: str) -> dict[str, Any]:
    """Where non-local blocks stand, by their names, and of which kind they are; {} if there are none.

    Without settings they are those of the published models: dot product and pooling by (2, 2, 2) in SlowFast, softmax
    and pooling by (1, 2, 2) in one pathway.
    """
    pattern = re.compile(rf"{re.escape(prefix)}res([2-5])\.nonlocal(\d+)\.conv_theta\.weight")
    places = sorted((int(one[1]), int(one[2])) for name in found.tensors if (one := pattern.fullmatch(name)))
    if not places:
        return {}
    after = [[block for stage, block in places if stage == number] for number in (2, 3, 4, 5)]
    cfg, of_slowfast = found.section("NONLOCAL"), prefix != "backbone."
    default = [[[2, 2, 2] if of_slowfast else [1, 2, 2]]] * 4
    pools = [list(stage[0]) for stage, blocks in zip(cfg.get("POOL", default), after) if blocks]
    groups = [stage[0] for stage, blocks in zip(cfg.get("GROUP", [[1]] * 4), after) if blocks]
    if any(pool != pools[0] for pool in pools) or set(groups) != {1}:
        raise found.error(f"non-local blocks must pool alike and look at all frames, got {pools}, {groups}")
    softmax = cfg.get("INSTANTIATION", "dot_product" if of_slowfast else "softmax") == "softmax"
    options: dict[str, Any] = {"softmax": softmax, "pool": pools[0]}
    if not any(".nonlocal" in name and name.endswith(".conv_out.bias") for name in found.tensors):
        options["pool_projections"] = True  # the form of mmaction2, known by the bias it lacks
    return {"nonlocal_after": after, "nonlocal_options": options}
