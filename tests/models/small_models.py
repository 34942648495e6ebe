"""Small models of every architecture with weights that make boxes differ, as `zoo.load` would give them."""

from __future__ import annotations

import torch
from test_laws import CLASSES, SMALL, SPEC
from torch import nn

from avadet.models.build import build
from avadet.models.cards import make_card
from avadet.models.checkpoints.weights import LoadReport
from avadet.models.detectors.two_stage import ActionModel
from avadet.models.heads.roi_head import RoIHead
from avadet.models.zoo import LoadedModel, numbered_labels

__all__ = ["CLASSES", "SPEC", "small_model"]


def small_model(architecture: str, model: ActionModel | None = None, seed: int = 0) -> LoadedModel:
    """A model in eval mode, no weight at zero; `model` takes the place of the architecture's own."""
    torch.manual_seed(seed)
    net = model or build(architecture, CLASSES, pixels=SPEC.pixels, **SMALL[architecture])
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.1, 0.3)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.7, 1.5)
        if isinstance(module, RoIHead):
            nn.init.normal_(module.proj.weight, std=0.1)
    labels = numbered_labels(CLASSES)
    card = make_card(architecture, architecture, SMALL[architecture], SPEC, labels)
    return LoadedModel(net.eval(), SPEC, labels, architecture, card, LoadReport("made here", 0, (), (), ()))
