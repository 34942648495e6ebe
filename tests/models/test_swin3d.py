"""Video Swin as maps: published sizes, and torchvision's answers from the same weights."""

from __future__ import annotations

import pytest
import torch
from counting import sizes
from each_case import each_case
from torch import nn
from torchvision.models import video
from torchvision.models.video.swin_transformer import PatchEmbed3d, SwinTransformer3d

from avadet.errors import AvadetError
from avadet.models.backbones.swin3d import Swin3d
from avadet.models.build import build

SMALL = {"embed_dim": 8, "depths": (2, 2), "heads": (1, 2), "window": (2, 3, 3)}


@each_case(
    ("builder", "parameters", "channels", "gflops"),
    [  # torchvision publishes the numbers of its own models of 400 classes; multiply-adds were counted on those
        ("swin3d_t", video.Swin3D_T_Weights.KINETICS400_V1.meta["num_params"], 768, 88.06),
        ("swin3d_s", video.Swin3D_S_Weights.KINETICS400_V1.meta["num_params"], 768, None),
        ("swin3d_b", video.Swin3D_B_Weights.KINETICS400_V1.meta["num_params"], 1024, 281.9),
    ],
)
def test_published_sizes(builder: str, parameters: int, channels: int, gflops: float | None) -> None:
    found, operations, shapes = sizes(builder, (32, 224, 224))
    assert found == parameters - 320 * (channels + 1)  # 80 classes instead of 400
    assert gflops is None or operations == pytest.approx(gflops, rel=0.01)
    assert shapes == [(1, channels, 16, 7, 7)]


def test_maps_of_several_stages() -> None:
    _, _, shapes = sizes("swin3d_t", (8, 256, 341), maps=(2, 3, 4))
    assert shapes == [(1, 192, 4, 32, 43), (1, 384, 4, 16, 22), (1, 768, 4, 8, 11)]


def test_torchvision_has_the_same_answers() -> None:
    torch.manual_seed(0)
    theirs = SwinTransformer3d(
        patch_size=[2, 4, 4],
        embed_dim=8,
        depths=[2, 2],
        num_heads=[1, 2],
        window_size=[2, 3, 3],
        num_classes=5,
        norm_layer=nn.LayerNorm,
        patch_embed=PatchEmbed3d,
    ).eval()
    own = Swin3d(**SMALL).eval()
    tensors = {name: tensor for name, tensor in theirs.state_dict().items() if not name.startswith("head.")}
    own.load_state_dict(tensors)
    clip = torch.randn(2, 3, 6, 30, 41)
    with torch.no_grad():
        (one_map,) = own(clip)
        torch.testing.assert_close(theirs.head(one_map.mean(dim=(2, 3, 4))), theirs(clip))


def test_each_map_passes_a_norm_of_its_own() -> None:
    torch.manual_seed(0)
    net = Swin3d(**SMALL, maps=(1, 2)).eval()
    assert net.out_channels == (8, 16)
    with torch.no_grad():
        maps = net(torch.randn(1, 3, 4, 32, 48))
    for one_map in maps:
        torch.testing.assert_close(one_map.mean(dim=1), torch.zeros_like(one_map[:, 0]), atol=1e-5, rtol=0)


def test_a_stage_that_is_not_there() -> None:
    with pytest.raises(AvadetError, match=r"maps of a Swin must be stages from 1 to 2, got \[2, 3\]"):
        build("swin3d", 5, **SMALL, maps=(2, 3))
