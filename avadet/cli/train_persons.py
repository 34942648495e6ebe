"""`avadet train-persons`: train the tiny person detector, or score it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from avadet import progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("config", type=Path, help="e.g. configs/persons/tiny.yaml")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="e.g. data.jhmdb=/path train.steps=500")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--prepare", action="store_true", help="only make the packs of labelled frames, once")
    instead.add_argument("--resume", action="store_true", help="resume from the last checkpoint of run_dir")
    instead.add_argument(
        "--score",
        nargs="?",
        const="bundled",
        metavar="WEIGHTS",
        help="only score a trained .safetensors file (default: the bundled one) on test frames and held-out clips",
    )


def run(args: argparse.Namespace) -> int:
    """Do it; 0 when done."""
    from avadet.schema import read_schema
    from avadet.training.persons_config import PersonsConfig

    config = read_schema(args.config, args.overrides, PersonsConfig)
    if args.score is not None:
        from avadet.training.persons_report import report_scores

        report_scores(config, None if args.score == "bundled" else args.score, print)
        return 0
    from avadet.training.persons_packs import load_packs, prepare

    if args.prepare:
        prepare(config, _progress)
        return 0
    from avadet.memory import keep_freed_memory
    from avadet.training.persons import PersonTrainer

    keep_freed_memory()
    weights = PersonTrainer(config, load_packs(config.data)).run(args.resume, _progress)
    print(weights)
    return 0


def _progress(line: str) -> None:
    if not progress.is_quiet():
        print(line, file=sys.stderr, flush=True)
