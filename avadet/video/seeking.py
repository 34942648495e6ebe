"""Where a walk may enter a file whose clock begins anew, or may.

Seeking trusts that stamps increase. In MPEG-TS and its like nobody can tell without reading all packets; that is done
once, without decoding, when a moment other than the start is first asked for. It gives the places of all key packets,
so a walk enters at the right one, wherever it lies and whatever its stamps say. Elsewhere stamps can only go back
behind what the file's index knows, where recordings were joined; only the packets from there on are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from avadet.types import IntArray
from avadet.video.timestamps import DEFAULT_FPS, Clock, has_free_stamps, own_rate

_MOST_FOUND = 256
_FOUND: dict[tuple[Path, int, int], Places] = {}
_TAIL_BYTES = 8 * 2**20  # behind the last packet of a recording stand its sound, its index and notes
_BEGINNINGS = ((b"\x1a\x45\xdf\xa3", 0), (b"FLV\x01", 0), (b"ftypisom", 4), (b"ftypmp4", 4), (b"ftypqt", 4))
"""How files begin whose readers end with the first recording, and how far into the file the mark stands, bytes."""

_FAR = 2**48  # ticks, later than any picture


class Place(NamedTuple):
    """Where to enter: a position in the file, bytes, and what is to be added to the stamps from there on, ticks."""

    position: int
    shift: int


@dataclass(frozen=True)
class Places:
    """The key packets of a file, in order.

    Attributes:
        restarts: whether stamps begin anew somewhere.
        stamps: on one clock, int64 (n,) ticks; none where the file's own index serves.
        positions: in the file, int64 (n,) bytes.
        shifts: what is to be added to stamps from there on, int64 (n,) ticks.
        ahead: the position of each packet with which a new count begins, and the shift from there on.
    """

    restarts: bool = False
    stamps: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    positions: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    shifts: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    ahead: dict[int, int] = field(default_factory=dict)

    def before(self, stamp: float) -> list[Place]:
        """The last two key packets shown at or before a moment, ticks, the nearer one first."""
        last = int(np.searchsorted(self.stamps, stamp, side="right"))
        return [
            Place(int(self.positions[index]), int(self.shifts[index]))
            for index in range(last - 1, max(last - 3, -1), -1)
        ]


def clock_of(container: InputContainer, stream: VideoStream) -> Clock:
    """A clock for a walk over an open file."""
    return Clock(container.format, stream.time_base or Fraction(1, 1_000_000), own_rate(stream) or DEFAULT_FPS)


def places_of(path: Path, open_file: Callable[[], tuple[InputContainer, VideoStream]]) -> Places:
    """Look for new counts in a file; what is found is remembered as long as the file does not change.

    Args:
        path: the file.
        open_file: opens it anew and gives the stream that is read; called at most once.
    """
    state = path.stat()
    key = (path, state.st_size, state.st_mtime_ns)
    if key not in _FOUND:
        container, stream = open_file()
        try:
            found = _all_places(container, stream) if has_free_stamps(container.format) else _end(container, stream)
        finally:
            container.close()
        while len(_FOUND) >= _MOST_FOUND:
            _FOUND.pop(next(iter(_FOUND)), None)
        _FOUND[key] = found
    return _FOUND[key]


def _all_places(container: InputContainer, stream: VideoStream) -> Places:
    """Read every packet."""
    clock = clock_of(container, stream)
    rows: list[tuple[int, int, int]] = []
    ahead: dict[int, int] = {}
    for packet in readable(container.demux(stream)):
        before, restarts = packet.dts, clock.restarts
        clock.mend(packet)
        if before is None or packet.dts is None or packet.pts is None or packet.pos is None:
            continue
        shift = packet.dts - before
        if clock.restarts > restarts:
            ahead[packet.pos] = shift
        if packet.is_keyframe:
            rows.append((packet.pts, packet.pos, shift))
    stamps, positions, shifts = np.array(rows, np.int64).reshape(-1, 3).T
    return Places(clock.restarts > 0, np.maximum.accumulate(stamps) if len(rows) else stamps, positions, shifts, ahead)


def _end(container: InputContainer, stream: VideoStream) -> Places:
    """Read the packets behind the last place that the index knows."""
    clock = clock_of(container, stream)
    try:
        container.seek(_FAR, stream=stream)
    except (FFmpegError, OverflowError):
        return Places()  # what cannot be sought is walked through
    for packet in readable(container.demux(stream)):
        clock.mend(packet)
    return Places(clock.restarts > 0)


def readable(packets: Iterator[Packet[VideoStream]]) -> Iterator[Packet[VideoStream]]:
    """The packets that hold something, up to where a file cannot be read on."""
    try:
        yield from (packet for packet in packets if packet.size)
    except FFmpegError:
        return


def bytes_behind(path: Path, position: int) -> int:
    """Bytes of another recording that was joined to a file behind the last packet that FFmpeg reads of it; 0 = none.

    Args:
        path: the file.
        position: of the last packet, bytes.
    """
    size = path.stat().st_size
    if not 0 <= position < size:
        return 0
    with path.open("rb") as file:
        file.seek(position)
        tail = file.read(_TAIL_BYTES)
    begins = [found - early for mark, early in _BEGINNINGS if (found := tail.find(mark, early + 1)) >= 0]
    return size - position - min(begins) if begins else 0
