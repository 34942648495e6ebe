"""Where labelled frames come from: JHMDB-21, plain videos, and rendered figures."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jhmdb_clips import JhmdbClip

from avadet import boxes
from avadet.errors import AvadetError
from avadet.synthetic.scene import random_scene
from avadet.types import Float32Array, PersonBoxes, UInt8Array
from avadet.video.read import VideoReader
from avadet.video.sample import resize_short
from person_training.crowds import random_crowd
from person_training.frames import LabelledFrame, label

Look = Callable[[UInt8Array], PersonBoxes]
SHORT_SIDE = 320
NOBODY = np.zeros((0, 4), np.float32)
UCF24_SIZE_HW = (240, 320)
FIGURE_SIZES_HW = ((240, 320), (256, 340), (240, 426), (320, 240))


@dataclass(frozen=True)
class Teacher:
    """Who says where the people are that nobody annotated.

    Attributes:
        look: gives everybody it sees in a frame, down to `maybe_score` at least.
        person_score: from here on it is sure of a person.
        maybe_score: from here on it is in doubt.
    """

    look: Look
    person_score: float
    maybe_score: float

    def label(self, image: UInt8Array, annotated_norm: Float32Array) -> LabelledFrame:
        """A frame with its people: the annotated ones, float32 (A, 4) in 0-1, and whoever else the teacher sees."""
        return self._join(image, boxes.to_px(annotated_norm, image.shape[:2]), self.look(image))

    def label_if_sure(self, image: UInt8Array) -> LabelledFrame | None:
        """A frame in which nobody is annotated, with the people that the teacher sees.

        None unless the teacher is sure of somebody, and in doubt about no more people than it is sure of: where it
        doubts more it overlooks others, who would be learnt as nobody.
        """
        return self._if_sure(image, self.look(image))

    def label_or_empty(self, image: UInt8Array) -> LabelledFrame | None:
        """As `label_if_sure`, and also a frame in which the teacher sees nobody at all."""
        seen = self.look(image)
        empty = not (seen.scores >= self.maybe_score).any()
        return LabelledFrame(image, NOBODY, NOBODY[:, 0]) if empty else self._if_sure(image, seen)

    def _if_sure(self, image: UInt8Array, seen: PersonBoxes) -> LabelledFrame | None:
        sure = int((seen.scores >= self.person_score).sum())
        doubtful = int((seen.scores >= self.maybe_score).sum()) - sure
        return self._join(image, NOBODY, seen) if sure >= max(doubtful, 1) else None

    def _join(self, image: UInt8Array, annotated_px: Float32Array, seen: PersonBoxes) -> LabelledFrame:
        return LabelledFrame(image, *label(annotated_px, seen, self.person_score, self.maybe_score))


def jhmdb_frames(videos: Sequence[JhmdbClip], per_video: int, teacher: Teacher) -> Iterator[tuple[str, LabelledFrame]]:
    """Evenly spread frames of JHMDB videos: the annotated actor, and whoever else the teacher sees.

    Args:
        videos: which.
        per_video: frames a video, at most.
        teacher: see `Teacher`.

    Yields:
        (video id, frame).
    """
    for video in videos:
        wanted = _spread(len(video.boxes_norm), per_video)
        for index, image in enumerate(_images(video.path)):
            if index in wanted:
                yield video.video_id, teacher.label(image, video.boxes_norm[index : index + 1])


def _spread(count: int, most: int) -> set[int]:
    """At most so many numbers of 0 .. count - 1, evenly spread."""
    return set(np.linspace(0, count - 1, min(most, count)).round().astype(int).tolist())


def clip_frames(
    path: Path, every: int, teacher: Teacher, annotated: Mapping[int, Float32Array] | None = None
) -> Iterator[tuple[str, LabelledFrame]]:
    """Every n-th frame of a plain video.

    Args:
        path: the video.
        every: n.
        teacher: see `Teacher`.
        annotated: boxes float32 (A, 4) in 0-1 by 0-based frame number, if there are any.

    Yields:
        (file name without suffix, frame).
    """
    for index, image in enumerate(_images(path)):
        if index % every == 0:
            yield path.stem, teacher.label(image, (annotated or {}).get(index, NOBODY))


def sure_frames(paths: Sequence[Path], per_file: int, teacher: Teacher) -> Iterator[tuple[str, LabelledFrame]]:
    """Evenly spread frames of videos and pictures, those of them that `Teacher.label_if_sure` labels.

    Args:
        paths: videos and pictures.
        per_file: frames of each, at most.
        teacher: see `Teacher`.

    Yields:
        (file name without suffix, frame).
    """
    for path in paths:
        with VideoReader(path) as reader:
            wanted = _spread(sum(1 for _ in reader.frames()), per_file)
        for index, image in enumerate(_images(path)):
            frame = teacher.label_if_sure(image) if index in wanted else None
            if frame is not None:
                yield path.stem, frame


def read_ucf24_boxes(path: str | Path) -> dict[str, dict[int, Float32Array]]:
    """Read actors' boxes of UCF101-24 (csv: video, frame_1based, x1, y1, x2, y2, ...; pixels of 320x240).

    Returns:
        by video name, by 0-based frame number: float32 (A, 4) xyxy in 0-1.

    Raises:
        AvadetError: if the file is missing or lacks a column.
    """
    rows: dict[str, dict[int, list[list[float]]]] = {}
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                corners = [float(row[name]) for name in ("x1", "y1", "x2", "y2")]
                rows.setdefault(row["video"], {}).setdefault(int(row["frame_1based"]) - 1, []).append(corners)
    except (OSError, KeyError, ValueError) as error:
        raise AvadetError(f"{path}: no table of UCF24 boxes: {error}") from error
    as_norm = {
        video: {frame: np.clip(boxes.to_norm(np.array(found), UCF24_SIZE_HW), 0, 1) for frame, found in frames.items()}
        for video, frames in rows.items()
    }
    return as_norm


def _images(path: Path) -> Iterator[UInt8Array]:
    """The frames of a video, at most SHORT_SIDE px high or wide on the shorter side."""
    with VideoReader(path) as reader:
        for frame in reader.frames():
            yield frame.image if min(frame.image.shape[:2]) <= SHORT_SIDE else resize_short(frame.image, SHORT_SIDE)


def figure_frames(scenes: int, per_scene: int, seed: int) -> Iterator[tuple[str, LabelledFrame]]:
    """Frames of rendered scenes, and as many single pictures of rendered crowds; everybody in them is known.

    Args:
        scenes: how many.
        per_scene: frames of each, spread over a second, and pictures of crowds for each.
        seed: of everything in them.

    Yields:
        (name of the scene, frame).
    """
    for scene in range(scenes):
        rng = np.random.default_rng((seed, scene))
        size_hw = FIGURE_SIZES_HW[scene % len(FIGURE_SIZES_HW)]
        clip = random_scene(rng, size_hw, per_scene, fps=float(per_scene))
        for image, boxes_norm, visible in zip(clip.frames, clip.boxes_norm, clip.visible):
            corners = boxes.to_px(boxes_norm, size_hw)
            kept = boxes.area(corners) > 4
            yield f"scene{scene:04d}", LabelledFrame(image, corners[kept], visible[kept].astype(np.float32))
        for _ in range(per_scene):
            image, boxes_norm = random_crowd(rng, size_hw)
            worth = np.ones(len(boxes_norm), np.float32)
            yield f"crowd{scene:04d}", LabelledFrame(image, boxes.to_px(boxes_norm, size_hw), worth)
