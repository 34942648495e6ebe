"""Clips around keyframes, decoded from the videos of any data set; each drawn from (seed, epoch, keyframe) alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from avadet import boxes as box_math
from avadet.data.clip_reader import OpenVideos, Source, read_frames
from avadet.data.frame_cache import CachedVideo, CacheError, FrameCache
from avadet.data.index import AnnotationIndex
from avadet.data.transforms import Augmentation, draw_change
from avadet.errors import AvadetError
from avadet.types import BoolArray, ClipSpec, Float32Array, IntArray, UInt8Array
from avadet.video.sample import resize_short

SampleKey = tuple[int, int]
"""Epoch, and number of the keyframe in the annotation index."""


@dataclass(frozen=True)
class ClipSample:
    """One clip with the boxes and labels of the persons at its keyframe, and where it comes from.

    Attributes:
        frames: uint8 (T, H, W, 3) RGB.
        boxes_px: float32 (N, 4) xyxy px of the clip.
        labels: bool (N, K).
        keyframe: its number in the annotation index.
        rows: int64 (N,), each box's row in the index.
    """

    frames: UInt8Array
    boxes_px: Float32Array
    labels: BoolArray
    keyframe: int
    rows: IntArray


@dataclass(frozen=True)
class BrokenSample:
    """A clip that cannot be had.

    Attributes:
        keyframe: its number in the annotation index.
        video_id: its video.
        time_s: of the keyframe, seconds of the data set's clock.
        reason: what is wrong, in one line.
    """

    keyframe: int
    video_id: str
    time_s: float
    reason: str


class ClipDataset:
    """The clip of each keyframe of an annotation index.

    Keys are (epoch, keyframe), so that workers need not be told of epochs. A clip is the same whatever process makes
    it, and whatever that process did before.
    """

    def __init__(
        self,
        index: AnnotationIndex,
        spec: ClipSpec,
        augmentation: Augmentation | None = None,
        *,
        seed: int = 0,
        open_videos: int = 4,
        cache: FrameCache | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            index: keyframes and the boxes on them.
            spec: how a clip is sampled; its size too, where there is no augmentation.
            augmentation: how much training clips vary; None = the whole frame at the spec's short side, for testing.
            seed: of every draw.
            open_videos: files that each process keeps open.
            cache: of decoded frames; None = decode each clip.
        """
        self.index = index
        self.spec = spec
        self.augmentation = augmentation
        self._seed = seed
        self._videos = OpenVideos(open_videos, cache=cache)

    def __len__(self) -> int:
        """Number of keyframes."""
        return len(self.index)

    def __getitem__(self, key: SampleKey) -> ClipSample | BrokenSample:
        """The clip of (epoch, keyframe), or why there is none; who asked decides what that means."""
        epoch, keyframe = key
        try:
            if self.augmentation is None:
                return self._whole(keyframe)
            rng = np.random.default_rng((self._seed, epoch, keyframe))
            return self._augmented(keyframe, rng, self.augmentation)
        except CacheError:
            raise
        except AvadetError as error:
            named = self.index.key(keyframe)
            return BrokenSample(keyframe, named.video_id, named.time_s, str(error))

    def close(self) -> None:
        """Close the files that this process opened."""
        self._videos.close()

    def _whole(self, keyframe: int) -> ClipSample:
        """The clip as a model is tested on it."""
        spec = self.spec
        reader, time_s = self._find(keyframe)
        shape = partial(resize_short, short_side=spec.short_side, long_side=spec.long_side)
        frames, _ = read_frames(reader, time_s, spec, shape)
        frame_hw, clip_hw = reader.info.size_hw, (frames.shape[1], frames.shape[2])
        boxes_px = box_math.clip_boxes(self._boxes_px(keyframe, frame_hw), frame_hw, clip_hw, spec.boxes)
        rows = self.index.rows(keyframe)
        return ClipSample(frames, boxes_px, self.index.labels[rows], keyframe, rows)

    def _augmented(self, keyframe: int, rng: np.random.Generator, augmentation: Augmentation) -> ClipSample:
        """One draw of the clip; frames are cropped as they are decoded, so that no whole film frames are kept."""
        spec = replace(self.spec, fps=self.spec.fps / rng.uniform(*augmentation.speed))
        reader, time_s = self._find(keyframe)
        frame_hw = reader.frame_hw if isinstance(reader, CachedVideo) else reader.info.size_hw
        change = draw_change(rng, frame_hw, self._boxes_px(keyframe, frame_hw), augmentation)
        moved, _ = read_frames(reader, time_s, spec, change.move)
        rows = self.index.rows(keyframe)[change.kept]
        return ClipSample(change.finish(moved), change.boxes_px, self.index.labels[rows], keyframe, rows)

    def _find(self, keyframe: int) -> tuple[Source, float]:
        """The open video of a keyframe, and the keyframe's time in it."""
        video = self.index.video(keyframe)
        return self._videos.reader(video), self._videos.keyframe_s(video, float(self.index.times_s[keyframe]))

    def _boxes_px(self, keyframe: int, size_hw: tuple[int, int]) -> Float32Array:
        return box_math.to_px(self.index.boxes_norm[self.index.rows(keyframe)], size_hw)
