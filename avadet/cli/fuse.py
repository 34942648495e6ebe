"""`avadet fuse`: detections of several models, views or seeds as one file."""

from __future__ import annotations

import argparse
from pathlib import Path

from avadet.errors import AvadetError
from avadet.files import check_target


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `avadet fuse`."""
    parser.add_argument("files", nargs="+", type=Path, metavar="DET.csv", help="AVA detections, plain or gzipped")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT.csv", help="where to write what they become")
    parser.add_argument("--weights", metavar="1,2", help="weight of each file's scores (default: all alike)")
    parser.add_argument(
        "--mean",
        choices=("arithmetic", "geometric"),
        default="arithmetic",
        help="which mean of the scores (default %(default)s)",
    )
    parser.add_argument(
        "--partial",
        choices=("error", "mean", "zero"),
        default="error",
        help="rows that are not in every file: an error (default), the mean of the files that have them, or of all "
        "files, with 0 where they are absent",
    )


def run(args: argparse.Namespace) -> int:
    """Join the files, say how many rows met."""
    from avadet.annotations.ava import read_detections, write_table
    from avadet.evaluation.fusion import MIN_IOU, fuse

    check_target(args.out)
    if len(args.files) < 2:
        raise AvadetError(f"fuse needs two files or more, got {args.files[0]} alone")
    tables = [read_detections(path) for path in args.files]
    fusion = fuse(tables, _weights(args.weights), args.mean, args.partial)
    write_table(args.out, fusion.table)
    if fusion.loose:
        print(f"{fusion.loose} boxes differ by more than rounding and were paired at IoU {MIN_IOU} or more")
    for path, count in zip(args.files, fusion.partial.tolist()):
        print(f"{path}: has {len(fusion.table) - count} of the {len(fusion.table)} rows")
    how = {"error": "", "mean": "; absent rows left out of the mean", "zero": "; absent rows count as 0"}
    weights = f", weights {args.weights}" if args.weights else ""
    print(f"wrote {args.out}: {args.mean} mean of {len(args.files)} files{weights}{how[args.partial]}")
    return 0


def _weights(text: str | None) -> list[float] | None:
    try:
        return None if text is None else [float(cell) for cell in text.split(",")]
    except ValueError as error:
        raise AvadetError(f"--weights must be numbers with commas between them, e.g. 1,2, got '{text}'") from error
