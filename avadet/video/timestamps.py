"""One clock for the pictures of a recording, whatever its timestamps do.

Three rules, used wherever time is read:

- **Forward steps are believed**, however long: a camera that moves trigger really pauses for ten minutes.
- **A new count goes on from the old** (`Clock`). Where stamps go back - recordings that were joined, a clock that was
  set, 33-bit stamps of MPEG that begin again at zero - the first picture of the new count follows the last one of the
  old by one frame interval. No picture is lost by that, and nobody knows how long it really was.
- **A gap** (`Gaps`) is a pause between two pictures of more than `GAP_S` that is also longer than `GAP_INTERVALS` of
  the frame intervals around it, so that a time-lapse has none. Nothing is said of a gap: it has no keyframe, and
  tracks, events and boxes end there.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from av.format import ContainerFormat
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from avadet.types import Float64Array

GAP_S = 1.0
"""No pause up to this long is a gap, seconds: everything in it is within half a second of a picture."""

GAP_INTERVALS = 4.0
"""No pause of up to so many of the frame intervals around it is a gap."""

DEFAULT_FPS = Fraction(25)
"""Frames a second of a raw stream that says nothing of its rate, by FFmpeg's convention."""

AS_STORED = {"correct_ts_overflow": "0"}
"""Options of `av.open` without which FFmpeg takes a joined MPEG-TS for one of 26.5 hours, the range of its stamps."""

_BEFORE, _AFTER = 8, 4  # frame intervals around a pause that tell whether it is a gap
_REORDER = _AFTER  # pictures held back while their stamps are put in order; the deepest reordering met is 2
_BACK_S = 1.0  # decoding stamps that fall back by more than this are a new count in any container
WRAP = 2**33  # stamps of MPEG streams are counted modulo this
_WRAPPING = {"mpeg", "mpegts"}
_NO_STAMPS = 0x80  # AVFMT_NOTIMESTAMPS: what stamps such a format gives are made up, at 25 pictures a second
_FREE_STAMPS = 0x200  # AVFMT_TS_DISCONT: a format whose stamps may go back, and whose decoding stamps tell where


class Gaps:
    """Tells gaps from ordinary intervals while pictures go by, by the rule of this module."""

    def __init__(self) -> None:
        """Begin without pictures."""
        self._before: deque[float] = deque(maxlen=_BEFORE)

    def is_gap(self, interval_s: float, following_s: Sequence[float] = ()) -> bool:
        """Whether the pause between the last picture and the next one is a gap.

        Args:
            interval_s: the pause, seconds.
            following_s: intervals after it, as far as they are known.
        """
        typical_s = typical([*self._before, interval_s, *following_s])
        self._before.append(interval_s)
        return interval_s > max(GAP_S, GAP_INTERVALS * typical_s)


def near_s(interval_s: float) -> float:
    """How far from a picture a moment may be to have it, seconds: half the longest pause that is no gap.

    Args:
        interval_s: how far apart the pictures are there.
    """
    return max(GAP_S, GAP_INTERVALS * interval_s) / 2


def gaps_between(times_s: Float64Array) -> Float64Array:
    """Gaps in the times of a whole video.

    Args:
        times_s: float64 (n,) seconds, increasing.

    Returns:
        float64 (m, 2): of each gap the times of the pictures before and after it.
    """
    rule, intervals_s = Gaps(), np.diff(times_s)
    long = [
        rule.is_gap(one, intervals_s[index + 1 : index + 1 + _AFTER].tolist()) for index, one in enumerate(intervals_s)
    ]
    return np.stack([times_s[:-1][long], times_s[1:][long]], axis=1) if len(long) else np.zeros((0, 2))


def typical(intervals_s: Sequence[float]) -> float:
    """The interval that a third of them do not exceed: also where every other one is a pause, it is none."""
    return sorted(intervals_s)[(len(intervals_s) - 1) // 3]


class Clock:
    """Lets the stamps of packets go on where a file begins to count anew. Show it every packet, in order.

    A new count begins with a key packet that is shown an interval or more before a picture that came already, or
    where decoding stamps go back: at all in formats made for it (MPEG-TS), by a second elsewhere.

    Attributes:
        restarts: new counts so far.
        first_restart: time of the first picture of the first of them, ticks of the stream; None = there is none.
    """

    def __init__(self, container_format: ContainerFormat, tick_s: Fraction, fps: Fraction) -> None:
        """Begin for a stream of `tick_s` seconds a tick and, by its header, `fps` frames a second."""
        self.restarts = 0
        self.first_restart: int | None = None
        self._has_stamps = not is_raw(container_format)
        self._wraps = wraps(container_format)
        self._back = 0 if has_free_stamps(container_format) else round(_BACK_S / tick_s)
        self._steps: deque[int] = deque([max(round(1 / (fps * tick_s)), 1)], maxlen=_BEFORE)
        self._longest_step = round(GAP_S / tick_s)
        self._ahead: Mapping[int, int] = {}
        self._shift = 0
        self._latest: int | None = None
        self._top: int | None = None
        self._decoding: int | None = None

    def jump(self, shift: int, ahead: Mapping[int, int]) -> None:
        """Go on at another place of the file.

        Args:
            shift: what is to be added to the stamps there, ticks.
            ahead: the same from the packets on with which new counts begin, by their position in the file, bytes.
        """
        self._shift, self._ahead = shift, ahead
        self._latest = self._top = self._decoding = None

    def mend(self, packet: Packet[VideoStream]) -> None:
        """Put the stamps of the next packet on the clock of the first; strip them where they are made up."""
        if not self._has_stamps:
            packet.pts = packet.dts = None
            return
        if packet.pos is not None and packet.pos in self._ahead:
            self.jump(self._ahead[packet.pos], self._ahead)
        if self._wraps:
            self._unwrap(packet)
        stamp, decoding = packet.pts if packet.pts is not None else packet.dts, packet.dts
        if stamp is None:
            return
        if self._begins_anew(packet, stamp):
            self._begin(stamp)
        elif 0 < (step := -self._back_by(decoding)) <= self._longest_step:
            self._steps.append(step)
        self._top = stamp if self._top is None else max(self._top, stamp)
        self._decoding = decoding if decoding is not None else self._decoding
        self._latest = self._top + self._shift
        packet.pts = None if packet.pts is None else packet.pts + self._shift
        packet.dts = None if decoding is None else decoding + self._shift

    def _begins_anew(self, packet: Packet[VideoStream], stamp: int) -> bool:
        if packet.is_keyframe and self._top is not None and stamp <= self._top - typical(self._steps):
            return True
        return self._back_by(packet.dts) > self._back

    def _back_by(self, decoding: int | None) -> int:
        """By how much a decoding stamp is behind the last one, ticks; 0 where either is not known."""
        return 0 if decoding is None or self._decoding is None else self._decoding - decoding

    def _begin(self, stamp: int) -> None:
        """Begin a new count whose first picture has this stamp."""
        assert self._latest is not None
        self._shift = self._latest + int(typical(self._steps)) - stamp
        self.restarts += 1
        if self.first_restart is None:
            self.first_restart = stamp + self._shift
        self._top = None

    def _unwrap(self, packet: Packet[VideoStream]) -> None:
        """Undo the overflow of stamps of 33 bits: on from the last packet's, and both stamps in one range."""
        if packet.dts is None or packet.pts is None:
            return
        if self._decoding is not None:
            turns = round((self._decoding - packet.dts) / WRAP)
            if turns and abs(packet.dts + turns * WRAP - self._decoding) <= self._longest_step:
                packet.dts += turns * WRAP
        packet.pts += round((packet.dts - packet.pts) / WRAP) * WRAP


class Shown(NamedTuple):
    """A picture with its stamp on one clock, seconds, and the stamps of those that follow, as far as they are known."""

    stamp_s: float
    following_s: list[float]
    picture: VideoFrame


def in_order(pictures: Iterator[VideoFrame], period_s: float) -> Generator[Shown, None, None]:
    """Pictures as the decoder gives them, each with the earliest of the stamps at hand.

    Decoders hand pictures out in the order they are shown, so where stamps disagree with that order they are wrong
    (AVI files with B-frames). A picture without a stamp follows the latest by `period_s`.
    """
    stamps_s: list[float] = []
    waiting: deque[VideoFrame] = deque()
    latest_s = -period_s
    for picture in pictures:
        stamp_s = stamp_of(picture)
        stamp_s = latest_s + period_s if stamp_s is None else stamp_s
        latest_s = max(latest_s, stamp_s) if waiting else stamp_s
        heapq.heappush(stamps_s, stamp_s)
        waiting.append(picture)
        if len(waiting) > _REORDER:
            yield Shown(heapq.heappop(stamps_s), sorted(stamps_s), waiting.popleft())
    while waiting:
        yield Shown(heapq.heappop(stamps_s), sorted(stamps_s), waiting.popleft())


def stamp_of(picture: VideoFrame) -> float | None:
    """The stamp of a picture, seconds; None = it has none."""
    ticks = picture.pts if picture.pts is not None else picture.dts
    return None if ticks is None or picture.time_base is None else float(ticks * picture.time_base)


def wraps(container_format: ContainerFormat) -> bool:
    """Whether a format counts its stamps modulo `WRAP`."""
    return bool(_WRAPPING & set(container_format.name.split(",")))


def has_free_stamps(container_format: ContainerFormat) -> bool:
    """Whether a format is made for stamps that go back, so that its own seeking cannot be trusted."""
    return bool(container_format.flags & _FREE_STAMPS)


def is_raw(container_format: ContainerFormat) -> bool:
    """Whether a format is a bare stream of pictures (.h264, .m2v, ...) without stamps or a rate of its own."""
    return bool(container_format.flags & _NO_STAMPS) or container_format.name.endswith("_pipe")


def own_rate(stream: VideoStream) -> Fraction | None:
    """The frame rate that a stream itself gives, by its codec in a raw stream; None where it gives none.

    FFmpeg's own guesses are left aside there: it takes every raw stream for one of 25 frames a second.
    """
    if is_raw(stream.container.format):
        rates: list[Fraction | None] = [stream.codec_context.framerate]
    else:
        rates = [stream.average_rate, stream.guessed_rate, stream.base_rate]
    return next((Fraction(rate) for rate in rates if rate and Fraction(1, 1000) <= rate <= 1000), None)


def seen_rate(stream: VideoStream, interval_s: float) -> Fraction:
    """The frame rate of the pictures between gaps: the stream's, unless its first pictures show that it is another.

    The average that a header gives is over gaps as well: 36 pictures with ten minutes between them are not 0.06 frames
    a second.

    Args:
        stream: an open stream.
        interval_s: typical time between its first pictures, seconds; 0.0 = not known.
    """
    own = own_rate(stream) or DEFAULT_FPS
    if interval_s <= 0 or is_raw(stream.container.format) or 2 / 3 < own * interval_s < 3 / 2:
        return own
    guessed = stream.guessed_rate
    if guessed and 0.9 < guessed * interval_s < 1.1:
        return Fraction(guessed)
    return own if 1 / 4 < own * interval_s < 4 else Fraction(1 / interval_s).limit_denominator(1001)
