"""The whole action model: pictures and boxes in, logits out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avadet.errors import AvadetError
from avadet.models.backbones.backbone import Backbone, check_declared, in_picture
from avadet.models.heads.lfb import BankWindow
from avadet.models.heads.roi_head import RoIHead
from avadet.types import Pixels


class ActionModel(nn.Module):
    """Anything that scores boxes of clips: `forward(clips, rois) -> logits`, as `ActionDetector.forward` has it.

    Attributes:
        num_classes: K.
        boxes_at_once: of how many boxes a graph of the model is to be asked at once, so that memory is bounded; None =
            any, for boxes take little beside the clip.
    """

    num_classes: int
    boxes_at_once: int | None = None
    mean: Tensor
    std: Tensor

    def keep_pixels(self, pixels: Pixels) -> None:
        """Keep what `normalise` needs; it belongs to the recipe, not to the weights, so no state dict holds it."""
        self.register_buffer("mean", torch.tensor(pixels.mean).view(1, 3, 1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(pixels.std).view(1, 3, 1, 1, 1), persistent=False)

    def normalise(self, clips: Tensor) -> Tensor:
        """RGB uint8 0-255 or float 0-1 (B, 3, T, H, W) -> the model's own float type, of mean 0 and deviation 1."""
        values = clips.to(self.mean.dtype)
        unit = values / 255 if clips.dtype == torch.uint8 else values
        return (unit - self.mean) / self.std

    def view_logits(self, clips: Tensor, rois: Tensor) -> list[Tensor]:
        """Logits (R, K) of each part that is to be trained on its own; most models have one."""
        return [self(clips, rois)]


class ActionDetector(ActionModel):
    """A backbone, a RoI head, and the normalisation of pixels between the world and them."""

    def __init__(
        self,
        backbone: Backbone,
        head: RoIHead,
        pixels: Pixels | None = None,
    ) -> None:
        """Join the parts.

        Args:
            backbone: clip -> maps.
            head: maps and boxes -> logits.
            pixels: how clips are normalised; None = as the backbone declares.

        Raises:
            AvadetError: if the backbone does not declare its channels and strides.
        """
        super().__init__()
        check_declared(backbone)
        self.backbone: nn.Module = backbone
        self.head = head
        self.head.strides = in_picture(backbone.strides)
        self.num_classes = head.proj.out_features
        self.keep_pixels(pixels or backbone.pixels)

    def forward(self, clips: Tensor, rois: Tensor, window: BankWindow | None = None) -> Tensor:
        """Score every box of every clip.

        Args:
            clips: (B, 3, T, H, W) RGB, uint8 0-255 or float 0-1.
            rois: float (R, 5), batch index + xyxy px of the clip, in any order; R may be 0.
            window: for a head with a `bank`: what the clips may look up, see `lfb`; None = nothing.

        Returns:
            logits (R, K), in the order of `rois`; no sigmoid, in training and testing alike.

        Raises:
            AvadetError: if a shape is wrong, a batch index points to no clip, or the head takes no such window.
        """
        check_input(clips, rois)
        maps = self.maps(clips)
        more = () if window is None else (window,)
        logits: Tensor = self.head(maps, rois, (clips.shape[3], clips.shape[4]), *more)
        return logits

    def box_features(self, clips: Tensor, rois: Tensor) -> Tensor:
        """Features (R, F) of every box, as a bank keeps them (`RoIHead.box_features`); arguments as `forward`."""
        check_input(clips, rois)
        maps = self.maps(clips)
        return self.head.box_features(maps, rois, (clips.shape[3], clips.shape[4]))

    def maps(self, clips: Tensor) -> list[Tensor]:
        """What the backbone gives for clips as `forward` takes them."""
        maps: list[Tensor] = self.backbone(self.normalise(clips))
        return maps


def check_input(clips: Tensor, rois: Tensor) -> None:
    """Raise unless the shapes fit and every box belongs to a clip (RoIAlign would read foreign memory)."""
    if clips.ndim != 5 or clips.shape[1] != 3:
        raise AvadetError(f"clips must be (B, 3, T, H, W), got {tuple(clips.shape)}")
    if rois.ndim != 2 or rois.shape[1] != 5:
        raise AvadetError(f"rois must be (R, 5) = batch index + xyxy px, got {tuple(rois.shape)}")
    if torch.compiler.is_compiling() or len(rois) == 0:
        return
    first, last = int(rois[:, 0].min()), int(rois[:, 0].max())
    if first < 0 or last >= len(clips):
        raise AvadetError(f"batch indices of rois must lie in [0, {len(clips)}), got {first} to {last}")
