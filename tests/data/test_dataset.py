"""Samples: which frames, whose box, always the same ones; and batches of them."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from avadet.annotations.jhmdb import JhmdbVideo
from avadet.data.dataset import ClipSample, KeyframeDataset, hold_out, readable_rows
from avadet.data.frame_store import FrameStore, StoredVideo
from avadet.data.loader import collate, gather_clips, stack_rois
from avadet.data.scenes import SceneClips
from avadet.data.transforms import Augmentation
from avadet.data.workers import BatchLoader
from avadet.labels import read_label_map
from avadet.types import ClipSpec, LabelMap

SPEC = ClipSpec(num_frames=4, stride=2, fps=30.0, short_side=24, mean=(0.0,) * 3, std=(1.0,) * 3)
PLAIN = Augmentation(size_hw=(24, 32))
STRONG = Augmentation(size_hw=(24, 32), zoom=(0.7, 1.5), flip=0.5, box_jitter=0.1, speed=(0.5, 2.0), brightness=0.3)
LABELS = LabelMap(("a", "b"), (1, 2), ("action",) * 2, (True,) * 2, exclusive=True)


def _video(name: str = "a/one", class_index: int = 1, length: int = 10, group: str = "one") -> JhmdbVideo:
    boxes = np.tile(np.array([[0.25, 0.25, 0.5, 0.75]], np.float32), (length, 1))
    return JhmdbVideo(name, Path(f"{name}.mp4"), class_index, boxes, np.arange(length) / 30, group)


class NumberedStore(FrameStore):
    """Every pixel of a frame holds the frame's number, times ten; 24 x 32 px; every fifth moment is skipped."""

    def __init__(self, length: int = 10) -> None:
        super().__init__("nowhere", 24)
        self._length = length

    def open(self, video_id: str, path: Path) -> StoredVideo:
        numbers = np.arange(self._length)
        frames = np.broadcast_to(numbers[:, None, None, None] * 10, (self._length, 24, 32, 3)).astype(np.uint8)
        return StoredVideo(frames, (numbers + numbers // 5) / 30)


def _dataset(augmentation: Augmentation = PLAIN, **options: object) -> KeyframeDataset:
    return KeyframeDataset([_video()], NumberedStore(), SPEC, LABELS, augmentation, **options)


def _numbers(sample: ClipSample) -> list[int]:
    return (sample.frames[:, 0, 0, 0] // 10).tolist()


def test_a_sample_is_the_clip_around_a_frame_and_its_box() -> None:
    seen = set()
    for epoch in range(60):
        sample = _dataset()[epoch, 0]
        assert sample.frames.shape == (4, 24, 32, 3)
        np.testing.assert_allclose(sample.boxes_px, [[8, 6, 16, 18]], atol=1e-4)
        assert sample.labels.tolist() == [[False, True]]
        seen.add(tuple(_numbers(sample)))
    # Frames lie at 0 1 2 3 4 6 7 8 9 10 thirtieths; a clip wants the moments -4, -2, 0 and +2 around its keyframe.
    assert (0, 0, 0, 2) in seen  # the first frame repeats before the start
    assert (5, 7, 9, 9) in seen  # and the last after the end
    assert (0, 2, 4, 5) in seen  # moments 0 2 4 6: frame 5 is shown at 6
    assert len(seen) == 10


def test_samples_depend_on_seed_epoch_and_index_alone() -> None:
    first, again = _dataset(STRONG, seed=1), _dataset(STRONG, seed=1)
    again[5, 3]
    for key in ((0, 0), (0, 1), (7, 0)):
        np.testing.assert_array_equal(first[key].frames, again[key].frames)
        np.testing.assert_array_equal(first[key].boxes_px, again[key].boxes_px)
    boxes = [
        tuple(_dataset(STRONG, seed=s)[e, i].boxes_px.ravel())
        for s, e, i in ((1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1))
    ]
    assert len(set(boxes)) == 4


def test_speed_changes_how_far_frames_lie_apart() -> None:
    wide = {tuple(np.diff(_numbers(_dataset(Augmentation((24, 32), speed=(2.0, 2.0)))[e, 0]))) for e in range(40)}
    assert max(max(steps) for steps in wide) >= 3
    slow = {tuple(np.diff(_numbers(_dataset(Augmentation((24, 32), speed=(0.5, 0.5)))[e, 0]))) for e in range(40)}
    assert max(max(steps) for steps in slow) == 1


def test_boxes_without_a_frame_are_never_drawn() -> None:
    video, store = _video(length=10), NumberedStore(length=3)
    assert readable_rows(video, store.open("", Path())).tolist() == [0, 1, 2]
    dataset = KeyframeDataset([video], store, SPEC, LABELS, PLAIN)
    assert all(max(_numbers(dataset[epoch, 0])) <= 2 for epoch in range(20))


def test_one_frame_is_enough() -> None:
    dataset = KeyframeDataset([_video(length=1)], NumberedStore(length=1), SPEC, LABELS, PLAIN)
    assert _numbers(dataset[0, 0]) == [0, 0, 0, 0]


def test_share_of_figures() -> None:
    def scene(rng: np.random.Generator, spec: ClipSpec, size_hw: tuple[int, int]) -> ClipSample:
        boxes = np.array([[2, 2, 10, 20], [12, 2, 30, 20]], np.float32)
        return ClipSample(np.full((4, *size_hw, 3), 255, np.uint8), boxes, np.eye(2, dtype=np.bool_))

    dataset = _dataset(figures=0.3, scenes=scene)
    people = [len(dataset[epoch, 0].labels) for epoch in range(300)]
    assert 0.22 < people.count(2) / 300 < 0.38 and set(people) == {1, 2}


def test_rendered_figures_are_samples_of_the_wanted_classes() -> None:
    labels = read_label_map("jhmdb21")
    sample = SceneClips(labels, ("walk", "jump"))(np.random.default_rng(0), SPEC, (48, 64))
    assert sample.frames.shape == (4, 48, 64, 3) and sample.frames.std() > 5
    assert sample.labels.shape == (len(sample.boxes_px), 21) and (sample.labels.sum(1) == 1).all()
    assert (sample.boxes_px[:, 2:] <= [64, 48]).all()


def test_held_out_videos_share_no_source_and_no_class_is_emptied() -> None:
    videos = [_video(f"v{i}", i % 3, 2, f"group{i // 4}") for i in range(60)] + [_video("rare", 3, 2, "alone")]
    kept, held = hold_out(videos, 0.25, seed=3)
    assert not {v.group for v in kept} & {v.group for v in held}
    assert sorted(v.video_id for v in kept + held) == sorted(v.video_id for v in videos)
    counts = Counter(v.class_index for v in held)
    assert all(3 <= counts[c] <= 7 for c in range(3)) and counts[3] == 0
    assert hold_out(videos, 0.25, seed=3)[1] == held
    assert hold_out(videos, 0.25, seed=4)[1] != held
    assert hold_out(videos, 0.0)[1] == []


def test_collate_by_hand() -> None:
    two = ClipSample(
        np.zeros((4, 6, 8, 3), np.uint8), np.array([[1, 2, 3, 4], [0, 0, 8, 6]], np.float32), np.eye(2, dtype=bool)
    )
    none = ClipSample(np.full((4, 6, 8, 3), 9, np.uint8), np.zeros((0, 4), np.float32), np.zeros((0, 2), bool))
    one = ClipSample(np.full((4, 6, 8, 3), 7, np.uint8), np.array([[1, 1, 2, 2]], np.float32), np.array([[True, True]]))
    batch = collate([two, none, one])
    assert batch.clips.shape == (3, 3, 4, 6, 8) and batch.clips.dtype == torch.uint8
    assert batch.clips[:, 0, 0, 0, 0].tolist() == [0, 9, 7]
    assert batch.rois.tolist() == [[0, 1, 2, 3, 4], [0, 0, 0, 8, 6], [2, 1, 1, 2, 2]]
    assert batch.labels.tolist() == [[1, 0], [0, 1], [1, 1]]
    assert stack_rois([]).shape == (0, 5)


def test_gather_clips() -> None:
    frames = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 4, 3), np.uint8)
    clips = gather_clips(frames, torch.tensor([[0, 0, 1], [3, 4, 4]]))
    assert clips.shape == (2, 3, 3, 2, 4) and clips[:, 1, :, 1, 2].tolist() == [[0, 0, 1], [3, 4, 4]]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_do_not_depend_on_processes(workers: int) -> None:
    dataset = _dataset(STRONG, samples_per_video=7)
    with closing(BatchLoader(dataset, collate, workers)) as loader:
        for epoch in (0, 1):
            keys = [[(epoch, index) for index in part] for part in ((4, 0, 2), (1, 6, 3))]
            batches = list(loader.batches(keys))
            assert len(batches) == 2
            expected = collate([dataset[key] for key in keys[1]])
            torch.testing.assert_close(batches[1].clips, expected.clips, rtol=0, atol=0)
            torch.testing.assert_close(batches[1].rois, expected.rois, rtol=0, atol=0)
    assert not multiprocessing.active_children()
