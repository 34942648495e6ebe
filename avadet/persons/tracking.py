"""Following people from frame to frame: ByteTrack (Zhang et al. 2022) of the `trackers` package, set for low rates.

ByteTrack's own settings are meant for 30 frames a second. People are detected here every 0.2 to 1 s, when a fast one's
boxes no longer overlap. Five things differ, all of them settings or calls of the package:

- Boxes are compared by their IoU after growing each side by `GROWTH` of its length (Yang et al., "Hard to Track
  Objects with Irregular Motions and Similar Appearances? Make It Easier by Buffering the Matching Space", 2023).
- The motion model counts in steps of 1 / `RATE` s, so that one odd step between keyframes does not throw a track away.
- The package names a person at the second sight. New people are shown to it once more a microsecond later, so that
  they have their id at the first.
- People with a score of at least `STRONG` are shown first and all people a microsecond later, so that a doubtful box
  does not take the number of somebody who is plainly there; it may still carry on a track that nobody took. These are
  ByteTrack's two rounds, but here a doubtful box may start a track as well.
- A box under `STRONG` that lies by `COVERED` of its area inside a surer one, and is at least `ALIKE` as large, is most
  often a second box of the same person. It gets no number, or it would pass the person's number back and forth.

What a number means: the same person for as long as he or she is not unseen for longer than `memory_s`, and there is no
cut. Whoever is lost while walking is expected farther on, so who walks out of the picture must be back within about a
second. Who comes later, or after a cut, is a new person. Two who pass each other within one step may swap numbers: look
for people a few times a second where they cross. Colours of clothes were tried to tell who it is: among five people who
step into one real picture one after the other, two strangers in black were more alike than most dancers were to
themselves three seconds later, so nobody is recognised by looks.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from avadet.errors import AvadetError
from avadet.types import BoolArray, Float32Array, IntArray, PersonBoxes, UInt8Array

GROWTH = 0.7
MIN_GROWN_IOU = 0.1
RATE = 3.0
MEMORY_S = 2.5
INSTANT_S = 1e-6
STRONG = 0.6
COVERED = 0.8
ALIKE = 0.5
PACKAGE_RATE = 30
"""Frames a second in which the package counts how long it remembers the lost."""

THUMBNAIL_HW = (24, 32)
CUT_DIFFERENCE = 40.0
CUT_LIKENESS = 0.7
PLAIN = 4.0
"""Grey levels of deviation under which a picture shows nothing: flashes, and black between two shots, are skipped."""


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
        self._memory_s = memory_s
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
        """Forget everybody and everything, for the next video. Ids start at 1 again."""
        self._given = 0
        self._thumbnail: Float32Array | None = None
        self._forget_people()
        self._frame_s = self._clock_s = -np.inf

    def _forget_people(self) -> None:
        """Whoever comes next is new; ids go on counting."""
        self._tracker.reset()
        self._numbers: dict[int, int] = {}

    def pause(self, seconds: float) -> None:
        """Say that nothing was recorded for a while: if it is longer than `memory_s`, whoever comes next is new."""
        if seconds > self._memory_s:
            self._forget_people()

    def watch(self, image: UInt8Array) -> None:
        """Look for cuts: whoever is seen after one gets a new number. Show every frame, before its people.

        Args:
            image: uint8 (H, W, 3) RGB, the next frame.
        """
        now = thumbnail(image)
        if now.mean(axis=2).std() < PLAIN:
            return
        if self._thumbnail is not None and is_cut(self._thumbnail, now):
            self._forget_people()
        self._thumbnail = now

    def update(self, people: PersonBoxes, time_s: float) -> PersonBoxes:
        """Number the people of the next frame.

        Args:
            people: what the detector found; ids that it already has are ignored.
            time_s: time of the frame, seconds; not before the last one.

        Returns:
            the same boxes in the same order with `track_ids`; -1 = on no track: a score under `new_track_score`, or a
            doubtful box inside a surer one that is not much larger.

        Raises:
            AvadetError: if time runs backwards or is not finite.
        """
        if not np.isfinite(time_s) or time_s < self._frame_s:
            raise AvadetError(
                f"a tracker wants frames in order of time, got {time_s} s after {self._frame_s} s; "
                "use one PersonTracker a video, or reset() it"
            )
        self._frame_s = time_s
        strong = people.scores >= STRONG
        shown = strong | (covered_by_better(people) < COVERED)
        if strong.any() and not strong.all():
            self._step(people, strong, time_s)
        ids = self._step(people, shown, time_s)
        fresh = shown & (ids < 0) & (people.scores >= self._new_track_score)
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
        if package_id < 0:
            return -1
        if package_id not in self._numbers:
            self._given += 1
            self._numbers[package_id] = self._given
        return self._numbers[package_id]


def covered_by_better(people: PersonBoxes) -> Float32Array:
    """Share of each box's area, float32 (N,) 0-1, inside one surer box that is not over 1 / ALIKE as large."""
    boxes_px = people.boxes_px
    low = np.maximum(boxes_px[:, None, :2], boxes_px[None, :, :2])
    high = np.minimum(boxes_px[:, None, 2:], boxes_px[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = np.maximum(np.prod(boxes_px[:, 2:] - boxes_px[:, :2], axis=1), np.finfo(np.float32).tiny)
    better = (people.scores[None, :] > people.scores[:, None]) & (areas[:, None] >= ALIKE * areas[None, :])
    return np.asarray(np.where(better, shared / areas[:, None], 0).max(axis=1, initial=0), np.float32)


def thumbnail(image: UInt8Array) -> Float32Array:
    """A frame, uint8 (H, W, 3), as THUMBNAIL_HW averages of every few pixels, float32 (24, 32, 3) 0-255."""
    height, width = THUMBNAIL_HW
    sparse = image[:: max(image.shape[0] // (4 * height), 1), :: max(image.shape[1] // (4 * width), 1)]
    small = cv2.resize(sparse, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def is_cut(before: Float32Array, after: Float32Array) -> bool:
    """Whether two thumbnails that follow each other are of two shots.

    They are if they differ by CUT_DIFFERENCE grey levels on average and their brightness correlates under
    CUT_LIKENESS: a change of light keeps the pattern, a swing of the camera keeps most colours. Cuts between dark or
    much alike pictures, and slow dissolves, go unseen.
    """
    if np.abs(before - after).mean() < CUT_DIFFERENCE:
        return False
    first, second = (image.mean(axis=2) - image.mean() for image in (before, after))
    return float((first * second).sum()) < CUT_LIKENESS * float(np.sqrt((first**2).sum() * (second**2).sum()))
