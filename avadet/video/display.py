"""A decoded picture as a player shows it: upright, with square pixels, in the colours of an ordinary screen.

The one way from decoded pictures to images, for files, streams and training clips alike.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import cv2
import numpy as np
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from avadet.types import UInt8Array
from avadet.video.colour import ColourTags, rgb_of, side_data

MOST_STRETCHED = 8
"""Pixels more than this many times as wide as high, or as high as wide, are taken for a slip of the header."""

_SQUARE = 0.01  # pixels nearer to square than this are taken as square: nothing is gained by resampling
_TOLERANCE_DEGREES = 1.0  # a display matrix further from a right angle than this is rounded, which is said


class Orientation(NamedTuple):
    """How the axes of a coded picture lie on the screen: first they are swapped, then mirrored.

    Attributes:
        swapped: whether rows become columns.
        left_right: whether left and right change places, after swapping.
        top_bottom: whether top and bottom do.
        off_degrees: by how much the display matrix differs from this.
    """

    swapped: bool = False
    left_right: bool = False
    top_bottom: bool = False
    off_degrees: float = 0.0

    @classmethod
    def of(cls, picture: VideoFrame) -> Orientation:
        """The one of the eight nearest to the picture's display matrix; as coded where there is none to go by."""
        data = side_data(picture, Type.DISPLAYMATRIX)
        if len(data) < 36:
            return cls.turned(picture.rotation)
        matrix = np.frombuffer(data[:36], np.int32).reshape(3, 3)[:2, :2].astype(np.float64)
        lengths = np.hypot(matrix[:, 0], matrix[:, 1])
        if not lengths.all() or not np.linalg.det(matrix):
            return cls()
        x_axis, y_axis = matrix / lengths[:, None]  # where the coded x and y axes point to on the screen, y downward
        straight, swapped = abs(x_axis[0]) + abs(y_axis[1]), abs(x_axis[1]) + abs(y_axis[0])
        off_degrees = math.degrees(math.acos(min(max(straight, swapped) / 2, 1)))
        if swapped > straight:
            return cls(True, bool(y_axis[0] < 0), bool(x_axis[1] < 0), off_degrees)
        return cls(False, bool(x_axis[0] < 0), bool(y_axis[1] < 0), off_degrees)

    @classmethod
    def turned(cls, degrees: float) -> Orientation:
        """Turned by the nearest right angle, counterclockwise."""
        quarters = round(degrees / 90) % 4
        return cls(quarters % 2 == 1, quarters in (2, 3), quarters in (1, 2))

    @property
    def is_mirrored(self) -> bool:
        """Whether no turning alone does it."""
        return self.swapped ^ self.left_right ^ self.top_bottom

    def notes(self) -> list[str]:
        """What is out of the ordinary, in words."""
        said = ["pictures are mirrored, as the display matrix says"] if self.is_mirrored else []
        if self.off_degrees >= _TOLERANCE_DEGREES / 2:
            said.append(f"the display matrix is {self.off_degrees:.0f} degrees off a right angle and taken as that one")
        return said

    def applied(self, image: UInt8Array) -> UInt8Array:
        """An image (H, W, 3) as it lies on the screen."""
        if self.swapped:
            image = np.asarray(cv2.transpose(image), np.uint8)
        if self.left_right or self.top_bottom:
            axis = -1 if self.left_right and self.top_bottom else 1 if self.left_right else 0
            image = np.asarray(cv2.flip(image, axis), np.uint8)
        return image


class Display:
    """Shows the pictures of one stream, in the hands of one thread at a time.

    Orientation and colours are asked of every picture; the shape of pixels of the container, else of the codec, once.
    """

    def __init__(self, stream: VideoStream) -> None:
        """Take over what the stream says for all pictures."""
        self._codec = stream.codec_context
        said = stream.sample_aspect_ratio or self._codec.sample_aspect_ratio
        self._said_aspect = Fraction(said) if said else Fraction(1)
        self._aspect = pixel_aspect(self._said_aspect)
        self._reformatter = VideoReformatter()

    def size_hw(self, picture: VideoFrame) -> tuple[int, int]:
        """(height, width) px of a picture as shown."""
        height, width = stretched_hw((picture.height, picture.width), self._aspect)
        return (width, height) if Orientation.of(picture).swapped else (height, width)

    def image(self, picture: VideoFrame, size_hw: tuple[int, int] | None = None) -> UInt8Array:
        """A picture as shown.

        Args:
            picture: as decoded.
            size_hw: (height, width) px wanted; None = `Display.size_hw` of the picture.

        Returns:
            uint8 (H, W, 3) RGB, full range, BT.709, upright, square pixels.
        """
        image = Orientation.of(picture).applied(rgb_of(picture, ColourTags.of(picture, self._codec), self._reformatter))
        size_hw = size_hw or self.size_hw(picture)
        if image.shape[:2] != size_hw:
            image = np.asarray(cv2.resize(image, size_hw[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
        return image

    def notes(self, picture: VideoFrame) -> tuple[str, ...]:
        """What is done to show a picture that users may want to know, in words; nothing for an ordinary one."""
        said = Orientation.of(picture).notes()
        shape = f"{self._said_aspect.numerator}:{self._said_aspect.denominator}"
        if self._aspect != 1:
            height, width = stretched_hw((picture.height, picture.width), self._aspect)
            said.append(f"pixels of {shape} are made square: {picture.width}x{picture.height} becomes {width}x{height}")
        elif self._said_aspect != 1 and not _is_square(self._said_aspect):
            said.append(f"pixels of {shape} cannot be and are taken as square")
        return (*said, *ColourTags.of(picture, self._codec).notes())


def pixel_aspect(said: Fraction) -> Fraction:
    """Width to height of pixels; 1 where it is unknown, next to 1, or beyond belief.

    Args:
        said: the sample aspect ratio of a header; 0 or less = unknown.
    """
    believable = said > 0 and max(said, 1 / said) <= MOST_STRETCHED
    return said if believable and not _is_square(said) else Fraction(1)


def _is_square(aspect: Fraction) -> bool:
    return abs(aspect - 1) < _SQUARE


def stretched_hw(size_hw: tuple[int, int], aspect: Fraction) -> tuple[int, int]:
    """(height, width) px with square pixels: the side that is too short grows, so that no detail is lost.

    Args:
        size_hw: (height, width) px as coded.
        aspect: width to height of a pixel.
    """
    height, width = size_hw
    return (height, round(width * aspect)) if aspect >= 1 else (round(height / aspect), width)
