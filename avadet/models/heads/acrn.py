"""How an actor stands to his surroundings, learnt by convolutions: the actor-centric relation network.

Sun et al., "Actor-Centric Relation Network", ECCV 2018, as mmaction2's AVA models have it: the actor's features are
laid beside those of every place of his clip, a 1x1 and a 3x3 convolution read them, and the maximum over all places
stands for the actor from then on.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from avadet.models.heads.acar import ACTORS_AT_ONCE, one_scene
from avadet.models.heads.in_parts import in_parts


class ActorCentricRelation(nn.Module):
    """One vector for each actor that takes the place of his own features; actors do not see each other."""

    def __init__(self, features: int, channels: int, *, width: int | None = None) -> None:
        """Build it (He et al., 2015).

        Args:
            features: F of an actor.
            channels: C, of all maps together.
            width: D, of the answer; None = F.
        """
        super().__init__()
        self.features = features
        self.width = width or features
        # Kernels have a dimension for time, of one, as stored weights have.
        self.join = nn.Conv3d(features + channels, self.width, 1, bias=False)
        self.join_norm = nn.BatchNorm3d(self.width)
        self.conv = nn.Conv3d(self.width, self.width, (1, 3, 3), padding=(0, 1, 1), bias=False)
        self.conv_norm = nn.BatchNorm3d(self.width)
        for conv in (self.join, self.conv):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, actors: Tensor, maps: Sequence[Tensor], owner: Tensor) -> Tensor:
        """Relate every actor.

        Args:
            actors: float (R, F); R may be 0.
            maps: float (B, C_i, T_i, H_i, W_i).
            owner: int64 (R,), the clip of each actor, in any order.

        Returns:
            (R, D).
        """
        # The 1x1 convolution over the tiled actor beside the map, in two parts: a tiled actor is the same everywhere.
        weight = self.join.weight
        scene = functional.conv3d(one_scene(maps).to(weight.dtype)[:, :, None], weight[:, self.features :])

        def relate(actors: Tensor, owner: Tensor) -> Tensor:
            actor = functional.linear(actors, weight[:, : self.features].flatten(1))
            pairs = torch.relu(self.join_norm(scene[owner] + actor[:, :, None, None, None]))
            places = torch.relu(self.conv_norm(self.conv(pairs)))
            return places.amax(dim=(2, 3, 4))

        return in_parts(relate, ACTORS_AT_ONCE, self.training, actors, owner)
