"""How fast SlowFast R50 scores people: pytorchvideo's hub model run plainly, and avadet's with the same weights.

    python benchmarks/inference.py [--threads 1] [--runs 7] [--size 256x341] [--boxes 5] [--only torch-bf16 ...]

The contestants take turns, so that all meet the same load, and what counts is the median over turns of the ratio to
the hub model's clips a second in the same turn. A clip begins as uint8 frames and ends as scores for everybody. CPU
seconds are of the whole process: with one thread they hardly depend on what else the machine does.

The weights are random but behave like a trained network's: every norm has the statistics of the clip, and the last
norm of each residual block a gain of 0.1-0.4, for with gains near 1 a random network of this depth is chaotic and makes
rounding visible that no trained one shows. Before anything is timed, all scores are compared with the hub model's.
Exit code 0 if somebody whose scores are within 0.005 of the hub model's gives 2.5 times its clips a second.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from avadet.errors import AvadetError
from avadet.models import zoo
from avadet.models.engines.backends import prepare
from avadet.models.engines.fast import processor_flags
from avadet.models.engines.probe import sample_inputs

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pytorchvideo.models.hub import slowfast_r50_detection

SCORES_WITHIN = 5e-3
BAR = 2.5
FRAMES, ALPHA = 32, 4
CONTESTANTS = {
    "torch-fp32": ("torch", "fp32"),
    "torch-bf16": ("torch", "bf16"),
    "onnx-fp32": ("onnx", "fp32"),
    "openvino-fp32": ("openvino", "fp32"),
    "openvino-bf16": ("openvino", "bf16"),
}

Score = Callable[[], Tensor]


def hub_inputs(clips: Tensor) -> list[Tensor]:
    """uint8 (B, 3, T, H, W) -> the two pathways, normalised as the hub model's tutorial has it."""
    fast = (clips.float() / 255 - 0.45) / 0.225
    return [fast[:, :, torch.linspace(0, FRAMES - 1, FRAMES // ALPHA).long()], fast]


def hub_model(clips: Tensor, rois: Tensor) -> torch.nn.Module:
    """pytorchvideo's model with weights as the docstring above describes them, in eval mode."""
    torch.manual_seed(0)
    model = slowfast_r50_detection()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            is_last = not module.weight.any()  # those that pytorchvideo begins at zero
            torch.nn.init.uniform_(module.weight, *((0.1, 0.4) if is_last else (0.8, 1.2)))
            module.momentum = None
    with torch.no_grad():
        model.train()(hub_inputs(clips), rois)
    return model.eval()


def contestants(hub: torch.nn.Module, clips: Tensor, rois: Tensor, names: list[str]) -> dict[str, Score]:
    """Everybody by name; those whose library is absent or whose processor cannot are left out, with a line."""
    found: dict[str, Score] = {"hub": lambda: hub(hub_inputs(clips), rois)}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AVADET_CACHE"] = folder
        path = Path(folder) / "hub.pyth"
        torch.save({"model_state": hub.state_dict()}, path)
        for name in names:
            try:
                loaded = prepare(zoo.load(path), *CONTESTANTS[name])
            except AvadetError as error:
                print(f"{name}: left out: {error}")
                continue
            print(f"{name}: {loaded.running}", flush=True)
            found[name] = lambda model=loaded.model: model(clips, rois).sigmoid()
    return found


def compare_scores(runners: dict[str, Score]) -> set[str]:
    """Print how far everybody's scores are from the hub model's; who is near enough."""
    expected = runners["hub"]()
    logits = expected.logit()
    print(
        f"hub model's scores: {expected.min():.3f} to {expected.max():.3f}; logits' deviation {logits.std():.2f}, "
        f"between boxes {logits.std(dim=0).mean():.3f}"
    )
    differences = {name: (run() - expected).abs().max().item() for name, run in runners.items()}
    print("largest difference of a score: " + ", ".join(f"{name} {value:.1e}" for name, value in differences.items()))
    return {name for name, value in differences.items() if value <= SCORES_WITHIN}


def take_turns(runners: dict[str, Score], runs: int) -> dict[str, list[tuple[float, float]]]:
    """Wall and CPU seconds of every turn of everybody."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in runners}
    for _ in range(runs):
        for name, run in runners.items():
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            run()
            taken[name].append((time.perf_counter() - wall_s, time.process_time() - cpu_s))
    return taken


def report(taken: dict[str, list[tuple[float, float]]], exact: set[str]) -> bool:
    """Print a row each: medians, and medians of the ratios turn by turn with their range; whether the bar is met."""
    best = 0.0
    print(f"{'':<15}{'clips/s':>9}{'wall s':>8}{'CPU s':>8}   times as fast as hub: wall (range), CPU (range)")
    for name, turns in taken.items():
        wall_s, cpu_s = (statistics.median(values) for values in zip(*turns))
        ratios = [[h[axis] / own[axis] for h, own in zip(taken["hub"], turns)] for axis in (0, 1)]
        texts = [f"{statistics.median(r):.2f} ({min(r):.2f}-{max(r):.2f})" for r in ratios]
        remark = "" if name in exact else f"   scores further off than {SCORES_WITHIN:g}"
        print(f"{name:<15}{1 / wall_s:>9.3f}{wall_s:>8.2f}{cpu_s:>8.2f}   {', '.join(texts)}{remark}", flush=True)
        best = max(best, statistics.median(ratios[0])) if name in exact else best
    print(f"best within {SCORES_WITHIN:g}: {best:.2f} times the hub model's clips a second; bar {BAR}")
    return best >= BAR


def processor() -> str:
    """What matters here of what the processor can do."""
    return " ".join(sorted({"avx2", "avx512f", "avx512_bf16", "amx_bf16", "bf16"} & processor_flags())) or "unknown"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--size", default="256x341", metavar="HxW")
    parser.add_argument("--boxes", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    height, width = (int(side) for side in args.size.split("x"))
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{platform.machine()}, {os.cpu_count()} cores, {args.threads} threads, load {load}")
    print(f"torch {torch.__version__}, Python {platform.python_version()}, processor: {processor()}")
    print(f"{FRAMES} frames of {args.size}, {args.boxes} boxes")
    clips, rois = sample_inputs(FRAMES, (height, width), 1, args.boxes)
    with torch.inference_mode():
        runners = contestants(hub_model(clips, rois), clips, rois, args.only)
        exact = compare_scores(runners)
        return 0 if report(take_turns(runners, args.runs), exact) else 1


if __name__ == "__main__":
    sys.exit(main())
