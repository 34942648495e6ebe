"""From joints and clothes to the part list of a person, and of the things an action needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avadet.figures.look import Colour, Look, shaded
from avadet.figures.paint import Layer, Part, capsule, hull_layers, joined, limb_layers
from avadet.figures.skeleton import Build, Joints, Prop, prop_points
from avadet.figures.view import View
from avadet.types import Float64Array

_TURN = np.linspace(0, 2 * np.pi, 10, endpoint=False)
_HEAD_RADII = np.array([0.06, 0.05, 0.073])


@dataclass(frozen=True)
class _Artist:
    """One person being turned into parts: where the joints are, what is worn, who looks."""

    joints: Joints
    build: Build
    look: Look
    view: View

    def limb(
        self, first: Float64Array, second: Float64Array, radii: tuple[float, float], colour: Colour, nearer: float = 0.0
    ) -> Part:
        """A tapered limb between joints (T, 3) with radii in body heights."""
        (start, start_depth), (end, end_depth) = self.view.project(first), self.view.project(second)
        scale = self.view.height_px * self.build.girth
        sizes = [scale * r * self.view.size(d) for r, d in zip(radii, (start_depth, end_depth))]
        layers = limb_layers((start, end), (sizes[0], sizes[1]), colour, self.look.light)
        return Part(layers, 0.5 * (start_depth + end_depth) - nearer)

    def ring(self, centre: Float64Array, axes: Float64Array, wide: float, deep: float) -> Float64Array:
        """Cross-section of the trunk, (T, 10, 3): an ellipse around `centre` (T, 3) in the plane of `axes`."""
        circle = np.stack([deep * np.cos(_TURN), wide * np.sin(_TURN), 0 * _TURN], axis=-1)
        return np.asarray(centre[:, None] + np.einsum("tij,pj->tpi", axes, circle))

    def hull(self, rings: list[Float64Array], colour: Colour, nearer: float = 0.0) -> Part:
        """A trunk part around cross-sections (T, P, 3)."""
        points, depth = self.view.project(np.concatenate(rings, axis=1))
        return Part(hull_layers(points, colour, self.look.light), depth.mean(axis=1) - nearer)


def body_parts(joints: Joints, build: Build, look: Look, view: View) -> list[Part]:
    """Every part of a dressed person.

    Args:
        joints: T moments.
        build: the same as the joints were solved with.
        look: clothes and colours.
        view: where the camera sees the person.
    """
    artist = _Artist(joints, build, look, view)
    return [*_legs(artist), *_trunk(artist), *_arms(artist), _head(artist)]


def _legs(artist: _Artist) -> list[Part]:
    """Thighs, shins and shoes, and a skirt."""
    joints, look = artist.joints, artist.look
    thigh = look.skin if look.legs == "skirt" else look.bottom
    shin = look.bottom if look.legs == "trousers" else look.skin
    wide = 1.15 if look.legs == "trousers" else 1.0
    parts = []
    for side in (0, 1):
        hip, knee, ankle = joints.hips[:, side], joints.knees[:, side], joints.ankles[:, side]
        toe = joints.toes[:, side]
        heel = ankle - 0.25 * (toe - ankle) - [0, 0, 0.018]
        parts.append(artist.limb(heel, toe, (0.024 / artist.build.girth, 0.017 / artist.build.girth), look.shoes))
        lower = artist.limb(knee, ankle, (0.036 * wide, 0.022 * wide), shin)
        upper = artist.limb(hip, knee, (0.053, 0.037 * wide), look.skin if look.legs == "shorts" else thigh)
        parts.append(joined([lower, upper], nearer=-0.02))
        if look.legs == "shorts":
            cloth = artist.limb(hip, 0.25 * hip + 0.75 * knee, (0.054, 0.05), thigh)
            parts[-1] = Part((*parts[-1].layers, *cloth.layers), parts[-1].depth)
    if look.legs == "skirt":
        hem = [artist.ring(joints.knees[:, side], joints.pelvis_axes, 0.05, 0.05) for side in (0, 1)]
        top = artist.ring(joints.pelvis, joints.pelvis_axes, 0.085 * artist.build.hips, 0.06)
        parts.append(artist.hull([top, *hem], look.bottom, nearer=0.1))
    return parts


def _trunk(artist: _Artist) -> list[Part]:
    """Hips, belly, chest with its pattern, and neck."""
    joints, build, look = artist.joints, artist.build, artist.look
    wide, girth = build.shoulders * (0.6 + 0.4 * build.girth), build.girth
    low, up = joints.pelvis_axes, joints.chest_axes
    spine = joints.neck - joints.waist
    shoulders = artist.ring(joints.neck - 0.1 * spine, up, 0.118 * wide, 0.042 * girth)
    collar = artist.ring(joints.neck + 0.1 * spine, up, 0.06 * wide, 0.03 * girth)
    chest = artist.ring(joints.waist + 0.5 * spine, up, 0.096 * wide, 0.062 * girth)
    waist = artist.ring(joints.waist, up, 0.078 * girth, 0.052 * girth)
    hips = artist.ring(joints.pelvis, low, 0.088 * build.hips * (0.5 + 0.5 * girth), 0.06 * girth)
    seat = artist.ring(joints.pelvis - 0.045 * low[:, :, 2], low, 0.08 * build.hips, 0.058 * girth)
    shirt = joined([artist.hull([waist, hips], look.shirt), artist.hull([collar, shoulders, chest, waist], look.shirt)])
    shirt = Part((*shirt.layers, *_pattern(artist, spine, wide)), shirt.depth)
    trousers = artist.hull([hips, seat], look.bottom, nearer=-0.004)
    neck = artist.limb(joints.neck, joints.head, (0.029, 0.026), shaded(look.skin, 0.86), nearer=-0.01)
    return [trousers, shirt, neck]


def _pattern(artist: _Artist, spine: Float64Array, wide: float) -> list[Layer]:
    """Stripes around the chest, a print on it, or the strip that an open jacket shows."""
    joints, look = artist.joints, artist.look
    axes = joints.chest_axes
    if look.pattern == "stripes":
        bands = []
        for at in (0.1, 0.35, 0.6, 0.85):
            low, high = (joints.waist + (at + d) * spine for d in (-0.05, 0.05))
            rings = [artist.ring(centre, axes, (0.08 + 0.024 * at) * wide, 0.05) for centre in (low, high)]
            bands.append(Layer(artist.view.project(np.concatenate(rings, 1))[0], look.second, hull=True))
        return bands
    if look.pattern == "plain":
        return []
    half, low_at, high_at = (0.04, 0.35, 0.75) if look.pattern == "print" else (0.022, -0.3, 0.98)
    front = 0.05 * artist.build.girth
    corners = [
        joints.waist + at * spine + front * axes[:, :, 0] + side * half * axes[:, :, 1]
        for at, side in ((low_at, -1), (low_at, 1), (high_at, 1), (high_at, -1))
    ]
    points = artist.view.project(np.stack(corners, axis=1))[0]
    return [Layer(points, look.second, hull=True, shown=artist.view.facing(axes[:, :, 0]) > 0.15)]


def _arms(artist: _Artist) -> list[Part]:
    """Upper arms, forearms and hands."""
    joints, look = artist.joints, artist.look
    parts = []
    for side in (0, 1):
        shoulder, elbow = joints.shoulders[:, side], joints.elbows[:, side]
        wrist, fingers = joints.wrists[:, side], joints.fingers[:, side]
        upper = look.skin if look.sleeves == "none" else look.shirt
        lower = look.shirt if look.sleeves == "long" else look.skin
        hand = (0.021 / artist.build.girth, 0.017 / artist.build.girth)
        fist = artist.limb(wrist, fingers, hand, look.skin)
        fore = artist.limb(elbow, wrist, (0.026, 0.019), lower)
        parts.append(joined([fist, fore, artist.limb(shoulder, elbow, (0.035, 0.026), upper)], nearer=0.015))
    return parts


def _globe() -> Float64Array:
    """Directions spread over the unit sphere, (42, 3): three rings of latitude, two poles, meridian thirds."""
    rows = [(np.cos(lat), np.sin(lat), n) for lat, n in ((-1.0, 8), (-0.5, 10), (0.0, 12), (0.5, 10), (1.0, 8))]
    rings = [
        np.stack([r * np.cos(a), r * np.sin(a), z + 0 * a], -1)
        for r, z, n in rows
        for a in [np.linspace(0, 2 * np.pi, n, endpoint=False)]
    ]
    return np.concatenate([*rings, [[0, 0, 1.0], [0, 0, -1.0]]])


def _cap(opening: float, down: float) -> Float64Array:
    """Directions on the sphere within `opening` rad of straight ahead bent down by `down`, (25, 3)."""
    around = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    rings = [
        np.stack([np.full(12, np.cos(a)), np.sin(a) * np.sin(around), np.sin(a) * np.cos(around)], -1)
        for a in (opening, 0.5 * opening)
    ]
    cap = np.concatenate([*rings, [[1.0, 0, 0]]])
    cos, sin = np.cos(down), np.sin(down)
    return np.asarray(cap @ np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]]))


_GLOBE = _globe()
_FACE = _cap(1.17, 0.38)
_CROWN = _GLOBE[_GLOBE[:, 2] > 0.1]


def _on_head(artist: _Artist, directions: Float64Array, swell: float = 1.0) -> tuple[Float64Array, Float64Array]:
    """Points of the head's surface in these directions (P, 3): px (T, P, 2), cosine towards the camera (T, P)."""
    joints = artist.joints
    radii = _HEAD_RADII * artist.build.head * swell
    points = joints.head[:, None] + np.einsum("tij,pj->tpi", joints.head_axes, directions * radii)
    normals = np.einsum("tij,pj->tpi", joints.head_axes, directions)
    return artist.view.project(points)[0], artist.view.facing(normals)


def _head(artist: _Artist) -> Part:
    """Skull, hair, face, and what is on the face where it is large enough to see."""
    look, joints = artist.look, artist.joints
    top = look.skin if look.hair_style == "bald" else look.hair
    swell = 1.0 if look.hair_style == "bald" else 1.07
    skull, _ = _on_head(artist, _GLOBE, swell)
    layers = [Layer(skull, shaded(top, 0.8), hull=True)]
    if look.hair_style == "long":
        down = joints.head - 0.035 * joints.head_axes[:, :, 0] - 0.13 * joints.head_axes[:, :, 2]
        ends = artist.view.project(artist.ring(down, joints.head_axes, 0.06, 0.03))[0]
        layers[0] = Layer(np.concatenate([skull, ends], axis=1), shaded(top, 0.8), hull=True)
    middle = skull.mean(axis=1, keepdims=True)
    layers.append(Layer(middle + 0.8 * (skull - middle) + np.array(look.light), shaded(top, 1.1), hull=True))
    face, toward = _on_head(artist, _FACE)
    layers.append(Layer(face, look.skin, hull=True, shown=(toward > -0.05) & ((toward > 0.1).sum(1) > 3)[:, None]))
    if look.hair_style == "cap":
        crown, _ = _on_head(artist, _CROWN, 1.12)
        layers.append(Layer(crown, look.second, hull=True))
    if 0.07 * artist.view.height_px > 4:
        layers += _features(artist)
    return Part(tuple(layers), artist.view.project(joints.head)[1] - 0.04)


def _features(artist: _Artist) -> list[Layer]:
    """Eyes, nose, mouth and brows: small patches of the face."""
    patches = (
        ((1, 0.42, 0.1), (0.0, 0.14, 0.07), (40, 30, 30)), ((1, -0.42, 0.1), (0.0, 0.14, 0.07), (40, 30, 30)),
        ((1, 0.44, 0.3), (0.0, 0.2, 0.045), artist.look.hair), ((1, -0.44, 0.3), (0.0, 0.2, 0.045), artist.look.hair),
        ((1.08, 0.0, -0.15), (0.0, 0.1, 0.16), shaded(artist.look.skin, 0.82)),
        ((0.95, 0.0, -0.6), (0.0, 0.26, 0.06), (150, 70, 66)),
    )  # fmt: skip
    layers = []
    for centre, half, colour in patches:
        corners = np.array(centre) + np.array(half) * [[0, -1, 0], [0, 0, 1], [0, 1, 0], [0, 0, -1]]
        points, toward = _on_head(artist, corners / np.linalg.norm(centre))
        layers.append(Layer(points, colour, shown=toward.mean(axis=1) > 0.2))
    return layers


def prop_parts(prop: Prop, joints: Joints, view: View, light: tuple[float, float]) -> list[Part]:
    """The parts of a ball, stick or box."""
    points, depth = view.project(prop_points(prop, joints))
    size = prop.radius * view.height_px * view.size(depth)
    if prop.kind == "solid":
        return [_solid(points, depth, prop.colour)]
    last = 0 if prop.kind == "ball" else 1
    ends, radii = (points[:, 0], points[:, last] + (0 if last else 1e-6)), (size[:, 0], size[:, last])
    if radii[0].max() < 3:
        return [Part((Layer(capsule(*ends, *radii), prop.colour),), depth.mean(axis=1) - 0.03)]
    return [Part(limb_layers(ends, radii, prop.colour, light), depth.mean(axis=1) - 0.03)]


def _solid(points: Float64Array, depth: Float64Array, colour: Colour) -> Part:
    """A box of 8 corners: its outline, then front and top faces that look at the camera."""
    layers = [Layer(points, shaded(colour, 0.75), hull=True)]
    top = np.array([1, 3, 5, 7])
    faces = [np.array([4, 5, 6, 7]), np.array([0, 1, 2, 3]), np.array([2, 3, 6, 7]), np.array([0, 1, 4, 5])]
    nearest = np.argsort(np.stack([depth[:, face].mean(axis=1) for face in faces], axis=1), axis=1)
    for index, face in enumerate(faces):
        layers.append(Layer(points[:, face], shaded(colour, 0.95), hull=True, shown=nearest[:, 0] == index))
    rows = np.arange(len(points))
    near, far = top[depth[:, top].argmin(axis=1)], top[depth[:, top].argmax(axis=1)]
    from_above = points[rows, near, 1] > points[rows, far, 1]
    layers.append(Layer(points[:, top], shaded(colour, 1.15), hull=True, shown=from_above))
    return Part(tuple(layers), depth.mean(axis=1))
