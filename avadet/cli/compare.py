"""`avadet compare`: is one file of detections better than another, by how much, and on which classes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from avadet.cli.evaluate import add_rules, count, judge_files, write_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `avadet compare`."""
    parser.add_argument("a", type=Path, metavar="A.csv", help="AVA detections, plain or gzipped")
    parser.add_argument("b", type=Path, metavar="B.csv", help="other detections of the same videos")
    add_rules(parser)
    parser.add_argument(
        "--resamples",
        type=count,
        default=1000,
        metavar="N",
        help="bootstrap resamples of the videos, the same for both files (default %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed of the resamples (default %(default)s)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every number to this file as well")


def run(args: argparse.Namespace) -> int:
    """Score both, print the table, write the file that is asked for."""
    from avadet.evaluation.comparison import compare

    rules = (args.gt, args.labels, args.protocol, args.exclude)
    comparison = compare(judge_files(args.a, *rules), judge_files(args.b, *rules), args.resamples, args.seed)
    print(f"A = {args.a}\nB = {args.b}\n{comparison.table()}")
    for path, result in ((args.a, comparison.a), (args.b, comparison.b)):
        for warning in result.warnings:
            print(f"avadet: warning: {path}: {warning}", file=sys.stderr)
    if args.json is not None:
        write_json(args.json, {"a": str(args.a), "b": str(args.b), **comparison.json()})
    return 0
