"""From joints and clothes to the part list of a person, and of the things an action needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avadet.synthetic.appearance import Appearance, Colour, shaded
from avadet.synthetic.camera import View
from avadet.synthetic.paint import Layer, Part, hull_layers, joined, limb_layers
from avadet.synthetic.skeleton import Build, Joints, Prop, prop_points
from avadet.types import Float64Array

_TURN = np.linspace(0, 2 * np.pi, 10, endpoint=False)
_HEAD_RADII = np.array([0.06, 0.05, 0.073])


@dataclass(frozen=True)
class _Artist:
    """One person being turned into parts: where the joints are, what is worn, from where it is seen."""

    joints: Joints
    build: Build
    worn: Appearance
    view: View

    def limb(
        self, first: Float64Array, second: Float64Array, radii: tuple[float, float], colour: Colour, nearer: float = 0.0
    ) -> Part:
        """A tapered limb between joints (T, 3) with radii in body heights."""
        (start, start_depth), (end, end_depth) = self.view.project(first), self.view.project(second)
        scale = self.view.height_px * self.build.girth
        sizes = scale * radii[0] * self.view.size(start_depth), scale * radii[1] * self.view.size(end_depth)
        layers = limb_layers((start, end), sizes, colour, self.worn.light)
        return Part(layers, 0.5 * (start_depth + end_depth) - nearer)

    def ring(self, centre: Float64Array, axes: Float64Array, wide: float, deep: float) -> Float64Array:
        """Cross-section of the trunk, (T, 10, 3): an ellipse around `centre` (T, 3) in the plane of `axes`."""
        circle = np.stack([deep * np.cos(_TURN), wide * np.sin(_TURN), 0 * _TURN], axis=-1)
        return np.asarray(centre[:, None] + np.einsum("tij,pj->tpi", axes, circle))

    def hull(self, rings: list[Float64Array], colour: Colour, nearer: float = 0.0) -> Part:
        """A trunk part around cross-sections (T, P, 3)."""
        points, depth = self.view.project(np.concatenate(rings, axis=1))
        return Part(hull_layers(points, colour, self.worn.light), depth.mean(axis=1) - nearer)

    def on_head(self, directions: Float64Array, swell: float = 1.0) -> tuple[Float64Array, Float64Array]:
        """Points of the head's surface in directions (P, 3): px (T, P, 2), cosine towards the camera (T, P)."""
        normals = np.einsum("tij,pj->tpi", self.joints.head_axes, directions)
        offset = np.einsum("tij,pj->tpi", self.joints.head_axes, directions * (_HEAD_RADII * self.build.head * swell))
        return self.view.project(self.joints.head[:, None] + offset)[0], self.view.facing(normals)


def body_parts(joints: Joints, build: Build, worn: Appearance, view: View) -> list[Part]:
    """Every part of a dressed person; `build` is what the joints were solved with."""
    artist = _Artist(joints, build, worn, view)
    return [*_legs(artist), *_trunk(artist), *_arms(artist), _head(artist)]


def _legs(artist: _Artist) -> list[Part]:
    """Thighs, shins and shoes."""
    joints, worn, girth = artist.joints, artist.worn, artist.build.girth
    parts = []
    for side in (0, 1):
        hip, knee, ankle, toe = (each[:, side] for each in (joints.hips, joints.knees, joints.ankles, joints.toes))
        heel = ankle - 0.25 * (toe - ankle) - [0, 0, 0.018]
        parts.append(artist.limb(heel, toe, (0.024 / girth, 0.017 / girth), worn.shoes))
        lower = artist.limb(
            knee, ankle, (0.036 * 1.15, 0.022 * 1.15), worn.skin if worn.legs == "bare" else worn.bottom
        )
        parts.append(joined([lower, artist.limb(hip, knee, (0.053, 0.037 * 1.15), worn.bottom)], nearer=-0.02))
    return parts


def _trunk(artist: _Artist) -> list[Part]:
    """Hips, belly, chest with its pattern, and neck."""
    joints, build, worn = artist.joints, artist.build, artist.worn
    wide, girth = build.shoulders * (0.6 + 0.4 * build.girth), build.girth
    low, up = joints.pelvis_axes, joints.chest_axes
    spine = joints.neck - joints.waist
    shoulders = artist.ring(joints.neck - 0.1 * spine, up, 0.118 * wide, 0.042 * girth)
    collar = artist.ring(joints.neck + 0.1 * spine, up, 0.06 * wide, 0.03 * girth)
    chest = artist.ring(joints.waist + 0.5 * spine, up, 0.096 * wide, 0.062 * girth)
    waist = artist.ring(joints.waist, up, 0.078 * girth, 0.052 * girth)
    hips = artist.ring(joints.pelvis, low, 0.088 * build.hips * (0.5 + 0.5 * girth), 0.06 * girth)
    seat = artist.ring(joints.pelvis - 0.045 * low[:, :, 2], low, 0.08 * build.hips, 0.058 * girth)
    shirt = joined([artist.hull([waist, hips], worn.shirt), artist.hull([collar, shoulders, chest, waist], worn.shirt)])
    shirt = Part((*shirt.layers, *_pattern(artist, spine, wide)), shirt.depth)
    trousers = artist.hull([hips, seat], worn.bottom, nearer=-0.004)
    neck = artist.limb(joints.neck, joints.head, (0.029, 0.026), shaded(worn.skin, 0.86), nearer=-0.01)
    return [trousers, shirt, neck]


def _pattern(artist: _Artist, spine: Float64Array, wide: float) -> list[Layer]:
    """Stripes around the chest, a print on it, or the strip that an open jacket shows."""
    joints, worn, axes = artist.joints, artist.worn, artist.joints.chest_axes
    if worn.pattern == "plain":
        return []
    if worn.pattern == "stripes":
        bands = []
        for at in (0.1, 0.35, 0.6, 0.85):
            centres = (joints.waist + (at + d) * spine for d in (-0.05, 0.05))
            rings = [artist.ring(centre, axes, (0.08 + 0.024 * at) * wide, 0.05) for centre in centres]
            bands.append(Layer(artist.view.project(np.concatenate(rings, 1))[0], worn.second, hull=True))
        return bands
    half, low, high = (0.04, 0.35, 0.75) if worn.pattern == "print" else (0.022, -0.3, 0.98)
    front = 0.05 * artist.build.girth
    corners = [
        joints.waist + at * spine + front * axes[:, :, 0] + side * half * axes[:, :, 1]
        for at, side in ((low, -1), (low, 1), (high, 1), (high, -1))
    ]
    points = artist.view.project(np.stack(corners, axis=1))[0]
    return [Layer(points, worn.second, hull=True, shown=artist.view.facing(axes[:, :, 0]) > 0.15)]


def _arms(artist: _Artist) -> list[Part]:
    """Upper arms, forearms and hands."""
    joints, worn, girth = artist.joints, artist.worn, artist.build.girth
    upper = worn.skin if worn.sleeves == "none" else worn.shirt
    lower = worn.shirt if worn.sleeves == "long" else worn.skin
    parts = []
    for side in (0, 1):
        wrist, elbow = joints.wrists[:, side], joints.elbows[:, side]
        fist = artist.limb(wrist, joints.fingers[:, side], (0.021 / girth, 0.017 / girth), worn.skin)
        fore = artist.limb(elbow, wrist, (0.026, 0.019), lower)
        arm = artist.limb(joints.shoulders[:, side], elbow, (0.035, 0.026), upper)
        parts.append(joined([fist, fore, arm], nearer=0.015))
    return parts


def _globe() -> Float64Array:
    """Directions spread over the unit sphere, (50, 3): five rings of latitude and the poles."""
    counts = np.array([8, 10, 12, 10, 8])
    around = np.concatenate([np.linspace(0, 2 * np.pi, count, endpoint=False) for count in counts])
    latitude = np.repeat([-1.0, -0.5, 0.0, 0.5, 1.0], counts)
    rings = np.stack([np.cos(latitude) * np.cos(around), np.cos(latitude) * np.sin(around), np.sin(latitude)], -1)
    return np.concatenate([rings, [[0, 0, 1.0], [0, 0, -1.0]]])


def _cap(opening: float, down: float) -> Float64Array:
    """Directions on the sphere within `opening` rad of straight ahead bent down by `down`, (25, 3)."""
    around = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    rings = [
        np.stack([np.full(12, np.cos(a)), np.sin(a) * np.sin(around), np.sin(a) * np.cos(around)], -1)
        for a in (opening, 0.5 * opening)
    ]
    cos, sin = np.cos(down), np.sin(down)
    turn = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
    return np.asarray(np.concatenate([*rings, [[1.0, 0, 0]]]) @ turn)


_GLOBE = _globe()
_FACE = _cap(1.17, 0.38)
_CROWN = _GLOBE[_GLOBE[:, 2] > 0.1]


def _head(artist: _Artist) -> Part:
    """Skull, hair, face, and what is on the face where it is large enough to see."""
    worn = artist.worn
    top, swell = (worn.skin, 1.0) if worn.hair_style == "bald" else (worn.hair, 1.07)
    skull = artist.on_head(_GLOBE, swell)[0]
    middle = skull.mean(axis=1, keepdims=True)
    shine = middle + 0.8 * (skull - middle) + np.array(worn.light)
    face, toward = artist.on_head(_FACE)
    seen = (toward > -0.05) & ((toward > 0.1).sum(1) > 3)[:, None]
    layers = [Layer(skull, shaded(top, 0.8), hull=True), Layer(shine, shaded(top, 1.1), hull=True)]
    layers.append(Layer(face, worn.skin, hull=True, shown=seen))
    if worn.hair_style == "cap":
        layers.append(Layer(artist.on_head(_CROWN, 1.12)[0], worn.second, hull=True))
    if 0.07 * artist.view.height_px > 4:
        layers += _features(artist)
    return Part(tuple(layers), artist.view.project(artist.joints.head)[1] - 0.04)


def _features(artist: _Artist) -> list[Layer]:
    """Eyes, brows, nose and mouth: small patches of the face."""
    eyes, hair, skin = (40, 30, 30), artist.worn.hair, shaded(artist.worn.skin, 0.82)
    patches = (
        ((1, 0.42, 0.1), (0.14, 0.07), eyes), ((1, -0.42, 0.1), (0.14, 0.07), eyes),
        ((1, 0.44, 0.3), (0.2, 0.045), hair), ((1, -0.44, 0.3), (0.2, 0.045), hair),
        ((1.08, 0.0, -0.15), (0.1, 0.16), skin), ((0.95, 0.0, -0.6), (0.26, 0.06), (150, 70, 66)),
    )  # fmt: skip
    layers = []
    for centre, half, colour in patches:
        corners = np.array(centre) + np.array((0, *half)) * [[0, -1, 0], [0, 0, 1], [0, 1, 0], [0, 0, -1]]
        points, toward = artist.on_head(corners / np.linalg.norm(centre))
        layers.append(Layer(points, colour, shown=toward.mean(axis=1) > 0.2))
    return layers


def prop_part(prop: Prop, joints: Joints, view: View, light: tuple[float, float]) -> Part:
    """A ball or stick as a part."""
    points, depth = view.project(prop_points(prop, joints))
    size, last = prop.radius * view.height_px * view.size(depth), 0 if prop.kind == "ball" else 1
    ends, radii = (points[:, 0], points[:, last] + (0 if last else 1e-6)), (size[:, 0], size[:, last])
    return Part(limb_layers(ends, radii, prop.colour, light), depth.mean(axis=1) - 0.03)
