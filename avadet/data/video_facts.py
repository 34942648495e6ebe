"""What the video files of a data set are like: looked at in parallel, each up to its last keyframe."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from av.error import FFmpegError

from avadet.annotations.splits import DataVideo
from avadet.errors import AvadetError
from avadet.types import VideoInfo
from avadet.video.read import VideoReader, open_container

_THREADS = 8


@dataclass(frozen=True)
class VideoFacts:
    """What a file turned out to be.

    Attributes:
        video: which one.
        info: what the file says of itself; None = it cannot be read.
        problem: why it cannot be read.
        last_s: up to where there are pictures for certain, seconds of the file: the last keyframe where the video goes
            on after it, else the last picture.
        duration_s: by the header, else by counting, seconds.
        num_frames: counted; 0 where keyframes are times.
    """

    video: DataVideo
    info: VideoInfo | None = None
    problem: str = ""
    last_s: float = 0.0
    duration_s: float = 0.0
    num_frames: int = 0

    @property
    def slack_s(self) -> float:
        """How far past the last picture a keyframe may lie: it is on show for a period."""
        return 0.1 + (1.5 / float(self.info.fps) if self.info else 0.0)


def look_at_videos(videos: Sequence[DataVideo], last_s: Mapping[str, float]) -> Iterator[VideoFacts]:
    """Open every video that has a file, several at a time.

    Args:
        videos: the videos.
        last_s: the last keyframe of each, seconds of the data set's clock; missing = it has none.

    Yields:
        what each is like, in order.
    """
    with ThreadPoolExecutor(min(_THREADS, 2 * (os.cpu_count() or 1))) as pool:
        yield from pool.map(lambda video: _look(video, last_s.get(video.video_id)), videos)


def _look(video: DataVideo, last_s: float | None) -> VideoFacts:
    if video.path is None:
        return VideoFacts(video)
    try:
        with VideoReader(video.path) as reader:
            info = reader.info
            named = video.numbered_fps is not None
            count = _count_pictures(video.path) if named or info.duration_s <= 0 else 0
            reached_s = 0.0 if named or last_s is None else _reach(reader, max(last_s - video.starts_at_s, 0.0))
    except AvadetError as error:
        return VideoFacts(video, problem=str(error))
    return VideoFacts(video, info, "", reached_s, info.duration_s or count / float(info.fps), count)


def _reach(reader: VideoReader, time_s: float) -> float:
    """`time_s` where pictures go on after it, else the time of the last picture; headers promise too much."""
    walk = iter(reader.frames(time_s))
    on_show, following = next(walk), next(walk, None)
    return on_show.time_s if following is None else max(on_show.time_s, time_s)


def _count_pictures(path: Path) -> int:
    """Pictures of a file, without decoding them."""
    container = open_container(path)
    try:
        stream = container.streams.best("video")
        return sum(1 for packet in container.demux(stream) if packet.size) if stream else 0
    except FFmpegError as error:
        raise AvadetError(f"{path} breaks off: {error.strerror}; fetch or copy the video again") from error
    finally:
        container.close()
