"""Multiply-adds of the nets of two speeds as classifiers, the form they are published in: res5 with its stride."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from counting import gflops
from each_case import each_case
from torch import nn

from avadet.models.build import build

NONLOCAL_I3D = {
    "stem_kernel": 5,
    "temporal_kernels": ((3,), (3, 1), (3, 1), (1, 3)),
    "temporal_pool": 2,
    "nonlocal_after": ((), (1, 3), (1, 3, 5), ()),
}


def with_stride(net: nn.Module) -> nn.Module:
    """The net with a stride of 2 in res5, which a detector gives up for dilation; in place."""
    stages = [stage for name, stage in net.named_modules() if name.split(".")[-1] == "res5"]
    assert stages
    for stage in stages:
        for name, conv in stage.named_modules():
            if isinstance(conv, nn.Conv3d) and name.endswith("conv_b"):
                conv.dilation, conv.padding = (1, 1, 1), (conv.padding[0], 1, 1)
            if isinstance(conv, nn.Conv3d) and name in ("0.branch1_conv", "0.branch2.conv_b"):
                conv.stride = (1, 2, 2)
    return net


@pytest.mark.parametrize(
    ("builder", "options", "clip", "published"),
    [  # as fvcore counts PySlowFast's nets, norms included
        pytest.param("slow_r50", {}, (8, 224, 224), 41.92, marks=pytest.mark.slow),
        ("slow_r50", {}, (8, 256, 256), 54.75),
        pytest.param("slow_r50", {}, (4, 256, 256), 27.4, marks=pytest.mark.slow),
        pytest.param("slowfast_r50", {}, (32, 224, 224), 50.58, marks=pytest.mark.slow),
        ("slowfast_r50", {}, (32, 256, 256), 66.07),
        pytest.param("c2d_r50", {}, (8, 224, 224), 19.62, marks=pytest.mark.slow),
        ("c2d_r50", {}, (8, 256, 256), 25.63),
        pytest.param("i3d_r50", {}, (8, 224, 224), 28.54, marks=pytest.mark.slow),
        ("i3d_r50", {}, (8, 256, 256), 37.3),
        ("resnet3d", NONLOCAL_I3D, (8, 224, 224), 36.68),
    ],
)
def test_as_classifiers(builder: str, options: dict[str, Any], clip: tuple[int, int, int], published: float) -> None:
    with torch.device("meta"):
        net = with_stride(build(builder, 80, **options).backbone)
    assert gflops(net, (1, 3, *clip), norms=True) == pytest.approx(published, rel=0.002)


@each_case(
    ("builder", "clip", "published"),
    [("slow_r50", (4, 256, 256), 41.69), ("slowfast_r50", (32, 256, 256), 97.29)],
)
def test_as_detectors(builder: str, clip: tuple[int, int, int], published: float) -> None:
    with torch.device("meta"):
        net = build(builder, 80).backbone
    assert gflops(net, (1, 3, *clip), norms=True) == pytest.approx(published, rel=0.001)
