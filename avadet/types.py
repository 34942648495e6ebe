"""The words everything else speaks: frozen dataclasses of numpy arrays, checked once, when they are made.

Conventions that hold everywhere: boxes are xyxy, sizes are (height, width), colour is RGB, time is seconds of the
file counted from its first frame. Units sit in names: `_px`, `_norm` (0-1 of the frame), `_s`, `_hw`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from avadet.errors import AvadetError

UInt8Array = NDArray[np.uint8]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

NORM_ROUNDING = 1e-3
"""What lies outside 0-1 by no more than this was rounded and is taken for 0 or 1: sides of boxes and scores alike."""

PIXELS_FROM = 2.0
"""A side of a box above this can be no part of the frame, wherever a person reaches out of it: it must be pixels."""

BoxRule = Literal["exact", "pyslowfast"]
"""How boxes of a frame become boxes of the resized clip; see `avadet.boxes.clip_boxes`."""


def _check_shape(name: str, array: NDArray[np.generic], shape: tuple[int | None, ...], dtype: type) -> None:
    """Raise unless `array` has this shape (None = any length) and dtype."""
    fits = array.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape))
    if not fits or array.dtype != dtype:
        want = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        raise AvadetError(f"{name} must be {np.dtype(dtype)} {want}, got {array.dtype} {array.shape}")


def _check_boxes(name: str, boxes: NDArray[np.floating]) -> None:
    """Raise unless `boxes` is float32 (N, 4), finite, with x1 <= x2 and y1 <= y2."""
    _check_shape(name, boxes, (None, 4), np.float32)
    finite = np.isfinite(boxes).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise AvadetError(f"{name} must be finite, got {boxes[row].tolist()} in row {row}")
    ordered = (boxes[:, 2:] >= boxes[:, :2]).all(axis=1)
    if not ordered.all():
        row = int(np.flatnonzero(~ordered)[0])
        raise AvadetError(f"{name} must be xyxy with x1 <= x2 and y1 <= y2, got {boxes[row].tolist()} in row {row}")


def _check_norm_boxes(name: str, boxes: NDArray[np.floating]) -> None:
    """Raise unless `boxes` is float32 (N, 4), ordered and inside [0, 1]."""
    _check_boxes(name, boxes)
    inside = ((boxes >= 0) & (boxes <= 1)).all(axis=1)
    if not inside.all():
        row = int(np.flatnonzero(~inside)[0])
        way_out = "divide pixel boxes by (width, height)" if boxes[row].max() > PIXELS_FROM else "cut it at the frame"
        raise AvadetError(f"{name} must be xyxy in [0, 1], got {boxes[row].tolist()} in row {row}; {way_out}")


def _check_range(name: str, values: NDArray[np.floating]) -> None:
    """Raise unless every value lies in [0, 1]."""
    if values.size and not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
        raise AvadetError(f"{name} must lie in [0, 1], got {values.min()} to {values.max()}")


@dataclass(frozen=True, order=True)
class FrameKey:
    """One keyframe: a video and a moment of it.

    Attributes:
        video_id: the video's name in its data set, or the file's stem.
        time_s: seconds, kept to a microsecond so that equal moments compare equal; when times of two files are the
            same keyframe says `avadet.keyframes`. AVA counts whole seconds of the source video; everything else counts
            from the first frame of the file.
    """

    video_id: str
    time_s: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "time_s", round(float(self.time_s), 6))


@dataclass(frozen=True)
class VideoInfo:
    """What a video file says of itself. Counts and durations in headers may be wrong; frames decide.

    Attributes:
        path: the file.
        size_hw: (height, width) px of the frames as a player shows them: turned, and with square pixels.
        fps: frame rate, frames per second: the header's average, unless the first frames come at quite another.
        num_frames: the header's count, 0 if it gives none.
        start_s: timestamp of the first frame in the container, seconds.
        duration_s: the header's duration, seconds, 0.0 if it gives none.
        has_audio: whether the file has a sound stream.
        display_notes: what is done to show its pictures that users may want to know, in words; of a folder of images
            also what was assumed of their names.
        name: what the video is called in results, where that is not the file's name without its suffix.
    """

    path: Path
    size_hw: tuple[int, int]
    fps: Fraction
    num_frames: int
    start_s: float
    duration_s: float
    has_audio: bool = False
    display_notes: tuple[str, ...] = ()
    name: str = ""

    @property
    def video_id(self) -> str:
        """What the video is called in results."""
        return self.name or self.path.stem


@dataclass(frozen=True)
class Frame:
    """One decoded picture.

    Attributes:
        image: uint8 (H, W, 3) RGB, as a player shows it.
        time_s: seconds after the first frame of the file.
        index: 0-based position in decoding order.
        after_gap: whether nothing was recorded between the frame before and this one (`video.timestamps`).
    """

    image: UInt8Array
    time_s: float
    index: int
    after_gap: bool = False

    def __post_init__(self) -> None:
        _check_shape("image", self.image, (None, None, 3), np.uint8)


class Pixels(NamedTuple):
    """How RGB on a 0-1 scale is normalised: `mean` is subtracted, then `std` divided by."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class ClipSpec:
    """Which frames a model wants to see around a keyframe, and how large.

    Attributes:
        num_frames: T, frames in a clip.
        stride: frames between two sampled frames, at `fps`.
        fps: the frame rate at which `stride` is meant; other videos are sampled at the same times.
        short_side: px of the shorter side of the clip.
        mean: RGB mean on a 0-1 scale, subtracted by the model.
        std: RGB standard deviation on a 0-1 scale, divided by the model.
        long_side: px at most of the longer side; 0 = as the aspect ratio gives.
        boxes: how the model was shown boxes; "exact" = at the very place that they have in the frame, "pyslowfast" =
            as PySlowFast and pytorchvideo scale and cut them, see `avadet.boxes.clip_boxes`.
    """

    num_frames: int
    stride: int
    fps: float
    short_side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    long_side: int = 0
    boxes: BoxRule = "exact"

    def __post_init__(self) -> None:
        for name in ("num_frames", "stride", "fps", "short_side"):
            if getattr(self, name) <= 0:
                raise AvadetError(f"{name} must be positive, got {getattr(self, name)}")
        if self.boxes not in get_args(BoxRule):
            raise AvadetError(f"boxes must be one of {', '.join(get_args(BoxRule))}, got '{self.boxes}'")

    @property
    def pixels(self) -> Pixels:
        """Mean and standard deviation together."""
        return Pixels(self.mean, self.std)

    def offsets_s(self) -> Float64Array:
        """Sampling times relative to the keyframe, seconds, (T,): (i - T // 2) * stride / fps.

        For even T this is PySlowFast's `range(center - T * stride / 2, center + T * stride / 2, stride)`.
        """
        steps = np.arange(self.num_frames, dtype=np.float64) - self.num_frames // 2
        return steps * (self.stride / self.fps)


@dataclass(frozen=True)
class Clip:
    """The frames around one keyframe.

    Attributes:
        frames: uint8 (T, H, W, 3) RGB.
        times_s: float64 (T,), the time of each frame; an edge frame that is repeated repeats its time.
        key_pos: position of the keyframe in T.
    """

    frames: UInt8Array
    times_s: Float64Array
    key_pos: int

    def __post_init__(self) -> None:
        _check_shape("frames", self.frames, (None, None, None, 3), np.uint8)
        _check_shape("times_s", self.times_s, (len(self.frames),), np.float64)
        if not 0 <= self.key_pos < len(self.frames):
            raise AvadetError(f"key_pos must lie in [0, {len(self.frames)}), got {self.key_pos}")


@dataclass(frozen=True)
class PersonBoxes:
    """People found in one frame.

    Attributes:
        boxes_px: float32 (N, 4) xyxy, continuous pixels of the frame, inside it.
        scores: float32 (N,) 0-1.
        size_hw: (height, width) px of the frame.
        track_ids: int64 (N,), or None before tracking; -1 = not (yet) on a track.
    """

    boxes_px: Float32Array
    scores: Float32Array
    size_hw: tuple[int, int]
    track_ids: IntArray | None = None

    def __post_init__(self) -> None:
        _check_boxes("boxes_px", self.boxes_px)
        _check_shape("scores", self.scores, (len(self.boxes_px),), np.float32)
        _check_range("scores", self.scores)
        if self.track_ids is not None:
            _check_shape("track_ids", self.track_ids, (len(self.boxes_px),), np.int64)
        height, width = self.size_hw
        if len(self) and (self.boxes_px.min() < 0 or (self.boxes_px[:, 2:] > (width, height)).any()):
            raise AvadetError(f"boxes_px must lie inside a {width}x{height} frame; clip them first (boxes.clip_px)")

    def __len__(self) -> int:
        return len(self.boxes_px)

    @classmethod
    def empty(cls, size_hw: tuple[int, int]) -> PersonBoxes:
        """No people in a frame of `size_hw`."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), size_hw)


class PersonDetector(Protocol):
    """Anything that finds people: a callable from one upright RGB frame to its people, best first."""

    def __call__(self, frame: UInt8Array) -> PersonBoxes:
        """uint8 (H, W, 3) RGB -> people with boxes in pixels of that frame, sorted by falling score."""
        ...


@dataclass(frozen=True)
class ActionDetections:
    """What the system says of one keyframe.

    Attributes:
        key: which keyframe.
        boxes_norm: float32 (N, 4) xyxy, 0-1 of the frame.
        person_scores: float32 (N,) 0-1, how sure the detector is of the person.
        scores: float32 (N, K) 0-1, K the classes of the model's label map.
        size_hw: (height, width) px of the frame, for boxes in pixels.
        track_ids: int64 (N,), or None; -1 = not on a track.
    """

    key: FrameKey
    boxes_norm: Float32Array
    person_scores: Float32Array
    scores: Float32Array
    size_hw: tuple[int, int]
    track_ids: IntArray | None = None

    def __post_init__(self) -> None:
        count = len(self.boxes_norm)
        _check_norm_boxes("boxes_norm", self.boxes_norm)
        _check_shape("person_scores", self.person_scores, (count,), np.float32)
        _check_range("person_scores", self.person_scores)
        _check_shape("scores", self.scores, (count, None), np.float32)
        _check_range("scores", self.scores)
        if self.track_ids is not None:
            _check_shape("track_ids", self.track_ids, (count,), np.int64)

    def __len__(self) -> int:
        return len(self.boxes_norm)


@dataclass(frozen=True)
class Tube:
    """One person doing one thing over time.

    Attributes:
        video_id: the video's name.
        class_index: 0-based row of the label map.
        score: confidence; 1.0 for ground truth.
        times_s: float64 (L,), increasing.
        boxes_norm: float32 (L, 4) xyxy, 0-1 of the frame.
    """

    video_id: str
    class_index: int
    score: float
    times_s: Float64Array
    boxes_norm: Float32Array

    def __post_init__(self) -> None:
        _check_shape("times_s", self.times_s, (None,), np.float64)
        _check_norm_boxes("boxes_norm", self.boxes_norm)
        if len(self.times_s) != len(self.boxes_norm):
            raise AvadetError(f"a tube needs one box a moment, got {len(self.boxes_norm)} for {len(self.times_s)}")
        if (np.diff(self.times_s) <= 0).any():
            raise AvadetError(f"times_s of a tube must increase, got {self.times_s.tolist()}")


POSE = "pose"
"""The group of classes of which a person has one at a time."""


@dataclass(frozen=True)
class LabelMap:
    """The classes of a data set, in the order of a model's output.

    Attributes:
        names: K names.
        ids: K ids as the data set's files write them, 1-based, perhaps with gaps.
        groups: K groups: "pose", "object" (person-object), "person" (person-person), or "action" where the data
            set makes no difference.
        evaluated: bool (K,), whether the class counts in the data set's mAP.
        exclusive: whether every person has exactly one class (softmax) or several (sigmoid).
    """

    names: tuple[str, ...]
    ids: tuple[int, ...]
    groups: tuple[str, ...]
    evaluated: tuple[bool, ...]
    exclusive: bool = False

    def __post_init__(self) -> None:
        lengths = {len(self.names), len(self.ids), len(self.groups), len(self.evaluated)}
        if len(lengths) != 1:
            raise AvadetError(f"names, ids, groups and evaluated must be of one length, got {sorted(lengths)}")
        if len(set(self.ids)) != len(self.ids):
            twice = next(i for i in self.ids if self.ids.count(i) > 1)
            raise AvadetError(f"class ids must be unique, got id {twice} twice")

    def __len__(self) -> int:
        return len(self.names)
