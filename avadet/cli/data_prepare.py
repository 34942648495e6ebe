"""`avadet data prepare`: videos encoded once for fast training, and a spec that describes them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from avadet.cli.arguments import not_negative
from avadet.errors import AvadetError
from avadet.progress import progress_bar

if TYPE_CHECKING:
    from avadet.data.prepare import Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `avadet data prepare`."""
    parser.epilog = (
        "Frames keep their times exactly. Sound is left out. Videos that are there already are skipped, so the same "
        "command continues where it was stopped. Published models were trained and scored on videos as they are: score "
        "them on those."
    )
    parser.add_argument("spec", help="a data set by name, or a YAML file")
    parser.add_argument("--root", type=Path, help="its folder (default: that of the YAML)")
    parser.add_argument("--out", type=Path, required=True, help="folder to fill with videos, annotations and a YAML")
    parser.add_argument("--split", action="append", metavar="NAME", help="only this split; may be repeated")
    parser.add_argument(
        "--short-side", type=int, default=320, metavar="PX", help="shorter side of the videos (default 320)"
    )
    parser.add_argument("--gop", type=int, default=15, help="frames from one key picture to the next (default 15)")
    parser.add_argument("--crf", type=int, default=20, help="CRF of x264; 18 is visually lossless (default 20)")
    parser.add_argument("--cut", action="store_true", help="keep only the seconds from the first to the last keyframe")
    parser.add_argument(
        "--margin", type=not_negative, default=3.0, metavar="S", help="seconds to keep around them (default 3)"
    )
    parser.add_argument("--workers", type=int, default=1, help="videos encoded at a time (default 1)")


def run(args: argparse.Namespace) -> int:
    """Prepare, say what came of it; 1 if videos failed."""
    from avadet.annotations.specs import open_data_set
    from avadet.data.prepare import prepare
    from avadet.data.reencode import Encoding

    _check_numbers(args)
    data = open_data_set(args.spec, args.root)
    data.refuse_joined("prepare")
    splits = args.split or [name for name, split in data.spec.splits.items() if _is_there(data.root, split.annotations)]
    if not splits:
        raise AvadetError(f"no annotations of {data.name} lie in {data.root}; check --root")
    with progress_bar(desc="encoding", unit="video") as bar:

        def watch(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        report = prepare(
            data,
            args.out,
            splits,
            Encoding(args.short_side, args.gop, args.crf),
            margin_s=args.margin if args.cut else None,
            workers=args.workers,
            watch=watch,
        )
    print(_summary(report))
    for video_id, reason in report.failed.items():
        print(f"avadet: {video_id}: {reason}", file=sys.stderr)
    return 1 if report.failed else 0


def _check_numbers(args: argparse.Namespace) -> None:
    for name, low, high in (("short_side", 16, 4320), ("gop", 1, 1000), ("crf", 0, 51), ("workers", 1, 1024)):
        if not low <= getattr(args, name) <= high:
            option = name.replace("_", "-")
            raise AvadetError(f"--{option} must lie between {low} and {high}, got {getattr(args, name)}")


def _is_there(root: Path, annotations: Path | None) -> bool:
    return annotations is not None and (root / annotations).is_file()


def _summary(report: Report) -> str:
    made = [one for one in report.prepared if one.frames]
    before, after = (sum(getattr(one, name) for one in made) / 1e6 for name in ("bytes_before", "bytes_after"))
    lines = [f"{len(made)} videos encoded, {len(report.prepared) - len(made)} were there, {len(report.failed)} failed"]
    if made:
        time_us = 1e6 * max(one.time_error_s for one in made)
        grey = max(one.grey_error for one in made)
        lines.append(f"{before:.0f} MB -> {after:.0f} MB; times differ by at most {time_us:.0f} us, "
                     f"pictures by {grey:.1f} grey levels")  # fmt: skip
    damaged = [one for one in made if one.damaged]
    if damaged:
        lines.append(f"damaged sources: {', '.join(f'{one.video_id} ({one.damaged} pictures)' for one in damaged)}")
    return "\n".join([*lines, f"spec: {report.spec}"])
