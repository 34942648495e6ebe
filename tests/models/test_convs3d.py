"""The 3-D convolutional backbones: published sizes, and maps equal to those of the libraries they are built on."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from counting import gflops, parameters
from each_case import each_case
from torch import Tensor, nn
from torchvision.models import googlenet
from torchvision.models.video import resnet as torchvision_resnet
from torchvision.models.video import s3d as torchvision_s3d

from avadet.errors import AvadetError
from avadet.models.backbones.c3d import C3d
from avadet.models.backbones.csn import ChannelSeparatedNet
from avadet.models.backbones.dilation import without_stride
from avadet.models.backbones.inception import InceptionNet, googlenet_trunk, i3d_trunk, s3d_trunk
from avadet.models.backbones.r2plus1d import SplitBottleneckNet
from avadet.models.backbones.r3d import VideoResNet, middle_channels
from avadet.models.backbones.x3d import X3d
from avadet.models.build import build

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pytorchvideo.models.csn import create_csn
    from pytorchvideo.models.r2plus1d import create_r2plus1d
    from pytorchvideo.models.x3d import create_x3d


KINETICS = 400
HEAD_512 = 512 * KINETICS + KINETICS
HEAD_1024 = 1024 * KINETICS + KINETICS
HEAD_2048 = 2048 * KINETICS + KINETICS
X3D_HEAD = 432 * 2048 + HEAD_2048
C3D_HEAD = 8192 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 101 + 101  # fc6, fc7, and fc8 of UCF101


def backbone_of(builder: str, **options: Any) -> nn.Module:
    """A full-size backbone without memory."""
    with torch.device("meta"):
        return build(builder, 80, **options).backbone


@each_case(
    ("builder", "classifier", "published"),
    [
        ("r3d_18", HEAD_512, 33371472),
        ("mc3_18", HEAD_512, 11695440),
        ("r2plus1d_18", HEAD_512, 31505325),
        ("r2plus1d_34", HEAD_512, 63697175),
        ("s3d", HEAD_1024, 8320048),
        ("x3d_xs", X3D_HEAD, 3794274),
        ("x3d_m", X3D_HEAD, 3794274),
        ("x3d_l", X3D_HEAD, 6153384),
        ("x3d_xl", 630 * 2048 + HEAD_2048, 11095840),
        ("ir_csn_50", HEAD_2048, 13131152),
        ("ir_csn_101", HEAD_2048, 22213776),
        ("ir_csn_152", HEAD_2048, 29703568),
        ("ip_csn_152", HEAD_2048, 33016592),
        ("r2plus1d_r50", HEAD_2048, 28107600),
        ("c3d", C3D_HEAD, 78409573),
    ],
)
def test_parameters_with_the_published_classifier(builder: str, classifier: int, published: int) -> None:
    assert parameters(backbone_of(builder)) + classifier == published


@pytest.mark.parametrize(
    ("builder", "options", "frames", "size", "published"),
    [
        # torchvision's own numbers
        ("r3d_18", {}, 16, 112, 40.697),
        ("mc3_18", {}, 16, 112, 43.343),
        ("r2plus1d_18", {}, 16, 112, 40.519),
        ("s3d", {"output_stride": 32}, 128, 224, 17.979 * 8),
        # the papers'
        ("r2plus1d_34", {}, 32, 112, 152.4),
        ("x3d_xs", {"output_stride": 32}, 4, 160, 0.60),
        pytest.param("x3d_s", {"output_stride": 32}, 13, 160, 1.96, marks=pytest.mark.slow),
        ("x3d_m", {"output_stride": 32}, 16, 224, 4.73),
        pytest.param("x3d_l", {"output_stride": 32}, 16, 312, 18.37, marks=pytest.mark.slow),
        pytest.param("x3d_xl", {"output_stride": 32}, 16, 312, 35.84, marks=pytest.mark.slow),
        ("c3d", {}, 16, 112, 38.5),
    ],
)
def test_multiply_adds(builder: str, options: dict[str, Any], frames: int, size: int, published: float) -> None:
    found = gflops(backbone_of(builder, **options), (1, 3, frames, size, size))
    assert found == pytest.approx(published, rel=0.01)


@pytest.mark.parametrize(
    ("builder", "frames", "size", "published"),
    [
        ("ir_csn_50", 32, 224, 42.80),
        pytest.param("ir_csn_101", 32, 256, 74.5, marks=pytest.mark.slow),
        pytest.param("ir_csn_152", 32, 256, 97.6, marks=pytest.mark.slow),
        pytest.param("ip_csn_152", 32, 256, 109.9, marks=pytest.mark.slow),
        ("r2plus1d_r50", 16, 256, 75.7),
        pytest.param("x3d_m", 16, 256, 6.40, marks=pytest.mark.slow),
    ],
)
def test_multiply_adds_with_norms(builder: str, frames: int, size: int, published: float) -> None:
    found = gflops(backbone_of(builder, output_stride=32), (1, 3, frames, size, size), norms=True)
    assert found == pytest.approx(published, rel=0.002)


@pytest.mark.parametrize(
    ("builder", "frames", "size", "shape", "coarse"),
    [
        ("r3d_18", 16, 112, (512, 2, 7, 7), None),
        ("mc3_18", 16, 112, (512, 16, 7, 7), None),
        ("r2plus1d_18", 16, 112, (512, 2, 7, 7), None),
        ("s3d", 64, 224, (1024, 8, 14, 14), (1024, 8, 7, 7)),
        pytest.param("i3d_inception", 64, 224, (1024, 8, 14, 14), (1024, 8, 7, 7), marks=pytest.mark.slow),
        ("x3d_s", 13, 160, (432, 13, 10, 10), (432, 13, 5, 5)),
        pytest.param("x3d_l", 16, 320, (432, 16, 20, 20), (432, 16, 10, 10), marks=pytest.mark.slow),
        pytest.param("ir_csn_101", 32, 256, (2048, 4, 16, 16), (2048, 4, 8, 8), marks=pytest.mark.slow),
        ("r2plus1d_r50", 16, 256, (2048, 4, 16, 16), (2048, 4, 8, 8)),
        ("c3d", 16, 112, (512, 2, 7, 7), None),
    ],
)
def test_maps_of_the_full_nets(
    builder: str, frames: int, size: int, shape: tuple[int, ...], coarse: tuple[int, ...] | None
) -> None:
    clip = torch.empty(1, 3, frames, size, size, device="meta")
    net = backbone_of(builder)
    assert [tuple(one_map.shape) for one_map in net(clip)] == [(1, *shape)]
    assert tuple(net.out_channels) == shape[:1]  # type: ignore[arg-type]
    if coarse is not None:
        assert [tuple(m.shape) for m in backbone_of(builder, output_stride=32)(clip)] == [(1, *coarse)]


def test_stages_of_x3d_m() -> None:
    net = backbone_of("x3d_m", output_stride=32)
    x = net.stem(torch.empty(1, 3, 16, 224, 224, device="meta"))  # type: ignore[operator]
    shapes = [tuple(x.shape[1:])]
    for name in ("res2", "res3", "res4", "res5"):
        x = net.get_submodule(name)(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(24, 16, 112, 112), (24, 16, 56, 56), (48, 16, 28, 28), (96, 16, 14, 14), (192, 16, 7, 7)]


def shaken(net: nn.Module) -> nn.Module:
    """The net in eval mode, its norms no longer identities."""
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.1, 0.3)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.7, 1.5)
    return net.eval()


def in_order(net: nn.Module) -> list[Tensor]:
    """The tensors of a net in the order of its modules."""
    return list(net.state_dict().values())


@each_case(
    ("kinds", "split", "makers"),
    [
        (("3d",) * 4, False, [torchvision_resnet.Conv3DSimple] * 4),
        (
            ("3d", "2d", "2d", "2d"),
            False,
            [torchvision_resnet.Conv3DSimple] + [torchvision_resnet.Conv3DNoTemporal] * 3,
        ),
        (("2plus1d",) * 4, True, [torchvision_resnet.Conv2Plus1D] * 4),
    ],
)
def test_torchvisions_weights_give_torchvisions_map(kinds: tuple[str, ...], split: bool, makers: list[Any]) -> None:
    torch.manual_seed(0)
    stem = torchvision_resnet.R2Plus1dStem if split else torchvision_resnet.BasicStem
    theirs = shaken(torchvision_resnet.VideoResNet(torchvision_resnet.BasicBlock, makers, [1, 1, 1, 1], stem, 2))
    with torch.device("meta"):
        ours = VideoResNet(kinds=kinds, split_stem=split, depths=(1, 1, 1, 1)).eval()
    weights = {name: tensor for name, tensor in theirs.state_dict().items() if not name.startswith("fc.")}
    ours.load_state_dict(weights, assign=True)
    clip = torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        expected = theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(theirs.stem(clip)))))
        torch.testing.assert_close(ours(clip)[0], expected)


def test_the_full_sizes_have_torchvisions_names() -> None:
    with torch.device("meta"):
        for builder, theirs in (
            ("r3d_18", torchvision_resnet.r3d_18()),
            ("mc3_18", torchvision_resnet.mc3_18()),
            ("r2plus1d_18", torchvision_resnet.r2plus1d_18()),
            ("s3d", torchvision_s3d()),
        ):
            expected = {k: v.shape for k, v in theirs.state_dict().items() if not k.startswith(("fc.", "classifier."))}
            assert {k: v.shape for k, v in build(builder, 80).backbone.state_dict().items()} == expected


def test_channels_between_space_and_time() -> None:
    # 64 -> 64: 27 * 64 * 64 / (9 * 64 + 3 * 64) = 110592 / 768; 64 -> 128: 221184 / 960 = 230.4.
    assert middle_channels(64, 64) == 144
    assert middle_channels(64, 128) == 230
    with torch.device("meta"):
        net = build("r2plus1d_34", 80).backbone
    assert [net.get_submodule(f"layer{i}")[0].conv2[0][0].out_channels for i in (1, 2, 3, 4)] == [144, 288, 576, 1152]


def test_an_unknown_kind_of_convolution_is_named() -> None:
    with pytest.raises(AvadetError, match="unknown kind of convolution '2plus1'; did you mean 2plus1d"):
        VideoResNet(kinds=("2plus1",) * 4)


def test_torchvisions_s3d_weights_give_its_map() -> None:
    torch.manual_seed(0)
    theirs = shaken(torchvision_s3d()).features
    with torch.device("meta"):
        ours = InceptionNet(*s3d_trunk(), output_stride=32).eval()
    ours.features.load_state_dict(theirs.state_dict(), assign=True)
    clip = torch.randn(1, 3, 8, 32, 48)
    with torch.no_grad():
        torch.testing.assert_close(ours(clip)[0], theirs(clip))


def test_norms_of_s3d_remember_what_they_are_told_to() -> None:
    for options, momentum in (({}, 0.001), ({"momentum": 0.1}, 0.1)):
        norms = [part for part in backbone_of("s3d", **options).modules() if isinstance(part, nn.BatchNorm3d)]
        assert {norm.momentum for norm in norms} == {momentum}


def test_the_2d_trunk_is_googlenet() -> None:
    torch.manual_seed(0)
    theirs = shaken(googlenet(aux_logits=False, init_weights=False))
    ours = googlenet_trunk()[0].eval()
    names = list(ours.state_dict())
    ours.load_state_dict(dict(zip(names, in_order(theirs)[: len(names)])))
    seen: list[Tensor] = []
    theirs.inception5b.register_forward_hook(lambda _module, _inputs, out: seen.append(out))
    picture = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        theirs(picture)
        torch.testing.assert_close(ours(picture), seen[0])


def test_i3d_is_googlenet_in_cubes() -> None:
    with torch.device("meta"):
        trunk, channels = i3d_trunk()
    kernels = {tuple(m.kernel_size) for m in trunk.modules() if isinstance(m, nn.Conv3d)}
    pools = [(m.kernel_size, m.stride) for m in trunk.children() if isinstance(m, nn.MaxPool3d)]
    assert kernels == {(7, 7, 7), (3, 3, 3), (1, 1, 1)}
    flat, cube = ((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (2, 2, 2))
    assert pools == [flat, flat, cube, ((2, 2, 2), (2, 2, 2))]
    assert channels == 1024
    assert parameters(trunk) == 12287264  # 12 M a stream, 25 M for RGB and flow with their classifiers (table 1)


SMALL_X3D = {"width_factor": 1.0, "depth_factor": 0.6}


@each_case(
    ("theirs", "ours"),
    [
        (lambda: create_x3d(stem_dim_in=8, **SMALL_X3D), lambda: X3d(width=8, output_stride=32, **SMALL_X3D)),
        (
            lambda: create_csn(stem_dim_out=8, stem_pool=nn.MaxPool3d),
            lambda: ChannelSeparatedNet(depths=(3, 4, 6, 3), width=8, output_stride=32),
        ),
        (lambda: create_r2plus1d(stem_dim_out=8), lambda: SplitBottleneckNet(width=8, output_stride=32)),
    ],
    ids=["x3d", "csn", "r2plus1d"],
)
def test_pytorchvideos_weights_give_its_map(theirs: Callable[[], nn.Module], ours: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    original, net = shaken(theirs()), ours().eval()
    names = list(net.state_dict())
    net.load_state_dict(dict(zip(names, in_order(original)[: len(names)])))
    x = clip = torch.randn(1, 3, 8, 32, 64)
    with torch.no_grad():
        for block in original.blocks[:5]:  # type: ignore[index, union-attr]
            x = block(x)
        if isinstance(net, X3d):
            pool = original.blocks[5].pool  # type: ignore[index, union-attr]
            x = pool.pre_act(pool.pre_norm(pool.pre_conv(x)))
        torch.testing.assert_close(net(clip)[0], x)


@each_case(
    "build",
    [
        lambda stride: ChannelSeparatedNet(depths=(1, 1, 1, 2), width=8, preserved=True, output_stride=stride),
        lambda stride: SplitBottleneckNet(depths=(1, 1, 1, 2), width=8, output_stride=stride),
        lambda stride: InceptionNet(*s3d_trunk(0.25), output_stride=stride),
        lambda stride: InceptionNet(*i3d_trunk(0.25), output_stride=stride),
    ],
    ids=["csn", "r2plus1d", "s3d", "i3d"],
)
def test_every_second_cell_of_the_fine_map_is_the_coarse_map(build: Callable[[bool], nn.Module]) -> None:
    torch.manual_seed(0)
    coarse, fine = shaken(build(32)), build(16).eval()
    fine.load_state_dict(coarse.state_dict())
    clip = torch.randn(1, 3, 8, 64, 128)
    with torch.no_grad():
        few, many = coarse(clip)[0], fine(clip)[0]
    assert many.shape[3:] == (2 * few.shape[3], 2 * few.shape[4]) == (4, 8)
    assert few.std() > 0
    torch.testing.assert_close(many[..., ::2, ::2], few)


def test_a_basic_block_of_2d_filters_loses_its_stride_too() -> None:
    torch.manual_seed(0)
    stage = nn.Sequential(nn.Conv2d(2, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(4, 4, 1))
    x = torch.randn(1, 2, 16, 12)
    with torch.no_grad():
        few = stage(x)
        without_stride(stage)
        torch.testing.assert_close(stage(x)[..., ::2, ::2], few)
    assert stage[0].dilation == (1, 1)
    assert stage[2].dilation == stage[2].padding == (2, 2)
    assert stage[3].dilation == (1, 1)


@pytest.mark.parametrize(
    ("net", "frames", "message"),
    [
        (C3d(width=1), 7, "C3d takes clips of at least 8 frames, got 7"),
        (InceptionNet(nn.Sequential(*(nn.MaxPool3d(1),) * 3), 3, output_stride=32), 4, "at least 5 frames, got 4"),
    ],
    ids=["c3d", "inception"],
)
def test_too_short_a_clip_is_refused(net: nn.Module, frames: int, message: str) -> None:
    with pytest.raises(AvadetError, match=message):
        net(torch.zeros(1, 3, frames, 32, 32))


@pytest.mark.parametrize("builder", ["s3d", "i3d_inception"])
def test_a_net_on_inception_may_end_with_block_4e(builder: str) -> None:
    net = backbone_of(builder, depths=(2, 5, 0))
    assert net(torch.empty(1, 3, 16, 64, 96, device="meta"))[0].shape == (1, 832, 4, 4, 6)
    assert tuple(net.out_channels) == (832,)  # type: ignore[arg-type]


@pytest.mark.parametrize(("trunk", "frames"), [(s3d_trunk, 5), (i3d_trunk, 5)])
def test_the_shortest_clip_leaves_one_frame(trunk: Callable[[], Any], frames: int) -> None:
    with torch.device("meta"):
        assert InceptionNet(*trunk(), output_stride=16)(torch.empty(1, 3, frames, 64, 64))[0].shape[2:] == (1, 4, 4)


def test_c3d_with_norms_has_one_behind_every_convolution() -> None:
    net = C3d(width=2, norm=True)
    assert sum(isinstance(m, nn.Conv3d) for m in net.modules()) == 8
    assert sum(isinstance(m, nn.BatchNorm3d) for m in net.modules()) == 8
    assert net(torch.zeros(2, 3, 16, 32, 32))[0].shape == (2, 16, 2, 2, 2)
