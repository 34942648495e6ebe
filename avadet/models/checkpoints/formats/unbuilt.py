"""Checkpoints of models that have a part no model here has: known in order to be refused by name.

Of feature banks there are mmaction2's (FBOHead) and those of the authors in caffe2 (video-long-term-feature-banks).
Both keep five places for each of 60 seconds, for persons drawn by lot, in testing too. Places that stay empty are rows
of zeros: attention gives them weight, a mean counts them. A bank here is all persons of the minute and none besides.
And their answer stands beside a person's features, here it is added to them.
"""

from __future__ import annotations

from avadet.models.checkpoints.formats.format import CheckpointFormat

_OTHERS = "`avadet models` lists models it does build"

FOREIGN_BANK = (
    "the long-term feature bank (LFB) of its head",
    "it takes rows of zeros for persons, banks here do not; train a model with one of avadet's own: head.bank and "
    "bank.model of a config",
)

FORMATS = (
    CheckpointFormat("lfb", r"^roi_head\.shared_head\.fbo\.|^lfb_(1x1|nl\d)", unbuilt=FOREIGN_BANK),
    CheckpointFormat(
        "v-jepa 2.1",
        r"^backbone\.norms_block\.",
        unbuilt=("the norms between the blocks of its encoder (V-JEPA 2.1)", _OTHERS),
    ),
    CheckpointFormat(
        "yolo",
        r"^(model\.)?\d+\.(conv|cv\d|m)\.",
        unbuilt=(
            "YOLO, which finds objects and no actions",
            "`avadet models` lists models of actions; --detector takes detectors of persons",
        ),
    ),
    CheckpointFormat("yowo", r"^backbone_[23]d\.", unbuilt=("YOWO", _OTHERS)),
)
