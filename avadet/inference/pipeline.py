"""One pass over a video: frames in, people and their actions out, in order of time.

The pass looks one frame ahead, because only the next frame tells which frame is the nearest to a keyframe's time
(`schedule`). Memory is bounded by the clip that the model wants to see, not by the video.

The pass is a chain of generators: decode, find people, recognise actions, and whoever takes the events. Each runs ahead
of the next in a thread of its own (`video.ahead`), so all work at the same time, while what comes out and in which
order is the same as without threads. On a processor a small model computes with one core, as its layers would wait
for a second one longer than that saves, and leaves the others to the rest of the pass; a large one gets them all, in
the caller's thread, and only decoding runs ahead of it (`benchmarks/pipeline.py`).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch

from avadet.data.feature_banks import FeatureBank
from avadet.errors import AvadetError
from avadet.inference.recognition import Batch, ClipCollector, results
from avadet.inference.schedule import Gap, Moments, Schedule, Seen, Steps, keyframe_steps, look_ahead
from avadet.models.loaded import LoadedModel
from avadet.persons.precomputed import PrecomputedBoxes
from avadet.persons.tiny import TinyPersons
from avadet.types import (
    ActionDetections,
    Frame,
    FrameKey,
    PersonBoxes,
    PersonDetector,
    UInt8Array,
)
from avadet.video.ahead import ahead
from avadet.video.reader import Reader

if TYPE_CHECKING:
    from avadet.persons.tracking import PersonTracker


@dataclass(frozen=True)
class TrackedPersons:
    """The people of one frame, after tracking.

    Attributes:
        time_s: the frame's time, seconds after the first frame; for boxes known beforehand, the time they are for.
        persons: the people, in pixels of that frame.
    """

    time_s: float
    persons: PersonBoxes


SMALL_PARAMETERS = 5_000_000
"""An action model with fewer parameters is small."""

Event = Frame | TrackedPersons | ActionDetections | Gap
_Item = TypeVar("_Item")


def stream(
    video: Reader,
    model: LoadedModel,
    persons: PersonDetector | PrecomputedBoxes,
    *,
    every_s: float = 1.0,
    detect_every_s: float | None = None,
    tracker: PersonTracker | None = None,
    keyframes_s: Iterable[float] | None = None,
    detections_s: Iterable[float] | None = None,
    batch: int = 1,
    overlap: bool = True,
    bank: FeatureBank | None = None,
) -> Generator[Event, None, None]:
    """Run people detection, tracking and action recognition over a video.

    Args:
        video: the open video; read from its start to its end, once.
        model: the action model with its clip specification and label map.
        persons: a detector, or boxes known beforehand. People of a keyframe are those of the very frame that is
            nearest to it in time (the earlier one of two that are equally near).
        every_s: seconds between keyframes, which `schedule` sets.
        detect_every_s: seconds between the frames, besides the keyframes, on which people are detected as well, so
            that tracks hold and boxes follow people; None = on keyframes only.
        tracker: gives people their track ids; None = people keep the ids they come with, if any.
        keyframes_s: keyframe times, increasing, instead of every `every_s`.
        detections_s: times of detections besides the keyframes, increasing, instead of every `detect_every_s`. Of
            either, the next time is asked for when the last one has its frame.
        batch: keyframes that go through the model at once. More hold results back for longer.
        overlap: whether decoding, detection and recognition run ahead in threads of their own, some frames each. The
            events are the same. Close the generator before what it shares with others, such as `video`.
        bank: for a model that reads feature banks, the one of this video (`feature_bank.bank_of_video`), of which the
            model sees `bank_window_s` around each keyframe; None = the model looks at its clips alone.

    Yields:
        every Frame in order, and between two frames the Gap that lies there; after a frame on which people were
        looked for, one TrackedPersons; and one ActionDetections per keyframe, in order of time, as soon as the frames
        of its clip have been seen. Clips repeat the video's first and last frame beyond its ends. Given keyframes
        that lie after the end or in a gap are left out.

    Raises:
        AvadetError: if not a single frame can be decoded, all known boxes lie beyond the video's end, or the model does
            not read such a bank.
    """
    keyframes = keyframe_steps(video, every_s) if keyframes_s is None else Moments(keyframes_s)
    if isinstance(persons, PrecomputedBoxes) or (detect_every_s is None and detections_s is None):
        detections: Schedule = Moments(())
    else:
        detections = Steps(detect_every_s or every_s, at_end=True) if detections_s is None else Moments(detections_s)
    cores = torch.get_num_threads()
    on_cores = 1 if _is_small(model) else cores
    apart = overlap and _leaves_cores_free(model, on_cores)
    finder = persons if isinstance(persons, PrecomputedBoxes) else _on_cores(persons, cores)
    found = _find_all(video, finder, tracker, keyframes, detections, ClipCollector(model, batch), overlap)
    events = _recognise(_maybe_ahead(found, apart), model, bank, on_cores)
    try:
        with closing(_maybe_ahead(events, apart)) as running:
            yield from running
    finally:
        torch.set_num_threads(cores)


def _is_on_cpu(model: LoadedModel) -> bool:
    return all(parameter.device.type == "cpu" for parameter in itertools.islice(model.model.parameters(), 1))


def _leaves_cores_free(model: LoadedModel, on_cores: int) -> bool:
    """Whether the models gain from threads of their own: not if the action model takes every core as it is."""
    return not _is_on_cpu(model) or on_cores < (os.cpu_count() or 1)


def _is_small(model: LoadedModel) -> bool:
    return _is_on_cpu(model) and sum(one.numel() for one in model.model.parameters()) < SMALL_PARAMETERS


def _on_cores(persons: PersonDetector, cores: int) -> PersonDetector:
    """The detector on as many cores as are good for it; whichever thread calls, for torch counts them by thread."""
    count = 1 if isinstance(persons, TinyPersons) else cores

    def call(frame: UInt8Array) -> PersonBoxes:
        _use_cores(count)
        return persons(frame)

    return call


def _use_cores(count: int) -> None:
    """Let torch compute with so many cores in this thread; asking first, as a thread's first use resets the number."""
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


def _find_all(
    video: Reader,
    persons: PersonDetector | PrecomputedBoxes,
    tracker: PersonTracker | None,
    keyframes: Schedule,
    detections: Schedule,
    collector: ClipCollector,
    overlap: bool,
) -> Generator[Frame | TrackedPersons | Gap | Batch, None, None]:
    """All of the pass but the action model: its batches come where its results belong."""
    video_id = video.info.video_id
    with closing(_maybe_ahead(video.frames(), overlap)) as frames:
        for seen, times_s in _walk(frames, video, keyframes, persons):
            frame = seen.frame
            yield frame
            if tracker is not None:
                tracker.watch(frame.image)
            collector.add(frame)
            for look in _looks(persons, frame, times_s, bool(detections.take(seen))):
                people = _find_people(persons, tracker, video_id, frame, look.time_s)
                yield TrackedPersons(look.time_s, people)
                collector.expect([FrameKey(video_id, time_s) for time_s in look.keyframes_s], people)
            yield from collector.batches(at_end=seen.is_last)
            collector.forget_before(keyframes.next_s if keyframes.taken_here else min(frame.time_s, keyframes.next_s))
            if seen.gap_after:
                if tracker is not None:
                    tracker.pause(seen.gap.seconds)
                yield seen.gap


def _maybe_ahead(items: Iterator[_Item], overlap: bool) -> Generator[_Item, None, None]:
    """Run an iterator ahead, or not."""
    yield from ahead(items, _bytes_of) if overlap else items


def _bytes_of(item: object) -> int:
    """Memory that an item on its way through the pass takes, bytes; what is small counts as nothing."""
    if isinstance(item, Frame):
        return item.image.nbytes
    if isinstance(item, Batch):
        return sum(one.clip.frames.nbytes for one in item.keyframes if one.clip is not None)
    return 0


class PeopleAt(NamedTuple):
    """The people of one keyframe."""

    key: FrameKey
    persons: PersonBoxes


def find_people(
    video: Reader, detector: PersonDetector, every_s: float = 1.0
) -> Generator[Frame | PeopleAt | Gap, None, None]:
    """Run people detection alone over a video: the keyframes of `stream`, and the people that it finds there.

    Args:
        video: the open video; read from its start to its end, once.
        detector: finds the people of a keyframe in the frame nearest to it.
        every_s: seconds between keyframes.

    Yields:
        every Frame in order, after it a PeopleAt if it serves a keyframe, and the Gap that follows it if there is one.

    Raises:
        AvadetError: if not a single frame can be decoded.
    """
    keyframes = keyframe_steps(video, every_s)
    with closing(_maybe_ahead(video.frames(), True)) as frames:
        for seen, times_s in _walk(frames, video, keyframes, detector):
            yield seen.frame
            if times_s:
                persons = detector(seen.frame.image)
                yield from (PeopleAt(FrameKey(video.info.video_id, time_s), persons) for time_s in times_s)
            if seen.gap_after:
                yield seen.gap


def _walk(
    frames: Iterator[Frame], video: Reader, keyframes: Schedule, persons: PersonDetector | PrecomputedBoxes
) -> Iterator[tuple[Seen, list[float]]]:
    """Give every frame with the keyframes, seconds, that it serves."""
    seen = None
    for seen in look_ahead(frames, video.info):
        times_s = keyframes.take(seen)
        if isinstance(persons, PrecomputedBoxes):
            if seen.is_last and not keyframes.any_taken:
                raise _none_fits(persons, video.info.video_id, seen.frame)
        elif seen.ends and not keyframes.taken_here:
            times_s = [seen.frame.time_s]
        yield seen, times_s
    if seen is None:
        raise AvadetError(
            f"{video.info.path}: no picture could be decoded ({video.damaged} damaged); is the file a whole video?"
        )


def _none_fits(persons: PrecomputedBoxes, video_id: str, last: Frame) -> AvadetError:
    """What to say of a video that has no picture for any of its boxes."""
    times_s = persons.times_s(video_id)
    if times_s[0] < last.time_s:
        return AvadetError(
            f"the boxes of video '{video_id}' are at {times_s[0]:g} to {times_s[-1]:g} s, of which it has no picture; "
            "times must count from the first frame of the file"
        )
    return AvadetError(
        f"the boxes of video '{video_id}' begin at {times_s[0]:g} s, but its last frame is at {last.time_s:.3f} s; "
        "times must count from the first frame of the file"
    )


class _Look(NamedTuple):
    """A search for people in a frame: the moment it stands for, and the keyframes it is made for, seconds."""

    time_s: float
    keyframes_s: list[float]


def _looks(
    persons: PersonDetector | PrecomputedBoxes, frame: Frame, keyframes_s: list[float], between: bool
) -> list[_Look]:
    """One search per frame for a detector, if there is cause; for known boxes one per keyframe."""
    if isinstance(persons, PrecomputedBoxes):
        return [_Look(time_s, [time_s]) for time_s in keyframes_s]
    return [_Look(frame.time_s, keyframes_s)] if keyframes_s or between else []


def _find_people(
    persons: PersonDetector | PrecomputedBoxes,
    tracker: PersonTracker | None,
    video_id: str,
    frame: Frame,
    time_s: float,
) -> PersonBoxes:
    """People of a frame: detected, or known for this moment; tracked unless they come with ids."""
    if isinstance(persons, PrecomputedBoxes):
        height, width = frame.image.shape[:2]
        found = persons.at(video_id, time_s, (height, width))
    else:
        found = persons(frame.image)
    if tracker is None or found.track_ids is not None:
        return found
    return tracker.update(found, time_s)


def _recognise(
    items: Generator[Frame | TrackedPersons | Gap | Batch, None, None],
    model: LoadedModel,
    bank: FeatureBank | None,
    cores: int,
) -> Generator[Event, None, None]:
    """Put the results of every batch in its place."""
    with closing(items):
        for item in items:
            if isinstance(item, Batch):
                _use_cores(cores)
                yield from results(model, item, bank)
            else:
                yield item
