"""Reading a folder of images as a video: frame n is the image of number n, at n / fps seconds.

Each image is decoded when it is asked for, as image viewers and OpenCV show it: turned as its EXIF orientation says,
grey and CMYK as RGB, 16 bits brought down to 8, transparency ignored. A file that does not decode, ends early or is
missing is a damaged frame. JPEG has no checksum: wrong bytes within one that still decodes are not noticed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from avadet.errors import AvadetError
from avadet.types import Float64Array, Frame, UInt8Array, VideoInfo
from avadet.video.image_names import ImageSequence, video_id_of
from avadet.video.reader import Closing, Picture
from avadet.video.timestamps import Gaps

_SAME_S = 1e-6  # moments closer than this are one
_NAMED = 5  # faulty images that are kept by name
_AHEAD = 4  # intervals after a pause that tell whether it is a gap


class BadImage(AvadetError):
    """An image that cannot be used."""


class _Damaged(BadImage):
    """An image that is missing or does not decode."""


class ImageReader(Closing):
    """A folder of images, to be walked through from the start or from any moment; as `video.read.VideoReader`.

    Attributes:
        info: what is known of the video; its `display_notes` say what was assumed of names, and what is missing.
        tick_s: what times are counted in, seconds.
        faulty: the first few images that were damaged or missing where a walk wanted them, by name.
        times_s: float64 (n,) seconds, of the images that are there.
    """

    dropped = restarts = unread_bytes = 0
    restart_s = math.inf
    ended_early_s = 0.0
    rate_is_assumed = False

    def __init__(self, sequence: ImageSequence, path: Path | None = None) -> None:
        """List the folder and decode the first image that can be.

        Args:
            sequence: which images.
            path: what the user called it; None = the folder.

        Raises:
            AvadetError: if there is no such folder, its images are no series, or none decodes.
        """
        if not 0.001 <= sequence.fps <= 1000:
            raise AvadetError(f"a frame rate must lie between 0.001 and 1000 frames per second, got {sequence.fps:g}")
        self._path = path or sequence.folder
        self._names = sequence.names()
        self._fps = Fraction(sequence.fps).limit_denominator(1001)
        self._damaged: set[int] = set()
        self._size: tuple[tuple[int, int], str] | None = None
        self.faulty: list[str] = []
        self.tick_s = Fraction(1, self._fps.numerator)
        self._there = self._names.indices
        self.times_s: Float64Array = self._there / float(self._fps)
        self._kept = self._first()
        count = len(self._names)
        self.info = VideoInfo(
            path=self._path,
            size_hw=(self._kept[1].shape[0], self._kept[1].shape[1]),
            fps=self._fps,
            num_frames=count,
            start_s=0.0,
            duration_s=float(count / self._fps),
            display_notes=self._names.notes,
            name=video_id_of(self._path),
        )

    def close(self) -> None:
        """Nothing stays open; as of other readers."""

    @property
    def damaged(self) -> int:
        """Images met so far that are missing or do not decode."""
        return len(self._damaged)

    def frames(self, start_s: float = 0.0) -> Iterator[Frame]:
        """Walk through the frames, as `VideoReader.frames`; damaged and missing images are passed over and counted.

        Raises:
            AvadetError: while walking, at an image of another size than the first.
        """
        there, rule, last = self._there, Gaps(), -1
        first = self._row_on_show(start_s)
        for row in range(first, len(there)):
            index = int(there[row])
            if row > first or row == 0:
                self._note_missing(int(there[row - 1]) + 1 if row else 0, index)
            try:
                image = self.image(index)
            except _Damaged:
                continue
            following_s = np.diff(self.times_s[row : row + _AHEAD + 1]).tolist()
            after_gap = last >= 0 and rule.is_gap(self._time_s(index) - self._time_s(last), following_s)
            yield Frame(image, self._time_s(index), index, after_gap)
            last = index

    def pictures(self, start_s: float = 0.0) -> Iterator[Picture]:
        """Walk through all numbers from the one on show at a moment on; asking for a missing image raises."""
        for index in range(self._on_show(start_s), len(self._names)):
            yield Picture(self._time_s(index), partial(self.image, index))

    def image(self, index: int) -> UInt8Array:
        """The image of a frame, uint8 (H, W, 3) RGB.

        Raises:
            AvadetError: if it is missing, damaged, or of another size than the first.
        """
        if index == self._kept[0]:
            return self._kept[1].copy()
        path = self._names.path(index)
        try:
            if path is None:
                raise _Damaged(f"{self._path} has {self._names.label(index)}, frame {index}; restore or extract it")
            image = decoded(path)
        except _Damaged:
            self._note(index)
            raise
        size_hw = (image.shape[0], image.shape[1])
        self._size = self._size or (size_hw, path.name)
        if size_hw != self._size[0]:
            (height, width), first = self._size
            raise BadImage(
                f"{self._path}: {path.name} has {size_hw[1]}x{size_hw[0]} px and {first} {width}x{height}; the frames "
                "of a video have one size: are these images of several videos? choose some by a pattern, or resize them"
            )
        return image

    def _first(self) -> tuple[int, UInt8Array]:
        """The first image that decodes, and its index."""
        self._kept = (-1, np.zeros((0, 0, 3), np.uint8))
        reason = ""
        for index in self._there.tolist():
            try:
                return index, self.image(index)
            except _Damaged as error:
                reason = reason or str(error)
        raise AvadetError(f"none of the {len(self._there)} images of {self._path} can be decoded: {reason}")

    def _time_s(self, index: int) -> float:
        return index * self._fps.denominator / self._fps.numerator

    def _on_show(self, start_s: float) -> int:
        """Number of the last frame at or before a moment."""
        return min(max(math.floor((start_s + _SAME_S) * float(self._fps)), 0), len(self._names) - 1)

    def _row_on_show(self, start_s: float) -> int:
        """Where a walk over the images that are there begins: at the last one at or before a moment that decodes."""
        there = self._there
        row = max(int(np.searchsorted(there, self._on_show(start_s), side="right")) - 1, 0)
        for earlier in range(row, -1, -1):
            try:
                self.image(int(there[earlier]))
                return earlier
            except _Damaged:
                continue
        return row

    def _note_missing(self, start: int, stop: int) -> None:
        for index in range(start, stop):
            if index not in self._damaged:
                self._note(index)

    def _note(self, index: int) -> None:
        if index not in self._damaged and len(self.faulty) < _NAMED:
            self.faulty.append(self._names.label(index))
        self._damaged.add(index)


def decoded(path: Path) -> UInt8Array:
    """An image file as uint8 (H, W, 3) RGB, upright.

    Raises:
        AvadetError: if it is missing, no image, or damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _Damaged(f"cannot read the image {path}: {error.strerror}") from error
    if not data or ends_early(data):
        raise _Damaged(f"{path} is cut short, {len(data)} bytes; fetch or extract the image again")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise _Damaged(f"{path} cannot be decoded: {' '.join(str(error).split())}") from error
    if image is None:
        raise _Damaged(f"{path} is no image that can be decoded; it is damaged, or something else")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def ends_early(data: bytes) -> bool:
    """Whether an image file lacks its end, of which some decoders say nothing and fill up what they miss."""
    if data[:2] == b"\xff\xd8":
        return not data.endswith(b"\xff\xd9") and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    if data[:4] == b"\x89PNG":
        return b"IEND" not in data[-4096:] and b"IEND" not in data
    if data[:4] == b"RIFF":
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    return data[:2] == b"BM" and len(data) < int.from_bytes(data[2:6], "little")
