"""`avadet data split`: annotated videos divided into training and validation."""

from __future__ import annotations

import argparse
from pathlib import Path

from avadet.cli.arguments import fraction
from avadet.cli.data_sets import add_data_set, opened
from avadet.cli.videos import note
from avadet.errors import AvadetError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `avadet data split`."""
    parser.epilog = (
        "Writes DIR/train.csv, DIR/val.csv and a YAML that uses them. Whole videos are held out, and videos of one "
        "source together where their names tell (HMDB-51, UCF101, MultiSports, Kinetics) or --groups does; classes "
        "come to lie on both sides where they can."
    )
    add_data_set(parser)
    parser.add_argument("--val", type=fraction, default=0.2, metavar="SHARE", help="to hold out (default %(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("--split", metavar="NAME", help="which split to divide (default: the only one, or train)")
    parser.add_argument("--groups", type=Path, metavar="CSV", help="rows video_id,group: videos that stay together")
    parser.add_argument("--seed", type=int, default=0, help="random seed, which breaks ties (default %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are already there")


def run(args: argparse.Namespace) -> int:
    """Divide, write, and say what was written."""
    from avadet.annotations.dividing import read_groups
    from avadet.annotations.division_files import PARTS, split_to_divide, write_division

    data = opened(args)
    data.refuse_joined("divide")
    name = split_to_divide(data, args.split)
    files = [args.out / f"{part}.csv" for part in PARTS] + [args.out / f"{data.name}.yaml"]
    there = [str(path) for path in files if path.exists()]
    if there and not args.overwrite:
        raise AvadetError(f"{', '.join(there)} already there; add --overwrite to replace, or choose another folder")
    sources = [data.path(split.annotations).resolve() for split in data.spec.splits.values() if split.annotations]
    if any(path.resolve() in sources for path in files):
        raise AvadetError(f"{args.out} holds the annotations that are to be divided; choose another folder")
    groups = None if args.groups is None else read_groups(args.groups)
    done = write_division(data, name, args.val, args.out, abs(args.seed), groups)
    for part in PARTS:
        print(f"{done.files[part]}: {done.videos[part]:,} videos, {done.rows[part]:,} rows")
    print(f"{done.spec}: the data set with both; check it with: avadet data check {done.spec}")
    lost = [part for part in PARTS if part in data.spec.splits and part != name]
    if lost:
        note(f"warning: {args.spec}'s own {' and '.join(lost)} is not in the new YAML; its names were needed")
    if done.one_sided:
        note(f"warning: in one part only, as they have a single source: {', '.join(done.one_sided)}")
    return 0
