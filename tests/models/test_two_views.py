"""The cut-outs of the two-view model: windows by hand, pixels against a picture whose values are known."""

from __future__ import annotations

import torch

from avadet.models.build import build
from avadet.models.detectors.two_views import actor_windows, cut_out, shaken


def test_window_by_hand() -> None:
    boxes = torch.tensor([[10.0, 20, 50, 60], [100, 0, 110, 80], [5, 5, 7, 7]])
    windows = actor_windows(boxes, (100, 100), margin=1.5, clip_height=100)
    # width 40 -> 60; 3/4 of height 80 -> 90; too small -> a fifth of the clip's height
    expected = torch.tensor([[0.0, 10, 60, 70], [60, -5, 150, 85], [-4, -4, 16, 16]])
    torch.testing.assert_close(windows, expected)


def test_window_has_the_shape_of_the_cut_out() -> None:
    window = actor_windows(torch.tensor([[10.0, 20, 50, 60]]), (200, 100), margin=1.5, clip_height=100)[0]
    width, height = window[2] - window[0], window[3] - window[1]
    torch.testing.assert_close(height / width, torch.tensor(2.0))


def test_pixels_come_from_where_the_window_lies() -> None:
    columns = torch.arange(100, dtype=torch.uint8).expand(1, 3, 2, 80, 100).contiguous()
    roi, window = torch.tensor([[0.0, 40, 30, 60, 50]]), torch.tensor([[35.0, 25, 65, 55]])
    crops, boxes = cut_out(columns, roi, window, (30, 30))
    assert crops.shape == (1, 3, 2, 30, 30)
    torch.testing.assert_close(crops[0, 0, 0, 3] * 255, torch.arange(35.0, 65.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(boxes, torch.tensor([[0.0, 5, 5, 25, 25]]))


def test_beyond_the_clip_it_is_black() -> None:
    white = torch.full((1, 3, 1, 40, 40), 255, dtype=torch.uint8)
    crops, _ = cut_out(white, torch.tensor([[0.0, 0, 10, 20, 30]]), torch.tensor([[-5.0, 5, 25, 35]]), (30, 30))
    assert crops[0, :, 0, :, :5].lt(1e-3).all() and crops[0, :, 0, 10, 6:].gt(0.999).all()


def test_each_person_is_cut_out_of_its_own_clip() -> None:
    clips = torch.stack([torch.full((3, 1, 40, 40), v, dtype=torch.uint8) for v in (51, 102)])
    rois = torch.tensor([[1.0, 10, 10, 20, 20], [0, 10, 10, 20, 20]])
    crops, boxes = cut_out(clips, rois, rois[:, 1:], (8, 8))
    torch.testing.assert_close(crops.mean(dim=(1, 2, 3, 4)), torch.tensor([0.4, 0.2]))
    assert boxes[:, 0].tolist() == [0.0, 1.0]


def test_logits_are_the_mean_of_the_views() -> None:
    torch.manual_seed(0)
    model = build("tiny_two_views", 4, crop_hw=(64, 64)).eval()
    clips, rois = torch.rand(1, 3, 8, 64, 64), torch.tensor([[0.0, 5, 5, 40, 60]])
    with torch.no_grad():
        frame, actor = model.view_logits(clips, rois)
        torch.testing.assert_close(model(clips, rois), (frame + actor) / 2)
        assert not torch.allclose(frame, actor)


def test_windows_are_shaken_in_training_only_and_within_bounds() -> None:
    torch.manual_seed(0)
    window = torch.tensor([[10.0, 20, 30, 60]]).expand(500, 4)
    moved = shaken(window, 0.1)
    size = moved[:, 2:] - moved[:, :2]
    shift = (moved[:, :2] + moved[:, 2:]) / 2 - torch.tensor([20.0, 40])
    assert (shift.abs() <= torch.tensor([2.0, 4])).all() and shift.std(dim=0).min() > 0.5
    assert (size / torch.tensor([20.0, 40])).log().abs().max() <= 0.2
    model = build("tiny_two_views", 4, crop_hw=(64, 64), jitter=0.3, dropout=0.0).eval()
    clips, rois = torch.rand(1, 3, 8, 64, 64), torch.tensor([[0.0, 5, 5, 40, 60]])
    with torch.no_grad():
        assert torch.equal(model(clips, rois), model(clips, rois))
        model.training = True
        assert not torch.equal(model(clips, rois), model(clips, rois))
