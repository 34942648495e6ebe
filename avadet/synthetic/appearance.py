"""What a person wears, and the colours of skin, hair and cloth, uint8 RGB."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]

SKIN: tuple[Colour, ...] = (
    (241, 205, 178), (228, 184, 152), (212, 162, 124), (186, 134, 98), (150, 102, 70), (110, 74, 52), (78, 54, 42),
)  # fmt: skip
HAIR: tuple[Colour, ...] = (
    (28, 24, 22), (48, 36, 28), (82, 58, 38), (120, 84, 50), (184, 148, 94), (212, 184, 130), (140, 140, 138),
    (126, 62, 36),
)  # fmt: skip
TROUSERS: tuple[Colour, ...] = (
    (36, 44, 70), (60, 76, 112), (30, 30, 34), (70, 70, 74), (122, 108, 82), (150, 140, 116), (88, 62, 46),
    (200, 200, 196), (44, 56, 44),
)  # fmt: skip
SHOES: tuple[Colour, ...] = ((30, 28, 28), (230, 228, 224), (96, 66, 44), (60, 62, 70), (170, 50, 46))


@dataclass(frozen=True)
class Appearance:
    """One person's colours and clothes.

    Attributes:
        skin, hair, shirt, bottom, shoes: colours.
        second: colour of stripes, print, jacket opening and cap.
        hair_style: "short", "bald" or "cap".
        sleeves: "long", "short" or "none".
        legs: "covered" by trousers, or "bare" below the knee.
        pattern: "plain", "stripes", "print" or "jacket".
        light: float (2,), where the light comes from, image axes (x right, y down).
    """

    skin: Colour
    hair: Colour
    shirt: Colour
    second: Colour
    bottom: Colour
    shoes: Colour
    hair_style: str
    sleeves: str
    legs: str
    pattern: str
    light: tuple[float, float]


def shaded(colour: Colour, gain: float) -> Colour:
    """A colour made lighter or darker, kept in 0-255."""
    red, green, blue = (min(255, max(0, round(c * gain))) for c in colour)
    return red, green, blue


def _near(rng: np.random.Generator, palette: tuple[Colour, ...], spread: int = 12) -> Colour:
    """One of the palette's colours, a little off."""
    red, green, blue = np.clip(palette[int(rng.integers(len(palette)))] + rng.integers(-spread, spread + 1, 3), 0, 255)
    return int(red), int(green), int(blue)


def cloth_colour(rng: np.random.Generator) -> Colour:
    """A colour of clothing: mostly muted, sometimes strong, often grey, black or white."""
    if rng.random() < 0.3:
        grey = int(rng.choice([25, 60, 120, 180, 235]))
        return _near(rng, ((grey, grey, grey),), 10)
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.15, 0.85), rng.uniform(0.25, 0.95))
    return int(255 * red), int(255 * green), int(255 * blue)


def random_appearance(rng: np.random.Generator) -> Appearance:
    """Dress a person."""
    angle = rng.uniform(-2.6, -0.5)
    return Appearance(
        skin=_near(rng, SKIN),
        hair=_near(rng, HAIR),
        shirt=cloth_colour(rng),
        second=cloth_colour(rng),
        bottom=_near(rng, TROUSERS) if rng.random() < 0.75 else cloth_colour(rng),
        shoes=_near(rng, SHOES),
        hair_style=str(rng.choice(["short", "bald", "cap"], p=[0.83, 0.07, 0.1])),
        sleeves=str(rng.choice(["long", "short", "none"], p=[0.5, 0.4, 0.1])),
        legs=str(rng.choice(["covered", "bare"], p=[0.72, 0.28])),
        pattern=str(rng.choice(["plain", "stripes", "print", "jacket"], p=[0.45, 0.15, 0.2, 0.2])),
        light=(float(np.cos(angle)), float(np.sin(angle))),
    )
