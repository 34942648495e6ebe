"""Every box scored in every frame by itself, the consensus of TSN: Wang et al., "Temporal Segment Networks", ECCV 2016.

The other way to score frames, conv pooling (Ng et al., "Beyond Short Snippets", CVPR 2015), is the maximum of the maps
over time: kind "roi" with `time_pool` "max".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from avadet.models.heads.lfb import BankWindow
from avadet.models.heads.pooling import check_pool, frame_by_frame, pool_over
from avadet.models.heads.roi_head import RoIHead, RoIOptions


@dataclass(frozen=True)
class ConsensusOptions(RoIOptions):
    """The steps of a head, taken in every frame.

    Attributes:
        consensus: "avg" or "max", over the logits of the frames.
    """

    consensus: str = "avg"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_pool("consensus", self.consensus)


class ConsensusHead(RoIHead):
    """Scores every box in every frame by itself; the frames' logits become one."""

    Options = ConsensusOptions
    options: ConsensusOptions

    def forward(
        self, maps: Sequence[Tensor], rois: Tensor, clip_hw: tuple[int, int], window: BankWindow | None = None
    ) -> Tensor:
        """Logits (R, K); arguments as `RoIHead.forward`."""
        frames, boxes, length = frame_by_frame(maps, rois.float(), self.options.time_pool)
        each = None if window is None else window.by_frame(length)
        logits = super().forward(frames, boxes, clip_hw, each).view(rois.shape[0], length, self.proj.out_features)
        return pool_over(logits, 1, self.options.consensus)
