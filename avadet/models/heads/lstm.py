"""A box followed over time by an LSTM: Ng et al., "Beyond Short Snippets", CVPR 2015."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from avadet.models.backbones.lstm import new_lstm
from avadet.models.heads.roi_head import RoIHead, RoIOptions


@dataclass(frozen=True)
class LstmOptions(RoIOptions):
    """The steps of a head, of which pooling, crop and context are taken in every frame.

    Attributes:
        units: size of the LSTM's state; 512 in the paper.
        layers: LSTMs upon each other; 5 in the paper.
        norm_input: whether features pass a LayerNorm before the LSTM reads them (the paper's do not). Thousands of
            features that are all positive move a gate together: a few large steps of training close it for good.
    """

    units: int = 512
    layers: int = 1
    norm_input: bool = False


class LstmHead(RoIHead):
    """An LSTM reads each box's features frame by frame; its last state goes on to the later steps."""

    Options = LstmOptions
    options: LstmOptions

    def __init__(self, in_channels: Sequence[int], num_classes: int, options: LstmOptions | None = None) -> None:
        """Build the head; arguments as `RoIHead`."""
        options = options or LstmOptions()
        super().__init__(in_channels, num_classes, options, own_features=options.units)
        self.norm_input = nn.LayerNorm(self.crop_features) if options.norm_input else None
        self.lstm = new_lstm(self.crop_features, options.units, options.layers)

    def box_features(self, maps: Sequence[Tensor], rois: Tensor, clip_hw: tuple[int, int]) -> Tensor:
        """The last state (R, units) for every box; arguments as `RoIHead.box_features`."""
        features = self.cropped_by_frame(maps, rois, clip_hw)
        if self.norm_input is not None:
            features = self.norm_input(features)
        # One row more, which is dropped again: an LSTM refuses a batch of none.
        states: Tensor = self.lstm(functional.pad(features, (0, 0, 0, 0, 0, 1)))[0]
        return states[:-1, -1]
