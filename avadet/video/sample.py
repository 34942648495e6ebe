"""From frames to the clips that models look at: which frames to take, how large.

A clip is sampled in time, not by counting frames, so that a model trained at 30 fps sees the same motion in a video
of any rate. For a video of constant rate equal to the spec's this gives PySlowFast's indices
`range(c - T * stride / 2, c + T * stride / 2, stride)` with the edges repeated, for even T.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from avadet.errors import AvadetError
from avadet.types import Clip, ClipSpec, Float64Array, Frame, IntArray, UInt8Array
from avadet.video.reader import Reader

SNAP_S = 0.25
"""A clip is centred on the frame nearest to the keyframe time if that lies within this many seconds."""

_TIE = 0.05  # part of the gap between two frames by which the later one must win


def resize_short(image: UInt8Array, short_side: int, long_side: int = 0) -> UInt8Array:
    """Resize so that the shorter side has `short_side` px; the other side keeps the aspect ratio, rounded down.

    Bilinear on uint8 without antialiasing, as PySlowFast's test path does.

    Args:
        image: uint8 (H, W, 3).
        short_side: px.
        long_side: px at most of the longer side, which then decides; 0 = no limit.

    Returns:
        uint8 (H', W', 3); the image itself if it already has that size.
    """
    height, width = image.shape[:2]
    size_hw = resized_hw((height, width), short_side, long_side)
    if size_hw == (height, width):
        return image
    return np.asarray(cv2.resize(image, size_hw[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def resized_hw(size_hw: tuple[int, int], short_side: int, long_side: int = 0) -> tuple[int, int]:
    """(height, width) px that `resize_short` gives for an image of `size_hw`."""
    short, long = min(size_hw), max(size_hw)
    new_short, new_long = short_side, math.floor(long / short * short_side)
    if long_side and new_long > long_side:
        new_short, new_long = max(math.floor(short / long * long_side), 1), long_side
    return (new_short, new_long) if size_hw[0] <= size_hw[1] else (new_long, new_short)


def nearest_indices(times_s: Float64Array, wanted_s: Float64Array) -> IntArray:
    """Which frame is nearest to each wanted moment.

    Halfway between two frames the earlier one is taken, and the later one must win by more than rounding: files
    store times in whole milliseconds, and 29.97 is not 30. Without that margin a clip whose moments all fall
    halfway between frames would skip and repeat frames by chance.

    Args:
        times_s: float64 (n,), n >= 1, increasing.
        wanted_s: float64 (m,). Before the first and after the last frame the edge is repeated.

    Returns:
        int64 (m,), positions in `times_s`.
    """
    after = np.searchsorted(times_s, wanted_s)
    later = np.clip(after, 0, len(times_s) - 1)
    earlier = np.clip(after - 1, 0, len(times_s) - 1)
    gap_s = times_s[later] - times_s[earlier]
    wins = wanted_s - times_s[earlier] > (0.5 + _TIE) * gap_s
    return np.where(wins, later, earlier).astype(np.int64)


def clip_indices(times_s: Float64Array, time_s: float, spec: ClipSpec) -> IntArray:
    """Which frames make the clip around a keyframe.

    The clip is centred on the frame nearest to `time_s` (within `SNAP_S`) rather than on `time_s` itself: that is the
    frame in which people are found, and all T frames then lie at whole steps from it.

    Args:
        times_s: float64 (n,), n >= 1, increasing times of the frames at hand.
        time_s: the keyframe, seconds.
        spec: what the model wants to see.

    Returns:
        int64 (T,), positions in `times_s`, not decreasing.
    """
    nearest_s = times_s[nearest_indices(times_s, np.array([time_s]))[0]]
    centre_s = nearest_s if abs(nearest_s - time_s) <= SNAP_S else time_s
    return nearest_indices(times_s, centre_s + spec.offsets_s())


class ClipBuffer:
    """The frames of a stream that clips still need, resized once as they come in.

    Add every frame; when `is_ready(t)` says so, or the stream has ended, take `clip(t)`; then tell the next keyframe
    by `forget_before`. Memory stays at the frames of one clip, however far apart keyframes are: frames that no
    clip from the next keyframe on can need are neither resized nor kept.
    """

    def __init__(self, spec: ClipSpec) -> None:
        """Make an empty buffer for clips of `spec`."""
        self._spec = spec
        self._reach_s = float(spec.offsets_s()[0]), float(spec.offsets_s()[-1])
        self._needed_from_s = -math.inf
        self._images: list[UInt8Array] = []
        self._times_s: list[float] = []
        self._early: Frame | None = None

    def __len__(self) -> int:
        """Number of frames held."""
        return len(self._images) + (self._early is not None)

    def add(self, frame: Frame) -> None:
        """Take the next frame of the stream; times must increase.

        Raises:
            AvadetError: if the frame is not later than the last one.
        """
        if self._last_s() >= frame.time_s:
            raise AvadetError(f"frames must come in time, got {frame.time_s} s after {self._last_s()} s")
        if frame.time_s <= self._needed_from_s:
            self._early = frame  # the only frame at hand yet: an edge, should nothing come after it
            return
        if self._early is not None:
            self._keep(self._early)
            self._early = None
        self._keep(frame)

    def _keep(self, frame: Frame) -> None:
        self._images.append(resize_short(frame.image, self._spec.short_side, self._spec.long_side))
        self._times_s.append(frame.time_s)

    def _last_s(self) -> float:
        if self._early is not None:
            return self._early.time_s
        return self._times_s[-1] if self._times_s else -math.inf

    def is_ready(self, time_s: float) -> bool:
        """Whether every frame that the clip around `time_s` needs has been seen, so that none to come changes it."""
        last_s = self._last_s()
        if last_s < time_s or not self._times_s:
            return False
        times_s = np.array(self._times_s)
        centre_s = times_s[nearest_indices(times_s, np.array([time_s]))[0]]
        return bool(last_s >= max(centre_s, time_s) + self._reach_s[1])

    def clip(self, time_s: float) -> Clip:
        """The clip around `time_s` from the frames seen so far; where frames are missing the edge is repeated.

        Raises:
            AvadetError: if no frame has been added.
        """
        if self._early is not None:
            self._keep(self._early)
            self._early = None
        if not self._images:
            raise AvadetError("no frame to make a clip of; add frames first")
        times_s = np.array(self._times_s)
        indices = clip_indices(times_s, time_s, self._spec)
        frames = np.stack([self._images[index] for index in indices])
        return Clip(frames, times_s[indices], self._spec.num_frames // 2)

    def forget_before(self, time_s: float) -> None:
        """Drop what no clip around `time_s` or a later moment needs, now and in frames still to come."""
        self._needed_from_s = max(self._needed_from_s, time_s - SNAP_S + self._reach_s[0])
        first = int(np.searchsorted(np.array(self._times_s), self._needed_from_s, side="right")) - 1
        if first > 0:  # the last frame at or before that moment may be the nearest one to it
            del self._images[:first], self._times_s[:first]


def read_clip(reader: Reader, time_s: float, spec: ClipSpec) -> Clip:
    """The clip around any moment of a video, reading only what it needs.

    Args:
        reader: an open video.
        time_s: the keyframe, seconds after the first frame of the file.
        spec: what the model wants to see.

    Returns:
        the same clip that `ClipBuffer` gives for the whole video; where frames are missing the edge is repeated.
    """
    buffer = ClipBuffer(spec)
    buffer.forget_before(time_s)
    for frame in reader.frames(time_s - SNAP_S + float(spec.offsets_s()[0])):
        buffer.add(frame)
        if buffer.is_ready(time_s):
            break
    return buffer.clip(time_s)
