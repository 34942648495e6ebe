"""What a person detector is worth: numbers that `python tools/train_persons.py --score` prints.

Everything is measured at IoU 0.5. Nobody annotated everybody in the clips, so a teacher stands in for the truth there:
its confident people are what ought to be found, and a box counts as false only if nothing supports it, neither an
annotated person nor any box of the teacher down to a low score.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from avadet import boxes
from avadet.types import Float32Array, PersonBoxes

SAME_IOU = 0.5


@dataclass(frozen=True)
class ScoredFrame:
    """One frame, seen by the detector, the teacher and the annotators.

    Attributes:
        clip: the clip's name.
        found: the detector's people, best first, down to a low score.
        teacher: the teacher's people, down to a low score.
        annotated_px: float32 (A, 4) xyxy, pixels of the same frame.
    """

    clip: str
    found: PersonBoxes
    teacher: PersonBoxes
    annotated_px: Float32Array


@dataclass(frozen=True)
class ClipScore:
    """Counts over frames.

    Attributes:
        frames: how many frames.
        confident: the teacher's confident people in frames with several of them.
        found: how many of those the detector found, one box a person.
        shown: boxes at the detector's threshold, in all frames.
        false: those of them that overlap no annotated person and no box of the teacher by `SAME_IOU`.
    """

    frames: int
    confident: int
    found: int
    shown: int
    false: int

    @property
    def crowd_recall(self) -> float:
        """Share of the teacher's confident people found in frames with several; NaN without such frames."""
        return self.found / self.confident if self.confident else float("nan")

    @property
    def false_a_frame(self) -> float:
        """Unsupported boxes a frame."""
        return self.false / self.frames if self.frames else float("nan")

    @classmethod
    def total(cls, scores: Iterable[ClipScore]) -> ClipScore:
        """The sum of all counts."""
        rows = [(s.frames, s.confident, s.found, s.shown, s.false) for s in scores]
        return cls(*(sum(column) for column in zip(*rows))) if rows else cls(0, 0, 0, 0, 0)


def score_clip(frames: Sequence[ScoredFrame], threshold: float, confident_score: float = 0.5) -> ClipScore:
    """Count over the frames of a clip; see `ClipScore`.

    Args:
        frames: of one clip, or of several.
        threshold: the detector's lowest score.
        confident_score: the teacher's lowest score for a person who ought to be found.
    """
    counts = []
    for frame in frames:
        shown = frame.found.boxes_px[frame.found.scores >= threshold]
        sure = frame.teacher.boxes_px[frame.teacher.scores >= confident_score]
        several = len(sure) if len(sure) >= 2 else 0
        supported = np.concatenate((frame.teacher.boxes_px, frame.annotated_px))
        false = (boxes.iou(shown, supported).max(axis=1, initial=0.0) < SAME_IOU).sum()
        found = len(match(shown, sure)) if several else 0
        counts.append(ClipScore(1, several, found, len(shown), int(false)))
    return ClipScore.total(counts)


def match(found: Float32Array, wanted: Float32Array) -> list[tuple[int, int]]:
    """Pair boxes one to one by IoU of at least `SAME_IOU`, the best pair first.

    Returns:
        (row of `found`, row of `wanted`) of every pair.
    """
    overlap = boxes.iou(found, wanted)
    pairs = []
    while overlap.size and overlap.max() >= SAME_IOU:
        row, column = (int(i) for i in np.unravel_index(overlap.argmax(), overlap.shape))
        pairs.append((row, column))
        overlap[row], overlap[:, column] = 0, 0
    return pairs


def threshold_for(found: Sequence[PersonBoxes], boxes_a_frame: float) -> float:
    """The score at which frames have `boxes_a_frame` boxes on average (0.0 if they never have as many)."""
    scores = np.sort(np.concatenate([people.scores for people in found]))[::-1]
    count = round(boxes_a_frame * len(found))
    return float(scores[count - 1]) if 0 < count <= len(scores) else 0.0


def actor_recall(found: Sequence[PersonBoxes], actors_px: Sequence[Float32Array], threshold: float) -> float:
    """Share of annotated actors that some box over the threshold overlaps by `SAME_IOU`."""
    hits, count = 0, 0
    for people, actors in zip(found, actors_px):
        shown = people.boxes_px[people.scores >= threshold]
        hits += int((boxes.iou(shown, actors).max(axis=0, initial=0.0) >= SAME_IOU).sum())
        count += len(actors)
    return hits / count if count else float("nan")
