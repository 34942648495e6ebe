"""The parts of plain vision transformers, by their definitions; and their start from an image transformer."""

from __future__ import annotations

import pytest
import torch
from each_case import each_case
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import VisionTransformer

from avadet.errors import AvadetError
from avadet.models.backbones.image_vit import image_vit_names, start_from_image
from avadet.models.backbones.inflate import inflate_filters
from avadet.models.backbones.positions import Positions, resized
from avadet.models.backbones.timesformer import TimeSformer
from avadet.models.backbones.vit_blocks import (
    Attention,
    Tubelets,
    as_map,
    attention,
    by_frame,
    drops,
)
from avadet.models.backbones.vivit import FactorisedEncoder, FactorisedSelfAttentionBlock, FactorisedViViT, JointViViT


def test_tokens_of_a_clip_come_frame_by_frame_and_row_by_row() -> None:
    # A kernel of ones adds up the red of 2 x 1 x 2 px; the clip's red counts its pixels from 0.
    patches = Tubelets(1, (2, 1, 2))
    nn.init.zeros_(patches.weight)
    nn.init.zeros_(patches.bias)
    patches.weight.data[:, 0] = 1
    clip = torch.zeros(1, 3, 5, 2, 5)
    clip[0, 0] = torch.arange(50.0).reshape(5, 2, 5)
    tokens, grid = patches(clip)
    assert grid == (2, 2, 2)  # the fifth frame and column are left
    # First frames 0 and 1, row 0, columns 0 and 1: 0 + 1 + 10 + 11.
    assert tokens[0, :, 0].tolist() == [22, 30, 42, 50, 102, 110, 122, 130]
    assert as_map(tokens, grid)[0, 0, 1, 0].tolist() == [102, 110]
    assert by_frame(tokens, 2)[0, 1, :, 0].tolist() == [102, 110, 122, 130]


def test_keys_that_are_not_there_have_no_say() -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 3, 4, 6), torch.randn(2, 3, 5, 6), torch.randn(2, 3, 5, 6)
    there = torch.ones(2, 3, 5, dtype=torch.bool)
    there[1, 2, 1:3] = False
    found, all_there = attention(q, k, v, 2, there), attention(q, k, v, 2)
    assert torch.equal(found[0], all_there[0])
    kept = [0, 3, 4]
    torch.testing.assert_close(found[1, 2], attention(q[1, 2], k[1, 2, kept], v[1, 2, kept], 2))


def test_a_clip_smaller_than_a_tubelet_is_refused() -> None:
    net = JointViViT(**SMALL, tubelet=(2, 16, 16), grid=(1, 4, 4))
    with pytest.raises(AvadetError, match="JointViViT takes clips of at least 2 frames, got 1"):
        net(torch.zeros(1, 3, 1, 64, 64))
    with pytest.raises(AvadetError, match="JointViViT takes clips of at least 16 columns, got 15"):
        net(torch.zeros(1, 3, 2, 64, 15))


def test_positions_between_the_trained_ones() -> None:
    positions = Positions(1, (2, 1, 1), cls_tokens=1)
    positions.table.data = torch.tensor([[[7.0], [0.0], [1.0]]])
    assert positions((2, 1, 1)).flatten().tolist() == [7, 0, 1]
    assert positions((4, 1, 1)).flatten().tolist() == [7, 0, 0.25, 0.75, 1]
    assert positions((2, 1, 2)).flatten().tolist() == [7, 0, 0, 1, 1]


def test_places_are_interpolated_frame_by_frame() -> None:
    cells = torch.rand(1, 2 * 3 * 4, 5)
    found = resized(cells, (2, 3, 4), (2, 6, 5)).reshape(2, 6, 5, 5)
    for frame, before in zip(found, cells.reshape(2, 3, 4, 5)):
        expected = F.interpolate(before.permute(2, 0, 1)[None], size=(6, 5), mode="bicubic")
        torch.testing.assert_close(frame.permute(2, 0, 1)[None], expected)


def written_out(layer: Attention, tokens: Tensor) -> Tensor:
    """Attention of tokens (N, C), head by head, from the rows of its matrix."""
    width = tokens.shape[1] // layer.heads
    mixed = []
    for head in range(layer.heads):
        q, k, v = (part[:, head * width : (head + 1) * width] for part in layer.projected(tokens))
        mixed.append((q @ k.T / width**0.5).softmax(dim=1) @ v)
    return layer.proj(torch.cat(mixed, dim=1))


@each_case("key_bias", [False, True])
def test_attention_is_attention(key_bias: bool) -> None:
    torch.manual_seed(0)
    layer = Attention(6, 3, key_bias)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    frames = torch.randn(2, 4, 5, 6)
    with torch.no_grad():
        found = layer(frames)
        for sample in range(2):
            for frame in range(4):
                expected = written_out(layer, frames[sample, frame])
                torch.testing.assert_close(found[sample, frame], expected, atol=1e-5, rtol=1e-5)


def test_a_bias_of_keys_changes_nothing() -> None:
    torch.manual_seed(0)
    with_it, without = Attention(8, 2), Attention(8, 2, key_bias=False)
    bias = torch.randn(24)
    with_it.qkv.bias.data = bias
    without.q_bias.data, without.v_bias.data = bias[:8], bias[16:]
    without.load_state_dict({"qkv.weight": with_it.qkv.weight, **with_it.state_dict(prefix="")}, strict=False)
    tokens = torch.randn(3, 7, 8)
    with torch.no_grad():
        torch.testing.assert_close(with_it(tokens), without(tokens), atol=1e-6, rtol=1e-5)


def test_weights_of_attention_sum_to_one() -> None:
    q, k = torch.randn(2, 5, 8), torch.randn(2, 9, 8)
    torch.testing.assert_close(attention(q, k, torch.ones(2, 9, 8), heads=4), torch.ones(2, 5, 8))


def test_heads_that_do_not_divide_channels() -> None:
    with pytest.raises(AvadetError, match="heads must divide channels, got 3 for 8"):
        Attention(8, 3)


def test_later_blocks_are_skipped_more_often() -> None:
    assert drops(3, 0.2) == [0, 0.1, 0.2]
    assert drops(1, 0.2) == [0]


def image_vit() -> VisionTransformer:
    """A small image transformer of 2 x 2 patches of 16 px."""
    torch.manual_seed(0)
    net = VisionTransformer(32, 16, 2, 2, 16, 64, num_classes=3)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2)
    return net.eval()


def image_tokens(net: VisionTransformer, pictures: Tensor) -> Tensor:
    """What its encoder makes of the patches of pictures (N, 3, 32, 32): (N, 4, C)."""
    patches = net.conv_proj(pictures).flatten(2).transpose(1, 2)
    return net.encoder(torch.cat([net.class_token.expand(len(pictures), -1, -1), patches], dim=1))[:, 1:]


SMALL = {"embed_dim": 16, "depth": 2, "heads": 2}


def map_tokens(net: nn.Module, clip: Tensor) -> Tensor:
    """The backbone's map as (T, N, C), of the first clip."""
    return net(clip)[0][0].permute(1, 2, 3, 0).flatten(1, 2)


def test_one_frame_is_an_image() -> None:
    image = image_vit()
    clip = torch.randn(1, 3, 1, 32, 32)
    joint = JointViViT(**SMALL, tubelet=(1, 16, 16), grid=(1, 2, 2)).eval()
    assert start_from_image(joint, image_vit_names(image.state_dict())) == []
    with torch.no_grad():
        expected = image_tokens(image, clip[:, :, 0])
        torch.testing.assert_close(map_tokens(joint, clip), expected, atol=1e-5, rtol=1e-5)


@each_case("start", ["centre", "mean"])
def test_tubelets_of_an_image_model(start: str) -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(8, 3, 4, 4), torch.randn(8)
    clip = torch.randn(1, 3, 8, 12, 8)
    if start == "mean":
        clip = clip[:, :, :1].expand(-1, -1, 8, -1, -1)  # it stands still
    found = F.conv3d(clip, inflate_filters(weight, 4, start), bias, stride=4)
    for number in range(2):
        middle = clip[:, :, number * 4 + 2]  # 4 // 2 in each tubelet of 4 frames
        expected = F.conv2d(middle, weight, bias, stride=4)
        torch.testing.assert_close(found[:, :, number], expected, atol=1e-4, rtol=1e-4)


def factorised_attention(**options: object) -> FactorisedViViT:
    return FactorisedViViT(FactorisedSelfAttentionBlock, **options)


@each_case(("builder", "only_video"), [(FactorisedEncoder, "temporal_"), (factorised_attention, "blocks.")])
def test_what_an_image_model_does_not_know(builder: type, only_video: str) -> None:
    net = builder(**SMALL, grid=(3, 2, 2))
    left = start_from_image(net, image_vit_names(image_vit().state_dict()))
    assert left != []
    assert all(name.startswith(only_video) and "temporal_" in name for name in left)


def test_frames_of_a_fresh_factorised_encoder_are_images() -> None:
    image = image_vit()
    net = FactorisedEncoder(**SMALL, tubelet=(3, 16, 16), grid=(2, 2, 2)).eval()
    start_from_image(net, image_vit_names(image.state_dict()))
    clip = torch.randn(1, 3, 6, 32, 32)
    with torch.no_grad():
        tokens, grid = net.patch_embed(clip)
        found = net.within_frames(by_frame(tokens, 2), grid)[0, :, 1:]
        expected = image_tokens(image, clip[0, :, [1, 4]].transpose(0, 1))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@each_case("form", ["divided", "space"])
def test_a_fresh_timesformer_is_its_image_model(form: str) -> None:
    image = image_vit()
    net = TimeSformer(form=form, **SMALL, patch=16, grid=(4, 2, 2)).eval()
    left = start_from_image(net, image_vit_names(image.state_dict()))
    assert all("temporal" in name or name == "times.table" for name in left)
    still = torch.randn(1, 3, 1, 32, 32).expand(-1, -1, 4, -1, -1)
    with torch.no_grad():
        expected = image_tokens(image, still[:, :, 0]).expand(4, -1, -1)
        torch.testing.assert_close(map_tokens(net, still), expected, atol=1e-5, rtol=1e-5)


def test_positions_of_an_image_are_those_of_every_frame_at_any_size() -> None:
    net = JointViViT(**SMALL, tubelet=(2, 16, 16), grid=(3, 4, 4))
    tensors = image_vit_names(image_vit().state_dict())
    start_from_image(net, tensors)
    table = net.pos_embed.table
    torch.testing.assert_close(table[:, :1], tensors["pos_embed.table"][:, :1])
    frames = by_frame(table[:, 1:], 3)
    torch.testing.assert_close(frames[:, 0], frames[:, 2])
    torch.testing.assert_close(frames[:, 0], resized(tensors["pos_embed.table"][:, 1:], (1, 2, 2), (1, 4, 4)))


def test_image_models_that_do_not_fit() -> None:
    tensors = image_vit_names(image_vit().state_dict())
    with pytest.raises(AvadetError, match=r"^cls_token of the image .* fits \(1, 1, 16\), .* has \(1, 1, 8\)$"):
        start_from_image(JointViViT(embed_dim=8, depth=2, heads=2), tensors)
    with pytest.raises(AvadetError, match=r"no place for blocks\.1\.\S+ of the image transformer"):
        start_from_image(JointViViT(embed_dim=16, depth=1, heads=2), tensors)
    with pytest.raises(AvadetError, match="no image transformer: its tensors must have"):
        start_from_image(JointViViT(**SMALL), {})
