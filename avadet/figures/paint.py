"""Painting what a part list says: polygons, far ones first, antialiased.

A part is a stack of polygons that lie at one depth (a sleeve: its dark rim, its cloth, its light). All T moments of
a part are computed at once; only the filling itself goes frame by frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from avadet.figures.look import Colour, shaded
from avadet.types import BoolArray, Float32Array, Float64Array, UInt8Array

SHIFT = 4
_EDGE = 0.35  # px by which OpenCV's antialiased polygons are fatter than their corners say (measured)
_ARC = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 6)
_FAR_CAP = np.stack([np.cos(_ARC), np.sin(_ARC)], axis=-1)
_CAPS = np.concatenate([-_FAR_CAP, _FAR_CAP])


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
    """Layers at one depth, drawn in order.

    Attributes:
        layers: bottom to top.
        depth: float64 (T,), larger = farther.
    """

    layers: tuple[Layer, ...]
    depth: Float64Array


def _rounded(
    first: Float64Array, second: Float64Array, first_radius: Float64Array, second_radius: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Centres and outward steps (T, 12, 2) px whose sum is the outline of a tapered limb."""
    along = second - first
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)[:, None]
    cos, sin = along[:, :1] / length, along[:, 1:] / length
    centres = np.empty((len(first), 12, 2))
    centres[:, :6], centres[:, 6:] = first[:, None], second[:, None]
    radii = np.empty((len(first), 12))
    radii[:, :6], radii[:, 6:] = first_radius[:, None], second_radius[:, None]
    steps = np.empty_like(centres)
    steps[..., 0] = radii * (cos * _CAPS[:, 0] - sin * _CAPS[:, 1])
    steps[..., 1] = radii * (sin * _CAPS[:, 0] + cos * _CAPS[:, 1])
    return centres, steps


def capsule(
    first: Float64Array, second: Float64Array, first_radius: Float64Array, second_radius: Float64Array
) -> Float64Array:
    """Outline of a tapered limb: points (T, 2) and radii (T,) px -> polygon (T, 12, 2)."""
    centres, steps = _rounded(first, second, first_radius, second_radius)
    return centres + steps


def limb_layers(
    ends: tuple[Float64Array, Float64Array],
    radii: tuple[Float64Array, Float64Array],
    colour: Colour,
    light: tuple[float, float],
) -> tuple[Layer, ...]:
    """A rounded limb: dark rim, cloth, a lighter streak towards the light. Px."""
    centres, steps = _rounded(*ends, *radii)
    toward = 0.5 * (radii[0] + radii[1])[:, None, None] * np.array(light)
    return (
        Layer(centres + steps, shaded(colour, 0.7)),
        Layer(centres + 0.13 * toward + 0.8 * steps, colour),
        Layer(centres + 0.32 * toward + 0.42 * steps, shaded(colour, 1.12)),
    )


def hull_layers(points: Float64Array, colour: Colour, light: tuple[float, float]) -> tuple[Layer, ...]:
    """A rounded body of hull points (T, P, 2) px: dark rim, cloth, light."""
    middle = points.mean(axis=1, keepdims=True)
    reach = np.abs(points - middle).max(axis=1, keepdims=True)
    layers = []
    for scale, offset, gain in ((1.0, 0.0, 0.7), (0.9, 0.05, 1.0), (0.55, 0.14, 1.09)):
        moved = middle + scale * (points - middle) + offset * reach * np.array(light)
        layers.append(Layer(moved, shaded(colour, gain), hull=True))
    return tuple(layers)


def joined(parts: Sequence[Part], nearer: float = 0.0) -> Part:
    """Parts that grow into each other (upper arm and forearm): all rims below all cloth, so that no seam shows."""
    levels = max(len(part.layers) for part in parts)
    layers = [part.layers[k] for k in range(levels) for part in parts if k < len(part.layers)]
    return Part(tuple(layers), np.mean([part.depth for part in parts], axis=0) - nearer)


def outline_boxes(parts: Sequence[Part], num_frames: int) -> Float64Array:
    """Smallest boxes around the parts as drawn, float64 (T, 4) xyxy continuous px (pixel i covers [i, i + 1))."""
    low = np.full((num_frames, 2), np.inf)
    high = np.full((num_frames, 2), -np.inf)
    for part in parts:
        points = np.concatenate([layer.points for layer in part.layers], axis=1)
        low = np.minimum(low, points.min(axis=1))
        high = np.maximum(high, points.max(axis=1))
    return np.concatenate([low - _EDGE, high + 1 + _EDGE], axis=1)


def _fill(image: UInt8Array, layer: Layer, frame: int, warp: Float64Array) -> None:
    """Fill one layer of one frame, moved by the 2x3 matrix `warp`."""
    points = layer.points[frame % len(layer.points)]
    if layer.shown is not None:
        shown = layer.shown[frame]
        if not shown.any():
            return
        points = points[shown] if shown.ndim else points
    fixed = np.rint((points @ warp[:, :2].T + warp[:, 2]) * (1 << SHIFT)).clip(-1e6, 1e6).astype(np.int32)
    if layer.hull:
        fixed = np.asarray(cv2.convexHull(fixed), np.int32)
    cv2.fillConvexPoly(image, fixed, layer.colour, cv2.LINE_AA, SHIFT)


def paint(image: UInt8Array, parts: Sequence[Part], frame: int, warp: Float64Array | None = None) -> None:
    """Draw moment `frame` of the parts into `image` (uint8 (H, W, 3) RGB, changed in place), far parts first."""
    matrix = np.eye(2, 3) if warp is None else warp
    depths = [part.depth[frame % len(part.depth)] for part in parts]
    for index in np.argsort(np.negative(depths), kind="stable"):
        for layer in parts[index].layers:
            _fill(image, layer, frame, matrix)


def clip_boxes(boxes_px: Float64Array, size_hw: tuple[int, int]) -> tuple[Float32Array, Float64Array]:
    """Boxes (..., 4) px -> 0-1 of the frame, cut at its edges, and which share (...) of each is inside."""
    height, width = size_hw
    limit = np.array([width, height, width, height], np.float64)
    inside = np.clip(boxes_px, 0, limit)
    area = (inside[..., 2] - inside[..., 0]) * (inside[..., 3] - inside[..., 1])
    full = (boxes_px[..., 2] - boxes_px[..., 0]) * (boxes_px[..., 3] - boxes_px[..., 1])
    return (inside / limit).astype(np.float32), np.asarray(area / np.maximum(full, 1e-9))
