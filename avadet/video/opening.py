"""Opening a video file and choosing the stream of it that is read, or saying in one line why that cannot be."""

from __future__ import annotations

from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.stream import VideoStream

from avadet.errors import AvadetError
from avadet.video import refusals
from avadet.video.containers import open_input
from avadet.video.timestamps import AS_STORED

_TEXT_ART = {"adf", "bin", "idf", "tty", "xbin"}  # FFmpeg would draw any .txt file as a video of its letters


def opened(path: Path) -> tuple[InputContainer, VideoStream]:
    """A file and the stream that is read of it.

    Raises:
        AvadetError: if there is no such file, or it is empty or no video.
    """
    container = open_container(path)
    try:
        return container, _video_stream(container, path)
    except AvadetError:
        container.close()
        raise


def open_container(path: Path) -> InputContainer:
    """Open a file, or say in one line why that cannot be."""
    if not path.exists():
        raise refusals.missing(path)
    if path.is_dir():
        raise AvadetError(
            f"{path} is a folder without images; give a video file, or a folder of the images of one video"
        )
    if path.is_file() and path.stat().st_size == 0:
        raise AvadetError(f"{path} is empty (0 bytes); fetch or copy the video again")
    try:
        container = open_input(f"file:{path}", options=AS_STORED)
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
        raise refusals.no_moving_pictures(container, path)
    for stream in moving:
        if getattr(stream, "codec_context", None) is not None:
            return stream
    raise AvadetError(f"no decoder for the video stream of {path}; convert it, for example to H.264")


def header_duration_s(container: InputContainer, stream: VideoStream, start_s: float) -> float:
    """The header's duration of the pictures, else of the file; 0.0 if it gives none.

    Matroska counts from zero and not from the first frame, so a late start is taken off.
    """
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    whole_s = (container.duration or 0) / av.time_base
    if "matroska" in container.format.name and 0 < start_s < whole_s:
        whole_s -= start_s
    return max(whole_s, 0.0)
