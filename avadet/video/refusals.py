"""What is said of files that are no videos, or none that can be read: what they are, and the way out."""

from __future__ import annotations

from pathlib import Path

from av.container import InputContainer
from av.stream import Disposition

from avadet.errors import AvadetError

_ANIMATED = 0x02  # flag of WebP's VP8X chunk


def missing(path: Path) -> AvadetError:
    """There is no such file, or only a link that leads nowhere."""
    if path.is_symlink():
        return AvadetError(
            f"{path} is a link to {path.readlink()}, where nothing is; restore the file, or remove the link"
        )
    return AvadetError(f"no such video: {path}; check the path")


def no_rate(path: Path) -> AvadetError:
    """Images are to be read as a video, and nobody says how fast."""
    return AvadetError(
        f"{path} is a folder of images, which have no frame rate of their own; give it, such as --fps 30 "
        "(videos.fps=30 in a data set)"
    )


def no_moving_pictures(container: InputContainer, path: Path) -> AvadetError:
    """The file has streams, but none of moving pictures."""
    streams = list(container.streams)
    covers = sum(bool(stream.disposition & Disposition.attached_pic) for stream in container.streams.video)
    kinds = {stream.type for stream in streams if stream not in container.streams.video}
    there = sorted(kinds) + (["cover art, which does not count"] if covers else [])
    return AvadetError(
        f"{path} has no video stream, only {' and '.join(there) or 'nothing'}; give a file with moving pictures"
    )


def nothing_decodes(path: Path) -> AvadetError:
    """Not one picture of the file can be decoded."""
    if _is_animated_webp(path):
        return AvadetError(
            f"{path} is an animated WebP, which FFmpeg cannot decode; convert it, for example to GIF or MP4 "
            "(ImageMagick: magick IN.webp OUT.gif)"
        )
    return AvadetError(f"no picture of {path} could be decoded; the file is damaged or cut short")


def _is_animated_webp(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(21)
    except OSError:
        return False
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and bool(head[20] & _ANIMATED)
