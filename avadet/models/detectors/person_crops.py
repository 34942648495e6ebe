"""The bundled action model of ordinary life: each person cropped and enlarged, looked at for pose and for motion.

Appearance: an EfficientNet-Lite0 on a few frames of the crop, whose features are averaged over time. Motion: grey
crops at a low resolution, whose neighbouring frames are correlated over small displacements, so that a person who
moves against the background can be told from a camera that moves past both; the correlation layer is that of
Dosovitskiy et al., "FlowNet: Learning Optical Flow with Convolutional Networks", ICCV 2015. The two streams are added
as logits (Simonyan and Zisserman, "Two-Stream Convolutional Networks", NeurIPS 2014), so that still pictures can train
the first alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from avadet.errors import AvadetError
from avadet.models.backbones.backbone import UNCHANGED
from avadet.models.backbones.efficientnet_lite import EfficientNetLite
from avadet.models.detectors.two_stage import ActionModel
from avadet.models.heads.in_parts import in_parts
from avadet.types import Pixels

GREY = (0.299, 0.587, 0.114)
_OVERSAMPLING = 2


def square_windows(boxes_px: Tensor, margin: float) -> Tensor:
    """Squares around boxes.

    Args:
        boxes_px: (R, 4) xyxy px.
        margin: side of a square as a multiple of the longer side of its box.

    Returns:
        (R, 4) xyxy px; they may reach beyond the picture.
    """
    centre = (boxes_px[:, :2] + boxes_px[:, 2:]) / 2
    half = (boxes_px[:, 2:] - boxes_px[:, :2]).amax(dim=1, keepdim=True).clamp(min=1) * margin / 2
    return torch.cat([centre - half, centre + half], dim=1)


def crop(clips: Tensor, windows: Tensor, side_px: int, padding: str = "zeros") -> Tensor:
    """Cut a window out of all frames of a clip; bilinear, averaged over 2x2 samples a pixel.

    Args:
        clips: float (R, C, T, H, W), one a window.
        windows: (R, 4) xyxy px.
        side_px: rows and columns of the result.
        padding: "zeros" or "border", what lies beyond the picture.

    Returns:
        float (R, C, T, side_px, side_px).
    """
    count, channels, frames, height, width = clips.shape
    points = side_px * _OVERSAMPLING
    steps = (torch.arange(points, device=clips.device, dtype=clips.dtype) + 0.5) / points
    left, top, right, bottom = windows[:, :, None].unbind(dim=1)

    def along(first: Tensor, last: Tensor, size: int) -> Tensor:
        """Where to sample along one axis, -1 to 1; in a graph the size stays open."""
        return first / size * 2 - 1 + (last - first) / size * 2 * steps

    x, y = along(left, right, width), along(top, bottom, height)
    grid = torch.stack([x[:, None, :].expand(-1, points, -1), y[:, :, None].expand(-1, -1, points)], dim=-1)
    stacked = clips.reshape(count, channels * frames, height, width)  # no flatten(), which in a graph needs a box
    sampled = functional.grid_sample(stacked, grid, padding_mode=padding, align_corners=False)
    averaged: Tensor = functional.avg_pool2d(sampled, _OVERSAMPLING)
    return averaged.reshape(count, channels, frames, side_px, side_px)


class MotionStream(nn.Module):
    """Grey crops (R, T, S, S) -> features (R, F) of how things move in them."""

    def __init__(self, features: int = 96, reach: int = 4, width: int = 24) -> None:
        """Build the stream.

        Args:
            features: F.
            reach: displacements of up to so many cells of S / 4 px either way are compared.
            width: channels that are compared.
        """
        super().__init__()
        self.reach = reach
        self.features = features
        self.cells = nn.Sequential(
            nn.Conv2d(1, 16, 5, 2, 2, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            nn.Conv2d(16, width, 3, 2, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        places = (2 * reach + 1) ** 2
        self.flow = nn.Sequential(
            nn.Conv2d(places + width, 64, 1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 48, 3, 1, 1, bias=False),
            nn.BatchNorm2d(48),
            nn.ReLU(inplace=True),
        )
        self.space = nn.Sequential(
            nn.Conv2d(48, 64, 3, 2, 1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 64, 3, 2, 1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
        )
        self.mix = nn.Linear(64 * 16, features)
        self.time = nn.Conv1d(features, features, 3, padding=1)

    def forward(self, grey: Tensor) -> Tensor:
        """(R, T, S, S) 0-1, S a multiple of 64 -> (R, 2 F): mean and maximum over the pairs of neighbouring frames."""
        count, frames = grey.shape[:2]
        even = grey - grey.mean(dim=(1, 2, 3), keepdim=True)
        even = even / (even.pow(2).mean(dim=(1, 2, 3), keepdim=True) + 1e-4).sqrt()
        one_by_one: Tensor = self.cells(even.flatten(0, 1)[:, None])
        cells = one_by_one.reshape(count, frames, *one_by_one.shape[1:])
        before, after = cells[:, :-1].flatten(0, 1), cells[:, 1:].flatten(0, 1)
        moved = self.flow(torch.cat([self._correlation(before, after), functional.relu(before)], dim=1))
        space = self.space(moved)
        places = functional.avg_pool2d(space, int(space.shape[3]) // 4)  # 4 x 4 of them, as a graph can have it
        pairs = torch.relu(self.mix(places.flatten(1)))
        series = pairs.reshape(count, frames - 1, pairs.shape[1]).transpose(1, 2)
        series = series + torch.relu(self.time(series))
        return torch.cat([series.mean(dim=2), series.amax(dim=2)], dim=1)

    def _correlation(self, before: Tensor, after: Tensor) -> Tensor:
        """Cosine of the features of each cell and of those around it a frame later: (N, (2 reach + 1)^2, h, w)."""
        before, after = functional.normalize(before, dim=1), functional.normalize(after, dim=1)
        height, width = before.shape[2:]
        padded = functional.pad(after, (self.reach,) * 4)
        steps = range(2 * self.reach + 1)
        return torch.stack(
            [(before * padded[:, :, y : y + height, x : x + width]).sum(dim=1) for y in steps for x in steps], dim=1
        )


class AppearanceStream(nn.Module):
    """Person crops (N, 3, S, S) 0-1 -> features (N, 1024)."""

    features = 1024

    def __init__(self) -> None:
        """Build it with random weights."""
        super().__init__()
        self.backbone = EfficientNetLite()
        half = self.features // 2
        self.neck = nn.Sequential(
            nn.Conv2d(self.backbone.out_channels[-1], half, 1, bias=False),
            nn.BatchNorm2d(half, momentum=0.02),
            nn.ReLU6(),
        )

    def forward(self, crops: Tensor) -> Tensor:
        """Mean and maximum over the map at stride 32."""
        one_map = self.neck(self.backbone(crops)[-1])
        return torch.cat([one_map.mean(dim=(2, 3)), one_map.amax(dim=(2, 3))], dim=1)


class PersonCropDetector(ActionModel):
    """Logits of appearance plus logits of motion, for each box of each clip."""

    boxes_at_once = 16

    def __init__(
        self,
        num_classes: int,
        *,
        num_frames: int = 8,
        appearance_frames: Sequence[int] = (1, 4, 7),
        crop_px: int = 160,
        margin: float = 1.3,
        motion_px: int = 64,
        motion_margin: float = 2.0,
        pixels: Pixels | None = None,
    ) -> None:
        """Build it with random weights.

        Args:
            num_classes: K, logits a box.
            num_frames: T of a clip.
            appearance_frames: indices of the frames that the appearance stream sees.
            crop_px: side of the crops that it sees.
            margin: side of a crop as a multiple of the longer side of the box.
            motion_px: side of the grey crops, which are of all frames; a multiple of 64.
            motion_margin: as `margin`, of the grey crops.
            pixels: how clips are normalised; None = not at all, as the bundled weights, which do it inside, want it.
        """
        super().__init__()
        if not appearance_frames or not all(0 <= index < num_frames for index in appearance_frames):
            raise AvadetError(f"appearance_frames must be some of 0 to {num_frames - 1}, got {list(appearance_frames)}")
        if motion_px % 64:
            raise AvadetError(f"motion_px must be a multiple of 64, got {motion_px}")
        self.num_classes = num_classes
        self.num_frames = num_frames
        self.appearance_frames = list(appearance_frames)
        self.crop_px, self.margin = crop_px, margin
        self.motion_px, self.motion_margin = motion_px, motion_margin
        self.appearance = AppearanceStream()
        self.motion = MotionStream()
        self.drop = nn.Dropout(0.3)
        self.of_appearance = nn.Linear(self.appearance.features, num_classes)
        self.of_motion = nn.Linear(2 * self.motion.features, num_classes)
        self.keep_pixels(pixels or UNCHANGED)

    def forward(self, clips: Tensor, rois: Tensor) -> Tensor:
        """Score every box of every clip; arguments and result as `ActionDetector.forward`."""
        if clips.shape[2] != self.num_frames:
            raise AvadetError(f"this model takes clips of {self.num_frames} frames, got {clips.shape[2]}")
        rois = rois.to(self.of_motion.weight.dtype)
        return in_parts(lambda some: self._logits(clips, some), self.boxes_at_once, self.training, rois)

    def _logits(self, clips: Tensor, rois: Tensor) -> Tensor:
        """Logits of so few boxes that their crops fit in memory."""
        own = clips[rois[:, 0].long()].to(rois.dtype)
        own = own / 255 if clips.dtype == torch.uint8 else own
        own = (own - self.mean) / self.std
        boxes = rois[:, 1:]
        seen = crop(own[:, :, self.appearance_frames], square_windows(boxes, self.margin), self.crop_px)
        grey = (own * own.new_tensor(GREY).view(1, 3, 1, 1, 1)).sum(dim=1, keepdim=True)
        small = crop(grey, square_windows(boxes, self.motion_margin), self.motion_px, "border")[:, 0]
        pictures = seen.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        features = self.appearance(pictures).unflatten(0, (-1, len(self.appearance_frames))).mean(dim=1)
        logits: Tensor = self.of_appearance(self.drop(features)) + self.of_motion(self.drop(self.motion(small)))
        return logits
