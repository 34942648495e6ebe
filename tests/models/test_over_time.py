"""Frames scored one by one: consensus, conv pooling and LSTM against sums worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from each_case import each_case
from small_heads import consensus_head, lstm_head, roi_head
from torch import Tensor, nn

from avadet.errors import AvadetError
from avadet.models.backbones.backbone import Backbone, Stride
from avadet.models.backbones.frames import CellLstm
from avadet.models.heads.pooling import frame_by_frame
from avadet.models.heads.roi_head import RoIHead

HW = (32, 32)
ROIS = torch.tensor([[1.0, 0, 0, 32, 32], [0, 0, 0, 16, 16]])


def some_map() -> Tensor:
    """(2, 3, 4, 2, 2)."""
    return torch.randn(2, 3, 4, 2, 2, generator=torch.Generator().manual_seed(3))


def test_every_frame_becomes_a_clip() -> None:
    maps, boxes, length = frame_by_frame([some_map()], ROIS, "avg")
    assert length == 4
    assert maps[0].shape == (8, 3, 1, 2, 2)
    assert torch.equal(maps[0][6, :, 0], some_map()[1, :, 2])  # clip 1, frame 2
    assert boxes[:, 0].tolist() == [4, 5, 6, 7, 0, 1, 2, 3]
    assert torch.equal(boxes[1, 1:], ROIS[0, 1:])
    assert torch.equal(boxes[4, 1:], ROIS[1, 1:])


@each_case(("pool", "expected"), [("avg", [0.5, 2.0, 3.5]), ("max", [1.0, 3.0, 4.0])])
def test_longer_maps_are_pooled_to_the_length_of_the_shortest(pool: str, expected: list[float]) -> None:
    # Of five frames the first two, the second to the fourth, and the last two make one each.
    five, three = torch.arange(5.0).view(1, 1, 5, 1, 1), torch.randn(1, 1, 3, 1, 1)
    (long, short), _, length = frame_by_frame([five, three], ROIS[1:], pool)
    assert (long.flatten().tolist(), length) == (expected, 3)
    assert torch.equal(short.flatten(), three.flatten())


@each_case("kind", [consensus_head, lstm_head])
def test_maps_of_several_lengths_are_read_together(kind: Callable[..., RoIHead]) -> None:
    torch.manual_seed(0)
    head = kind([3, 3], 5, aligned=True).eval()
    nn.init.normal_(head.proj.weight)
    doubled = some_map().repeat_interleave(2, dim=2)  # pooled, it is what it was
    assert doubled.shape[2] == 8
    torch.testing.assert_close(head([doubled, some_map()], ROIS, HW), head([some_map(), some_map()], ROIS, HW))


@each_case("consensus", ["avg", "max"])
def test_the_consensus_is_taken_of_logits(consensus: str) -> None:
    torch.manual_seed(0)
    head = consensus_head([3], 5, consensus=consensus, aligned=True).eval()
    nn.init.normal_(head.proj.weight)
    plain = roi_head([3], 5, aligned=True).eval()
    plain.load_state_dict(head.state_dict())
    each = torch.stack([plain([some_map()[:, :, t : t + 1]], ROIS, HW) for t in range(4)])
    expected = each.mean(dim=0) if consensus == "avg" else each.amax(dim=0)
    torch.testing.assert_close(head([some_map()], ROIS, HW), expected)
    # Not what pooling the maps first would give: the maximum over cells is taken frame by frame.
    assert (plain([some_map()], ROIS, HW) - expected).abs().max() > 0.01


def test_one_frame_needs_no_consensus() -> None:
    torch.manual_seed(0)
    head = consensus_head([3], 5).eval()
    plain = roi_head([3], 5).eval()
    plain.load_state_dict(head.state_dict())
    one = [some_map()[:, :, :1]]
    torch.testing.assert_close(head(one, ROIS, HW), plain(one, ROIS, HW))


def test_an_unknown_consensus_is_refused() -> None:
    with pytest.raises(AvadetError, match="consensus of a head must be 'max' or 'avg', got 'mean'"):
        consensus_head([3], 5, consensus="mean")


def test_conv_pooling_is_the_maximum_over_time() -> None:
    pooled = roi_head([3], 5, resolution=2, aligned=True, sampling_ratio=1, time_pool="max")
    found = pooled.box_features([some_map()], ROIS[:1], HW)
    # The box is the whole frame and every cell is sampled at its centre: the maximum over time and space.
    assert torch.equal(found[0], some_map()[1].amax(dim=(1, 2, 3)))


def test_an_lstm_step_by_hand() -> None:
    head = lstm_head([1], 2, units=1, resolution=1, aligned=True, sampling_ratio=1)
    with torch.no_grad():
        for parameter in head.lstm.parameters():
            parameter.zero_()
        # Gates in, forget, cell, out: in and out stay at sigmoid(0) = 1/2, forget too; the cell reads tanh(x).
        head.lstm.weight_ih_l0[2] = 1.0
    first, second = 0.3, -0.8
    one_map = torch.tensor([first, second]).view(1, 1, 2, 1, 1)
    features = head.box_features([one_map], torch.tensor([[0.0, 0, 0, 8, 8]]), (8, 8))
    first, second = torch.tensor(first), torch.tensor(second)
    cell = 0.5 * (0.5 * first.tanh()) + 0.5 * second.tanh()
    torch.testing.assert_close(features, (0.5 * cell.tanh()).view(1, 1))


def test_parameters_of_an_lstm() -> None:
    # Four gates, each with weights for the input and the state, and two biases: 4 h (d + h + 2).
    head = lstm_head([7, 4], 5, units=6, context=True)
    lstm = 4 * 6 * (2 * (7 + 4) + 6 + 2)
    assert sum(p.numel() for p in head.parameters()) == lstm + 6 * 5 + 5


def test_an_lstm_may_read_crops_of_reduced_maps_and_have_relations() -> None:
    torch.manual_seed(0)
    head = lstm_head([3, 2], 5, units=4, map_width=2, acrn={"width": 6}, acar={"width": 7, "kernel": 1}).eval()
    maps = [some_map(), some_map()[:, :2]]
    assert (head.lstm.input_size, head.acrn.features, head.proj.in_features) == (2, 4, 13)
    own, clips = head.box_features(maps, ROIS, HW), ROIS[:, 0].long()
    joined = torch.cat([head.acrn(own, maps, clips), head.acar(own, maps, clips)], dim=1)
    torch.testing.assert_close(head(maps, ROIS, HW), head.proj(joined))


def test_a_norm_before_the_lstm_takes_scale_and_offset_away() -> None:
    torch.manual_seed(0)
    plain, normed = (lstm_head([3], 5, units=4, norm_input=norm_input) for norm_input in (False, True))
    maps = [some_map(), 100 * some_map() + 1000]
    with torch.no_grad():
        before = [plain.box_features([one_map], ROIS, HW) for one_map in maps]
        after = [normed.box_features([one_map], ROIS, HW) for one_map in maps]
    torch.testing.assert_close(after[1], after[0], atol=1e-3, rtol=0)
    assert (before[1] - before[0]).abs().max() > 0.1


@each_case("name", ["box", "cell"])
def test_an_lstm_minds_the_order_of_frames(name: str) -> None:
    torch.manual_seed(0)
    if name == "box":
        head = lstm_head([3], 5, units=4)
        answers = [head.box_features([x], ROIS, HW) for x in (some_map(), some_map().flip(2))]
    else:
        net = CellLstm(Through(), units=4)
        answers = [net(x)[0] for x in (some_map(), some_map().flip(2))]
    assert (answers[0] - answers[1]).abs().max() > 1e-3


class Through(Backbone):
    """A backbone whose map is the clip."""

    out_channels = (3,)
    strides = (Stride(1, 1, 1),)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x]


def test_cells_are_read_one_by_one() -> None:
    torch.manual_seed(0)
    net = CellLstm(Through(), units=4, layers=2)
    found = net(some_map())[0]
    assert found.shape == (2, 4, 1, 2, 2)
    assert net.out_channels == (4,)
    alone = net.lstms[0](some_map()[1, :, :, 0, 1].T)[0][-1]
    torch.testing.assert_close(found[1, :, 0, 0, 1], alone)
