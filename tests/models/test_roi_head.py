"""The RoI head against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch
from small_heads import roi_head

from avadet.errors import AvadetError
from avadet.models.engines.folding import fold_norms
from avadet.models.heads.roi_head import RoIHead


def head_that_shows_features(channels: int, **options: object) -> RoIHead:
    """A head of one logit a feature: the identity in place of the projection."""
    head = roi_head([channels], channels, **options).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        head.proj.weight.copy_(torch.eye(channels))
    return head


def test_each_box_gets_its_own_cells() -> None:
    # A 4x4 map at stride 16 whose cell (y, x) holds 10 * y + x; a box over the cells x 1-2, y 2-3 sees 21 22 31 32.
    cells = torch.arange(4.0)[:, None] * 10 + torch.arange(4.0)
    box = torch.tensor([[0.0, 16, 32, 48, 64]])
    for pool, expected in (("max", 32.0), ("avg", 26.5)):
        head = head_that_shows_features(1, resolution=2, aligned=True, pool=pool)
        assert head([cells[None, None, None]], box, (64, 64)).item() == pytest.approx(expected)


def test_unaligned_boxes_sit_half_a_cell_further() -> None:
    ramp = torch.arange(8.0).expand(1, 1, 1, 8, 8)
    box = torch.tensor([[0.0, 32, 32, 64, 64]])
    means = [
        head_that_shows_features(1, resolution=2, aligned=aligned, pool="avg")([ramp], box, (128, 128)).item()
        for aligned in (True, False)
    ]
    # Cells 2 and 3 have their centres at 2.0 and 3.0 of the ramp; without alignment 0.5 is not taken off.
    assert means == pytest.approx([2.5, 3.0])


def test_stretched_boxes_reach_the_edge_of_a_rounded_map() -> None:
    # 40 px at stride 16 make 3 columns. The middle of the whole frame is at 1.5 of them, by the stride at 1.25; 20 px
    # make 2 rows, the middle is at 1, or 0.625.
    box = torch.tensor([[0.0, 0, 0, 40, 20]])
    cells = torch.tensor([[0.0, 1, 2], [10, 11, 12]])[None, None, None]
    heads = [head_that_shows_features(1, resolution=1, sampling_ratio=1, stretch=stretch) for stretch in (True, False)]
    heads[1].strides = ((16, 16),)
    assert [head([cells], box, (20, 40)).item() for head in heads] == pytest.approx([11.5, 7.5])


def test_each_axis_has_its_own_stride() -> None:
    # Cells of 14 rows and 10 columns; the box covers rows 1-2 and columns 2-3 of 3x5, the rest of the clip no cell.
    cells = torch.arange(3.0)[:, None] * 10 + torch.arange(5.0)
    head = head_that_shows_features(1, resolution=2, sampling_ratio=1, aligned=True, pool="avg")
    head.strides = ((14, 10),)
    box = torch.tensor([[0.0, 20, 14, 40, 42]])
    assert head([cells[None, None, None]], box, (50, 57)).item() == pytest.approx(17.5)


def test_narrowed_maps_have_the_stride_of_the_smallest() -> None:
    head = roi_head([1, 1], 1, resolution=1, sampling_ratio=1, aligned=True, map_width=1).eval()
    head.strides = ((14, 14), (28, 28))
    with torch.no_grad():
        head.narrow.weight.copy_(torch.tensor([0.0, 1]).view(1, 2, 1, 1))
    fine, coarse = torch.zeros(1, 1, 1, 4, 6), torch.arange(6.0).view(1, 1, 1, 2, 3)
    assert head.box_features([fine, coarse], torch.tensor([[0.0, 56, 28, 84, 56]]), (65, 90)).item() == 5


def test_strides_that_nobody_said_are_not_guessed() -> None:
    head = head_that_shows_features(1)
    with pytest.raises(AvadetError, match="4x6 cells of 64x85 px may be of several strides; set those of the head"):
        head([torch.zeros(1, 1, 1, 4, 6)], torch.zeros(1, 5), (64, 85))
    head.strides = ((16, 16),) * 2
    with pytest.raises(AvadetError, match="the backbone gave 1 maps and says strides of 2"):
        head([torch.zeros(1, 1, 1, 4, 6)], torch.zeros(1, 5), (64, 85))


def test_maps_may_be_narrowed_before_people_are_cut_out() -> None:
    head = roi_head([1, 1], 1, resolution=2, sampling_ratio=1, aligned=True, map_width=1).eval()
    with torch.no_grad():
        head.narrow.weight.copy_(torch.tensor([1.0, -1]).view(1, 2, 1, 1))
        head.proj.weight.fill_(1)
    one, other = (torch.tensor(values).view(1, 1, 1, 2, 2) for values in ([[1.0, 5], [0, 0]], [[0.0, 5], [0, 0]]))
    # The maxima of the two maps are equal; the largest of their differences is 1.
    assert head.own_features == 1
    assert head([one, other], torch.tensor([[0.0, 0, 0, 32, 32]]), (32, 32)).item() == 1


def test_a_norm_behind_narrowed_maps_is_not_taken_for_theirs() -> None:
    torch.manual_seed(0)
    head = roi_head([2, 1], 3, map_width=4, norm=True).eval()
    head.norm.running_mean.uniform_(-1, 1)
    maps, rois = [torch.randn(1, 2, 1, 4, 4), torch.randn(1, 1, 1, 4, 4)], torch.tensor([[0.0, 0, 0, 64, 64]])
    before = head(maps, rois, (64, 64))
    assert fold_norms(head, maps, rois, (64, 64)).norms == 0
    torch.testing.assert_close(head(maps, rois, (64, 64)), before)


def test_time_is_averaged() -> None:
    clip = torch.tensor([1.0, 2.0, 6.0]).view(1, 1, 3, 1, 1).expand(1, 1, 3, 4, 4)
    head = head_that_shows_features(1)
    assert head([clip], torch.tensor([[0.0, 0, 0, 64, 64]]), (64, 64)).item() == pytest.approx(3.0)


def test_time_may_be_pooled_by_its_maximum() -> None:
    clip = torch.tensor([1.0, 6.0, 2.0]).view(1, 1, 3, 1, 1).expand(1, 1, 3, 4, 4)
    head = head_that_shows_features(1, time_pool="max")
    assert head([clip], torch.tensor([[0.0, 0, 0, 64, 64]]), (64, 64)).item() == pytest.approx(6.0)
    with pytest.raises(AvadetError, match="time_pool of a head must be 'max' or 'avg', got 'sum'"):
        roi_head([1], 1, time_pool="sum")


def test_context_may_be_the_largest_of_a_grid_of_means() -> None:
    # A 4x4 map with a 16 in one corner: its quarters have the means 4, 0, 0 and 0, the whole 1.
    one_map = torch.zeros(1, 1, 1, 4, 4)
    one_map[0, 0, 0, 0, 0] = 16.0
    box = torch.tensor([[0.0, 48, 48, 64, 64]])
    for cells, expected in ((1, 1.0), (2, 4.0), (4, 16.0)):
        head = roi_head([1], 3, context=True, context_cells=cells, resolution=1, aligned=True).eval()
        assert head.box_features([one_map], box, (64, 64)).tolist() == [[0, expected]]


def test_unsorted_batch_indices_reach_their_clips() -> None:
    maps = torch.tensor([5.0, 7.0]).view(2, 1, 1, 1, 1).expand(2, 1, 1, 4, 4)
    rois = torch.tensor([[1.0, 0, 0, 64, 64], [0, 0, 0, 64, 64], [1, 16, 16, 32, 32]])
    logits = head_that_shows_features(1)([maps], rois, (64, 64))
    assert logits.flatten().tolist() == pytest.approx([7, 5, 7])


def test_context_is_the_mean_of_the_whole_map() -> None:
    one_map = torch.zeros(2, 1, 2, 4, 4)
    one_map[1, 0, :, 0, 0] = 16.0
    head = roi_head([1], 3, context=True, pool="avg", resolution=1, aligned=True).eval()
    corner_away = torch.tensor([[1.0, 48, 48, 64, 64], [0, 48, 48, 64, 64]])
    features = head.box_features([one_map], corner_away, (64, 64))
    assert features.tolist() == [[0, 1], [0, 0]]


def test_no_boxes_give_no_logits_even_with_norm() -> None:
    head = roi_head([3, 2], 4, context=True, norm=True).train()
    maps = [torch.rand(2, 3, 2, 4, 4), torch.rand(2, 2, 8, 4, 4)]
    assert head(maps, torch.zeros(0, 5), (64, 64)).shape == (0, 4)


def test_boxes_keep_their_precision_when_maps_are_half() -> None:
    # 341 is no bfloat16 number (the nearest are 340 and 342); a box there must not move.
    ramp = torch.arange(32.0).expand(1, 1, 1, 16, 32)
    box = torch.tensor([[0.0, 213, 16, 341, 128]])
    head = head_that_shows_features(1, aligned=True, pool="avg")
    exact = head([ramp], box, (256, 512)).item()
    assert head([ramp.bfloat16()], box, (256, 512)).item() == pytest.approx(exact)
    assert exact == pytest.approx((213 + 341) / 2 / 16 - 0.5)


def test_unknown_pool_is_refused() -> None:
    with pytest.raises(AvadetError, match="must be 'max' or 'avg', got 'sum'"):
        roi_head([1], 1, pool="sum")
