"""A slow, careful look at a frame by a detector that was made for a quick one: several views, one answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from avadet import boxes
from avadet.types import Float32Array, PersonBoxes, PersonDetector, UInt8Array

GREY = 114


@dataclass(frozen=True)
class View:
    """One way to show a frame to a detector.

    Attributes:
        flip: mirrored left to right.
        margin: grey border on each side, as a share of the frame's height and width. The detector then sees the
            people smaller.
    """

    flip: bool
    margin: float

    def show(self, frame: UInt8Array) -> UInt8Array:
        """The frame as the detector gets it, uint8 RGB."""
        top, left = self._border(frame.shape[:2])
        shown = frame[:, ::-1] if self.flip else frame
        padded = np.pad(shown, ((top, top), (left, left), (0, 0)), constant_values=GREY)
        return np.ascontiguousarray(padded)

    def back(self, people: PersonBoxes, size_hw: tuple[int, int]) -> PersonBoxes:
        """Boxes in the shown picture -> boxes in the frame of `size_hw`; those outside it are dropped."""
        top, left = self._border(size_hw)
        moved = boxes.clip_px(people.boxes_px - np.array([left, top, left, top], np.float32), size_hw)
        if self.flip:
            moved = np.stack((size_hw[1] - moved[:, 2], moved[:, 1], size_hw[1] - moved[:, 0], moved[:, 3]), axis=1)
        kept = boxes.area(moved) > 1
        return PersonBoxes(np.ascontiguousarray(moved[kept]), people.scores[kept], size_hw)

    def _border(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        return round(size_hw[0] * self.margin), round(size_hw[1] * self.margin)


FOUR_VIEWS = tuple(View(flip, margin) for margin in (0.0, 0.2) for flip in (False, True))


def careful(
    detector: PersonDetector, views: Sequence[View] = FOUR_VIEWS, same_iou: float = 0.55
) -> Callable[[UInt8Array], PersonBoxes]:
    """Make a detector that looks at every frame in several ways.

    Boxes of different views that overlap by `same_iou` are one person: the box is their mean weighted by score, the
    score the sum of each view's best over the number of views, so that what only one view sees counts little
    (after Solovyev et al., "Weighted boxes fusion", 2021).

    Args:
        detector: the quick one.
        views: how to look.
        same_iou: see above.
    """

    def look(frame: UInt8Array) -> PersonBoxes:
        size_hw = frame.shape[:2]
        seen = [view.back(detector(view.show(frame)), size_hw) for view in views]
        return fuse(seen, size_hw, same_iou)

    return look


def fuse(seen: Sequence[PersonBoxes], size_hw: tuple[int, int], same_iou: float) -> PersonBoxes:
    """Join what several views saw; see `careful`. Best first."""
    corners = np.concatenate([people.boxes_px for people in seen])
    scores = np.concatenate([people.scores for people in seen])
    view_of = np.repeat(np.arange(len(seen)), [len(people) for people in seen])
    overlap = boxes.iou(corners, corners)
    free = np.ones(len(corners), bool)
    fused: list[Float32Array] = []
    means: list[float] = []
    for row in np.argsort(-scores, kind="stable"):
        if not free[row]:
            continue
        group = np.flatnonzero(free & (overlap[row] >= same_iou))
        free[group] = False
        fused.append(np.average(corners[group], axis=0, weights=scores[group]).astype(np.float32))
        best = [scores[group[view_of[group] == view]].max(initial=0.0) for view in range(len(seen))]
        means.append(float(np.mean(best)))
    if not fused:
        return PersonBoxes.empty(size_hw)
    order = np.argsort(-np.array(means), kind="stable")
    return PersonBoxes(boxes.clip_px(np.stack(fused), size_hw)[order], np.array(means, np.float32)[order], size_hw)
