"""Checkpoints of other projects: whose they are, and what their tensors are called here.

Names here: `backbone.[slow.|fast.]STAGE...` with STAGE one of stem, res2 ... res5, `backbone.lateral.STAGE...`, and
`head.proj`. A layout is a list of rules, applied in order to every name. What to build for the tensors is told by
`recipes`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from avadet.errors import AvadetError
from avadet.models.checkpoints.formats.acar import ACAR_MARKER, ACAR_RULES, acar_tensors
from avadet.models.checkpoints.formats.classifiers import CLASSIFIERS, CLIPS
from avadet.models.checkpoints.formats.csn import MMACTION_CSN_MARKER, csn_tensors
from avadet.models.checkpoints.formats.hiera import HIERA_MARKER, HIERA_NO_WEIGHT, HIERA_RULES
from avadet.models.checkpoints.formats.layout import Layout, Tensors
from avadet.models.checkpoints.formats.mvit import MVIT_MARKER, MVIT_RULES, join_qkv
from avadet.models.checkpoints.formats.videomae import (
    MMACTION_VIT_MARKER,
    MMACTION_VIT_NO_WEIGHT,
    MMACTION_VIT_RULES,
    VIDEOMAE_MARKER,
    VIDEOMAE_NO_WEIGHT,
    VIDEOMAE_RULES,
)
from avadet.models.checkpoints.formats.vjepa2 import (
    VJEPA2_AUTHORS_MARKER,
    VJEPA2_AUTHORS_NO_WEIGHT,
    VJEPA2_AUTHORS_RULES,
    VJEPA2_MARKER,
    VJEPA2_NO_WEIGHT,
    VJEPA2_RULES,
)

AVADET = Layout("avadet", r"^(\w+\.)?head\.proj\.weight$|^of_appearance\.weight$", ())


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
        (r"^s([2-5])\.pathway0_(?:res)?(\w+)\.", r"backbone.slow.res\1.\2."),
        (r"^s([2-5])\.pathway1_(?:res)?(\w+)\.", r"backbone.fast.res\1.\2."),
        (r"(stem|lateral\.\w+|nonlocal\d+)\.bn\.", r"\1.norm."),
        (r"\.branch1\.(?=weight)", ".branch1_conv."),
        (r"\.branch1_bn\.", ".branch1_norm."),
        (r"\.branch2\.([abc])\.", r".branch2.conv_\1."),
        (r"\.branch2\.([abc])_bn\.", r".branch2.norm_\1."),
    ),
)

CAFFE2 = Layout(
    "pyslowfast caffe2",
    r"^(t_)?res_conv1_bn_s$",
    (
        (r"^pred_", "head.proj."),
        (r"^t_pool1_subsample_", "backbone.lateral.stem.conv."),
        (r"^t_res(\d)_\d+_branch2c_bn_subsample_", r"backbone.lateral.res\1.conv."),
        # The fast pathway is the slow one's names after "t_".
        (r"^(?!t_|head\.|backbone\.)", "backbone.slow."),
        (r"^t_", "backbone.fast."),
        (r"\.(?:res_)?conv1_", ".stem.conv."),
        (r"\.nonlocal_conv(\d)_(\d+)_", r".res\1.nonlocal\2.conv_"),
        (r"\.res(\d)_(\d+)_branch1_", r".res\1.\2.branch1_conv."),
        (r"\.res(\d)_(\d+)_branch2([abc])_", r".res\1.\2.branch2.conv_\3."),
        # A norm is called by its convolution's name and "bn"; that of a non-local block stands alone.
        (r"(nonlocal\d+)\.conv_bn_", r"\1.norm."),
        (r"(nonlocal\d+\.conv_\w+)_(?=[wb]$)", r"\1."),
        (r"(?<=\.)conv\.bn_", "norm."),
        (r"branch1_conv\.bn_", "branch1_norm."),
        (r"branch2\.conv_([abc])\.bn_", r"branch2.norm_\1."),
        (r"\.[ws]$", ".weight"),
        (r"\.b$", ".bias"),
        (r"\.rm$", ".running_mean"),
        (r"\.riv$", ".running_var"),
    ),
    no_weight=r"_momentum$|^lr$|^model_iter$",
)

MMACTION = Layout(
    "mmaction2",
    r"^backbone\.(slow_path\.)?conv1\.conv\.weight$",
    (
        (r"^roi_head\.bbox_head\.fc_cls\.0\.", "head.hidden."),  # of two layers, if there are
        (r"^roi_head\.bbox_head\.fc_cls\.(2\.)?", "head.proj."),
        *(
            (rf"^roi_head\.shared_head\.conv{number}\.{theirs}\.", f"head.acrn.{ours}.")
            for number, theirs, ours in (
                (1, "conv", "join"),
                (1, "bn", "join_norm"),
                (2, "conv", "conv"),
                (2, "bn", "conv_norm"),
            )
        ),
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
    no_weight=r"^cls_head\.",  # classifies whole clips
    background=1,
)

MMACTION_CSN = Layout(
    "mmaction2 csn", MMACTION_CSN_MARKER, MMACTION.rules, MMACTION.no_weight, finish=csn_tensors, classifies=CLIPS
)

MVIT = Layout("pyslowfast mvit", MVIT_MARKER, MVIT_RULES, finish=join_qkv)

VIDEOMAE = Layout("videomae", VIDEOMAE_MARKER, VIDEOMAE_RULES, VIDEOMAE_NO_WEIGHT)

MMACTION_VIT = Layout("mmaction2 vit", MMACTION_VIT_MARKER, MMACTION_VIT_RULES, MMACTION_VIT_NO_WEIGHT, background=1)

ACAR = Layout("acar-net", ACAR_MARKER, ACAR_RULES, finish=acar_tensors)

HIERA = Layout("hiera", HIERA_MARKER, HIERA_RULES, HIERA_NO_WEIGHT)

VJEPA2 = Layout("transformers v-jepa 2", VJEPA2_MARKER, VJEPA2_RULES, VJEPA2_NO_WEIGHT, finish=join_qkv)

VJEPA2_AUTHORS = Layout("v-jepa 2", VJEPA2_AUTHORS_MARKER, VJEPA2_AUTHORS_RULES, VJEPA2_AUTHORS_NO_WEIGHT)

LAYOUTS = (
    *(PYTORCHVIDEO_POOLED, PYTORCHVIDEO, PYSLOWFAST, MVIT, VIDEOMAE, HIERA, VJEPA2, VJEPA2_AUTHORS),
    *(*CLASSIFIERS, CAFFE2, MMACTION_CSN, MMACTION, MMACTION_VIT, ACAR, AVADET),
)
"""The more special before the more general: the first whose marker is found wins."""


FOREIGN_BANK = "the long-term feature bank (LFB) of its head"
OWN_BANK = (
    "it takes rows of zeros for people, banks here do not; train a model with one of avadet's own: head.bank and "
    "bank.model of a config"
)

UNBUILT = (
    (r"^roi_head\.shared_head\.fbo\.|^lfb_(1x1|nl\d)", FOREIGN_BANK, OWN_BANK),
    (
        r"^backbone\.norms_block\.",
        "the norms between the blocks of its encoder (V-JEPA 2.1)",
        "`avadet models` lists models it does build",
    ),
    (
        r"^(model\.)?\d+\.(conv|cv\d|m)\.",
        "YOLO, which finds objects and no actions",
        "`avadet models` lists models of actions; --detector takes detectors of persons",
    ),
    (r"^backbone_[23]d\.", "YOWO", "`avadet models` lists models it does build"),
)
"""(regular expression of a tensor's name, part of a model, way out): what checkpoints hold that no model here has.

Of feature banks there are mmaction2's (FBOHead) and those of the authors in caffe2 (video-long-term-feature-banks).
Both keep five places for each of 60 seconds, for people drawn by lot, in testing too. Places that stay empty are rows
of zeros: attention gives them weight, a mean counts them. A bank here is all people of the minute and none besides.
And their answer stands beside a person's features, here it is added to them.
"""


def recognise(names: Iterable[str], source: str) -> Layout:
    """Whose checkpoint has these tensor names.

    Raises:
        AvadetError: if no known layout fits, naming `source` and the first tensors, or if the model has a part that
            is not built here, naming the part.
    """
    listed = list(names)
    layout, unbuilt = _look_up(listed)
    if unbuilt is not None:
        raise AvadetError(f"{source}: avadet does not build {unbuilt}")
    if layout is not None:
        return layout
    known = ", ".join(layout.name for layout in LAYOUTS)
    first = ", ".join(listed[:3]) or "none"
    raise AvadetError(f"{source}: tensors of no known layout (first names: {first}); known layouts: {known}")


def is_known(names: Iterable[str]) -> bool:
    """Whether `recognise` knows whose names these are, be it that the model is not built here."""
    return _look_up(list(names)) != (None, None)


def _look_up(names: Sequence[str]) -> tuple[Layout | None, str | None]:
    """The layout of names, or what of the model is not built here and the way out; neither, if no layout fits."""
    if _is_own(names):
        return AVADET, None
    for marker, part, way_out in UNBUILT:
        example = next((name for name in names if re.search(marker, name)), None)
        if example is not None:
            return None, f"{part} (tensor {example[:80]}); {way_out}"
    return next((one for one in LAYOUTS if any(re.search(one.marker, name) for name in names)), None), None


def _is_own(names: Sequence[str]) -> bool:
    """Whether names are avadet's: others have a backbone or a classifier of the same name, but not both."""
    has_backbone = any(re.search(r"^(\w+\.)*backbone\.", name) for name in names)
    return has_backbone and any(re.search(AVADET.marker, name) for name in names)


def translate(tensors: Tensors, layout: Layout, has_background: bool = True) -> Tensors:
    """The same tensors under the names they have here, without what is no weight or stands for no class.

    `has_background`: whether the classifier has the rows for no class that `layout.background` counts.
    """
    weights = {
        layout.rename(name): tensor
        for name, tensor in tensors.items()
        if not (layout.no_weight and re.search(layout.no_weight, name))
    }
    renamed = {name: layout.reshape(name, tensor) for name, tensor in weights.items()}
    for name in ("head.proj.weight", "head.proj.bias"):
        if name in renamed:
            renamed[name] = renamed[name][layout.background if has_background else 0 :]
    if layout.finish is not None:
        renamed = layout.finish(renamed)
    if any(name.startswith("backbone.fast.") for name in renamed):
        return renamed
    return {re.sub(r"^backbone\.slow\.", "backbone.", name): tensor for name, tensor in renamed.items()}
