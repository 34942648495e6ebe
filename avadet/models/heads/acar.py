"""What people do with each other and with what stands around them: actor-context relations.

Pan et al., "Actor-Context-Actor Relation Network for Spatio-Temporal Action Localization", CVPR 2021. An actor is held
against every place of its clip (first order: he stands at that bench), and these relations of all actors of the clip
against each other, place by place (high order: she plays the piano on whose bench he sits).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from avadet.errors import AvadetError
from avadet.models.heads.in_parts import in_parts, is_written

ACTORS_AT_ONCE, QUERIES_AT_ONCE = 16, 64
"""Actors whose relations with all places, and who look at all others at all places, at a time."""


class HighOrderRelation(nn.Module):
    """At each place every actor looks at the relations that the actors of his clip, himself too, have with the place.

    It is the non-local form of the paper's operator: attention over actors, layer norm, ReLU, convolution, added to
    what came in.
    """

    def __init__(self, width: int, kernel: int = 3, dropout: float = 0.2, out_kernel: int | None = None) -> None:
        """Build it.

        Args:
            width: D, channels of a relation.
            kernel: cells along each side of its convolutions.
            dropout: share of channels' values dropped in training from what is added.
            out_kernel: `kernel` of the last one; None = the same.
        """
        super().__init__()
        self.query, self.key, self.value, self.out = (
            nn.Conv2d(width, width, side, padding=side // 2, bias=False)
            for side in (kernel, kernel, kernel, out_kernel or kernel)
        )
        self.norm = nn.GroupNorm(1, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, relations: Tensor, together: Tensor) -> Tensor:
        """Relations (R, D, H, W) -> the same shape; `together` as `attention`."""
        key, value = self.key(relations), self.value(relations)

        def look(query: Tensor, together: Tensor) -> Tensor:
            return torch.einsum("rshw,schw->rchw", _weights(query, key, together), value)

        seen = in_parts(look, QUERIES_AT_ONCE, self.training, self.query(relations), together)
        added: Tensor = self.dropout(self.out(torch.relu(self.norm(seen))))
        return relations + added

    def attention(self, relations: Tensor, together: Tensor) -> Tensor:
        """How much actor r looks at actor s at each place.

        Args:
            relations: (R, D, H, W).
            together: bool (R, R), whether two actors share a clip; each does with himself.

        Returns:
            (R, S = R, H, W), 0-1, the sum over s is 1; 0 for actors of other clips.
        """
        return _weights(self.query(relations), self.key(relations), together)


def _weights(query: Tensor, key: Tensor, together: Tensor) -> Tensor:
    """The softmax of products of queries (R, D, H, W) and keys (S, D, H, W), over S where bool (R, S), else 0."""
    products = torch.einsum("rchw,schw->rshw", query, key) * query.shape[1] ** -0.5
    weights: Tensor = products.masked_fill(~together[:, :, None, None], -torch.inf).softmax(dim=1)
    return weights


class ActorContextRelation(nn.Module):
    """One vector for each actor of how he relates to his surroundings and, through them, to the others of his clip.

    Deviations from the paper: actors' features come as the head has pooled them, and the 1x1 convolutions that reduce
    the maps and that read the tiled actor beside the map are one, split into a part for each: the same values at a
    fraction of the work, for a tiled actor is the same everywhere. Maps of several sizes are brought to the smallest.
    """

    def __init__(
        self,
        features: int,
        channels: int,
        *,
        width: int = 512,
        depth: int = 1,
        kernel: int = 3,
        pad: bool = True,
        shrink: bool = True,
        dropout: float = 0.2,
        out_kernel: int | None = None,
    ) -> None:
        """Build it.

        Args:
            features: F of an actor.
            channels: C, of all maps together.
            width: D, of a relation.
            depth: `HighOrderRelation`s upon each other; 0 = relations of the first order.
            kernel: cells along each side of convolutions.
            pad: whether the convolution of first-order relations keeps the size of the map; without, its edge is lost.
            shrink: whether relations of the first order are max-pooled to half the height and width.
            dropout: of each `HighOrderRelation`.
            out_kernel: likewise.
        """
        super().__init__()
        self.width = width
        self.actor = nn.Linear(features, width)
        self.scene = nn.Conv2d(channels, width, 1, bias=False)
        self.join = nn.Conv2d(width, width, kernel, padding=kernel // 2 if pad else 0)
        self.shrink = nn.MaxPool2d(3, stride=2, padding=1) if shrink else nn.Identity()
        self.layers = nn.ModuleList(HighOrderRelation(width, kernel, dropout, out_kernel) for _ in range(depth))

    def forward(self, actors: Tensor, maps: Sequence[Tensor], owner: Tensor) -> Tensor:
        """Relate every actor.

        Args:
            actors: float (R, F); R may be 0.
            maps: float (B, C_i, T_i, H_i, W_i).
            owner: int64 (R,), the clip of each actor, in any order.

        Returns:
            (R, D).
        """
        if is_written():  # one more, whom nobody sees: onnxruntime divides by zero where there is no actor at all
            actors, owner = functional.pad(actors, (0, 0, 0, 1)), functional.pad(owner, (0, 1), value=-1)
            return self._relations(actors, maps, owner)[:-1]
        return self._relations(actors, maps, owner)

    def _relations(self, actors: Tensor, maps: Sequence[Tensor], owner: Tensor) -> Tensor:
        """As `forward`; an actor without a clip, owner -1, is seen by no other."""
        relations = self.first_order(actors, maps, owner)
        together = owner[:, None] == owner[None]
        for layer in self.layers:
            relations = layer(relations, together)
        return relations.mean(dim=(2, 3))

    def first_order(self, actors: Tensor, maps: Sequence[Tensor], owner: Tensor) -> Tensor:
        """Relations (R, D, H, W) of every actor with every place of his clip; arguments as `forward`."""
        scene = self.scene(one_scene(maps).to(self.scene.weight.dtype))
        needed = self.join.kernel_size[0] - 2 * int(self.join.padding[0])
        if min(scene.shape[2:]) < needed:
            raise AvadetError(
                f"relations of actors without padding need maps of {needed} cells along each side at least, got "
                f"{scene.shape[2]}x{scene.shape[3]}; show the model larger clips"
            )

        def relate(actors: Tensor, owner: Tensor) -> Tensor:
            pairs = torch.relu(scene[owner] + self.actor(actors)[:, :, None, None])
            related: Tensor = self.shrink(torch.relu(self.join(pairs)))
            return related

        return in_parts(relate, ACTORS_AT_ONCE, self.training, actors, owner)


def one_scene(maps: Sequence[Tensor]) -> Tensor:
    """Maps (B, C_i, T_i, H_i, W_i) -> float32 (B, sum C_i, H, W), the means over time, at the size of the smallest."""
    return side_by_side([one_map.float().mean(dim=2) for one_map in maps])


def side_by_side(frames: Sequence[Tensor]) -> Tensor:
    """Maps without time (B, C_i, H_i, W_i) -> (B, sum C_i, H, W), at the size of the smallest."""
    size_hw = frames[smallest(frames)].shape[2:]
    same = [
        frame if frame.shape[2:] == size_hw else functional.interpolate(frame, size_hw, mode="bilinear")
        for frame in frames
    ]
    return torch.cat(same, dim=1)


def smallest(frames: Sequence[Tensor]) -> int:
    """Which of maps without time (B, C_i, H_i, W_i) has the fewest cells; of several the first."""
    cells = [frame.shape[2] * frame.shape[3] for frame in frames]
    return cells.index(min(cells))
