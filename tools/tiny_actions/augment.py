"""How stored crops are varied before a net sees them."""

from __future__ import annotations

import math
import random

import cv2
import numpy as np

from avadet.types import Float32Array, UInt8Array
from tiny_actions.crops import NET_PX

MOTION_PX = 64


def centre(crop: UInt8Array, side_px: int = NET_PX) -> UInt8Array:
    """The middle of a stored crop (H, H, 3) or of the grey crops of a window (T, H, H): what the net sees in use."""
    axis = 0 if crop.shape[-1] == 3 else 1
    first = (crop.shape[axis] - side_px) // 2
    rows = slice(first, first + side_px)
    return crop[rows, rows] if axis == 0 else crop[:, rows, rows]


def vary(crop: UInt8Array, rng: random.Random, noise: np.random.Generator) -> Float32Array:
    """Vary one stored crop in scale, place, aspect, turn, side, resolution, colour, noise; hide a part of it at times.

    Args:
        crop: uint8 (S, S, 3), larger than the net's 160 px.
        rng: draws what is done.
        noise: draws the noise of the pixels.

    Returns:
        float32 (160, 160, 3), 0-255.
    """
    pixels = _recoloured(_moved(crop, rng), rng)
    if rng.random() < 0.25:
        pixels += noise.standard_normal((NET_PX, NET_PX, 1), np.float32) * rng.uniform(2, 14)
    if rng.random() < 0.2:
        width, height = int(rng.uniform(0.15, 0.45) * NET_PX), int(rng.uniform(0.15, 0.45) * NET_PX)
        x, y = rng.randrange(0, NET_PX - width), rng.randrange(0, NET_PX - height)
        pixels[y : y + height, x : x + width] = rng.uniform(0, 255)
    return np.clip(pixels, 0, 255)


def _moved(crop: UInt8Array, rng: random.Random) -> UInt8Array:
    """Another window of the crop, turned a little or mirrored, sometimes at a lower resolution."""
    side = math.exp(rng.uniform(math.log(0.72), math.log(1.22))) * NET_PX
    aspect = math.exp(rng.uniform(-0.12, 0.12))
    middle = [crop.shape[0] / 2 + rng.uniform(-0.1, 0.1) * NET_PX for _ in range(2)]
    angle = math.radians(rng.uniform(-8, 8)) if rng.random() < 0.3 else 0.0
    flip = -1 if rng.random() < 0.5 else 1
    x, y = side * aspect / NET_PX, side / aspect / NET_PX
    turn = np.array(
        [[flip * x * math.cos(angle), -y * math.sin(angle)], [flip * x * math.sin(angle), y * math.cos(angle)]]
    )
    shift = np.array(middle) - turn @ np.full(2, NET_PX / 2)
    matrix = np.concatenate([turn, shift[:, None]], axis=1)
    moved = cv2.warpAffine(crop, matrix, (NET_PX, NET_PX), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    if rng.random() < 0.3:
        factor = rng.uniform(0.2, 0.6)
        small = cv2.resize(moved, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        moved = cv2.resize(small, (NET_PX, NET_PX))
    return moved  # type: ignore[return-value]


def _recoloured(crop: UInt8Array, rng: random.Random) -> Float32Array:
    """Other contrast, brightness and tint; grey at times."""
    pixels = crop.astype(np.float32)
    if rng.random() < 0.8:
        mean = pixels.mean()
        pixels = (pixels - mean) * np.float32(rng.uniform(0.6, 1.3)) + mean * np.float32(rng.uniform(0.5, 1.4))
        pixels *= np.array([rng.uniform(0.85, 1.15) for _ in range(3)], np.float32)
    if rng.random() < 0.1:
        pixels = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
    return pixels


def head_and_shoulders(crop: UInt8Array, rng: random.Random) -> Float32Array:
    """The upper end of a whole person's stored crop of 208 px, enlarged: a picture whose pose cannot be told."""
    side = int(rng.uniform(0.28, 0.42) * NET_PX)
    top = max(24 + int(rng.uniform(-6, 6)), 0)
    left = (crop.shape[1] - side) // 2 + int(rng.uniform(-8, 8))
    pixels = cv2.resize(crop[top : top + side, max(left, 0) : left + side], (NET_PX, NET_PX)).astype(np.float32)
    return pixels[:, ::-1].copy() if rng.random() < 0.5 else pixels


def vary_motion(grey: UInt8Array, rng: random.Random, noise: np.random.Generator) -> Float32Array:
    """Vary the grey crops of a window alike in scale, place and side; let the camera drift; vary contrast and noise.

    Args:
        grey: uint8 (T, 80, 80).
        rng: draws what is done.
        noise: draws the noise of the pixels.

    Returns:
        float32 (T, 64, 64), about 0-1.
    """
    room = grey.shape[1]
    scale = math.exp(rng.uniform(math.log(0.8), math.log(1.24)))
    middle = np.array([room / 2 + rng.uniform(-4, 4) for _ in range(2)])
    flip = -1 if rng.random() < 0.5 else 1
    drift = np.array([rng.uniform(-1, 1) * rng.choice([0, 0, 2.5]) for _ in range(2)])
    turn = np.array([[flip * scale, 0], [0, scale]])
    moved = []
    for index, frame in enumerate(grey):
        shift = middle + drift * (index - (len(grey) - 1) / 2) - turn @ np.full(2, MOTION_PX / 2)
        matrix = np.concatenate([turn, shift[:, None]], axis=1)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        moved.append(
            cv2.warpAffine(frame, matrix, (MOTION_PX, MOTION_PX), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        )
    pixels = np.stack(moved).astype(np.float32) / 255
    pixels = (pixels - 0.5) * np.float32(rng.uniform(0.6, 1.4)) + 0.5 + np.float32(rng.uniform(-0.15, 0.15))
    if rng.random() < 0.3:
        pixels += noise.standard_normal(pixels.shape, np.float32) * np.float32(rng.uniform(0.01, 0.05))
    return pixels.astype(np.float32)
