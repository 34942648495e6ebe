"""Temporal shift by hand, frozen parts, and what the small backbone promises."""

from __future__ import annotations

import pytest
import torch

from avadet.errors import AvadetError
from avadet.models.backbones.tiny_actions import ShiftedShuffleNet, TemporalShift


def test_shift_by_hand() -> None:
    # Two clips of three frames, eight channels; every value tells clip, frame and channel: 100 c + 10 t + channel.
    x = torch.stack([100.0 * c + 10 * t + torch.arange(8.0) for c in range(2) for t in range(3)])[:, :, None, None]
    out = TemporalShift(3)(x)[:, :, 0, 0]
    assert out[:, 0].tolist() == [10, 20, 0, 110, 120, 0]  # from the next frame, zeros at each clip's end
    assert out[:, 1].tolist() == [0, 1, 11, 0, 101, 111]  # from the frame before, zeros at each clip's start
    assert torch.equal(out[:, 2:], x[:, 2:, 0, 0])


def test_shift_keeps_the_memory_layout() -> None:
    x = torch.rand(6, 16, 5, 4).contiguous(memory_format=torch.channels_last)
    assert TemporalShift(3)(x).is_contiguous(memory_format=torch.channels_last)


def test_maps_know_the_order_of_frames_only_with_shift() -> None:
    torch.manual_seed(0)
    clip = torch.rand(1, 3, 4, 64, 64)
    shifted = ShiftedShuffleNet(4).eval()
    single = ShiftedShuffleNet(4, shift_divisor=1000).eval()
    single.load_state_dict(shifted.state_dict())
    for net, order_matters in ((shifted, True), (single, False)):
        forward, backward = net(clip)[0].mean(dim=2), net(clip.flip(2))[0].mean(dim=2)
        assert torch.allclose(forward, backward, atol=1e-5) != order_matters


def test_stages_and_shapes() -> None:
    net = ShiftedShuffleNet(2, stages=(2, 3, 4)).eval()
    maps = net(torch.rand(3, 3, 2, 64, 96))
    assert net.out_channels == (48, 96, 192)
    assert [tuple(one.shape) for one in maps] == [(3, 48, 2, 8, 12), (3, 96, 2, 4, 6), (3, 192, 2, 2, 3)]


def test_frozen_parts_stay_as_they_are() -> None:
    net = ShiftedShuffleNet(2)
    net.freeze(2)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.train()
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
    net(torch.rand(2, 3, 2, 64, 64))[0].square().mean().backward()
    optimizer.step()
    changed = {name.split(".")[2] for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    still = {name for name, value in net.state_dict().items() if torch.equal(value, before[name])}
    assert all(name in still for name in before if name.startswith(("trunk.stem.", "trunk.stages.0.")))
    assert changed == {"1", "2"} or changed == {"1"}
    net.freeze(0)
    assert all(module.training for module in net.modules())


def test_mistakes() -> None:
    with pytest.raises(AvadetError, match=r"stages must be some of 2, 3, 4, got \[1\]"):
        ShiftedShuffleNet(2, stages=(1,))
    with pytest.raises(AvadetError, match="takes clips of exactly 2 frames, got 3"):
        ShiftedShuffleNet(2)(torch.rand(1, 3, 3, 64, 64))
