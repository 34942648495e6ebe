"""Batches from video: the same whoever makes them, boxes on their people, nothing swapped in silence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ava_like import figures_set, write_film

from avadet.annotations.specs import open_data_set
from avadet.annotations.splits import DataVideo, read_split
from avadet.data.batching import (
    ClipBatch,
    ClipLoader,
    batches_by_size,
    clip_sizes,
    collate_clips,
    describe_skipped,
)
from avadet.data.clips import BrokenSample, ClipDataset, ClipSample
from avadet.data.index import AnnotationIndex
from avadet.data.keyframes import ProposalRule, scoring_index, training_index
from avadet.data.transforms import FIELD_RECIPE, Augmentation
from avadet.errors import AvadetError
from avadet.training.feed import EpochSamples, Share
from avadet.types import ClipSpec

SPEC = ClipSpec(6, 2, 15.0, 64, (0.45, 0.5, 0.4), (0.225,) * 3)
VARIED = replace(FIELD_RECIPE, size_hw=(56, 56), short_side=(64.0, 80.0), brightness=0.2, box_jitter=0.05)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return figures_set(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def train(spec: Path) -> AnnotationIndex:
    data = open_data_set(spec)
    return training_index(read_split(data, "train"), data.labels, ProposalRule())


def _bytes(batches: list[ClipBatch]) -> list[bytes]:
    parts = ("clips", "rois", "labels", "keyframes", "rows")
    return [b"".join(getattr(batch, part).contiguous().numpy().tobytes() for part in parts) for batch in batches]


def _loader(targets: AnnotationIndex, workers: int = 0, seed: int = 4, size: int = 2) -> ClipLoader:
    dataset = ClipDataset(targets, SPEC, VARIED, seed=seed, open_videos=1)
    return ClipLoader(dataset, Share(size).plan(EpochSamples(targets.video_rows), seed), workers=workers)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_batches_do_not_depend_on_the_number_of_workers(train: AnnotationIndex) -> None:
    expected = [_bytes(list(_loader(train).batches(epoch))) for epoch in range(2)]
    assert len(expected[0]) == 3 and expected[0] != expected[1]
    for workers in (1, 3):
        loader = _loader(train, workers)
        assert [_bytes(list(loader.batches(epoch))) for epoch in range(2)] == expected
    assert _bytes(list(_loader(train, seed=5).batches())) != expected[0]


def test_any_step_of_any_epoch_can_be_entered(train: AnnotationIndex) -> None:
    whole = list(_loader(train).batches(7))
    late = list(_loader(train, workers=1).batches(7, 2))
    assert _bytes(late) == _bytes(whole[2:])
    drawn = torch.cat([batch.keyframes for batch in whole]).tolist()
    assert len(train) == 7 and len(set(drawn)) == len(drawn) == 6  # the last one would not fill a batch


def test_batches_hold_what_the_targets_say(train: AnnotationIndex) -> None:
    for batch in _loader(train).batches():
        assert batch.clips.dtype == torch.uint8 and batch.clips.shape == (2, 3, 6, 56, 56)
        assert batch.rois.shape == (len(batch.rows), 5) and len(batch.labels) == len(batch.rows)
        np.testing.assert_array_equal(batch.labels.numpy(), train.labels[batch.rows].astype(np.float32))
        for roi, row in zip(batch.rois, batch.rows):
            keyframe = int(batch.keyframes[int(roi[0])])
            assert train.starts[keyframe] <= row < train.starts[keyframe + 1]
        assert batch.rois[:, 1:].min() >= 0 and batch.rois[:, 1:].max() <= 56


def test_whole_clips_for_testing(spec: Path) -> None:
    data = open_data_set(spec)
    targets = scoring_index(read_split(data, "val"), data.labels, 0.8)
    loader = ClipLoader(ClipDataset(targets, SPEC), batches_by_size(clip_sizes(targets, SPEC), 3))
    batches = list(loader.batches())
    assert [batch.keyframes.tolist() for batch in batches] == [[0, 1, 2], [3]]
    rois, rows = (torch.cat([getattr(batch, part) for batch in batches]).numpy() for part in ("rois", "rows"))
    assert batches[0].clips.shape == (3, 3, 6, 64, 85)
    np.testing.assert_allclose(rois[:, 1:], targets.boxes_norm[rows] * [85, 64, 85, 64], atol=1e-4)


def test_a_box_stays_on_its_paint(tmp_path: Path) -> None:
    """A white square moves over black; around its keyframe the box must hold all of the white and not much else."""
    images = np.zeros((40, 96, 128, 3), np.uint8)
    for frame, image in enumerate(images):
        image[30:60, 2 * frame : 2 * frame + 30] = 255
    path = write_film(tmp_path / "square.mp4", list(images), np.arange(40) / 20)
    times_s = np.array([0.5, 1.0, 1.35])
    left = 2 * np.rint(times_s * 20)
    boxes = np.stack([left / 128, 0 * left + 30 / 96, (left + 30) / 128, 0 * left + 60 / 96], 1).astype(np.float32)
    targets = AnnotationIndex(
        (DataVideo("square", path),), np.zeros(3, np.int64), times_s, np.arange(4), boxes, np.ones((3, 1), np.bool_),
        np.ones(3, np.float32), np.zeros(3, np.int64),
    )  # fmt: skip
    wide = Augmentation((64, 64), short_side=(70.0, 110.0), keep_one=False, min_visible=0.99, flip=0.5)
    dataset = ClipDataset(targets, replace(SPEC, fps=20.0), wide, seed=1)
    checked = 0
    for epoch in range(12):
        for keyframe in range(3):
            sample = dataset[epoch, keyframe]
            assert isinstance(sample, ClipSample)
            if len(sample.boxes_px):
                rows, columns = np.nonzero(sample.frames[3, :, :, 0] > 128)  # T // 2 is the keyframe
                painted = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                np.testing.assert_allclose(sample.boxes_px[0], painted, atol=1.5)
                checked += 1
    assert checked > 10


@pytest.fixture
def damaged(train: AnnotationIndex, tmp_path: Path) -> AnnotationIndex:
    """The first video is cut short, its keyframes are 0 to 2."""
    first = train.videos[0]
    path = tmp_path / "short.mp4"
    path.write_bytes(first.path.read_bytes()[:3000])
    return replace(train, videos=(replace(first, path=path), *train.videos[1:]))


def test_labels_stay_with_their_persons_and_epochs_differ(tmp_path: Path) -> None:
    """A person in the red half of the picture does the first thing, one in the blue half the other."""
    images = np.zeros((12, 96, 128, 3), np.uint8)
    images[:, :, :64, 0] = images[:, :, 64:, 2] = 255
    path = write_film(tmp_path / "halves.mp4", list(images), np.arange(12) / 20)
    boxes = np.array([[0.05, 0.2, 0.2, 0.8], [0.8, 0.2, 0.95, 0.8]], np.float32)
    index = AnnotationIndex(
        (DataVideo("halves", path),), np.zeros(1, np.int64), np.array([0.25]), np.array([0, 2]), boxes,
        np.eye(2, dtype=np.bool_), np.ones(2, np.float32), np.arange(2),
    )  # fmt: skip
    close = Augmentation((64, 64), short_side=(110.0, 130.0), keep_one=False, min_visible=0.5, flip=0.5)
    dataset = ClipDataset(index, replace(SPEC, fps=20.0), close, seed=1)
    samples = [dataset[epoch, 0] for epoch in range(16)]
    for sample in samples:
        assert isinstance(sample, ClipSample)
        for (x1, y1, x2, y2), label in zip(sample.boxes_px, sample.labels):
            red, _, blue = sample.frames[3, int((y1 + y2) / 2), int((x1 + x2) / 2)].tolist()
            assert label.tolist() == [red > blue, blue > red]
    assert {(0,), (1,)} <= {tuple(sample.rows.tolist()) for sample in samples}
    assert len({sample.frames.tobytes() for sample in samples}) > 10


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_video_is_an_error_that_names_it(damaged: AnnotationIndex, workers: int) -> None:
    with pytest.raises(AvadetError, match=r"video figures_0: .*short\.mp4 is not a video that can be read") as caught:
        list(_loader(damaged, workers).batches())
    assert "\n" not in str(caught.value)


def test_skipped_clips_are_counted_and_no_other_takes_their_place(
    train: AnnotationIndex, damaged: AnnotationIndex
) -> None:
    plan = Share(2).plan(EpochSamples(train.video_rows), 4)
    whole = ClipLoader(ClipDataset(train, SPEC, VARIED, seed=4), plan)
    loader = ClipLoader(ClipDataset(damaged, SPEC, VARIED, seed=4), plan, on_error="skip", workers=1)
    kept = list(loader.batches(1))
    lost = set(loader.skipped)
    assert lost and lost <= {0, 1, 2} and {sample.video_id for sample in loader.skipped.values()} == {"figures_0"}
    for batch, after in zip(whole.batches(1), kept, strict=True):
        stays = [place for place, keyframe in enumerate(batch.keyframes.tolist()) if keyframe not in lost]
        assert after.keyframes.tolist() == batch.keyframes[stays].tolist()
        assert len(after.clips) == len(stays) and {one.keyframe for one in after.broken} <= lost
        if stays:
            torch.testing.assert_close(after.clips, batch.clips[stays], rtol=0, atol=0)
    (line,) = describe_skipped(loader.skipped.values())
    assert line.startswith(f"{len(lost)} clips of figures_0 left out: ")
    list(loader.batches(1))
    assert set(loader.skipped) == lost  # each keyframe counts once


def test_too_many_skipped_are_an_error(damaged: AnnotationIndex) -> None:
    plan = Share(2).plan(EpochSamples(damaged.video_rows), 4)
    dataset = ClipDataset(damaged, SPEC, VARIED, seed=4)
    with pytest.raises(AvadetError, match=r"1 of 7 keyframes .*, more than data\.max_skipped=0\.1 allows; 1 "):
        list(ClipLoader(dataset, plan, on_error="skip", max_skipped=0.1).batches(1))


def test_a_missing_video_and_a_wrong_clock_are_named(train: AnnotationIndex) -> None:
    missing = replace(train, videos=(replace(train.videos[0], path=None), *train.videos[1:]))
    sample = ClipDataset(missing, SPEC)[0, 0]
    assert isinstance(sample, BrokenSample) and "figures_0 has no file" in sample.reason
    other = replace(train, videos=tuple(replace(video, starts_at_s=0.0) for video in train.videos))
    sample = ClipDataset(other, SPEC)[0, 0]
    assert isinstance(sample, BrokenSample) and "no frame at 900.000 s" in sample.reason


def _sample(keyframe: int, size_hw: tuple[int, int]) -> ClipSample:
    frames = np.full((2, *size_hw, 3), 10 * keyframe, np.uint8)
    box = np.array([[1, 2, size_hw[1], size_hw[0]]], np.float32)
    return ClipSample(frames, box, np.ones((1, 4), np.bool_), keyframe, np.array([keyframe]))


def test_clips_of_several_sizes_are_padded_and_keep_their_boxes() -> None:
    batch = collate_clips([_sample(1, (4, 6)), _sample(2, (8, 3))], 4, (9, 8, 7))
    assert batch.clips.shape == (2, 3, 2, 8, 6)
    assert (batch.clips[0, :, :, :4] == 10).all() and (batch.clips[1, :, :, :, :3] == 20).all()
    assert batch.clips[0, :, 0, 5, 5].tolist() == [9, 8, 7] and batch.clips[1, :, 1, 0, 4].tolist() == [9, 8, 7]
    assert batch.rois.tolist() == [[0, 1, 2, 6, 4], [1, 1, 2, 3, 8]]
    assert batch.to(torch.device("cpu")).keyframes.tolist() == [1, 2]


def test_a_batch_of_nothing() -> None:
    batch = collate_clips([BrokenSample(3, "v", 1.0, "gone")], 4, (0, 0, 0))
    assert len(batch.clips) == 0 and batch.rois.shape == (0, 5) and batch.labels.shape == (0, 4)
    assert batch.broken[0].keyframe == 3


def test_batches_by_size_do_not_mix() -> None:
    sizes = np.array([[4, 6], [4, 6], [8, 3], [4, 6], [8, 3], [0, 0]])
    assert [batch.tolist() for batch in batches_by_size(sizes, 2)(5)] == [[0, 1], [3], [2, 4], [5]]
