"""What stands behind people: rooms, streets, fields, plain and cluttered walls. uint8 RGB, no people in them."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from avadet.figures.look import Colour, cloth_colour, shaded
from avadet.types import Float32Array, UInt8Array

Size = tuple[int, int]
Maker = Callable[[np.random.Generator, Size, float], UInt8Array]


def _colour(rng: np.random.Generator, low: int, high: int, tint: int = 25) -> Colour:
    """A greyish colour between two brightnesses."""
    red, green, blue = np.clip(rng.integers(low, high) + rng.integers(-tint, tint + 1, 3), 0, 255)
    return int(red), int(green), int(blue)


def ramp(size_hw: Size, top: Colour, bottom: Colour) -> UInt8Array:
    """A picture that goes from one colour above to another below."""
    column = np.linspace(np.array(top, np.float32), np.array(bottom, np.float32), size_hw[0])
    return np.repeat(column[:, None].astype(np.uint8), size_hw[1], axis=1)


def clouds(
    rng: np.random.Generator, size_hw: Size, coarse: int = 3, octaves: int = 4, tint: bool = False
) -> Float32Array:
    """Smooth noise of several scales, float32 (H, W, 1 or 3), mean about 0, mostly within -1 to 1."""
    height, width = size_hw
    depth = 3 if tint else 1
    total = np.zeros((height, width, depth), np.float32)
    for octave in range(octaves):
        cells = coarse * 2**octave
        if cells > min(height, width):
            break
        small = rng.standard_normal((cells, max(2, cells * width // height), depth), np.float32)
        total += cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).reshape(total.shape) * 0.7**octave
    return total * 0.6


def _textured(rng: np.random.Generator, image: UInt8Array, strength: float, coarse: int = 6) -> UInt8Array:
    """The picture with smooth noise of that strength (grey values) over it."""
    noise = clouds(rng, image.shape[:2], coarse, 5) * strength
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _rect(image: UInt8Array, x: float, y: float, w: float, h: float, colour: Colour, edge: float = 0.7) -> None:
    """A filled upright rectangle with a darker edge, px."""
    corner, end = (int(x), int(y)), (int(x + w), int(y + h))
    cv2.rectangle(image, corner, end, colour, -1)
    cv2.rectangle(image, corner, end, shaded(colour, edge), 1)


def plain(rng: np.random.Generator, size_hw: Size, horizon: float) -> UInt8Array:
    """A studio wall: a gentle ramp with soft light on it."""
    image = ramp(size_hw, _colour(rng, 30, 240), _colour(rng, 30, 240))
    return _textured(rng, image, rng.uniform(2, 14), 2)


def _floor(rng: np.random.Generator, image: UInt8Array, edge: int, horizon: float) -> None:
    """A floor from row `edge` down: boards, tiles or carpet, drawn towards the horizon."""
    height, width = image.shape[:2]
    colour = _colour(rng, 50, 210, 30)
    image[edge:] = ramp((height - edge, width), shaded(colour, 0.85), shaded(colour, 1.1))
    style = rng.integers(3)
    line = shaded(colour, 0.75)
    if style < 2:
        vanish = (int(rng.uniform(0.2, 0.8) * width), int(min(horizon, edge - 4)))
        for x in np.arange(-2 * width, 3 * width, rng.uniform(0.12, 0.3) * width):
            slope = (x - vanish[0]) / max(height - vanish[1], 1)
            cv2.line(image, (int(vanish[0] + slope * (edge - vanish[1])), edge), (int(x), height), line, 1, cv2.LINE_AA)
    if style == 1:
        for k in range(1, 8):
            y = int(edge + (height - edge) * (k / 8) ** 1.8)
            cv2.line(image, (0, y), (width, y), line, 1)


def _furniture(rng: np.random.Generator, image: UInt8Array, edge: int) -> None:
    """Things along the wall: window, door, picture, cupboard, table, sofa, lamp, curtain."""
    height, width = image.shape[:2]
    unit = max(edge, height // 4)
    for _ in range(int(rng.integers(1, 6))):
        kind, x = rng.integers(6), rng.uniform(-0.1, 0.95) * width
        colour = _colour(rng, 40, 220, 35)
        w, h = rng.uniform(0.15, 0.45) * unit, rng.uniform(0.2, 0.5) * unit
        if kind == 0:
            _rect(image, x, 0.12 * unit, w * 1.3, h, _colour(rng, 170, 250), 0.5)
            cv2.line(image, (int(x + w * 0.65), int(0.12 * unit)), (int(x + w * 0.65), int(0.12 * unit + h)), colour, 2)
        elif kind == 1:
            _rect(image, x, edge - 0.75 * unit, 0.32 * unit, 0.77 * unit, colour)
            cv2.circle(image, (int(x + 0.27 * unit), int(edge - 0.35 * unit)), max(1, unit // 60), (200, 180, 90), -1)
        elif kind == 2:
            _rect(image, x, rng.uniform(0.1, 0.4) * unit, 0.6 * w, 0.6 * h, cloth_colour(rng), 0.4)
        elif kind == 3:
            _rect(image, x, edge - h, w * 1.5, h * rng.uniform(1, 1.3), colour)
            for k in range(1, 4):
                row = int(edge - h + k * h / 4)
                cv2.line(image, (int(x), row), (int(x + 1.5 * w), row), shaded(colour, 0.7), 1)
        elif kind == 4:
            _rect(image, x, edge - 0.1 * unit, 2 * w, 0.22 * unit, colour)
            _rect(image, x, edge - 0.24 * unit, 2 * w, 0.16 * unit, shaded(colour, 1.1))
        else:
            pole = int(max(1, 0.012 * unit))
            cv2.line(image, (int(x), edge + 5), (int(x), int(edge - 0.7 * unit)), (60, 60, 60), pole)
            cv2.ellipse(
                image,
                (int(x), int(edge - 0.7 * unit)),
                (int(0.08 * unit), int(0.06 * unit)),
                0,
                180,
                360,
                (235, 220, 180),
                -1,
            )


def room(rng: np.random.Generator, size_hw: Size, horizon: float) -> UInt8Array:
    """A room: wall, floor, furniture."""
    height, width = size_hw
    edge = int(np.clip(horizon + rng.uniform(0.05, 0.3) * height, 0.25 * height, 0.9 * height))
    wall = _colour(rng, 70, 235, 20)
    image = ramp(size_hw, shaded(wall, rng.uniform(0.8, 1.1)), wall)
    _floor(rng, image, edge, horizon)
    if rng.random() < 0.4:
        corner = int(rng.uniform(0.1, 0.9) * width)
        image[:edge, corner:] = cv2.convertScaleAbs(image[:edge, corner:], alpha=0.86)
    cv2.line(image, (0, edge), (width, edge), shaded(wall, 0.6), max(1, height // 120))
    _furniture(rng, image, edge)
    return _textured(rng, image, rng.uniform(2, 9))


def _facade(rng: np.random.Generator, image: UInt8Array, x: int, w: int, top: int, foot: int) -> None:
    """A house front with rows of windows."""
    colour = _colour(rng, 60, 200, 30)
    _rect(image, x, top, w, foot - top, colour)
    pane = _colour(rng, 40, 230, 20)
    step = max(6, int(w / rng.integers(2, 6)))
    for wx in range(x + step // 4, x + w - step // 2, step):
        for wy in range(top + step // 3, foot - step // 2, step):
            _rect(image, wx, wy, step // 2, step * 0.55, pane, 0.6)


def street(rng: np.random.Generator, size_hw: Size, horizon: float) -> UInt8Array:
    """A street: sky, house fronts, pavement, cars, posts."""
    height, width = size_hw
    edge = int(np.clip(horizon + rng.uniform(0.02, 0.2) * height, 0.2 * height, 0.85 * height))
    image = ramp(size_hw, _colour(rng, 130, 230), _colour(rng, 170, 250))
    x = -int(rng.integers(0, 40))
    while x < width:
        w = int(rng.uniform(0.2, 0.6) * width)
        _facade(rng, image, x, w, int(rng.uniform(-0.2, 0.5) * edge), edge)
        x += w
    road = _colour(rng, 70, 170, 12)
    image[edge:] = ramp((height - edge, width), shaded(road, 0.9), shaded(road, 1.05))
    if rng.random() < 0.6:
        y = int(edge + rng.uniform(0.1, 0.7) * (height - edge))
        cv2.line(image, (0, y), (width, y + int(rng.integers(-20, 20))), _colour(rng, 170, 240), max(1, height // 100))
    for _ in range(int(rng.integers(0, 3))):
        cx, unit = rng.uniform(0, width), 0.25 * height * rng.uniform(0.6, 1.3)
        paint = cloth_colour(rng)
        _rect(image, cx, edge - 0.5 * unit, 1.8 * unit, 0.5 * unit, paint)
        _rect(image, cx + 0.35 * unit, edge - 0.85 * unit, 1.0 * unit, 0.35 * unit, shaded(paint, 0.5))
        for wheel in (0.35, 1.45):
            cv2.circle(image, (int(cx + wheel * unit), edge), int(0.17 * unit), (25, 25, 28), -1, cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 4))):
        px, tall = int(rng.uniform(0, width)), rng.uniform(0.3, 0.95)
        cv2.line(image, (px, edge + 8), (px, int(edge * (1 - tall))), _colour(rng, 30, 120), max(2, height // 80))
    return _textured(rng, image, rng.uniform(4, 12), 12)


def field(rng: np.random.Generator, size_hw: Size, horizon: float) -> UInt8Array:
    """Grass, sand or water under trees and sky."""
    height, width = size_hw
    edge = int(np.clip(horizon + rng.uniform(-0.02, 0.1) * height, 0.12 * height, 0.8 * height))
    image = ramp(size_hw, (120, 165, 225) if rng.random() < 0.5 else (190, 195, 200), _colour(rng, 190, 245, 15))
    ground = ((70, 120, 50), (100, 125, 60), (190, 170, 125), (120, 95, 65), (225, 230, 235))[int(rng.integers(5))]
    image[edge:] = ramp((height - edge, width), shaded(ground, 0.85), shaded(ground, 1.1))
    for _ in range(int(rng.integers(0, 14))):
        green = shaded((45, 85, 40), rng.uniform(0.5, 1.5))
        x, size = rng.uniform(0, width), rng.uniform(0.08, 0.3) * height
        cv2.line(image, (int(x), edge), (int(x), int(edge - size)), (70, 52, 36), max(2, int(size / 9)))
        cv2.ellipse(
            image, (int(x), int(edge - size)), (int(0.5 * size), int(0.7 * size)), 0, 0, 360, green, -1, cv2.LINE_AA
        )
    rough = clouds(rng, size_hw, 24, 3) * rng.uniform(8, 26)
    rough[:edge] *= 0.6
    return np.clip(image + rough, 0, 255).astype(np.uint8)


def noise(rng: np.random.Generator, size_hw: Size, horizon: float) -> UInt8Array:
    """Coloured clouds, soft or rough."""
    cloud = clouds(rng, size_hw, int(rng.integers(2, 9)), int(rng.integers(1, 6)), tint=True)
    return np.clip(rng.integers(60, 190, 3) + rng.uniform(20, 70) * cloud, 0, 255).astype(np.uint8)


def clutter(rng: np.random.Generator, size_hw: Size, horizon: float) -> UInt8Array:
    """Shapes that are not people: discs, bars, boxes, triangles on a wall."""
    height, width = size_hw
    image = plain(rng, size_hw, horizon)
    for _ in range(int(rng.integers(6, 30))):
        centre = rng.uniform(0, 1, 2) * [width, height]
        size = rng.uniform(0.03, 0.25) * height
        colour = cloth_colour(rng)
        kind = rng.integers(4)
        if kind == 0:
            cv2.circle(image, (int(centre[0]), int(centre[1])), int(0.6 * size), colour, -1, cv2.LINE_AA)
        elif kind == 1:
            end = centre + rng.uniform(-2, 2, 2) * size
            cv2.line(
                image,
                (int(centre[0]), int(centre[1])),
                (int(end[0]), int(end[1])),
                colour,
                max(1, int(size / 4)),
                cv2.LINE_AA,
            )
        else:
            corners = centre + rng.uniform(-1, 1, (3 + int(kind == 3), 2)) * size
            cv2.fillPoly(image, [corners.astype(np.int32)], colour, cv2.LINE_AA)
    return _textured(rng, image, rng.uniform(2, 10))


BACKDROPS: tuple[tuple[Maker, float], ...] = (
    (plain, 0.12), (room, 0.32), (street, 0.18), (field, 0.18), (noise, 0.08), (clutter, 0.12),
)  # fmt: skip


def random_backdrop(rng: np.random.Generator, size_hw: Size, horizon: float) -> UInt8Array:
    """One of the backdrops, sometimes out of focus.

    Args:
        rng: draws everything.
        size_hw: (height, width) px of the picture.
        horizon: row of the horizon, px; floors begin below it.
    """
    makers, weights = zip(*BACKDROPS)
    make: Maker = makers[int(rng.choice(len(makers), p=weights))]
    image = make(rng, size_hw, horizon)
    if rng.random() < 0.35:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.6, 0.015 * size_hw[0] + 0.8)), np.uint8)
    return image
