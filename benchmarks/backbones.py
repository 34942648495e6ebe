"""Does every architecture learn? A small version of each, from scratch, the same few steps on JHMDB-21, one table.

    python benchmarks/backbones.py --data DIR [--out runs/backbones] [--only NAME ...] [--seeds 0 1]
    python benchmarks/backbones.py --report docs/backbones.md --plot docs/backbones.png   # of what is there so far

Each is trained by `avadet.training.loop` from one config, `BASE`; only the model differs, and the learning rate by the
kind of architecture (`LR`). Everything about an architecture and a seed is one line of OUT/results.jsonl, written when
it is done: start it again and it goes on with what is missing; start it twice and two share the work. Every measurement
has a process of its own, in one thread; speed is counted in its CPU time, which other programs change less than they
change the clock's.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import platform
import shutil
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from backbones_report import write_plot, write_report
from backbones_small import FRAMES, MEMBERS, SIZE_HW, Member
from torch import Tensor, nn

from avadet.config import Config
from avadet.labels import read_label_map
from avadet.memory import keep_freed_memory
from avadet.models import zoo
from avadet.models.build import build
from avadet.models.detectors.two_stage import ActionDetector, ActionModel
from avadet.models.engines.fast import fast_model, has_bf16
from avadet.models.engines.summary import count_flops
from avadet.training import setup
from avadet.training.distributed import Processes
from avadet.training.loop import train

LR = {"frames": 2e-3, "3-D CNN": 2e-3, "two speeds": 2e-3, "transformer": 1e-3}
BATCH = 8
TIMED = 5
AVERAGED = 20  # steps that the loss before and after is the mean of
BASE: dict[str, Any] = {
    "device": "cpu",
    "model": {"dropout": 0.2},
    "clip": {
        "num_frames": FRAMES,
        "stride": 3,
        "short_side": SIZE_HW[0],
        "mean": [0.45, 0.45, 0.45],
        "std": [0.225, 0.225, 0.225],
    },
    "data": {"name": "jhmdb21", "split": 1, "cache_short_side": 96, "batch_size": BATCH},
    "augment": {
        "size_hw": list(SIZE_HW),
        "zoom": [0.9, 1.3],
        "aspect": 1.0,
        "box_jitter": 0.03,
        "speed": [1.0, 1.0],
        "brightness": 0.1,
        "contrast": 0.0,
        "saturation": 0.0,
        "grayscale": 0.0,
    },
    "optim": {"name": "adamw", "backbone_lr_factor": 1.0, "weight_decay": 0.05, "grad_clip": 5.0},
    "schedule": {"epochs": 2, "kind": "cosine", "warmup_epochs": 0.2},
    "loss": {"kind": "cross_entropy", "label_smoothing": 0.0, "mixup_alpha": 0.0},
    "train": {"ema_decay": 0.0, "threads": 1, "log_every": 1},
    "evaluate": {"every_epochs": 1000, "frame_step": 16, "batch_size": 16},
}
"""The run of all; what it does not say is the default of `avadet.config`."""


def config_of(member: Member, data: Path, out: Path, seed: int) -> Config:
    """The config of a member's run."""
    builder, arguments = member.small
    values = json.loads(json.dumps({**BASE, "seed": seed, "run_dir": str(out / f"{member.name}-{seed}")}))
    values["data"] |= {"root": str(data), "cache": str(out / "cache")}
    values["optim"]["lr"] = LR[member.kind]
    values["model"]["family"] = builder
    if member.tiny:
        values["model"] |= arguments
    else:
        head = {"aligned": True, **arguments.get("head", {})}
        values["model"]["arguments"] = json.loads(json.dumps({**arguments, "head": head}))
    return Config.model_validate(values)


def clips_and_boxes(clips: int, shape: tuple[int, int, int] = (FRAMES, *SIZE_HW)) -> tuple[Tensor, Tensor]:
    """Random clips uint8 (B, 3, T, H, W), and a box in each."""
    generator = torch.Generator().manual_seed(0)
    height, width = shape[1:]
    pictures = torch.randint(0, 256, (clips, 3, *shape), generator=generator, dtype=torch.uint8)
    return pictures, torch.tensor([[i, width / 8, height / 8, width / 2, height - 8] for i in range(clips)])


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def gflops(builder: str, arguments: dict[str, Any], shape: tuple[int, int, int], classes: int) -> tuple[int, float]:
    """Parameters, and 1e9 multiply-adds of one clip: of the backbone, of the whole model where there are several."""
    spec = setup.clip_spec(Config.model_validate({**BASE, "data": {"root": "nowhere"}}).clip)
    with torch.device("meta"):
        model = build(builder, classes, pixels=spec.pixels, **arguments).eval()
        pictures = torch.zeros(1, 3, *shape)
    if not isinstance(model, ActionDetector):
        model = build(builder, classes, pixels=spec.pixels, **arguments).eval()  # with steps between that need numbers
    with count_flops(model) as counter:
        if isinstance(model, ActionDetector):
            model.backbone(pictures)
        else:
            model(*clips_and_boxes(1, shape))
    return count(model), counter.get_total_flops() / 2e9


def resident_mb(name: str) -> float:
    """A number of /proc/self/status, MB: VmRSS = memory in use, VmHWM = the most that was; nan on other systems."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def one_step(model: nn.Module, optimizer: torch.optim.Optimizer, clips: Tensor, rois: Tensor) -> None:
    """Forward, backward, update."""
    logits = model.view_logits(clips, rois) if isinstance(model, ActionModel) else [model(clips.float() / 255)]
    sum(one.logsumexp(1).mean() for one in logits).backward()  # type: ignore[union-attr]
    optimizer.step()
    optimizer.zero_grad()


def step_memory_mb(config: Config) -> float:
    """By how much two training steps, weights and optimizer included, raise the memory of a process."""
    clips, rois = clips_and_boxes(BATCH)
    warm = nn.Sequential(nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4), nn.AdaptiveAvgPool3d(1), nn.Flatten())
    one_step(warm, torch.optim.AdamW(warm.parameters()), clips[:2, :, :, :16, :16], rois)
    before = resident_mb("VmRSS")
    model = setup.build_model(config.model, config.clip, read_label_map("jhmdb21"))[0]
    optimizer = setup.build_optimizer_of(config, model)
    Path("/proc/self/clear_refs").write_text("5")  # forget the most that was
    for _ in range(2):
        one_step(model, optimizer, clips, rois)
    return resident_mb("VmHWM") - before


def clips_a_second(model: ActionModel, dtype: torch.dtype) -> float:
    """Clips a CPU second, scored by eights as `avadet infer` would: median."""
    clips, rois = clips_and_boxes(BATCH)
    ready = fast_model(model, dtype, clips, rois).model
    spent = []
    with torch.inference_mode():
        for _ in range(TIMED + 2):
            began = time.process_time()
            ready(clips, rois)
            spent.append(time.process_time() - began)
    return BATCH / statistics.median(spent[2:])


def measure(member: Member, data: Path, out: Path, seed: int) -> dict[str, Any]:
    """Everything about one architecture and seed."""
    config = config_of(member, data, out, seed)
    memory_mb = step_memory_mb(config) if Path("/proc/self/clear_refs").exists() else float("nan")
    keep_freed_memory()
    labels = read_label_map("jhmdb21")
    parameters, cost = gflops(
        config.model.family, setup.model_arguments(config.model, config.clip), (FRAMES, *SIZE_HW), len(labels)
    )
    full_builder, full_arguments, full_clip = member.full
    full_parameters, full_cost = gflops(full_builder, dict(full_arguments), full_clip, zoo.AVA_CLASSES)
    model = setup.build_model(config.model, config.clip, labels)[0].eval()
    shutil.rmtree(config.run_dir, ignore_errors=True)
    speeds = {"fp32": clips_a_second(model, torch.float32)}
    if has_bf16(torch.device("cpu")):
        speeds["bf16"] = clips_a_second(model, torch.bfloat16)
    began = time.process_time()
    folder = train(config)
    spent_s = time.process_time() - began
    steps = [json.loads(line)["loss"] for line in (folder.path / "steps.jsonl").read_text().splitlines()]
    scores = folder.metrics()[-1]
    shutil.rmtree(config.run_dir)
    return {
        "name": member.name,
        "kind": member.kind,
        "seed": seed,
        "parameters": parameters,
        "gflops": cost,
        "full": {"builder": full_builder, "clip": full_clip, "parameters": full_parameters, "gflops": full_cost},
        "clips_a_second": speeds,
        "memory_mb": memory_mb,
        "loss_before": statistics.mean(steps[:AVERAGED]),
        "loss_after": statistics.mean(steps[-AVERAGED:]),
        "steps": len(steps),
        "frame_map": scores["frame_map"],
        "accuracy": scores["accuracy"],
        "cpu_s": spent_s,
        "lr": config.optim.lr,
        "torch": torch.__version__,
        "machine": platform.machine(),
    }


class Guesses(ActionModel):
    """Scores by chance."""

    num_classes = len(read_label_map("jhmdb21"))

    def forward(self, clips: Tensor, rois: Tensor) -> Tensor:
        """Logits (R, K) drawn at random."""
        return torch.randn(len(rois), self.num_classes)


def chance(data: Path, out: Path) -> dict[str, Any]:
    """What guessing reaches on the same frames, mean of ten; decodes the videos on the way."""
    config = config_of(MEMBERS[0], data, out, 0)
    score = setup.build_score(config, setup.read_data(config.data), Processes())
    torch.manual_seed(0)
    found = [score(Guesses(), False).metrics for _ in range(10)]
    means = {name: statistics.mean(one[name] for one in found) for name in ("frame_map", "accuracy")}
    return {"name": "chance", "seed": 0, **means}


def run_alone(name: str, seed: int, data: Path, out: Path) -> dict[str, Any]:
    """A line of the results, from a process of its own, which a fork gives without importing everything again."""
    members = {member.name: member for member in MEMBERS}
    with ProcessPoolExecutor(1, get_context("fork"), initializer=torch.set_num_threads, initargs=(1,)) as process:
        if name == "chance":
            return process.submit(chance, data, out).result()
        return process.submit(measure, members[name], data, out, seed).result()


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether a piece of work is this process's: no other one holds the file; a process that ends lets go of it."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def read_results(path: Path) -> list[dict[str, Any]]:
    """What is done, in the order of `MEMBERS`."""
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    order = [member.name for member in MEMBERS]
    return sorted(found, key=lambda one: order.index(one["name"]) if one["name"] in order else -1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of JHMDB-21")
    parser.add_argument("--out", type=Path, default=Path("runs/backbones"), help="default: %(default)s")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[member.name for member in MEMBERS])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="N")
    parser.add_argument("--report", type=Path, metavar="FILE.md", help="write the table, and FILE.json")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw accuracy against cost")
    args = parser.parse_args()
    results = args.out / "results.jsonl"
    if args.data:
        names = args.only or [member.name for member in MEMBERS]
        todo = [("chance", 0), *((name, seed) for seed in args.seeds for name in names)]
        args.out.mkdir(parents=True, exist_ok=True)
        for name, seed in todo:
            with claimed(args.out / f"{name}-{seed}.claim") as is_ours:
                done = {(one["name"], one["seed"]) for one in read_results(results)}
                if is_ours and (name, seed) not in done:
                    line = json.dumps(run_alone(name, seed, args.data, args.out))
                    with results.open("a") as file:
                        file.write(line + "\n")
                    print(line, flush=True)
    if args.report:
        write_report(args.report, read_results(results))
    if args.plot:
        write_plot(args.plot, read_results(results))


if __name__ == "__main__":
    main()
