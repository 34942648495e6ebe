"""What stands behind persons: plain walls, rooms, fields. uint8 RGB, nobody in them."""

from __future__ import annotations

import cv2
import numpy as np

from avadet.synthetic.appearance import Colour, cloth_colour, shaded
from avadet.types import Float32Array, UInt8Array

Size = tuple[int, int]


def _colour(rng: np.random.Generator, low: int, high: int, tint: int = 25) -> Colour:
    """A greyish colour between two brightnesses."""
    red, green, blue = np.clip(rng.integers(low, high) + rng.integers(-tint, tint + 1, 3), 0, 255)
    return int(red), int(green), int(blue)


def ramp(size_hw: Size, top: Colour, bottom: Colour) -> UInt8Array:
    """A picture that goes from one colour above to another below."""
    column = np.linspace(np.array(top, np.float32), np.array(bottom, np.float32), size_hw[0])
    return np.repeat(column[:, None].astype(np.uint8), size_hw[1], axis=1)


def clouds(rng: np.random.Generator, size_hw: Size, coarse: int, octaves: int) -> Float32Array:
    """Smooth noise of several scales, float32 (H, W, 1), mean about 0, mostly within -1 to 1."""
    height, width = size_hw
    total = np.zeros((height, width, 1), np.float32)
    for octave in range(octaves):
        cells = coarse * 2**octave
        if cells > min(height, width):
            break
        small = rng.standard_normal((cells, max(2, cells * width // height), 1), np.float32)
        total += cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).reshape(total.shape) * 0.7**octave
    return total * 0.6


def plain(rng: np.random.Generator, size_hw: Size, horizon: float) -> UInt8Array:
    """A studio wall."""
    return ramp(size_hw, _colour(rng, 30, 240), _colour(rng, 30, 240))


def room(rng: np.random.Generator, size_hw: Size, horizon: float) -> UInt8Array:
    """A wall over boards or a carpet; pictures, doors, cupboards and tables along it are rectangles."""
    height, width = size_hw
    edge = int(np.clip(horizon + rng.uniform(0.05, 0.3) * height, 0.25 * height, 0.9 * height))
    wall, floor = _colour(rng, 70, 235, 20), _colour(rng, 50, 210, 30)
    image = ramp(size_hw, shaded(wall, rng.uniform(0.8, 1.1)), wall)
    image[edge:] = ramp((height - edge, width), shaded(floor, 0.85), shaded(floor, 1.1))
    if rng.random() < 0.6:
        vanish = np.array([rng.uniform(0.2, 0.8) * width, min(horizon, edge - 4)])
        for x in np.arange(-2 * width, 3 * width, rng.uniform(0.12, 0.3) * width):
            foot = np.array([x, height])
            start = vanish + (foot - vanish) * (edge - vanish[1]) / max(height - vanish[1], 1)
            cv2.line(image, start.astype(int).tolist(), foot.astype(int).tolist(), shaded(floor, 0.75), 1, cv2.LINE_AA)
    for _ in range(int(rng.integers(2, 8))):
        x, y = rng.uniform(-0.1, 0.95) * width, rng.choice([0.1, 0.3, 0.6]) * edge
        end = int(x + rng.uniform(0.08, 0.4) * edge), int(rng.choice([0.8, 1.0, 1.1]) * edge)
        colour = cloth_colour(rng)
        cv2.rectangle(image, (int(x), int(y)), end, colour, -1)
        cv2.rectangle(image, (int(x), int(y)), end, shaded(colour, 0.6), 1)
    return image


def field(rng: np.random.Generator, size_hw: Size, horizon: float) -> UInt8Array:
    """Grass, sand, earth or snow under trees and sky."""
    height, width = size_hw
    edge = int(np.clip(horizon + rng.uniform(-0.02, 0.1) * height, 0.12 * height, 0.8 * height))
    image = ramp(size_hw, (120, 165, 225) if rng.random() < 0.5 else (190, 195, 200), _colour(rng, 190, 245, 15))
    ground = ((70, 120, 50), (100, 125, 60), (190, 170, 125), (120, 95, 65), (225, 230, 235))[int(rng.integers(5))]
    image[edge:] = ramp((height - edge, width), shaded(ground, 0.85), shaded(ground, 1.1))
    for _ in range(int(rng.integers(0, 14))):
        x, size, gain = rng.uniform(0, width), rng.uniform(0.08, 0.3) * height, rng.uniform(0.5, 1.5)
        crown, radii = (int(x), int(edge - size)), (int(0.5 * size), int(0.7 * size))
        cv2.line(image, (int(x), edge), crown, (70, 52, 36), max(2, int(size / 9)))
        cv2.ellipse(image, crown, radii, 0, 0, 360, shaded((45, 85, 40), gain), -1, cv2.LINE_AA)
    return image


BACKDROPS = (plain, room, field)


def random_backdrop(rng: np.random.Generator, size_hw: Size, horizon: float) -> UInt8Array:
    """One of the backdrops, uneven, sometimes out of focus; floors begin below row `horizon`, px."""
    image = BACKDROPS[int(rng.choice(len(BACKDROPS), p=(0.2, 0.5, 0.3)))](rng, size_hw, horizon)
    noise = clouds(rng, size_hw, int(rng.choice([3, 6, 24])), 5) * rng.uniform(2, 14)
    image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.6, 0.015 * size_hw[0] + 0.8)), np.uint8)
    return image
