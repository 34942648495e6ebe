"""Clips straight from video files: seek, decode what the clip needs, turn only its frames into images.

Each process keeps a few files open: opening a film takes longer than decoding a clip of a well prepared one.
"""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from avadet.annotations.splits import DataVideo
from avadet.data.frame_cache import CachedVideo, FrameCache
from avadet.errors import AvadetError
from avadet.types import ClipSpec, Float64Array, UInt8Array
from avadet.video.image_names import ImageSequence
from avadet.video.reader import Picture, Reader
from avadet.video.sample import SNAP_S, nearest_indices
from avadet.video.timestamps import near_s

Shape = Callable[[UInt8Array], UInt8Array]
Source = Reader | CachedVideo


class OpenVideos:
    """A few open video files, and the frame times of those whose keyframes are numbers of frames.

    Safe to take along into worker processes: each opens files of its own.
    """

    def __init__(self, most: int = 4, threads: int = 1, cache: FrameCache | None = None) -> None:
        """Open nothing yet.

        Args:
            most: files open at a time; the one unused for longest is closed first.
            threads: that decode each; 0 = as many as the decoder likes.
            cache: of decoded frames, to read instead; None = decode.
        """
        self._most = most
        self._threads = threads
        self._cache = cache
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        return {"most": self._most, "threads": self._threads, "cache": self._cache}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # open files stay where they are

    def _forget(self) -> None:
        self._process = os.getpid()
        self._readers: OrderedDict[Path | ImageSequence | None, Source] = OrderedDict()
        self._times_s: dict[Path | ImageSequence | None, Float64Array] = {}

    def __len__(self) -> int:
        """Number of files that are open."""
        return len(self._readers)

    def reader(self, video: DataVideo) -> Source:
        """The open video.

        Raises:
            AvadetError: if it is missing or cannot be read.
        """
        source = video.source
        if self._process != os.getpid():  # after a fork both processes would move one position in one file
            self._forget()
        if source in self._readers:
            self._readers.move_to_end(source)
            return self._readers[source]
        while len(self._readers) >= self._most:
            self._readers.popitem(last=False)[1].close()
        self._readers[source] = self._opened(video)
        return self._readers[source]

    def _opened(self, video: DataVideo) -> Source:
        cached = None if self._cache is None else self._cache.open(video, self._threads)
        return video.open(self._threads) if cached is None else cached

    def keyframe_s(self, video: DataVideo, time_s: float) -> float:
        """A keyframe in seconds after the file's first frame; a numbered one needs the whole file decoded once.

        Raises:
            AvadetError: if the video is missing or broken, or the file has no frame of that number.
        """
        path = existing(video)
        if video.numbered_fps is None:
            return float(video.file_times_s(np.array([time_s]))[0])
        if video.source not in self._times_s:
            self._times_s[video.source] = np.array([picture.time_s for picture in self.reader(video).pictures()])
        times_s, index = self._times_s[video.source], int(video.frame_indices(np.array([time_s]))[0])
        if not 0 <= index < len(times_s):
            raise AvadetError(f"{path} has {len(times_s)} frames, none of number {index} (keyframe at {time_s:g} s)")
        return float(times_s[index])

    def close(self) -> None:
        """Close every file that this process opened."""
        if self._process == os.getpid():
            for reader in self._readers.values():
                reader.close()
        self._forget()


def existing(video: DataVideo) -> Path:
    """The file of a video.

    Raises:
        AvadetError: if there is none.
    """
    if video.path is None:
        raise AvadetError(f"video {video.video_id} has no file; check videos.folder of the spec")
    return video.path


def read_frames(reader: Source, time_s: float, spec: ClipSpec, shape: Shape) -> tuple[UInt8Array, Float64Array]:
    """The frames of the clip around a moment, the same that `video.sample.read_clip` takes, each shaped as it comes.

    Only frames of the clip become images; nothing before the keyframe that `time_s` needs is decoded, nor after its
    last frame.

    Args:
        reader: an open video.
        time_s: the keyframe, seconds after the first frame of the file.
        spec: which frames.
        shape: makes a frame, uint8 (H, W, 3), what the clip is to hold.

    Returns:
        uint8 (T, h, w, 3) and the frames' times, float64 (T,). Where frames are missing the edge is repeated.

    Raises:
        AvadetError: if the file has no frame near that moment, or pictures of the clip are damaged.
    """
    damaged = reader.damaged
    period_s = 1 / float(reader.info.fps)
    for margin_s in (min(2 * period_s, SNAP_S), SNAP_S):
        start_s = time_s - margin_s + float(spec.offsets_s()[0])
        choice = _chosen(reader, start_s, _Choice(time_s, spec, shape))
        if choice.first_s >= start_s:
            break  # else the centre lies further back than usual, where frames are far apart
    path = reader.info.path
    if reader.damaged > damaged:
        raise AvadetError(f"{path} is damaged near {time_s:.3f} s: {reader.damaged - damaged} pictures do not decode")
    if abs(choice.nearest_s - time_s) > near_s(period_s):
        raise AvadetError(
            f"{path} has no frame at {time_s:.3f} s, the nearest is at {choice.nearest_s:.3f} s; "
            "is the file cut short, or the keyframes' clock another (videos.starts_at_s)?"
        )
    return np.stack(choice.images), np.array(choice.times_s)


def _chosen(reader: Source, start_s: float, choice: _Choice) -> _Choice:
    """The choice, made among the pictures from a moment on."""
    for picture in reader.pictures(start_s):
        choice.add(picture)
        if choice.is_full:
            break
    choice.end()
    return choice


class _Choice:
    """Chooses a clip's frames while the pictures pass by, by the rule of `video.sample.clip_indices`.

    Pictures before the keyframe are held until it is known which frame is the centre; after that only one is.
    """

    def __init__(self, time_s: float, spec: ClipSpec, shape: Shape) -> None:
        self._key_s = time_s
        self._offsets_s = spec.offsets_s()
        self._shape = shape
        self._held: list[Picture] = []
        self._wanted_s: Float64Array | None = None
        self.nearest_s = math.nan
        self.images: list[UInt8Array] = []
        self.times_s: list[float] = []

    @property
    def first_s(self) -> float:
        """The first moment wanted; known once the centre is."""
        return math.nan if self._wanted_s is None else float(self._wanted_s[0])

    @property
    def is_full(self) -> bool:
        """Whether every frame is chosen."""
        return len(self.images) == len(self._offsets_s)

    def add(self, picture: Picture) -> None:
        """Take the next picture."""
        self._held.append(picture)
        if self._wanted_s is None and picture.time_s >= self._key_s:
            self._centre()
        if self._wanted_s is not None:
            self._settle(int(np.searchsorted(self._wanted_s, picture.time_s, side="right")))
            del self._held[:-1]

    def end(self) -> None:
        """No more pictures: the last one stands for all that are missing."""
        if self._wanted_s is None:
            self._centre()
        self._settle(len(self._offsets_s))
        self._held.clear()

    def _centre(self) -> None:
        """Lay out the clip around the frame nearest to the keyframe, or the keyframe itself if none is near."""
        times_s = np.array([picture.time_s for picture in self._held])
        self.nearest_s = float(times_s[nearest_indices(times_s, np.array([self._key_s]))[0]])
        centre_s = self.nearest_s if abs(self.nearest_s - self._key_s) <= SNAP_S else self._key_s
        self._wanted_s = centre_s + self._offsets_s

    def _settle(self, count: int) -> None:
        """Choose the frames of the first `count` moments from the pictures held."""
        assert self._wanted_s is not None
        times_s = np.array([picture.time_s for picture in self._held])
        for index in nearest_indices(times_s, self._wanted_s[len(self.images) : count]):
            picture = self._held[index]
            again = bool(self.times_s) and self.times_s[-1] == picture.time_s
            self.images.append(self.images[-1] if again else self._shape(picture.image()))
            self.times_s.append(picture.time_s)
