"""`avadet train`: train an action model from a config; under `torchrun` with as many processes as it starts."""

from __future__ import annotations

import argparse
import os
import sys

from avadet.cli.arguments import add_overrides

RESUME = ("latest", "auto")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument(
        "config", metavar="CONFIG", help="a YAML file, or a recipe by name (see `avadet configs`), e.g. jhmdb21/tiny"
    )
    add_overrides(parser, "values to change, e.g. optim.lr=1e-3")
    parser.add_argument(
        "--resume",
        nargs="?",
        const="latest",
        choices=RESUME,
        metavar="auto",
        help="resume from the latest checkpoint in run_dir; with auto also start where there is none, and do nothing "
        "where the run is finished, so that a queue may run the same command again and again",
    )


def run(args: argparse.Namespace) -> int:
    """Train; lines about the run go to stdout, progress to stderr."""
    from avadet import progress
    from avadet.config import read_config

    config = read_config(args.config, args.overrides)

    from avadet.memory import keep_freed_memory
    from avadet.training.loop import train
    from avadet.training.stopping import Stopped

    keep_freed_memory()
    try:
        train(
            config,
            resume=args.resume if args.resume == "auto" else args.resume is not None,
            say=_say,
            progress=progress.is_shown(),
        )
    except Stopped as stopped:
        if os.environ.get("RANK", "0") == "0":
            print(f"avadet: {stopped}", file=sys.stderr)
        return stopped.code
    return 0


def _say(line: str) -> None:
    print(line, flush=True)
