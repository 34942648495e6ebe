"""A cache of decoded frames on disk: the processes of a machine decode each video once, and later runs not at all.

One video is one file: its frames, uint8 (L, h, w, 3) RGB, which readers map into memory (all processes share one copy
through the page cache), then JSON with their times and what the source looked like. It is renamed when it is whole,
and the process that fills it holds a lock meanwhile, for which the others wait. A video with damage inside is marked,
not cached: who asks for a clip of it decodes it, and learns where the damage is.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from avadet.annotations.splits import DataVideo
from avadet.errors import AvadetError
from avadet.files import whole_file
from avadet.types import Float64Array, UInt8Array, VideoInfo
from avadet.video.image_names import ImageSequence
from avadet.video.reader import Picture, Reader
from avadet.video.sample import resize_short

_MAGIC = b"avadet frames 1\n"
_TAIL = len(_MAGIC) + 8  # behind the JSON: its length, and the magic
_EDGE_BYTES = 65536
_SAME_S = 1e-6


class CacheError(AvadetError):
    """A cache that cannot be written, which is no fault of a video."""


@dataclass(frozen=True)
class CachedVideo:
    """A video of the cache, read like a `VideoReader`.

    Attributes:
        info: of the source.
        times_s: float64 (L,), increasing, 0 for the first frame.
        frames: uint8 (L, h, w, 3) RGB, read-only, mapped from disk.
        damaged: pictures that do not decode; such videos are not cached.
    """

    info: VideoInfo
    times_s: Float64Array
    frames: UInt8Array
    damaged: int = 0

    @property
    def frame_hw(self) -> tuple[int, int]:
        """(height, width) px of the frames as they are kept."""
        return self.frames.shape[1], self.frames.shape[2]

    def pictures(self, start_s: float = 0.0) -> Iterator[Picture]:
        """Walk through the pictures from the one on show at `start_s` on, as `VideoReader.pictures`."""
        first = max(int(np.searchsorted(self.times_s, start_s + _SAME_S, side="right")) - 1, 0)
        for index in range(first, len(self.times_s)):
            yield Picture(float(self.times_s[index]), partial(np.asarray, self.frames[index]))

    def close(self) -> None:
        """Nothing to do: the file is unmapped with its last frame."""


class FrameCache:
    """A folder of decoded videos.

    A cached video counts if its source still has the same size and the same bytes at both ends; of a folder of images,
    if names and sizes are the same. Else it is decoded anew. Safe to take along into worker processes.
    """

    def __init__(self, folder: Path, short_side: int | None = None) -> None:
        """Read and write nothing yet.

        Args:
            folder: where the files go.
            short_side: px, frames with a longer short side are kept resized to it; None = as they are.
        """
        self._folder = folder
        self._short_side = short_side
        self._known: dict[Path | ImageSequence | None, dict[str, Any]] = {}

    def open(self, video: DataVideo, threads: int = 1) -> CachedVideo | None:
        """A video of the cache, decoded now if it is not there; None = it has damage inside and is not cached.

        Raises:
            AvadetError: if the video is missing or cannot be read.
            CacheError: if the cache cannot be written.
        """
        path = self._path(video)
        if video.source not in self._known:
            fingerprint = _fingerprint(video)
            metadata = _metadata(path, fingerprint)
            if metadata is None:
                with _locked(path):
                    metadata = _metadata(path, fingerprint) or self._fill(path, fingerprint, video, threads)
            self._known[video.source] = metadata
        return _mapped(path, self._known[video.source])

    def _path(self, video: DataVideo) -> Path:
        source = Path("missing") if video.path is None else video.path.resolve()
        key = hashlib.sha256(f"{source} {video.images} {self._short_side}".encode()).hexdigest()[:16]
        return self._folder / f"{source.stem[:100]}.{key}.frames"

    def _fill(self, path: Path, fingerprint: str, video: DataVideo, threads: int) -> dict[str, Any]:
        """Decode a video into its file, frame by frame; returns what the file says of itself."""
        with video.open(threads) as reader, _writable(path) as file:
            try:
                times_s, size_hw = self._write_frames(reader, file)
                damaged = reader.damaged > 0
            except AvadetError:  # in the middle of it; clips before that can still be decoded
                damaged = True
            if damaged:
                times_s, size_hw = [], (0, 0)
                file.seek(0)
                file.truncate()
            info = reader.info
            metadata = {
                "source": fingerprint,
                "damaged": damaged,
                "shape": [len(times_s), *size_hw, 3],
                "info": [
                    str(info.path),
                    list(info.size_hw),
                    str(info.fps),
                    info.num_frames,
                    info.start_s,
                    info.duration_s,
                ],
                "times_s": times_s,
            }
            text = json.dumps(metadata).encode()
            file.write(text + len(text).to_bytes(8, "little") + _MAGIC)
        return {**metadata, "times_s": np.array(times_s, np.float64)}

    def _write_frames(self, reader: Reader, file: BinaryIO) -> tuple[list[float], tuple[int, int]]:
        """Write every frame; returns their times and size."""
        times_s: list[float] = []
        size_hw = (0, 0)
        for picture in reader.pictures():
            image = picture.image()
            if self._short_side is not None and min(image.shape[:2]) > self._short_side:
                image = resize_short(image, self._short_side)
            file.write(np.ascontiguousarray(image).data)
            times_s.append(picture.time_s)
            size_hw = (image.shape[0], image.shape[1])
        return times_s, size_hw


@contextmanager
def _writable(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, renamed to `path` when the block ends well; what the disk refuses becomes a CacheError."""
    try:
        with whole_file(path) as unfinished, unfinished.open("wb") as file:
            yield file
            file.flush()
    except AvadetError as error:
        raise CacheError(f"{error} (data.cache=null needs no cache)") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a cached video; where the file system has no locks, two processes may fill the same file."""
    folder = path.parent / ".locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / path.name.split(".")[-2][:2]).open("wb")
    except OSError as error:
        raise CacheError(f"cannot write to the cache {path.parent}: {error.strerror}; choose another") from error
    with file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)  # released with the file, also by a process that is killed
        yield


def _metadata(path: Path, fingerprint: str) -> dict[str, Any] | None:
    """What a cached file says of itself; None if there is none, it is not whole, or the source has changed."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(size - _TAIL)
            length, magic = int.from_bytes(file.read(8), "little"), file.read()
            file.seek(size - _TAIL - length)
            metadata = json.loads(file.read(length)) if magic == _MAGIC else {}
        frame_bytes = int(np.prod(metadata["shape"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if metadata.get("source") != fingerprint or frame_bytes != size - _TAIL - length:
        return None
    return {**metadata, "times_s": np.array(metadata["times_s"], np.float64)}


def _mapped(path: Path, metadata: dict[str, Any]) -> CachedVideo | None:
    if metadata["damaged"]:
        return None
    source, (height, width), fps, *counts = metadata["info"]
    frames = np.memmap(path, np.uint8, "r", shape=tuple(metadata["shape"]))
    return CachedVideo(VideoInfo(Path(source), (height, width), Fraction(fps), *counts), metadata["times_s"], frames)


def _fingerprint(video: DataVideo) -> str:
    """Of a file size and a hash of the first and last 64 KiB, of a folder of images its names and sizes.

    That survives copying, unlike the time of change.

    Raises:
        AvadetError: if it is missing or cannot be read.
    """
    if video.path is None:
        raise AvadetError(f"video {video.video_id} has no file; check videos.folder of the spec")
    try:
        if video.path.is_dir():
            listed = sorted((one.name, one.stat().st_size) for one in video.path.iterdir())
            return hashlib.sha256(repr(listed).encode()).hexdigest()[:16]
        with video.path.open("rb") as file:
            head = file.read(_EDGE_BYTES)
            size = file.seek(0, 2)
            file.seek(max(0, size - _EDGE_BYTES))
            return f"{size}-{hashlib.sha256(head + file.read()).hexdigest()[:16]}"
    except OSError as error:
        raise AvadetError(f"cannot read {video.path}: {error.strerror}; check the path") from error
