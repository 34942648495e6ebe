"""From feature maps and boxes to logits: one head for every backbone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from torchvision.ops import roi_align

from avadet.errors import AvadetError
from avadet.models.backbones.strides import Strides, evident_stride
from avadet.models.heads.acar import ActorContextRelation, side_by_side, smallest
from avadet.models.heads.acrn import ActorCentricRelation
from avadet.models.heads.in_parts import in_parts
from avadet.models.heads.lfb import BankReader, BankWindow

CUT_OUT_AT_ONCE = 64
"""Boxes whose cells are held at a time, of 7x7 and 2048 channels 0.4 MB each."""


class RoIHead(nn.Module):
    """Pool each map over time, cut out each person, pool over space, join the maps, project to logits.

    What a person is beyond his own box may come in by four ways: the mean of the map (`context`), what was seen before
    and after (`bank`), how he stands to each place of the map (`acrn`), and through it to the others (`acar`).

    The order is that of the AVA baseline of SlowFast (Feichtenhofer et al., 2019, section 5). Deviations: any number of
    frames and of boxes (zero too) is welcome, and logits come out in training and testing alike.

    Attributes:
        own_features: F, features of a box before anything joins them but `context`.
        strides: (rows, columns) px of a cell of each map, which the detector reads off its backbone; while it is None,
            only clips whose sides are multiples of those of the map can be scored.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        *,
        resolution: int = 7,
        aligned: bool = False,
        sampling_ratio: int = 0,
        stretch: bool = False,
        pool: str = "max",
        time_pool: str = "avg",
        map_width: int | None = None,
        context: bool = False,
        context_cells: int = 1,
        norm: bool = False,
        hidden: bool = False,
        dropout: float = 0.5,
        bank: dict[str, Any] | None = None,
        acrn: dict[str, Any] | None = None,
        acar: dict[str, Any] | None = None,
        own_width: int | None = None,
    ) -> None:
        """Build the head.

        Args:
            in_channels: channels of each map of the backbone.
            num_classes: K, logits a box.
            resolution: cells of a cut-out along each side.
            aligned: RoIAlign's half-pixel shift; True is the geometrically right one, older checkpoints were trained
                with False.
            sampling_ratio: RoIAlign's points a cell along each side; 0 = as many as the box needs.
            stretch: whether each axis of a box is scaled by the ratio of the map's size to the clip's, instead of both
                by the stride; they differ where the clip's sides are no multiples of it.
            pool: "max" or "avg", over the cells of a cut-out.
            time_pool: "max" or "avg", over the frames of a map.
            map_width: channels to which a 1x1 convolution brings all maps, one behind the other, before people are cut
                out; None = they stay apart as they are. Relations read the maps as they are either way.
            context: whether each whole map joins the features of every box of its clip.
            context_cells: the whole map is averaged into so many cells along each side, and of those the maximum
                taken; 1 = the mean of the map.
            norm: whether the joined features pass a BatchNorm1d.
            hidden: whether they pass a linear layer of as many outputs and a ReLU before the classifier.
            dropout: share of features dropped in training.
            bank: arguments of `BankReader`, whose answer is added to the features; None = none.
            acrn: arguments of `ActorCentricRelation`, whose vector takes the features' place; None = none.
            acar: arguments of `ActorContextRelation`, whose vector joins the features; None = none.
            own_width: channels to which a linear layer and a ReLU bring the features before that vector joins them;
                None = they stay as they are.
        """
        super().__init__()
        for name, choice in (("pool", pool), ("time_pool", time_pool)):
            if choice not in ("max", "avg"):
                raise AvadetError(f"{name} of a RoI head must be 'max' or 'avg', got '{choice}'")
        channels = sum(in_channels)
        features = (map_width or channels) * (2 if context else 1)
        self.resolution = resolution
        self.aligned = aligned
        self.sampling_ratio = sampling_ratio
        self.stretch = stretch
        self.pool = pool
        self.time_pool = time_pool
        self.context = context
        self.context_cells = context_cells
        self.own_features = features
        self.strides: Strides | None = None
        self.bank = None if bank is None else BankReader(features, **bank)
        self.acrn = None if acrn is None else ActorCentricRelation(features, channels, **acrn)
        self.acar = None if acar is None else ActorContextRelation(features, channels, **acar)
        features = features if self.acrn is None else self.acrn.width
        self.own = None if own_width is None else nn.Linear(features, own_width)
        features = own_width or features
        features += 0 if self.acar is None else self.acar.width
        self.norm = nn.BatchNorm1d(features) if norm else None
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(features, features) if hidden else None
        self.proj = nn.Linear(features, num_classes)
        self.narrow = None if map_width is None else nn.Conv2d(channels, map_width, 1, bias=False)
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
        features = self._related(self.box_features(maps, rois, clip_hw), maps, rois[:, 0].long(), window)
        if self.norm is not None and len(rois) > 0:
            features = self.norm(features)
        features = self.dropout(features)
        if self.hidden is not None:
            features = torch.relu(self.hidden(features))
        logits: Tensor = self.proj(features)
        return logits

    def box_features(self, maps: Sequence[Tensor], rois: Tensor, clip_hw: tuple[int, int]) -> Tensor:
        """Features (R, F) of every box, before bank, relations, normalisation and dropout; arguments as `forward`.

        Boxes are cut out in float32 whatever the maps are: bfloat16 could not tell pixel 340 from 341.
        """
        frames = [
            one_map.float().amax(dim=2) if self.time_pool == "max" else one_map.float().mean(dim=2) for one_map in maps
        ]
        scales = self._scales(frames, clip_hw)
        if self.narrow is not None:
            scales = [scales[smallest(frames)]]
            frames = [self.narrow(side_by_side(frames).to(self.narrow.weight.dtype)).float()]
        features = [
            in_parts(partial(self._cut_out, frame, scale), CUT_OUT_AT_ONCE, self.training, rois.float())
            for frame, scale in zip(frames, scales)
        ]
        if self.context:
            owner = rois[:, 0].long()
            features += [self._whole(frame)[owner] for frame in frames]
        return torch.cat(features, dim=1).to(self.proj.weight.dtype)

    def _related(self, features: Tensor, maps: Sequence[Tensor], owner: Tensor, window: BankWindow | None) -> Tensor:
        """Features of boxes (R, F) -> with what bank and relations have to say, (R, F')."""
        if self.bank is not None and window is not None:
            features = features + self.bank(features, owner, window)
        joined = [features if self.acrn is None else self.acrn(features, maps, owner)]
        if self.own is not None:
            joined = [torch.relu(self.own(joined[0]))]
        if self.acar is not None:
            joined.append(self.acar(features, maps, owner))
        return torch.cat(joined, dim=1)

    def _check_window(self, window: BankWindow | None) -> None:
        """Raise where a window or a bank would have no effect that nobody noticed."""
        if self.bank is None and window is not None:
            raise AvadetError("this model's head reads no feature bank; build it with head.bank")
        if self.bank is not None and window is None and self.training:
            raise AvadetError(
                "a model with head.bank learns from windows, model(clips, rois, window), and got none; `avadet train` "
                "gives them where the config has bank.model, see avadet.models.heads.lfb"
            )

    def _whole(self, frame: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C): the mean, or the maximum over a grid of means."""
        if self.context_cells == 1:
            return frame.mean(dim=(2, 3))
        return adaptive_avg_pool2d(frame, self.context_cells).amax(dim=(2, 3))

    def _scales(self, frames: Sequence[Tensor], clip_hw: tuple[int, int]) -> list[tuple[float, float]]:
        """(rows, columns) of a map (B, C_i, H_i, W_i) for a pixel of the clip, for each map."""
        if self.stretch:
            return [(frame.shape[2] / clip_hw[0], frame.shape[3] / clip_hw[1]) for frame in frames]
        strides = self.strides
        if strides is None:
            strides = [evident_stride(clip_hw, (frame.shape[2], frame.shape[3])) for frame in frames]
        if len(strides) != len(frames):
            raise AvadetError(f"the backbone gave {len(frames)} maps and says strides of {len(strides)}")
        return [(1 / down, 1 / across) for down, across in strides]

    def _cut_out(self, frame: Tensor, scale: tuple[float, float], rois: Tensor) -> Tensor:
        """(B, C, H, W) -> (R, C): RoIAlign, then the maximum or mean over the cells."""
        down, across = scale
        if self.stretch or down != across:  # axis by axis; in a graph for all sizes (`export`) ratios stay open
            owner, left, top, right, bottom = rois.unbind(dim=1)
            rois = torch.stack([owner, left * across, top * down, right * across, bottom * down], dim=1)
            down = 1.0
        cells: Tensor = roi_align(frame, rois, self.resolution, down, self.sampling_ratio, self.aligned)
        return cells.amax(dim=(2, 3)) if self.pool == "max" else cells.mean(dim=(2, 3))
