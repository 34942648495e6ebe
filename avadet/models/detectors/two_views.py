"""Two small nets look at the same clip: one at the whole frame, one at each person cut out and enlarged.

The frame tells where it happens and with what (a court, stairs, a bow), the cut-out shows how the body moves; each
errs on other clips, so their mean is better than either. The idea of separate streams whose scores are averaged is
Simonyan & Zisserman, "Two-Stream Convolutional Networks for Action Recognition in Videos", NeurIPS 2014; here both
streams see RGB.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from avadet.models.backbones.backbone import UNCHANGED
from avadet.models.backbones.tiny_actions import ShiftedShuffleNet
from avadet.models.detectors.two_stage import ActionDetector, ActionModel
from avadet.models.heads.build import build_head
from avadet.models.heads.in_parts import in_parts
from avadet.models.sizes import SIZES
from avadet.types import Pixels

_SMALLEST_WINDOW = 1 / 5  # of the clip's height: a smaller person is not enlarged further, it would be mush


class TwoViewDetector(ActionModel):
    """Mean of the logits of a net on the whole frame and a net on each person's cut-out."""

    boxes_at_once = 16

    def __init__(
        self,
        num_classes: int,
        *,
        num_frames: int = 8,
        crop_hw: Sequence[int] = (160, 160),
        margin: float = 1.6,
        jitter: float = 0.12,
        dropout: float = 0.5,
        pixels: Pixels | None = None,
    ) -> None:
        """Build it of two `tiny_actions` nets with random weights.

        Args:
            num_classes: K, logits a box.
            num_frames: T of a clip.
            crop_hw: (height, width) px that a cut-out is resized to.
            margin: width of a cut-out, as a multiple of the person's width or of 3/4 of its height, whichever is more.
            jitter: in training, windows move by up to this share of their size and grow or shrink by up to twice it.
            dropout: before the last layer of each net.
            pixels: how both nets normalise clips; None = not at all.
        """
        super().__init__()
        self.frame, self.actor = (_branch(num_classes, num_frames, dropout, pixels or UNCHANGED) for _ in range(2))
        self.num_classes = num_classes
        self.crop_hw = (crop_hw[0], crop_hw[1])
        self.margin = margin
        self.jitter = jitter

    def forward(self, clips: Tensor, rois: Tensor) -> Tensor:
        """Score every box of every clip; arguments and result as `ActionDetector.forward`."""
        return torch.stack(self.view_logits(clips, rois)).mean(dim=0)

    def view_logits(self, clips: Tensor, rois: Tensor) -> list[Tensor]:
        """Logits (R, K) of the frame's net and of the cut-outs' net; each is trained on its own."""
        rois = rois.float()
        actor = in_parts(lambda some: self._actor_logits(clips, some), self.boxes_at_once, self.training, rois)
        return [self.frame(clips, rois), actor]

    def _actor_logits(self, clips: Tensor, rois: Tensor) -> Tensor:
        """Logits (R, K) of the cut-outs' net."""
        windows = actor_windows(rois[:, 1:], self.crop_hw, self.margin, clips.shape[3])
        if self.training:
            windows = shaken(windows, self.jitter)
        logits: Tensor = self.actor(*cut_out(clips, rois, windows, self.crop_hw))
        return logits


def actor_windows(boxes_px: Tensor, crop_hw: tuple[int, int], margin: float, clip_height: int) -> Tensor:
    """What is cut out around each box: centred on it, of the cut-out's shape, with room around the person.

    Args:
        boxes_px: (R, 4) xyxy px of the clip.
        crop_hw: (height, width) px of the cut-outs; only their ratio counts.
        margin: see `TwoViewDetector`.
        clip_height: px.

    Returns:
        (R, 4) xyxy px of the clip; may reach beyond it.
    """
    centre = (boxes_px[:, :2] + boxes_px[:, 2:]) / 2
    width, height = (boxes_px[:, 2:] - boxes_px[:, :2]).unbind(dim=1)
    side = torch.maximum(width, 0.75 * height) * margin
    side = side.clamp(min=_SMALLEST_WINDOW * clip_height)
    shape = (crop_hw[1] / crop_hw[0]) ** 0.5
    half = torch.stack([side * shape, side / shape], dim=1) / 2
    return torch.cat([centre - half, centre + half], dim=1)


def shaken(windows: Tensor, amount: float) -> Tensor:
    """Windows (R, 4) xyxy, each moved by up to `amount` of its size and scaled by up to exp(2 * amount) either way."""
    centre, size = (windows[:, :2] + windows[:, 2:]) / 2, windows[:, 2:] - windows[:, :2]
    draws = (2 * torch.rand(len(windows), 3, device=windows.device) - 1) * amount
    centre = centre + draws[:, :2] * size
    half = size * (2 * draws[:, 2:]).exp() / 2
    return torch.cat([centre - half, centre + half], dim=1)


def cut_out(clips: Tensor, rois: Tensor, windows: Tensor, crop_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Cut every person out of its clip, the same window in all frames, bilinear; black beyond the clip's edges.

    Args:
        clips: (B, 3, T, H, W) RGB, uint8 0-255 or float 0-1.
        rois: float (R, 5), batch index + xyxy px of the clip.
        windows: (R, 4) xyxy px of the clip, of the cut-outs' shape.
        crop_hw: (height, width) px of the cut-outs.

    Returns:
        cut-outs float (R, 3, T, h, w) 0-1, and the boxes in them (R, 5): own index + xyxy px of the cut-out.
    """
    from torchvision.ops import roi_align

    unit = clips.float() / 255 if clips.dtype == torch.uint8 else clips
    # RoIAlign of one point a cell is bilinear sampling. It repeats what lies at the edge, which is black here.
    pictures = functional.pad(unit.flatten(1, 2), (1, 1, 1, 1))
    framed = torch.cat([rois[:, :1], windows + 1], dim=1).to(unit.dtype)
    crops = roi_align(pictures, framed, crop_hw, sampling_ratio=1, aligned=True)
    own = torch.cumsum(torch.ones_like(rois[:, :1]), dim=0) - 1
    scale = torch.tensor([crop_hw[1], crop_hw[0]], device=rois.device) / (windows[:, 2:] - windows[:, :2])
    boxes = (rois[:, 1:].reshape(-1, 2, 2) - windows[:, None, :2]) * scale[:, None]
    return crops.reshape(-1, 3, clips.shape[2], *crop_hw), torch.cat([own, boxes.flatten(1)], dim=1)


def _branch(num_classes: int, num_frames: int, dropout: float, pixels: Pixels) -> ActionDetector:
    """A `tiny_actions` net with random weights."""
    backbone = ShiftedShuffleNet(num_frames=num_frames)
    options = {**SIZES["tiny_actions"].head, "dropout": dropout}
    return ActionDetector(backbone, build_head(backbone.out_channels, num_classes, options), pixels)
