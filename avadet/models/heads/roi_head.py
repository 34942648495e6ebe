"""From feature maps and boxes to logits: the steps of every head, in their one order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from avadet.errors import AvadetError
from avadet.models.backbones.strides import Strides
from avadet.models.heads.acar import AcarOptions, ActorContextRelation, side_by_side, smallest
from avadet.models.heads.acrn import AcrnOptions, ActorCentricRelation
from avadet.models.heads.lfb import BankOptions, BankReader, BankWindow
from avadet.models.heads.pooling import Context, RoICrop, check_pool, frame_by_frame, pool_over


@dataclass(frozen=True)
class RelationOptions:
    """How an actor stands to what is around him.

    Attributes:
        acrn: to each place of the map, in the place of his own features; None = not at all.
        acar: through each place to the other actors, beside his own features; None = not at all.
        actor_width: channels to which a linear layer and a ReLU bring his own features before `acar`'s join them; None
            = they stay as they are.
    """

    acrn: AcrnOptions | None = None
    acar: AcarOptions | None = None
    actor_width: int | None = None


@dataclass(frozen=True)
class ClassifierOptions:
    """From features to logits.

    Attributes:
        norm: whether features pass a BatchNorm1d.
        hidden: whether they pass a linear layer of as many outputs and a ReLU before the last one.
        dropout: share of features dropped in training.
    """

    norm: bool = False
    hidden: bool = False
    dropout: float = 0.5


@dataclass(frozen=True)
class RoIOptions:
    """The steps of a head in their order.

    Attributes:
        time_pool: "max" or "avg", over the frames of a map; of a kind that reads frame by frame, over those that make
            one of a longer map, as SlowFast's fast one is.
        reduce: channels to which a 1x1 convolution brings all maps, one behind the other, before boxes are cropped;
            None = they stay apart as they are. Relations read the maps as they are either way.
        crop: each box's own cells.
        context: the whole map beside them; None = not.
        bank: what was seen before and after, added to the features; None = not.
        relation: see there.
        classifier: see there.
    """

    time_pool: str = "avg"
    reduce: int | None = None
    crop: RoICrop = field(default_factory=RoICrop)
    context: Context | None = None
    bank: BankOptions | None = None
    relation: RelationOptions = RelationOptions()
    classifier: ClassifierOptions = ClassifierOptions()

    def __post_init__(self) -> None:
        check_pool("time_pool", self.time_pool)


class RoIHead(nn.Module):
    """Pool each map over time, crop each box, pool over space, join the maps, project to logits.

    The order is that of the AVA baseline of SlowFast (Feichtenhofer et al., 2019, section 5). Deviations: any number of
    frames and of boxes (zero too) is welcome, and logits come out in training and testing alike.

    Attributes:
        Options: the typed options of this kind of head.
        own_features: F, features of a box before bank and relations join them.
        strides: (height, width) px of a cell of each map, which the detector reads off its backbone; while it is None,
            only clips whose sides are multiples of those of the map can be scored.
    """

    Options: ClassVar[type[RoIOptions]] = RoIOptions

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        options: RoIOptions | None = None,
        own_features: int | None = None,
    ) -> None:
        """Build the head with random weights.

        Args:
            in_channels: channels of each map of the backbone.
            num_classes: K, logits a box.
            options: see there; None = the defaults.
            own_features: F, of a kind whose `box_features` are not the cropped ones.
        """
        import torchvision.ops  # noqa: F401  # not with this module, which all models need; under a tracer it is too late

        super().__init__()
        options = options or self.Options()
        channels = sum(in_channels)
        self.options = options
        self.crop_features = (options.reduce or channels) * (2 if options.context else 1)
        self.own_features = features = own_features or self.crop_features
        self.strides: Strides | None = None
        # The names of the parts with weights, and their order, are those of stored files.
        bank, relation, classifier = options.bank, options.relation, options.classifier
        self.bank = BankReader(features, bank) if bank else None
        self.acrn = ActorCentricRelation(features, channels, relation.acrn) if relation.acrn else None
        self.acar = ActorContextRelation(features, channels, relation.acar) if relation.acar else None
        features = self.acrn.width if self.acrn else features
        self.own = nn.Linear(features, relation.actor_width) if relation.actor_width else None
        features = (relation.actor_width or features) + (self.acar.width if self.acar else 0)
        self.norm = nn.BatchNorm1d(features) if classifier.norm else None
        self.dropout = nn.Dropout(classifier.dropout)
        self.hidden = nn.Linear(features, features) if classifier.hidden else None
        self.proj = nn.Linear(features, num_classes)
        self.narrow = nn.Conv2d(channels, options.reduce, 1, bias=False) if options.reduce else None
        nn.init.normal_(self.proj.weight, std=0.01)
        nn.init.zeros_(self.proj.bias)

    def forward(
        self, maps: Sequence[Tensor], rois: Tensor, clip_hw: tuple[int, int], window: BankWindow | None = None
    ) -> Tensor:
        """Score every box.

        Args:
            maps: float (B, C_i, T_i, H_i, W_i), one for each of `in_channels`.
            rois: float (R, 5), batch index + xyxy px of the clip, in any order; R may be 0.
            clip_hw: (height, width) px of the clip.
            window: what the clips may look up in their videos' banks; None = nothing.

        Returns:
            logits (R, K).

        Raises:
            AvadetError: for a window without a `bank` to read it or of other features, or in training for a `bank`
                without a window, which may be empty.
        """
        self._check_window(window)
        features, batch_index = self.box_features(maps, rois, clip_hw), rois[:, 0].long()
        if self.bank is not None and window is not None:
            features = features + self.bank(features, batch_index, window)
        return self.classify(self.relate(features, maps, batch_index))

    def box_features(self, maps: Sequence[Tensor], rois: Tensor, clip_hw: tuple[int, int]) -> Tensor:
        """Features (R, F) of every box, as banks keep them; arguments as `forward`. What most kinds differ in."""
        return self.cropped(maps, rois, clip_hw)

    def cropped(self, maps: Sequence[Tensor], rois: Tensor, clip_hw: tuple[int, int]) -> Tensor:
        """Pooled over time, cropped and joined with the context: (R, crop_features); arguments as `forward`.

        Boxes are cropped in float32 whatever the maps are: bfloat16 could not tell pixel 340 from 341.
        """
        options, rois = self.options, rois.float()
        frames = [pool_over(one_map.float(), 2, options.time_pool) for one_map in maps]
        scales = options.crop.scales(frames, clip_hw, self.strides)
        if self.narrow is not None:
            scales = [scales[smallest(frames)]]
            frames = [self.narrow(side_by_side(frames).to(self.narrow.weight.dtype)).float()]
        features = [options.crop(frame, scale, rois, self.training) for frame, scale in zip(frames, scales)]
        if options.context is not None:
            features += [options.context(frame)[rois[:, 0].long()] for frame in frames]
        return torch.cat(features, dim=1).to(self.proj.weight.dtype)

    def cropped_by_frame(self, maps: Sequence[Tensor], rois: Tensor, clip_hw: tuple[int, int]) -> Tensor:
        """As `cropped`, of every frame: (R, T, crop_features), T of the shortest map; see `frame_by_frame`."""
        frames, boxes, length = frame_by_frame(maps, rois.float(), self.options.time_pool)
        return self.cropped(frames, boxes, clip_hw).view(-1, length, self.crop_features)

    def relate(self, features: Tensor, maps: Sequence[Tensor], batch_index: Tensor) -> Tensor:
        """Features of boxes (R, F) -> with what relations make of them, (R, F')."""
        joined = [features if self.acrn is None else self.acrn(features, maps, batch_index)]
        if self.own is not None:
            joined = [torch.relu(self.own(joined[0]))]
        if self.acar is not None:
            joined.append(self.acar(features, maps, batch_index))
        return torch.cat(joined, dim=1)

    def classify(self, features: Tensor) -> Tensor:
        """Features (R, F') -> logits (R, K)."""
        if self.norm is not None and len(features) > 0:
            features = self.norm(features)
        features = self.dropout(features)
        if self.hidden is not None:
            features = torch.relu(self.hidden(features))
        logits: Tensor = self.proj(features)
        return logits

    def _check_window(self, window: BankWindow | None) -> None:
        """Raise where a window or a bank would have no effect that nobody noticed."""
        if self.bank is None and window is not None:
            raise AvadetError("this model's head reads no feature bank; build it with head.bank")
        if self.bank is not None and window is None and self.training:
            raise AvadetError(
                "a model with head.bank learns from windows, model(clips, rois, window), and got none; `avadet train` "
                "gives them where the config has bank.model, see avadet.data.feature_banks"
            )
