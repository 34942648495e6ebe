"""Checkpoints of ACAR-Net's authors: what their tensors are called here, and which head fits them.

Pan et al., "Actor-Context-Actor Relation Network for Spatio-Temporal Action Localization", CVPR 2021. Three models lie
in the model zoo of github.com/Siyu-C/ACAR-Net, under Apache-2.0: SlowFast R50 (27.8 frame-mAP@0.5 on AVA v2.2) and R101
(31.7), and R101 of AVA-Kinetics (33.7). The links there lead to pages, not to files: whoever asks for one of them by
name is told what to get with a browser, and where to put it. What the authors' code trains loads too, by its path,
with the head of relations or the plain one, and the backbones that it starts from are for `model.init`.

Their heads know the 60 classes of AVA that are evaluated, the first 13 of them poses of which a person has one. The
maps are reduced before people are cut out of them; that and the half of the next 1x1 convolution that reads the map
have nothing between them, and are one matrix here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor  # so that `entries` can have the means below without loading torch

ACAR_MARKER = r"^(backbone\.module\.)?slow_conv1\.weight$"
"""A regular expression that matches some name of every checkpoint; those of a backbone alone have no prefix."""

ACAR_RULES = (
    (r"^(backbone\.module\.)?(?=slow_|fast_|Tconv)", "backbone."),
    (r"^backbone\.(slow|fast)_conv1\.", r"backbone.\1.stem.conv."),
    (r"^backbone\.(slow|fast)_bn1\.", r"backbone.\1.stem.norm."),
    *((rf"^backbone\.(slow|fast)_res{number}\.", rf"backbone.\1.res{number + 1}.") for number in (1, 2, 3, 4)),
    *((rf"(\.res\d\.\d+)\.conv{number}\.", rf"\1.branch2.conv_{letter}.") for number, letter in enumerate("abc", 1)),
    *((rf"(\.res\d\.\d+)\.bn{number}\.", rf"\1.branch2.norm_{letter}.") for number, letter in enumerate("abc", 1)),
    (r"\.downsample\.0\.", ".branch1_conv."),
    (r"\.downsample_bn\.", ".branch1_norm."),
    (r"^backbone\.Tconv1\.", "backbone.lateral.stem."),
    (r"^backbone\.Tconv([2-4])\.", r"backbone.lateral.res\1."),
    # A convolution alone, or one with a norm behind.
    (r"(\.lateral\.\w+)\.(0\.)?weight$", r"\1.conv.weight"),
    (r"(\.lateral\.\w+)\.1\.", r"\1.norm."),
    (r"^head\.module\.fc2?\.", "head.proj."),
    (r"^head\.module\.fc1\.", "head.own."),
    (r"^head\.module\.conv_reduce\.", "head.narrow."),
    (r"^head\.module\.conv1\.", "head.acar.pairs."),  # for `acar_tensors`
    (r"^head\.module\.conv2\.", "head.acar.join."),
    (r"^head\.module\.hr2o\.(\d+)\.(?=conv|norm)", r"head.acar.layers.\1."),
    *((rf"(\.layers\.\d+)\.conv{theirs}\.", rf"\1.{ours}.") for theirs, ours in (("_q", "query"), ("_k", "key"))),
    *((rf"(\.layers\.\d+)\.conv{theirs}\.", rf"\1.{ours}.") for theirs, ours in (("_v", "value"), ("", "out"))),
)
"""(regular expression, replacement) pairs, applied in order to every name."""

WITHOUT_BIAS = ("head.own", "head.acar.actor", "head.acar.join", "head.proj")
"""Layers that have no bias there and one here."""


def acar_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Divide and multiply what is divided otherwise here, and give zeros to layers without a bias.

    Args:
        tensors: under the names of `ACAR_RULES`; left as they are.
    """
    named = dict(tensors)
    pairs, reduce = named.pop("head.acar.pairs.weight", None), named.get("head.narrow.weight")
    if pairs is not None and reduce is not None:
        scene, actor = pairs.flatten(1).chunk(2, dim=1)
        named["head.acar.actor.weight"] = actor
        named["head.acar.scene.weight"] = (scene.double() @ reduce.flatten(1).double()).to(scene)[:, :, None, None]
    for layer in WITHOUT_BIAS:
        weight = named.get(f"{layer}.weight")
        if weight is not None:
            named.setdefault(f"{layer}.bias", weight.new_zeros(len(weight)))
    return named


def is_fused_plainly(tensors: Mapping[str, Tensor]) -> bool:
    """Whether nothing follows the convolutions from fast to slow: in models that start from the authors' backbone."""
    return "backbone.lateral.stem.norm.weight" not in tensors


def acar_head(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of `RoIHead` that make its relations those of the authors; {} for their plain head.

    Maps are halved before people look at each other, as in all published models; no shape tells that.

    Args:
        tensors: what `acar_tensors` gave.
    """
    scene = tensors.get("head.acar.scene.weight")
    if scene is None:
        return {}
    depth = sum(name.endswith(".query.weight") for name in tensors)
    relation: dict[str, Any] = {"width": scene.shape[0], "depth": depth, "pad": False}
    if depth:
        relation["out_kernel"] = tensors["head.acar.layers.0.out.weight"].shape[2]
    return {
        "map_width": tensors["head.narrow.weight"].shape[0],
        "own_width": tensors["head.own.weight"].shape[0],
        "acar": relation,
    }
