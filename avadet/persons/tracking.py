"""Following people from frame to frame: ByteTrack (Zhang et al. 2022) of the `trackers` package, set for low rates.

ByteTrack's own settings are meant for 30 frames a second. People are detected here every 0.2 to 1 s, when a fast one's
boxes no longer overlap. Three things differ, all of them settings or calls of the package:

- Boxes are compared by their IoU after growing each side by `GROWTH` of its length (Yang et al., "Hard to Track
  Objects with Irregular Motions and Similar Appearances? Make It Easier by Buffering the Matching Space", 2023).
- The motion model counts in steps of 1 / `RATE` s, so that one odd step between keyframes does not throw a track away.
- The package names a person at the second sight. New people are shown to it once more a microsecond later, so that
  they have their id at the first.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from avadet.errors import AvadetError
from avadet.types import BoolArray, IntArray, PersonBoxes

GROWTH = 0.7
MIN_GROWN_IOU = 0.1
RATE = 3.0
MEMORY_S = 2.5
INSTANT_S = 1e-6
PACKAGE_RATE = 30
"""Frames a second in which the package counts how long it remembers the lost."""


class PersonTracker:
    """Gives every person of one video a number that stays.

    Ids count from 1 in order of appearance. Nothing is shared between trackers.
    """

    def __init__(self, new_track_score: float = 0.3, memory_s: float = MEMORY_S) -> None:
        """Start without people.

        Args:
            new_track_score: lowest person score that starts a track, 0-1; boxes under it only continue one.
            memory_s: how long a person may be unseen and come back as the same, seconds.
        """
        from trackers import BIoU, ByteTrackTracker

        self._new_track_score = new_track_score
        self._tracker = ByteTrackTracker(
            lost_track_buffer=round(memory_s * PACKAGE_RATE),
            frame_rate=RATE,
            track_activation_threshold=new_track_score,
            minimum_consecutive_frames=1,
            minimum_iou_threshold=MIN_GROWN_IOU,
            high_conf_det_threshold=new_track_score,
            iou=BIoU(buffer_ratio=GROWTH),
        )
        self.reset()

    def reset(self) -> None:
        """Forget everybody; for the next video or after a cut. Ids start at 1 again."""
        self._tracker.reset()
        self._numbers: dict[int, int] = {}
        self._frame_s = self._clock_s = -np.inf

    def update(self, people: PersonBoxes, time_s: float) -> PersonBoxes:
        """Number the people of the next frame.

        Args:
            people: what the detector found; ids that it already has are ignored.
            time_s: time of the frame, seconds; not before the last one.

        Returns:
            the same boxes in the same order with `track_ids`; -1 = on no track (score under `new_track_score`).

        Raises:
            AvadetError: if time runs backwards or is not finite.
        """
        if not np.isfinite(time_s) or time_s < self._frame_s:
            raise AvadetError(
                f"a tracker wants frames in order of time, got {time_s} s after {self._frame_s} s; "
                "use one PersonTracker a video, or reset() it"
            )
        self._frame_s = time_s
        ids = self._step(people, np.ones(len(people), np.bool_), time_s)
        fresh = (ids < 0) & (people.scores >= self._new_track_score)
        if fresh.any():
            ids[fresh] = self._step(people, fresh, time_s)[fresh]
        return replace(people, track_ids=ids)

    def _step(self, people: PersonBoxes, shown: BoolArray, time_s: float) -> IntArray:
        """Show some of the people to the package once; their numbers, int64 (N,), -1 for the rest."""
        import supervision

        rows = np.flatnonzero(shown)
        self._clock_s = max(time_s, self._clock_s + INSTANT_S)
        detections = supervision.Detections(
            xyxy=people.boxes_px[rows], confidence=people.scores[rows], data={"row": rows}
        )
        tracked = self._tracker.update(detections, timestamp=self._clock_s)
        ids = np.full(len(people), -1, np.int64)
        if tracked.tracker_id is not None:
            ids[np.asarray(tracked.data.get("row", []), np.int64)] = [self._number(int(i)) for i in tracked.tracker_id]
        return ids

    def _number(self, package_id: int) -> int:
        """Our number for the package's, counted from 1; -1 stays."""
        return -1 if package_id < 0 else self._numbers.setdefault(package_id, len(self._numbers) + 1)
