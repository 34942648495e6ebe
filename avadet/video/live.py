"""Reading a camera or a network stream without ever falling behind it.

A thread reads and decodes all the time; the pictures wait in a queue of two seconds. Who works on the frames may stall
for that long and lose none. When the queue is full, all that wait are let go and work goes on with the newest: frames
are lost in one piece. (Were only the oldest one let go each time, the queue would stay full: always two seconds late,
and with holes wherever work stalls, so that clips of motion became rows of stills.) So the work is at most that far
behind, however slow it is, and memory is bounded. Four more things keep it so:

- **Keyframes** (`LiveReader.keyframes_s`) are set where frames are. Were they set every second come what may, a model
  that needs three seconds for each would owe nine seconds of work after three, then twenty-seven.
- **Looking for people between keyframes** (`LiveReader.looks_s`) is done only as often as there is time for it.
- **A decoder that is too slow** shows in timestamps that fall behind the clock while packets need not be waited for.
  Then packets are thrown away undecoded up to a key picture at which the stream has caught up (`live_clock`).
- **A source that knows its length** is a recording, such as an mp4 on a web server: nothing of it is dropped; it waits.

The stream's own timestamps are believed where they go forward and not ahead of the clock; else the clock decides.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from avadet.errors import AvadetError
from avadet.types import Frame, UInt8Array, VideoInfo
from avadet.video.containers import open_input
from avadet.video.live_clock import StreamClock

SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "tcp", "srt", "rtp")
QUEUE_S = 2.0
"""Pictures wait for at most this long, in seconds of the stream."""

QUEUE_BYTES = 256 * 2**20
"""Memory of waiting pictures at most; above it the queue is shorter than `QUEUE_S`."""

OPEN_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 10.0
RETRIES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Pauses before each try to connect again, seconds; after the last one the stream is given up."""

STABLE_S = 10.0
"""A connection that lasted this long has all tries again."""

NEAR_S = 0.5
"""A moment is covered by a frame at most this far from it."""

LONGEST_PAUSE_S = 8.0
"""Without time for it, people are looked for between keyframes this seldom in the end, seconds."""

_KEPT_GAPS = 64
_POLL_S = 0.1
_CAMERA = re.compile(r"/dev/video[0-9]+|[0-9]{1,3}")
_PACED = {"hls", "dash"}  # these deliver seconds of video at once, which are to be shown at the rate they were taken


def is_live(text: str) -> bool:
    """Whether an argument names a stream or a camera: SCHEME://..., /dev/videoN, or a camera's bare number.

    A file whose name is a number can be given as ./NAME.
    """
    scheme, separator, _ = text.partition("://")
    return (bool(separator) and scheme.lower() in SCHEMES) or bool(_CAMERA.fullmatch(text))


def shown_name(source: str) -> str:
    """The name of a source as it may be printed and written: of a URL only scheme, host and port.

    User, password, path and query may hold secrets, also in places where they do not belong.
    """
    if "://" not in source:
        return _camera_path(source)
    scheme, _, rest = source.partition("://")
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    host = authority.rpartition("@")[2]
    misplaced = "@" in rest[len(authority) :] or not re.fullmatch(r"[\w.:\[\]-]*", host)
    return f"{scheme.lower()}://{'...' if misplaced else host}"


def stem_of(source: str, began: datetime) -> str:
    """A name for the results of a live run: the source and when it began; letters, digits and hyphens only."""
    name = shown_name(source).partition("://")[2] or shown_name(source).removeprefix("/dev/")
    words = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "live"
    return f"{words[:80]}-{began:%Y%m%d-%H%M%S}"


class _Waiting(NamedTuple):
    """A picture in the queue: its time, seconds after the first one, and its memory, bytes."""

    picture: VideoFrame
    time_s: float
    size_bytes: int


class LiveReader:
    """A camera or stream, as `VideoReader` is a file: `info`, `frames()`, once.

    Attributes:
        info: `path` is the stem that was given, there is no such file; `duration_s` is 0 unless it is a recording.
        is_recording: whether the source knows its length; then nothing is dropped.
        arrived: pictures that came so far.
        dropped: pictures that were let go, most of them undecoded or undrawn, because something newer was there.
        damaged: decode errors and pictures marked as damaged so far.
        ended_early_s: always 0.0; a stream promises no length.
        lost: why the stream was given up; "" as long as it is not, or if it was ended.
    """

    def __init__(
        self,
        source: str,
        stem: str = "live",
        seconds: float = math.inf,
        tell: Callable[[str], None] | None = None,
        retries_s: Sequence[float] = RETRIES_S,
    ) -> None:
        """Connect, decode the first picture, and begin to read.

        Args:
            source: as `is_live` knows them.
            stem: name of the video in results.
            seconds: end after this much of the stream.
            tell: is told in one line when the connection is lost and found again; called from the reading thread.
            retries_s: pauses before the tries to connect again, seconds.

        Raises:
            AvadetError: if there is no such camera, nobody answers, or what comes is no video.
        """
        self.damaged = self.arrived = self.dropped = 0
        self.ended_early_s = 0.0
        self.lost = ""
        self._source, self._seconds, self._retries_s = source, seconds, retries_s
        self._tell = tell or (lambda text: None)
        self._queue: deque[_Waiting] = deque()
        self._queue_bytes = 0
        self._changed = threading.Condition()
        self._over = self._stopped = False
        self._waits = 0
        self._latest_s = -math.inf
        self._gaps: deque[tuple[float, float]] = deque(maxlen=_KEPT_GAPS)
        self._tries = 0
        self._reformatter = VideoReformatter()
        connection = _Connection(source)
        try:
            first = connection.first_picture()
        except BaseException:
            connection.close()
            raise
        self.is_recording = connection.duration_s > 0
        self._clock = StreamClock(self.is_recording)
        self.info = VideoInfo(Path(stem), _upright_hw(first), connection.fps, 0, 0.0, connection.duration_s)
        self._thread = threading.Thread(target=self._capture, args=(connection,), name="live", daemon=True)
        self._thread.start()

    def __enter__(self) -> LiveReader:
        """Give the reader itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the stream."""
        self.close()

    def close(self) -> None:
        """End the stream. A thread that waits for a silent source ends by itself, when its patience does."""
        self.stop()
        self._thread.join(timeout=1.0)

    def stop(self) -> None:
        """End `frames` soon. May be called from a signal handler: it takes no lock."""
        self._stopped = True

    def frames(self) -> Iterator[Frame]:
        """Give the frames as they come, the oldest that still waits first.

        Yields:
            frames with increasing `time_s`, seconds after the first one; `index` counts those that are given. Ends
            with the stream, after `stop`, or when the connection is lost for good (see `lost`).
        """
        index = 0
        while (waiting := self._take()) is not None:
            if waiting.time_s - self._latest_s > 2 * NEAR_S and index:
                self._gaps.append((self._latest_s, waiting.time_s))
            self._latest_s = waiting.time_s
            yield Frame(_rgb(waiting.picture, self.info.size_hw, self._reformatter), waiting.time_s, index)
            del waiting
            index += 1

    def keyframes_s(self, every_s: float) -> Iterator[float]:
        """Give the moments 0, `every_s`, 2 * `every_s`, ..., leaving out those that the frames have already passed.

        To be asked for the next one only when the last one has its frame.
        """
        count = 0
        while True:
            yield count * every_s
            passed = math.ceil(self._latest_s / every_s - 0.5) if self._latest_s > 0 else 0
            count = max(count + 1, passed)

    def looks_s(self, step_s: float) -> Iterator[float]:
        """Give the moments at which to look for people besides keyframes.

        Every `step_s` seconds as long as all frames that have come are done before the next look; else with pauses
        that double each time.
        """
        time_s, pause_s, waits = 0.0, step_s, -1
        while True:
            yield time_s
            pause_s = step_s if self._waits > waits else min(2 * pause_s, max(LONGEST_PAUSE_S, step_s))
            waits = self._waits
            time_s = max(time_s, self._latest_s - step_s) + pause_s

    def covers(self, time_s: float) -> bool:
        """Whether one of the frames given was near to a moment that is not older than the last few gaps."""
        return not any(before + NEAR_S < time_s < after - NEAR_S for before, after in self._gaps)

    def latency_s(self, time_s: float) -> float:
        """Seconds from the moment at which a picture of this time came, or should have come, until now."""
        return max(time.monotonic() - self._clock.edge_s - time_s, 0.0)

    def _take(self) -> _Waiting | None:
        with self._changed:
            self._waits += not self._queue
            while not self._queue and not self._over and not self._stopped:
                self._changed.wait(_POLL_S)
            if self._stopped or not self._queue:
                return None
            waiting = self._queue.popleft()
            self._queue_bytes -= waiting.size_bytes
            self._changed.notify_all()
        return waiting if waiting.time_s < self._seconds else None

    def _put(self, waiting: _Waiting) -> None:
        """Add a picture; where there is no room, drop those that wait, or of a recording wait for room."""
        with self._changed:
            while self.is_recording and self._is_full(waiting) and not self._stopped:
                self._changed.wait(_POLL_S)
            if self._is_full(waiting):
                self.dropped += len(self._queue)
                self._queue.clear()
                self._queue_bytes = 0
            self._queue.append(waiting)
            self._queue_bytes += waiting.size_bytes
            self._changed.notify_all()

    def _is_full(self, waiting: _Waiting) -> bool:
        too_long = bool(self._queue) and waiting.time_s - self._queue[0].time_s > QUEUE_S
        return too_long or (bool(self._queue) and self._queue_bytes + waiting.size_bytes > QUEUE_BYTES)

    def _capture(self, connection: _Connection | None) -> None:
        """Read until the end; the body of the thread."""
        try:
            while connection is not None:
                began_s = time.monotonic()
                reason = self._read(connection)
                connection.close()
                if self._stopped or self.is_recording:
                    break
                connection = self._reconnect(reason, fresh=time.monotonic() - began_s > STABLE_S)
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _read(self, connection: _Connection) -> str:
        """Put the pictures of a connection into the queue; return why they ended."""
        self._clock.joined()
        try:
            for picture, came_s, stamp_s in connection.pictures(self._wants):
                if self._stopped:
                    break
                time_s = self._clock.time_s(stamp_s, came_s)
                if connection.is_paced:
                    self._sleep(self._clock.edge_s + time_s - time.monotonic())
                self.arrived += 1
                self.damaged += bool(picture.is_corrupt)
                self._put(_Waiting(picture, time_s, sum(plane.buffer_size for plane in picture.planes)))
        except (FFmpegError, OSError) as error:
            return _reason(error)
        finally:
            self.damaged += connection.damaged
        return "the sender ended it"

    def _wants(self, stamp_s: float | None, came_s: float, is_key: bool) -> bool:
        """Whether a packet is worth decoding."""
        if self.is_recording or stamp_s is None or self._clock.wants(stamp_s, came_s, is_key):
            return True
        self.arrived += 1
        self.dropped += 1
        return False

    def _reconnect(self, reason: str, fresh: bool) -> _Connection | None:
        """Connect again, after pauses; None if all tries failed."""
        last_error = ""
        self._tries = 0 if fresh else self._tries
        name, pauses_s = shown_name(self._source), self._retries_s[self._tries :]
        if pauses_s:
            self._tell(f"the connection to {name} is lost ({reason}); trying for {sum(pauses_s):g} s to connect again")
        for pause_s in pauses_s:
            self._tries += 1
            self._sleep(pause_s)
            if self._stopped:
                return None
            try:
                connection = _Connection(self._source)
            except AvadetError as error:
                last_error = f"; last error: {error}"
                continue
            self._tell(f"connected to {name} again")
            return connection
        self.lost = f"the connection to {name} was lost ({reason}){last_error}"
        return None

    def _sleep(self, pause_s: float) -> None:
        """Wait, but not on after `stop`."""
        until_s = time.monotonic() + pause_s
        while not self._stopped and (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(left_s, _POLL_S))


class _Connection:
    """An open source and its pictures; from opening on in the hands of one thread at a time.

    Attributes:
        fps: frames a second that the source announces; 25 where it gives nothing believable.
        duration_s: seconds that it announces; 0.0 for what has no end.
        is_paced: whether its pictures come in bursts, to be spread by their timestamps.
        damaged: packets that could not be decoded.
    """

    def __init__(self, source: str) -> None:
        self.damaged = 0
        self._container = _open(source)
        try:
            self._stream = _video_stream(self._container, source)
        except BaseException:
            self._container.close()
            raise
        self._stream.thread_type = "SLICE"  # threads that share out frames would hold back as many
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.fps = Fraction(rate) if rate and Fraction(1, 1000) <= rate <= 1000 else Fraction(25)
        self.duration_s = max((self._container.duration or 0) / av.time_base, 0.0)
        self.is_paced = self.duration_s == 0 and bool(_PACED & set(self._container.format.name.split(",")))
        self._source = source
        self._peeked: VideoFrame | None = None

    def close(self) -> None:
        """Hang up."""
        self._container.close()

    def first_picture(self) -> VideoFrame:
        """Decode the first picture; `pictures` gives it again."""
        try:
            self._peeked = next((picture for picture, _, _ in self.pictures(lambda *_: True)), None)
        except (FFmpegError, OSError) as error:
            raise AvadetError(f"no picture came from {shown_name(self._source)}: {_reason(error)}") from None
        if self._peeked is None:
            raise AvadetError(f"no picture came from {shown_name(self._source)} before it ended")
        return self._peeked

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
            yield self._peeked, time.monotonic(), _stamp_s(self._peeked)
            self._peeked = None
        for packet in self._container.demux(self._stream):
            came_s = time.monotonic()
            if packet.size and not wants(_stamp_s(packet), came_s, packet.is_keyframe):
                continue
            try:
                pictures = self._stream.decode(packet)
            except av.error.EOFError:
                return
            except FFmpegError:
                self.damaged += 1
                continue
            for picture in pictures:
                yield picture, came_s, _stamp_s(picture)


def _stamp_s(timed: VideoFrame | Packet[VideoStream]) -> float | None:
    """Timestamp, seconds; None = it has none."""
    ticks = timed.pts if timed.pts is not None else timed.dts
    return None if ticks is None or timed.time_base is None else float(ticks * timed.time_base)


def _open(source: str) -> InputContainer:
    """Open a camera or connect to a stream, or say in one line, and without secrets, why that cannot be."""
    name = shown_name(source)
    is_url = "://" in source
    options = {"rtsp_flags": "prefer_tcp"} if name.startswith("rtsp") else {}
    try:
        return open_input(
            source if is_url else name,
            format=None if is_url else "v4l2",
            options={"analyzeduration": "1000000", **options} if is_url else {},
            timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S),
        )
    except (FFmpegError, OSError, ValueError) as error:  # FFmpeg's messages hold the whole URL, so none goes on
        raise AvadetError(_refusal(name, is_url, error)) from None


def _refusal(name: str, is_url: bool, error: Exception) -> str:
    """Why a source could not be opened, and the way out."""
    reason = _reason(error)
    if is_url:
        return f"cannot read {name}: {reason}; is the address right, and does the sender run?"
    if isinstance(error, FileNotFoundError):
        there = ", ".join(str(path) for path in sorted(Path("/dev").glob("video*"))) or "none"
        return f"no such camera: {name}; cameras here: {there}"
    if isinstance(error, PermissionError):
        return f"camera {name} may not be read: permission denied; join its group, usually 'video'"
    return f"cannot read camera {name}: {reason}; is another program using it?"


def _reason(error: Exception) -> str:
    """The short reason of an FFmpeg or system error, without the address that their messages hold."""
    if isinstance(error, av.error.ExitError):
        return f"nothing came for {READ_TIMEOUT_S:g} s"
    if isinstance(error, av.error.EOFError):
        return "the sender ended it"
    return getattr(error, "strerror", None) or type(error).__name__


def _video_stream(container: InputContainer, source: str) -> VideoStream:
    """The best video stream that there is a decoder for."""
    best = container.streams.best("video")
    for stream in [best, *container.streams.video]:
        if isinstance(stream, VideoStream) and getattr(stream, "codec_context", None) is not None:
            return stream
    kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
    raise AvadetError(f"{shown_name(source)} sends no video that can be decoded, only {kinds}")


def _camera_path(camera: str) -> str:
    """/dev/videoN of a camera's number."""
    return f"/dev/video{int(camera)}" if camera.isdecimal() else camera


def _upright_hw(picture: VideoFrame) -> tuple[int, int]:
    """(height, width) px of a picture as shown."""
    sideways = picture.rotation // 90 % 2 == 1
    return (picture.width, picture.height) if sideways else (picture.height, picture.width)


def _rgb(picture: VideoFrame, size_hw: tuple[int, int], reformatter: VideoReformatter) -> UInt8Array:
    """Upright RGB, uint8 (H, W, 3), of the given size."""
    rgb = np.asarray(reformatter.reformat(picture, format="rgb24").to_ndarray(), np.uint8)
    turns = picture.rotation // 90 % 4
    if turns:
        rgb = np.ascontiguousarray(np.rot90(rgb, turns))
    if rgb.shape[:2] != size_hw:
        rgb = np.asarray(cv2.resize(rgb, size_hw[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
    return rgb
