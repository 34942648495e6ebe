"""Two streams: flow of known motions, the start of the flow's net, and the fusion."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from counting import parameters
from each_case import each_case
from torch import Tensor

from avadet.errors import AvadetError
from avadet.models.backbones.frames import FrameResNet
from avadet.models.build import build
from avadet.models.detectors.two_streams import FlowNet, TwoStreamDetector, cross_modality, normal_flow, optical_flow

THIN: dict[str, Any] = {"depths": (1, 1, 1, 1), "width_per_group": 8}
METHODS = ["dis", "farneback"]


def moving(right_px: int, down_px: int, frames: int = 3, seed: int = 0) -> Tensor:
    """uint8 (1, 3, T, 64, 96): clouds that drift by so much a frame; what leaves comes back on the other side."""
    clouds = np.random.default_rng(seed).integers(0, 256, (64, 96), np.uint8)
    clouds = cv2.GaussianBlur(np.tile(clouds, (3, 3)), (0, 0), 2.5)[64:128, 96:192]
    clouds = cv2.normalize(clouds, None, 0, 255, cv2.NORM_MINMAX)
    shown = [np.roll(clouds, (down_px * t, right_px * t), (0, 1)) for t in range(frames)]
    return torch.from_numpy(np.stack(shown))[None, None].expand(-1, 3, -1, -1, -1).contiguous()


@each_case("method", METHODS)
@each_case(("right", "down"), [(2, 0), (-1, 3), (0, 0)])
def test_flow_of_a_known_motion(method: str, right: int, down: int) -> None:
    flow = optical_flow(moving(right, down), method)
    assert flow.shape == (1, 2, 2, 64, 96)
    assert flow.dtype == torch.float32
    inside = flow[..., 16:-16, 16:-16].flatten(2)
    assert inside.median(dim=2).values[0].tolist() == pytest.approx([right, down], abs=0.1)


def test_flow_of_bytes_and_of_fractions_is_the_same() -> None:
    clips = moving(1, 1)
    assert torch.equal(optical_flow(clips), optical_flow(clips.float() / 255))


def test_flow_of_one_clip_knows_no_other() -> None:
    first, second = moving(2, 0), moving(0, -2, seed=1)
    both = optical_flow(torch.cat([first, second]))
    assert torch.equal(both, torch.cat([optical_flow(first), optical_flow(second)]))


def test_flow_loses_the_camera_and_is_bounded() -> None:
    flow = torch.zeros(1, 2, 1, 1, 4)
    flow[0, 0, 0, 0] = torch.tensor([1.0, 3.0, 5.0, 103.0])  # mean 28
    assert normal_flow(flow)[0, 0, 0, 0].tolist() == pytest.approx([-1.0, -1.0, -1.0, 1.0])
    flow[0, 1, 0, 0] = torch.tensor([0.0, 4.0, 8.0, 12.0])  # mean 6
    assert normal_flow(flow)[0, 1, 0, 0].tolist() == pytest.approx([-0.3, -0.1, 0.1, 0.3])


@each_case(
    ("clips", "method", "message"),
    [
        (torch.zeros(1, 3, 2, 12, 64), "dis", "optical flow needs frames of at least 16 px, got 64x12"),
        (torch.zeros(1, 3, 2, 32, 32), "tvl1", "unknown method of optical flow 'tvl1'.* known: dis, farneback"),
    ],
)
def test_mistakes_are_named(clips: Tensor, method: str, message: str) -> None:
    with pytest.raises(AvadetError, match=message):
        optical_flow(clips, method)


def test_cross_modality_start_is_the_mean_over_colours() -> None:
    weight = torch.tensor([3.0, 6.0, 0.0]).view(1, 3, 1, 1)
    assert cross_modality(weight, 4).flatten().tolist() == [3.0] * 4
    torch.manual_seed(0)
    net, rgb = FlowNet(10, **THIN), FrameResNet(**THIN)
    net.fill_from_image(rgb.state_dict())
    assert net.trunk.conv1.weight.shape == (64, 20, 7, 7)
    for channel in (0, 7, 19):
        assert torch.equal(net.trunk.conv1.weight[:, channel], rgb.conv1.weight.mean(dim=1))


def test_fields_lie_one_behind_the_other() -> None:
    net = FlowNet(2, **THIN).eval()
    seen: list[Tensor] = []
    net.trunk.conv1.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    flow = torch.tensor([[[1.0, 2.0], [10.0, 20.0]]])[..., None, None].expand(-1, -1, -1, 32, 32)  # right, then down
    assert net(flow)[0].shape == (1, 2048, 1, 2, 2)
    assert seen[0][0, :, 0, 0].tolist() == [1, 10, 2, 20]  # right and down of field 0, then of field 1


def test_size_of_the_published_pair() -> None:
    with torch.device("meta"):
        model = build("two_streams_r50", 80)
    trunk, head = 23508032, 2048 * 80 + 80
    # Of the flow's first layer only the channels differ: 20 instead of 3.
    assert parameters(model) == 2 * (trunk + head) + 64 * 7 * 7 * (20 - 3)


@pytest.fixture
def model() -> TwoStreamDetector:
    torch.manual_seed(0)
    net = build("two_streams_r50", 4, fields=2, flow_weight=3.0, **THIN).eval()
    torch.nn.init.normal_(net.rgb.head.proj.weight)
    torch.nn.init.normal_(net.flow_head.proj.weight)
    return net


def test_logits_are_fused_by_their_weights(model: TwoStreamDetector) -> None:
    clips, rois = moving(1, 0, frames=5), torch.tensor([[0.0, 8, 8, 60, 50]])
    with torch.no_grad():
        rgb, flow = model.view_logits(clips, rois)
        torch.testing.assert_close(model(clips, rois), (rgb + 3 * flow) / 4)
        torch.testing.assert_close(rgb, model.rgb(clips, rois))


def test_the_flow_stream_sees_motion_alone(model: TwoStreamDetector) -> None:
    rois = torch.tensor([[0.0, 8, 8, 60, 50]])
    clips = moving(0, 0, frames=5)
    darker = (clips.float() * 0.5).to(torch.uint8)
    with torch.no_grad():
        (rgb, flow), (other_rgb, other_flow) = model.view_logits(clips, rois), model.view_logits(darker, rois)
    assert (rgb - other_rgb).abs().max() > 1e-3
    torch.testing.assert_close(flow, other_flow)  # nothing moves, however bright it is


def test_the_middle_fields_are_seen(model: TwoStreamDetector) -> None:
    rois = torch.tensor([[0.0, 0, 0, 96, 64]])
    clips = torch.cat([moving(1, 0, frames=5), moving(1, 0, frames=5, seed=2)[:, :, :2]], dim=2)
    other = clips.clone()
    other[:, :, 5:] = 0  # 7 frames, 6 fields: fields 2 and 3 lie between frames 2, 3 and 4
    with torch.no_grad():
        assert torch.equal(model.view_logits(clips, rois)[1], model.view_logits(other, rois)[1])
        other[:, :, 4] = 0
        assert not torch.equal(model.view_logits(clips, rois)[1], model.view_logits(other, rois)[1])


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_too_short_a_clip_and_a_traced_one_are_refused(model: TwoStreamDetector) -> None:
    rois = torch.tensor([[0.0, 8, 8, 60, 50]])
    with pytest.raises(AvadetError, match="2 fields of flow need clips of 3 frames, got 2"):
        model(moving(1, 0, frames=2), rois)
    with pytest.raises(AvadetError, match="optical flow is computed by OpenCV and has no place in a graph"):
        torch.jit.trace(model, (moving(1, 0), rois), check_trace=False)
