"""How fast `avadet infer` with the bundled models is against the video's own length, annotated video included.

    python benchmarks/realtime.py [VIDEO] [--seconds 30] [--runs 3] [--threads 2]

Without VIDEO it renders one: 640x480, 30 fps, two people. Each run is a fresh process, start-up included; the start-up
alone (a one-second video) is measured beside it, and the rate without it is printed too.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def render(path: Path, seconds: float) -> None:
    command = [sys.executable, "-m", "avadet", "render", str(path), "--seconds", str(seconds), "--people", "2"]
    subprocess.run([*command, "--seed", "3"], check=True, stdout=subprocess.DEVNULL)


def infer_seconds(video: Path, out: Path, threads: int) -> float:
    """Wall time of one whole run, seconds."""
    command = [sys.executable, "-m", "avadet", "infer", str(video), "--out", str(out), "--model", "tiny", "--overwrite"]
    began = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.perf_counter() - began


def main() -> None:
    from avadet.video.read import probe

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video, short = args.video or Path(folder) / "long.mp4", Path(folder) / "short.mp4"
        if args.video is None:
            render(video, args.seconds)
        render(short, 1.0)
        info = probe(video)
        whole = [infer_seconds(video, Path(folder) / "out", args.threads) for _ in range(args.runs)]
        start = [infer_seconds(short, Path(folder) / "out", args.threads) for _ in range(args.runs)]
    length, took, began = info.duration_s, statistics.median(whole), statistics.median(start)
    print(f"{platform.machine()}, {os.cpu_count()} cores, {args.threads} threads, {args.runs} runs")
    print(f"video: {info.size_hw[1]}x{info.size_hw[0]}, {float(info.fps):.4g} fps, {length:.1f} s")
    print(f"whole process: median {took:.1f} s ({min(whole):.1f}-{max(whole):.1f}), {length / took:.2f}x real time")
    print(f"one second of video: median {began:.1f} s; without start-up {(length - 1) / (took - began):.2f}x real time")


if __name__ == "__main__":
    main()
