"""Reading a video as upright RGB frames with the times its file gives them.

Three facts of real files shape this module. Timestamps, not frame counts, say when a picture is shown: rates vary,
and headers lie about rates, counts and durations. Decoders hand pictures out in the order they are shown, so where
the timestamps disagree with that order the timestamps are wrong (AVI files with B-frames). And a file may break
anywhere: every packet is decoded on its own, so that one bad packet costs a few pictures and not the rest.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple
from weakref import WeakSet

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from avadet.errors import AvadetError
from avadet.types import Frame, UInt8Array, VideoInfo
from avadet.video.containers import open_input

SEEK_BACK_S = (0.0, 2.0, 8.0, 32.0)
"""How far before the wanted moment to seek, tried in turn: in MPEG-TS a backward seek may land after its target."""

_REORDER = 4  # pictures held back while their timestamps are put in order; the deepest reordering met is 2
_RESET_S = 1.0  # a timestamp this far behind its forerunners starts a new count, e.g. where recordings were joined
_SAME_S = 1e-6  # moments closer than this are one
_GIVE_UP = 8  # read errors in a row; after one or two some containers find their way back
_TEXT_ART = {"adf", "bin", "idf", "tty", "xbin"}  # FFmpeg would draw any .txt file as a video of its letters
_DEFAULT_FPS = Fraction(25)


class Picture(NamedTuple):
    """A decoded picture that becomes RGB only when it is asked for.

    Attributes:
        time_s: seconds after the first frame of the file.
        image: gives it as uint8 (H, W, 3) RGB, upright.
    """

    time_s: float
    image: Callable[[], UInt8Array]


def probe(path: str | Path) -> VideoInfo:
    """Read what a video file says of itself, and its first frame to be sure that it is one.

    Raises:
        AvadetError: if there is no such file, or it is empty, no video, or holds no picture that decodes.
    """
    with VideoReader(path) as reader:
        return reader.info


class VideoReader:
    """A video file, to be walked through from the start or from any moment.

    Of several video streams the one that FFmpeg ranks best is read (the default one, then by frames and bit rate);
    cover art does not count as video. Frames whose size differs from the first frame's are resized to it. Walks do not
    disturb each other: each has the file open for itself; one that is over leaves it to the next that has to seek.

    Attributes:
        info: what the file says of itself.
        tick_s: what the file counts time in, seconds.
        damaged: decode errors and pictures marked as damaged so far, over all walks. Pictures after a damaged spot
            are given all the same; they may be patched from their neighbours.
        dropped: pictures left out so far because no time after the last one's was left for them.
        ended_early_s: seconds missing at the end against what the header promised, known after a whole walk from
            the start; 0.0 before that, or where nothing to speak of is missing, or the header promises nothing.
    """

    def __init__(self, path: str | Path, threads: int = 0) -> None:
        """Open the file and decode its first frame.

        Args:
            path: the file.
            threads: that decode; 0 = as many as the decoder likes. Where processes share the cores, 1.

        Raises:
            AvadetError: if there is no such file, or it is empty, no video, or holds no picture that decodes.
        """
        self._path = Path(path)
        self._threads = threads
        self.dropped = 0
        self.ended_early_s = 0.0
        self._walks: WeakSet[Generator[Any, None, None]] = WeakSet()
        self._damaged_before = 0
        self._live: list[_Pass] = []
        self._parked: _Pass | None = None
        self._begun: _Pass | None = self._open()
        try:
            self.info = self._first_look(self._begun)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> VideoReader:
        """Give the reader itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file and every unfinished walk."""
        self.close()

    def close(self) -> None:
        """Close the file and end every unfinished walk."""
        for walk in list(self._walks):
            walk.close()
        self._walks.clear()
        while self._live:
            self._retire(self._live[-1])
        self._begun = self._parked = None

    @property
    def damaged(self) -> int:
        """Decode errors and damaged pictures so far."""
        return self._damaged_before + sum(one.damaged for one in self._live)

    def frames(self, start_s: float = 0.0) -> Iterator[Frame]:
        """Walk through the frames in time.

        Args:
            start_s: where to begin, seconds after the first frame of the file. The first frame given is the one on
                show at that moment: the last frame at or before it. After the end that is the last frame.

        Yields:
            frames with increasing `time_s`. `index` counts from the start of the file; for `start_s` > 0 it is
            estimated from the time and the average rate.
        """
        walk = self._walk(max(start_s, 0.0))
        self._walks.add(walk)
        return walk

    def pictures(self, start_s: float = 0.0) -> Iterator[Picture]:
        """Walk through the same frames as `frames`, for those who need only some of them as images."""
        walk = self._lazy_walk(max(start_s, 0.0))
        self._walks.add(walk)
        return walk

    def _walk(self, start_s: float) -> Generator[Frame, None, None]:
        index = round(start_s * self.info.fps) if start_s > 0 else 0
        walk = self._lazy_walk(start_s)
        try:
            for picture in walk:
                yield Frame(picture.image(), picture.time_s, index)
                index += 1
        finally:
            walk.close()

    def _lazy_walk(self, start_s: float) -> Generator[Picture, None, None]:
        one = self._pass_from(start_s)
        try:
            for time_s, picture in self._increasing(one, start_s):
                yield Picture(time_s, partial(one.image, picture, self.info.size_hw))
            if start_s == 0:
                self.ended_early_s = self._missing_s(time_s + one.period_s)
        finally:
            self._park(one)

    def _increasing(self, one: _Pass, start_s: float) -> Iterator[tuple[float, VideoFrame]]:
        """Pictures of a pass with increasing times, from the one on show at `start_s` on."""
        on_show: tuple[float, VideoFrame] | None = None
        last_s = -math.inf
        for stamp_s, picture in one.stamped():
            time_s = max(stamp_s - self.info.start_s, 0.0)
            if time_s <= last_s:
                self.dropped += 1
                continue
            last_s = time_s
            if on_show is not None and time_s > start_s + _SAME_S:
                yield on_show
            on_show = (time_s, picture)
        if on_show is not None:
            yield on_show

    def _pass_from(self, start_s: float) -> _Pass:
        """A pass whose first picture is at or before `start_s`, by the seek ladder."""
        begun, self._begun = self._begun, None
        if start_s == 0:
            return begun or self._open()
        if begun is None:
            begun, self._parked = self._parked, None
        one = begun or self._open()
        goal_s = self.info.start_s + start_s
        for back_s in SEEK_BACK_S:
            if back_s >= start_s:
                break
            if one.seek(goal_s - back_s) and one.first_stamp_s() <= goal_s + _SAME_S:
                return one
        self._retire(one)
        return self._open()

    def _open(self) -> _Pass:
        one = _Pass(self._path, self._threads)
        self._live.append(one)
        return one

    def _park(self, one: _Pass) -> None:
        """Keep a pass that is over for the next walk that seeks: opening a long file costs more than a short one."""
        if self._parked is None and one in self._live and not one.damaged:
            one.stop()
            self._parked = one
        else:
            self._retire(one)

    def _retire(self, one: _Pass) -> None:
        if one in self._live:
            self._live.remove(one)
            self._damaged_before += one.damaged
            one.close()

    def _first_look(self, one: _Pass) -> VideoInfo:
        start_s = one.first_stamp_s()
        self.tick_s = Fraction(one.stream.time_base or Fraction(1, 1_000_000))
        if math.isinf(start_s):
            raise AvadetError(f"no picture of {self._path} could be decoded; the file is damaged or cut short")
        return VideoInfo(
            path=self._path,
            size_hw=one.shown_hw(),
            fps=one.fps,
            num_frames=max(one.stream.frames, 0),
            start_s=start_s,
            duration_s=one.duration_s(start_s),
            has_audio=bool(one.container.streams.audio),
        )

    def _missing_s(self, end_s: float) -> float:
        """How much earlier the pictures ended than the header said; small differences are rounding or sound."""
        own = self._own_duration
        slack_s = 0.5 if own else 2.0
        missing_s = self.info.duration_s - end_s
        return missing_s if missing_s > slack_s else 0.0

    @property
    def _own_duration(self) -> bool:
        """Whether the header's duration is that of the pictures, not of the file with its sound."""
        return self.info.num_frames > 0 or not self.info.has_audio


class _Pass:
    """One walk through an open file: packets, pictures, timestamps in order."""

    def __init__(self, path: Path, threads: int) -> None:
        self.container = open_container(path)
        try:
            self.stream = _video_stream(self.container, path)
        except AvadetError:
            self.container.close()
            raise
        self.stream.thread_type = "AUTO"
        self.stream.codec_context.thread_count = threads
        self.fps = _frame_rate(self.stream)
        self.period_s = float(1 / self.fps)
        self.damaged = 0
        self._reformatter = VideoReformatter()
        self._begin()

    def _begin(self) -> None:
        self._shift_s = 0.0
        self._latest_s = -math.inf
        self._peeked: tuple[float, VideoFrame] | None = None
        self._rest = self._in_order()
        self.guessed = False

    def stop(self) -> None:
        self._rest.close()
        self._peeked = None

    def close(self) -> None:
        self._rest.close()
        self.container.close()

    def seek(self, stamp_s: float) -> bool:
        """Go to the keyframe before a moment of the container's own clock; False if the file cannot seek."""
        try:
            self.container.seek(round(stamp_s / (self.stream.time_base or 1)), stream=self.stream)
        except FFmpegError:
            return False
        self._rest.close()
        self._begin()
        return not math.isinf(self.first_stamp_s()) and not self.guessed

    def first_stamp_s(self) -> float:
        """Timestamp of the next picture, which is kept; infinite if there is none."""
        if self._peeked is None:
            self._peeked = next(self._rest, None)
        return self._peeked[0] if self._peeked else math.inf

    def stamped(self) -> Iterator[tuple[float, VideoFrame]]:
        """Timestamps, in seconds of the container's clock, and pictures, in the order they are shown."""
        if self._peeked is not None:
            peeked, self._peeked = self._peeked, None
            yield peeked
        yield from self._rest

    def _in_order(self) -> Generator[tuple[float, VideoFrame], None, None]:
        """Pictures as the decoder gives them, each with the earliest of the timestamps at hand."""
        stamps: list[float] = []
        waiting: deque[VideoFrame] = deque()
        for picture in self._pictures():
            heapq.heappush(stamps, self._stamp(picture))
            waiting.append(picture)
            if len(waiting) > _REORDER:
                yield heapq.heappop(stamps), waiting.popleft()
        while waiting:
            yield heapq.heappop(stamps), waiting.popleft()

    def _stamp(self, picture: VideoFrame) -> float:
        """Timestamp in seconds; where there is none, one frame after the last; a new count goes on from the old."""
        ticks = picture.pts if picture.pts is not None else picture.dts
        follows_s = self._latest_s + self.period_s if self._latest_s > -math.inf else 0.0
        if ticks is None or picture.time_base is None:
            self.guessed = True
            stamp_s = follows_s
        else:
            stamp_s = float(ticks * picture.time_base) + self._shift_s
        if stamp_s < self._latest_s - _RESET_S:
            self._shift_s += follows_s - stamp_s
            stamp_s = follows_s
        self._latest_s = max(self._latest_s, stamp_s)
        return stamp_s

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
                yield picture

    def _packets(self) -> Iterator[Packet[VideoStream] | None]:
        """Packets of the stream, then None to empty the decoder; a file that cannot be read on ends here."""
        errors = 0
        while errors < _GIVE_UP:
            try:
                for packet in self.container.demux(self.stream):
                    errors = 0
                    yield packet
                return
            except FFmpegError:
                self.damaged += 1
                errors += 1
        yield None

    def shown_hw(self) -> tuple[int, int]:
        """(height, width) of the next picture when upright."""
        assert self._peeked is not None
        picture = self._peeked[1]
        sideways = picture.rotation // 90 % 2 == 1
        return (picture.width, picture.height) if sideways else (picture.height, picture.width)

    def image(self, picture: VideoFrame, size_hw: tuple[int, int]) -> UInt8Array:
        """Upright RGB, uint8 (H, W, 3), of the given size."""
        rgb = np.asarray(self._reformatter.reformat(picture, format="rgb24").to_ndarray(), np.uint8)
        turns = picture.rotation // 90 % 4
        if turns:
            rgb = np.ascontiguousarray(np.rot90(rgb, turns))
        if rgb.shape[:2] != size_hw:
            rgb = np.asarray(cv2.resize(rgb, size_hw[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
        return rgb

    def duration_s(self, start_s: float) -> float:
        """The header's duration of the pictures, else of the file; 0.0 if it gives none.

        Matroska counts from zero and not from the first frame, so a late start is taken off.
        """
        if self.stream.duration and self.stream.time_base:
            return float(self.stream.duration * self.stream.time_base)
        whole_s = (self.container.duration or 0) / av.time_base
        if "matroska" in self.container.format.name and 0 < start_s < whole_s:
            whole_s -= start_s
        return max(whole_s, 0.0)


def open_container(path: Path) -> InputContainer:
    """Open a file, or say in one line why that cannot be."""
    if not path.exists():
        raise AvadetError(f"no such video: {path}; check the path")
    if path.is_dir():
        raise AvadetError(f"{path} is a folder; give the video file itself")
    if path.is_file() and path.stat().st_size == 0:
        raise AvadetError(f"{path} is empty (0 bytes); fetch or copy the video again")
    try:
        container = open_input(f"file:{path}")
    except PermissionError as error:
        raise AvadetError(f"{path} may not be read: permission denied; change its permissions") from error
    except (FFmpegError, OSError) as error:
        raise AvadetError(
            f"{path} is not a video that can be read ({_reason(error)}); it is damaged, cut short, or something else"
        ) from error
    if container.format.name in _TEXT_ART:
        container.close()
        raise AvadetError(f"{path} is not a video but text; give a video file")
    return container


def _reason(error: BaseException) -> str:
    """The short reason of an FFmpeg or system error."""
    return getattr(error, "strerror", None) or str(error)


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The best stream of moving pictures."""
    best = container.streams.best("video")
    candidates = ([best] if isinstance(best, VideoStream) else []) + list(container.streams.video)
    moving = [stream for stream in candidates if not stream.disposition & Disposition.attached_pic]
    if not moving:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise AvadetError(f"{path} has no video stream, only {kinds}; give a file with moving pictures")
    for stream in moving:
        if getattr(stream, "codec_context", None) is not None:
            return stream
    raise AvadetError(f"no decoder for the video stream of {path}; convert it, for example to H.264")


def _frame_rate(stream: VideoStream) -> Fraction:
    """Average frame rate, else the best guess; 25 where the file gives nothing believable."""
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate and Fraction(1, 1000) <= rate <= 1000:
            return Fraction(rate)
    return _DEFAULT_FPS
