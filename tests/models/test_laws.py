"""Laws that every architecture must obey, whatever its weights."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from avadet.models.detector import ActionDetector, ActionModel
from avadet.models.mvit import V2, pyramid
from avadet.models.roi_head import RoIHead
from avadet.models.zoo import BUILDERS, build
from avadet.types import ClipSpec

CLASSES = 5
SIZE = 64
SHALLOW = {"width": 8, "depths": (1, 1, 1, 1)}
THIN = {**SHALLOW, "fast_width": 4}
MULTISCALE = {"stages": pyramid((1, 1, 1), width=8), "grid": (4, 16, 16)}
SMALL: dict[str, dict[str, Any]] = {
    "slow_r50": SHALLOW,
    "c2d_r50": SHALLOW,
    "i3d_r50": SHALLOW,
    "resnet3d": {**SHALLOW, "temporal_kernels": ((1,), (3,), (3,), (3,))},
    "slowfast_r50": THIN,
    "slowfast": {**THIN, "lateral_kernel": 5, "head": {"aligned": True}},
    "mvit": {**V2, **MULTISCALE, "grid": (3, 9, 11), "absolute_positions": "joint", "cls_token": False},
    "mvitv1_b_16x4": MULTISCALE,
    "mvitv1_b_32x3": MULTISCALE,
    "mvitv2_s_16x4": MULTISCALE,
    "mvitv2_b_32x3": MULTISCALE,
    "tiny_actions": {},
    "tiny_two_views": {"crop_hw": (64, 64)},
}
SPEC = ClipSpec(num_frames=8, stride=2, fps=30, short_side=SIZE, mean=(0.45,) * 3, std=(0.225,) * 3)
ROIS = torch.tensor(
    [[1.0, 4, 8, 40, 60], [0, 0, 0, 64, 64], [1, 30, 2, 62, 62], [0, 20, 20, 26, 28], [1, -8, 16, 30, 70]]
)


def test_every_architecture_is_on_trial() -> None:
    assert set(SMALL) == set(BUILDERS)


@pytest.fixture(scope="module", params=sorted(SMALL))
def model(request: pytest.FixtureRequest) -> ActionModel:
    """A small model of each architecture, in eval mode, with no weight at zero."""
    torch.manual_seed(0)
    net = build(request.param, CLASSES, SPEC, SMALL[request.param])
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.1, 0.3)
        if isinstance(module, RoIHead):
            nn.init.normal_(module.proj.weight, std=0.1)
    return net.eval()


@pytest.fixture(scope="module")
def clips() -> Tensor:
    """uint8 (2, 3, 8, 64, 64)."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, 3, SPEC.num_frames, SIZE, SIZE), generator=generator, dtype=torch.uint8)


@pytest.fixture(scope="module")
def logits(model: ActionModel, clips: Tensor) -> Tensor:
    """The model's answer to `clips` and `ROIS`."""
    with torch.no_grad():
        answer: Tensor = model(clips, ROIS)
    return answer


def test_answer_is_finite_and_differs_between_boxes(logits: Tensor) -> None:
    assert logits.shape == (len(ROIS), CLASSES)
    assert logits.isfinite().all()
    assert len({tuple(row) for row in logits.tolist()}) == len(ROIS)


def test_answer_is_logits_in_training_too(model: ActionModel, clips: Tensor) -> None:
    trainee = copy.deepcopy(model).train()
    with torch.no_grad():
        answer = trainee(clips, ROIS)
    assert answer.isfinite().all()
    assert answer.min() < 0  # a sigmoid could not


def test_any_aspect_ratio_works(model: ActionModel) -> None:
    with torch.no_grad():
        answer = model(torch.rand(1, 3, SPEC.num_frames, 50, 85), torch.tensor([[0.0, 3, 3, 80, 45]]))
    assert answer.isfinite().all()


def test_bytes_and_fractions_agree(model: ActionModel, clips: Tensor, logits: Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(model(clips.float() / 255, ROIS), logits)


def test_half_precision_gives_nearly_the_same(model: ActionModel, clips: Tensor, logits: Tensor) -> None:
    with torch.no_grad():
        answer = copy.deepcopy(model).bfloat16()(clips, ROIS)
    assert answer.dtype == torch.bfloat16
    torch.testing.assert_close(answer.float(), logits, atol=0.1 * logits.std().item(), rtol=0.1)


def test_gradient_reaches_every_parameter(model: ActionModel, clips: Tensor) -> None:
    trainee = copy.deepcopy(model)
    trainee(clips, ROIS).square().sum().backward()
    silent = [name for name, p in trainee.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


@pytest.mark.parametrize("training", [False, True])
def test_no_boxes_are_no_problem(model: ActionModel, clips: Tensor, training: bool) -> None:
    answer = copy.deepcopy(model).train(training)(clips, torch.zeros(0, 5))
    answer.sum().backward()
    assert answer.shape == (0, CLASSES)


def test_boxes_do_not_see_each_other(model: ActionModel, clips: Tensor, logits: Tensor) -> None:
    with torch.no_grad():
        alone = torch.cat([model(clips, ROIS[i : i + 1]) for i in range(len(ROIS))])
    torch.testing.assert_close(alone, logits)


def test_order_of_boxes_is_order_of_answers(model: ActionModel, clips: Tensor, logits: Tensor) -> None:
    order = torch.tensor([3, 0, 4, 2, 1])
    with torch.no_grad():
        torch.testing.assert_close(model(clips, ROIS[order]), logits[order])


def test_clips_do_not_see_each_other(model: ActionModel, clips: Tensor, logits: Tensor) -> None:
    swapped = ROIS.clone()
    swapped[:, 0] = 1 - ROIS[:, 0]
    only_first = ROIS[:, 0] == 0
    with torch.no_grad():
        torch.testing.assert_close(model(clips.flip(0), swapped), logits)
        torch.testing.assert_close(model(clips[:1], ROIS[only_first]), logits[only_first])


def test_box_of_the_whole_frame_is_the_mean_of_the_map(model: ActionModel, clips: Tensor) -> None:
    # One sample at the centre of each cell leaves no interpolation error, so the two must be equal, at any stride.
    if not isinstance(model, ActionDetector):
        pytest.skip("made of several detectors, which are on trial themselves")
    whole = torch.tensor([[0.0, 0, 0, SIZE, SIZE]])
    with torch.no_grad():
        maps = model.backbone(model.normalise(clips))
        assert [one_map.shape[1] for one_map in maps] == list(model.backbone.out_channels)  # type: ignore[arg-type]
        for one_map in maps:
            head = RoIHead(
                [one_map.shape[1]], 1, resolution=one_map.shape[-1], aligned=True, sampling_ratio=1, pool="avg"
            )
            features = head.box_features([one_map], whole, (SIZE, SIZE))
            torch.testing.assert_close(features[0], one_map[0].mean(dim=(1, 2, 3)))
