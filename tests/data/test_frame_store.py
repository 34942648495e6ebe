"""The folder of decoded frames."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from avadet.data.frame_store import FrameStore, StoredVideo
from avadet.errors import AvadetError


class Decoder:
    """Counts how often it is asked; its frames hold the file's first byte."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, path: Path, short_side: int) -> StoredVideo:
        self.calls += 1
        frames = np.full((3, short_side, short_side + 4, 3), path.read_bytes()[0], np.uint8)
        return StoredVideo(frames, np.arange(3) / 30)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "a.mp4"
    path.parent.mkdir()
    path.write_bytes(b"\x07 a video")
    return path


def test_each_video_is_decoded_once(tmp_path: Path, source: Path) -> None:
    decode = Decoder()
    for _ in range(2):
        video = FrameStore(tmp_path / "c", 8, decode).open("walk/a", source)
    assert decode.calls == 1
    assert video.frames.shape == (3, 8, 12, 3) and video.frames.dtype == np.uint8 and (video.frames == 7).all()
    assert isinstance(video.frames, np.memmap)
    np.testing.assert_allclose(video.times_s, [0, 1 / 30, 2 / 30], atol=1e-6)


def test_other_sizes_and_changed_files_are_decoded_again(tmp_path: Path, source: Path) -> None:
    decode = Decoder()
    FrameStore(tmp_path / "c", 8, decode).open("a", source)
    assert FrameStore(tmp_path / "c", 10, decode).open("a", source).frames.shape[1] == 10
    os.utime(source, (0, 0))
    FrameStore(tmp_path / "c", 8, decode).open("a", source)
    assert decode.calls == 2
    source.write_bytes(b"\x09 a video")  # the same length
    assert (FrameStore(tmp_path / "c", 8, decode).open("a", source).frames == 9).all()


def test_a_filled_folder_needs_no_source(tmp_path: Path, source: Path) -> None:
    decode = Decoder()
    FrameStore(tmp_path / "c", 8, decode).fill([("a", source)])
    source.unlink()
    assert len(FrameStore(tmp_path / "c", 8, decode).open("a", source).frames) == 3
    assert decode.calls == 1


def test_nothing_at_all_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(AvadetError, match=r"none\.mp4 is missing and .* holds no frames of it; check data\.root"):
        FrameStore(tmp_path / "c", 8, Decoder()).open("none", tmp_path / "none.mp4")


def test_a_failed_decode_leaves_nothing_behind(tmp_path: Path, source: Path) -> None:
    def broken(path: Path, short_side: int) -> StoredVideo:
        raise AvadetError("damaged")

    with pytest.raises(AvadetError, match="damaged"):
        FrameStore(tmp_path / "c", 8, broken).fill([("a", source)], threads=2)
    assert not [path for path in (tmp_path / "c").rglob("*") if path.is_file()]


def test_a_half_written_or_damaged_entry_is_made_anew(tmp_path: Path, source: Path) -> None:
    decode = Decoder()
    for damage in (None, lambda: (tmp_path / "c/8/a.json").write_text("{"), (tmp_path / "c/8/a.npy").unlink):
        if damage:
            damage()
        assert len(FrameStore(tmp_path / "c", 8, decode).open("a", source).frames) == 3
    assert decode.calls == 3


@pytest.mark.shared
def test_a_real_video_keeps_its_frames(tmp_path: Path, shared: Path) -> None:
    path = sorted((shared / "data/jhmdb21/videos/wave").glob("*.mp4"))[0]
    video = FrameStore(tmp_path, 60).open("wave", path)
    assert video.frames.shape[1:] == (60, 80, 3) and 15 <= len(video.frames) <= 40
    assert video.times_s[0] == 0 and np.diff(video.times_s).min() > 0.03
