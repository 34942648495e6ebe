"""What rules know of a video; `avadet.data.video_facts` reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from avadet.types import Float64Array, VideoInfo


@dataclass(frozen=True)
class VideoMeta:
    """What a video of a data set turned out to be.

    Attributes:
        video_id: its name in the annotations.
        path: its file, None = there is none.
        starts_at_s: time of the file's first frame on the data set's clock, seconds.
        numbered_fps: where times only name frames: frames that make a second; None = times are times.
        is_images: whether it is a folder of images.
        info: what the file says of itself; None = it cannot be read.
        problem: why it cannot be read.
        last_s: up to where there are pictures for certain, seconds of the file: the last keyframe where the video goes
            on after it, else the last picture.
        duration_s: of the pictures, seconds: where they end if that is known, else by the header or by counting, but no
            less than `last_s`.
        num_frames: counted; 0 where keyframes are times.
        gaps_s: of the recording, float64 (n, 2), between which pictures, seconds of the file; looked for where the
            header counts fewer frames than its duration and rate make.
    """

    video_id: str
    path: Path | None
    starts_at_s: float = 0.0
    numbered_fps: float | None = None
    is_images: bool = False
    info: VideoInfo | None = None
    problem: str = ""
    last_s: float = 0.0
    duration_s: float = 0.0
    num_frames: int = 0
    gaps_s: Float64Array = field(default_factory=lambda: np.zeros((0, 2)))

    @property
    def slack_s(self) -> float:
        """How far past the last picture a keyframe may lie: it is on show for a period."""
        return 0.1 + (1.5 / float(self.info.fps) if self.info else 0.0)

    @property
    def span_s(self) -> tuple[float, float]:
        """First and last moment that a keyframe may have, seconds of the data set's clock; without end if unknown."""
        if self.info is None:
            return -np.inf, np.inf
        if self.numbered_fps is not None:
            half = 0.5 / self.numbered_fps
            return self.starts_at_s - half, self.starts_at_s + self.num_frames / self.numbered_fps - half
        return self.starts_at_s, self.starts_at_s + self.last_s + self.slack_s
