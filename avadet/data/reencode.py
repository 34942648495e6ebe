"""One video, encoded again for training: small, and with few frames from one it can be entered at to the next.

A clip from anywhere in a film costs the frames before it, back to the last that stands for itself: 250 in videos from
the web. Here that is every `gop`-th one. Every frame keeps its time to a tick of the source file's clock, so a rate
that varies still varies, and a start that is late is still late. Pictures are written as a player shows them: upright,
with square pixels, in SDR.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from avadet.errors import AvadetError
from avadet.files import whole_file
from avadet.types import Frame, IntArray, UInt8Array
from avadet.video.image_names import ImageSequence
from avadet.video.images import ImageReader
from avadet.video.opening import open_container
from avadet.video.read import VideoReader
from avadet.video.reader import Reader
from avadet.video.sample import resized_hw

TIME_TOLERANCE_S = 0.001
GREY_TOLERANCE = 8.0
"""Mean difference of a picture from its source's, grey levels, that is put down to compression; crf 20 gives 0 to 4."""

_FINEST = 1_000_000  # ticks a second that mp4 is trusted with
_LONGEST = 2**31 - 1  # ticks from one frame to the next that mp4 can hold
_COARSE_S = Fraction(1, 1000)
_LEGAL_HW = 2  # px, H.264 in 4:2:0 needs even sides


@dataclass(frozen=True)
class Encoding:
    """How videos are encoded.

    Attributes:
        short_side: px of the shorter side; smaller videos keep their size.
        gop: frames at most from one that stands for itself to the next.
        crf: quality of x264, 0 (all of it) to 51; 18 looks like the source, each 6 more halve the file.
        preset: speed of x264.
    """

    short_side: int = 320
    gop: int = 15
    crf: int = 20
    preset: str = "veryfast"


@dataclass(frozen=True)
class Job:
    """One video to encode.

    Attributes:
        video_id: its name.
        source: its file.
        target: the file to make, .mp4.
        encoding: how.
        span_s: (first, last) second to keep, after the source's first frame; None = all of it.
        checked_s: moments at which pictures are compared with the source's, seconds after its first frame.
        threads: that decode, and that encode; 0 = as many as they like.
        images: how the source is read where it is a folder of images.
        is_numbered: whether keyframes are numbers of frames, so that none of a folder may be missing.
    """

    video_id: str
    source: Path
    target: Path
    encoding: Encoding
    span_s: tuple[float, float] | None = None
    checked_s: tuple[float, ...] = ()
    threads: int = 0
    images: ImageSequence | None = None
    is_numbered: bool = False

    def open(self) -> Reader:
        """Open the source."""
        return VideoReader(self.source, self.threads) if self.images is None else ImageReader(self.images)

    def bytes_before(self) -> int:
        """Size of the source."""
        if self.images is None or not self.source.is_dir():
            return _size(self.source)
        return sum(_size(self.source / name) for name in self.images.names().all_names())

    def facts(self) -> dict[str, Any]:
        """What decides what comes out, as plain values; written into the file."""
        span = None if self.span_s is None else [round(moment, 6) for moment in self.span_s]
        facts = {"by": "avadet data prepare", **asdict(self.encoding), "span_s": span, "bytes": self.bytes_before()}
        display = self._display_notes()
        facts |= {} if self.images is None else {"fps": self.images.fps}
        return facts | ({"display": display} if display else {})

    def _display_notes(self) -> list[str]:
        """What is done to show the pictures of the source; nothing for ordinary ones."""
        try:
            with self.open() as reader:
                return list(reader.info.display_notes)
        except AvadetError:
            return []  # whoever reads it says what is wrong


@dataclass(frozen=True)
class Prepared:
    """One video, encoded.

    Attributes:
        video_id: its name.
        skips_s: seconds of the source before its first frame.
        frames: how many it has; 0 = it was there already.
        bytes_before: size of the source.
        bytes_after: size of the file made.
        time_error_s: largest difference of a frame's time from the source's.
        grey_error: largest mean difference of a picture compared, grey levels.
        damaged: pictures of the source that did not decode, or are marked as damaged.
    """

    video_id: str
    skips_s: float
    frames: int
    bytes_before: int
    bytes_after: int
    time_error_s: float = 0.0
    grey_error: float = 0.0
    damaged: int = 0


def prepare_video(job: Job) -> Prepared:
    """Encode a video, unless it is there already, and compare it with its source before it gets its name.

    Raises:
        AvadetError: if the source cannot be read, the target not be written, or the two differ.
    """
    done = finished(job)
    if done is not None:
        return done
    with job.open() as reader, whole_file(job.target) as partial:
        try:
            ticks, skips_s = _encode(reader, partial, job)
        except (FFmpegError, OSError) as error:
            raise AvadetError(f"cannot write {job.target}: {error}; is the disk full?") from error
        if job.images is not None and job.is_numbered and reader.damaged:
            raise AvadetError(
                f"{job.source}: {reader.damaged} images are damaged or missing ({', '.join(reader.faulty)}); keyframes "
                "are numbers of frames, which would change: restore the images"
            )
        time_error_s = _time_error_s(partial, ticks, _clock(reader))
        grey_error = _grey_error(reader, partial, job, skips_s)
        if time_error_s > TIME_TOLERANCE_S or grey_error > GREY_TOLERANCE:
            raise AvadetError(
                f"{job.source}: the encoded video differs from it by {1000 * time_error_s:.1f} ms and {grey_error:.1f} "
                f"grey levels, more than {1000 * TIME_TOLERANCE_S:g} ms or {GREY_TOLERANCE:g}, and is not kept; "
                "the source is damaged, or crf too high"
            )
        sizes = job.bytes_before(), _size(partial)
        return Prepared(job.video_id, skips_s, len(ticks), *sizes, time_error_s, grey_error, reader.damaged)


def finished(job: Job) -> Prepared | None:
    """The video as an earlier run left it; None if there is none, or it was encoded otherwise or from another file."""
    if not job.target.is_file():
        return None
    try:
        with open_container(job.target) as container:
            facts = json.loads(container.metadata.get("comment", ""))
    except (AvadetError, ValueError):
        return None
    if not isinstance(facts, dict) or "skips_s" not in facts:
        return None
    skips_s = float(facts.pop("skips_s"))
    sizes = job.bytes_before(), _size(job.target)
    return Prepared(job.video_id, skips_s, 0, *sizes) if facts == job.facts() else None


def _encode(reader: Reader, path: Path, job: Job) -> tuple[IntArray, float]:
    """Write the pictures of a job; returns their timestamps, int64 (n,), and the seconds left out before the first."""
    clock = _clock(reader)
    frames = _frames(reader, job.span_s)
    first = next(frames, None)
    if first is None:
        raise AvadetError(f"{job.source} has no frame between {_span_text(job)}; are the keyframes on another clock?")
    skips_s = first.time_s
    zero_s = -skips_s if job.span_s is not None else reader.info.start_s
    ticks: list[int] = []
    facts = json.dumps(job.facts() | {"skips_s": round(skips_s, 9)})
    with closing(av.open(f"file:{path}", "w", format="mp4", options={"movflags": "+faststart"})) as output:
        output.metadata["comment"] = facts
        size_hw = encoded_hw(reader.info.size_hw, job.encoding.short_side)
        stream = _add_stream(output, size_hw, reader.info.fps, clock, job)
        source: Frame | None = first
        while source is not None:
            tick = round((source.time_s + zero_s) / clock)
            ticks.append(max(tick, ticks[-1] + 1) if ticks else tick)
            frame = av.VideoFrame.from_ndarray(shrunk(source.image, size_hw), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU601", dst_color_range="MPEG")
            frame.pts, frame.time_base = ticks[-1], clock
            output.mux(stream.encode(frame))
            source = next(frames, None)
        output.mux(stream.encode(None))
    return np.array(ticks, np.int64), skips_s


def _frames(reader: Reader, span_s: tuple[float, float] | None) -> Iterator[Frame]:
    """All frames, or those on show in a span."""
    for frame in reader.frames(0.0 if span_s is None else span_s[0]):
        if span_s is not None and frame.time_s > span_s[1]:
            return
        yield frame


def _add_stream(
    output: OutputContainer, size_hw: tuple[int, int], fps: Fraction, clock: Fraction, job: Job
) -> VideoStream:
    encoding = job.encoding
    options = {"preset": encoding.preset, "crf": str(encoding.crf), "g": str(encoding.gop), "bf": "0"}
    options |= {"sc_threshold": "0"}  # else short GOPs make x264 see cuts everywhere
    options |= {"tune": "fastdecode"}  # decodes in two thirds of the time, for a tenth more bytes
    try:
        stream = output.add_stream("libx264", rate=fps.limit_denominator(1001), options=options)
    except ValueError as error:
        raise AvadetError(f"this build of PyAV has no libx264 ({error}); install PyAV from PyPI") from error
    stream.height, stream.width = size_hw
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.time_base = clock
    context.color_range, context.colorspace = 1, 6  # limited range, BT.601
    context.thread_count = job.threads
    return stream


def _clock(reader: Reader) -> Fraction:
    """What the encoded file counts time in: the source's tick, unless that is too fine for mp4 or a long pause."""
    tick_s = reader.tick_s if reader.tick_s.denominator <= _FINEST else Fraction(1, _FINEST)
    return tick_s if reader.info.duration_s / tick_s <= _LONGEST else max(tick_s, _COARSE_S)


def encoded_hw(size_hw: tuple[int, int], short_side: int) -> tuple[int, int]:
    """(height, width) px of the encoded video: even, never larger than the source but by that."""
    height, width = resized_hw(size_hw, min(short_side, min(size_hw)))
    return max(height - height % _LEGAL_HW, _LEGAL_HW), max(width - width % _LEGAL_HW, _LEGAL_HW)


def shrunk(image: UInt8Array, size_hw: tuple[int, int]) -> UInt8Array:
    """A picture (H, W, 3) at the encoded size, each pixel the mean of those it covers."""
    if image.shape[:2] == size_hw:
        return image
    return np.asarray(cv2.resize(image, size_hw[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def _time_error_s(path: Path, ticks: IntArray, clock: Fraction) -> float:
    """Largest difference between the times meant and those in the file; infinite if it has more frames or fewer."""
    with open_container(path) as container:
        stream = container.streams.video[0]
        stamps = [packet.pts for packet in container.demux(stream) if packet.pts is not None]
        tick = stream.time_base or clock
    if len(stamps) != len(ticks):
        return float("inf")
    got = np.sort(np.array(stamps, np.float64)) * float(tick)
    return float(np.abs(got - ticks * float(clock)).max(initial=0.0))


def _grey_error(reader: Reader, path: Path, job: Job, skips_s: float) -> float:
    """Largest mean difference between pictures of the source and of the file on show at the same moments."""
    worst = 0.0
    with VideoReader(path, job.threads) as encoded:
        for moment_s in _inside(job.checked_s, job.span_s):
            source = next(iter(reader.frames(moment_s)))
            found = next(iter(encoded.pictures(source.time_s - skips_s + TIME_TOLERANCE_S / 2)))
            if abs(found.time_s + skips_s - source.time_s) > TIME_TOLERANCE_S:
                return float("inf")
            height, width = encoded.info.size_hw
            half_hw = height // 2, width // 2  # leaves out the noise that no encoder keeps
            wanted = shrunk(source.image, half_hw).astype(np.int16)
            worst = max(worst, float(np.abs(shrunk(found.image(), half_hw) - wanted).mean()))
    return worst


def _inside(moments_s: Sequence[float], span_s: tuple[float, float] | None) -> list[float]:
    return [s for s in moments_s if s >= 0 and (span_s is None or span_s[0] <= s <= span_s[1])]


def _span_text(job: Job) -> str:
    first_s, last_s = job.span_s or (0.0, float("inf"))
    return f"{first_s:.3f} and {last_s:.3f} s"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
