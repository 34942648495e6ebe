"""How much of a CPU training step goes into mapping and clearing memory, and what `keep_freed_memory` saves.

    python benchmarks/memory.py [--steps 6] [--threads 1]

Runs training steps of the bundled action model's architecture on random clips in fresh processes, with and without
`avadet.memory.keep_freed_memory`, in turn; checks that the loss after the last step is equal, then prints medians.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time


def measure(keep: bool, steps: int, threads: int) -> dict[str, float]:
    """Train on random clips; milliseconds a step and the last loss."""
    import torch

    from avadet.memory import keep_freed_memory

    if keep and not keep_freed_memory():
        raise SystemExit("keep_freed_memory has no effect on this platform")
    from avadet.models.build import build

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = build("tiny_two_views", 21, num_frames=12)
    clips = torch.randint(0, 256, (8, 3, 12, 192, 256), dtype=torch.uint8)
    rois = torch.tensor([[float(i), 40, 20, 160, 180] for i in range(8)])
    times = []
    for _ in range(steps):
        began = time.perf_counter()
        loss = sum(logits.logsumexp(1).mean() for logits in model.view_logits(clips, rois))
        loss.backward()
        times.append(time.perf_counter() - began)
    return {"ms": 1000 * statistics.median(times[1:]), "loss": float(loss)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--one", choices=("keep", "plain"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one == "keep", args.steps, args.threads)))
        return
    import torch

    results: dict[str, list[dict[str, float]]] = {"plain": [], "keep": []}
    for _ in range(args.pairs):
        for how, found in results.items():
            command = [
                sys.executable,
                __file__,
                "--one",
                how,
                "--steps",
                str(args.steps),
                "--threads",
                str(args.threads),
            ]
            found.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    if len({one["loss"] for found in results.values() for one in found}) != 1:
        raise SystemExit(f"the losses differ: {results}")
    plain, keep = ([one["ms"] for one in results[how]] for how in ("plain", "keep"))
    ratios = [a / b for a, b in zip(plain, keep)]
    print(f"{platform.machine()}, torch {torch.__version__}, {args.threads} threads, {args.pairs} pairs, equal losses")
    print(f"plain {statistics.median(plain):.0f} ms per step, keep {statistics.median(keep):.0f} ms")
    print(f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")


if __name__ == "__main__":
    main()
