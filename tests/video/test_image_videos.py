"""Folders of images read as videos: which file is which frame, and the same frames as the video file gives."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from ava_like import write_film
from each_case import each_case

from avadet.errors import AvadetError
from avadet.types import ClipSpec
from avadet.video import image_names
from avadet.video.image_names import ImageSequence, video_id_of
from avadet.video.images import ImageReader, decoded
from avadet.video.read import open_video, probe
from avadet.video.sample import read_clip

FPS = 25.0
HW = (32, 48)


def write_images(folder: Path, names: Sequence[str], size_hw: tuple[int, int] = HW) -> Path:
    """Images of one grey each: 8 times their place in the row."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), np.full((*size_hw, 3), 8 * place % 256, np.uint8))
    return folder


def greys(folder: Path, start_s: float = 0.0) -> list[tuple[int, int]]:
    """Index and place in the row of names of every frame."""
    with open_video(folder, FPS) as reader:
        return [(frame.index, round(float(frame.image.mean()) / 8)) for frame in reader.frames(start_s)]


@each_case(
    "names",
    [
        [f"clip_{n:06d}.png" for n in range(1, 13)],
        [f"img_{n:05d}.jpg" for n in range(1, 13)],
        [f"{n:05d}.jpg" for n in range(12)],
        [f"frame{n}.png" for n in range(1, 13)],
        [f"2024-05-01_cam2_{n}.bmp" for n in range(995, 1007)],
        [f"f{n}.webp" for n in range(12)],
        [f"frame_{n:04d}_of_0012.JPG" for n in range(1, 13)],
        [f"{n}.{'png' if n % 2 else 'jpg'}" for n in range(1, 13)],
    ],
)
def test_images_come_in_the_order_of_their_numbers(tmp_path: Path, names: list[str]) -> None:
    folder = write_images(tmp_path / "v", names)
    (folder / "readme.txt").write_text("no image")
    (folder / "._00001.jpg").write_text("of a Mac")
    assert greys(folder) == [(n, n) for n in range(12)]
    info = probe(folder, FPS)
    assert (info.num_frames, info.size_hw, float(info.fps), info.video_id) == (12, HW, FPS, "v")
    assert info.duration_s == pytest.approx(12 / FPS) and not info.has_audio


def test_frames_and_clips_are_those_of_the_video_file(tmp_path: Path) -> None:
    images = [np.random.default_rng(n).integers(0, 255, (64, 96, 3), np.uint8) for n in range(40)]
    film = write_film(tmp_path / "film.mp4", images, np.arange(40) / 25)
    folder = tmp_path / "film"
    folder.mkdir()
    with open_video(film) as reader:
        for frame in reader.frames():
            cv2.imwrite(str(folder / f"film_{frame.index + 1:06d}.png"), frame.image[..., ::-1])
    spec = ClipSpec(8, 2, 25.0, 48, (0.45,) * 3, (0.225,) * 3)
    with open_video(film) as file, open_video(folder, 25) as pictures:
        for start_s in (0.0, 0.5, 0.53, 99.0):
            pairs = list(zip(file.frames(start_s), pictures.frames(start_s), strict=True))
            assert all(np.array_equal(one.image, other.image) for one, other in pairs)
            assert [one.time_s for one, _ in pairs] == pytest.approx([other.time_s for _, other in pairs])
        assert [one.time_s for one in file.pictures(0.53)] == pytest.approx(
            [one.time_s for one in pictures.pictures(0.53)]
        )
        for key_s in (0.0, 0.31, 0.8, 1.58):
            one, other = read_clip(file, key_s, spec), read_clip(pictures, key_s, spec)
            assert np.array_equal(one.frames, other.frames) and one.times_s == pytest.approx(other.times_s)


def test_missing_and_damaged_images_are_damaged_frames_that_move_no_other(tmp_path: Path) -> None:
    names = [f"i_{n:05d}.jpg" for n in range(1, 31)]
    folder = write_images(tmp_path / "v", names)
    (folder / "i_00005.jpg").unlink()
    (folder / "i_00006.jpg").write_bytes(b"")
    (folder / "i_00009.jpg").write_bytes((folder / "i_00009.jpg").read_bytes()[:-40])
    (folder / "i_00012.jpg").write_text("not found")
    with open_video(folder, FPS) as reader:
        assert reader.info.display_notes == ("1 of 30 images are missing, those of number 5",)
        assert [frame.index for frame in reader.frames()] == [n for n in range(30) if n not in (4, 5, 8, 11)]
        assert reader.damaged == 4
        assert list(reader.faulty) == ["no image i_00005.jpg", "i_00006.jpg", "i_00009.jpg", "i_00012.jpg"]
        assert next(iter(reader.frames(5 / FPS))).index == 3  # the last before it that decodes is on show
        pictures = list(reader.pictures())
        assert len(pictures) == 30 and pictures[10].image()[0, 0, 0] == 80
        for index, said in ((4, r"has no image i_00005\.jpg"), (5, "0 bytes"), (8, "cut short"), (11, "no image that")):
            with pytest.raises(AvadetError, match=said):
                pictures[index].image()


@each_case(("suffix", "size"), [(".png", 0.6), (".webp", 0.7), (".bmp", 0.9), (".jpg", 0.9)])
def test_an_image_that_ends_early_is_damaged(tmp_path: Path, suffix: str, size: float) -> None:
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    data = path.read_bytes()
    assert decoded(path).shape == (64, 64, 3)
    path.write_bytes(data[: int(size * len(data))])
    with pytest.raises(AvadetError, match="cut short"):
        decoded(path)


@each_case(
    ("numbers", "indices", "note"),
    [
        (range(0, 6), range(0, 6), ""),
        (range(1, 7), range(0, 6), ""),
        (range(3, 9), range(2, 8), "2 of 8 images are missing, those of number 1, 2"),
        (range(27001, 27007), range(0, 6), "images are numbered from 27001 on; that one is at 0 s"),
        (range(5, 35, 5), range(0, 6), "numbered in steps of 5 and taken for frames that follow one another"),
        ([1, 2, 9], [0, 1, 8], "6 of 9 images are missing, those of number 3, 4, 5, ..."),
    ],
)
def test_what_the_first_number_and_holes_mean(
    tmp_path: Path, numbers: Sequence[int], indices: Sequence[int], note: str
) -> None:
    folder = write_images(tmp_path / "v", [f"{n:06d}.png" for n in numbers])
    assert [index for index, _ in greys(folder)] == list(indices)
    notes = probe(folder, FPS).display_notes
    assert (len(notes) == 1 and note in notes[0]) if note else notes == ()


def test_the_first_number_can_be_given(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "v", [f"{n:06d}.png" for n in range(27001, 27007)])
    names = ImageSequence(folder, FPS, first_number=27003).names()
    assert names.indices.tolist() == [0, 1, 2, 3] and names.path(0) == folder / "027003.png"
    assert "2 images (027001.png, 027002.png) before the first number left out" in names.notes
    with pytest.raises(AvadetError, match="no image with a number of 30000 or above"):
        ImageSequence(folder, FPS, first_number=30000).names()


def test_a_pattern_chooses_a_series(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "v", [f"{side}_{n:03d}.png" for side in ("left", "right") for n in range(1, 5)])
    with pytest.raises(AvadetError, match=r"left_001\.png and right_001\.png are not of one series.*by a pattern"):
        open_video(folder, FPS)
    for pattern in ("right_*.png", "right_{number:03d}.png", "right_%03d.png", "right_{:03}.png", "right_??3.png"):
        path = folder / pattern
        info = probe(path, FPS)
        assert info.video_id == video_id_of(path) == "v" and info.path == path
        assert info.num_frames == (3 if "?" in pattern else 4)  # numbers count from 1
    with pytest.raises(AvadetError, match=r"no image that up_\*\.png matches; it has 8 others, such as left_001\.png"):
        open_video(folder / "up_*.png", FPS)


@each_case(
    ("names", "said"),
    [
        (["1.jpg", "1.png", "2.jpg"], r"1\.jpg and 1\.png have the same number"),
        (["a.jpg", "b.jpg"], r"2 images \(a\.jpg, b\.jpg\): the frames of a video are images with numbers"),
        (["s1_01.jpg", "s1_02.jpg", "s2_01.jpg"], "are not of one series"),
        (["1699999999999999999999.jpg", "1699999999999999999998.jpg"], "are not numbered by frame"),
        (["1.jpg", "2.jpg", "5000.jpg"], "they are not the frames of one video"),
    ],
)
def test_what_is_no_series_is_refused(tmp_path: Path, names: list[str], said: str) -> None:
    with pytest.raises(AvadetError, match=said):
        open_video(write_images(tmp_path / "v", names), FPS)


def test_images_of_two_sizes_are_named(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "v", [f"{n}.png" for n in range(5)])
    write_images(folder, ["3.png"], (40, 48))
    with open_video(folder, FPS) as reader, pytest.raises(AvadetError, match=r"3\.png has 48x40 px and 0\.png 48x32"):
        list(reader.frames())


def test_forms_of_images(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(48, dtype=np.uint8) * 5, (32, 1))
    cv2.imwrite(str(tmp_path / "grey.png"), ramp)
    cv2.imwrite(str(tmp_path / "deep.png"), ramp.astype(np.uint16) * 257)
    for name in ("grey.png", "deep.png"):
        assert np.array_equal(decoded(tmp_path / name), np.dstack([ramp] * 3))
    pillow = pytest.importorskip("PIL.Image")
    turn = pillow.Exif()
    turn[0x112] = 6  # to be shown turned by a quarter, clockwise
    red = pillow.new("RGB", (48, 32), (200, 30, 40))
    red.save(tmp_path / "turned.jpg", exif=turn, quality=95)
    assert decoded(tmp_path / "turned.jpg").shape == (48, 32, 3)
    red.convert("CMYK").save(tmp_path / "ink.jpg", quality=95)
    assert np.abs(decoded(tmp_path / "ink.jpg").reshape(-1, 3).mean(axis=0) - (200, 30, 40)).max() < 4


def test_a_rate_is_needed_and_must_be_one(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "v", ["1.png", "2.png"])
    with pytest.raises(AvadetError, match="no frame rate of their own; give it, such as --fps 30"):
        open_video(folder)
    with pytest.raises(AvadetError, match=r"between 0\.001 and 1000"):
        open_video(folder, 4000)
    assert probe(folder, 30000 / 1001).fps.denominator == 1001
    (tmp_path / "empty").mkdir()
    with pytest.raises(AvadetError, match="empty is a folder without images"):
        open_video(tmp_path / "empty", 30)


def test_none_decodes(tmp_path: Path) -> None:
    folder = tmp_path / "v"
    folder.mkdir()
    for n in range(3):
        (folder / f"{n}.jpg").write_text("no image")
    with pytest.raises(AvadetError, match=r"none of the 3 images of .* can be decoded: .*0\.jpg"):
        open_video(folder, FPS)


def test_a_folder_is_listed_once_and_only_needed_images_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_images(tmp_path / "v", [f"{n:05d}.png" for n in range(1, 61)])
    listings: list[object] = []
    reads: list[str] = []
    listdir, read_bytes = os.listdir, Path.read_bytes
    monkeypatch.setattr(image_names.os, "listdir", lambda path: listings.append(path) or listdir(path))
    monkeypatch.setattr(Path, "read_bytes", lambda path: reads.append(path.name) or read_bytes(path))
    for _ in range(3):
        with open_video(folder, FPS) as reader:
            wanted = [one.image for one in reader.pictures(1.0)][:20:5]
            for image in wanted:
                image()
    assert len(listings) == 1
    assert reads == ["00001.png", "00026.png", "00031.png", "00036.png", "00041.png"] * 3
    (folder / "00061.png").write_bytes((folder / "00001.png").read_bytes())
    os.utime(folder, ns=(1, 1))
    assert probe(folder, FPS).num_frames == 61 and len(listings) == 2


def test_long_holes_are_gaps(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "v", [f"{n:05d}.png" for n in (*range(1, 31), *range(91, 121))])
    with ImageReader(ImageSequence(folder, FPS)) as reader:
        assert [frame.index for frame in reader.frames() if frame.after_gap] == [90]
        assert reader.damaged == 60
