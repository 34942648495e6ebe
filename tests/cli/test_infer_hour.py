"""An hour of video takes no more memory than five minutes of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import staged

from avadet.video.write import VideoWriter

FPS = 5
SIZE_HW = (96, 128)

SCRIPT = """
import resource, sys
import numpy as np
from avadet.cli.main import main
from avadet.inference import run
from avadet.types import PersonBoxes

class BrightFigures:
    def __init__(self):
        self.calls = 0
    def __call__(self, frame):
        self.calls += 1
        if self.calls % 300 == 0:
            used = dict(line.split(":") for line in open("/proc/self/status") if line.startswith("Vm"))
            print("\\nMEMORY", self.calls // 300, used["VmRSS"].split()[0], used["VmHWM"].split()[0], file=sys.stderr)
        found = [(column, frame[:, column : column + 32] > 128) for column in range(0, 128, 32)]
        rows = [(column, np.nonzero(bright.any(axis=(1, 2)))[0]) for column, bright in found if bright.any()]
        boxes = np.array([[c, r.min(), c + 32, r.max() + 1] for c, r in rows], np.float32).reshape(-1, 4)
        return PersonBoxes(boxes, np.full(len(boxes), 0.9, np.float32), frame.shape[:2])

run.load_detector = lambda name, device, threshold=None: BrightFigures()
code = main(sys.argv[1:])
print("\\nPEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
raise SystemExit(code)
"""


def write_figures(path: Path, minutes: float) -> Path:
    """Three bright figures that come and go: each is there for a while, at another height each time."""
    with VideoWriter(path, SIZE_HW, FPS) as writer:
        for index in range(round(minutes * 60 * FPS)):
            image = np.full((*SIZE_HW, 3), 30, np.uint8)
            for figure in range(3):
                stay, step = divmod(index + 37 * figure, 120)
                if step < 90:
                    top = (17 * stay + figure) % 40
                    image[top : top + 50, 8 + 40 * figure : 24 + 40 * figure] = 220
            writer.write(image, index / FPS)
    return path


def peak_kib(video: Path, model: Path, out: Path) -> int:
    """Peak resident memory of `avadet infer` with every file that it writes, KiB; shows the curve."""
    command = [sys.executable, "-c", SCRIPT, "infer", str(video), "--out", str(out), "--model", str(model)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, "--every", "1"], capture_output=True, text=True, env=environment, check=True)
    said = [line.split() for line in done.stderr.splitlines() if line.startswith(("MEMORY", "PEAK"))]
    print(video.name, said)
    return int(said[-1][1])


@pytest.mark.slow
def test_an_hour_peaks_within_ten_percent_of_five_minutes(tmp_path: Path) -> None:
    model = staged.write_random_model(tmp_path / "random.safetensors")
    short, long = (write_figures(tmp_path / f"{minutes}.mp4", minutes) for minutes in (5, 60))
    five = peak_kib(short, model, tmp_path / "out")
    hour = peak_kib(long, model, tmp_path / "out")
    assert (tmp_path / "out" / "60.jsonl").read_text().count("\n") > 3600
    assert hour < 1.1 * five
