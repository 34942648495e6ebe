"""The camera: small movements, changing light, blur and noise, drawn once a clip."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from avadet.types import Float64Array, UInt8Array

MARGIN = 0.12


@dataclass(frozen=True)
class Camera:
    """How a clip is seen.

    Attributes:
        warps: float64 (T, 2, 3), scaling and shift of each frame, px.
        gains: float64 (T, 3), light of each frame by channel.
        blur: sigma of the lens, px; 0 = sharp.
        grain: noise pictures int16 (K, H, W, 3) to be added in turn; K may be 0.
        quality: JPEG quality of the sensor's codec; 0 = none.
    """

    warps: Float64Array
    gains: Float64Array
    blur: float
    grain: np.typing.NDArray[np.int16]
    quality: int

    def backdrop_hw(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Size of the backdrop that this camera can move over."""
        return round(size_hw[0] * (1 + 2 * MARGIN)), round(size_hw[1] * (1 + 2 * MARGIN))

    def background(self, backdrop: UInt8Array, frame: int, size_hw: tuple[int, int]) -> UInt8Array:
        """The backdrop as frame `frame` sees it, uint8 (H, W, 3), a new array."""
        height, width = size_hw
        warp = self.warps[frame].copy()
        warp[:, 2] -= warp[:, :2] @ np.array([MARGIN * width, MARGIN * height])
        return np.asarray(cv2.warpAffine(backdrop, warp, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)

    def develop(self, image: UInt8Array, frame: int) -> UInt8Array:
        """Lens blur, light, noise and codec on a painted frame, uint8 RGB."""
        if self.blur > 0.3:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), self.blur), np.uint8)
        gain = self.gains[frame]
        image = np.asarray(cv2.transform(image, np.diag(gain)), np.uint8)
        if len(self.grain):
            image = np.asarray(cv2.add(image, self.grain[frame % len(self.grain)], dtype=cv2.CV_8U), np.uint8)
        if self.quality:
            data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self.quality])[1]
            image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
        return image


def _drift(rng: np.random.Generator, t: Float64Array, size: float) -> Float64Array:
    """A wandering curve (T,) of about that size: a few slow waves."""
    waves = [rng.normal() * np.sin(2 * np.pi * (rng.uniform(0.2, 3.0) * t + rng.random())) for _ in range(3)]
    return np.asarray(size * np.sum(waves, axis=0) / 2)


def _grain(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> np.typing.NDArray[np.int16]:
    """Noise of standard deviation sigma, int16: the sum of two uniform bytes, much faster than a Gaussian."""
    first, second = (np.frombuffer(rng.bytes(int(np.prod(shape))), np.int8).reshape(shape) for _ in range(2))
    return np.asarray(((first.astype(np.int16) + second) * np.int16(sigma * 1.225)) >> 7, np.int16)


def random_camera(
    rng: np.random.Generator, size_hw: tuple[int, int], num_frames: int, fps: float, shaky: bool = True
) -> Camera:
    """Draw a camera: on a tripod, in the hand, or panning.

    Args:
        rng: draws everything.
        size_hw: (height, width) px of the frames.
        num_frames: T.
        fps: frames per second.
        shaky: whether it may move at all.
    """
    height, width = size_hw
    t = np.arange(num_frames) / fps
    hand = float(rng.choice([0.0, 0.004, 0.012])) * height if shaky else 0.0
    pan = rng.uniform(-0.1, 0.1) * width if shaky and rng.random() < 0.3 else 0.0
    shift = np.stack([_drift(rng, t, hand) + pan * np.linspace(-0.5, 0.5, num_frames), _drift(rng, t, hand)], axis=1)
    zoom = 1 + _drift(rng, t, 0.01 if hand else 0.0)
    warps = np.zeros((num_frames, 2, 3))
    warps[:, 0, 0] = warps[:, 1, 1] = zoom
    warps[:, :, 2] = shift + (1 - zoom)[:, None] * [0.5 * width, 0.5 * height]
    light = rng.uniform(0.7, 1.15) * rng.uniform(0.93, 1.07, 3)
    gains = light * (1 + _drift(rng, t, float(rng.choice([0, 0.02, 0.06]))))[:, None]
    sigma = float(rng.choice([0.0, 2.0, 5.0, 9.0]))
    bank = min(num_frames, 4) if sigma else 0
    grain = _grain(rng, (bank, height, width, 3), sigma)
    quality = int(rng.integers(35, 95)) if rng.random() < 0.4 else 0
    return Camera(warps, gains, float(rng.uniform(0, 0.004) * height), grain, quality)
