"""Nets of pictures on videos: which frames they see, where frames meet, and what a still clip must give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from counting import gflops, parameters
from each_case import each_case
from torch import Tensor, nn
from torchvision.models import resnet18, resnet50

from avadet.errors import AvadetError
from avadet.models.backbones.frames import FrameResNet, segment_frames, widened
from avadet.models.build import build

THIN: dict[str, Any] = {"depths": (1, 1, 1, 1), "width_per_group": 8}
FUSIONS: dict[str, dict[str, Any]] = {
    "middle": {"frames": "middle"},
    "early": {"windows": {"conv1": (10, 10)}},
    "late": {"frames": "ends", "windows": {"end": (2, 2)}},
    "slow": {"windows": {"conv1": (4, 2), "layer1": (2, 2), "layer2": (2, 2)}},
}


def shaken(net: nn.Module) -> nn.Module:
    """The net in eval mode, its norms no longer identities."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.1, 0.3)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.7, 1.5)
    return net.eval()


def test_published_sizes() -> None:
    with torch.device("meta"):
        tsn, single = build("tsn_r50", 80, output_stride=32).backbone, build("single_frame_r50", 80).backbone
    assert parameters(tsn) + 2048 * 400 + 400 == 24327632  # TSN R50 as a classifier of Kinetics-400
    assert parameters(single) + 2048 * 1000 + 1000 == 25557032  # torchvision's resnet50
    assert gflops(tsn, (1, 3, 3, 224, 224)) == pytest.approx(3 * 4.089, rel=0.001)


@each_case(
    ("builder", "frames", "shape"),
    [
        ("single_frame_r50", 8, (2048, 1, 14, 16)),
        ("early_fusion_r50", 10, (2048, 1, 14, 16)),
        ("late_fusion_r50", 16, (4096, 1, 14, 16)),
        ("slow_fusion_r50", 10, (2048, 1, 14, 16)),
        ("tsn_r50", 8, (2048, 3, 14, 16)),
        ("conv_pooling_r50", 5, (2048, 5, 14, 16)),
        ("cell_lstm_r50", 5, (512, 1, 14, 16)),
    ],
)
def test_maps_of_the_full_nets(builder: str, frames: int, shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        net = build(builder, 80).backbone.eval()
        if builder != "tsn_r50":  # which frames it sees cannot be computed without memory
            assert [tuple(m.shape) for m in net(torch.empty(2, 3, frames, 224, 256))] == [(2, *shape)]
    assert tuple(net.out_channels) == shape[:1]


def test_first_layers_of_the_fusions_see_what_the_paper_says() -> None:
    with torch.device("meta"):
        early, slow = build("early_fusion_r50", 80).backbone, build("slow_fusion_r50", 80).backbone
    assert early.conv1.weight.shape == (64, 30, 7, 7)
    assert slow.conv1.weight.shape == (64, 12, 7, 7)
    seen: dict[str, Any] = {}
    for place in ("conv1", "layer1", "layer2", "layer3"):
        slow.get_submodule(place).register_forward_pre_hook(
            lambda _module, inputs, place=place: seen.__setitem__(place, tuple(inputs[0].shape[:2]))
        )
    slow(torch.empty(1, 3, 10, 64, 64, device="meta"))
    # 10 frames: 4 windows of 4, then 2 of 2, then 1 of 2.
    assert seen == {"conv1": (4, 12), "layer1": (2, 128), "layer2": (1, 512), "layer3": (1, 512)}


@each_case("fusion", sorted(FUSIONS))
@each_case("bottleneck", [False, True])
def test_a_still_clip_is_its_picture_wherever_frames_meet(fusion: str, bottleneck: bool) -> None:
    torch.manual_seed(0)
    sizes = {**THIN, "bottleneck": bottleneck} if bottleneck else {"depths": (1, 1, 1, 1), "bottleneck": False}
    pictures = shaken(FrameResNet(**sizes))
    net = FrameResNet(**sizes, **FUSIONS[fusion]).eval()
    net.fill_from_image(pictures.state_dict())
    picture = torch.randn(2, 3, 1, 48, 64)
    with torch.no_grad():
        expected = pictures(picture)[0]
        found = net(picture.expand(-1, -1, 10, -1, -1))[0]
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected.repeat(1, 2, 1, 1, 1) if fusion == "late" else expected)


@each_case("fusion", ["early", "late", "slow"])
def test_fused_frames_are_not_alike(fusion: str) -> None:
    torch.manual_seed(0)
    net = shaken(FrameResNet(**THIN, **FUSIONS[fusion]))
    with torch.no_grad():
        for module in net.modules():  # as training would: every frame its own filters
            if isinstance(module, nn.Conv2d):
                module.weight.add_(0.02 * torch.randn_like(module.weight))
        clip = torch.randn(1, 3, 10, 32, 32)
        assert (net(clip)[0] - net(clip.flip(2))[0]).abs().max() > 1e-3


def test_every_frame_by_itself_is_torchvisions_resnet() -> None:
    torch.manual_seed(0)
    theirs = shaken(resnet18())
    net = FrameResNet(depths=(2, 2, 2, 2), bottleneck=False, output_stride=32).eval()
    net.fill_from_image(theirs.state_dict())
    seen: list[Tensor] = []
    theirs.layer4.register_forward_hook(lambda _module, _inputs, out: seen.append(out))
    clip = torch.randn(1, 3, 2, 32, 64)
    with torch.no_grad():
        theirs(clip[0].transpose(0, 1))
        torch.testing.assert_close(net(clip)[0][0].transpose(0, 1), seen[0])


def test_every_second_cell_of_the_fine_map_is_the_coarse_map() -> None:
    torch.manual_seed(0)
    coarse, fine = (
        shaken(FrameResNet(depths=(1, 1, 1, 2), width_per_group=8, output_stride=32)),
        FrameResNet(depths=(1, 1, 1, 2), width_per_group=8),
    )
    fine.eval().load_state_dict(coarse.state_dict())
    clip = torch.randn(1, 3, 1, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(fine(clip)[0][..., ::2, ::2], coarse(clip)[0])


def test_chosen_frames_by_hand() -> None:
    numbered = torch.arange(9.0).view(1, 1, 9, 1, 1)

    def seen(frames: str | int) -> list[float]:
        net = FrameResNet(**THIN, frames=frames).eval()
        return net._chosen(numbered).flatten().tolist()

    assert seen("all") == list(range(9))
    assert seen("middle") == [4]
    assert seen("ends") == [0, 8]
    assert seen(3) == [1, 4, 7]


def test_segments() -> None:
    assert segment_frames(9, 3, randomly=False).tolist() == [1, 4, 7]
    assert segment_frames(8, 3, randomly=False).tolist() == [1, 4, 6]  # 8 / 6 = 1.33, 24 / 6 = 4, 40 / 6 = 6.67
    assert segment_frames(4, 4, randomly=True).tolist() == [0, 1, 2, 3]
    torch.manual_seed(0)
    draws = torch.stack([segment_frames(9, 3, randomly=True) for _ in range(200)])
    for segment in range(3):
        assert set(draws[:, segment].tolist()) == {3 * segment, 3 * segment + 1, 3 * segment + 2}
    with pytest.raises(AvadetError, match="a clip of 2 frames cannot be cut into 3 segments"):
        segment_frames(2, 3, randomly=False)


def test_wider_filters_by_hand() -> None:
    conv = nn.Conv2d(2, 1, 1, bias=False)
    nn.init.constant_(conv.weight, 6.0)
    wide = widened(conv, 3)
    assert wide.weight.flatten().tolist() == [2.0] * 6


@each_case(
    ("arguments", "frames", "message"),
    [
        ({"windows": {"conv1": (4, 2), "layer1": (2, 2)}}, 5, "FrameResNet takes clips of at least 6 frames, got 5"),
        ({"frames": "ends", "windows": {"layer1": (3, 1)}}, 5, "3 frames meet before layer1, but only 2 are left"),
        ({"frames": "midle"}, 5, "frames must be 'all', 'middle', 'ends' or a number of segments, got 'midle'"),
        ({"windows": {"layer5": (2, 2)}}, 5, "frames can meet before conv1, .*, end, got layer5"),
    ],
)
def test_mistakes_are_named(arguments: dict[str, Any], frames: int, message: str) -> None:
    with pytest.raises(AvadetError, match=message):
        FrameResNet(**THIN, **arguments)(torch.zeros(1, 3, frames, 32, 32))


def test_weights_of_another_depth_are_refused() -> None:
    net = FrameResNet(**THIN)
    with pytest.raises(AvadetError, match=r"no 2-D weights for conv1\.weight: .* is not among those given"):
        net.fill_from_image({})
    with torch.device("meta"):
        other = {name: torch.empty_like(tensor) for name, tensor in resnet50().state_dict().items()}
    with pytest.raises(AvadetError, match=r"do not fit layer1\.0\.conv1\.weight: \(64, 64, 1, 1\) for \(8, 64, 1, 1\)"):
        net.fill_from_image(other)
