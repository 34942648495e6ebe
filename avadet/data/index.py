"""The annotation index: the keyframes of a split and the boxes of persons on them, as columns, made once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avadet.annotations.splits import DataVideo
from avadet.types import BoolArray, Float32Array, Float64Array, FrameKey, IntArray


@dataclass(frozen=True)
class AnnotationIndex:
    """Keyframes and the boxes of persons on them: one table on one clock; F keyframes, M boxes, K classes.

    Attributes:
        videos: of the split.
        video_rows: int64 (F,), position in `videos` of each keyframe's video.
        times_s: float64 (F,) seconds of the data set's clock.
        starts: int64 (F + 1,); the boxes of keyframe i are rows `starts[i]` to `starts[i + 1]` of what follows.
        boxes_norm: float32 (M, 4) xyxy, 0-1 of the frame.
        labels: bool (M, K); no class is true of a person whose actions are not known.
        scores: float32 (M,) 0-1 of the person detector; 1 for true boxes.
        person_ids: int64 (M,), -1 = unknown.
    """

    videos: tuple[DataVideo, ...]
    video_rows: IntArray
    times_s: Float64Array
    starts: IntArray
    boxes_norm: Float32Array
    labels: BoolArray
    scores: Float32Array
    person_ids: IntArray

    def __len__(self) -> int:
        """Number of keyframes."""
        return len(self.times_s)

    def video(self, keyframe: int) -> DataVideo:
        """The video of a keyframe."""
        return self.videos[int(self.video_rows[keyframe])]

    def key(self, keyframe: int) -> FrameKey:
        """The name of a keyframe."""
        return FrameKey(self.video(keyframe).video_id, float(self.times_s[keyframe]))

    def rows(self, keyframe: int) -> IntArray:
        """Rows of a keyframe's boxes, int64 (N,)."""
        return np.arange(self.starts[keyframe], self.starts[keyframe + 1])

    def select(self, keyframes: IntArray) -> AnnotationIndex:
        """Only these keyframes, in this order, e.g. every fourth second for a quick look while training."""
        counts = np.diff(self.starts)[keyframes]
        rows = ranges(self.starts[:-1][keyframes], counts)
        return AnnotationIndex(
            self.videos,
            self.video_rows[keyframes],
            self.times_s[keyframes],
            row_starts(counts),
            self.boxes_norm[rows],
            self.labels[rows],
            self.scores[rows],
            self.person_ids[rows],
        )


def row_starts(counts: IntArray) -> IntArray:
    """Where the rows of each group begin, and where the last ends, of their counts (n,); int64 (n + 1,)."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]).astype(np.int64)


def ranges(starts: IntArray, counts: IntArray) -> IntArray:
    """start, start + 1, ... of each (start, count), one after the other."""
    before = np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(starts, counts) + np.arange(counts.sum()) - before
