"""The bundled model of person crops: what is cropped, what motion adds, and that many persons cost no more memory."""

from __future__ import annotations

import pytest
import torch
from each_case import each_case

from avadet.errors import AvadetError
from avadet.models.build import build
from avadet.models.detectors.person_crops import MotionStream, crop, square_windows


def test_windows_are_squares_around_the_longer_side() -> None:
    windows = square_windows(torch.tensor([[10.0, 20.0, 30.0, 60.0]]), 1.5)
    assert windows.tolist() == [[-10.0, 10.0, 50.0, 70.0]]


def test_a_crop_of_the_whole_picture_halves_it_by_averaging() -> None:
    picture = torch.arange(64.0).view(1, 1, 1, 8, 8)
    halved = crop(picture, torch.tensor([[0.0, 0.0, 8.0, 8.0]]), 4)
    torch.testing.assert_close(halved[0, 0, 0, 0], torch.tensor([4.5, 6.5, 8.5, 10.5]))


def test_beyond_the_picture_lies_black_or_its_border() -> None:
    picture = torch.full((1, 1, 1, 4, 4), 0.5)
    beside = torch.tensor([[4.0, 0.0, 8.0, 4.0]])
    assert crop(picture, beside, 4)[0, 0, 0, :, 2:].max() == 0
    assert crop(picture, beside, 4, "border").min() == 0.5


@each_case("count", [0, 1, 3])
def test_any_number_of_boxes_of_any_clip(count: int) -> None:
    model = build("person_crops", 7, crop_px=64).eval()
    clips = torch.randint(0, 256, (2, 3, 8, 48, 64), dtype=torch.uint8)
    rois = torch.tensor([[1.0, 5, 5, 25, 45], [0, 0, 0, 30, 40], [1, 5, 5, 25, 45]])[:count]
    with torch.inference_mode():
        logits = model(clips, rois)
        assert logits.shape == (count, 7)
        torch.testing.assert_close(model(clips.float() / 255, rois), logits)
        if count == 3:
            torch.testing.assert_close(logits[0], logits[2])
            assert not torch.allclose(logits[0], logits[1])


def test_persons_go_through_in_parts_and_get_the_same_scores() -> None:
    model = build("person_crops", 3, crop_px=32).eval()
    clips = torch.randint(0, 256, (1, 3, 8, 48, 64), dtype=torch.uint8)
    rois = torch.tensor([[0.0, 3, 2, 13, 30]]) + torch.arange(37.0)[:, None] * torch.tensor([0, 1, 0.25, 1, 0.25])
    with torch.inference_mode():
        together = model(clips, rois)
        torch.testing.assert_close(together, torch.cat([model(clips, roi[None]) for roi in rois]), rtol=1e-4, atol=1e-5)


def test_motion_sees_the_order_of_frames_and_no_change_of_light() -> None:
    torch.manual_seed(0)
    stream = MotionStream().eval()
    grey = torch.rand(1, 1, 64, 80)
    moving = torch.cat([grey[:, :, :, 2 * t : 2 * t + 64] for t in range(8)], dim=1)
    with torch.inference_mode():
        seen, shuffled = stream(moving), stream(moving[:, [3, 0, 6, 1, 7, 4, 2, 5]])
        torch.testing.assert_close(stream(moving * 0.5 + 0.2), seen, rtol=1e-2, atol=1e-3)
    assert (seen - shuffled).abs().max() > 1e-3


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(AvadetError, match=r"appearance_frames must be some of 0 to 7, got \[8\]"):
        build("person_crops", 3, appearance_frames=[8])
    with pytest.raises(AvadetError, match="motion_px must be a multiple of 64, got 60"):
        build("person_crops", 3, motion_px=60)
    with pytest.raises(AvadetError, match="clips of 8 frames, got 4"):
        build("person_crops", 3)(torch.zeros(1, 3, 4, 32, 32), torch.zeros(0, 5))
