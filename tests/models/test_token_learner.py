"""TokenLearner and TokenFuser: weights that sum to one, counts of tokens, and blocks that begin as identities."""

from __future__ import annotations

import pytest
import torch
from counting import sizes
from torch import nn

from avadet.models.backbones.token_learner import LearnedTokensBlock, TokenFuser, TokenLearner, TokenLearnerViT
from avadet.models.backbones.vivit import JointViViT

SMALL = {"embed_dim": 16, "depth": 2, "heads": 2, "learn_after": 1, "tokens": 3, "grid": (4, 2, 3)}


def test_sizes_of_the_base_model() -> None:
    parameters, operations, shapes = sizes("token_learner_vit_b", (16, 224, 224))
    block = 12 * 768**2 + 13 * 768
    perceptron = 768 * 64 + 64 + 64 * 8 + 8  # of places: its 64 hidden units, 8 learned tokens
    learner, fuser = 2 * 768 + perceptron, 3 * 2 * 768 + 8 * 8 + 8 + perceptron
    others = 3 * 2 * 16 * 16 * 768 + 768 + 1568 * 768 + 2 * 768 + 80 * 769
    assert parameters == 12 * block + 6 * (learner + fuser) + others
    # "placing it in the middle about halves the cost": against the same transformer without it
    _, without, _ = sizes("videomae_b", (16, 224, 224))
    assert operations / without == pytest.approx(0.53, abs=0.01)
    assert shapes == [(1, 768, 8, 14, 14)]


def test_weights_of_places_sum_to_one() -> None:
    torch.manual_seed(0)
    learner = TokenLearner(16, tokens=3)
    frames = torch.randn(2, 4, 6, 16)
    with torch.no_grad():
        weights = learner.weights(frames)
        assert (weights.shape, learner(frames).shape) == ((2, 4, 3, 6), (2, 4, 3, 16))
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 4, 3))
    assert weights.min() > 0


def test_learned_tokens_are_weighted_means() -> None:
    learner = TokenLearner(2, tokens=2, hidden=1)
    for parameter in learner.weigh.parameters():
        nn.init.zeros_(parameter)
    frames = torch.tensor([[[0.0, 8.0], [2.0, 4.0], [4.0, 0.0]]])
    with torch.no_grad():
        assert learner(frames).tolist() == [[[2, 4], [2, 4]]]  # all places count the same: the mean
        # GELU(100) = 100 for places of a rising vector, GELU(-100) = 0 for the others; the second token wants those.
        learner.weigh.fc1.weight.data = torch.tensor([[-100.0, 100.0]])
        learner.weigh.fc2.weight.data = torch.tensor([[0.0], [1.0]])
        found = learner(frames)
    torch.testing.assert_close(found, torch.tensor([[[2.0, 4.0], [1.0, 6.0]]]), atol=1e-3, rtol=0)


def test_a_fresh_fuser_gives_zeros() -> None:
    torch.manual_seed(0)
    block = LearnedTokensBlock(16, 2, 4.0, 0.0, tokens=3)
    frames = torch.randn(2, 4, 6, 16)
    with torch.no_grad():
        assert torch.equal(block(frames), frames)
        nn.init.ones_(block.fuser.norm_mixed.weight)
        assert not torch.allclose(block(frames), frames, atol=0.1)


def test_a_place_gets_what_it_wants() -> None:
    fuser = TokenFuser(4, tokens=2, hidden=1)
    for parameter in fuser.parameters():
        nn.init.zeros_(parameter)
    # Whatever the tokens, the norm's bias makes both (1, 2, 3, 4); sigmoid(0) = 1/2 of each goes to every place.
    fuser.norm_mixed.bias.data = torch.tensor([1.0, 2, 3, 4])
    with torch.no_grad():
        found = fuser(torch.randn(1, 2, 4), torch.randn(1, 5, 4))
    assert found.tolist() == [[[1, 2, 3, 4]] * 5]


def test_blocks_see_learned_tokens_of_all_frames() -> None:
    torch.manual_seed(0)
    net = TokenLearnerViT(**SMALL).eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    seen: list[tuple[int, ...]] = []
    net.blocks[1].block.register_forward_hook(lambda module, inputs, output: seen.append(tuple(inputs[0].shape)))
    with torch.no_grad():
        (one_map,) = net(torch.randn(2, 3, 8, 32, 48))
    assert seen == [(2, 4 * 3, 16)]
    assert one_map.shape == (2, 16, 4, 2, 3)


def test_before_the_learned_tokens_it_is_a_plain_transformer() -> None:
    torch.manual_seed(0)
    net = TokenLearnerViT(**SMALL).eval()  # its late block is an identity yet
    plain = JointViViT(embed_dim=16, depth=1, heads=2, grid=(4, 2, 3)).eval()
    tensors = {name: tensor for name, tensor in net.state_dict().items() if not name.startswith("blocks.1.")}
    table = tensors.pop("pos_embed.table")
    plain.load_state_dict({**plain.state_dict(), **tensors, "pos_embed.table": torch.cat([table[:, :1], table], dim=1)})
    clip = torch.randn(1, 3, 8, 32, 48)
    tokens, grid = net.patch_embed(clip)
    with torch.no_grad():
        expected = plain.norm(plain.blocks[0](tokens + plain.pos_embed(grid)[:, 1:]))
        (found,) = net(clip)
    torch.testing.assert_close(found.flatten(2).transpose(1, 2), expected)
