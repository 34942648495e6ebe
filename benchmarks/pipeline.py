"""How much the whole pass over a video costs beyond its two models.

    python benchmarks/pipeline.py [VIDEO] [--model tiny] [--detector tiny] [--seconds 30] [--runs 5] [--threads 2]

The sum of the model times is what the detector and the action model take one after the other on the very frames and
clips that the pass gives them, with nothing else running: with one core each, and with all, of which the faster counts.
Against it stand the pass with and without threads (decode, detection, tracking, recognition; files of text cost
nothing next to it), and the same with the annotated video. The kinds take turns, so that other load on the machine
hits all alike; CPU time is given beside wall time because it hardly depends on that load. A model of the zoo whose
weights are not here gets random ones: they take as long.
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


def models_alone(setup: Any, video: Path) -> Callable[[int], None]:
    """Record what the pass asks of its models; return what asks them all of it again, on so many cores."""
    import torch

    from avadet.inference import recognition

    score, find = recognition.score_clips, type(setup.persons).__call__
    frames: list[Any] = []
    clips: list[Any] = []

    def found(detector: Any, frame: Any) -> Any:
        frames.append(frame)
        return find(detector, frame)

    def scored(model: Any, batch: Any) -> Any:
        clips.append(batch)
        return score(model, batch)

    type(setup.persons).__call__, recognition.score_clips = found, scored  # type: ignore[method-assign]
    walk(setup, video, overlap=False)
    type(setup.persons).__call__, recognition.score_clips = find, score  # type: ignore[method-assign]

    def again(cores: int) -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(cores)
        for frame in frames:
            setup.persons(frame)
        for batch in clips:
            score(setup.model, batch)
        torch.set_num_threads(before)

    print(f"{len(frames)} detections, {sum(len(batch) for batch in clips)} clips")
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


def load(name: str) -> Any:
    """The model, ready to run; with random weights where its own are not at hand."""
    from avadet.models import zoo
    from avadet.models.build import build
    from avadet.models.cards import clip_of, labels_of
    from avadet.models.checkpoints.weights import LoadReport
    from avadet.models.engines.backends import prepare

    if name not in {entry.name for entry in zoo.models()} or zoo.entry_of(name).is_here:
        return zoo.load(name, backend="torch")
    card = zoo.card_of(zoo.entry_of(name))
    spec, labels = clip_of(card), labels_of(card)
    model = build(card["architecture"], len(labels), pixels=spec.pixels, **card["arguments"]).eval()
    return prepare(
        zoo.LoadedModel(model, spec, labels, name, card, LoadReport("random", 0, (), (), ())), "torch", "fp32"
    )


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

    keep_freed_memory()
    persons, detect_every_s = load_people(args.detector, None, "cpu")
    setup = Setup(load(args.model), persons, None, detect_every_s)
    with tempfile.TemporaryDirectory() as folder:
        video, out = args.video or Path(folder) / "video.mp4", Path(folder) / "out.mp4"
        if args.video is None:
            render(video, args.seconds)
        again = models_alone(setup, video)
        kinds = {
            "models alone, one core": lambda: again(1),
            "models alone, all cores": lambda: again(args.threads),
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
    alone = min(statistics.median(wall for wall, _ in times[kind]) for kind in list(times)[:2])
    for kind, pairs in times.items():
        walls, cpus = zip(*pairs)
        ratio = statistics.median(walls) / alone
        spread = f"{min(walls):.2f}-{max(walls):.2f}"
        cpu = statistics.median(cpus)
        print(f"{kind:28} wall {statistics.median(walls):6.2f} s ({spread}), {ratio:4.2f}x models; CPU {cpu:6.2f} s")


if __name__ == "__main__":
    main()
