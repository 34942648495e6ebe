"""Clips from the cache are those that decoding gives; filled once, never read half, and anew after changes."""

from __future__ import annotations

import multiprocessing
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ava_like import write_film

from avadet.annotations.splits import DataVideo
from avadet.data.clip_reader import OpenVideos
from avadet.data.clips import BrokenSample, ClipDataset, ClipSample
from avadet.data.frame_cache import CachedVideo, CacheError, FrameCache
from avadet.data.index import AnnotationIndex
from avadet.data.transforms import Augmentation
from avadet.errors import AvadetError
from avadet.types import ClipSpec
from avadet.video.read import VideoReader
from avadet.video.reader import Reader
from avadet.video.sample import resize_short

SPEC = ClipSpec(4, 2, 20.0, 48, (0.45,) * 3, (0.225,) * 3)
VARIED = Augmentation((40, 56), zoom=(0.8, 1.4), flip=0.5, saturation=0.3, box_jitter=0.05, speed=(0.8, 1.2))


def _images(seed: int, count: int = 40) -> list[np.ndarray]:
    backdrop = np.random.default_rng(seed).integers(0, 90, (9, 12, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    images = [backdrop.copy() for _ in range(count)]
    for index, image in enumerate(images):
        image[20:50, index : index + 30] = 200
    return images


@pytest.fixture
def index(tmp_path: Path) -> AnnotationIndex:
    """Two videos of 72 x 96 px with five keyframes each; of the second they are numbers of frames."""
    times_s = np.cumsum(np.random.default_rng(3).choice([0.03, 0.05, 0.08], 40))
    paths = [write_film(tmp_path / f"v{seed}.mp4", _images(seed), times_s) for seed in range(2)]
    videos = (DataVideo("v0", paths[0]), DataVideo("v1", paths[1], 0.0, 20.0))
    keys_s = np.array([0.0, 0.4, 0.8, 1.2, 1.6])
    boxes = np.tile(np.float32([0.1, 0.2, 0.6, 0.8]), (10, 1))
    return AnnotationIndex(
        videos, np.repeat([0, 1], 5), np.tile(keys_s, 2), np.arange(11), boxes, np.ones((10, 1), np.bool_),
        np.ones(10, np.float32), np.zeros(10, np.int64),
    )  # fmt: skip


def _samples(dataset: ClipDataset) -> list[ClipSample]:
    samples = [dataset[epoch, keyframe] for epoch in range(2) for keyframe in range(len(dataset))]
    dataset.close()
    assert all(isinstance(sample, ClipSample) for sample in samples), samples
    return samples  # type: ignore[return-value]


@pytest.mark.parametrize("augmentation", [None, VARIED])
def test_frames_as_they_are_give_the_very_same_clips(
    augmentation: Augmentation | None, index: AnnotationIndex, tmp_path: Path
) -> None:
    plain = _samples(ClipDataset(index, SPEC, augmentation, seed=2))
    cached = _samples(ClipDataset(index, SPEC, augmentation, seed=2, cache=FrameCache(tmp_path / "cache")))
    assert len(list((tmp_path / "cache").glob("*.frames"))) == 2
    for one, other in zip(plain, cached, strict=True):
        assert one.frames.tobytes() == other.frames.tobytes() and one.boxes_px.tobytes() == other.boxes_px.tobytes()


def test_the_short_side_of_the_clips_gives_the_same_whole_clips(index: AnnotationIndex, tmp_path: Path) -> None:
    plain = _samples(ClipDataset(index, SPEC))
    cached = _samples(ClipDataset(index, SPEC, cache=FrameCache(tmp_path / "cache", 48)))
    for one, other in zip(plain, cached, strict=True):
        assert one.frames.tobytes() == other.frames.tobytes() and one.boxes_px.tobytes() == other.boxes_px.tobytes()


def test_an_augmented_clip_is_that_of_resized_frames(index: AnnotationIndex, tmp_path: Path) -> None:
    """Frames are resized first, then cropped: as if the file had been of that size."""

    def small(_self: OpenVideos, video: DataVideo) -> CachedVideo:
        with VideoReader(video.path) as reader:
            frames = [(resize_short(frame.image, 60), frame.time_s) for frame in reader.frames()]
            images, times_s = zip(*frames)
            return CachedVideo(reader.info, np.array(times_s), np.stack(images))

    cached = _samples(ClipDataset(index, SPEC, VARIED, cache=FrameCache(tmp_path / "cache", 60)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenVideos, "_opened", small)
        resized = _samples(ClipDataset(index, SPEC, VARIED))
    for one, other in zip(resized, cached, strict=True):
        assert one.frames.tobytes() == other.frames.tobytes() and one.boxes_px.tobytes() == other.boxes_px.tobytes()


def _open(cache: FrameCache, path: Path, opened: list[Path] | None = None) -> CachedVideo | None:
    class Video(DataVideo):
        def open(self, threads: int = 0) -> Reader:
            (opened if opened is not None else []).append(path)
            return super().open(threads)

    return cache.open(Video("v", path))


def test_a_video_is_decoded_once_and_anew_when_it_changes(tmp_path: Path) -> None:
    path = write_film(tmp_path / "v.mp4", _images(1), np.arange(40) / 20)
    opened: list[Path] = []
    first = _open(FrameCache(tmp_path / "cache"), path, opened)
    again = _open(FrameCache(tmp_path / "cache"), path, opened)
    assert len(opened) == 1 and first is not None and again is not None
    assert first.info == again.info and np.array_equal(first.times_s, again.times_s)
    write_film(path, _images(2, 30), np.arange(30) / 20)
    other = _open(FrameCache(tmp_path / "cache"), path, opened)
    assert len(opened) == 2 and other is not None and len(other.frames) == 30
    assert len(first.frames) == 40 and np.array_equal(first.frames, again.frames)  # whoever has the old one keeps it
    (file,) = (tmp_path / "cache").glob("*.frames")
    file.write_bytes(file.read_bytes()[:-20000])  # half a copy
    assert len(_open(FrameCache(tmp_path / "cache"), path, opened).frames) == 30 and len(opened) == 3
    _open(FrameCache(tmp_path / "cache", 32), path, opened)
    assert len(opened) == 4 and len(list((tmp_path / "cache").glob("*.frames"))) == 2


def _fill(folder: Path, path: Path, ready: object, counted: object) -> None:
    ready.wait()  # type: ignore[attr-defined]
    opened: list[Path] = []
    _open(FrameCache(folder), path, opened)
    with counted.get_lock():  # type: ignore[attr-defined]
        counted.value += len(opened)  # type: ignore[attr-defined]


def test_processes_fill_it_once_between_them(tmp_path: Path) -> None:
    path = write_film(tmp_path / "v.mp4", _images(1), np.arange(40) / 20)
    context = multiprocessing.get_context("fork")
    ready, counted = context.Barrier(3), context.Value("i", 0)
    processes = [context.Process(target=_fill, args=(tmp_path / "cache", path, ready, counted)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0] and counted.value == 1


def test_a_damaged_video_is_decoded_clip_by_clip(
    index: AnnotationIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: FrameCache, reader: VideoReader, file: object) -> tuple[list[float], tuple[int, int]]:
        next(iter(reader.pictures()))
        raise AvadetError("damaged in its middle")

    monkeypatch.setattr(FrameCache, "_write_frames", broken)
    plain = _samples(ClipDataset(index, SPEC))
    cached = _samples(ClipDataset(index, SPEC, cache=FrameCache(tmp_path / "cache")))
    assert all(one.frames.tobytes() == other.frames.tobytes() for one, other in zip(plain, cached, strict=True))
    monkeypatch.setattr(FrameCache, "_fill", lambda *_: pytest.fail("decoded once more"))
    assert _open(FrameCache(tmp_path / "cache"), index.videos[0].path) is None  # noted for all who come later


def test_a_cache_that_cannot_be_written_is_no_fault_of_the_video(index: AnnotationIndex, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    dataset = ClipDataset(index, SPEC, cache=FrameCache(tmp_path / "file" / "cache"))
    with pytest.raises(CacheError, match="cannot write"):
        dataset[0, 0]
    gone = replace(index, videos=(DataVideo("v0", tmp_path / "gone.mp4"), index.videos[1]))
    sample = ClipDataset(gone, SPEC, cache=FrameCache(tmp_path / "cache"))[0, 0]
    assert isinstance(sample, BrokenSample) and "gone.mp4" in sample.reason


def test_it_goes_along_into_worker_processes(tmp_path: Path) -> None:
    cache = pickle.loads(pickle.dumps(FrameCache(tmp_path / "cache", 32)))
    path = write_film(tmp_path / "v.mp4", _images(1), np.arange(40) / 20)
    assert _open(cache, path).frames.shape == (40, 32, 42, 3)
