"""How many pixels a cell covers: declared, or measured exactly, for patches of any size."""

from __future__ import annotations

import pytest
import torch
from small_heads import roi_head
from torch import Tensor, nn
from torch.nn import functional

from avadet.errors import AvadetError
from avadet.models.backbones.strides import declared_strides, evident_stride, measured_strides
from avadet.models.backbones.videomae import videomae
from avadet.models.detectors.two_stage import ActionDetector


class Patches(nn.Module):
    """Means of patches of any size; what is left at the right and at the bottom is cropped, or padded with zeros."""

    out_channels = (1,)

    def __init__(self, patch_hw: tuple[int, int], pad: bool) -> None:
        super().__init__()
        self.patch_hw = patch_hw
        self.pad = pad

    def forward(self, clip: Tensor) -> list[Tensor]:
        clip = clip[:, :1]
        if self.pad:
            rest = [-size % patch for size, patch in zip(clip.shape[3:], self.patch_hw)]
            clip = functional.pad(clip, (0, rest[1], 0, rest[0]))
        return [functional.avg_pool3d(clip, (1, *self.patch_hw))]


@pytest.mark.parametrize("pad", [False, True])
@pytest.mark.parametrize("patch_hw", [(14, 14), (16, 16), (8, 8), (32, 32), (22, 22), (5, 14), (64, 28), (17, 19)])
def test_measured_and_then_used(patch_hw: tuple[int, int], pad: bool) -> None:
    net = Patches(patch_hw, pad)
    clip_hw = (3 * patch_hw[0] + patch_hw[0] // 2, 4 * patch_hw[1] + 1)
    assert declared_strides(net) is None
    assert measured_strides(net, (1, 3, 2, *clip_hw))[0] == pytest.approx(patch_hw, rel=1e-4)
    # The cell in row 2 and column 3 is the only bright one; a box over it reads 1, boxes over its neighbours 0.
    top, left = 2 * patch_hw[0], 3 * patch_hw[1]
    clip = torch.zeros(1, 3, 2, *clip_hw)
    clip[..., top : top + patch_hw[0], left : left + patch_hw[1]] = 1
    head = roi_head(net.out_channels, 1, resolution=1, sampling_ratio=1, aligned=True)
    model = ActionDetector(net, head, mean=(0,) * 3, std=(1,) * 3).eval()
    box = torch.tensor([left, top, left + patch_hw[1], top + patch_hw[0]]).float()
    steps = torch.tensor([[0, 0], [-1, 0], [0, -1], [-1, -1]]) * torch.tensor(patch_hw[::-1])
    rois = functional.pad(box + steps.repeat(1, 2), (1, 0))
    assert model.box_features(clip, rois).flatten().tolist() == pytest.approx([1, 0, 0, 0], abs=1e-3)


def test_patches_of_14_px_are_14_px() -> None:
    # By its size alone a map of 4x6 cells of 64x85 px could be one of 16 px, or of 14.2.
    model = videomae(5, channels=8, depth=1, heads=1, tubelet=(2, 14, 14), grid=(2, 4, 6)).eval()
    assert model.head.strides == ((14, 14),)
    assert measured_strides(model.backbone, (1, 3, 4, 64, 85)) == ((14, 14),)


def test_a_map_that_divides_its_clip_speaks_for_itself() -> None:
    assert evident_stride((64, 84), (4, 6)) == (16, 14)
    with pytest.raises(AvadetError, match="4x6 cells of 64x85 px may be of several strides"):
        evident_stride((64, 85), (4, 6))


class Thumbnail(nn.Module):
    """A map of 2x2 cells of any clip."""

    def forward(self, clip: Tensor) -> list[Tensor]:
        return [functional.adaptive_avg_pool3d(clip, 2)]


class Reading(nn.Module):
    """Something that hangs on the numbers of the clip."""

    def forward(self, clip: Tensor) -> list[Tensor]:
        return [clip[:, :, :, :: int(clip.sum()) + 1]]


@pytest.mark.parametrize(
    ("net", "match"),
    [
        (Thumbnail(), "maps of Thumbnail do not grow with the clip, .*; give the backbone an attribute `strides`"),
        (
            Reading(),
            r"Reading does not say its strides, and they cannot be measured \(.*\); give the backbone an",
        ),
    ],
)
def test_what_cannot_be_measured_must_be_said(net: nn.Module, match: str) -> None:
    with pytest.raises(AvadetError, match=match):
        measured_strides(net, (1, 3, 2, 8, 8))


@pytest.mark.parametrize("strides", [(), 16, (16, 16), ((16,),), ((0, 16),), (("a", "b"),)])
def test_strides_that_are_none(strides: object) -> None:
    net = Thumbnail()
    net.strides = strides
    with pytest.raises(AvadetError, match=r"strides of Thumbnail must be \(rows, columns\) px for each of its maps"):
        declared_strides(net)
