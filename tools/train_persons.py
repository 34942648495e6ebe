"""Train the bundled person detector, or score it: python tools/train_persons.py CONFIG section.key=value ..."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from avadet.errors import AvadetError


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path, help="e.g. configs/persons/tiny.yaml")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="e.g. data.jhmdb=/path train.steps=500")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--prepare", action="store_true", help="only make the packs of labelled frames, once")
    instead.add_argument("--resume", action="store_true", help="resume from the last checkpoint of run_dir")
    instead.add_argument(
        "--threshold",
        type=Path,
        metavar="WEIGHTS",
        help="only choose the threshold of a trained .safetensors file anew, and write it into its card",
    )
    instead.add_argument(
        "--score",
        nargs="?",
        const="bundled",
        metavar="WEIGHTS",
        help="only score a trained .safetensors file (default: the bundled one) on test frames and held-out clips",
    )
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
    from person_training.config import PersonsConfig
    from person_training.loop import PersonTrainer, choose_again
    from person_training.packs import load_packs, prepare
    from person_training.report import report_scores

    from avadet.memory import keep_freed_memory
    from avadet.schema import read_schema

    config = read_schema(args.config, args.overrides, PersonsConfig)
    if args.score is not None:
        report_scores(config, None if args.score == "bundled" else args.score, print)
    elif args.threshold is not None:
        print(choose_again(config, args.threshold, load_packs(config.data).validation))
    elif args.prepare:
        prepare(config, _progress)
    else:
        keep_freed_memory()
        print(PersonTrainer(config, load_packs(config.data)).run(args.resume, _progress))


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
