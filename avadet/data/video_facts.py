"""What the video files of a data set are like: looked at in parallel, each up to its last keyframe."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from av.error import FFmpegError

from avadet.annotations.rules.video_meta import VideoMeta
from avadet.annotations.splits import DataVideo
from avadet.errors import AvadetError
from avadet.types import Float64Array, VideoInfo
from avadet.video.images import ImageReader
from avadet.video.opening import open_container, opened
from avadet.video.reader import Reader
from avadet.video.seeking import readable
from avadet.video.timestamps import gaps_between

_THREADS = 8
_WHOLE = 0.9  # of the frames that duration and rate make; with fewer there may be gaps


def iter_metadata(videos: Sequence[DataVideo], last_s: Mapping[str, float]) -> Iterator[VideoMeta]:
    """Open every video that has a file, several at a time.

    Args:
        videos: the videos.
        last_s: the last keyframe of each, seconds of the data set's clock; missing = it has none.

    Yields:
        what each is like, in order.
    """
    with ThreadPoolExecutor(min(_THREADS, 2 * (os.cpu_count() or 1))) as pool:
        yield from pool.map(lambda video: _look(video, last_s.get(video.video_id)), videos)


def metadata_of(videos: Sequence[DataVideo], last_s: Mapping[str, float]) -> dict[str, VideoMeta]:
    """What videos are like, by name; for `annotations.splits.read_split`."""
    return {one.video_id: one for one in iter_metadata(videos, last_s)}


def _look(video: DataVideo, last_s: float | None) -> VideoMeta:
    known = VideoMeta(video.video_id, video.path, video.starts_at_s, video.numbered_fps, video.images is not None)
    if video.path is None:
        return known
    try:
        with video.open() as reader:
            info = reader.info
            named = video.numbered_fps is not None
            count = _frames_in(video.path, reader) if named or info.duration_s <= 0 else 0
            wanted_s = 0.0 if named or last_s is None else max(last_s - video.starts_at_s, 0.0)
            reached_s = 0.0 if named or last_s is None else _reach(reader, wanted_s)
    except AvadetError as error:
        return replace(known, problem=str(error))
    promised_s = info.duration_s or count / float(info.fps)
    ends = reached_s < wanted_s  # the header may promise more, or less: pictures decide
    duration_s = reached_s + 1 / float(info.fps) if ends else max(promised_s, reached_s)
    sparse = 0 < info.num_frames < _WHOLE * info.duration_s * float(info.fps)
    gaps_s = _gaps(video.path, info) if sparse and not named else np.zeros((0, 2))
    if isinstance(reader, ImageReader):
        gaps_s = gaps_between(reader.times_s)
    return replace(known, info=info, last_s=reached_s, duration_s=duration_s, num_frames=count, gaps_s=gaps_s)


def _gaps(path: Path, info: VideoInfo) -> Float64Array:
    """Gaps of a file that it takes no decoding to see, (n, 2) seconds."""
    container, stream = opened(path)
    try:
        stamps = [packet.pts for packet in readable(container.demux(stream)) if packet.pts is not None]
        tick_s = float(stream.time_base or 0)
    finally:
        container.close()
    return gaps_between(np.unique(np.array(stamps, np.float64)) * tick_s - info.start_s)


def _reach(reader: Reader, time_s: float) -> float:
    """`time_s` where pictures go on after it, else the time of the last picture; headers promise too much."""
    walk = iter(reader.frames(time_s))
    on_show, following = next(walk), next(walk, None)
    return on_show.time_s if following is None else max(on_show.time_s, time_s)


def _frames_in(path: Path, reader: Reader) -> int:
    """How many frames a video has, missing images among them."""
    return reader.info.num_frames if isinstance(reader, ImageReader) else _count_pictures(path)


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
