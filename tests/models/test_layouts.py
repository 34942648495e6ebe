"""Foreign names and shapes, understood without a single weight."""

from __future__ import annotations

import pytest
import torch
from pytorchvideo.models.resnet import create_resnet
from torch import nn

from avadet.errors import AvadetError
from avadet.models.layouts import AVADET, PYSLOWFAST, PYTORCHVIDEO, Tensors, recipe_of, recognise, translate
from avadet.models.slow import i3d_r50, slow_r50
from avadet.models.slowfast import slowfast


def named(*names: str) -> Tensors:
    """Tensors of these names, of no interest otherwise."""
    return {name: torch.empty(1, device="meta") for name in names}


@pytest.mark.parametrize(
    ("layout", "foreign", "own"),
    [
        (PYTORCHVIDEO, "model.blocks.0.conv.weight", "backbone.stem.conv.weight"),
        (PYTORCHVIDEO, "blocks.0.norm.running_var", "backbone.stem.norm.running_var"),
        (PYTORCHVIDEO, "model.blocks.3.res_blocks.5.branch2.norm_c.bias", "backbone.res4.5.branch2.norm_c.bias"),
        (PYTORCHVIDEO, "model.blocks.0.multipathway_blocks.1.conv.weight", "backbone.fast.stem.conv.weight"),
        (
            PYTORCHVIDEO,
            "model.blocks.4.multipathway_blocks.0.res_blocks.0.branch1_conv.weight",
            "backbone.slow.res5.0.branch1_conv.weight",
        ),
        (
            PYTORCHVIDEO,
            "model.blocks.0.multipathway_fusion.conv_fast_to_slow.weight",
            "backbone.lateral.stem.conv.weight",
        ),
        (PYTORCHVIDEO, "model.blocks.2.multipathway_fusion.norm.weight", "backbone.lateral.res3.norm.weight"),
        (PYTORCHVIDEO, "detection_head.proj.bias", "head.proj.bias"),
        (PYTORCHVIDEO, "blocks.6.proj.weight", "head.proj.weight"),
        (PYSLOWFAST, "s1.pathway1_stem.bn.weight", "backbone.fast.stem.norm.weight"),
        (PYSLOWFAST, "s3.pathway0_res0.branch1.weight", "backbone.slow.res3.0.branch1_conv.weight"),
        (PYSLOWFAST, "s3.pathway0_res0.branch1_bn.bias", "backbone.slow.res3.0.branch1_norm.bias"),
        (
            PYSLOWFAST,
            "s4.pathway1_res22.branch2.b_bn.running_mean",
            "backbone.fast.res4.22.branch2.norm_b.running_mean",
        ),
        (PYSLOWFAST, "s2.pathway0_res1.branch2.a.weight", "backbone.slow.res2.1.branch2.conv_a.weight"),
        (PYSLOWFAST, "s1_fuse.conv_f2s.weight", "backbone.lateral.stem.conv.weight"),
        (PYSLOWFAST, "s4_fuse.bn.running_var", "backbone.lateral.res4.norm.running_var"),
        (PYSLOWFAST, "head.projection.weight", "head.proj.weight"),
        (AVADET, "backbone.trunk.anything", "backbone.trunk.anything"),
    ],
)
def test_names(layout: object, foreign: str, own: str) -> None:
    assert layout.rename(foreign) == own  # type: ignore[attr-defined]


def test_one_pathway_is_no_slow_pathway() -> None:
    alone = translate(named("s1.pathway0_stem.conv.weight"), PYSLOWFAST)
    assert list(alone) == ["backbone.stem.conv.weight"]
    both = translate(named("s1.pathway0_stem.conv.weight", "s1.pathway1_stem.conv.weight"), PYSLOWFAST)
    assert list(both) == ["backbone.slow.stem.conv.weight", "backbone.fast.stem.conv.weight"]


@pytest.mark.parametrize(
    ("names", "layout"),
    [
        (["model.blocks.0.conv.weight", "detection_head.proj.bias"], "pytorchvideo"),
        (["blocks.0.multipathway_blocks.0.conv.weight"], "pytorchvideo"),
        (["s1.pathway0_stem.conv.weight", "head.projection.bias"], "pyslowfast"),
        (["backbone.trunk.stem.weight", "head.proj.weight"], "avadet"),
    ],
)
def test_family_is_recognised(names: list[str], layout: str) -> None:
    assert recognise(names, "x.pyth").name == layout


def test_a_pool_among_the_numbered_blocks_is_stepped_over() -> None:
    kernels = ((3, 1, 1), [(3, 1, 1), (1, 1, 1)], [(3, 1, 1), (1, 1, 1)], [(1, 1, 1), (3, 1, 1)])
    with torch.device("meta"):
        hub = create_resnet(
            stem_conv_kernel_size=(5, 7, 7), stage1_pool=nn.MaxPool3d, stage_conv_a_kernel_size=kernels
        ).state_dict()
        own = i3d_r50(400).state_dict()
    renamed = translate(hub, recognise(hub, "I3D_8x8_R50.pyth"))
    assert {name: value.shape for name, value in renamed.items()} == {name: own[name].shape for name in own}


def test_an_unknown_family_is_named_by_its_first_tensors() -> None:
    names = ["backbone.slow_path.conv1.conv.weight", "roi_head.bbox_head.fc_cls.weight"]
    with pytest.raises(AvadetError, match=r"x\.pth: tensors of no known layout \(first names: backbone\.slow_path"):
        recognise(names, "x.pth")
    with pytest.raises(AvadetError, match=r"first names: none"):
        recognise([], "x.pth")


def test_architecture_is_read_off_the_shapes() -> None:
    with torch.device("meta"):
        i3d = i3d_r50(7, width=16).state_dict()
        model = slowfast(
            9, width=32, fast_width=4, depths=(3, 4, 23, 3), lateral_kernel=5, slow_kernels=((1,), (1,), (3, 1), (3,))
        )
    found = recipe_of(i3d, PYSLOWFAST, {}, "x")
    assert (found.architecture, found.num_classes, found.clip.num_frames, found.clip.stride) == ("resnet3d", 7, 8, 8)
    assert found.arguments["width"] == 16
    assert found.arguments["stem_kernel"] == 5
    assert found.arguments["temporal_pool"] == 2
    assert found.arguments["temporal_kernels"] == [[3] * 3, [3, 1, 3, 1], [3, 1, 3, 1, 3, 1], [1, 3, 1]]
    found = recipe_of(model.state_dict(), PYTORCHVIDEO, {}, "x")
    assert (found.architecture, found.num_classes, found.clip.num_frames, found.clip.stride) == ("slowfast", 9, 32, 2)
    assert found.arguments["depths"] == [3, 4, 23, 3]
    assert found.arguments["lateral_kernel"] == 5
    assert found.arguments["lateral_ratio"] == 2
    assert found.arguments["fast_width"] == 4
    assert found.arguments["slow_kernels"][2] == [3, 1] * 11 + [3]


def test_settings_speak_where_shapes_are_silent() -> None:
    with torch.device("meta"):
        tensors = slowfast(3, width=8, fast_width=1).state_dict()
    settings = {
        "DATA": {"NUM_FRAMES": 64, "SAMPLING_RATE": 1, "TEST_CROP_SIZE": 320, "MEAN": [0.5, 0.4, 0.3]},
        "SLOWFAST": {"ALPHA": 8},
        "DETECTION": {"ALIGNED": False, "ROI_XFORM_RESOLUTION": 8},
    }
    found = recipe_of(tensors, PYSLOWFAST, settings, "x")
    assert found.arguments["alpha"] == 8
    assert found.arguments["head"] == {"aligned": False, "resolution": 8}
    clip = found.clip
    assert (clip.num_frames, clip.stride, clip.fps, clip.short_side) == (64, 1, 30.0, 320)
    assert (clip.mean, clip.std) == ((0.5, 0.4, 0.3), (0.225, 0.225, 0.225))


def test_alignment_follows_the_project_without_settings() -> None:
    with torch.device("meta"):
        tensors = slow_r50(3, width=8).state_dict()
    assert recipe_of(tensors, PYSLOWFAST, {}, "x").arguments["head"]["aligned"] is True
    assert recipe_of(tensors, PYTORCHVIDEO, {}, "x").arguments["head"]["aligned"] is False


def test_what_is_no_resnet_is_refused() -> None:
    tensors = named("head.proj.weight", "backbone.patch_embed.proj.weight")
    with pytest.raises(AvadetError, match=r"mvit\.pyth: not a ResNet of the Slow, SlowFast, I3D or C2D family"):
        recipe_of(tensors, PYSLOWFAST, {}, "mvit.pyth")
    with pytest.raises(AvadetError, match="no classifier among its 1 tensors"):
        recipe_of(named("backbone.stem.conv.weight"), PYSLOWFAST, {}, "x")
