"""The person detector's network, its assignment and its loss: numbers by hand, then laws."""

from __future__ import annotations

import math

import pytest
import torch
from person_training.loss import (
    Targets,
    assign,
    pairwise_iou,
    person_loss,
    varifocal,
)

from avadet.models.engines.folding import fold_norms
from avadet.persons.person_net import PersonNet, RawPersons, boxes_from_sides, cells


def people(*boxes: tuple[float, float, float, float], doubtful: tuple[int, ...] = ()) -> Targets:
    """A batch of one picture; rows named in `doubtful` are uncertain."""
    maybe = torch.tensor([[i in doubtful for i in range(len(boxes))]])
    return Targets(torch.tensor([boxes]), (~maybe).float(), maybe)


def answers(boxes: torch.Tensor, logits: torch.Tensor, size_hw: tuple[int, int] = (64, 64)) -> RawPersons:
    centres, strides = cells(size_hw)
    return RawPersons(logits[None], boxes[None], centres, strides)


def test_cells_of_a_64_by_32_input() -> None:
    centres, strides = cells((64, 32))
    assert len(centres) == 8 * 4 + 4 * 2 + 2 * 1
    assert centres[0].tolist() == [4, 4]
    assert centres[1].tolist() == [12, 4]
    assert centres[32].tolist() == [8, 8]
    assert centres[-1].tolist() == [16, 48]
    assert strides[[0, 31, 32, 39, 40, 41]].tolist() == [8, 8, 16, 16, 32, 32]


def test_sides_are_log_distances_in_strides() -> None:
    centres, strides = torch.tensor([[20.0, 30.0]]), torch.tensor([8.0])
    sides = torch.tensor([[1.0, 2.0, 3.0, 0.5]]).log()
    box = boxes_from_sides(sides, centres, strides)
    assert box.tolist()[0] == pytest.approx([20 - 8, 30 - 16, 20 + 24, 30 + 4])


def test_sides_stay_finite() -> None:
    box = boxes_from_sides(torch.full((1, 4), 1e4), torch.zeros(1, 2), torch.full((1,), 32.0))
    assert box.isfinite().all()


def test_iou_by_hand() -> None:
    overlap = pairwise_iou(torch.tensor([[[0.0, 0, 4, 4]]]), torch.tensor([[[2.0, 0, 6, 4], [4, 4, 8, 8]]]))
    assert overlap[0, 0].tolist() == pytest.approx([8 / 24, 0])


def test_box_cost_by_hand() -> None:
    """Each of the ten best cells costs 1 - GIoU = 1 - (320 / 400 - 0), and weighs its quality, 0.8."""
    boxes = torch.tensor([[0.0, 0, 20, 16]]).repeat(len(cells((64, 64))[0]), 1)
    loss = person_loss(answers(boxes, torch.zeros(len(boxes))), people((0.0, 0, 20, 20)))
    assert loss.box.item() == pytest.approx(0.2)


def test_empty_boxes_overlap_nothing() -> None:
    assert pairwise_iou(torch.zeros(2, 1, 4), torch.zeros(2, 3, 4)).tolist() == [[[0.0] * 3]] * 2


def test_varifocal_by_hand() -> None:
    cost = varifocal(torch.tensor([0.0, 0.0]), torch.tensor([0.8, 0.0]))
    assert cost[0].item() == pytest.approx(0.8 * math.log(2))
    assert cost[1].item() == pytest.approx(0.75 * 0.25 * math.log(2))


def test_the_best_cell_is_asked_for_its_iou() -> None:
    centres, _ = cells((64, 64))
    boxes = torch.cat((centres - 1, centres + 1), dim=1)
    boxes[0], boxes[1] = torch.tensor([0.0, 0, 20, 20]), torch.tensor([0.0, 0, 20, 16])
    wanted = assign(answers(boxes, torch.zeros(len(boxes))), people((0.0, 0, 20, 20)))
    assert wanted.quality[0, 0].item() == pytest.approx(1)
    assert wanted.quality[0, 1].item() == pytest.approx(0.8**6)
    assert wanted.counts.all()


def test_no_cell_is_asked_for_more_than_the_person_is_worth() -> None:
    boxes = torch.tensor([[0.0, 0, 20, 20]]).repeat(len(cells((64, 64))[0]), 1)
    sure = people((0.0, 0, 20, 20))
    wanted = assign(answers(boxes, torch.zeros(len(boxes))), Targets(sure.boxes_px, sure.worth * 0.6, sure.doubtful))
    assert wanted.quality.max().item() == pytest.approx(0.6)


def test_cells_outside_the_box_are_not_taken() -> None:
    boxes = torch.tensor([[0.0, 0, 20, 20]]).repeat(len(cells((64, 64))[0]), 1)
    wanted = assign(answers(boxes, torch.zeros(len(boxes))), people((0.0, 0, 20, 20)))
    centres, _ = cells((64, 64))
    taken = centres[wanted.quality[0] > 0]
    assert len(taken) > 0
    assert (taken <= 20).all()


def test_a_cell_goes_to_the_person_it_overlaps_most() -> None:
    first, second = (0.0, 0.0, 40.0, 40.0), (0.0, 0.0, 40.0, 60.0)
    boxes = torch.zeros(len(cells((64, 64))[0]), 4)
    boxes[:3] = torch.tensor(second)
    wanted = assign(answers(boxes, torch.zeros(len(boxes))), people(first, second))
    assert wanted.person[0, :3].tolist() == [1, 1, 1]
    assert (wanted.quality[0] > 0).sum() == 3


def test_a_tiny_person_has_a_cell() -> None:
    person = (9.0, 9.0, 11.0, 11.0)
    boxes = torch.tensor([person]).repeat(len(cells((64, 64))[0]), 1)
    assert (assign(answers(boxes, torch.zeros(len(boxes))), people(person)).quality > 0).any()


def test_doubtful_people_are_neither_wanted_nor_punished() -> None:
    person = (8.0, 8.0, 40.0, 40.0)
    boxes = torch.tensor([person]).repeat(len(cells((64, 64))[0]), 1)
    raw = answers(boxes, torch.full((len(boxes),), 3.0))
    wanted = assign(raw, people(person, doubtful=(0,)))
    assert not (wanted.quality > 0).any()
    assert not wanted.counts.any()
    assert person_loss(raw, people(person, doubtful=(0,))).total.item() == 0
    assert person_loss(raw, people((50.0, 50.0, 60.0, 60.0))).score.item() > 1


def test_padding_rows_change_nothing() -> None:
    torch.manual_seed(0)
    net = PersonNet(16).eval()
    raw = net(torch.rand(1, 3, 64, 64))
    one = people((5.0, 5.0, 40.0, 50.0))
    padded = Targets(
        torch.cat((one.boxes_px, torch.zeros(1, 3, 4)), 1),
        torch.cat((one.worth, torch.zeros(1, 3)), 1),
        torch.cat((one.doubtful, torch.zeros(1, 3, dtype=torch.bool)), 1),
    )
    assert person_loss(raw, padded).total.item() == pytest.approx(person_loss(raw, one).total.item(), rel=1e-6)


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    net = PersonNet(16)
    targets = Targets(
        torch.tensor([[[5.0, 5, 40, 60]], [[10, 0, 90, 90]]]),
        torch.ones(2, 1),
        torch.zeros(2, 1, dtype=torch.bool),
    )
    person_loss(net(torch.rand(2, 3, 96, 96)), targets).total.backward()
    silent = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert silent == []


def test_it_learns_one_picture_by_heart() -> None:
    torch.manual_seed(0)
    net = PersonNet(16)
    image = torch.full((2, 3, 64, 64), 0.2)
    image[:, :, 16:48, 8:32] = 0.9
    box = torch.tensor([[[8.0, 16, 32, 48]]]).repeat(2, 1, 1)
    targets = Targets(box, torch.ones(2, 1), torch.zeros(2, 1, dtype=torch.bool))
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    for _ in range(60):
        loss = person_loss(net(image), targets)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
    raw = net(image)
    best = raw.boxes_px[0, raw.logits[0].argmax()]
    assert pairwise_iou(box[:1], best[None, None]).item() > 0.8


def test_fusing_norms_changes_nothing() -> None:
    torch.manual_seed(0)
    net = PersonNet(16).train()
    for _ in range(3):
        net(torch.rand(2, 3, 64, 64))
    net.eval()
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        before = net(image)
        assert fold_norms(net, torch.rand(1, 3, 32, 32)).note == ""
        after = net(image)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in net.modules())
    torch.testing.assert_close(before.logits, after.logits, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(before.boxes_px, after.boxes_px, rtol=1e-3, atol=1e-2)
