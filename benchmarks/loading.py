"""How many random training clips a second come out of a long video, as it is and after `avadet data prepare`.

    python benchmarks/loading.py [--size 1280x720] [--minutes 15] [--gop 250] [--loop VIDEO] [--folder DIR] [--clips 24]

Makes a film of moving figures (or of VIDEO, forwards and backwards in turn, so that there are no cuts) with a frame
that stands for itself every `gop` frames, as web videos have them, and prepares it. Then clips of 32 frames, every
second one, cropped for training by the recipe of SlowFast's models, are read around random moments from both files in
turn, each with the same draw, by one thread (as in a worker process), from files that are open already. The times of
their frames must be equal and their pictures nearly so. Prints medians of wall time and of CPU time, and the ratio of
each pair.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

FPS = 30
NOISE = 1.0  # grey levels of grain, without which drawn pictures cost less than real ones


def drawn_images(size_hw: tuple[int, int]) -> list[np.ndarray]:
    from avadet.synthetic.scene import random_scene

    small = random_scene(np.random.default_rng(1), (size_hw[0] // 2, size_hw[1] // 2), 240, FPS, 3).frames
    noise = np.random.default_rng(0).normal(0, NOISE, (8, *size_hw, 1)).astype(np.float32)
    big = (cv2.resize(image, size_hw[::-1], interpolation=cv2.INTER_CUBIC) for image in small)
    return [np.clip(image + noise[index % 8], 0, 255).astype(np.uint8) for index, image in enumerate(big)]


def filmed_images(path: Path, size_hw: tuple[int, int]) -> list[np.ndarray]:
    from avadet.video.read import VideoReader

    with VideoReader(path) as reader:
        frames = itertools.islice(reader.frames(), 300)
        return [cv2.resize(frame.image, size_hw[::-1], interpolation=cv2.INTER_AREA) for frame in frames]


def to_and_fro(images: list[np.ndarray], count: int) -> Iterator[np.ndarray]:
    return itertools.islice(itertools.cycle([*images, *images[-2:0:-1]]), count)


def write_film(path: Path, images: list[np.ndarray], size_hw: tuple[int, int], gop: int, minutes: float) -> None:
    """Encode two GOPs, there and back again, and copy their packets until the film is long enough."""
    there = list(to_and_fro(images, gop + 1))
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "23", "g": str(gop)})
        stream.height, stream.width, stream.pix_fmt = *size_hw, "yuv420p"
        stream.codec_context.time_base = clock = Fraction(1, FPS)
        packets = []
        for index, image in enumerate([*there, *there[-2:0:-1]]):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = index
            packets += [(packet.pts, packet.dts, packet.is_keyframe, bytes(packet)) for packet in stream.encode(frame)]
        packets += [(packet.pts, packet.dts, packet.is_keyframe, bytes(packet)) for packet in stream.encode(None)]
        for turn in range(-(-round(minutes * 60 * FPS) // len(packets))):
            for pts, dts, is_key, data in packets:
                packet = av.Packet(data)
                packet.stream, packet.time_base, packet.is_keyframe = stream, clock, is_key
                packet.pts, packet.dts = pts + turn * len(packets), dts + turn * len(packets)
                output.mux(packet)


def describe(path: Path) -> str:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        keys = [packet.is_keyframe for packet in container.demux(stream) if packet.pts is not None]
        size, minutes, gop = f"{stream.width}x{stream.height}", len(keys) / FPS / 60, len(keys) / sum(keys)
        megabits = path.stat().st_size * 8 / 1e6
        return f"{size}, {minutes:.1f} min, {megabits / minutes / 60:.2f} Mbit/s, {gop:.0f} frames a GOP"


def measure(paths: dict[str, Path], clips: int, seed: int) -> dict[str, np.ndarray]:
    """Seconds (clips, 2) a clip, wall and CPU, by name of the file; checks that both give the same frames."""
    from avadet.annotations.splits import DataVideo
    from avadet.data.clip_reader import OpenVideos, read_frames
    from avadet.data.transforms import FIELD_RECIPE, draw_change
    from avadet.data.workers import use_one_thread
    from avadet.types import ClipSpec

    spec = ClipSpec(32, 2, FPS, 256, (0.45,) * 3, (0.225,) * 3)
    use_one_thread()  # as worker processes do
    videos = OpenVideos(4)
    length_s = videos.reader(DataVideo("film", paths["as it is"])).info.duration_s
    times = {name: np.zeros((clips, 2)) for name in paths}
    rng = np.random.default_rng(seed)
    worst = 0.0
    for clip, time_s in enumerate(rng.uniform(2, length_s - 2, clips)):
        found = {}
        for name in list(paths)[:: 1 if clip % 2 else -1]:
            began = time.perf_counter(), time.process_time()
            reader = videos.reader(DataVideo("film", paths[name]))
            change = draw_change(
                np.random.default_rng((seed, clip)), reader.info.size_hw, np.zeros((0, 4), np.float32), FIELD_RECIPE
            )
            frames, at_s = read_frames(reader, float(time_s), spec, change.move)
            found[name] = change.finish(frames), at_s
            times[name][clip] = time.perf_counter() - began[0], time.process_time() - began[1]
        (one, one_s), (other, other_s) = found.values()
        if np.abs(one_s - other_s).max() > 1e-3:
            raise SystemExit(f"frames differ around {time_s}: {one_s} and {other_s}")
        worst = max(worst, float(np.abs(one.astype(np.int16) - other).mean()))
    videos.close()
    print(
        f"{clips} clips of 32 frames, times equal; mean difference of a clip's pixels at most {worst:.1f} grey levels"
    )
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="1280x720", metavar="WxH")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--gop", type=int, default=250)
    parser.add_argument("--loop", type=Path, metavar="VIDEO")
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--short-gop", type=int, default=15, help="of the prepared file")
    parser.add_argument("--folder", type=Path, help="keep the films there")
    args = parser.parse_args()

    from avadet.data.reencode import Encoding, Job, prepare_video

    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        width, height = (int(side) for side in args.size.split("x"))
        source = folder / f"{args.loop.stem if args.loop else 'figures'}_{args.size}_g{args.gop}_{args.minutes:g}.mp4"
        if not source.is_file():
            images = filmed_images(args.loop, (height, width)) if args.loop else drawn_images((height, width))
            write_film(source, images, (height, width), args.gop, args.minutes)
        target = source.with_suffix(f".g{args.short_gop}.mp4")
        began = time.perf_counter()
        prepare_video(Job("film", source, target, Encoding(gop=args.short_gop), checked_s=(1.0, 30.0)))
        print(f"prepared in {time.perf_counter() - began:.0f} s (0: it was there)")
        paths = {"as it is": source, "prepared": target}
        for name, path in paths.items():
            print(f"{name}: {describe(path)}, {path.stat().st_size / 1e6:.0f} MB")
        times = measure(paths, args.clips, seed=0)
    print(f"{platform.machine()}, {os.cpu_count()} cores, PyAV {av.__version__}, medians of {args.clips} clips")
    for column, what in enumerate(("wall", "CPU")):
        before, after = times["as it is"][:, column], times["prepared"][:, column]
        ratios = before / after
        low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
        print(
            f"{what}: {1000 * np.median(before):.0f} ms a clip as it is, {1000 * np.median(after):.0f} ms prepared: "
            f"{1 / np.median(before):.1f} and {1 / np.median(after):.1f} clips/s; "
            f"ratio {middle:.1f} (quartiles {low:.1f}-{high:.1f}), of sums {before.sum() / after.sum():.1f}"
        )


if __name__ == "__main__":
    main()
