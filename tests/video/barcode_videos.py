"""Small videos whose every frame says by its pixels which one it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 10
SIZE_HW = (64, 160)
CLOCK = Fraction(1, 90000)


def barcode(number: int, size_hw: tuple[int, int] = SIZE_HW) -> np.ndarray:
    """The number as ten black or white columns, lowest bit first, over a blue lower half."""
    height, width = size_hw
    image = np.full((height, width, 3), 64, np.uint8)
    image[height // 2 :] = (0, 0, 200)
    for bit in range(BITS):
        left, right = bit * width // BITS, (bit + 1) * width // BITS
        image[: height // 2, left:right] = 255 if number >> bit & 1 else 0
    return image


def number_of(image: np.ndarray) -> int:
    """The number that `barcode` wrote, at any size."""
    height, width = image.shape[:2]
    row = image[height // 8 : height // 3].mean(axis=(0, 2))
    middles = [(2 * bit + 1) * width // (2 * BITS) for bit in range(BITS)]
    return sum((row[x - 1 : x + 2].mean() > 128) << bit for bit, x in enumerate(middles))


def cfr(count: int, fps: Fraction | float, start_s: float = 0.0) -> list[float]:
    return [start_s + float(index / Fraction(fps)) for index in range(count)]


def make_video(
    path: Path,
    times_s: Sequence[float],
    fps: Fraction | float = 25,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    size_hw: tuple[int, int] = SIZE_HW,
    rotation: int = 0,
    first_number: int = 0,
    clock: Fraction = CLOCK,
) -> Path:
    """Write one bar-code frame a time; libx264 with B-frames and a keyframe every 30 unless told otherwise."""
    if options is None:
        options = {"g": "30", "bf": "2", "preset": "ultrafast", "b-adapt": "0"} if codec == "libx264" else {}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=options)
        stream.height, stream.width, stream.pix_fmt = *size_hw, "yuv420p"
        stream.codec_context.time_base = clock
        if rotation:
            stream.set_display_rotation(rotation)
        for number, time_s in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(barcode(first_number + number, size_hw), "rgb24")
            frame.pts, frame.time_base = round(time_s / clock), clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def beep_samples(first_s: float, seconds: float, beep_s: float, rate: int = 48000) -> np.ndarray:
    """Silence with a 0.2 s tone of 1 kHz that starts at `beep_s`; float32 (2, samples)."""
    times = first_s + np.arange(round(seconds * rate)) / rate
    tone = 0.5 * np.sin(2 * np.pi * 1000 * times) * ((times >= beep_s) & (times < beep_s + 0.2))
    return np.stack([tone, tone]).astype(np.float32)


def sound_frames(samples: np.ndarray, first_s: float, rate: int = 48000) -> Iterator[av.AudioFrame]:
    for begin in range(0, samples.shape[1] - 1023, 1024):
        frame = av.AudioFrame.from_ndarray(samples[:, begin : begin + 1024], format="fltp", layout="stereo")
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), round(first_s * rate) + begin
        yield frame


def make_talkie(
    path: Path,
    audio_codec: str,
    seconds: float = 3.0,
    flash_s: float = 1.0,
    start_s: float = 0.0,
    late_s: float = 0.0,
    gap_s: tuple[float, float] = (0.0, 0.0),
) -> Path:
    """A 25 fps video that is black until `flash_s`, white after, with a beep at the flash.

    Pictures begin at `start_s` of the container's clock, sound `late_s` after them; it is missing within `gap_s`.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.height, video.width, video.pix_fmt = 64, 64, "yuv420p"
        audio = container.add_stream(audio_codec, rate=48000, options={"strict": "-2"})
        audio.layout = "stereo"
        resampler = av.AudioResampler(format=audio.codec_context.format or "fltp", layout="stereo", rate=48000)
        for time_s in cfr(round(25 * seconds), 25):
            image = np.full((64, 64, 3), 255 if time_s >= flash_s else 0, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = round((start_s + time_s) / CLOCK), CLOCK
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        samples = beep_samples(late_s, seconds - late_s, flash_s)
        for frame in sound_frames(samples, start_s + late_s):
            for ready in resampler.resample(frame):
                for packet in audio.encode(ready):
                    if not gap_s[0] < float(packet.pts * packet.time_base) - start_s < gap_s[1]:
                        container.mux(packet)
        container.mux(audio.encode(None))
    return path


def beep_onset_s(path: Path) -> float | None:
    """When the sound first exceeds a tenth of full scale, seconds of the container's clock; None if never."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        for frame in container.decode(container.streams.audio[0]):
            samples = frame.to_ndarray().astype(np.float64)
            scale = np.iinfo(frame.to_ndarray().dtype).max if frame.to_ndarray().dtype.kind == "i" else 1.0
            loud = np.abs(samples / scale).max(axis=0) > 0.1
            if loud.any():
                channels = 1 if frame.format.is_planar else frame.layout.nb_channels
                return float(frame.pts * frame.time_base) + int(loud.argmax()) / channels / frame.sample_rate
    return None
