"""Make the bundled action model `tiny`, step by step: python tools/train_tiny_actions.py STEP --data DIR --work DIR."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from avadet.errors import AvadetError

STEPS = {
    "sources": "print the list of sources, and the commands that bring them under --data",
    "phrases": "which captions of Flickr8k say what of whom",
    "pictures": "the persons of all pictures, with their weak labels",
    "crops": "a crop of each of them",
    "windows": "half-second windows of persons in videos",
    "figures": "windows of drawn people",
    "appearance-pictures": "the appearance stream learns from pictures",
    "appearance": "and goes on with labels by eye and videos",
    "motion": "the motion stream learns what it adds",
    "calibrate": "both are put together and their scores fitted",
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    steps = "\n".join(f"  {name:20} {text}" for name, text in STEPS.items())
    parser = argparse.ArgumentParser(
        description=f"{__doc__}\n\nsteps, in this order:\n{steps}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("step", choices=STEPS, metavar="STEP")
    parser.add_argument("--data", type=Path, default=Path("data"), help="holds a folder of each source (default: data)")
    parser.add_argument("--work", type=Path, default=Path("runs/tiny"), help="what steps write (default: runs/tiny)")
    parser.add_argument("--detector", type=Path, help="of persons, for crops and windows, e.g. YOLOX-nano's .onnx")
    parser.add_argument("--imagenet", type=Path, help="EfficientNet-Lite0 state dict, for appearance-pictures")
    parser.add_argument("--out", type=Path, help="for calibrate (default: tiny.safetensors of --work)")
    parser.add_argument("--permissive-only", action="store_true", help="without pictures for research or of no licence")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="a training goes on from its last checkpoint")
    parser.add_argument("--workers", type=int, default=0, help="processes that vary pictures for appearance")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--steps", type=int, help="a shorter training, to try the code")
    return parser


def main(words: list[str] | None = None) -> int:
    """Do it; 0 when done, 1 after an error of the user."""
    args = parser().parse_args(words)
    try:
        _run(args)
    except AvadetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(args: argparse.Namespace) -> None:
    from tiny_actions.sources import fetch_commands, source_table

    if args.step == "sources":
        print(source_table(args.permissive_only), *fetch_commands(str(args.data)), sep="\n")
        return
    import torch

    torch.set_num_threads(args.threads)
    if args.step in ("phrases", "pictures", "crops", "windows", "figures"):
        _prepare(args)
    else:
        _train(args)


def _prepare(args: argparse.Namespace) -> None:
    from tiny_actions import crops, figures, phrases, pictures, windows

    if args.step == "phrases":
        phrases.run(args.data, _progress)
    elif args.step == "pictures":
        pictures.run(args.data, args.work, args.permissive_only, _progress, args.seed)
    elif args.step == "figures":
        figures.run(args.work, _progress)
    elif args.detector is None:
        raise AvadetError(f"{args.step} needs --detector, a person detector that finds the boxes")
    elif args.step == "crops":
        crops.run(args.data, args.work, args.detector, _progress)
    else:
        windows.run(args.data, args.work, args.detector, args.permissive_only, _progress)


def _train(args: argparse.Namespace) -> None:
    from tiny_actions import appearance, calibrate, motion

    from avadet.memory import keep_freed_memory

    keep_freed_memory()
    if args.step in appearance.STAGES:
        stage = appearance.STAGES[args.step]
        if not stage.begins and args.imagenet is None:
            raise AvadetError(f"{args.step} needs --imagenet, an EfficientNet-Lite0 state dict; see the README")
        appearance.run(
            args.work, stage, _progress, args.imagenet, args.seed, args.resume, args.workers, most_steps=args.steps
        )
    elif args.step == "motion":
        motion.run(args.work, _progress, args.seed, args.resume, most_steps=args.steps)
    else:
        calibrate.run(args.work, args.out or args.work / "tiny.safetensors", _progress)


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(main())
