"""How long the bundled models take for one frame and one keyframe, and how many parameters they have.

    python benchmarks/model_times.py [--runs 40]

One 640x480 frame through the people detector, one clip with one person through the action model; medians.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch

from avadet.models import zoo
from avadet.persons.person_weights import load_person_net
from avadet.persons.tiny import BUNDLED, TinyPersons


def median_ms(work: Callable[[], object], runs: int) -> float:
    """Median wall time of a call after three that are not counted, milliseconds."""
    times = []
    for _ in range(runs + 3):
        began = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times[3:])


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    args = parser.parse_args()
    actions = zoo.load("tiny")
    model = actions.model.eval()
    print(f"{platform.machine()}, torch {torch.__version__}, {args.runs} runs")
    print(f"parameters: people {count(load_person_net(BUNDLED)[0])}, actions {count(model)}")
    coarse = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    frame = np.asarray(cv2.resize(coarse, (640, 480)), np.uint8)
    clip = torch.randint(0, 255, (1, 3, actions.spec.num_frames, 192, 256), dtype=torch.uint8)
    roi = torch.tensor([[0.0, 40, 20, 140, 180]])
    for threads in (1, 2):
        torch.set_num_threads(threads)
        persons = TinyPersons()
        with torch.inference_mode():
            found = median_ms(lambda: persons(frame), args.runs)  # noqa: B023  # called before the next turn
            named = median_ms(lambda: model(clip, roi), args.runs)
        print(f"{threads} threads: people {found:.1f} ms a frame, actions {named:.1f} ms a keyframe")


if __name__ == "__main__":
    main()
