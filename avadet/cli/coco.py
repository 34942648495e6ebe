"""`avadet coco`: AVA's CSV files as COCO JSON, and COCO JSON as AVA's CSV."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from avadet.errors import AvadetError

if TYPE_CHECKING:
    from avadet.annotations.ava_rows import AvaRows
    from avadet.types import LabelMap


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `avadet coco`."""
    parser.add_argument("source", type=Path, metavar="IN", help="a .csv or .json file, plain or gzipped (.gz)")
    parser.add_argument("target", type=Path, metavar="OUT", help="the .json or .csv file to write")
    parser.add_argument(
        "--labels",
        metavar="NAME|FILE",
        help="label map: a name such as ava_v2.2, or a .pbtxt or .csv file. CSV to COCO: names the actions; "
        "COCO to CSV: gives the action ids where the categories are actions (without it: the categories' own ids)",
    )
    parser.add_argument(
        "--last",
        choices=("score", "person_id"),
        help="CSV to COCO: what column 8 is (without it: person ids if all are whole numbers, else scores)",
    )
    parser.add_argument(
        "--size-hw",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        help="CSV to COCO: height and width in pixels of the frames, which AVA's files do not tell (default 480 640)",
    )
    parser.add_argument(
        "--images", type=Path, metavar="FILE", help="COCO to CSV: the COCO file with the images of a list of detections"
    )


def run(args: argparse.Namespace) -> int:
    """Convert, and say what was written."""
    from avadet.labels import read_label_map

    endings = [path.name.lower().removesuffix(".gz").rpartition(".")[2] for path in (args.source, args.target)]
    if args.target.suffix.lower() == ".gz" or endings not in (["csv", "json"], ["json", "csv"]):
        raise AvadetError(f"expected a .csv and a .json file (IN may be .gz), got {args.source} and {args.target}")
    labels = None if args.labels is None else read_label_map(args.labels)
    table = _to_json(args, labels) if endings[0] == "csv" else _to_csv(args, labels)
    keyframes = len({row.keyframe for row in table.rows})
    left_out = f"; left out {table.num_left_out} annotations that are no people" if table.num_left_out else ""
    print(f"{args.target}: {len(table.rows)} rows in {keyframes} keyframes{left_out}")
    return 0


def _to_json(args: argparse.Namespace, labels: LabelMap | None) -> AvaRows:
    from avadet.annotations.ava_rows import read_ava_rows
    from avadet.annotations.coco import NOMINAL_SIZE_HW, to_coco, write_coco

    _refuse(args, ("images",), "a COCO file")
    size_hw = NOMINAL_SIZE_HW if args.size_hw is None else tuple(args.size_hw)
    if min(size_hw) <= 0:
        raise AvadetError(f"--size-hw must be positive pixels, got {size_hw[0]} {size_hw[1]}")
    table = read_ava_rows(args.source, args.last)
    write_coco(args.target, to_coco(table, labels, size_hw))
    return table


def _to_csv(args: argparse.Namespace, labels: LabelMap | None) -> AvaRows:
    from avadet.annotations.ava_rows import write_ava_rows
    from avadet.annotations.coco import read_coco

    _refuse(args, ("last", "size_hw"), "a CSV file")
    table = read_coco(args.source, labels, args.images)
    write_ava_rows(args.target, table)
    return table


def _refuse(args: argparse.Namespace, options: tuple[str, ...], kind: str) -> None:
    """Raise for options of the other direction."""
    for option in options:
        if getattr(args, option) is not None:
            raise AvadetError(f"--{option.replace('_', '-')} is for reading {kind}, got {args.source}")
