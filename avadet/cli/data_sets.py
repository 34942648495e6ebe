"""How the actions of `avadet data` name a data set, look at its videos and speak of it."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from avadet.cli.arguments import add_overrides
from avadet.progress import progress_bar

if TYPE_CHECKING:
    from avadet.annotations.rules.video_meta import VideoMeta
    from avadet.annotations.specs import DataSet
    from avadet.annotations.splits import DataVideo


def add_data_set(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that name a data set."""
    parser.add_argument(
        "spec",
        metavar="SPEC",
        help="a YAML file, or a name: ava_v2.1, ava_v2.2, ava_kinetics, ava_with_kinetics, jhmdb21, ucf24, multisports",
    )
    add_overrides(parser, "change the spec, e.g. videos.starts_at_s=900")
    parser.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="the folder that its files lie in (default: the folder of the YAML file)",
    )


def opened(args: argparse.Namespace) -> DataSet:
    """The data set that the arguments name."""
    from avadet.annotations.specs import open_data_set

    return open_data_set(args.spec, args.root, args.overrides)


def shown_metadata(videos: Iterable[DataVideo], last_s: Mapping[str, float] | None = None) -> dict[str, VideoMeta]:
    """What video files are like, by name; shows how far it is.

    Args:
        videos: some of them may be named twice.
        last_s: the last keyframe of each, seconds of the data set's clock.
    """
    from avadet.data.video_facts import iter_metadata

    own = list({video.video_id: video for video in videos}.values())
    looks = iter_metadata(own, last_s or {})
    bar = progress_bar(looks, total=len(own), desc="videos", unit="video", leave=False)
    return {one.video_id: one for one in bar}
