"""Frames scored one by one: consensus, conv pooling and LSTM against sums worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from avadet.errors import AvadetError
from avadet.models.backbones.backbone import Backbone, Stride
from avadet.models.backbones.frames import CellLstm
from avadet.models.heads.over_time import ConsensusHead, LstmHead, frame_by_frame
from avadet.models.heads.roi_head import RoIHead

HW = (32, 32)
ROIS = torch.tensor([[1.0, 0, 0, 32, 32], [0, 0, 0, 16, 16]])


def some_map() -> Tensor:
    """(2, 3, 4, 2, 2)."""
    return torch.randn(2, 3, 4, 2, 2, generator=torch.Generator().manual_seed(3))


def test_every_frame_becomes_a_clip() -> None:
    maps, boxes = frame_by_frame([some_map()], ROIS)
    assert maps[0].shape == (8, 3, 1, 2, 2)
    assert torch.equal(maps[0][6, :, 0], some_map()[1, :, 2])  # clip 1, frame 2
    assert boxes[:, 0].tolist() == [4, 5, 6, 7, 0, 1, 2, 3]
    assert torch.equal(boxes[1, 1:], ROIS[0, 1:])
    assert torch.equal(boxes[4, 1:], ROIS[1, 1:])
    with pytest.raises(AvadetError, match=r"must have one length, got \[2, 4\] frames"):
        frame_by_frame([some_map(), some_map()[:, :, :2]], ROIS)


@pytest.mark.parametrize("consensus", ["avg", "max"])
def test_the_consensus_is_taken_of_logits(consensus: str) -> None:
    torch.manual_seed(0)
    head = ConsensusHead([3], 5, consensus=consensus, aligned=True).eval()
    nn.init.normal_(head.proj.weight)
    plain = RoIHead([3], 5, aligned=True).eval()
    plain.load_state_dict(head.state_dict())
    each = torch.stack([plain([some_map()[:, :, t : t + 1]], ROIS, HW) for t in range(4)])
    expected = each.mean(dim=0) if consensus == "avg" else each.amax(dim=0)
    torch.testing.assert_close(head([some_map()], ROIS, HW), expected)
    # Not what pooling the maps first would give: the maximum over cells is taken frame by frame.
    assert (plain([some_map()], ROIS, HW) - expected).abs().max() > 0.01


def test_one_frame_needs_no_consensus() -> None:
    torch.manual_seed(0)
    head = ConsensusHead([3], 5).eval()
    plain = RoIHead([3], 5).eval()
    plain.load_state_dict(head.state_dict())
    one = [some_map()[:, :, :1]]
    torch.testing.assert_close(head(one, ROIS, HW), plain(one, ROIS, HW))


def test_an_unknown_consensus_is_refused() -> None:
    with pytest.raises(AvadetError, match="consensus of frames must be 'avg' or 'max', got 'mean'"):
        ConsensusHead([3], 5, consensus="mean")


def test_conv_pooling_is_the_maximum_over_time() -> None:
    pooled = RoIHead([3], 5, resolution=2, aligned=True, sampling_ratio=1, time_pool="max")
    found = pooled.box_features([some_map()], ROIS[:1], HW)
    # The box is the whole frame and every cell is sampled at its centre: the maximum over time and space.
    assert torch.equal(found[0], some_map()[1].amax(dim=(1, 2, 3)))


def test_an_lstm_step_by_hand() -> None:
    head = LstmHead([1], 2, units=1, resolution=1, aligned=True, sampling_ratio=1)
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
    head = LstmHead([7, 4], 5, units=6, context=True)
    lstm = 4 * 6 * (2 * (7 + 4) + 6 + 2)
    assert sum(p.numel() for p in head.parameters()) == lstm + 6 * 5 + 5


def test_maps_cannot_be_narrowed_where_there_are_none() -> None:
    with pytest.raises(AvadetError, match=r"head\.map_width reads maps"):
        LstmHead([3], 5, units=4, map_width=2)


def test_a_norm_before_the_lstm_takes_scale_and_offset_away() -> None:
    torch.manual_seed(0)
    plain, normed = (LstmHead([3], 5, units=4, norm_input=norm_input) for norm_input in (False, True))
    maps = [some_map(), 100 * some_map() + 1000]
    with torch.no_grad():
        before = [plain.box_features([one_map], ROIS, HW) for one_map in maps]
        after = [normed.box_features([one_map], ROIS, HW) for one_map in maps]
    torch.testing.assert_close(after[1], after[0], atol=1e-3, rtol=0)
    assert (before[1] - before[0]).abs().max() > 0.1


@pytest.mark.parametrize("name", ["box", "cell"])
def test_an_lstm_minds_the_order_of_frames(name: str) -> None:
    torch.manual_seed(0)
    if name == "box":
        head = LstmHead([3], 5, units=4)
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
