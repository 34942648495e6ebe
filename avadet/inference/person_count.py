"""How many people there are in a video: one definition for the command line, live runs and the page."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from avadet.types import ActionDetections


@dataclass
class PersonCount:
    """Counts people by their tracks, on keyframes: the people who have results.

    Someone who leaves and comes back may get another track and count twice. Someone seen only between two keyframes
    has no results and does not count.

    Attributes:
        track_ids: distinct track ids so far.
        boxes: boxes on keyframes so far.
        untracked: those of them without a track.
    """

    track_ids: set[int] = field(default_factory=set)
    boxes: int = 0
    untracked: int = 0

    def add(self, detections: ActionDetections) -> None:
        """Take the next keyframe."""
        tracks = np.full(len(detections), -1) if detections.track_ids is None else detections.track_ids
        self.track_ids.update(tracks[tracks >= 0].tolist())
        self.boxes += len(tracks)
        self.untracked += int((tracks < 0).sum())

    def __str__(self) -> str:
        """In words: "3 people tracked", with the boxes without a track if there are any."""
        if not self.boxes:
            return "no people found"
        number = len(self.track_ids)
        said = f"{number or 'no'} {'person' if number == 1 else 'people'} tracked"
        if self.untracked:
            said += f", {self.untracked} {'box' if self.untracked == 1 else 'boxes'} without a track"
        return said
