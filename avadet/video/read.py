"""Reading a video as RGB frames, as a player shows them, with the times its file gives them.

Two facts of real files shape this module. Timestamps, not frame counts, say when a picture is shown: rates vary, and
headers lie about rates, counts and durations; `timestamps` has the rules by which they make one clock. And a file may
break anywhere: every packet is decoded on its own (`passes`). Folders of images are read by `images`.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakSet

from avadet.types import Frame, VideoInfo
from avadet.video import refusals
from avadet.video.image_names import ImageSequence, holds_images, is_image_pattern
from avadet.video.images import ImageReader
from avadet.video.opening import header_duration_s, opened
from avadet.video.passes import Pass, intervals_of
from avadet.video.reader import Closing, Picture, Reader
from avadet.video.seeking import bytes_behind, places_of
from avadet.video.timestamps import Gaps, own_rate, seen_rate

SEEK_BACK_S = (0.0, 2.0, 8.0, 32.0)
"""How far before the wanted moment to seek, tried in turn: a backward seek may land after its target."""

_SAME_S = 1e-6  # moments closer than this are one


def open_video(path: str | Path, fps: float | Fraction | None = None, threads: int = 0) -> Reader:
    """Open a video: a file, or a folder of images with a frame rate.

    Args:
        path: a video file, a folder of images, or a pattern of images in a folder: "clip/left_*.jpg", "clip/%05d.png".
        fps: frames per second of images; files have their own.
        threads: that decode a file; 0 = as many as the decoder likes.

    Raises:
        AvadetError: if there is no such video, nothing of it decodes, or images have no rate.
    """
    path = Path(path)
    is_pattern = is_image_pattern(path)
    if not is_pattern and not holds_images(path):
        return VideoReader(path, threads)
    if fps is None:
        raise refusals.no_rate(path)
    folder, pattern = (path.parent, path.name) if is_pattern else (path, None)
    return ImageReader(ImageSequence(folder, float(fps), pattern), path)


def probe(path: str | Path, fps: float | Fraction | None = None) -> VideoInfo:
    """Read what a video says of itself, and its first frame to be sure that it is one; arguments as of `open_video`.

    Raises:
        AvadetError: as `open_video`.
    """
    with open_video(path, fps) as reader:
        return reader.info


class VideoReader(Closing):
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

    faulty: Sequence[str] = ()

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
        self._live: list[Pass] = []
        self._parked: Pass | None = None
        self._begun: Pass | None = self._open()
        try:
            self.info = self._first_look(self._begun)
        except BaseException:
            self.close()
            raise

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

    def _increasing(self, one: Pass, start_s: float) -> Iterator[Picture]:
        """Pictures of a pass with increasing times, from the one on show at `start_s` on."""
        on_show: Picture | None = None
        last_s, gaps = -math.inf, Gaps()
        for stamp_s, following_s, picture in one.shown():
            time_s = max(stamp_s - self.info.start_s, 0.0)
            if time_s <= last_s:
                self.dropped += 1
                continue
            after_gap = on_show is not None and gaps.is_gap(time_s - last_s, intervals_of([stamp_s, *following_s]))
            last_s = time_s
            if on_show is not None and time_s > start_s + _SAME_S:
                yield on_show
            on_show = Picture(time_s, partial(one.display.image, picture, self.info.size_hw), after_gap)
        if on_show is not None:
            yield on_show

    def _pass_from(self, start_s: float) -> Pass:
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

    def _goes_to(self, one: Pass, start_s: float) -> bool:
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

    def _open(self) -> Pass:
        one = Pass(self._path, self._threads)
        self._live.append(one)
        return one

    def _park(self, one: Pass) -> None:
        """Keep a pass that is over for the next walk that seeks: opening a long file costs more than a short one."""
        if self._parked is None and one in self._live and not one.damaged:
            one.stop()
            self._parked = one
        else:
            self._retire(one)

    def _retire(self, one: Pass) -> None:
        if one in self._live:
            self._live.remove(one)
            self._damaged_before += one.damaged
            one.close()

    def _note_restarts(self, one: Pass) -> None:
        self.restarts = max(self.restarts, one.clock.restarts)
        if one.clock.first_restart is not None:
            self.restart_s = min(self.restart_s, one.clock.first_restart * float(self.tick_s) - self.info.start_s)

    def _first_look(self, one: Pass) -> VideoInfo:
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
