"""Frames with the boxes of their people: what the bundled person detector learns from and is scored on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from zipfile import BadZipFile

import cv2
import numpy as np
from numpy.typing import NDArray

from avadet import boxes
from avadet.errors import AvadetError
from avadet.files import whole_file
from avadet.types import BoolArray, Float32Array, IntArray, PersonBoxes, UInt8Array

Scalar = TypeVar("Scalar", bound=np.generic)
JPEG_QUALITY = 88


@dataclass(frozen=True)
class LabelledFrame:
    """One picture and its people.

    Attributes:
        image: uint8 (H, W, 3) RGB.
        boxes_px: float32 (N, 4) xyxy, pixels of `image`.
        worth: float32 (N,) 0-1: the score that a detector ought to give: 1 for a person; 0 = perhaps a person, neither
            asked for nor punished.
    """

    image: UInt8Array
    boxes_px: Float32Array
    worth: Float32Array

    @property
    def certain(self) -> BoolArray:
        """bool (N,): who is a person beyond doubt."""
        return self.worth > 0


def label(
    annotated_px: Float32Array, teacher: PersonBoxes, person_score: float = 0.4, maybe_score: float = 0.12
) -> tuple[Float32Array, Float32Array]:
    """Join annotated people and those that a teacher sees.

    Annotations are certain. A teacher's box that overlaps one by IoU 0.4 is the same person and dropped; one that lies
    mostly (0.8) inside or around an annotated one is a part or a group, and uncertain unless its score passes 0.7.
    Others are certain from `person_score`, uncertain from `maybe_score`.

    Args:
        annotated_px: float32 (A, 4) xyxy.
        teacher: the teacher's people in the same frame.
        person_score: see above.
        maybe_score: see above.

    Returns:
        boxes float32 (N, 4), the annotated ones first, and worth float32 (N,), see `LabelledFrame`.
    """
    found, scores = teacher.boxes_px, teacher.scores
    shared = boxes.intersection(found, annotated_px)
    smaller = np.minimum(boxes.area(found)[:, None], boxes.area(annotated_px)[None, :])
    same = (boxes.iou(found, annotated_px) >= 0.4).any(axis=1)
    nested = (shared >= 0.8 * smaller).any(axis=1)
    certain = np.where(nested, scores >= 0.7, scores >= person_score)
    kept = ~same & (scores >= maybe_score)
    all_boxes = np.concatenate((annotated_px, found[kept])).astype(np.float32)
    return all_boxes, np.concatenate((np.ones(len(annotated_px)), certain[kept])).astype(np.float32)


class FramePack:
    """Labelled frames in one file: JPEG pictures, boxes, and the clip each frame belongs to. Small enough for memory.

    Attributes:
        clip_names: name of every clip.
        clip_of: int64 (F,), position in `clip_names` of every frame.
    """

    def __init__(
        self,
        jpegs: Sequence[UInt8Array],
        boxes_px: Sequence[Float32Array],
        worth: Sequence[Float32Array],
        clip_names: Sequence[str],
        clip_of: IntArray,
    ) -> None:
        """Hold the arrays; element i of each sequence belongs to frame i."""
        self._jpegs, self._boxes, self._worth = jpegs, boxes_px, worth
        self.clip_names, self.clip_of = list(clip_names), clip_of

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._jpegs)

    def __getitem__(self, index: int) -> LabelledFrame:
        """Decode one frame."""
        return LabelledFrame(decode(self._jpegs[index]), self._boxes[index], self._worth[index])

    def people(self, index: int) -> tuple[Float32Array, BoolArray]:
        """Boxes (N, 4) px and certain (N,) of one frame, without decoding its picture."""
        return self._boxes[index], self._worth[index] > 0

    def only(self, kept: Sequence[int] | IntArray) -> FramePack:
        """A pack of some of the frames, in the order given."""
        rows = [int(i) for i in kept]
        pick = [self._jpegs[i] for i in rows], [self._boxes[i] for i in rows], [self._worth[i] for i in rows]
        return FramePack(*pick, self.clip_names, self.clip_of[rows])

    def save(self, path: str | Path) -> None:
        """Write the pack as .npz, whole or not at all."""
        with whole_file(path) as partial, partial.open("wb") as file:
            np.savez(
                file,
                jpeg_bytes=np.concatenate([*self._jpegs, np.zeros(0, np.uint8)]),
                jpeg_sizes=np.array([len(jpeg) for jpeg in self._jpegs], np.int64),
                boxes_px=np.concatenate([*self._boxes, np.zeros((0, 4), np.float32)]),
                worth=np.concatenate([*self._worth, np.zeros(0, np.float32)]),
                box_counts=np.array([len(found) for found in self._boxes], np.int64),
                clip_names=np.array(self.clip_names, np.str_),
                clip_of=self.clip_of,
            )

    @classmethod
    def load(cls, path: str | Path) -> FramePack:
        """Read a pack.

        Raises:
            AvadetError: if the file is missing or no pack.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                counts = arrays["box_counts"]
                return cls(
                    _parts(arrays["jpeg_bytes"], arrays["jpeg_sizes"]),
                    _parts(arrays["boxes_px"], counts),
                    _parts(arrays["worth"], counts),
                    [str(name) for name in arrays["clip_names"]],
                    arrays["clip_of"],
                )
        except FileNotFoundError as error:
            raise AvadetError(
                f"{path}: no such pack of frames; `python tools/train_persons.py` makes it with --prepare"
            ) from error
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise AvadetError(f"{path}: no pack of labelled frames: {error}") from error

    @classmethod
    def gather(cls, frames: Iterator[tuple[str, LabelledFrame]]) -> FramePack:
        """Collect (clip name, frame) pairs."""
        jpegs, corners, worth, clip_of = [], [], [], []
        names: list[str] = []
        positions: dict[str, int] = {}
        for name, frame in frames:
            if name not in positions:
                positions[name] = len(names)
                names.append(name)
            clip_of.append(positions[name])
            jpegs.append(encode(frame.image))
            corners.append(frame.boxes_px)
            worth.append(frame.worth)
        return cls(jpegs, corners, worth, names, np.array(clip_of, np.int64))


def _parts(joined: NDArray[Scalar], lengths: IntArray) -> list[NDArray[Scalar]]:
    """Cut an array into consecutive pieces of these lengths."""
    ends = np.cumsum(lengths)
    return [joined[end - length : end] for end, length in zip(ends, lengths)]


def encode(image: UInt8Array, quality: int = JPEG_QUALITY) -> UInt8Array:
    """RGB picture -> JPEG bytes, uint8 (n,)."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(data, np.uint8).reshape(-1)


def decode(data: UInt8Array) -> UInt8Array:
    """JPEG bytes that `encode` wrote -> RGB picture."""
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if image is None:
        raise AvadetError("a pack of labelled frames holds a damaged picture; make it again with --prepare")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
