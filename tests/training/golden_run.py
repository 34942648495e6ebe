"""A small data set drawn without loss, and a run on it whose losses are stored: twenty steps that changes must keep.

Written anew by `python tests/training/golden_run.py`; only where the random draws of training are meant to change.
"""

from __future__ import annotations

import json
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from avadet.config import Config
from avadet.training.loop import train

STORED = Path(__file__).with_name("golden_losses.json")
STEPS = 20
_FPS, _SECONDS, _SIZE_HW = 10, 6, (72, 96)
_NAMES = ("still", "left", "right", "bright")
_STEP = {"still": 0.0, "left": -0.006, "right": 0.006}


def write_data_set(folder: Path) -> Path:
    """Six videos of two squares each that stand or move; people with one or two labels, proposals, excluded seconds."""
    (folder / "videos").mkdir(parents=True)
    rows: dict[str, list[str]] = {"train": [], "val": []}
    found: dict[str, list[str]] = {"train": [], "val": []}
    for number in range(6):
        part, name = "train" if number < 5 else "val", f"film{number}"
        actors = [(_NAMES[(number + side) % 3], 0.2 + 0.45 * side, 0.3 + 0.05 * number) for side in (0, 1)]
        _write_video(folder / "videos" / f"{name}.mkv", np.random.default_rng(number), actors)
        for second in range(100, 100 + _SECONDS):
            for person, (action, x, y) in enumerate(actors):
                left = x + _STEP[action] * (second - 100) * _FPS
                box = ",".join(f"{value:.4f}" for value in (left, y, left + 0.2, y + 0.35))
                ids = [_NAMES.index(action) + 1, *([4] if (number + person) % 2 else [])]
                rows[part] += [f"{name},{second},{box},{class_id},{person}" for class_id in ids]
                found[part].append(f"{name},{second},{box},,0.9")
            found[part].append(f"{name},{second},0.4,0.02,0.55,0.2,,0.85")
    for part in rows:
        (folder / f"{part}.csv").write_text("".join(f"{row}\n" for row in rows[part]))
        (folder / f"{part}_found.csv").write_text("".join(f"{row}\n" for row in found[part]))
        (folder / f"{part}_excluded.csv").write_text("film1,103\nfilm5,103\n")
    lines = [f"labels: [{', '.join(_NAMES)}]", "videos: {starts_at_s: 100}", "splits:"]
    lines += [
        f"  {part}: {{annotations: {part}.csv, proposals: {part}_found.csv, excluded: {part}_excluded.csv}}"
        for part in rows
    ]
    (folder / "golden.yaml").write_text("\n".join(lines) + "\n")
    return folder / "golden.yaml"


def _write_video(path: Path, rng: np.random.Generator, actors: list[tuple[str, float, float]]) -> None:
    """FFV1 of RGB: decoded to the very pixels that were drawn, whatever the version of FFmpeg."""
    height, width = _SIZE_HW
    backdrop = rng.integers(0, 90, (height // 8, width // 8, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", rate=_FPS)
        stream.height, stream.width, stream.pix_fmt = height, width, "bgr0"
        for index in range(_FPS * _SECONDS):
            image = backdrop.copy()
            for side, (action, x, y) in enumerate(actors):
                left, top = round(width * (x + _STEP[action] * index)), round(height * y)
                image[top : top + height // 3, max(left, 0) : left + width // 5] = (220, 120, 60 + 150 * side)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, _FPS)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def golden_config(spec: Path, run_dir: Path) -> Config:
    """Three epochs of seven steps with everything that draws at random: order, augmentation, dropout, mixup."""
    return Config.model_validate(
        {
            "seed": 5,
            "device": "cpu",
            "run_dir": run_dir,
            "model": {"family": "tiny_actions", "dropout": 0.3},
            "clip": {"num_frames": 4, "stride": 2, "fps": 10.0, "short_side": 64},
            "data": {"spec": str(spec), "batch_size": 4, "workers": 0, "proposals": {"threshold": 0.8}},
            "augment": {"size_hw": (64, 80), "zoom": (0.8, 1.3), "cutout": 0.3, "box_jitter": 0.05},
            "optim": {"lr": 2e-3},
            "schedule": {"epochs": 3},
            "loss": {"kind": "bce", "mixup_alpha": 0.3, "mixup_share": 0.5, "label_smoothing": 0.0},
            "train": {"threads": 1, "ema_decay": 0.0, "log_every": 1},
            "evaluate": {"every_epochs": 100, "frame_step": 3},
        }
    )


def losses(folder: Path) -> list[dict[str, float]]:
    """Loss and gradient norm of the first steps."""
    run = train(golden_config(write_data_set(folder / "data"), folder / "run"))
    lines = [json.loads(line) for line in (run.path / "steps.jsonl").read_text().splitlines()]
    return [{"loss": line["loss"], "grad_norm": line["grad_norm"]} for line in lines[:STEPS]]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        STORED.write_text(json.dumps(losses(Path(folder)), indent=1) + "\n")
