"""One pass through an open video file, packet by packet: a bad packet costs a few pictures and not the rest."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from avadet.video.display import Display
from avadet.video.opening import opened
from avadet.video.seeking import Place, clock_of
from avadet.video.timestamps import DEFAULT_FPS, Shown, in_order, is_raw, own_rate, stamp_of, typical

_GIVE_UP = 8  # read errors in a row; after one or two some containers find their way back


class Pass:
    """One walk through an open file: packets, pictures, timestamps in order; `Reader`s keep it to themselves."""

    def __init__(self, path: Path, threads: int) -> None:
        """Open a file; `threads` as of `VideoReader`."""
        self.container, self.stream = opened(path)
        self.stream.thread_type = "AUTO"
        self.stream.codec_context.thread_count = threads
        self.period_s = float(1 / (own_rate(self.stream) or DEFAULT_FPS))
        self.is_raw = is_raw(self.container.format)
        self.clock = clock_of(self.container, self.stream)
        self.damaged = 0
        self.display = Display(self.stream)
        self._begin()

    def _begin(self) -> None:
        self.guessed = False
        self._peeked: Shown | None = None
        self._entry: int | None = None
        self.position = -1
        self._rest = in_order(self._pictures(), self.period_s)

    def stop(self) -> None:
        """End the walk; the file stays open for the next."""
        self._rest.close()
        self._peeked = None

    def close(self) -> None:
        """Close the file."""
        self._rest.close()
        self.container.close()

    def seek(self, stamp_s: float) -> bool:
        """Go to the keyframe before a moment of the container's own clock; False if the file cannot seek."""
        return self._go(round(stamp_s / (self.stream.time_base or 1)), stream=self.stream)

    def enter(self, place: Place, ahead: Mapping[int, int]) -> bool:
        """Go to a key packet of known position; False if the format does not lead there."""
        return self._go(place.position, place, ahead, unsupported_byte_offset=True)

    def _go(self, offset: int, place: Place | None = None, ahead: Mapping[int, int] | None = None, **how: Any) -> bool:
        try:
            self.container.seek(offset, **how)
        except FFmpegError:
            return False
        self._rest.close()
        self._begin()
        self._entry = place.position if place is not None else None
        self.clock.jump(place.shift if place is not None else 0, ahead or {})
        return not math.isinf(self.first_stamp_s()) and not self.guessed

    def first_stamp_s(self) -> float:
        """Timestamp of the next picture, which is kept; infinite if there is none."""
        if self._peeked is None:
            self._peeked = next(self._rest, None)
        return self._peeked.stamp_s if self._peeked else math.inf

    def first_interval_s(self) -> float:
        """Typical time between the next pictures, seconds; 0.0 = not known."""
        known = [] if self._peeked is None else intervals_of([self._peeked.stamp_s, *self._peeked.following_s])
        return typical(known) if known else 0.0

    def shown(self) -> Iterator[Shown]:
        """Pictures in the order they are shown, with their timestamps on one clock."""
        if self._peeked is not None:
            peeked, self._peeked = self._peeked, None
            yield peeked
        yield from self._rest

    def _pictures(self) -> Iterator[VideoFrame]:
        """Every picture that decodes; errors are counted and passed over."""
        for packet in self._packets():
            try:
                pictures = self.stream.decode(packet)
            except av.error.EOFError:
                return
            except FFmpegError:
                self.damaged += 1
                continue
            for picture in pictures:
                self.damaged += bool(picture.is_corrupt)
                self.guessed = self.guessed or stamp_of(picture) is None
                yield picture

    def _packets(self) -> Iterator[Packet[VideoStream] | None]:
        """Packets of the stream, then None to empty the decoder; a file that cannot be read on ends here."""
        errors = 0
        while errors < _GIVE_UP:
            try:
                for packet in self.container.demux(self.stream):
                    errors = 0
                    if self._entry not in (None, packet.pos):
                        return  # elsewhere than meant to
                    self._entry = None
                    self.position = packet.pos if packet.size and packet.pos is not None else self.position
                    self.clock.mend(packet)
                    yield packet
                return
            except FFmpegError:
                self.damaged += 1
                errors += 1
        yield None

    def first_picture(self) -> VideoFrame:
        """The next picture, which is kept."""
        assert self._peeked is not None
        return self._peeked.picture


def intervals_of(stamps_s: Sequence[float]) -> list[float]:
    """The times between stamps in order, seconds; none between equal ones."""
    return [after - before for before, after in itertools.pairwise(stamps_s) if after > before]
