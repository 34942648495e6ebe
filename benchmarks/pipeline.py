"""How much the whole pass over a video costs beyond its two models.

    python benchmarks/pipeline.py [VIDEO] [--model tiny] [--detector tiny] [--seconds 30] [--runs 5] [--threads 2]

The sum of the model times is what the detector and the action model take one after the other on the very frames and
clips that the pass gives them, with nothing else running. Against it stand the pass with and without threads (decode,
detection, tracking, recognition; files of text cost nothing next to it), and the same with the annotated video. The
kinds take turns, so that other load on the machine hits all alike; CPU time is given beside wall time because it
hardly depends on that load.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any


def render(path: Path, seconds: float) -> None:
    command = [sys.executable, "-m", "avadet", "render", str(path), "--seconds", str(seconds), "--people", "2"]
    subprocess.run([*command, "--seed", "3"], check=True, stdout=subprocess.DEVNULL)


class Recorder:
    """Passes a call on and keeps what it was given."""

    def __init__(self, call: Callable[..., Any]) -> None:
        """Record calls of `call`."""
        self.given: list[tuple[Any, ...]] = []
        self._call = call

    def __call__(self, *given: Any) -> Any:
        """Call, and keep the arguments."""
        self.given.append(given)
        return self._call(*given)


def models_alone(setup: Any, video: Path) -> Callable[[], None]:
    """Record what the pass asks of its models; return what asks them all of it again, one after the other."""
    import dataclasses

    from avadet.inference import pipeline

    score, detector = Recorder(pipeline.score_clips), Recorder(setup.persons)
    original, pipeline.score_clips = pipeline.score_clips, score
    walk(dataclasses.replace(setup, persons=detector), video, overlap=False)
    pipeline.score_clips = original

    def again() -> None:
        for given in detector.given:
            setup.persons(*given)
        for given in score.given:
            original(*given)

    print(f"{len(detector.given)} detections, {sum(len(clips) for _, clips in score.given)} clips")
    return again


def walk(setup: Any, video: Path, overlap: bool, out: Path | None = None) -> None:
    """One pass; with `out`, the annotated video is written there."""
    from avadet.inference.overlay import OverlayTiming, VideoSink
    from avadet.inference.sinks import feed
    from avadet.video.read import VideoReader

    with VideoReader(video) as reader, closing(setup.events(reader, overlap)) as events:
        if out is None:
            for _ in events:
                pass
            return
        timing = OverlayTiming.of(1.0, float(setup.model.spec.offsets_s()[-1]))
        with VideoSink(out, reader.info, setup.model.labels, 0.3, timing) as sink:
            for _ in feed(events, [sink]):
                pass


def taken(work: Callable[[], None]) -> tuple[float, float]:
    """Wall and CPU time, seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--detector", default="tiny")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    from avadet.inference.run import Setup, load_people
    from avadet.memory import keep_freed_memory
    from avadet.models import zoo

    keep_freed_memory()
    persons, detect_every_s = load_people(args.detector, None, "cpu")
    setup = Setup(zoo.load(args.model), persons, None, detect_every_s)
    with tempfile.TemporaryDirectory() as folder:
        video, out = args.video or Path(folder) / "video.mp4", Path(folder) / "out.mp4"
        if args.video is None:
            render(video, args.seconds)
        kinds = {
            "models alone": models_alone(setup, video),
            "pass, no threads": lambda: walk(setup, video, False),
            "pass": lambda: walk(setup, video, True),
            "pass and video, no threads": lambda: walk(setup, video, False, out),
            "pass and video": lambda: walk(setup, video, True, out),
        }
        times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
        for _ in range(args.runs):
            for kind, work in kinds.items():
                times[kind].append(taken(work))
    print(f"{os.cpu_count()} cores, {args.threads} threads, {args.runs} runs, load {os.getloadavg()[0]:.1f}")
    base = [wall for wall, _ in times["models alone"]]
    for kind, pairs in times.items():
        walls, cpus = zip(*pairs)
        ratio = statistics.median(wall / alone for wall, alone in zip(walls, base))
        spread = f"{min(walls):.2f}-{max(walls):.2f}"
        cpu = statistics.median(cpus)
        print(f"{kind:28} wall {statistics.median(walls):6.2f} s ({spread}), {ratio:4.2f}x models; CPU {cpu:6.2f} s")


if __name__ == "__main__":
    main()
