"""Reading a video as RGB frames, as a player shows them, with the times its file gives them.

Two facts of real files shape this module. Timestamps, not frame counts, say when a picture is shown: rates vary, and
headers lie about rates, counts and durations; `timestamps` has the rules by which they make one clock. And a file may
break anywhere: every packet is decoded on its own, so that one bad packet costs a few pictures and not the rest.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple
from weakref import WeakSet

import av
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from avadet.types import Frame, UInt8Array, VideoInfo
from avadet.video import refusals
from avadet.video.display import Display
from avadet.video.opening import header_duration_s, opened
from avadet.video.seeking import Place, bytes_behind, clock_of, places_of
from avadet.video.timestamps import DEFAULT_FPS, Gaps, Shown, in_order, is_raw, own_rate, seen_rate, stamp_of, typical

SEEK_BACK_S = (0.0, 2.0, 8.0, 32.0)
"""How far before the wanted moment to seek, tried in turn: a backward seek may land after its target."""

_SAME_S = 1e-6  # moments closer than this are one
_GIVE_UP = 8  # read errors in a row; after one or two some containers find their way back


class Picture(NamedTuple):
    """A decoded picture that becomes RGB only when it is asked for.

    Attributes:
        time_s: seconds after the first frame of the file.
        image: gives it as uint8 (H, W, 3) RGB, as a player shows it.
        after_gap: as of `types.Frame`.
    """

    time_s: float
    image: Callable[[], UInt8Array]
    after_gap: bool = False


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
        restarts: how often the file's clock began anew in the walk that met most; times go on (`timestamps`).
        restart_s: when it first did, seconds after the first frame; infinite = never.
        rate_is_assumed: whether nothing in the file gives times or a rate, so that `DEFAULT_FPS` stands in.
        unread_bytes: of another recording that is joined behind the end of this one, where FFmpeg does not read it;
            known after a whole walk from the start.
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
        self.dropped = self.restarts = self.unread_bytes = 0
        self.restart_s = math.inf
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
                yield Frame(picture.image(), picture.time_s, index, picture.after_gap)
                index += 1
        finally:
            walk.close()

    def _lazy_walk(self, start_s: float) -> Generator[Picture, None, None]:
        one = self._pass_from(start_s)
        try:
            for picture in self._increasing(one, start_s):
                yield picture
            if start_s == 0:
                self.unread_bytes = bytes_behind(self._path, one.position)
                if not one.clock.restarts:  # a header says nothing of what was joined to its recording
                    self.ended_early_s = self._missing_s(picture.time_s + float(1 / self.info.fps))
        finally:
            self._note_restarts(one)
            self._park(one)

    def _increasing(self, one: _Pass, start_s: float) -> Iterator[Picture]:
        """Pictures of a pass with increasing times, from the one on show at `start_s` on."""
        on_show: Picture | None = None
        last_s, gaps = -math.inf, Gaps()
        for stamp_s, following_s, picture in one.shown():
            time_s = max(stamp_s - self.info.start_s, 0.0)
            if time_s <= last_s:
                self.dropped += 1
                continue
            after_gap = on_show is not None and gaps.is_gap(time_s - last_s, _intervals([stamp_s, *following_s]))
            last_s = time_s
            if on_show is not None and time_s > start_s + _SAME_S:
                yield on_show
            on_show = Picture(time_s, partial(one.display.image, picture, self.info.size_hw), after_gap)
        if on_show is not None:
            yield on_show

    def _pass_from(self, start_s: float) -> _Pass:
        """A pass whose first picture is at or before `start_s`."""
        begun, self._begun = self._begun, None
        if start_s == 0:
            return begun or self._open()
        if begun is None:
            begun, self._parked = self._parked, None
        one = begun or self._open()
        if not one.is_raw and self._goes_to(one, start_s):
            return one
        self._retire(one)
        return self._open()

    def _goes_to(self, one: _Pass, start_s: float) -> bool:
        """Whether a pass could be brought to a picture at or before `start_s`; else it is anywhere."""
        goal_s = self.info.start_s + start_s
        places = places_of(self._path, lambda: opened(self._path))
        for place in places.before((goal_s + _SAME_S) / float(self.tick_s)):
            if one.enter(place, places.ahead) and one.first_stamp_s() <= goal_s + _SAME_S:
                return True
        if places.restarts or len(places.stamps):
            return False  # stamps do not tell where the pictures are
        for back_s in SEEK_BACK_S:
            if back_s >= start_s:
                break
            if one.seek(goal_s - back_s) and one.first_stamp_s() <= goal_s + _SAME_S:
                return True
        return False

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

    def _note_restarts(self, one: _Pass) -> None:
        self.restarts = max(self.restarts, one.clock.restarts)
        if one.clock.first_restart is not None:
            self.restart_s = min(self.restart_s, one.clock.first_restart * float(self.tick_s) - self.info.start_s)

    def _first_look(self, one: _Pass) -> VideoInfo:
        start_s = one.first_stamp_s()
        self.tick_s = Fraction(one.stream.time_base or Fraction(1, 1_000_000))
        self.rate_is_assumed = own_rate(one.stream) is None and one.guessed
        if math.isinf(start_s):
            raise refusals.nothing_decodes(self._path)
        return VideoInfo(
            path=self._path,
            size_hw=one.display.size_hw(one.first_picture()),
            fps=seen_rate(one.stream, one.first_interval_s()),
            num_frames=max(one.stream.frames, 0),
            start_s=start_s,
            duration_s=header_duration_s(one.container, one.stream, start_s),
            has_audio=bool(one.container.streams.audio),
            display_notes=one.display.notes(one.first_picture()),
        )

    def _missing_s(self, end_s: float) -> float:
        """How much earlier the pictures ended than the header said; small differences are rounding or sound."""
        slack_s = 0.5 if self._own_duration else 2.0
        missing_s = self.info.duration_s - end_s
        return missing_s if missing_s > slack_s else 0.0

    @property
    def _own_duration(self) -> bool:
        """Whether the header's duration is that of the pictures, not of the file with its sound."""
        return self.info.num_frames > 0 or not self.info.has_audio


class _Pass:
    """One walk through an open file: packets, pictures, timestamps in order."""

    def __init__(self, path: Path, threads: int) -> None:
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
        self._rest.close()
        self._peeked = None

    def close(self) -> None:
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
        known = [] if self._peeked is None else _intervals([self._peeked.stamp_s, *self._peeked.following_s])
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


def _intervals(stamps_s: Sequence[float]) -> list[float]:
    """The times between stamps in order, seconds; none between equal ones."""
    return [after - before for before, after in itertools.pairwise(stamps_s) if after > before]
