"""`avadet infer` on a camera or a stream: results as they come, always close to now."""

from __future__ import annotations

import argparse
import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, cast

from avadet.cli import videos
from avadet.errors import AvadetError
from avadet.inference.person_count import PersonCount

if TYPE_CHECKING:
    from avadet.inference.pipeline import Event
    from avadet.inference.run import Setup
    from avadet.inference.schedule import GapCount
    from avadet.inference.sinks import Sink
    from avadet.persons.tracking import PersonTracker
    from avadet.types import ActionDetections
    from avadet.video.live import LiveReader
    from avadet.video.reader import Reader

STATUS_EVERY_S = 5.0
GROWING = (".ava.csv", ".jsonl", ".events.csv")


def run_live(source: str, args: argparse.Namespace, setup: Setup) -> int:
    """Run over a camera or stream until it ends, `--seconds` are over, or Ctrl-C or SIGTERM says so.

    Returns:
        0 if it ended in one of these ways, 1 if the connection was lost for good. In both cases all files are whole.

    Raises:
        AvadetError: if the source cannot be read, or a file cannot be written.
    """
    from avadet.inference import growing, overlay, pipeline, smoothing  # noqa: F401 - now, not when frames come already
    from avadet.inference.sinks import feed
    from avadet.persons.precomputed import PrecomputedBoxes
    from avadet.persons.tracking import PersonTracker
    from avadet.video.connection import TIMEOUT_S
    from avadet.video.live import LiveReader
    from avadet.video.sources import shown_name, stem_of
    from avadet.video.write import MAX_SIDE

    if isinstance(setup.persons, PrecomputedBoxes):
        raise AvadetError("--boxes are for files; the people of a stream are found by a detector")
    tracker = PersonTracker()
    stem = free_stem(stem_of(source, datetime.now()), args)
    seconds = args.seconds or math.inf
    timeout_s = args.timeout or TIMEOUT_S
    with LiveReader(source, stem, seconds, tell=videos.note, timeout_s=timeout_s) as reader, until_told_to_stop(reader):
        state = LiveState(reader)
        if not args.no_video and max(reader.info.size_hw) > MAX_SIDE:
            args.no_video = True
            videos.note(
                f"warning: no .mp4 is written: pictures are {max(reader.info.size_hw)} px long, too large for H.264"
            )
        announce(shown_name(source), reader, setup, args)
        with ExitStack() as stack:
            sinks = [stack.enter_context(sink) for sink in make_sinks(reader, setup, args)]
            for event in feed(wanted(events_of(reader, setup, tracker), reader), sinks):
                state.see(event)
    print(f"{shown_name(source)}: {state.headline()}")
    print(f"  results: {videos.listed(output_paths(stem, args), stem)}")
    if reader.lost:
        videos.note(f"{reader.lost}; the results up to then are complete")
    return 1 if reader.lost else 0


def output_paths(stem: str, args: argparse.Namespace) -> list[Path]:
    """The files that the results go to."""
    return [args.out / f"{stem}{suffix}" for suffix in (*GROWING, *([] if args.no_video else [".mp4"]))]


def free_stem(stem: str, args: argparse.Namespace) -> str:
    """The stem, with -2, -3, ... after it if another run of the same second has it."""
    from avadet.files import part_of

    number, free = 1, stem
    while any(path.exists() or part_of(path).exists() for path in output_paths(free, args)):
        number += 1
        free = f"{stem}-{number}"
    return free


def make_sinks(reader: LiveReader, setup: Setup, args: argparse.Namespace) -> list[Sink]:
    """One sink per output file; the video last."""
    from avadet.inference.growing import GrowingAvaCsv, GrowingEvents, GrowingJsonl
    from avadet.inference.overlay import OverlayTiming, VideoSink

    labels = setup.model.labels
    ava_csv, jsonl, events_csv, *mp4 = output_paths(reader.info.path.name, args)
    timing = OverlayTiming.of(every_s(setup), looks_ahead_s(setup))
    return [
        GrowingAvaCsv(ava_csv, labels),
        GrowingJsonl(jsonl, labels, args.threshold),
        GrowingEvents(events_csv, labels, args.threshold),
        *(VideoSink(path, reader.info, labels, args.threshold, timing, fragmented=True) for path in mp4),
    ]


def events_of(reader: LiveReader, setup: Setup, tracker: PersonTracker) -> Iterator[Event]:
    """What happens in the stream, smoothed if so set up.

    One keyframe at a time, and no stage works ahead of the next: both would put frames in line for nothing.
    """
    from avadet.inference.pipeline import stream
    from avadet.inference.smoothing import smoothed

    events = stream(
        cast("Reader", reader),  # of a reader, the pass asks for what both have
        setup.model,
        setup.persons,
        every_s=every_s(setup),
        tracker=tracker,
        keyframes_s=None if reader.is_recording else reader.keyframes_s(every_s(setup)),
        detections_s=None if setup.detect_every_s is None else reader.looks_s(setup.detect_every_s),
        batch=1,
        overlap=False,
    )
    return events if setup.smoothing is None else smoothed(events, setup.smoothing, every_s(setup))


def wanted(events: Iterator[Event], reader: LiveReader) -> Iterator[Event]:
    """Leave out keyframes at moments of which nothing was seen, as while the connection was lost."""
    from avadet.types import ActionDetections

    return (event for event in events if not isinstance(event, ActionDetections) or reader.covers(event.key.time_s))


def every_s(setup: Setup) -> float:
    """Time between keyframes, seconds."""
    from avadet.inference.run import EVERY_S

    return setup.every_s or EVERY_S


def looks_ahead_s(setup: Setup) -> float:
    """How much of what follows a moment must be seen before there is a result for it, seconds."""
    return float(setup.model.spec.offsets_s()[-1]) + (setup.smoothing.delay_s if setup.smoothing else 0.0)


def announce(name: str, reader: LiveReader, setup: Setup, args: argparse.Namespace) -> None:
    """Say on stderr what is read, where the results grow, and how soon they can come."""
    from avadet.files import part_of

    height, width = reader.info.size_hw
    kind = "a recording, no frames are dropped" if reader.is_recording else "live"
    videos.inform(f"{name}: {kind}, {width}x{height}, {float(reader.info.fps):.4g} fps; Ctrl-C ends the run")
    for said in reader.info.display_notes:
        videos.inform(f"{name}: {said}")
    videos.inform(
        f"latency is at least {looks_ahead_s(setup):.2f} s: the model{' and the smoothing' if setup.smoothing else ''} "
        "must see that much after a keyframe"
    )
    growing = [part_of(path) for path in output_paths(reader.info.path.name, args)]
    videos.inform(f"results so far: {', '.join(str(path) for path in growing)}")


@contextmanager
def until_told_to_stop(reader: LiveReader) -> Iterator[None]:
    """Let the first Ctrl-C, SIGTERM or SIGHUP end the stream as if it were over; a second one stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers if signal.getsignal(number) != signal.SIG_IGN}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(number: int, frame: FrameType | None) -> None:
        reader.stop()
        restore()

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        restore()


def _no_gaps() -> GapCount:
    from avadet.inference.schedule import GapCount

    return GapCount()


@dataclass
class LiveState:
    """Counts of a live run, and the line that is shown of them every few seconds.

    Attributes:
        reader: the stream.
        keyframes: results so far.
        people: people on the last one.
        count: people so far.
        latency_s: of the last result.
        end_s: time of the last frame, seconds.
        gaps: of the stream.
    """

    reader: LiveReader
    keyframes: int = 0
    people: int = 0
    count: PersonCount = field(default_factory=PersonCount)
    latency_s: float = 0.0
    end_s: float = 0.0
    gaps: GapCount = field(default_factory=_no_gaps)
    _latency_sum_s: float = 0.0
    _latency_max_s: float = 0.0
    _shown_s: float = field(default_factory=time.monotonic)
    _shown_arrived: int = 0

    def see(self, event: Event) -> None:
        """Count an event; show the line when it is time."""
        from avadet.inference.schedule import Gap
        from avadet.types import ActionDetections, Frame

        if isinstance(event, Frame):
            self.end_s = event.time_s
        elif isinstance(event, Gap):
            self.gaps.add(event)
        elif isinstance(event, ActionDetections):
            self._count(event)
        passed_s = time.monotonic() - self._shown_s
        if passed_s >= STATUS_EVERY_S:
            videos.inform(self.line(passed_s))
            self._shown_s, self._shown_arrived = time.monotonic(), self.reader.arrived

    def _count(self, detections: ActionDetections) -> None:
        self.keyframes += 1
        self.people = len(detections)
        self.count.add(detections)
        self.latency_s = self.reader.latency_s(detections.key.time_s)
        self._latency_sum_s += self.latency_s
        self._latency_max_s = max(self._latency_max_s, self.latency_s)

    def line(self, passed_s: float) -> str:
        """Say how it goes; `passed_s` since the last line."""
        minutes, seconds = divmod(int(self.end_s), 60)
        clock = f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}"
        fps = (self.reader.arrived - self._shown_arrived) / passed_s
        latency = f"latency {self.latency_s:.1f} s" if self.keyframes else "no result yet"
        in_view = f"{videos.count(self.people, 'person', 'people')} in view"
        return f"live: {clock}, {fps:.1f} fps in, {self.reader.dropped} dropped, {latency}, {in_view}"

    def headline(self) -> str:
        """Say at the end what there was."""
        parts = [f"{self.end_s:.1f} s of stream, {videos.count(self.keyframes, 'keyframe')}"]
        parts.append(str(self.count))
        parts.append(f"{self.reader.dropped} of {self.reader.arrived} frames dropped")
        if self.keyframes and not self.reader.is_recording:
            mean_s = self._latency_sum_s / self.keyframes
            parts.append(f"latency {mean_s:.2f} s, at most {self._latency_max_s:.2f} s")
        if self.gaps.number:
            gaps = videos.count(self.gaps.number, "gap")
            parts.append(f"{gaps} of {videos.lasting(self.gaps.total_s)} in which nothing came")
        if self.reader.damaged:
            parts.append(videos.count(self.reader.damaged, "damaged spot"))
        return ", ".join(parts)
