"""Clips straight from video files are those that reading the whole file gives."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from ava_like import write_film
from each_case import each_case

from avadet.annotations.splits import DataVideo
from avadet.data.clip_reader import OpenVideos, read_frames
from avadet.errors import AvadetError
from avadet.types import ClipSpec
from avadet.video.read import VideoReader
from avadet.video.sample import clip_indices, read_clip, resize_short

SPEC = ClipSpec(8, 2, 30.0, 48, (0.45,) * 3, (0.225,) * 3)
SLOW = ClipSpec(5, 7, 25.0, 48, (0.45,) * 3, (0.225,) * 3)
RATES = ("constant", "varying", "slow", "gap")


def _times(rate: str) -> np.ndarray:
    if rate == "constant":
        return np.arange(90) / 30
    if rate == "slow":
        return np.arange(8) / 2.5
    if rate == "gap":  # in which the nearest frame is further off than frames usually are
        return np.arange(90) / 30 + 0.4 * (np.arange(90) > 45)
    return np.cumsum(np.random.default_rng(3).choice([0.02, 0.033, 0.05, 0.2], 90))


def _images(count: int) -> list[np.ndarray]:
    """A grey ramp that moves, so that every frame differs from its neighbours."""
    ramp = np.linspace(0, 200, 96)
    return [np.broadcast_to((ramp[:, None] + 5 * i)[None] % 256, (64, 96, 3)).astype(np.uint8) for i in range(count)]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("films")
    return {
        rate: write_film(folder / f"{rate}.mp4", _images(len(_times(rate))), _times(rate) + 1.5, gop=25)
        for rate in RATES
    }


def _short(image: np.ndarray) -> np.ndarray:
    return resize_short(image, 48)


@each_case("rate", RATES)
@each_case("spec", [SPEC, SLOW])
def test_the_clip_is_that_of_a_whole_reading(films: dict[str, Path], rate: str, spec: ClipSpec) -> None:
    rng = np.random.default_rng(0)
    with VideoReader(films[rate], threads=1) as reader:
        frames = [_short(frame.image) for frame in reader.frames()]
        times_s = np.array([picture.time_s for picture in reader.pictures()])
        for key_s in [0.0, times_s[-1], 1.0, 1.66, 1.71, 1.75, *rng.uniform(-0.2, times_s[-1] + 0.2, 12)]:
            got, got_s = read_frames(reader, key_s, spec, _short)
            wanted = clip_indices(times_s, key_s, spec)
            np.testing.assert_array_equal(got_s, times_s[wanted])
            np.testing.assert_array_equal(got, np.stack([frames[i] for i in wanted]))
            again = read_clip(reader, key_s, spec)
            np.testing.assert_array_equal(got, again.frames)
            np.testing.assert_array_equal(got_s, again.times_s)


def test_only_frames_of_the_clip_become_images(films: dict[str, Path]) -> None:
    seen = []
    with VideoReader(films["constant"]) as reader:
        read_frames(reader, 1.5, SPEC, lambda image: seen.append(1) or image)
        assert len(seen) == 8
        seen.clear()
        read_frames(reader, 0.0, SPEC, lambda image: seen.append(1) or image)
        assert len(seen) == 4  # the first frame is repeated four times


def test_a_keyframe_without_a_frame_is_an_error(films: dict[str, Path]) -> None:
    with VideoReader(films["constant"]) as reader:
        for key_s in (902.0, -900.0, 3.6):
            with pytest.raises(AvadetError, match=r"has no frame at .*, the nearest is at .*starts_at_s"):
                read_frames(reader, key_s, SPEC, _short)
        read_frames(reader, 3.0, SPEC, _short)  # one period after the last frame: its end


def test_damage_in_the_clip_is_an_error(films: dict[str, Path], tmp_path: Path) -> None:
    data = bytearray(films["constant"].read_bytes())
    at = data.index(b"mdat") + 4
    middle = at + (len(data) - at) // 2
    data[middle : middle + 1500] = bytes(1500)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data)
    errors = 0
    with VideoReader(broken, threads=1) as reader:
        for key_s in np.arange(0.2, 2.8, 0.2):
            try:
                got, _ = read_frames(reader, key_s, SPEC, _short)
            except AvadetError as error:
                assert "broken.mp4 is damaged near" in str(error)
                errors += 1
            else:
                with VideoReader(films["constant"], threads=1) as whole:
                    np.testing.assert_array_equal(got, read_frames(whole, key_s, SPEC, _short)[0])
    assert 0 < errors < 13


def test_few_files_stay_open(films: dict[str, Path]) -> None:
    videos = OpenVideos(2)
    first = videos.reader(DataVideo("v", films["constant"]))
    assert videos.reader(DataVideo("v", films["constant"])) is first
    videos.reader(DataVideo("v", films["varying"]))
    videos.reader(DataVideo("v", films["slow"]))
    assert len(videos) == 2 and videos.reader(DataVideo("v", films["constant"])) is not first
    copy = pickle.loads(pickle.dumps(videos))
    assert len(copy) == 0 and len(videos) == 2
    videos.close()
    assert len(videos) == 0


def test_a_walk_over_leaves_its_file_to_the_next(films: dict[str, Path]) -> None:
    with VideoReader(films["constant"]) as reader:
        opened = []
        open_new = reader._open
        reader._open = lambda: opened.append(1) or open_new()  # type: ignore[method-assign]
        for key_s in (1.0, 2.0, 0.8, 2.5):
            read_frames(reader, key_s, SPEC, _short)
        assert not opened  # the file that the reader looked into when it was made does for all


def test_numbered_keyframes_find_their_frames(films: dict[str, Path]) -> None:
    """Frame 45 of a file whose own times have gaps, named 1.5 s at 30 frames per second."""
    videos = OpenVideos()
    video = DataVideo("v", films["varying"], 0.0, 30.0)
    assert videos.keyframe_s(video, 1.5) == pytest.approx(_times("varying")[45] - _times("varying")[0], abs=1e-4)
    with pytest.raises(AvadetError, match="has 90 frames, none of number 90"):
        videos.keyframe_s(video, 3.0)
    timed = DataVideo("v", films["varying"], 900.0)
    assert videos.keyframe_s(timed, 902.5) == 2.5
    with pytest.raises(AvadetError, match="video v has no file"):
        videos.keyframe_s(DataVideo("v", None), 1.0)
    videos.close()
