"""Writing a video: H.264 in mp4, at the times its frames had, with the sound of the video it was made from."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np
from av.codec.codec import Codec, UnknownCodecError
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from avadet.errors import AvadetError
from avadet.files import growing_file, whole_file
from avadet.types import UInt8Array
from avadet.video.sound import AudioPacket, Sound

ENCODERS = ("libx264", "libopenh264", "mpeg4")
"""Encoders in order of preference; the first that this build of PyAV has is used."""

CLOCK = Fraction(1, 60000)
"""Tick of the written timestamps, seconds: whole ticks for 25, 30 and 29.97 fps; MPEG-4 allows no finer ones."""

LONGEST_STILL_S = 3600.0
"""A frame that stays on show for longer is written once more after each such time; mp4 cannot hold 10 h in one."""

MOST_STILLS = 100
"""A frame is written so many times at most; what is left of a pause is cut out of the video."""

FRAGMENT_S = 2.0
"""Length of the parts of a fragmented video, seconds."""

_FRAGMENTS = {"movflags": "+frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
_X264 = {"preset": "veryfast", "crf": "23"}
MAX_SIDE = 16384
"""Longest side that H.264 holds, px."""

_LOG = logging.getLogger(__name__)


class VideoWriter:
    """A video file in the making; a context manager that leaves a whole file or none.

    Frames are shown at the times they are written with, counted from the first one; only pauses of more than
    `MOST_STILLS * LONGEST_STILL_S` are cut, with a warning. H.264 in yuv420p needs even
    sizes: an odd frame gets one more column at the right or row at the bottom, a copy of its last one.

    Sound is taken from the picture's first moment to its last: copied if mp4 holds its format, else encoded to AAC.
    Sound that cannot be used is left out with a warning; it never costs the pictures.
    """

    def __init__(
        self,
        path: str | Path,
        size_hw: tuple[int, int],
        fps: Fraction | float,
        audio_from: str | Path | None = None,
        fragmented: bool = False,
    ) -> None:
        """Say what is to be written; the file is opened when the block is entered.

        Args:
            path: the file to make, `.mp4`. What stands there is replaced when the new file is whole.
            size_hw: (height, width) px of the frames.
            fps: average frame rate, for the encoder's rate control and the length of the last frame.
            audio_from: the video whose sound to keep. Times of frames are then times of that video.
            fragmented: whether to write it in parts of some `FRAGMENT_S` that each can be played, so that a program
                that is killed leaves all but the last one, under the name with ".part" after it.

        Raises:
            AvadetError: if the size, the rate or the name cannot be.
        """
        self._path = Path(path)
        self._size_hw = size_hw
        if not (0 < size_hw[0] <= MAX_SIDE and 0 < size_hw[1] <= MAX_SIDE):
            raise AvadetError(
                f"cannot write {self._path}: a video must be 1 to {MAX_SIDE} px high and wide, got "
                f"{size_hw[1]}x{size_hw[0]}; make the input smaller"
            )
        if not Fraction(1, 1000) <= fps <= 1000:
            raise AvadetError(f"a video's frame rate must lie between 0.001 and 1000 frames per second, got {fps}")
        if self._path.suffix.lower() not in (".mp4", ".m4v", ".mov"):
            raise AvadetError(f"videos are written as .mp4, got {self._path.name}; change the file's ending")
        self._fps = Fraction(fps).limit_denominator(1001)
        self._audio_from = Path(audio_from) if audio_from is not None else None
        self._fragmented = fragmented
        self._sound: Sound | None = None
        self._first_s = 0.0
        self._last_tick = -1
        self._last_frame: av.VideoFrame | None = None

    def __enter__(self) -> VideoWriter:
        """Open the file.

        Raises:
            AvadetError: if it cannot be written there.
        """
        with ExitStack() as stack:
            partial = stack.enter_context((growing_file if self._fragmented else whole_file)(self._path))
            self._sound = self._open_sound()
            if self._sound is not None:
                stack.callback(self._sound.close)
            try:
                self._start(partial)
            except (FFmpegError, OSError, ValueError) as error:
                raise self._failure(error) from error
            self._stack = stack.pop_all()
        return self

    def write(self, image: UInt8Array, time_s: float) -> None:
        """Add a frame.

        Args:
            image: uint8 (H, W, 3) RGB of the writer's size.
            time_s: when it is shown, seconds; later than the frame before.

        Raises:
            AvadetError: if the image has another size, the time does not increase, or the disk refuses.
        """
        if image.shape != (*self._size_hw, 3) or image.dtype != np.uint8:
            height, width = self._size_hw
            raise AvadetError(f"frames of this video are uint8 ({height}, {width}, 3), got {image.dtype} {image.shape}")
        frame = av.VideoFrame.from_ndarray(_yuv420(image), format="yuv420p")
        try:
            self._bridge(time_s)
            self._encode(frame, self._tick(time_s))
        except (FFmpegError, OSError) as error:
            raise self._failure(error) from error

    def _encode(self, frame: av.VideoFrame, tick: int) -> None:
        frame.pts, frame.time_base = tick, CLOCK
        self._output.mux(self._stream.encode(frame))
        self._add_sound(tick * CLOCK)
        self._last_frame = frame

    def _bridge(self, time_s: float) -> None:
        """Write the last frame again where the next one comes much later."""
        still = round(LONGEST_STILL_S / CLOCK)
        stills = (round((time_s - self._first_s) / CLOCK) - self._last_tick - 1) // still
        if self._last_frame is None or stills < 1:
            return
        if stills > MOST_STILLS:
            cut_s = (stills - MOST_STILLS) * LONGEST_STILL_S
            self._first_s += cut_s
            _LOG.warning(
                "%s: %.0f h of a pause are cut out of it; its times are not the source's", self._path, cut_s / 3600
            )
            self._lose_sound(AvadetError("the pictures pause for too long"))
        for _ in range(min(stills, MOST_STILLS)):
            self._last_tick += still
            self._encode(self._last_frame, self._last_tick)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the file, or remove what there is of it if the block raised.

        Raises:
            AvadetError: if no frame was written or the disk refuses.
        """
        if error is not None:
            with suppress(FFmpegError, OSError):
                self._output.close()
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._finish()

    def _finish(self) -> None:
        try:
            if self._last_tick >= 0:
                self._output.mux(self._stream.encode(None))
                self._add_sound(self._last_tick * CLOCK + 1 / self._fps, last=True)
            self._output.close()
        except (FFmpegError, OSError) as error:
            raise self._failure(error) from error
        if self._last_tick < 0:
            raise AvadetError(f"no frame was written to {self._path}; a video needs one at least")

    def _start(self, partial: Path) -> None:
        """Open the container and write its header, without sound if the header will not have it."""
        for sound in (self._sound, None):
            options = _FRAGMENTS if self._fragmented else {"movflags": "+faststart"}
            self._output = av.open(f"file:{partial}", "w", format="mp4", options=options)
            self._stream = self._add_stream(self._output)
            try:
                if sound is not None:
                    sound.add_stream(self._output)
                self._output.start_encoding()
                return
            except (FFmpegError, ValueError) as error:
                if sound is None:
                    raise
                self._lose_sound(error)
                with suppress(FFmpegError, ValueError):
                    self._output.close()

    def _add_stream(self, output: OutputContainer) -> VideoStream:
        name = _encoder()
        stream = output.add_stream(name, rate=self._fps, options=_X264 if name == "libx264" else {})
        assert isinstance(stream, VideoStream)
        height, width = self._size_hw
        stream.height, stream.width = height + height % 2, width + width % 2
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = CLOCK
        context.color_range, context.colorspace = 1, 6  # limited range, BT.601: what _yuv420 makes
        if self._fragmented:
            context.gop_size = max(round(FRAGMENT_S * self._fps), 1)
        if name != "libx264":
            context.bit_rate = int(height * width * self._fps / 5)
        return stream

    def _tick(self, time_s: float) -> int:
        """Timestamp of a frame; raises unless it is later than the last one."""
        if self._last_tick < 0:
            self._first_s = time_s
            if self._sound is not None:
                self._sound.begin(time_s)
        tick = round((time_s - self._first_s) / CLOCK)
        if tick == self._last_tick:
            tick += 1  # closer than the clock can tell
        if not tick > self._last_tick:
            last_s = self._first_s + float(self._last_tick * CLOCK)
            raise AvadetError(f"frames must be written in time, got {time_s} s after {last_s} s")
        self._last_tick = tick
        return tick

    def _open_sound(self) -> Sound | None:
        if self._audio_from is None:
            return None
        try:
            return Sound.of(self._audio_from)
        except (AvadetError, FFmpegError, OSError, ValueError) as error:
            self._lose_sound(error)
            return None

    def _add_sound(self, until_s: Fraction, last: bool = False) -> None:
        """Write the sound up to a moment of the output."""
        for packet in self._sound_packets(float(until_s), last):
            self._output.mux(packet)

    def _sound_packets(self, until_s: float, last: bool) -> Iterator[AudioPacket]:
        """Packets of sound; an error in the sound ends the sound, not the video."""
        packets = self._sound.packets(until_s, last) if self._sound is not None else iter(())
        while True:
            try:
                packet = next(packets, None)
            except (AvadetError, FFmpegError, OSError, ValueError) as error:
                self._lose_sound(error)
                return
            if packet is None:
                return
            yield packet

    def _lose_sound(self, error: Exception) -> None:
        if self._audio_from is not None:
            where = f" from {float(self._last_tick * CLOCK):.2f} s on" if self._last_tick > 0 else ""
            _LOG.warning("the sound of %s is left out of %s%s: %s", self._audio_from, self._path, where, _reason(error))
        self._sound = None

    def _failure(self, error: Exception) -> AvadetError:
        return AvadetError(f"cannot write {self._path}: {_reason(error)}; is the disk full or the folder protected?")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _encoder() -> str:
    """The first of `ENCODERS` at hand."""
    for name in ENCODERS:
        with suppress(UnknownCodecError):
            return Codec(name, "w").name
    raise AvadetError(f"this build of PyAV has no encoder among {', '.join(ENCODERS)}; install PyAV from PyPI")


def _yuv420(image: UInt8Array) -> UInt8Array:
    """RGB uint8 (H, W, 3) to planar YUV 4:2:0, uint8 (H * 3 / 2, W), BT.601; odd sizes grow by a copied edge."""
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        image = np.asarray(cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE), np.uint8)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420), np.uint8)
