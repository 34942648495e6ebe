"""A model summarised: parameters and multiply-adds by hand, shapes, runs of equal parts."""

from __future__ import annotations

import pytest
import torch
from each_case import each_case
from torch import Tensor, nn

from avadet.models.backbones.backbone import Backbone, Stride
from avadet.models.backbones.mvit import Attention
from avadet.models.backbones.mvit_stages import V2, pyramid
from avadet.models.build import build
from avadet.models.detectors.two_stage import ActionDetector
from avadet.models.engines.summary import (
    Part,
    Summary,
    count_flops,
    count_parameters,
    summary,
)
from avadet.models.heads.roi_head import RoIHead
from avadet.models.sizes import SIZES


class Pictures(Backbone):
    """Two convolutions of 1x1x1 and a pool, in a list that is never called."""

    out_channels = (5,)
    strides = (Stride(1, 2, 2),)

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))
        self.layers = nn.ModuleList(
            [nn.Conv3d(3, 5, 1), nn.ReLU(), nn.Conv3d(5, 5, 1, bias=False), nn.AvgPool3d((1, 2, 2)), nn.Dropout()]
        )

    def forward(self, clip: Tensor) -> list[Tensor]:
        for layer in self.layers:
            clip = layer(clip)
        return [clip * self.scale[0]]


def test_parameters_multiply_adds_and_shapes_by_hand() -> None:
    found = summary(lambda: ActionDetector(Pictures(), RoIHead([5], 7)), frames=4, hw=(6, 10))
    assert found.parameters == 2 + (3 * 5 + 5) + 5 * 5 + (5 * 7 + 7)
    assert found.gflops * 1e9 == pytest.approx(4 * 6 * 10 * (3 * 5 + 5 * 5) + 5 * 7)
    backbone, head = found.parts
    assert (backbone.name, backbone.kind, backbone.parameters) == ("backbone", "Pictures", 47)
    assert backbone.shapes == ((1, 5, 4, 3, 5),)
    assert (head.name, head.parameters, head.shapes) == ("head", 42, ((1, 7),))
    scale, layers = backbone.parts
    assert scale == Part("scale", "parameter", 2, ())
    # ReLU and dropout change neither numbers nor shape.
    assert [(part.name, part.kind, part.parameters, part.shapes) for part in layers.parts] == [
        ("0", "Conv3d", 20, ((1, 5, 4, 6, 10),)),
        ("2", "Conv3d", 25, ((1, 5, 4, 6, 10),)),
        ("3", "AvgPool3d", 0, ((1, 5, 4, 3, 5),)),
    ]


def test_equal_blocks_are_one_line() -> None:
    small = {"embed_dim": 16, "depth": 3, "heads": 2, "grid": (4, 2, 3)}
    found = summary(lambda: build("vivit", 5, **small), frames=8, hw=(32, 48))
    (blocks,) = [part for part in found.parts[0].parts if part.name == "blocks"]
    assert (blocks.kind, blocks.shapes, blocks.parts) == ("3 x Block", ((1, 1 + 4 * 2 * 3, 16),), ())
    assert blocks.parameters == 3 * (12 * 16**2 + 13 * 16)


def test_a_pyramid_shows_its_stages() -> None:
    plan = {"stages": pyramid((1, 2, 3), width=8), "grid": (4, 16, 16), "widen_in_attention": True}
    found = summary(lambda: build("mvit", 5, **plan), frames=8, hw=(64, 64))
    (blocks,) = [part for part in found.parts[0].parts if part.name == "blocks"]
    assert [(part.name, part.kind, part.shapes[0][1]) for part in blocks.parts] == [
        ("0", "Block", 1 + 4 * 16 * 16),
        ("1-2", "2 x Block", 1 + 4 * 8 * 8),
        ("3-5", "3 x Block", 1 + 4 * 4 * 4),
    ]


def test_pathways_whose_stages_are_called_one_by_one_are_opened_up() -> None:
    found = summary(lambda: build("slowfast_r50", 80), frames=32, hw=(256, 256))
    slow, fast, _ = found.parts[0].parts
    assert [part.shapes for part in slow.parts] == [
        ((1, channels, 8, side, side),) for channels, side in ((64, 64), (256, 64), (512, 32), (1024, 16), (2048, 16))
    ]
    assert fast.parts[-1].shapes == ((1, 256, 32, 16, 16),)
    assert (found.parameters, round(found.gflops, 1)) == (33_828_888, 96.9)


def test_operations_are_those_of_the_paper() -> None:
    """Not those of the one-hot places that make attention with relative positions fast."""
    sizes = {"stages": pyramid((1,), width=8), "grid": (2, 16, 16), "patch_stride": (2, 4, 4), "cls_token": False}
    shape = (1, 3, 4, 64, 64)
    with torch.device("meta"):
        net = build("mvit", 5, **{**V2, **sizes}).backbone.eval()
        with count_flops(net) as counter:
            net(torch.empty(shape))
    queries, keys = 2 * 16 * 16, 2 * 2 * 2
    patches = queries * 8 * 3 * 3 * 7 * 7
    matrices = queries * (3 + 1 + 2 * 4) * 8 * 8
    pooling = (queries + 2 * keys) * 8 * 3**3
    places = queries * 8 * (2 + 2 + 2)
    attention = 2 * queries * keys * 8
    assert counter.get_total_flops() / 2 == patches + matrices + pooling + places + attention
    with pytest.raises(ZeroDivisionError), count_flops(net):
        1 / 0  # noqa: B018
    assert [part.count_as_written for part in net.modules() if isinstance(part, Attention)] == [False]


def leaves(parts: tuple[Part, ...]) -> list[Part]:
    return [leaf for part in parts for leaf in (leaves(part.parts) or [part])]


def whole(found: Summary) -> int:
    return sum(part.parameters for part in leaves(found.parts))


def test_a_model_of_several_detectors_is_run_for_real() -> None:
    found = summary(lambda: build("tiny_two_views", 21, crop_hw=(64, 64)), frames=8, hw=(64, 96))
    frame, actor = found.parts
    assert frame.parts[0].shapes == ((1, 96, 8, 4, 6), (1, 192, 8, 2, 3))
    assert actor.parts[0].shapes == ((1, 96, 8, 4, 4), (1, 192, 8, 2, 2))
    assert found.parameters == whole(found) == count_parameters(build("tiny_two_views", 21))


def test_no_hook_is_left() -> None:
    built: list[ActionDetector] = []

    def made() -> ActionDetector:
        built.append(build("slow_r50", 5, width=8, depths=(1, 1, 1, 1)))
        return built[-1]

    found = summary(made, frames=4, hw=(64, 64))
    assert [any(module._forward_hooks for module in model.modules()) for model in built] == [False]
    assert found.parameters == whole(found) == count_parameters(built[0])


PUBLISHED = [(name, size.clip) for name, size in SIZES.items() if size.clip is not None]


@pytest.mark.slow
@each_case(("name", "size"), PUBLISHED, ids=[name for name, _ in PUBLISHED])
def test_every_published_size_can_be_taken_apart(name: str, size: tuple[int, int, int]) -> None:
    frames, _, side_px = size
    found = summary(lambda: build(name, 80), frames, (side_px, side_px))
    assert found.parameters == whole(found) > 0
    assert found.gflops > 0
    assert all(shape[1] > 0 for part in found.parts for shape in part.shapes)
