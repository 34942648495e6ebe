"""How an actor stands to the scene around him, by convolutions: the actor-centric relation network.

Sun et al., "Actor-Centric Relation Network", ECCV 2018, as mmaction2's AVA models have it: the actor's features are
laid beside those of every place of his clip, a 1x1 and a 3x3 convolution read them, and the maximum over all places
stands for the actor from then on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from avadet.models.heads.acar import ACTORS_AT_ONCE, one_scene
from avadet.models.heads.in_parts import in_parts


@dataclass(frozen=True)
class AcrnOptions:
    """Options of `ActorCentricRelation`.

    Attributes:
        width: D, of the answer; None = F, that of an actor's features.
    """

    width: int | None = None


class ActorCentricRelation(nn.Module):
    """One vector for each actor that takes the place of his own features; actors do not see each other."""

    def __init__(self, features: int, channels: int, options: AcrnOptions | None = None) -> None:
        """Build it, its weights drawn as by He et al., 2015.

        Args:
            features: F of an actor.
            channels: C, of all maps together.
            options: see there; None = the defaults.
        """
        super().__init__()
        self.features = features
        self.width = (options and options.width) or features
        # Kernels have a dimension for time, of one, as stored weights have.
        self.join = nn.Conv3d(features + channels, self.width, 1, bias=False)
        self.join_norm = nn.BatchNorm3d(self.width)
        self.conv = nn.Conv3d(self.width, self.width, (1, 3, 3), padding=(0, 1, 1), bias=False)
        self.conv_norm = nn.BatchNorm3d(self.width)
        for conv in (self.join, self.conv):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, actors: Tensor, maps: Sequence[Tensor], batch_index: Tensor) -> Tensor:
        """Relate every actor.

        Args:
            actors: float (R, F); R may be 0.
            maps: float (B, C_i, T_i, H_i, W_i).
            batch_index: int64 (R,), the clip of each actor, in any order.

        Returns:
            (R, D).
        """
        # The 1x1 convolution over the tiled actor beside the map, in two parts: a tiled actor is the same everywhere.
        weight = self.join.weight
        scene = functional.conv3d(one_scene(maps).to(weight.dtype)[:, :, None], weight[:, self.features :])

        def relate(actors: Tensor, batch_index: Tensor) -> Tensor:
            actor = functional.linear(actors, weight[:, : self.features].flatten(1))
            pairs = torch.relu(self.join_norm(scene[batch_index] + actor[:, :, None, None, None]))
            places = torch.relu(self.conv_norm(self.conv(pairs)))
            return places.amax(dim=(2, 3, 4))

        return in_parts(relate, ACTORS_AT_ONCE, self.training, actors, batch_index)
