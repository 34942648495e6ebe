"""Clips around keyframes, decoded from the videos of any data set; each drawn from (seed, epoch, keyframe) alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from avadet import boxes as box_math
from avadet.data.clip_reader import OpenVideos, read_frames
from avadet.data.dataset import ClipSample, SampleKey
from avadet.data.keyframes import Targets
from avadet.data.transforms import Augmentation, draw_change
from avadet.errors import AvadetError
from avadet.types import ClipSpec, Float32Array, IntArray
from avadet.video.reader import Reader
from avadet.video.sample import resize_short


@dataclass(frozen=True)
class KeyframeSample(ClipSample):
    """One clip, and where it comes from.

    Attributes:
        keyframe: its number among the targets.
        rows: int64 (N,), the targets' row of each person.
    """

    keyframe: int
    rows: IntArray


@dataclass(frozen=True)
class BrokenSample:
    """A clip that cannot be had.

    Attributes:
        keyframe: its number among the targets.
        video_id: its video.
        reason: what is wrong, in one line.
    """

    keyframe: int
    video_id: str
    reason: str


class ClipDataset:
    """The clip of each keyframe of a table of targets.

    Keys are (epoch, keyframe), so that workers need not be told of epochs. A clip is the same whatever process makes
    it, and whatever that process did before.
    """

    def __init__(
        self,
        targets: Targets,
        spec: ClipSpec,
        augmentation: Augmentation | None = None,
        *,
        seed: int = 0,
        open_videos: int = 4,
    ) -> None:
        """Open nothing yet.

        Args:
            targets: keyframes and their people.
            spec: how a clip is sampled; its size too, where there is no augmentation.
            augmentation: how much training clips vary; None = the whole frame at the spec's short side, for testing.
            seed: of every draw.
            open_videos: files that each process keeps open.
        """
        self.targets = targets
        self.spec = spec
        self._augmentation = augmentation
        self._seed = seed
        self._videos = OpenVideos(open_videos)

    def __len__(self) -> int:
        """Number of keyframes."""
        return len(self.targets)

    def __getitem__(self, key: SampleKey) -> KeyframeSample | BrokenSample:
        """The clip of (epoch, keyframe), or why there is none; who asked decides what that means."""
        epoch, keyframe = key
        try:
            if self._augmentation is None:
                return self._whole(keyframe)
            rng = np.random.default_rng((self._seed, epoch, keyframe))
            return self._augmented(keyframe, rng, self._augmentation)
        except AvadetError as error:
            return BrokenSample(keyframe, self.targets.video(keyframe).video_id, str(error))

    def close(self) -> None:
        """Close the files that this process opened."""
        self._videos.close()

    def _whole(self, keyframe: int) -> KeyframeSample:
        """The clip as a model is tested on it."""
        spec = self.spec
        reader, time_s = self._find(keyframe)
        shape = partial(resize_short, short_side=spec.short_side, long_side=spec.long_side)
        frames, _ = read_frames(reader, time_s, spec, shape)
        frame_hw, clip_hw = reader.info.size_hw, (frames.shape[1], frames.shape[2])
        boxes_px = box_math.clip_boxes(self._boxes_px(keyframe, frame_hw), frame_hw, clip_hw, spec.boxes)
        rows = self.targets.people(keyframe)
        return KeyframeSample(frames, boxes_px, self.targets.labels[rows], keyframe, rows)

    def _augmented(self, keyframe: int, rng: np.random.Generator, augmentation: Augmentation) -> KeyframeSample:
        """One draw of the clip; frames are cropped as they are decoded, so that no whole film frames are kept."""
        spec = replace(self.spec, fps=self.spec.fps / rng.uniform(*augmentation.speed))
        reader, time_s = self._find(keyframe)
        frame_hw = reader.info.size_hw
        change = draw_change(rng, frame_hw, self._boxes_px(keyframe, frame_hw), augmentation)
        moved, _ = read_frames(reader, time_s, spec, change.move)
        rows = self.targets.people(keyframe)[change.kept]
        return KeyframeSample(change.finish(moved), change.boxes_px, self.targets.labels[rows], keyframe, rows)

    def _find(self, keyframe: int) -> tuple[Reader, float]:
        """The open video of a keyframe, and the keyframe's time in it."""
        video = self.targets.video(keyframe)
        return self._videos.reader(video), self._videos.keyframe_s(video, float(self.targets.times_s[keyframe]))

    def _boxes_px(self, keyframe: int, size_hw: tuple[int, int]) -> Float32Array:
        return box_math.to_px(self.targets.boxes_norm[self.targets.people(keyframe)], size_hw)
