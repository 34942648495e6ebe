"""Published sizes of the CNN families: parameters, tensors, maps."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from each_case import each_case

from avadet.errors import AvadetError
from avadet.models.backbones.slow import ResNet3d
from avadet.models.backbones.slowfast import Lateral, SlowFast, slow_frames
from avadet.models.build import build


@each_case(
    ("builder", "millions", "tensors"),
    [
        ("slow_r50", 31.798, 320),
        ("slowfast_r50", 33.829, 662),
        ("i3d_r50", 27.388, 320),
        ("c2d_r50", 23.672, 320),
    ],
)
def test_published_sizes(builder: str, millions: float, tensors: int) -> None:
    with torch.device("meta"):
        model = build(builder, 80)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=5e-4)
    assert len(model.state_dict()) == tensors


def test_maps_of_the_full_models() -> None:
    with torch.device("meta"):
        slow, slowfast, i3d = (
            build("slow_r50", 80).backbone,
            build("slowfast_r50", 80).backbone,
            build("i3d_r50", 80).backbone,
        )
        assert [m.shape for m in slow(torch.empty(1, 3, 4, 256, 256))] == [(1, 2048, 4, 16, 16)]
        shapes = [tuple(m.shape) for m in slowfast(torch.empty(2, 3, 32, 224, 288))]
        assert shapes == [(2, 2048, 8, 14, 18), (2, 256, 32, 14, 18)]
        assert [m.shape for m in i3d(torch.empty(1, 3, 8, 224, 224))] == [(1, 2048, 4, 14, 14)]
    assert slow.out_channels == (2048,)
    assert slowfast.out_channels == (2048, 256)


def test_slow_frames() -> None:
    assert slow_frames(32, 4).tolist() == [0, 4, 8, 13, 17, 22, 26, 31]
    assert slow_frames(64, 4).tolist() == [0, 4, 8, 12, 16, 21, 25, 29, 33, 37, 42, 46, 50, 54, 58, 63]


def test_slow_frames_of_mmaction2_are_every_alpha_th() -> None:
    assert slow_frames(32, 4, "nearest").tolist() == [0, 4, 8, 12, 16, 20, 24, 28]
    assert slow_frames(32, 8, "nearest").tolist() == [0, 8, 16, 24]
    with pytest.raises(AvadetError, match="unknown sampling of slow frames 'nearst'; did you mean nearest"):
        slow_frames(32, 4, "nearst")


@each_case("sampling", ["linspace", "nearest"])
def test_the_slow_pathway_sees_the_frames_of_its_sampling(sampling: str) -> None:
    torch.manual_seed(0)
    net = SlowFast(width=4, fast_width=2, depths=(1, 1, 1, 1), slow_sampling=sampling).eval()
    seen: list[torch.Tensor] = []
    net.slow.stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    clip = torch.arange(32.0).view(1, 1, 32, 1, 1).expand(1, 3, 32, 32, 32)
    with torch.no_grad():
        net(clip)
    assert seen[0][0, 0, :, 0, 0].tolist() == slow_frames(32, 4, sampling).tolist()


def test_a_lateral_connection_without_norm_lets_negative_values_through() -> None:
    torch.manual_seed(0)
    slow, fast = torch.zeros(1, 2, 2, 3, 3), torch.randn(1, 2, 8, 3, 3)
    with_norm, without = Lateral(2, 2, 5, 4).eval(), Lateral(2, 2, 5, 4, normed=False).eval()
    assert with_norm(slow, fast).min() >= 0
    joined = without(slow, fast)
    assert joined.shape == (1, 6, 2, 3, 3)
    assert torch.equal(joined[:, 2:], without.conv(fast))
    assert joined.min() < 0


def test_without_dilation_the_last_stage_sees_less() -> None:
    torch.manual_seed(0)
    clip = torch.zeros(1, 3, 1, 160, 160)
    clip[..., 80, 80] = 1
    reach = []
    for dilation in (1, 2):
        net = ResNet3d(width=4, depths=(1, 1, 1, 1), temporal_kernels=((1,),) * 4, last_dilation=dilation).eval()
        for module in net.modules():
            if isinstance(module, torch.nn.Conv3d):
                torch.nn.init.ones_(module.weight)
            if isinstance(module, torch.nn.BatchNorm3d):
                torch.nn.init.ones_(module.weight)
        with torch.no_grad():
            found = net(clip)[0][0, 0, 0] - net(torch.zeros_like(clip))[0][0, 0, 0]
        assert found.shape == (10, 10)
        reach.append(int((found.abs().amax(dim=0) > 0).sum()))
    assert reach[1] == reach[0] + 2


@each_case("frames", [2, 30])
def test_a_clip_that_does_not_divide_is_refused(frames: int) -> None:
    with pytest.raises(AvadetError, match=f"multiple of 4 frames, got {frames}"):
        slow_frames(frames, 4)


def test_the_same_clip_can_be_shown_twice() -> None:
    torch.manual_seed(0)
    net = SlowFast(width=4, fast_width=2, depths=(1, 1, 1, 1)).eval()
    clip = torch.rand(1, 3, 8, 32, 32)
    kept = clip.clone()
    with torch.no_grad():
        first, second = net(clip), net(clip)
    assert torch.equal(clip, kept)
    assert all(torch.equal(a, b) for a, b in zip(first, second))


def test_residual_blocks_start_as_identities() -> None:
    torch.manual_seed(0)
    net = ResNet3d(width=4, depths=(1, 3, 1, 1)).eval()
    x = torch.rand(1, 16, 2, 8, 8)
    with torch.no_grad():
        first = net.res3[0](x)
        assert torch.equal(net.res3[2](net.res3[1](first)), first)


def test_importing_the_models_warns_of_nothing() -> None:
    code = "import avadet.models.backbones.slowfast"
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
