"""One connection to a camera or stream: opened in bounded time, its pictures given as they come."""

from __future__ import annotations

import errno
import hashlib
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from avadet.errors import AvadetError
from avadet.urls import scheme_of
from avadet.video.containers import open_input
from avadet.video.display import Display
from avadet.video.sources import is_web, shown_name

TIMEOUT_S = 10.0
"""A source that cannot be opened, or sends nothing, for this long is given up."""

FILE_AHEAD_S = 1.5
"""What a web server sends this much sooner than it can have been taken is a recording, seconds."""

WAITED_S = 0.5
"""Who has to be waited for this long before that shows, seconds, sends what is taken now."""

_PACED = {"hls", "dash"}  # these deliver seconds of video at once, which are to be shown at the rate they were taken


class Connection:
    """An open source and its pictures; from opening on in the hands of one thread at a time.

    Attributes:
        fps: frames a second that the source announces; 25 where it gives nothing believable.
        duration_s: seconds that it announces; 0.0 for what has no end.
        has_sound: whether it has sound too, which may last longer than the pictures.
        is_paced: whether its pictures come in bursts, to be spread by their timestamps.
        may_be_file: whether a recording may come by it although it announces no length.
        begins_with: what tells its first packet of video from others; "" before that came.
        damaged: packets that could not be decoded.
    """

    def __init__(self, source: str, timeout_s: float = TIMEOUT_S) -> None:
        """Connect.

        Args:
            source: as `sources.is_live` knows them.
            timeout_s: seconds without anything after which the source is given up.

        Raises:
            AvadetError: if there is no such source, or nothing that can be decoded comes from it.
        """
        self.damaged = 0
        self.begins_with = ""
        self._timeout_s = timeout_s
        self._container = _open(source, timeout_s)
        try:
            self._stream = _video_stream(self._container, source)
        except BaseException:
            self._container.close()
            raise
        self.display = Display(self._stream)
        self._stream.thread_type = "SLICE"  # threads that share out frames would hold back as many
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.fps = Fraction(rate) if rate and Fraction(1, 1000) <= rate <= 1000 else Fraction(25)
        self.duration_s = max((self._container.duration or 0) / av.time_base, 0.0)
        self.has_sound = bool(self._container.streams.audio)
        self.is_paced = self.duration_s == 0 and bool(_PACED & set(self._container.format.name.split(",")))
        self.may_be_file = is_web(source) and not self.is_paced
        self._source = source
        self._peeked: VideoFrame | None = None
        self._packets = self._container.demux(self._stream)
        self._held: deque[tuple[Packet[VideoStream], float]] = deque()
        self._broke: Exception | None = None

    def close(self) -> None:
        """Hang up."""
        self._container.close()

    def first_picture(self) -> VideoFrame:
        """Decode the first picture; `pictures` gives it again."""
        name = shown_name(self._source)
        try:
            self._peeked = next((picture for picture, _, _ in self.pictures(lambda *_: True)), None)
        except (FFmpegError, OSError) as error:
            raise AvadetError(f"no picture came from {name}: {self.reason(error)}{self._hint()}") from None
        if self._peeked is None:
            raise AvadetError(f"no picture came from {name} before it ended{self._hint()}")
        return self._peeked

    def _hint(self) -> str:
        """The way out where an mp4 comes from a server that gives files only from their beginning on."""
        if not (self.may_be_file and "mp4" in self._container.format.name):
            return ""
        return (
            "; where the index is at the end of the file the server must give parts of it (Range): download the file, "
            "or write it again with ffmpeg -movflags +faststart"
        )

    def reason(self, error: Exception) -> str:
        """Why a connection ended, in a few words."""
        return _reason(error, self._timeout_s)

    def pictures(
        self, wants: Callable[[float | None, float, bool], bool]
    ) -> Generator[tuple[VideoFrame, float, float | None], None, None]:
        """Give every picture with the moment at which it came, by the clock, and its timestamp, seconds.

        Args:
            wants: is asked of every packet, by timestamp, moment and whether it is a key packet, if it be decoded.

        Raises:
            FFmpegError: if the connection breaks or nothing comes for a long time.
        """
        if self._peeked is not None:
            yield self._peeked, time.monotonic(), self._stamp_s(self._peeked)
            self._peeked = None
        try:
            for packet, came_s in self._timed_packets():
                if packet.size and not self.begins_with:
                    self.begins_with = hashlib.sha256(bytes(packet)).hexdigest()
                if packet.size and not wants(self._stamp_s(packet), came_s, packet.is_keyframe):
                    continue
                for picture in self._decoded(packet):
                    yield picture, came_s, self._stamp_s(picture)
        except (FFmpegError, OSError):
            for picture in self._decoded(None):  # those that came, and only wait for others to be put in order
                yield picture, time.monotonic(), self._stamp_s(picture)
            raise

    def _timed_packets(self) -> Iterator[tuple[Packet[VideoStream], float]]:
        """Packets and when they came, by the clock."""
        while self._held:
            yield self._held.popleft()
        if self._broke is not None:
            raise self._broke
        for packet in self._packets:
            yield packet, time.monotonic()

    def sends_a_file(self) -> bool:
        """Read on, to be asked after the first picture: whether more comes than can have been taken meanwhile.

        What is read is kept. It takes `WAITED_S` at most where nothing comes sooner than it is taken.
        """
        began_s, waited_s = time.monotonic(), 0.0
        first_s = None if self._peeked is None else self._stamp_s(self._peeked)
        try:
            while waited_s < WAITED_S:
                asked_s = time.monotonic()
                packet = next(self._packets, None)
                if packet is None:
                    return True
                came_s = time.monotonic()
                waited_s += came_s - asked_s
                self._held.append((packet, came_s))
                stamp_s = self._stamp_s(packet)
                if stamp_s is None or first_s is None or stamp_s - first_s - (came_s - began_s) < FILE_AHEAD_S:
                    continue
                return True
        except (FFmpegError, OSError) as error:
            self._broke = error
            return True
        return False

    def _stamp_s(self, timed: VideoFrame | Packet[VideoStream]) -> float | None:
        """Timestamp, seconds; None = it has none. Pictures from an emptied decoder do not say what they count in."""
        ticks = timed.pts if timed.pts is not None else timed.dts
        tick_s = timed.time_base or self._stream.time_base
        return None if ticks is None or tick_s is None else float(ticks * tick_s)

    def _decoded(self, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        """The pictures that a packet gives; None = those that are still in the decoder."""
        try:
            return self._stream.decode(packet)
        except av.error.EOFError:
            return []
        except FFmpegError:
            self.damaged += 1
            return []


def _open(source: str, timeout_s: float) -> InputContainer:
    """Open a camera or connect to a stream, or say in one line, and without secrets, why that cannot be."""
    name = shown_name(source)
    is_url = "://" in source
    options = {"rtsp_flags": "prefer_tcp"} if name.startswith("rtsp") else {}
    try:
        return open_input(
            scheme_of(source) + source[source.index(":") :] if is_url else name,  # FFmpeg knows no HTTP://
            format=None if is_url else "v4l2",
            options={"analyzeduration": "1000000", **options} if is_url else {},
            timeout=(timeout_s, timeout_s),
        )
    except (FFmpegError, OSError, ValueError) as error:  # FFmpeg's messages hold the whole URL, so none goes on
        raise AvadetError(_refusal(name, is_url, error, timeout_s)) from None


def _refusal(name: str, is_url: bool, error: Exception, timeout_s: float) -> str:
    """Why a source could not be opened, and the way out."""
    reason = _reason(error, timeout_s)
    if is_url and isinstance(error, av.error.InvalidDataError):
        return f"cannot read {name}: what comes is no video, or breaks off before its first picture; try to download it"
    if is_url:
        return f"cannot read {name}: {reason}; is the address right, and does the sender run?"
    if isinstance(error, FileNotFoundError):
        there = ", ".join(str(path) for path in sorted(Path("/dev").glob("video*"))) or "none"
        return f"no such camera: {name}; cameras here: {there}"
    if isinstance(error, PermissionError):
        return f"camera {name} may not be read: permission denied; join its group, usually 'video'"
    return f"cannot read camera {name}: {reason}; is another program using it?"


def _reason(error: Exception, timeout_s: float) -> str:
    """The short reason of an FFmpeg or system error, without the address that their messages hold."""
    if isinstance(error, av.error.ExitError):
        return f"nothing came for {timeout_s:g} s"
    if isinstance(error, av.error.EOFError):
        return "the sender ended it"
    if isinstance(error, OSError) and error.errno == errno.EIO:
        return "the sender hung up"
    return getattr(error, "strerror", None) or type(error).__name__


def _video_stream(container: InputContainer, source: str) -> VideoStream:
    """The best video stream that there is a decoder for."""
    best = container.streams.best("video")
    for stream in [best, *container.streams.video]:
        if isinstance(stream, VideoStream) and getattr(stream, "codec_context", None) is not None:
            return stream
    kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
    raise AvadetError(f"{shown_name(source)} sends no video that can be decoded, only {kinds}")
