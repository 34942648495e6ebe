"""How long a training step of SlowFast R50 takes, what share of the device's peak that is, and its wait for data.

    python benchmarks/training_step.py                                        # on a GPU: 16 clips of 32x2, 224 px, bf16
    python benchmarks/training_step.py --data mine.yaml --workers 16          # the loader reads a data set of your own
    python benchmarks/training_step.py --device cpu --batch 2 --size 64 --steps 3 --warmup 1 --workers 0

The step is that of `avadet train` with the config CONFIG: loss, both ways through the net, clipping, optimizer, running
average. First it is timed on one batch again and again (CUDA events; medians after the warm-up), then with the real
loader, which decodes and augments clips of the data set, or of rendered films. Operations are counted by torch while a
step runs: convolutions and matrix products, both ways, a multiply-add as two. Prints a table and a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIG = REPOSITORY / "configs" / "ava" / "slowfast_32x2_r50.yaml"
FPS, SECONDS = 30, 4

# Dense bf16, TFLOP/s, by NVIDIA's data sheets of each card (those that print numbers "with sparsity" are halved).
PEAK_BF16 = {
    "B200": 2250.0,
    "H200": 989.5,
    "H100 PCIe": 756.5,
    "H100 80GB HBM3": 989.5,
    "A100": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "A10": 125.0,
    "RTX 4090": 165.2,
}


def peak_of(name: str) -> float | None:
    """TFLOP/s of a card by what torch calls it; None = not in the table."""
    known = [card for card in PEAK_BF16 if f"{card} " in f"{name.replace('-', ' ')} "]
    return PEAK_BF16[known[0]] if known else None


def write_films(folder: Path, films: int) -> Path:
    """Rendered people in H.264, 340 x 256 px, a keyframe every 0.1 s, and the YAML that describes the set."""
    from avadet.synthetic.scene import random_scene

    (folder / "videos").mkdir(parents=True)
    rows, actions = [], ("wave", "walk", "jump")
    for number in range(films):
        rng = np.random.default_rng((7, number))
        clip = random_scene(rng, (256, 340), FPS * SECONDS, float(FPS), (2, 2), actions)
        with av.open(str(folder / "videos" / f"film_{number}.mp4"), "w") as output:
            stream = output.add_stream("libx264", rate=FPS, options={"crf": "20", "preset": "veryfast", "g": "15"})
            stream.height, stream.width, stream.pix_fmt = 256, 340, "yuv420p"
            for image in clip.frames:
                output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            output.mux(stream.encode(None))
        for frame in range(FPS, FPS * (SECONDS - 1), 3):
            for person in np.flatnonzero(clip.visible[frame]):
                box = ",".join(f"{value:.4f}" for value in clip.boxes_norm[frame, person])
                rows.append(f"film_{number},{frame / FPS:.2f},{box},{actions.index(clip.labels[person]) + 1},{person}")
    (folder / "all.csv").write_text("".join(f"{row}\n" for row in rows))
    splits = {part: {"annotations": "all.csv"} for part in ("train", "val")}
    path = folder / "films.yaml"
    path.write_text(yaml.safe_dump({"labels": list(actions), "splits": splits}))
    return path


def config_of(args: argparse.Namespace, spec: Path) -> Any:
    """The recipe with another batch, size and data set, random weights, and a learning rate that spoils nothing."""
    from avadet.config import read_config

    size = args.size
    return read_config(
        args.config,
        [
            f"device={args.device}",
            "model.init=null",
            f"clip.short_side={round(size * 8 / 7)}",
            f"data.spec={spec}",
            "data.root=null",
            "data.overrides=[]",
            "data.proposals=null",
            f"data.train={args.split}",
            f"data.scored={args.split}",
            "evaluate.person_score=null",
            "evaluate.keep_best_person=false",
            f"data.batch_size={args.batch}",
            f"data.workers={args.workers}",
            f"augment.size_hw=[{size}, {size}]",
            f"augment.short_side=[{size * 8 / 7}, {size * 10 / 7}]",
            "optim.lr=1.0e-05",
            f"train.precision={args.precision}",
        ],
    )


def timed_ms(work: Callable[[], object], device: torch.device) -> float:
    """Milliseconds of one call, by the device's own clock where it has one."""
    if device.type != "cuda":
        began = time.perf_counter()
        work()
        return 1000 * (time.perf_counter() - began)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    work()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def measure(trainer: Any, steps: int, warmup: int) -> dict[str, Any]:
    """Times of the step by itself, its operations, and times with the real loader."""
    from torch.utils.flop_counter import FlopCounterMode

    from avadet.training.norms import freeze_norms

    def step_ms(batch: Any) -> float:
        return timed_ms(lambda: trainer.step([batch]), trainer.device)

    trainer.model.train()
    if trainer.config.train.batch_norm == "frozen":
        freeze_norms(trainer.model)
    batches = each_batch(trainer)
    first = next(batches)
    with FlopCounterMode(display=False) as counter:
        step_ms(first)
    alone = [step_ms(first) for _ in range(warmup + steps)]
    fed, waits, people = [], [], []
    began = time.perf_counter()
    for batch in islice(batches, warmup + steps):
        waits.append(1000 * (time.perf_counter() - began))
        fed.append(step_ms(batch))
        people.append(len(batch.rois))
        began = time.perf_counter()
    return {
        "flop": counter.get_total_flops(),
        "alone_ms": alone[warmup:],
        "fed_ms": fed[warmup:],
        "wait_ms": waits[warmup:],
        "people": statistics.mean(people),
    }


def each_batch(trainer: Any) -> Iterator[Any]:
    return (batch for epoch in count() for batch in trainer.feed.parts(epoch))


def report(args: argparse.Namespace, trainer: Any, found: dict[str, Any]) -> dict[str, Any]:
    """The numbers to print, by name."""
    on_gpu = trainer.device.type == "cuda"
    card = torch.cuda.get_device_name(trainer.device) if on_gpu else f"{platform.machine()}, {os.cpu_count()} cores"
    peak = args.peak_tflops or (peak_of(card) if on_gpu and args.precision in ("bf16", "fp16") else None)
    step_ms = statistics.median(found["alone_ms"])
    tflops = found["flop"] / step_ms / 1e9
    fed_ms, wait_ms = (sum(found[name]) / len(found[name]) for name in ("fed_ms", "wait_ms"))
    low, high = np.quantile(found["alone_ms"], [0.25, 0.75]).round(2).tolist()
    return {
        "device": card,
        "torch": torch.__version__,
        "config": Path(args.config).stem,
        "data": Path(args.data).name if args.data else "rendered films",
        "precision": args.precision,
        "batch": args.batch,
        "clip": f"{trainer.config.clip.num_frames}x{trainer.config.clip.stride}, {args.size} px",
        "people_per_step": round(found["people"], 1),
        "parameters": sum(one.numel() for one in trainer.model.parameters()),
        "steps": len(found["alone_ms"]),
        "step_ms": round(step_ms, 2),
        "step_ms_quartiles": [low, high],
        "gflop_per_step": round(found["flop"] / 1e9, 1),
        "tflops": round(tflops, 3),
        "peak_tflops": peak,
        "share_of_peak": round(tflops / peak, 4) if peak else None,
        "workers": args.workers,
        "fed_step_ms": round(fed_ms, 2),
        "wait_ms": round(wait_ms, 2),
        "share_waiting": round(wait_ms / (wait_ms + fed_ms), 4),
        "clips_per_second": round(1000 * args.batch / (wait_ms + fed_ms), 2),
        "peak_memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2) if on_gpu else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--data", type=Path, metavar="YAML", help="a data set of your own; without, rendered films")
    parser.add_argument("--split", default="train", help="of it")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="bf16", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=224, help="px of the crop")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--warmup", type=int, default=10)
    parser.add_argument("--workers", type=int, default=8, help="processes that read clips")
    parser.add_argument("--films", type=int, default=8, help="rendered, without --data")
    parser.add_argument("--peak-tflops", type=float, help="of the device in this precision, dense")
    args = parser.parse_args()

    from avadet.errors import AvadetError
    from avadet.models.devices import choose_device
    from avadet.training import setup
    from avadet.training.distributed import Processes

    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    with tempfile.TemporaryDirectory() as temporary:
        try:
            device = choose_device(args.device)
            config = config_of(args, args.data or write_films(Path(temporary), args.films))
            data = setup.read_run_data(config)
            trainer, _ = setup.build_trainer(config, data, device, Processes())
        except AvadetError as error:
            raise SystemExit(str(error)) from error
        numbers = report(args, trainer, measure(trainer, args.steps, args.warmup))
    width = max(map(len, numbers))
    for name, value in numbers.items():
        print(f"{name:{width}}  {'-' if value is None else value}")
    print(json.dumps(numbers))


if __name__ == "__main__":
    main()
