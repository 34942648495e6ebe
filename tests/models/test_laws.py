"""Laws that every architecture must obey, whatever its weights."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch
from small_heads import roi_head
from torch import Tensor, nn

from avadet.errors import AvadetError
from avadet.models.backbones.mvit import V2, pyramid
from avadet.models.checkpoints.formats import recognise
from avadet.models.checkpoints.formats.avadet import AVADET
from avadet.models.detectors.two_stage import ActionDetector, ActionModel
from avadet.models.heads.acar import ActorContextRelation
from avadet.models.heads.roi_head import RoIHead
from avadet.models.zoo import BUILDERS, build
from avadet.types import ClipSpec

CLASSES = 5
SIZE = 64
SHALLOW = {"width": 8, "depths": (1, 1, 1, 1)}
THIN = {**SHALLOW, "fast_width": 4}
MULTISCALE = {"stages": pyramid((1, 1, 1), width=8), "grid": (4, 16, 16)}
TINY_X3D = {"width": 8, "width_factor": 1.0, "depth_factor": 0.6}
PLAIN = {"channels": 16, "depth": 2, "heads": 2, "grid": (4, 4, 4)}
ROTARY = {"channels": 24, "depth": 2, "heads": 2}
UNITS = {"channels": 8, "heads": 1, "depths": (1, 1, 1, 1), "grid": (4, 16, 16)}
WINDOWS = {"channels": 8, "depths": (2, 2), "heads": (1, 2), "window": (2, 3, 3)}
VIEWS = [{"frames": frames, "channels": 4 * heads, "heads": heads} for frames, heads in ((8, 1), (4, 2), (2, 4))]
MULTIVIEW = {"views": VIEWS, "depth": 2, "fuse_at": (1,), "global_depth": 1, "global_heads": 4, "global_hidden": 16}
LEAN = {"depths": (1, 1, 1, 1), "inner": 8}
SMALL: dict[str, dict[str, Any]] = {
    "slow_r50": SHALLOW,
    "c2d_r50": SHALLOW,
    "i3d_r50": SHALLOW,
    "resnet3d": {**SHALLOW, "temporal_kernels": ((1,), (3,), (3,), (3,)), "head": {"acrn": {"width": 8}}},
    "slowfast_r50": THIN,
    "slowfast": {**THIN, "lateral_kernel": 5, "head": {"aligned": True, "acar": {"width": 8}}},
    "mvit": {**V2, **MULTISCALE, "grid": (3, 9, 11), "absolute_positions": "joint", "cls_token": False},
    "mvitv1_b_16x4": MULTISCALE,
    "mvitv1_b_32x3": MULTISCALE,
    "mvitv2_s_16x4": MULTISCALE,
    "mvitv2_b_32x3": MULTISCALE,
    "person_crops": {"crop_px": 64},
    "tiny_actions": {},
    "tiny_two_views": {"crop_hw": (64, 64)},
    "videomae": {**PLAIN, "tubelet": (4, 8, 8), "mlp_ratio": 2.0},
    "videomae_s": PLAIN,
    "videomae_b": PLAIN,
    "videomae_l": PLAIN,
    "videomae_h": PLAIN,
    "vivit": {**PLAIN, "tubelet": (4, 8, 8), "gelu": "tanh"},
    "vivit_b_16x2": PLAIN,
    "vivit_b_16x2_factorised_encoder": {**PLAIN, "temporal_depth": 1},
    "vivit_b_16x2_factorised_attention": PLAIN,
    "vivit_b_16x2_factorised_dot_product": PLAIN,
    "vivit_l_16x2": PLAIN,
    "vivit_l_16x2_factorised_encoder": {**PLAIN, "temporal_depth": 1},
    "timesformer": {**PLAIN, "patch": 8, "form": "joint"},
    "timesformer_b": PLAIN,
    "timesformer_b_hr": PLAIN,
    "timesformer_b_l": PLAIN,
    "swin3d": {**WINDOWS, "maps": (1, 2)},
    "swin3d_t": WINDOWS,
    "swin3d_s": WINDOWS,
    "swin3d_b": WINDOWS,
    "hiera": {**UNITS, "depths": (1, 2, 1), "mlp_ratio": 2.0, "maps": (1, 3)},
    "hiera_b": UNITS,
    "hiera_b_plus": UNITS,
    "hiera_l": UNITS,
    "hiera_h": UNITS,
    "vjepa2": {**ROTARY, "tubelet": (4, 8, 8), "mlp_ratio": 2.0},
    "vjepa2_l": ROTARY,
    "vjepa2_h": ROTARY,
    "vjepa2_g": ROTARY,
    "token_learner_vit": {**PLAIN, "tubelet": (4, 8, 8), "learn_after": 0, "tokens": 3},
    "token_learner_vit_b": {**PLAIN, "learn_after": 1},
    "mtv": {**MULTIVIEW, "patch": 8, "fuse_at": (0, 1), "grid": (4, 8, 8)},
    "mtv_b": MULTIVIEW,
    "frame_resnet": {"depths": (1, 1, 1, 1), "bottleneck": False, "windows": {"layer1": (2, 2), "layer4": (2, 1)}},
    "single_frame_r50": LEAN,
    "early_fusion_r50": {**LEAN, "num_frames": 8},
    "late_fusion_r50": LEAN,
    "slow_fusion_r50": {**LEAN, "windows": {"conv1": (2, 2), "layer1": (2, 2), "layer2": (2, 2)}},
    "tsn_r50": LEAN,
    "conv_pooling_r50": LEAN,
    "box_lstm_r50": {**LEAN, "head": {"units": 16, "layers": 2}},
    "cell_lstm_r50": {**LEAN, "units": 16},
    "two_streams_r50": {**LEAN, "fields": 5},
    "c3d": {"width": 8},
    "csn": {**SHALLOW, "preserved": True},
    "ir_csn_50": SHALLOW,
    "ir_csn_101": SHALLOW,
    "ir_csn_152": SHALLOW,
    "ip_csn_152": SHALLOW,
    "i3d_inception": {"width": 0.25, "depths": (1, 1, 0)},
    "s3d": {"width": 0.25, "depths": (1, 1, 0)},
    "r2plus1d_r50": SHALLOW,
    "video_resnet": {**SHALLOW, "kinds": ("2d", "2plus1d", "3d", "2d")},
    "r3d_18": SHALLOW,
    "mc3_18": SHALLOW,
    "r2plus1d_18": SHALLOW,
    "r2plus1d_34": SHALLOW,
    "x3d": TINY_X3D,
    "x3d_xs": TINY_X3D,
    "x3d_s": TINY_X3D,
    "x3d_m": TINY_X3D,
    "x3d_l": TINY_X3D,
    "x3d_xl": TINY_X3D,
}
SPEC = ClipSpec(num_frames=8, stride=2, fps=30, short_side=SIZE, mean=(0.45,) * 3, std=(0.225,) * 3)
ROIS = torch.tensor(
    [[1.0, 4, 8, 40, 60], [0, 0, 0, 64, 64], [1, 30, 2, 62, 62], [0, 20, 20, 26, 28], [1, -8, 16, 30, 70]]
)


def test_every_architecture_is_on_trial() -> None:
    assert set(SMALL) == set(BUILDERS)


SAME_IN_SMALL = (
    *("videomae_s", "videomae_l", "videomae_h", "vivit_l_16x2", "vivit_l_16x2_factorised_encoder"),
    *("timesformer_b_hr", "timesformer_b_l", "swin3d_s", "swin3d_b"),
    *("hiera_b_plus", "hiera_l", "hiera_h", "vjepa2_h"),
    *("ir_csn_50", "ir_csn_152", "ip_csn_152", "x3d_xs", "x3d_s", "x3d_l", "x3d_xl"),
)
"""Differ from a neighbour only in what `SMALL` sets: on trial when there is time."""


def architectures() -> list[Any]:
    return [pytest.param(name, marks=[pytest.mark.slow] * (name in SAME_IN_SMALL), id=name) for name in sorted(SMALL)]


@pytest.fixture(scope="module", params=architectures())
def architecture(request: pytest.FixtureRequest) -> str:
    """Each architecture's name."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def model(architecture: str) -> ActionModel:
    """A small model of each architecture, in eval mode, with no parameter at zero."""
    torch.manual_seed(0)
    net = build(architecture, CLASSES, SPEC, SMALL[architecture])
    for parameter in net.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
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
    if any(isinstance(module, ActorContextRelation) for module in model.modules()):
        pytest.skip("people's relations with each other are what it looks at; test_acar.py says whose")
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
            head = roi_head(
                [one_map.shape[1]], 1, resolution=one_map.shape[-1], aligned=True, sampling_ratio=1, pool="avg"
            )
            features = head.box_features([one_map], whole, (SIZE, SIZE))
            torch.testing.assert_close(features[0], one_map[0].mean(dim=(1, 2, 3)))


def test_strides_are_what_the_net_says(model: ActionModel) -> None:
    # A clip that is larger by whole cells has so many cells more, whatever is rounded at its edges.
    if not isinstance(model, ActionDetector):
        pytest.skip("made of several detectors, which are on trial themselves")
    strides = model.backbone.strides
    coarsest = int(max(max(pair) for pair in strides))  # type: ignore[arg-type, union-attr]
    sizes = (SIZE + 6, SIZE + 21), (SIZE + 6 + 2 * coarsest, SIZE + 21 + 3 * coarsest)
    with torch.no_grad():
        maps, larger = (model.backbone(torch.zeros(1, 3, SPEC.num_frames, *size_hw)) for size_hw in sizes)
    assert len(strides) == len(maps)  # type: ignore[arg-type]
    for (down, across), one, other in zip(strides, maps, larger):  # type: ignore[arg-type]
        assert (other.shape[3] - one.shape[3], other.shape[4] - one.shape[4]) == (
            2 * coarsest / down,
            3 * coarsest / across,
        )
        covered = one.shape[3] * down, one.shape[4] * across
        assert all(abs(size - px) < stride for size, px, stride in zip(sizes[0], covered, (down, across)))


def test_a_box_over_a_cell_reads_that_cell(model: ActionModel) -> None:
    if not isinstance(model, ActionDetector):
        pytest.skip("made of several detectors, which are on trial themselves")
    clip_hw = (SIZE, SIZE * 3 // 2)
    with torch.no_grad():
        maps = model.backbone(torch.zeros(1, 3, SPEC.num_frames, *clip_hw))
    for one_map in maps:
        rows, columns = one_map.shape[3:]
        numbered = torch.arange(1.0, rows * columns + 1).reshape(1, 1, 1, rows, columns)
        top, left = (
            corner.flatten() for corner in torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        )
        corners = torch.stack([left, top, left + 1, top + 1], dim=1) / torch.tensor([columns, rows, columns, rows])
        boxes_px = corners * torch.tensor([clip_hw[1], clip_hw[0]]).repeat(2)
        head = roi_head([1], 1, resolution=1, aligned=True, sampling_ratio=1)
        found = head.box_features([numbered], nn.functional.pad(boxes_px, (1, 0)), clip_hw)
        torch.testing.assert_close(found[:, 0], numbered.flatten())


def test_a_box_over_an_object_lights_up(model: ActionModel) -> None:
    # Something bright comes into one quarter of the picture: the features of that quarter's box change most.
    if not isinstance(model, ActionDetector):
        pytest.skip("made of several detectors, which are on trial themselves")
    height, width = 2 * SIZE + 6, 3 * SIZE + 10  # no multiple of any stride
    quarters = [(x, y, x + width // 2, y + height // 2) for y in (0, height // 2) for x in (0, width // 2)]
    clips = torch.full((5, 3, SPEC.num_frames, height, width), 0.45)
    for clip, (left, top, right, bottom) in zip(clips[1:], quarters):
        clip[..., top + 8 : bottom - 8, left + 8 : right - 8] = 1
    rois = torch.tensor([[number, *quarter] for number in range(5) for quarter in quarters]).float()
    with torch.no_grad():
        maps = model.backbone(model.normalise(clips))
        # The mean over the box, not the maximum, which one cell at its edge decides.
        head = roi_head([one_map.shape[1] for one_map in maps], 1, aligned=True, pool="avg")
        head.strides = model.head.strides
        features = head.box_features(maps, rois, (height, width))
    change = (features.reshape(5, 4, -1) - features[:4]).norm(dim=2)
    assert change.argmax(dim=1)[1:].tolist() == [0, 1, 2, 3]


def test_state_dict_is_the_whole_model(model: ActionModel, architecture: str, clips: Tensor, logits: Tensor) -> None:
    twin = build(architecture, CLASSES, SPEC, SMALL[architecture])
    twin.load_state_dict({name: tensor.clone() for name, tensor in model.state_dict().items()})
    with torch.no_grad():
        assert torch.equal(twin.eval()(clips, ROIS), logits)


def test_its_tensors_are_known_as_its_own(model: ActionModel, architecture: str) -> None:
    assert recognise(model.state_dict(), architecture) is AVADET


def test_arguments_survive_a_card(model: ActionModel, architecture: str) -> None:
    arguments = json.loads(json.dumps(SMALL[architecture]))
    with torch.device("meta"):
        twin = build(architecture, CLASSES, SPEC, arguments)
    assert {name: p.shape for name, p in twin.state_dict().items()} == {
        name: p.shape for name, p in model.state_dict().items()
    }


def test_arguments_that_mean_nothing_are_refused(architecture: str) -> None:
    with pytest.raises(AvadetError, match=rf"architecture {architecture} cannot be built with .*'dephts'"):
        build(architecture, CLASSES, SPEC, {**SMALL[architecture], "dephts": 1})
