"""The Lite0 trunk: its shapes, and the names of the published weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from each_case import each_case

from avadet.errors import AvadetError
from avadet.models.backbones.efficientnet_lite import EfficientNetLite, load_imagenet


def published(trunk: EfficientNetLite) -> dict[str, torch.Tensor]:
    """A state dict in the published arrangement: blocks numbered through, what a block lacks left out."""
    renamed, number = {}, -1
    parts = {"0": "_conv_stem", "1": "_bn0"}
    for name, value in trunk.stem.state_dict().items():
        renamed[f"{parts[name[0]]}.{name[2:]}"] = value
    for stage in trunk.stages:
        for block in stage:
            number += 1
            layers = ["_expand_conv", "_bn0", "", "_depthwise_conv", "_bn1", "", "_project_conv", "_bn2"]
            layers = layers[3:] if len(block.main) == 5 else layers
            for name, value in block.main.state_dict().items():
                layer, _, rest = name.partition(".")
                renamed[f"_blocks.{number}.{layers[int(layer)]}.{rest}"] = value
    return renamed


@each_case(("stages", "channels", "millions"), [(7, (24, 40, 112, 320), 2.96), (6, (24, 40, 112, 192), 2.35)])
def test_four_maps_at_strides_4_to_32(stages: int, channels: tuple[int, ...], millions: float) -> None:
    trunk = EfficientNetLite(stages).eval()
    assert trunk.out_channels == channels
    maps = trunk(torch.rand(2, 3, 64, 96))
    assert [tuple(x.shape) for x in maps] == [(2, c, 64 // s, 96 // s) for c, s in zip(channels, (4, 8, 16, 32))]
    assert sum(p.numel() for p in trunk.parameters()) / 1e6 == pytest.approx(millions, abs=0.005)


def test_pixels_are_brought_to_plus_and_minus_one() -> None:
    trunk = EfficientNetLite()
    seen = []
    trunk.stem.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    trunk.begin(torch.tensor([0, 127, 255]).div(255)[None, :, None, None].expand(1, 3, 32, 32), 0)
    assert seen[0][0, :, 0, 0].tolist() == pytest.approx([-127 / 128, 0, 1])


def test_published_weights_find_their_places(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = EfficientNetLite()
    torch.save(
        {**published(source), "_conv_head.weight": torch.zeros(1), "_fc.bias": torch.zeros(1)}, tmp_path / "a.pth"
    )
    for stages in (6, 7):
        trunk = EfficientNetLite(stages)
        load_imagenet(trunk, tmp_path / "a.pth")
        for name, value in trunk.state_dict().items():
            assert torch.equal(value, source.state_dict()[name]), name


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AvadetError, match="no initial weights"):
        load_imagenet(EfficientNetLite(), tmp_path / "none.pth")
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "b.pth")
    with pytest.raises(AvadetError, match="not an EfficientNet-Lite0 state dict"):
        load_imagenet(EfficientNetLite(), tmp_path / "b.pth")


def test_the_trunk_can_be_run_in_two_parts() -> None:
    trunk, x = EfficientNetLite(6).eval(), torch.rand(1, 3, 64, 64)
    for done in (0, 2, 3, 6):
        torch.testing.assert_close(trunk.later_maps(trunk.begin(x, done), done)[-1], trunk(x)[-1])
    assert len(trunk.later_maps(trunk.begin(x, 3), 3)) == 3
