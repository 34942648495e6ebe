"""Classifiers of pictures as a start: on a clip that stands still a video model gives what the picture gave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from each_case import each_case
from torch import Tensor, nn
from torchvision.models import GoogLeNet, VisionTransformer
from torchvision.models.resnet import Bottleneck, ResNet

from avadet.errors import AvadetError
from avadet.models.backbones.inception import googlenet_name
from avadet.models.build import build
from avadet.models.checkpoints.formats.format import IMAGES
from avadet.models.checkpoints.image_start import start_from_images
from avadet.models.checkpoints.weights import Checkpoint, read_checkpoint
from avadet.models.detectors.two_streams import cross_modality

THIN = {"depths": (1, 1, 1, 1), "width_per_group": 8}


def shaken(net: nn.Module) -> nn.Module:
    """The net in eval mode, no tensor as it starts."""
    torch.manual_seed(0)
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            low, high = (0.5, 1.5) if name.endswith("running_var") else (-0.2, 0.3)
            nn.init.uniform_(tensor, low, high)
    return net.eval()


def pictures(net: nn.Module, folder: Path) -> Checkpoint:
    """A classifier's weights, written and read."""
    torch.save(net.state_dict(), folder / "pictures.pth")
    checkpoint = read_checkpoint(folder / "pictures.pth")
    assert checkpoint.format.classifies == IMAGES
    return checkpoint


def start(name: str, checkpoint: Checkpoint, **options: Any) -> tuple[Any, Any]:
    """A model started from pictures, and the report."""
    model = build(name, 7, **options).eval()
    report = start_from_images(model, checkpoint.tensors, checkpoint.format, "pictures.pth")
    assert {name.rpartition(".")[0] for name in report.missing} <= {"head.proj", "rgb.head.proj", "flow_head.proj"}
    return model, report


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> tuple[ResNet, Checkpoint]:
    """A thin ResNet of bottlenecks, and its weights as a file had them."""
    net = shaken(ResNet(Bottleneck, [1, 1, 1, 1], num_classes=5, width_per_group=8))
    return net, pictures(net, tmp_path_factory.mktemp("resnet"))  # type: ignore[return-value]


def stem_of(net: ResNet, picture: Tensor) -> Tensor:
    answer: Tensor = net.layer2(net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(picture))))))
    return answer


def test_nets_of_frames_take_a_resnet_as_it_is(resnet: tuple[ResNet, Checkpoint]) -> None:
    net, checkpoint = resnet
    assert checkpoint.format.name == "torchvision resnet"
    model, report = start("single_frame_r50", checkpoint, **THIN)
    assert report.loaded == len([name for name in checkpoint.tensors if not name.endswith("tracked")])
    picture = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        seen = model.backbone.layer2(model.backbone.layer1(model.backbone._stage("conv1", picture)))
        torch.testing.assert_close(seen, stem_of(net, picture))


@each_case("name", ["tsn_r50", "early_fusion_r50", "late_fusion_r50", "slow_fusion_r50", "box_lstm_r50"])
def test_other_nets_of_frames_too(resnet: tuple[ResNet, Checkpoint], name: str) -> None:
    model = build(name, 7, **THIN)
    report = start_from_images(model, resnet[1].tensors, resnet[1].format, "pictures.pth")
    assert not any(name.startswith("backbone.") for name in report.missing)
    assert torch.equal(model.backbone.layer3[0].conv2.weight, resnet[0].layer3[0].conv2.weight)


def test_two_streams_see_flow_through_the_mean_of_colours(resnet: tuple[ResNet, Checkpoint]) -> None:
    model, _ = start("two_streams_r50", resnet[1], fields=3, **THIN)
    assert torch.equal(model.rgb.backbone.conv1.weight, resnet[0].conv1.weight)
    assert torch.equal(model.flow.trunk.conv1.weight, cross_modality(resnet[0].conv1.weight, 6))
    assert torch.equal(model.flow.trunk.layer1[0].conv1.weight, resnet[0].layer1[0].conv1.weight)


def test_a_3d_net_inflates_it(resnet: tuple[ResNet, Checkpoint], tmp_path: Path) -> None:
    net = shaken(ResNet(Bottleneck, [1, 1, 1, 1], num_classes=5))
    checkpoint = pictures(net, tmp_path)
    model, _ = start("i3d_r50", checkpoint, depths=(1, 1, 1, 1))
    picture = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        clip = picture[:, :, None].expand(-1, -1, 16, -1, -1)
        body = model.backbone
        seen = body.res3(body.temporal_pool(body.res2(body.stem(clip))))
        # In the middle, where no padding is in sight.
        torch.testing.assert_close(seen[:, :, 4], stem_of(net, picture), atol=1e-4, rtol=1e-3)  # type: ignore[arg-type]


def test_i3d_on_inception_inflates_googlenet(tmp_path: Path) -> None:
    net = shaken(GoogLeNet(num_classes=5, aux_logits=True, init_weights=False))
    checkpoint = pictures(net, tmp_path)
    assert checkpoint.format.name == "torchvision googlenet"
    model, _ = start("i3d_inception", checkpoint)
    cube = model.backbone.get_submodule("features.15.branch2.1.conv").weight
    square = net.get_submodule("inception5b.branch2.1.conv").weight
    assert cube.shape[2] == 3
    torch.testing.assert_close(cube.sum(dim=2), square)
    assert googlenet_name("features.12.branch1.bn.bias") == "inception4e.branch1.bn.bias"


def test_transformers_of_video_take_an_image_transformer(tmp_path: Path) -> None:
    net = shaken(VisionTransformer(32, 16, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=64, num_classes=5))
    checkpoint = pictures(net, tmp_path)
    assert checkpoint.format.name == "torchvision vit"
    sizes = {"embed_dim": 16, "depth": 2, "heads": 2}
    for name, grid in (("vivit", (4, 2, 2)), ("timesformer", (8, 2, 2)), ("token_learner_vit", (4, 2, 2))):
        model = build(name, 7, grid=grid, **sizes)
        report = start_from_images(model, checkpoint.tensors, checkpoint.format, "pictures.pth")
        assert "backbone.blocks.0.norm1.weight" not in report.missing
        mlp = net.encoder.layers[1].mlp[0].weight
        assert torch.equal(model.backbone.blocks[1].mlp.fc1.weight, mlp), name


def test_token_learner_takes_all_blocks_of_an_image_transformer(tmp_path: Path) -> None:
    net = shaken(VisionTransformer(32, 16, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=64, num_classes=5))
    checkpoint = pictures(net, tmp_path)
    sizes = {"embed_dim": 16, "depth": 3, "heads": 2, "learn_after": 1, "tokens": 3, "grid": (2, 3, 4)}
    model = build("token_learner_vit", 7, **sizes).eval()
    report = start_from_images(model, checkpoint.tensors, checkpoint.format, "pictures.pth")
    # All it has but the class and its classifier; what stays random is what no image has.
    theirs = {name for name in checkpoint.tensors if not name.startswith(("class_token", "heads."))}
    assert report.loaded == len(theirs)
    fuser = ("norm_tokens", "mix", "norm_mixed", "norm_places", "want")
    parts = ("learner.norm", "learner.weigh", *(f"fuser.{part}" for part in fuser))
    drawn = {f"backbone.blocks.{late}.{part}" for late in (1, 2) for part in parts}
    assert {part for part in drawn for name in report.missing if name.startswith(f"{part}.")} == drawn
    assert all(name.startswith(("head.proj.", *drawn)) for name in report.missing)
    for number, block in enumerate([model.backbone.blocks[0], *(late.block for late in model.backbone.blocks[1:])]):
        tokens = torch.randn(2, 6, 16)
        with torch.no_grad():
            torch.testing.assert_close(block(tokens), net.encoder.layers[number](tokens))


@each_case(
    ("name", "options", "message"),
    [
        ("swin3d", {"embed_dim": 8, "depths": (1, 1), "heads": (1, 2)}, "from which no part of this model can start"),
        ("single_frame_r50", {**THIN, "width_per_group": 16}, r"pictures\.pth: .*do not fit"),
        ("slow_r50", {"width": 8}, r"pictures\.pth: .*2-D weights"),
    ],
)
def test_what_did_not_grow_out_of_it_is_refused(
    resnet: tuple[ResNet, Checkpoint], name: str, options: dict[str, Any], message: str
) -> None:
    model = build(name, 7, **options)
    with pytest.raises(AvadetError, match=message):
        start_from_images(model, resnet[1].tensors, resnet[1].format, "pictures.pth")
