"""The non-local block against sums worked out by hand, and where it stands in a stage."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from avadet.models.backbones.nonlocal_block import NonLocal, with_nonlocal_blocks
from avadet.models.backbones.slow import ResNet3d


def bare(softmax: bool, pool: tuple[int, int, int] = (1, 1, 1)) -> NonLocal:
    """A block over two channels, of one inside, that looks at channel 0, fetches channel 1 and adds to channel 1."""
    block = NonLocal(2, softmax=softmax, pool=pool).eval()
    with torch.no_grad():
        for conv, weight in ((block.conv_theta, (1, 0)), (block.conv_phi, (1, 0)), (block.conv_g, (0, 1))):
            conv.weight.copy_(torch.tensor(weight, dtype=torch.float32).view(1, 2, 1, 1, 1))
            conv.bias.zero_()
        block.conv_out.weight.copy_(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1, 1))
        block.conv_out.bias.zero_()
        block.norm.weight.fill_(math.sqrt(1 + block.norm.eps))  # so that the norm does nothing
    return block


def places(keys: list[float], values: list[float]) -> torch.Tensor:
    """A map of one frame and one row with these two channels."""
    return torch.tensor([keys, values]).view(1, 2, 1, 1, len(keys))


def test_dot_products_are_divided_by_the_number_of_places() -> None:
    x = places([1.0, 2.0], [10.0, 100.0])
    # Place 0: (1 * 1 * 10 + 1 * 2 * 100) / 2 = 105; place 1: (2 * 1 * 10 + 2 * 2 * 100) / 2 = 210.
    added = bare(softmax=False)(x) - x
    assert added[0, 0].flatten().tolist() == [0, 0]
    assert added[0, 1].flatten().tolist() == pytest.approx([105, 210])


def test_softmax_weights_sum_to_one() -> None:
    x = places([1.0, math.log(3.0)], [4.0, 8.0])
    # Place 0 looks with 1: weights e : 3; place 1 with log 3: 3 : e ** (log 3) ** 2.
    first = (4 * math.e + 8 * 3) / (math.e + 3)
    far = math.exp(math.log(3) ** 2)
    second = (4 * 3 + 8 * far) / (3 + far)
    added = bare(softmax=True)(x) - x
    assert added[0, 1].flatten().tolist() == pytest.approx([first, second], rel=1e-5)


def test_softmax_is_scaled_by_the_root_of_the_channels_inside() -> None:
    torch.manual_seed(0)
    block = NonLocal(8, softmax=True, pool=(1, 1, 1)).eval()
    nn.init.ones_(block.norm.weight)
    x = torch.randn(2, 8, 2, 3, 3)
    query, key, value = (conv(x).flatten(2) for conv in (block.conv_theta, block.conv_phi, block.conv_g))
    weights = torch.einsum("nct,ncp->ntp", query, key).div(2).softmax(dim=2)  # root of the 4 channels inside
    looked_up = torch.einsum("ntp,ncp->nct", weights, value).view(2, 4, 2, 3, 3)
    torch.testing.assert_close(block(x), x + block.norm(block.conv_out(looked_up)))


def test_places_looked_at_are_pooled() -> None:
    x = places([1.0, 2.0, 3.0, 1.0], [10.0, 100.0, 5.0, 1.0])
    # Pairs pooled by their maxima: keys 2 and 3, values 100 and 5. Place 0: (2 * 100 + 3 * 5) / 2.
    added = bare(softmax=False, pool=(1, 1, 2))(x) - x
    assert added[0, 1].flatten().tolist() == pytest.approx([107.5, 215, 322.5, 107.5])


def test_a_new_block_changes_nothing() -> None:
    torch.manual_seed(0)
    after = ((), (0,), (), ())
    net = ResNet3d(width=4, depths=(1, 1, 1, 1), nonlocal_after=after).eval()
    assert net.res3.nonlocal0.norm.weight.abs().max() == 0
    x = torch.randn(1, 32, 2, 8, 8)
    assert torch.equal(net.res3.nonlocal0(x), x)


def test_blocks_stand_behind_those_they_are_named_after() -> None:
    stage = nn.Sequential(nn.Identity(), nn.Identity(), nn.Identity())
    joined = with_nonlocal_blocks(stage, 2, (0, 2), {"softmax": False})
    assert [name for name, _ in joined.named_children()] == ["0", "nonlocal0", "1", "2", "nonlocal2"]
    assert with_nonlocal_blocks(stage, 2, (), {}) is stage
