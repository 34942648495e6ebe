"""What the video files of a data set are like: looked at in parallel, each up to its last keyframe."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from av.error import FFmpegError

from avadet.annotations.ava import AvaTable
from avadet.annotations.splits import DataSplit, DataVideo, frame_numbers
from avadet.errors import AvadetError
from avadet.types import Float64Array, IntArray, VideoInfo
from avadet.video.images import ImageReader
from avadet.video.opening import open_container, opened
from avadet.video.reader import Reader
from avadet.video.seeking import readable
from avadet.video.timestamps import gaps_between

_THREADS = 8
_WHOLE = 0.9  # of the frames that duration and rate make; with fewer there may be gaps


@dataclass(frozen=True)
class VideoFacts:
    """What a file turned out to be.

    Attributes:
        video: which one.
        info: what the file says of itself; None = it cannot be read.
        problem: why it cannot be read.
        last_s: up to where there are pictures for certain, seconds of the file: the last keyframe where the video goes
            on after it, else the last picture.
        duration_s: of the pictures, seconds: where they end if that is known, else by the header or by counting, but no
            less than `last_s`.
        num_frames: counted; 0 where keyframes are times.
        gaps_s: of the recording, float64 (n, 2), between which pictures, seconds of the file; looked for where the
            header counts fewer frames than its duration and rate make.
    """

    video: DataVideo
    info: VideoInfo | None = None
    problem: str = ""
    last_s: float = 0.0
    duration_s: float = 0.0
    num_frames: int = 0
    gaps_s: Float64Array = field(default_factory=lambda: np.zeros((0, 2)))

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


def within_files(split: DataSplit) -> tuple[DataSplit, list[str]]:
    """Leave out rows and proposals whose keyframe is a frame number that its file does not have.

    JHMDB-21 has a few such boxes. There is no picture to look at, so nobody is to be found there either. Where
    keyframes are times nothing is left out: the last frame is on show up to the end.

    Returns:
        the split, and a line for every video that gave up rows.
    """
    tables = [split.table, *([] if split.proposals is None else [split.proposals])]
    asked = [_frames_asked_for(split.videos, table) for table in tables]
    last = np.full(len(split.videos) + 1, -1)
    for rows, numbers in asked:
        np.maximum.at(last, rows, numbers)
    wanted = [row for row, video in enumerate(split.videos) if last[row] >= 0 and video.path is not None]
    counts = np.full(len(last), np.iinfo(np.int64).max)
    with ThreadPoolExecutor(min(_THREADS, 2 * (os.cpu_count() or 1))) as pool:
        counts[wanted] = list(pool.map(lambda row: _frames_of(split.videos[row], int(last[row])), wanted))
    short = [row for row in wanted if counts[row] <= last[row]]
    if not short:
        return split, []
    keep = [numbers < counts[rows] for rows, numbers in asked]
    return replace(
        split,
        table=split.table.rows(keep[0]),
        proposals=None if split.proposals is None else split.proposals.rows(keep[1]),
        lines=None if split.lines is None else split.lines[keep[0]],
    ), [
        f"{split.videos[row].video_id} has {counts[row]} frames; annotations of number {counts[row] + 1} to "
        f"{last[row] + 1} are left out"
        for row in short
    ]


def _frames_asked_for(videos: Sequence[DataVideo], table: AvaTable) -> tuple[IntArray, IntArray]:
    """Of each row the position of its video, `len(videos)` = none of them, and its frame's number, -1 = has none."""
    import pandas as pd

    codes, names = pd.factorize(np.asarray(table.video_ids, dtype=object))
    known = {video.video_id: row for row, video in enumerate(videos)}
    rows = np.array([known.get(str(name), len(videos)) for name in names], np.int64)[codes]
    fps = np.array([*(np.nan if one.numbered_fps is None else one.numbered_fps for one in videos), np.nan])[rows]
    starts_s = np.array([*(one.starts_at_s for one in videos), 0.0])[rows]
    numbers = np.full(len(rows), -1)
    named = np.isfinite(fps)
    numbers[named] = frame_numbers(np.asarray(table.times_s)[named], starts_s[named], fps[named])
    return rows, numbers


def _frames_of(video: DataVideo, last: int) -> int:
    """How many frames a file has; counted only if its header does not promise the last one, as counting reads it all.

    A file that cannot be read is said to have them: whoever reads it says what is wrong.
    """
    assert video.path is not None
    try:
        with video.open() as reader:
            promised = reader.info.num_frames
        return promised if promised > last or video.images else _count_pictures(video.path)
    except AvadetError:
        return last + 1


def _look(video: DataVideo, last_s: float | None) -> VideoFacts:
    if video.path is None:
        return VideoFacts(video)
    try:
        with video.open() as reader:
            info = reader.info
            named = video.numbered_fps is not None
            count = _frames_in(video.path, reader) if named or info.duration_s <= 0 else 0
            wanted_s = 0.0 if named or last_s is None else max(last_s - video.starts_at_s, 0.0)
            reached_s = 0.0 if named or last_s is None else _reach(reader, wanted_s)
    except AvadetError as error:
        return VideoFacts(video, problem=str(error))
    promised_s = info.duration_s or count / float(info.fps)
    ends = reached_s < wanted_s  # the header may promise more, or less: pictures decide
    duration_s = reached_s + 1 / float(info.fps) if ends else max(promised_s, reached_s)
    sparse = 0 < info.num_frames < _WHOLE * info.duration_s * float(info.fps)
    gaps_s = _gaps(video.path, info) if sparse and not named else np.zeros((0, 2))
    if isinstance(reader, ImageReader):
        gaps_s = gaps_between(reader.times_s)
    return VideoFacts(video, info, "", reached_s, duration_s, count, gaps_s)


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
