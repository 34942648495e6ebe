"""Every kind of head on backbones of every sort: it is built, takes a step of training, and scores."""

from __future__ import annotations

import pytest
import torch
from small_models import CLASSES, SPEC, small_model
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from avadet.models.build import build
from avadet.models.detectors.two_stage import ActionDetector
from avadet.models.heads.build import HEADS, build_head
from avadet.models.heads.lstm import LstmHead

BACKBONES = ("slow_r50", "slowfast_r50", "mvitv2_s_16x4", "vivit_b_16x2", "frame_resnet", "tsn_r50")
"""One map and two, of as many frames as the clip and of fewer, of convolutions and of tokens."""

ROIS = torch.tensor(
    [[1.0, 4, 8, 40, 60], [0, 0, 0, 64, 64], [1, 30, 2, 62, 62], [0, 20, 20, 26, 28], [1, 0, 16, 30, 64]]
)
OPTIONS = {"roi": {}, "consensus": {}, "lstm": {"units": 8, "norm_input": True}}


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_kind_works_on_every_backbone(backbone: str, kind: str) -> None:
    net = small_model(backbone).model.backbone
    options = {"kind": kind, "aligned": True, "context": True, **OPTIONS.get(kind, {})}
    model = ActionDetector(net, build_head(net.out_channels, CLASSES, options)).train()
    for parameter in model.parameters():
        if not parameter.any():  # what starts at zero lets no gradient through
            nn.init.normal_(parameter, std=0.1)
    clips = torch.randint(0, 256, (2, 3, SPEC.num_frames, 64, 64), dtype=torch.uint8)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    loss = binary_cross_entropy_with_logits(model(clips, ROIS), torch.eye(CLASSES))
    loss.backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []
    optimizer.step()
    with torch.no_grad():
        logits = model.eval()(clips, ROIS)
        assert logits.isfinite().all() and logits.shape == (len(ROIS), CLASSES)
        of_first = ROIS[ROIS[:, 0] == 0]
        torch.testing.assert_close(model(clips[:1], of_first), logits[ROIS[:, 0] == 0], atol=1e-5, rtol=1e-4)
        assert model(clips, ROIS[:0]).shape == (0, CLASSES)


def test_a_card_or_config_asks_for_a_kind_under_the_head() -> None:
    arguments = {**small_model("slow_r50").card["arguments"], "head": {"kind": "lstm", "units": 8}}
    model = build("slow_r50", CLASSES, pixels=SPEC.pixels, **arguments)
    assert isinstance(model.head, LstmHead) and model.head.lstm.hidden_size == 8
