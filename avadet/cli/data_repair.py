"""`avadet data repair`: the data set that the rules allow, and a list of every change."""

from __future__ import annotations

import argparse
from collections import Counter
from functools import partial
from pathlib import Path

from avadet.cli.data_check import MetadataReader, add_deep
from avadet.cli.data_sets import add_data_set, opened
from avadet.cli.videos import note


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `avadet data repair`."""
    parser.epilog = (
        "What `avadet data check` calls an error or left out is dropped or put right; files and videos of the data set "
        "stay as they are. Exit code: 1 if what is written still has errors."
    )
    add_data_set(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    add_deep(parser)


def run(args: argparse.Namespace) -> int:
    """Repair, and say what was changed and whether all is well now."""
    from avadet.annotations.repair import CHANGES, repair
    from avadet.annotations.rules.check import check_data_set
    from avadet.annotations.specs import open_data_set

    data, reader, deep = opened(args), MetadataReader(), None
    if args.deep:
        from avadet.data.deep import damaged_rows

        deep = partial(damaged_rows, span_s=args.span)

    path, changes = repair(
        data, args.out, reader, lambda fixes: open_data_set(args.spec, args.root, [*args.overrides, *fixes]), deep
    )
    for (what, kept), count in sorted(Counter((one.what, bool(one.after)) for one in changes).items()):
        print(f"{count:,} {'changed' if kept else 'dropped'}: {what}")
    print(f"{args.out / CHANGES}: {len(changes):,} changes")
    print(f"check it with: avadet data check {path}")
    left = [one for one in check_data_set(open_data_set(path), read_metadata=reader).issues if one.severity == "error"]
    for issue in left:
        note(f"still an error: {issue.line()}")
    return 1 if left else 0
