"""`avadet.infer`: a video in, what its people do out."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from avadet.annotations.box_files import read_boxes
from avadet.data.feature_banks import FeatureBank
from avadet.errors import AvadetError
from avadet.inference.feature_bank import Watch, bank_of_video
from avadet.inference.pipeline import Event, stream
from avadet.inference.sinks import Action, named_actions
from avadet.inference.smoothing import WINDOW_S, Smoothing, smoothed
from avadet.keyframes import tolerance_s
from avadet.models import zoo
from avadet.models.devices import choose_device
from avadet.models.loaded import LoadedModel
from avadet.persons.load import TINY, default_interval_s, load_detector
from avadet.persons.precomputed import PrecomputedBoxes
from avadet.persons.tracking import PersonTracker
from avadet.types import ActionDetections, Float64Array, LabelMap, PersonDetector, VideoInfo
from avadet.video.image_names import holds_images, is_image_pattern, video_id_of
from avadet.video.read import open_video
from avadet.video.reader import Reader
from avadet.video.refusals import no_rate

EVERY_S = 1.0
BATCH = 1


@dataclass(frozen=True)
class Setup:
    """All that is needed to run over videos, loaded once.

    Attributes:
        model: the action model.
        persons: a person detector, or boxes known beforehand.
        every_s: seconds between keyframes; None = 1.0, or every time of the known boxes.
        detect_every_s: seconds between detections besides those on keyframes; None = on keyframes only.
        smoothing: how scores are smoothed along tracks; None = not at all.
        batch: keyframes that go through the action model at once.
    """

    model: LoadedModel
    persons: PersonDetector | PrecomputedBoxes
    every_s: float | None = None
    detect_every_s: float | None = None
    smoothing: Smoothing | None = None
    batch: int = BATCH

    def events(
        self, video: Reader, overlap: bool = True, bank: FeatureBank | None = None
    ) -> Generator[Event, None, None]:
        """Run over an open video; see `pipeline.stream`. Close this before the video.

        Args:
            video: read from its start to its end, once.
            overlap: whether stages work at the same time.
            bank: of this video, as `first_pass` made it; None = made now, before the first event, from its file, if
                the model reads one.
        """
        known_s = self.known_keyframes_s(video.info)
        if bank is None:
            bank = self.first_pass(video.info.path, overlap, fps=video.info.fps)
        events = stream(
            video,
            self.model,
            self.persons,
            every_s=self.every_s or EVERY_S,
            detect_every_s=self.detect_every_s,
            tracker=PersonTracker(),
            keyframes_s=known_s,
            batch=self.batch,
            overlap=overlap,
            bank=bank,
        )
        step_s = (self.every_s or EVERY_S) if known_s is None else float(np.diff(known_s).min(initial=np.inf))
        with closing(events):
            yield from events if self.smoothing is None else smoothed(events, self.smoothing, step_s)

    def first_pass(
        self, video: Path, overlap: bool = True, watch: Watch = iter, fps: float | Fraction | None = None
    ) -> FeatureBank | None:
        """Go over a video for its feature bank, on the keyframes that `events` has; None if the model reads none.

        Args:
            video: the file or folder, which is opened for this.
            overlap: whether stages work at the same time.
            watch: what the events of this pass go through.
            fps: frames per second of a folder of images.

        Raises:
            AvadetError: if no frame can be decoded, or the known boxes do not fit the video.
        """
        if self.model.bank is None:
            return None
        with open_video(video, fps) as reader:
            return bank_of_video(
                reader,
                self.model.bank,
                self.persons,
                every_s=self.every_s or EVERY_S,
                keyframes_s=self.known_keyframes_s(reader.info),
                batch=self.batch,
                overlap=overlap,
                watch=watch,
            )

    def known_keyframes_s(self, info: VideoInfo) -> list[float] | None:
        """The keyframes of a video that known boxes ask for, seconds; None with a detector.

        Those before the video's first frame are left out, as are those after its last, which `pipeline.stream` finds.

        Raises:
            AvadetError: if the known boxes have no such video, or all of its lie before the first frame.
        """
        if not isinstance(self.persons, PrecomputedBoxes):
            return None
        times_s, fps = self.persons.times_s(info.video_id), float(info.fps)
        inside = times_s[self.early_keyframes(info) :]
        if not len(inside):
            raise AvadetError(
                f"the boxes of video '{info.video_id}' end at {times_s[-1]:g} s, before its first frame at 0 s; "
                "times must count from the first frame of the file"
            )
        keyframes_s: list[float] = thinned(inside, self.every_s, fps).tolist()
        return keyframes_s

    def early_keyframes(self, info: VideoInfo) -> int:
        """How many keyframes of known boxes lie before the video's first frame, by half a frame or more."""
        if not isinstance(self.persons, PrecomputedBoxes):
            return 0
        times_s = self.persons.times_s(info.video_id)
        return int(np.searchsorted(times_s, -tolerance_s(float(info.fps)), side="right"))


class Inference:
    """A video ready to be walked through; every `for` begins at its start.

    Attributes:
        labels: the model's classes: `labels.names[k]` belongs to `detections.scores[:, k]`.
        model: the loaded model, with `name` and `card`.
        damaged: damaged spots met on the last walk; pictures around them may be patched.
        ended_early_s: seconds missing on the last walk against what the file's header promised.
    """

    def __init__(self, video: Path, setup: Setup, fps: float | None = None) -> None:
        """Prepare; nothing is read yet."""
        self.model = setup.model
        self.labels: LabelMap = setup.model.labels
        self.damaged = 0
        self.ended_early_s = 0.0
        self._video = video
        self._setup = setup
        self._fps = fps

    def __iter__(self) -> Iterator[ActionDetections]:
        """Yield what was found on each keyframe, in order of time."""
        with open_video(self._video, self._fps) as reader, closing(self._setup.events(reader)) as events:
            for event in events:
                if isinstance(event, ActionDetections):
                    yield event
            self.damaged = reader.damaged
            self.ended_early_s = reader.ended_early_s

    def actions(self, detections: ActionDetections, threshold: float = 0.3) -> list[list[Action]]:
        """Name what the people of a keyframe do.

        Args:
            detections: one keyframe's results.
            threshold: lowest score, 0-1, inclusive.

        Returns:
            one list per person, in the order of `detections.boxes_norm`: actions (name, id, group, score), best first.
        """
        return [named_actions(scores, self.labels, threshold) for scores in detections.scores]


def infer(
    video: str | Path,
    model: str | Path | LoadedModel | None = None,
    detector: str | Path | PersonDetector | None = None,
    boxes: str | Path | None = None,
    every: float | None = None,
    device: str = "cpu",
    backend: str | None = None,
    precision: str = "fp32",
    smooth: str | None = None,
    smooth_window: float = WINDOW_S,
    batch: int = BATCH,
    fps: float | None = None,
) -> Inference:
    """Find every person in a video and say what each one is doing.

        clip = avadet.infer("clip.mp4")
        for detections in clip:                                  # one keyframe a second
            for person, actions in enumerate(clip.actions(detections, threshold=0.3)):
                print(detections.key.time_s, detections.track_ids[person], actions)

    Args:
        video: path of a video file, or of a folder of images that are its frames: `video.image_names` has the rules.
        model: a name of the zoo, a path, or a loaded model (so that many videos share one); None = an official
            AVA model if its weights are at hand, else the one that is bundled.
        detector: a name or path as `persons.load.load_detector` takes it, or any callable from an RGB frame, uint8
            (H, W, 3), to its PersonBoxes; None = the bundled one.
        boxes: an AVA-style CSV of person boxes instead of a detector. Its rows are found by the video's file name
            without suffix; its times count from the first frame of the file.
        every: seconds between keyframes; None = 1.0, or with `boxes` every time of the CSV; given with `boxes`, the
            first time in each interval of that length.
        device: "cpu", "cuda", "cuda:1", ..., or "auto" = cuda where there is one.
        backend: what runs the action model: "torch", "onnx" or "openvino"; None = onnx for an `.onnx` file, else
            torch. A loaded model runs as it was loaded.
        precision: of the action model: "fp32"; "bf16", faster where the processor computes in it, see
            `loaded.running` for how far its scores are off; or "auto" = bf16 if that is no more than 0.005.
        smooth: "mean" or "ema", the scores of each track averaged over time (`inference.smoothing`); None = not at all.
        smooth_window: the window of that average, seconds.
        batch: keyframes that go through the action model at once; more may be faster on a GPU.
        fps: frames per second of a folder of images; files have their own.

    Returns:
        an iterable of ActionDetections, one per keyframe in order of time: `key.time_s` seconds, `boxes_norm` (N, 4)
        xyxy 0-1, `person_scores` (N,), `scores` (N, K) 0-1, `track_ids` (N,), -1 = on no track. The keyframes of a
        video without people have N = 0. Its `.labels` and `.actions(detections)` give the classes' names. The video
        is read while you iterate, in memory bounded by the model's clip. A model that reads feature banks
        (`data.feature_banks`) goes over the video twice: before the first keyframe comes, its bank is made.

    Raises:
        AvadetError: at once for a missing file, unknown names, bad boxes; while iterating if no frame decodes.
    """
    path = Path(video)
    _check_call(path, boxes, detector, every, batch, fps)
    smoothing = None if smooth is None else Smoothing(smooth, smooth_window)
    where = str(choose_device(device))
    persons, detect_every_s = (detector, None) if callable(detector) else load_people(detector or TINY, boxes, where)
    if isinstance(persons, PrecomputedBoxes):
        persons.times_s(video_id_of(path))
    loaded = _loaded(model, where, backend, precision)
    return Inference(path, Setup(loaded, persons, every, detect_every_s, smoothing, batch), fps)


def _check_call(
    path: Path,
    boxes: str | Path | None,
    detector: str | Path | PersonDetector | None,
    every: float | None,
    batch: int,
    fps: float | None,
) -> None:
    """Raise AvadetError for arguments of `infer` that are wrong whatever the models are."""
    if boxes is not None and detector is not None:
        raise AvadetError("boxes replace the detector; give one of the two")
    images = holds_images(path) or is_image_pattern(path)
    if not (path.is_file() or images):
        raise AvadetError(f"no such video: {path}; check the path")
    if images and fps is None:
        raise no_rate(path)
    check_every(every)
    if batch < 1:
        raise AvadetError(f"batch must be at least 1 keyframe, got {batch}")


def _loaded(model: str | Path | LoadedModel | None, device: str, backend: str | None, precision: str) -> LoadedModel:
    """The model of `infer`, whose arguments these are; one that is loaded runs as it was loaded."""
    if isinstance(model, LoadedModel):
        return model
    name = model or zoo.default_model()[0]
    return zoo.load(name, device, backend=backend or zoo.default_backend(name), precision=precision)


def load_people(
    detector: str | Path, boxes: str | Path | None, device: str, threshold: float | None = None
) -> tuple[PersonDetector | PrecomputedBoxes, float | None]:
    """Load the known boxes if a file of them is given, else the detector.

    Args:
        detector: name or path.
        boxes: AVA-style CSV, or None.
        device: "cpu", "cuda", ...
        threshold: lowest person score, 0-1; None = the detector's own, for boxes 0.

    Returns:
        the people's source, and how many seconds apart it is worth asking between keyframes (None = never).

    Raises:
        AvadetError: for an unknown name, or a file that is not right.
    """
    if boxes is not None:
        return PrecomputedBoxes(read_boxes(boxes), threshold or 0.0), None
    return load_detector(detector, device, threshold), default_interval_s(detector)


def check_every(every: float | None) -> None:
    """Raise unless this is a usable time between keyframes."""
    if every is not None and not 0 < every < np.inf:
        raise AvadetError(f"every must be a positive number of seconds, got {every}")


def thinned(times_s: Float64Array, every_s: float | None, fps: float | None = None) -> Float64Array:
    """Keep the first of these times in each stretch [n, n + 1) * `every_s`; None keeps them all.

    A time that is the same keyframe as the beginning of a stretch (`avadet.keyframes`) lies in it.

    Args:
        times_s: float64 (T,) seconds, increasing.
        every_s: seconds.
        fps: frames per second of the video; None = not known.
    """
    if every_s is None:
        return times_s
    near_s = 0.99 * min(tolerance_s(fps), every_s / 2)
    stretch = np.floor((times_s + near_s) / every_s)
    return np.asarray(times_s[np.diff(stretch, prepend=-np.inf) > 0])
