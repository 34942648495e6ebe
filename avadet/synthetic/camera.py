"""Where the camera sees a person, and how: projection, small movements, changing light, blur and noise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from avadet.types import Float64Array, UInt8Array

MARGIN = 0.12

Size = tuple[int, int]


@dataclass(frozen=True)
class View:
    """A person's place before a pinhole camera.

    Attributes:
        yaw: where the person faces, rad: 0 the camera, pi / 2 the right edge of the picture, pi away.
        height_px: how tall a standing adult is at the origin, px.
        foot_px: (x, y) px of the ground below the person at time 0.
        horizon_px: (x, y) px of the vanishing point.
        distance: from the camera to the origin, body heights.
    """

    yaw: float
    height_px: float
    foot_px: tuple[float, float]
    horizon_px: tuple[float, float]
    distance: float

    def project(self, points: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Person's axes (..., 3), body heights -> px (..., 2) and depth (...), body heights, larger = farther."""
        sin, cos = np.sin(self.yaw), np.cos(self.yaw)
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        right, depth = y * cos + x * sin, y * sin - x * cos
        near = self.size(depth)
        vanish_x, vanish_y = self.horizon_px
        column = vanish_x + (self.foot_px[0] - vanish_x + self.height_px * right) * near
        row = vanish_y + (self.foot_px[1] - vanish_y - self.height_px * z) * near
        return np.stack([column, row], axis=-1), depth

    def shifted_to(self, point: Float64Array) -> View:
        """The same view moved sideways so that `point` (3,), person's axes, is seen at column `foot_px[0]`."""
        pixel, depth = self.project(point)
        step = (self.foot_px[0] - float(pixel[0])) / float(self.size(depth))
        return replace(self, foot_px=(self.foot_px[0] + step, self.foot_px[1]))

    def size(self, depth: Float64Array) -> Float64Array:
        """How much larger than at the origin things look at this depth; bounded just before the camera."""
        return np.asarray(self.distance / np.maximum(self.distance + depth, 0.2 * self.distance))

    def facing(self, directions: Float64Array) -> Float64Array:
        """Cosine (...) between unit vectors (..., 3) and the direction to the camera."""
        return np.asarray(directions[..., 0] * np.cos(self.yaw) - directions[..., 1] * np.sin(self.yaw))


@dataclass(frozen=True)
class Camera:
    """How a clip is seen.

    Attributes:
        warps: float64 (T, 2, 3), scaling and shift of each frame, px.
        gains: float64 (T, 3), light of each frame by channel.
        blur: sigma of the lens, px; 0 = sharp.
        grain: noise pictures int16 (K, H, W, 3) to be added in turn; K may be 0.
    """

    warps: Float64Array
    gains: Float64Array
    blur: float
    grain: np.typing.NDArray[np.int16]

    def background(self, backdrop: UInt8Array, frame: int, size_hw: Size) -> UInt8Array:
        """The backdrop, of `backdrop_hw(size_hw)`, as frame `frame` sees it, uint8 (H, W, 3), a new array."""
        height, width = size_hw
        warp = self.warps[frame].copy()
        warp[:, 2] -= warp[:, :2] @ np.array([MARGIN * width, MARGIN * height])
        return np.asarray(cv2.warpAffine(backdrop, warp, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)

    def develop(self, image: UInt8Array, frame: int) -> UInt8Array:
        """Lens blur, light and noise on a painted frame, uint8 RGB."""
        if self.blur > 0.3:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), self.blur), np.uint8)
        image = np.asarray(cv2.transform(image, np.diag(self.gains[frame])), np.uint8)
        if len(self.grain):
            image = np.asarray(cv2.add(image, self.grain[frame % len(self.grain)], dtype=cv2.CV_8U), np.uint8)
        return image


def backdrop_hw(size_hw: Size) -> Size:
    """Size of a backdrop that a camera can move over."""
    return round(size_hw[0] * (1 + 2 * MARGIN)), round(size_hw[1] * (1 + 2 * MARGIN))


def _drift(rng: np.random.Generator, t: Float64Array, size: float) -> Float64Array:
    """A wandering curve (T,) of about that size: a few slow waves."""
    waves = [rng.normal() * np.sin(2 * np.pi * (rng.uniform(0.2, 3.0) * t + rng.random())) for _ in range(3)]
    return np.asarray(size * np.sum(waves, axis=0) / 2)


def random_camera(rng: np.random.Generator, size_hw: Size, num_frames: int, fps: float) -> Camera:
    """Draw a camera: on a tripod, in the hand, or panning."""
    height, width = size_hw
    t = np.arange(num_frames) / fps
    hand = float(rng.choice([0.0, 0.004, 0.012])) * height
    pan = rng.uniform(-0.1, 0.1) * width if rng.random() < 0.3 else 0.0
    shift = np.stack([_drift(rng, t, hand) + pan * np.linspace(-0.5, 0.5, num_frames), _drift(rng, t, hand)], axis=1)
    zoom = 1 + _drift(rng, t, 0.01 if hand else 0.0)
    warps = zoom[:, None, None] * np.eye(2, 3)
    warps[:, :, 2] = shift + (1 - zoom)[:, None] * [0.5 * width, 0.5 * height]
    light = rng.uniform(0.7, 1.15) * rng.uniform(0.93, 1.07, 3)
    gains = light * (1 + _drift(rng, t, float(rng.choice([0, 0.02, 0.06]))))[:, None]
    sigma = float(rng.choice([0.0, 2.0, 5.0, 9.0]))
    shape = (min(num_frames, 4) if sigma else 0, height, width, 3)
    # The sum of two uniform bytes is nearly Gaussian, and much faster.
    first, second = (np.frombuffer(rng.bytes(int(np.prod(shape))), np.int8).reshape(shape) for _ in range(2))
    grain = ((first.astype(np.int16) + second) * np.int16(sigma * 1.225)) >> 7
    return Camera(warps, gains, float(rng.uniform(0, 0.004) * height), np.asarray(grain, np.int16))
