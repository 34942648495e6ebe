"""How many pixels a cell covers, and how long and large a clip may be: what a backbone declares, and what it must."""

from __future__ import annotations

import pytest
import torch
from each_case import each_case
from small_heads import roi_head
from torch import Tensor, nn
from torch.nn import functional

from avadet.errors import AvadetError
from avadet.models.backbones.backbone import UNCHANGED, Allowed, Backbone, Stride
from avadet.models.backbones.strides import evident_stride
from avadet.models.build import build
from avadet.models.detectors.two_stage import ActionDetector
from avadet.models.heads.roi_head import RoIHead


class Patches(Backbone):
    """Means of patches of any size; what is left at the right and at the bottom is cropped, or padded with zeros."""

    out_channels = (1,)

    def __init__(self, patch_hw: tuple[int, int], pad: bool) -> None:
        super().__init__()
        self.patch_hw = patch_hw
        self.pad = pad
        self.strides = (Stride(1, *patch_hw),)

    def forward(self, clip: Tensor) -> list[Tensor]:
        clip = clip[:, :1]
        if self.pad:
            rest = [-size % patch for size, patch in zip(clip.shape[3:], self.patch_hw)]
            clip = functional.pad(clip, (0, rest[1], 0, rest[0]))
        return [functional.avg_pool3d(clip, (1, *self.patch_hw))]


@each_case("pad", [False, True])
@each_case("patch_hw", [(14, 14), (16, 16), (8, 8), (32, 32), (22, 22), (5, 14), (64, 28), (17, 19)])
def test_boxes_are_found_by_what_is_declared(patch_hw: tuple[int, int], pad: bool) -> None:
    net = Patches(patch_hw, pad)
    clip_hw = (3 * patch_hw[0] + patch_hw[0] // 2, 4 * patch_hw[1] + 1)
    # The cell in row 2 and column 3 is the only bright one; a box over it reads 1, boxes over its neighbours 0.
    top, left = 2 * patch_hw[0], 3 * patch_hw[1]
    clip = torch.zeros(1, 3, 2, *clip_hw)
    clip[..., top : top + patch_hw[0], left : left + patch_hw[1]] = 1
    head = roi_head(net.out_channels, 1, resolution=1, sampling_ratio=1, aligned=True)
    model = ActionDetector(net, head, UNCHANGED).eval()
    box = torch.tensor([left, top, left + patch_hw[1], top + patch_hw[0]]).float()
    steps = torch.tensor([[0, 0], [-1, 0], [0, -1], [-1, -1]]) * torch.tensor(patch_hw[::-1])
    rois = functional.pad(box + steps.repeat(1, 2), (1, 0))
    assert model.box_features(clip, rois).flatten().tolist() == pytest.approx([1, 0, 0, 0], abs=1e-3)


def test_patches_of_14_px_are_14_px() -> None:
    # By its size alone a map of 4x6 cells of 64x85 px could be one of 16 px, or of 14.2.
    model = build("videomae", 5, embed_dim=8, depth=1, heads=1, tubelet=(2, 14, 14), grid=(2, 4, 6)).eval()
    assert model.head.strides == ((14, 14),)


def test_a_map_that_divides_its_clip_speaks_for_itself() -> None:
    assert evident_stride((64, 84), (4, 6)) == (16, 14)
    with pytest.raises(AvadetError, match="4x6 cells of 64x85 px may be of several strides"):
        evident_stride((64, 85), (4, 6))


class Thumbnail(Backbone):
    """A map of 2x2 cells of any clip, which says nothing of itself."""

    def forward(self, clip: Tensor) -> list[Tensor]:
        return [functional.adaptive_avg_pool3d(clip, 2)]


def test_a_backbone_that_does_not_say_its_strides_is_told_what_to_say() -> None:
    net = Thumbnail()
    with pytest.raises(AvadetError, match="backbone Thumbnail does not declare `out_channels`: the channels of each"):
        ActionDetector(net, RoIHead((3,), 1))
    net.out_channels = (3,)
    message = r"backbone Thumbnail does not declare `strides`: for each of its maps \(time, height, .*backbone\.md"
    with pytest.raises(AvadetError, match=message):
        ActionDetector(net, RoIHead((3,), 1))
    net.strides = (Stride(None, 8, 8),)
    assert ActionDetector(net, RoIHead((3,), 1)).head.strides == ((8, 8),)


def test_a_net_that_is_no_backbone_is_told_too() -> None:
    with pytest.raises(AvadetError, match="backbone Identity does not declare `pixels`"):
        ActionDetector(nn.Identity(), RoIHead((3,), 1))  # type: ignore[arg-type]


@each_case("strides", [(), 16, (16, 16), ((16, 16),), ((1, 0, 16),), ((1, "a", "b"),), ((1, 8, 8),) * 2])
def test_strides_that_are_none(strides: object) -> None:
    net = Thumbnail()
    net.out_channels, net.strides = (3,), strides  # type: ignore[assignment]
    with pytest.raises(AvadetError, match=r"strides of backbone Thumbnail must be for each of its maps \(time, "):
        ActionDetector(net, RoIHead((3,), 1))


@each_case(
    ("allowed", "words", "good", "bad"),
    [
        (Allowed(), "at least 1", (1, 7), (0,)),
        (Allowed(5), "at least 5", (5, 6), (4,)),
        (Allowed(4, multiple_of=4), "a multiple of 4", (4, 8), (0, 2, 6)),
        (Allowed(exactly=8), "exactly 8", (8,), (7, 16)),
    ],
)
def test_lengths_in_words_and_in_truth(
    allowed: Allowed, words: str, good: tuple[int, ...], bad: tuple[int, ...]
) -> None:
    assert str(allowed) == words
    assert all(length in allowed for length in good) and not any(length in allowed for length in bad)
