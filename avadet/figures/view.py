"""Where the camera sees a person: projection of the person's own axes to pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from avadet.types import Float64Array


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
        pixels = np.empty((*depth.shape, 2))
        pixels[..., 0] = vanish_x + (self.foot_px[0] - vanish_x + self.height_px * right) * near
        pixels[..., 1] = vanish_y + (self.foot_px[1] - vanish_y - self.height_px * z) * near
        return pixels, depth

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
