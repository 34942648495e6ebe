"""2-D filters in 3-D: what a still clip must give, by hand and through whole nets."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from each_case import each_case
from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

from avadet.errors import AvadetError
from avadet.models.backbones.inception import googlenet_trunk
from avadet.models.backbones.inflate import inflate_filters, inflated, inflated_like, load_from_image, resnet_name
from avadet.models.backbones.slow import ResNet3d

I3D_KERNELS = ((3,), (3, 1), (3, 1), (1, 3))


def still(picture: torch.Tensor, frames: int) -> torch.Tensor:
    """(B, C, H, W) -> a clip (B, C, frames, H, W) in which nothing moves."""
    return picture[:, :, None].expand(-1, -1, frames, -1, -1)


def shaken(net: nn.Module) -> nn.Module:
    """The net in eval mode, its norms no longer identities."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.1, 0.3)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.7, 1.5)
    return net.eval()


def test_filters_by_hand() -> None:
    weight = torch.tensor([6.0, 3.0]).view(1, 1, 1, 2)
    assert inflate_filters(weight, 3).flatten(3).squeeze().tolist() == [[2, 1], [2, 1], [2, 1]]
    assert inflate_filters(weight, 3, "centre").flatten(3).squeeze().tolist() == [[0, 0], [6, 3], [0, 0]]
    assert inflate_filters(weight, 4, "centre").flatten(3).squeeze()[2].tolist() == [6, 3]
    with pytest.raises(AvadetError, match="unknown start of inflated filters 'center'; did you mean centre"):
        inflate_filters(weight, 3, "center")


def test_a_still_clip_gives_the_picture_away_from_its_ends() -> None:
    torch.manual_seed(0)
    pictures = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 5, padding=2))
    shaken(pictures)
    picture = torch.randn(1, 3, 9, 7)
    with torch.no_grad():
        expected = pictures(picture)
        found = inflated(pictures)(still(picture, 9))
    for frame in range(9):
        # Kernels of 3 and 5 frames see 3 to either side: 0, 1, 2 and 6, 7, 8 see zeros where the clip has ended.
        equal = torch.allclose(found[:, :, frame], expected, atol=1e-5)
        assert equal == (3 <= frame < 6)


def test_googlenet_sees_a_still_clip_as_its_picture() -> None:
    # Edges are repeated here instead of filled with zeros, so that the clip has no visible ends.
    torch.manual_seed(0)
    pictures = shaken(googlenet_trunk(0.25)[0])
    for module in pictures.modules():
        if isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1:
            module.padding_mode = "replicate"
            module._reversed_padding_repeated_twice = [module.padding[0]] * 4  # type: ignore[list-item]
    picture = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = pictures(picture)
        found = inflated(pictures, flat=("1", "4"))(still(picture, 16))
    assert found.shape == (1, 256, 2, 2, 3)
    assert expected.std() > 0.01
    torch.testing.assert_close(found, still(expected, 2))


def test_filters_at_the_centre_see_every_frame_as_a_picture() -> None:
    torch.manual_seed(0)
    pictures = shaken(googlenet_trunk(0.25)[0])
    cubes = inflated(pictures, start="centre")[:4]  # type: ignore[index]
    clip = torch.randn(1, 3, 6, 32, 32)
    with torch.no_grad():
        expected = pictures[0](clip[:, :, ::2].transpose(1, 2).flatten(0, 1))  # type: ignore[index]
        found = cubes[0](clip)
    torch.testing.assert_close(found[0].transpose(0, 1), expected)


def test_flat_layers_leave_time_alone_and_the_original_stays() -> None:
    net = nn.Sequential(nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1)), nn.MaxPool2d(3, 2, 1), nn.Conv2d(1, 1, 3, 2, 1))
    cubes = inflated(net, flat=("0", "1"))
    assert cubes[0][0].kernel_size == (1, 3, 3)  # type: ignore[index]
    assert cubes[0][0].stride == (1, 2, 2)  # type: ignore[index]
    assert cubes[0][0].padding == (0, 1, 1)  # type: ignore[index]
    assert (cubes[1].kernel_size, cubes[1].stride, cubes[1].padding) == ((1, 3, 3), (1, 2, 2), (0, 1, 1))  # type: ignore[index]
    assert (cubes[2].kernel_size, cubes[2].stride) == ((3, 3, 3), (2, 2, 2))  # type: ignore[index]
    assert isinstance(net[0][0], nn.Conv2d)  # type: ignore[index]


@each_case(("kernels", "stem", "pool"), [(((1,),) * 4, 1, 2), (I3D_KERNELS, 5, 2)], ids=["c2d", "i3d"])
def test_a_resnet_of_pictures_starts_one_of_clips(kernels: tuple[tuple[int, ...], ...], stem: int, pool: int) -> None:
    torch.manual_seed(0)
    pictures = shaken(ResNet(Bottleneck, [1, 1, 1, 1], num_classes=2))
    for conv in (pictures.layer4[0].conv2, pictures.layer4[0].downsample[0]):  # type: ignore[index, union-attr]
        conv.stride = (1, 1)
    net = ResNet3d(
        depths=(1, 1, 1, 1), stem_kernel=stem, temporal_kernels=kernels, temporal_pool=pool, last_dilation=1
    ).eval()
    load_from_image(net, pictures.state_dict(), rename=resnet_name, adapt=partial(inflated_like, start="centre"))
    picture = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        x = pictures.maxpool(pictures.relu(pictures.bn1(pictures.conv1(picture))))
        expected = pictures.layer4(pictures.layer3(pictures.layer2(pictures.layer1(x))))
        found = net(still(picture, 4))[0]
    assert found.shape == (1, 2048, 2, 2, 3)
    torch.testing.assert_close(found, still(expected, 2))


def test_a_missing_or_misfit_partner_is_named() -> None:
    net = nn.Sequential(nn.Conv3d(1, 2, 3, bias=False))
    with pytest.raises(AvadetError, match=r"no 2-D weights for 0\.weight: 'conv' is not among those given"):
        load_from_image(net, {}, rename=lambda _name: "conv")
    message = r"2-D weights 'conv' do not fit 0\.weight: \(4, 1, 3, 3, 3\) for \(2, 1, 3, 3, 3\)"
    with pytest.raises(AvadetError, match=message):
        load_from_image(net, {"conv": torch.zeros(4, 1, 3, 3)}, rename=lambda _name: "conv")
