"""Two streams: one sees what things look like, the other how they move; their logits are averaged.

Simonyan & Zisserman, "Two-Stream Convolutional Networks for Action Recognition in Videos", NeurIPS 2014: a net on one
RGB frame and a net on L fields of optical flow, 2L channels deep; fused late. Here both score boxes. The flow is
computed from the clip by OpenCV, on the CPU, at every pass: by dense inverse search (Kroeger et al., ECCV 2016) or
Farneback's polynomials (SCIA 2003). The first layer of the flow's net starts as the mean of the RGB net's over its
colours (cross-modality initialisation: Wang et al., "Temporal Segment Networks", ECCV 2016).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from avadet.errors import AvadetError, unknown_name
from avadet.models.backbones.backbone import in_picture
from avadet.models.backbones.frames import FrameResNet
from avadet.models.detectors.two_stage import ActionDetector, ActionModel
from avadet.models.heads.build import build_head
from avadet.types import Pixels

BOUND_PX = 20.0
"""Faster motion than this counts as this fast; fields are divided by it, after their mean, the camera's, is taken."""

SMALLEST_PX = 16
METHODS = ("dis", "farneback")


def optical_flow(clips: Tensor, method: str = "dis") -> Tensor:
    """Where every pixel moves to in the next frame.

    Args:
        clips: (B, 3, T, H, W) RGB, uint8 0-255 or float 0-1.
        method: "dis" or "farneback".

    Returns:
        float32 (B, 2, T - 1, H, W): px to the right, px down.

    Raises:
        AvadetError: for an unknown method, frames under 16 px, or while a graph is being traced, for OpenCV's answer
            would become a constant of it.
    """
    if torch.jit.is_tracing() or torch.compiler.is_compiling():  # type: ignore[attr-defined, no-untyped-call]
        raise AvadetError("optical flow is computed by OpenCV and has no place in a graph; run the model with torch")
    if min(clips.shape[3:]) < SMALLEST_PX:
        raise AvadetError(
            f"optical flow needs frames of at least {SMALLEST_PX} px, got {clips.shape[4]}x{clips.shape[3]}"
        )
    import cv2

    searcher = _searcher(method)
    whole = clips if clips.dtype == torch.uint8 else (clips.float() * 255).round().clamp(0, 255).to(torch.uint8)
    videos = whole.permute(0, 2, 3, 4, 1).cpu().numpy()
    fields = np.zeros((len(videos), max(0, videos.shape[1] - 1), *videos.shape[2:4], 2), np.float32)
    for video, answers in zip(videos, fields):
        grey = [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in video]
        for index in range(len(answers)):
            answers[index] = searcher.calc(grey[index], grey[index + 1], None)
    return torch.from_numpy(fields).permute(0, 4, 1, 2, 3).to(clips.device)


def _searcher(method: str) -> Any:
    """OpenCV's object that finds the flow between two grey frames."""
    import cv2

    if method == "dis":
        return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]
    if method == "farneback":
        # 3 levels, each half as large, windows of 15 px, 3 rounds, polynomials over 5 px smoothed by 1.1 px.
        return cv2.FarnebackOpticalFlow_create(3, 0.5, False, 15, 3, 5, 1.1)  # type: ignore[attr-defined]
    raise unknown_name("method of optical flow", method, METHODS)


def normal_flow(flow: Tensor) -> Tensor:
    """Flow px (B, 2, L, H, W) -> the same shape in [-1, 1], without the mean motion of each field."""
    steady = flow - flow.mean(dim=(3, 4), keepdim=True)
    return steady.clamp(-BOUND_PX, BOUND_PX) / BOUND_PX


def cross_modality(weight: Tensor, channels: int) -> Tensor:
    """Filters over RGB (O, 3, h, w) -> (O, channels, h, w), each the mean over the three colours."""
    return weight.mean(dim=1, keepdim=True).repeat(1, channels, 1, 1)


class FlowNet(nn.Module):
    """A ResNet of pictures over stacked flow.

    Attributes:
        out_channels: channels of its one map.
        strides: of its one map.
        init_from_image: see `Backbone`.
    """

    init_from_image = "torchvision resnet"

    def __init__(self, fields: int, **trunk: Any) -> None:
        """Build it with random weights.

        Args:
            fields: L, fields of flow.
            trunk: arguments of `FrameResNet`.
        """
        super().__init__()
        self.fields = fields
        self.trunk = FrameResNet(**trunk)
        old = self.trunk.conv1
        self.trunk.conv1 = nn.Conv2d(
            2 * fields,
            old.out_channels,
            old.kernel_size,
            old.stride,
            old.padding,
            bias=False,
        )
        with torch.no_grad():
            self.trunk.conv1.weight.copy_(cross_modality(old.weight, 2 * fields))
        self.out_channels = self.trunk.out_channels
        self.strides = self.trunk.strides

    def fill_from_image(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """Take over torchvision's ResNet of the same depth, its first layer as `cross_modality` has it."""
        first = cross_modality(tensors["conv1.weight"], 2 * self.fields)
        left = self.trunk.fill_from_image({**tensors, "conv1.weight": first})
        return [f"trunk.{name}" for name in left]

    def forward(self, flow: Tensor) -> list[Tensor]:
        """Flow (B, 2, L, H, W) -> one map (B, C, 1, H / 16, W / 16)."""
        stacked = flow.transpose(1, 2).flatten(1, 2)[:, :, None]
        maps: list[Tensor] = self.trunk(stacked)
        return maps


class TwoStreamDetector(ActionModel):
    """Weighted mean of the logits of a net on RGB and a net on flow."""

    def __init__(
        self,
        num_classes: int,
        *,
        fields: int = 10,
        method: str = "dis",
        flow_weight: float = 1.0,
        pixels: Pixels | None = None,
        head: dict[str, Any] | None = None,
        **trunk: Any,
    ) -> None:
        """Build it with random weights: a net that sees the middle frame and one that sees flow around it.

        Args:
            num_classes: K, logits a box.
            fields: L, fields of flow; clips need a frame more.
            method: see `optical_flow`.
            flow_weight: of the flow's logits; those of RGB weigh 1.
            pixels: how RGB is normalised; None = as ImageNet's classifiers do.
            head: options of `build_head`, for both; no `bank`, of which each would need its own.
            trunk: arguments of `FrameResNet`, for both.

        Raises:
            AvadetError: for an unknown method, or if `head.bank` is asked for.
        """
        super().__init__()
        if (head or {}).get("bank") is not None:
            raise AvadetError("two streams read no feature bank; take head.bank off, or a model of one stream")
        if method not in METHODS:
            raise unknown_name("method of optical flow", method, METHODS)
        rgb = FrameResNet(**{"frames": "middle", **trunk})
        self.rgb = ActionDetector(rgb, build_head(rgb.out_channels, num_classes, head), pixels)
        self.flow = FlowNet(fields, **trunk)
        self.flow_head = build_head(self.flow.out_channels, num_classes, head)
        self.flow_head.strides = in_picture(self.flow.strides)
        self.method = method
        self.flow_weight = flow_weight
        self.num_classes = num_classes

    def forward(self, clips: Tensor, rois: Tensor) -> Tensor:
        """Score every box of every clip; arguments and result as `ActionDetector.forward`."""
        rgb, flow = self.view_logits(clips, rois)
        return (rgb + self.flow_weight * flow) / (1 + self.flow_weight)

    def view_logits(self, clips: Tensor, rois: Tensor) -> list[Tensor]:
        """Logits (R, K) of the RGB net and of the flow net; each is trained on its own.

        Raises:
            AvadetError: if the clip has fewer than L + 1 frames; see `optical_flow` for more.
        """
        rgb = self.rgb(clips, rois)
        fields = self.flow.fields
        if clips.shape[2] <= fields:
            raise AvadetError(f"{fields} fields of flow need clips of {fields + 1} frames, got {clips.shape[2]}")
        first = (clips.shape[2] - 1 - fields) // 2
        flow = normal_flow(optical_flow(clips[:, :, first : first + fields + 1], self.method))
        maps = self.flow(flow.to(self.flow_head.proj.weight.dtype))
        return [rgb, self.flow_head(maps, rois, (clips.shape[3], clips.shape[4]))]
