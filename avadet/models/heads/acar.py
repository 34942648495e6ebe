"""How actors stand to the scene around them and through it to each other: actor-context relations.

Pan et al., "Actor-Context-Actor Relation Network for Spatio-Temporal Action Localization", CVPR 2021. An actor is
related to every place of his clip (first order: he stands at that bench), and these relations of all actors of the clip
to each other, place by place (high order: she plays the piano on whose bench he sits).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from avadet.errors import AvadetError
from avadet.models.heads.in_parts import in_parts, is_tracing

ACTORS_AT_ONCE, QUERIES_AT_ONCE = 16, 64
"""Actors whose relations with all places, and whose attention to all others at all places, are held at a time."""


@dataclass(frozen=True)
class AcarOptions:
    """Options of `ActorContextRelation`.

    Attributes:
        width: D, channels of a relation.
        depth: `HighOrderRelation`s upon each other; 0 = relations of the first order.
        kernel: cells along each side of convolutions.
        pad: whether the convolution of first-order relations keeps the size of the map; without, its edge is lost.
        shrink: whether relations of the first order are max-pooled to half the height and width.
        dropout: share of values dropped in training from what each `HighOrderRelation` adds.
        out_kernel: `kernel` of the last convolution of each; None = the same.
    """

    width: int = 512
    depth: int = 1
    kernel: int = 3
    pad: bool = True
    shrink: bool = True
    dropout: float = 0.2
    out_kernel: int | None = None


class HighOrderRelation(nn.Module):
    """At each place every actor attends to the relations of the actors of his clip, himself too, with the place.

    It is the non-local form of the paper's operator: attention over actors, layer norm, ReLU, convolution, added to
    its input.
    """

    def __init__(self, options: AcarOptions) -> None:
        """Build it; `width`, `kernel`, `out_kernel` and `dropout` of the options are its own."""
        super().__init__()
        width, kernel = options.width, options.kernel
        self.query, self.key, self.value, self.out = (
            nn.Conv2d(width, width, side, padding=side // 2, bias=False)
            for side in (kernel, kernel, kernel, options.out_kernel or kernel)
        )
        self.norm = nn.GroupNorm(1, width)
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, relations: Tensor, same_clip: Tensor) -> Tensor:
        """Relations (R, D, H, W) -> the same shape; `same_clip` as `attention`."""
        key, value = self.key(relations), self.value(relations)

        def attend(query: Tensor, same_clip: Tensor) -> Tensor:
            return torch.einsum("rshw,schw->rchw", _weights(query, key, same_clip), value)

        attended = in_parts(attend, QUERIES_AT_ONCE, self.training, self.query(relations), same_clip)
        added: Tensor = self.dropout(self.out(torch.relu(self.norm(attended))))
        return relations + added

    def attention(self, relations: Tensor, same_clip: Tensor) -> Tensor:
        """How much actor r attends to actor s at each place.

        Args:
            relations: (R, D, H, W).
            same_clip: bool (R, R), whether two actors share a clip; each does with himself.

        Returns:
            (R, S = R, H, W), 0-1, the sum over s is 1; 0 for actors of other clips.
        """
        return _weights(self.query(relations), self.key(relations), same_clip)


def _weights(query: Tensor, key: Tensor, same_clip: Tensor) -> Tensor:
    """The softmax of products of queries (R, D, H, W) and keys (S, D, H, W), over S where bool (R, S), else 0."""
    products = torch.einsum("rchw,schw->rshw", query, key) * query.shape[1] ** -0.5
    weights: Tensor = products.masked_fill(~same_clip[:, :, None, None], -torch.inf).softmax(dim=1)
    return weights


class ActorContextRelation(nn.Module):
    """One vector for each actor: how he relates to the scene around him and, through it, to the others of his clip.

    Deviations from the paper: actors' features come as the head has pooled them, and the 1x1 convolutions that reduce
    the maps and that read the tiled actor beside the map are one, split into a part for each: the same values at a
    fraction of the work, for a tiled actor is the same everywhere. Maps of several sizes are brought to the smallest.
    """

    def __init__(self, features: int, channels: int, options: AcarOptions | None = None) -> None:
        """Build it.

        Args:
            features: F of an actor.
            channels: C, of all maps together.
            options: see there; None = the defaults.
        """
        super().__init__()
        options = options or AcarOptions()
        self.width = width = options.width
        self.actor = nn.Linear(features, width)
        self.scene = nn.Conv2d(channels, width, 1, bias=False)
        self.join = nn.Conv2d(width, width, options.kernel, padding=options.kernel // 2 if options.pad else 0)
        self.shrink = nn.MaxPool2d(3, stride=2, padding=1) if options.shrink else nn.Identity()
        self.layers = nn.ModuleList(HighOrderRelation(options) for _ in range(options.depth))

    def forward(self, actors: Tensor, maps: Sequence[Tensor], batch_index: Tensor) -> Tensor:
        """Relate every actor.

        Args:
            actors: float (R, F); R may be 0.
            maps: float (B, C_i, T_i, H_i, W_i).
            batch_index: int64 (R,), the clip of each actor, in any order.

        Returns:
            (R, D).
        """
        if is_tracing():  # one more, to whom none attends: onnxruntime divides by zero where there is no actor at all
            actors, batch_index = functional.pad(actors, (0, 0, 0, 1)), functional.pad(batch_index, (0, 1), value=-1)
            return self._relations(actors, maps, batch_index)[:-1]
        return self._relations(actors, maps, batch_index)

    def _relations(self, actors: Tensor, maps: Sequence[Tensor], batch_index: Tensor) -> Tensor:
        """As `forward`; no other attends to an actor without a clip, batch index -1."""
        relations = self.first_order(actors, maps, batch_index)
        same_clip = batch_index[:, None] == batch_index[None]
        for layer in self.layers:
            relations = layer(relations, same_clip)
        return relations.mean(dim=(2, 3))

    def first_order(self, actors: Tensor, maps: Sequence[Tensor], batch_index: Tensor) -> Tensor:
        """Relations (R, D, H, W) of every actor with every place of his clip; arguments as `forward`."""
        scene = self.scene(one_scene(maps).to(self.scene.weight.dtype))
        needed = self.join.kernel_size[0] - 2 * int(self.join.padding[0])
        if min(scene.shape[2:]) < needed:
            raise AvadetError(
                f"relations of actors without padding need maps of {needed} cells along each side at least, got "
                f"{scene.shape[2]}x{scene.shape[3]}; give the model larger clips"
            )

        def relate(actors: Tensor, batch_index: Tensor) -> Tensor:
            pairs = torch.relu(scene[batch_index] + self.actor(actors)[:, :, None, None])
            related: Tensor = self.shrink(torch.relu(self.join(pairs)))
            return related

        return in_parts(relate, ACTORS_AT_ONCE, self.training, actors, batch_index)


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
