"""`avadet data stats`: a data set in numbers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from avadet.cli.data_sets import add_data_set, opened, shown_metadata
from avadet.cli.evaluate import write_json

if TYPE_CHECKING:
    from avadet.annotations.rules.video_meta import VideoMeta
    from avadet.annotations.splits import DataVideo

_HOUR_S = 3600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `avadet data stats`."""
    add_data_set(parser)
    parser.add_argument("--split", action="append", default=[], metavar="NAME", help="only this split; may be repeated")
    parser.add_argument("--no-videos", action="store_true", help="do not open the videos to sum up their hours")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every number to this file as well")


def run(args: argparse.Namespace) -> int:
    """Count, print a table a split, write the file that is asked for."""
    from avadet.annotations.splits import read_split
    from avadet.annotations.statistics import split_statistics

    data = opened(args)
    splits = [read_split(data, name, strict=False) for name in args.split or data.spec.splits]
    facts = {} if args.no_videos else shown_metadata([video for split in splits for video in split.videos])
    found = [split_statistics(split, data.labels, _hours(split.videos, facts)) for split in splits]
    print(f"{data.spec.title or data.name}, in {data.root}")
    for one in found:
        print(f"\n{one.table()}")
    if args.json is not None:
        write_json(args.json, {"name": data.name, "splits": {one.name: one.json() for one in found}})
    return 0


def _hours(videos: tuple[DataVideo, ...], facts: dict[str, VideoMeta]) -> float | None:
    """Hours of the videos that are there; None if none was looked at."""
    known = [facts[video.video_id].duration_s for video in videos if video.video_id in facts and video.path]
    return sum(known) / _HOUR_S if known else None
