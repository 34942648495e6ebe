"""What ActionDetector does to its input before the backbone sees it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from avadet.errors import AvadetError
from avadet.models.backbones.backbone import Backbone, Stride
from avadet.models.detectors.two_stage import ActionDetector
from avadet.models.heads.roi_head import RoIHead
from avadet.types import Pixels


class Through(Backbone):
    """A backbone whose map is the clip."""

    out_channels = (3,)
    strides = (Stride(1, 1, 1),)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x]


@pytest.fixture
def model() -> ActionDetector:
    return ActionDetector(Through(), RoIHead((3,), 2), Pixels((0.5, 0.25, 0.0), (0.5, 0.25, 2.0))).eval()


def test_bytes_and_fractions_are_normalised_alike(model: ActionDetector) -> None:
    white = torch.full((1, 3, 1, 2, 2), 255, dtype=torch.uint8)
    for clips in (white, white.float() / 255):
        normal = model.normalise(clips)
        assert normal.dtype == torch.float32
        assert normal[0, :, 0, 0, 0].tolist() == pytest.approx([1.0, 3.0, 0.5])


def test_mean_and_std_are_no_weights(model: ActionDetector) -> None:
    assert sorted(model.state_dict()) == ["head.proj.bias", "head.proj.weight"]


@pytest.mark.parametrize(
    ("clips", "rois", "message"),
    [
        ((2, 8, 32, 32, 3), (1, 5), r"clips must be \(B, 3, T, H, W\), got \(2, 8, 32, 32, 3\)"),
        ((3, 8, 32, 32), (1, 5), r"clips must be"),
        ((2, 3, 8, 32, 32), (1, 4), r"rois must be \(R, 5\) = batch index \+ xyxy px, got \(1, 4\)"),
    ],
)
def test_wrong_shapes_are_named(
    model: ActionDetector, clips: tuple[int, ...], rois: tuple[int, ...], message: str
) -> None:
    with pytest.raises(AvadetError, match=message):
        model(torch.zeros(clips), torch.zeros(rois))


@pytest.mark.parametrize("index", [-1.0, 2.0])
def test_a_box_of_no_clip_is_refused(model: ActionDetector, index: float) -> None:
    with pytest.raises(AvadetError, match=r"batch indices of rois must lie in \[0, 2\)"):
        model(torch.zeros(2, 3, 4, 32, 32), torch.tensor([[index, 0, 0, 8, 8]]))
