"""Painting what a part list says: polygons, far ones first, antialiased.

A part is a stack of polygons that lie at one depth (a sleeve: its dark rim, its cloth, its light). All T moments of
a part are computed at once; only the filling itself goes frame by frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from avadet.synthetic.appearance import Colour, shaded
from avadet.types import BoolArray, Float32Array, Float64Array, UInt8Array

SHIFT = 4
_EDGE = 0.35  # px by which OpenCV's antialiased polygons are fatter than their corners say (measured)
_ARC = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 6)
_FAR_CAP = np.stack([np.cos(_ARC), np.sin(_ARC)], axis=-1)
_CAPS = np.concatenate([-_FAR_CAP, _FAR_CAP])

Pair = tuple[Float64Array, Float64Array]


@dataclass(frozen=True)
class Layer:
    """One filled polygon a moment.

    Attributes:
        points: float64 (T, P, 2) px.
        colour: uint8 RGB.
        hull: fill the convex hull of the points instead of the polygon.
        shown: bool (T,) or (T, P): when it is drawn, or (hull) which points count; None = always, all.
    """

    points: Float64Array
    colour: Colour
    hull: bool = False
    shown: BoolArray | None = None


@dataclass(frozen=True)
class Part:
    """Layers at one depth, bottom to top; depth float64 (T,), larger = farther."""

    layers: tuple[Layer, ...]
    depth: Float64Array


def _rounded(ends: Pair, radii: Pair) -> Pair:
    """Centres and outward steps (T, 12, 2) px whose sum is the outline of a tapered limb."""
    along = ends[1] - ends[0]
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)[:, None]
    cos, sin = along[:, :1] / length, along[:, 1:] / length
    centres = np.repeat(np.stack(ends, axis=1), 6, axis=1)
    radius = np.repeat(np.stack(radii, axis=1), 6, axis=1)
    x, y = cos * _CAPS[:, 0] - sin * _CAPS[:, 1], sin * _CAPS[:, 0] + cos * _CAPS[:, 1]
    return centres, np.stack([radius * x, radius * y], axis=-1)


def limb_layers(ends: Pair, radii: Pair, colour: Colour, light: tuple[float, float]) -> tuple[Layer, ...]:
    """A rounded limb: dark rim, cloth, a lighter streak towards the light. Px."""
    centres, steps = _rounded(ends, radii)
    toward = 0.5 * (radii[0] + radii[1])[:, None, None] * np.array(light)
    return (
        Layer(centres + steps, shaded(colour, 0.7)),
        Layer(centres + 0.13 * toward + 0.8 * steps, colour),
        Layer(centres + 0.32 * toward + 0.42 * steps, shaded(colour, 1.12)),
    )


def hull_layers(points: Float64Array, colour: Colour, light: tuple[float, float]) -> tuple[Layer, ...]:
    """A rounded body of hull points (T, P, 2) px: dark rim, cloth, light."""
    middle = points.mean(axis=1, keepdims=True)
    reach = np.abs(points - middle).max(axis=1, keepdims=True) * np.array(light)
    return tuple(
        Layer(middle + scale * (points - middle) + offset * reach, shaded(colour, gain), hull=True)
        for scale, offset, gain in ((1.0, 0.0, 0.7), (0.9, 0.05, 1.0), (0.55, 0.14, 1.09))
    )


def joined(parts: Sequence[Part], nearer: float = 0.0) -> Part:
    """Parts that grow into each other (upper arm and forearm): all rims below all cloth, so that no seam shows."""
    levels = max(len(part.layers) for part in parts)
    layers = [part.layers[k] for k in range(levels) for part in parts if k < len(part.layers)]
    return Part(tuple(layers), np.mean([part.depth for part in parts], axis=0) - nearer)


def outline_boxes(parts: Sequence[Part]) -> Float64Array:
    """Smallest boxes around the parts as drawn, float64 (T, 4) xyxy continuous px (pixel i covers [i, i + 1))."""
    points = np.concatenate([layer.points for part in parts for layer in part.layers], axis=1)
    return np.concatenate([points.min(axis=1) - _EDGE, points.max(axis=1) + 1 + _EDGE], axis=1)


def _fill(image: UInt8Array, layer: Layer, moment: int, warp: Float64Array) -> None:
    """Fill one layer at one moment, moved by the 2x3 matrix `warp`."""
    points = layer.points[moment % len(layer.points)]
    if layer.shown is not None:
        shown = layer.shown[moment]
        if not shown.any():
            return
        points = points[shown] if shown.ndim else points
    fixed = np.rint((points @ warp[:, :2].T + warp[:, 2]) * (1 << SHIFT)).clip(-1e6, 1e6).astype(np.int32)
    if layer.hull:
        fixed = np.asarray(cv2.convexHull(fixed), np.int32)
    cv2.fillConvexPoly(image, fixed, layer.colour, cv2.LINE_AA, SHIFT)


def paint(image: UInt8Array, parts: Sequence[Part], moment: int, warp: Float64Array) -> None:
    """Draw the parts as they are at a moment into `image` (uint8 (H, W, 3) RGB, in place), far ones first."""
    depths = [part.depth[moment % len(part.depth)] for part in parts]
    for index in np.argsort(np.negative(depths), kind="stable"):
        for layer in parts[index].layers:
            _fill(image, layer, moment, warp)


def clip_boxes(boxes_px: Float64Array, size_hw: tuple[int, int]) -> tuple[Float32Array, Float64Array]:
    """Boxes (..., 4) px -> 0-1 of the frame, cut at its edges, and which share (...) of each is inside."""
    height, width = size_hw
    limit = np.array([width, height, width, height], np.float64)
    inside = np.clip(boxes_px, 0, limit)
    area, full = (np.prod(each[..., 2:] - each[..., :2], axis=-1) for each in (inside, boxes_px))
    return (inside / limit).astype(np.float32), np.asarray(area / np.maximum(full, 1e-9))
