"""Checkpoints of ACAR-Net's authors.

Pan et al., "Actor-Context-Actor Relation Network for Spatio-Temporal Action Localization", CVPR 2021. Three models lie
in the model zoo of github.com/Siyu-C/ACAR-Net, under Apache-2.0: SlowFast R50 (27.8 frame-mAP@0.5 on AVA v2.2) and R101
(31.7), and R101 of AVA-Kinetics (33.7). The links there lead to pages, not to files: whoever asks for one of them by
name is told what to get with a browser, and where to put it. What the authors' code trains loads too, by its path,
with the head of relations or the plain one, and the backbones that it starts from are for `model.init`.

Their heads know the 60 classes of AVA that are evaluated, the first 13 of them poses of which a person has one. The
maps are reduced before persons are cropped from them; that and the half of the next 1x1 convolution that reads the map
have nothing between them, and are one matrix here.
"""

from __future__ import annotations

from dataclasses import replace

from avadet.labels import evaluated_part, read_label_map
from avadet.models.checkpoints.formats.format import CheckpointFormat, Defaults, Evidence, Recipe, Tensors
from avadet.models.checkpoints.formats.resnets import infer_resnet

AVA_EVALUATED = 60

MEAN = (110.63666788 / 255, 103.16065604 / 255, 96.29023126 / 255)
STD = (38.7568578 / 255, 37.88248729 / 255, 40.02898126 / 255)
"""Of the models that start from the authors' own backbone; those that start from PySlowFast's have the latter's."""

WITHOUT_BIAS = ("head.own", "head.acar.actor", "head.acar.join", "head.proj")
"""Layers that have no bias there and one here."""


def _finish(tensors: Tensors) -> Tensors:
    """Divide and multiply what is divided otherwise here, and give zeros to layers without a bias."""
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


def _infer(found: Evidence) -> Recipe:
    """A SlowFast; where it starts from the authors' backbone, nothing follows the convolutions from fast to slow."""
    if "backbone.lateral.stem.norm.weight" not in found.tensors:
        found = replace(found, defaults=replace(found.defaults, mean=MEAN, std=STD, slow_sampling="nearest"))
    recipe = infer_resnet(found)
    if recipe.num_classes != AVA_EVALUATED:
        return recipe
    return replace(recipe, labels=evaluated_part(read_label_map("ava_v2.2")), scores="pose_softmax")


ACAR = CheckpointFormat(
    "acar-net",
    r"^(backbone\.module\.)?slow_conv1\.weight$",  # those of a backbone alone have no prefix
    (
        (r"^(backbone\.module\.)?(?=slow_|fast_|Tconv)", "backbone."),
        (r"^backbone\.(slow|fast)_conv1\.", r"backbone.\1.stem.conv."),
        (r"^backbone\.(slow|fast)_bn1\.", r"backbone.\1.stem.norm."),
        *((rf"^backbone\.(slow|fast)_res{number}\.", rf"backbone.\1.res{number + 1}.") for number in (1, 2, 3, 4)),
        *(
            (rf"(\.res\d\.\d+)\.conv{number}\.", rf"\1.branch2.conv_{letter}.")
            for number, letter in enumerate("abc", 1)
        ),
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
        (r"^head\.module\.conv1\.", "head.acar.pairs."),  # for `_finish`
        (r"^head\.module\.conv2\.", "head.acar.join."),
        (r"^head\.module\.hr2o\.(\d+)\.(?=conv|norm)", r"head.acar.layers.\1."),
        *((rf"(\.layers\.\d+)\.conv_{part[0]}\.", rf"\1.{part}.") for part in ("query", "key", "value")),
        (r"(\.layers\.\d+)\.conv\.", r"\1.out."),
    ),
    finish=_finish,
    defaults=Defaults(alpha=4, boxes="exact", stretch=True),
    infer=_infer,
)

FORMATS = (ACAR,)
