"""Checkpoints of other projects: whose they are, what their tensors are called here, which model they fit.

Names here: `backbone.[slow.|fast.]STAGE...` with STAGE one of stem, res2 ... res5, `backbone.lateral.STAGE...`, and
`head.proj`. A layout is a list of rules, applied in order to every name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from avadet.errors import AvadetError
from avadet.models.detector import KINETICS_MEAN, KINETICS_STD
from avadet.types import ClipSpec

Tensors = dict[str, Tensor]
Rules = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Layout:
    """How one project names its tensors.

    Attributes:
        name: the project.
        marker: regular expression that matches some name of every checkpoint of the project.
        rules: (regular expression, replacement) pairs.
    """

    name: str
    marker: str
    rules: Rules

    def rename(self, name: str) -> str:
        """The name a tensor has here."""
        for pattern, replacement in self.rules:
            name = re.sub(pattern, replacement, name)
        return name


AVADET = Layout("avadet", r"^(\w+\.)?head\.proj\.weight$", ())


def _pytorchvideo(name: str, marker: str, stages: Sequence[tuple[int, str]]) -> Layout:
    """pytorchvideo numbers its blocks; `stages` says which number is which stage."""
    rules = (
        (r"^model\.", ""),
        (r"^(detection_head|blocks\.[56])\.proj\.", "head.proj."),
        (r"\.conv_fast_to_slow\.", ".conv."),
        (r"^blocks\.(\d)\.multipathway_fusion\.", r"backbone.lateral.<\1>."),
        (r"^blocks\.(\d)\.multipathway_blocks\.0\.", r"backbone.slow.<\1>."),
        (r"^blocks\.(\d)\.multipathway_blocks\.1\.", r"backbone.fast.<\1>."),
        (r"^blocks\.(\d)\.", r"backbone.<\1>."),
        (r"\.res_blocks\.", "."),
    )
    return Layout(name, marker, rules + tuple((f"<{number}>", stage) for number, stage in stages))


PYTORCHVIDEO = _pytorchvideo(
    "pytorchvideo",
    r"^(model\.)?blocks\.0\.(multipathway_blocks\.0\.)?conv\.weight$",
    [(0, "stem"), (1, "res2"), (2, "res3"), (3, "res4"), (4, "res5")],
)

PYTORCHVIDEO_POOLED = _pytorchvideo(
    "pytorchvideo with a pool after res2",  # I3D and C2D; the pool, without weights, takes number 2
    r"^(model\.)?blocks\.5\.res_blocks\.0\.",
    [(0, "stem"), (1, "res2"), (3, "res3"), (4, "res4"), (5, "res5")],
)

PYSLOWFAST = Layout(
    "pyslowfast",
    r"^s1\.pathway0_stem\.conv\.weight$",
    (
        (r"^head\.projection\.", "head.proj."),
        (r"^s1_fuse\.", "backbone.lateral.stem."),
        (r"^s([2-4])_fuse\.", r"backbone.lateral.res\1."),
        (r"\.conv_f2s\.", ".conv."),
        (r"^s1\.pathway0_stem\.", "backbone.slow.stem."),
        (r"^s1\.pathway1_stem\.", "backbone.fast.stem."),
        (r"^s([2-5])\.pathway0_res(\d+)\.", r"backbone.slow.res\1.\2."),
        (r"^s([2-5])\.pathway1_res(\d+)\.", r"backbone.fast.res\1.\2."),
        (r"(stem|lateral\.\w+)\.bn\.", r"\1.norm."),
        (r"\.branch1\.(?=weight)", ".branch1_conv."),
        (r"\.branch1_bn\.", ".branch1_norm."),
        (r"\.branch2\.([abc])\.", r".branch2.conv_\1."),
        (r"\.branch2\.([abc])_bn\.", r".branch2.norm_\1."),
    ),
)

LAYOUTS = (PYTORCHVIDEO_POOLED, PYTORCHVIDEO, PYSLOWFAST, AVADET)
"""The more special before the more general: the first whose marker is found wins."""


def recognise(names: Iterable[str], source: str) -> Layout:
    """Whose checkpoint has these tensor names.

    Raises:
        AvadetError: if no known layout fits; names `source` and the first tensors.
    """
    listed = list(names)
    for layout in LAYOUTS:
        if any(re.search(layout.marker, name) for name in listed):
            return layout
    known = ", ".join(layout.name for layout in LAYOUTS)
    first = ", ".join(listed[:3]) or "none"
    raise AvadetError(f"{source}: tensors of no known layout (first names: {first}); known layouts: {known}")


def translate(tensors: Tensors, layout: Layout) -> Tensors:
    """The same tensors under the names they have here."""
    renamed = {layout.rename(name): tensor for name, tensor in tensors.items()}
    if any(name.startswith("backbone.fast.") for name in renamed):
        return renamed
    return {re.sub(r"^backbone\.slow\.", "backbone.", name): tensor for name, tensor in renamed.items()}


@dataclass(frozen=True)
class Recipe:
    """What to build for a checkpoint that brings no model card.

    Attributes:
        architecture: a key of `zoo.BUILDERS`.
        arguments: what its builder takes besides the number of classes, mean and std.
        clip: the frames it wants.
        num_classes: K.
    """

    architecture: str
    arguments: dict[str, Any]
    clip: ClipSpec
    num_classes: int


def recipe_of(tensors: Tensors, layout: Layout, settings: Mapping[str, Any], source: str) -> Recipe:
    """Read the architecture off the shapes of tensors (named as here), and the clip off the settings.

    What shapes cannot tell comes from `settings`, the configuration that PySlowFast stores with its weights, and
    without it from the defaults of the AVA recipes: 4 frames every 16 for Slow, 32 every 2 for SlowFast, 8 every 8 for
    I3D and C2D; short side 256; RoIAlign aligned in PySlowFast, not aligned in pytorchvideo.

    Raises:
        AvadetError: if this is no ResNet of the Slow, SlowFast, I3D or C2D family.
    """
    if "head.proj.weight" not in tensors:
        raise AvadetError(f"{source}: no classifier among its {len(tensors)} tensors ({layout.name} layout)")
    detection = settings.get("DETECTION", {})
    head = {
        "aligned": bool(detection.get("ALIGNED", layout is PYSLOWFAST)),
        "resolution": int(detection.get("ROI_XFORM_RESOLUTION", 7)),
    }
    if "backbone.fast.stem.conv.weight" in tensors:
        architecture, arguments = "slowfast", _slowfast_arguments(tensors, settings, source)
        frames, stride = 32, 2
    else:
        architecture, arguments = "resnet3d", _resnet3d_arguments(tensors, "backbone.", source)
        frames, stride = (4, 16) if arguments["temporal_pool"] == 1 else (8, 8)
    clip = _clip_spec(settings.get("DATA", {}), frames, stride)
    return Recipe(architecture, {**arguments, "head": head}, clip, len(tensors["head.proj.weight"]))


def _clip_spec(data: Mapping[str, Any], frames: int, stride: int) -> ClipSpec:
    """PySlowFast's DATA settings as a clip spec, with defaults for what they lack."""
    red, green, blue = data.get("MEAN", KINETICS_MEAN)
    return ClipSpec(
        num_frames=int(data.get("NUM_FRAMES", frames)),
        stride=int(data.get("SAMPLING_RATE", stride)),
        fps=float(data.get("TARGET_FPS", 30)),
        short_side=int(data.get("TEST_CROP_SIZE", 256)),
        mean=(red, green, blue),
        std=tuple(data.get("STD", KINETICS_STD)),
    )


def _resnet3d_arguments(tensors: Tensors, prefix: str, source: str) -> dict[str, Any]:
    """Arguments of `ResNet3d` for the pathway under `prefix`."""
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
    }


def _temporal_kernels(tensors: Tensors, prefix: str) -> list[list[int]]:
    """Temporal kernel of every block of the four stages."""
    stages: list[list[int]] = [[], [], [], []]
    for index, kernels in enumerate(stages):
        while (weight := tensors.get(f"{prefix}res{index + 2}.{len(kernels)}.branch2.conv_a.weight")) is not None:
            kernels.append(weight.shape[2])
    return stages


def _slowfast_arguments(tensors: Tensors, settings: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Arguments of `SlowFast`; alpha, which no shape shows, from the settings or 4."""
    slow = _resnet3d_arguments(tensors, "backbone.slow.", source)
    fast = _resnet3d_arguments(tensors, "backbone.fast.", source)
    lateral = tensors.get("backbone.lateral.stem.conv.weight")
    if lateral is None or slow["depths"] != fast["depths"]:
        raise AvadetError(f"{source}: two pathways, but not those of SlowFast")
    return {
        "width": slow["width"],
        "fast_width": fast["width"],
        "depths": slow["depths"],
        "alpha": int(settings.get("SLOWFAST", {}).get("ALPHA", 4)),
        "lateral_kernel": lateral.shape[2],
        "lateral_ratio": lateral.shape[0] // fast["width"],
        "slow_kernels": slow["temporal_kernels"],
        "fast_kernels": fast["temporal_kernels"],
    }
