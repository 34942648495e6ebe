"""Training samples: a moment of a video, the clip around it, the people in it, all drawn from (seed, epoch, index)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from avadet import boxes as box_math
from avadet.annotations.jhmdb import JhmdbVideo
from avadet.data.frame_store import FrameStore, StoredVideo
from avadet.data.transforms import Augmentation, augment_clip
from avadet.types import BoolArray, ClipSpec, Float32Array, IntArray, LabelMap, UInt8Array
from avadet.video.sample import clip_indices

SampleKey = tuple[int, int]


@dataclass(frozen=True)
class ClipSample:
    """One training clip.

    Attributes:
        frames: uint8 (T, H, W, 3) RGB.
        boxes_px: float32 (N, 4) xyxy px of the clip, the people at its keyframe.
        labels: bool (N, K).
    """

    frames: UInt8Array
    boxes_px: Float32Array
    labels: BoolArray


SceneSource = Callable[[np.random.Generator, ClipSpec, tuple[int, int]], ClipSample]


def readable_rows(video: JhmdbVideo, stored: StoredVideo) -> IntArray:
    """Rows of the annotation that the file has a frame for; int64 (M,). A few files have fewer frames than boxes."""
    return np.flatnonzero(video.frame_indices < len(stored.frames)).astype(np.int64)


class KeyframeDataset:
    """Training samples of JHMDB-like videos: one person a video, one action all along.

    Sample (epoch, index) is the same whatever process asks for it, and whenever.
    """

    def __init__(
        self,
        videos: Sequence[JhmdbVideo],
        store: FrameStore,
        spec: ClipSpec,
        labels: LabelMap,
        augmentation: Augmentation,
        *,
        seed: int = 0,
        samples_per_video: int = 1,
        figures: float = 0.0,
        scenes: SceneSource | None = None,
    ) -> None:
        """Set up the samples.

        Args:
            videos: what to draw from.
            store: where their frames are.
            spec: how a clip is sampled; its size comes from `augmentation`.
            labels: the classes; K of them.
            augmentation: how much a clip varies.
            seed: of every draw.
            samples_per_video: samples an epoch from each video.
            figures: share of samples that come from `scenes` instead.
            scenes: makes a clip of rendered figures; its sample goes through the same augmentation.
        """
        self._videos = list(videos)
        self._store = store
        self._spec = spec
        self._num_classes = len(labels)
        self._augmentation = augmentation
        self._seed = seed
        self._samples_per_video = samples_per_video
        self._figures = figures if scenes is not None else 0.0
        self._scenes = scenes

    def __len__(self) -> int:
        """Samples in an epoch."""
        return len(self._videos) * self._samples_per_video

    def __getitem__(self, key: SampleKey) -> ClipSample:
        """The sample of (epoch, index), index in [0, len)."""
        epoch, index = key
        rng = np.random.default_rng((self._seed, epoch, index))
        speed = rng.uniform(*self._augmentation.speed)
        spec = replace(self._spec, fps=self._spec.fps / speed)
        if self._scenes is not None and rng.random() < self._figures:
            sample = self._scenes(rng, spec, self._augmentation.size_hw)
        else:
            sample = self._draw(rng, spec, self._videos[index % len(self._videos)])
        frames, boxes_px, kept = augment_clip(rng, sample.frames, sample.boxes_px, self._augmentation)
        return ClipSample(frames, boxes_px, sample.labels[kept])

    def _draw(self, rng: np.random.Generator, spec: ClipSpec, video: JhmdbVideo) -> ClipSample:
        """The frames around one drawn moment of a video, as they are stored."""
        stored = self._store.open(video.video_id, video.path)
        row = int(rng.choice(readable_rows(video, stored)))
        key_s = float(stored.times_s[video.frame_indices[row]])
        indices = clip_indices(stored.times_s, key_s, spec)
        frames = np.stack([stored.frames[i] for i in indices])
        boxes_px = box_math.to_px(video.boxes_norm[row : row + 1], (frames.shape[1], frames.shape[2]))
        labels = np.zeros((1, self._num_classes), np.bool_)
        labels[0, video.class_index] = True
        return ClipSample(frames, boxes_px, labels)


def hold_out(videos: Sequence[JhmdbVideo], share: float, seed: int = 0) -> tuple[list[JhmdbVideo], list[JhmdbVideo]]:
    """Split videos into (kept, held out) without dividing the clips of one source video.

    Sources are drawn at random and held out as long as no class gives up more than about `share` of its videos, nor
    all of them. The draw depends on `seed` alone, so that runs that differ in anything else are judged on the same
    videos.
    """
    rng = np.random.default_rng(seed)
    total = Counter(video.class_index for video in videos)
    held: Counter[int] = Counter()
    groups = sorted({video.group for video in videos})
    chosen = set()
    for index in rng.permutation(len(groups)):
        counts = Counter(video.class_index for video in videos if video.group == groups[index])
        if all(held[c] + n / 2 <= share * total[c] and held[c] + n < total[c] for c, n in counts.items()):
            held += counts
            chosen.add(groups[index])
    return [v for v in videos if v.group not in chosen], [v for v in videos if v.group in chosen]
