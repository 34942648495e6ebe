"""Decoded frames kept on disk, so that a training run decodes each video once and later runs not at all.

One video is two files: `NAME.npy`, uint8 (L, h, w, 3) RGB, which readers map into memory (worker processes share
one copy through the page cache), and `NAME.json`, the frames' times and what the source file looked like. Both are
written whole or not at all, the second last.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avadet.errors import AvadetError
from avadet.files import whole_file
from avadet.types import Float64Array, UInt8Array

_EDGE_BYTES = 65536


@dataclass(frozen=True)
class StoredVideo:
    """All frames of one video.

    Attributes:
        frames: uint8 (L, h, w, 3) RGB, read-only, usually mapped from disk.
        times_s: float64 (L,), increasing, 0 for the first frame.
    """

    frames: UInt8Array
    times_s: Float64Array


Decoder = Callable[[Path, int], StoredVideo]


def decode_video(path: Path, short_side: int) -> StoredVideo:
    """Decode a whole video with `avadet.video.read`, each frame resized to `short_side` px.

    Raises:
        AvadetError: if the file cannot be read or gives no frame.
    """
    from avadet.video.read import VideoReader
    from avadet.video.sample import resize_short

    frames, times = [], []
    with VideoReader(path) as reader:
        for frame in reader.frames():
            frames.append(resize_short(frame.image, short_side))
            times.append(frame.time_s)
    if not frames:
        raise AvadetError(f"{path} gives no frame")
    return StoredVideo(np.stack(frames), np.array(times, np.float64))


class FrameStore:
    """A folder of decoded videos.

    A stored video counts if the source file still has the same size and the same bytes at both ends, or if the
    source file is absent: a folder filled elsewhere then serves as it is.
    """

    def __init__(self, folder: str | Path, short_side: int, decode: Decoder = decode_video) -> None:
        """Open the folder; nothing is read or made yet.

        Args:
            folder: where the files go; one sub-folder per `short_side`.
            short_side: px, the shorter side of the frames that are kept.
            decode: what turns a file into frames when the folder has none.
        """
        self._folder = Path(folder) / str(short_side)
        self._short_side = short_side
        self._decode = decode
        self._times_s: dict[str, Float64Array] = {}

    def open(self, video_id: str, path: Path) -> StoredVideo:
        """The frames of a video, decoded now if they are not stored yet; files are compared once in a store's life.

        Raises:
            AvadetError: if nothing is stored and the file cannot be read.
        """
        if video_id not in self._times_s:
            self._times_s[video_id] = self._checked(video_id, path)
        return StoredVideo(np.load(self._paths(video_id)[0], mmap_mode="r"), self._times_s[video_id])

    def fill(self, videos: Iterable[tuple[str, Path]], threads: int = 1) -> None:
        """Decode every (video_id, path) that is not stored yet, `threads` at a time.

        Raises:
            AvadetError: for the first video that cannot be read.
        """
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(lambda video: self.open(*video), videos):
                pass

    def _checked(self, video_id: str, path: Path) -> Float64Array:
        """Times of the frames, once it is sure that the stored ones are those of the file."""
        frames_path, facts_path = self._paths(video_id)
        fingerprint = _fingerprint(path)
        facts = _read_facts(facts_path)
        if facts is None or fingerprint not in (None, facts["source"]) or not frames_path.is_file():
            facts = self._fill(video_id, path, fingerprint)
        return np.array(facts["times_s"], np.float64)

    def _fill(self, video_id: str, path: Path, fingerprint: str | None) -> dict[str, object]:
        if fingerprint is None:
            raise AvadetError(f"{path} is missing and {self._folder} holds no frames of it; check data.root")
        video = self._decode(path, self._short_side)
        facts: dict[str, object] = {"source": fingerprint, "times_s": video.times_s.round(6).tolist()}
        frames_path, facts_path = self._paths(video_id)
        with whole_file(frames_path) as partial:
            np.save(partial, video.frames)
        with whole_file(facts_path) as partial:
            partial.write_text(json.dumps(facts), encoding="utf-8")
        return facts

    def _paths(self, video_id: str) -> tuple[Path, Path]:
        """Where the frames and the facts of a video lie; slashes in its name become folders."""
        base = self._folder / video_id
        return base.with_name(base.name + ".npy"), base.with_name(base.name + ".json")


def _fingerprint(path: Path) -> str | None:
    """Size and a hash of the first and last 64 KiB: survives copying, unlike the time of change. None if absent."""
    try:
        with path.open("rb") as file:
            head = file.read(_EDGE_BYTES)
            size = file.seek(0, 2)
            file.seek(max(0, size - _EDGE_BYTES))
            return f"{size}-{hashlib.sha256(head + file.read()).hexdigest()[:16]}"
    except FileNotFoundError:
        return None


def _read_facts(path: Path) -> dict[str, object] | None:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return facts if isinstance(facts, dict) and {"source", "times_s"} <= facts.keys() else None
