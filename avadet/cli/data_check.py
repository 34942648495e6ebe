"""`avadet data check`: what is wrong with a data set, with file and line, and whether to train on it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from avadet.cli.arguments import positive
from avadet.cli.data_sets import add_data_set, opened, shown_metadata
from avadet.cli.evaluate import write_json

if TYPE_CHECKING:
    from avadet.annotations.rules.issues import Issue
    from avadet.annotations.rules.video_meta import VideoMeta
    from avadet.annotations.splits import DataVideo


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `avadet data check`."""
    parser.epilog = (
        "Every finding says what training, testing and scoring do with it. Exit code: 0 nothing wrong, or warnings "
        "only; 1 errors, at which training stops before it begins. `avadet data repair` writes the data set without "
        "them."
    )
    add_data_set(parser)
    parser.add_argument("--split", action="append", default=[], metavar="NAME", help="only this split; may be repeated")
    parser.add_argument("--no-videos", action="store_true", help="check the annotations alone")
    add_deep(parser)
    parser.add_argument(
        "--examples",
        type=int,
        default=3,
        metavar="N",
        help="how many examples to show of each kind (default %(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every finding to this file as well")


def add_deep(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments about decoding."""
    parser.add_argument(
        "--deep", action="store_true", help="decode the clip of every keyframe, and name those with damaged pictures"
    )
    parser.add_argument(
        "--span",
        type=positive,
        default=2.2,
        metavar="S",
        help="with --deep: seconds of a clip (default %(default)s, which holds 64 frames at 30 a second)",
    )


def run(args: argparse.Namespace) -> int:
    """Check, print the findings split by split, and the verdict."""
    from avadet.annotations.rules.check import check_data_set
    from avadet.annotations.rules.lists import count_splits

    data = opened(args)
    reader = None if args.no_videos else MetadataReader()
    checked = check_data_set(data, args.split, max(args.examples, 0), reader)
    issues = list(checked.issues)
    if args.deep:
        from avadet.data.deep import check_clips

        for rows in checked.splits:
            issues += check_clips(rows, args.span, max(args.examples, 0))
    named = {rows.name: [one for one in checked.splits if one.name == rows.name] for rows in checked.splits}
    counts = {name: count_splits(sources) for name, sources in named.items()}
    print(f"{data.spec.title or data.name}, in {data.root}")
    for name in [*(args.split or data.spec.splits), ""]:
        _print_split(name, counts.get(name, {}), [issue for issue in issues if issue.split == name])
    for file, note in dict.fromkeys((one.file, note) for one in checked.splits for note in one.table.notes):
        print(f"\n{file}: {note}")
    verdict = _verdict(issues)
    if not args.deep:
        print("\npictures were not decoded; --deep does, and names damaged ones")
    print(f"\n{verdict}")
    errors = sum(issue.severity == "error" for issue in issues)
    if args.json is not None:
        found = [issue.json() for issue in issues]
        report = {"name": data.name, "verdict": verdict, "errors": errors, "splits": counts, "findings": found}
        write_json(args.json, report)
    return 1 if errors else 0


class MetadataReader:
    """Reads the metadata of videos, of each but once; an `annotations.splits.ReadMetadata`."""

    def __init__(self) -> None:
        """Know none yet."""
        self._known: dict[tuple[DataVideo, float | None], VideoMeta] = {}

    def __call__(self, videos: Sequence[DataVideo], last_s: Mapping[str, float]) -> dict[str, VideoMeta]:
        """The metadata of videos, by name, each read up to its last keyframe."""
        keys = {video.video_id: (video, last_s.get(video.video_id)) for video in videos}
        new = shown_metadata([video for video in videos if keys[video.video_id] not in self._known], last_s)
        self._known |= {keys[name]: one for name, one in new.items()}
        return {name: self._known[key] for name, key in keys.items()}


def _print_split(name: str, counts: dict[str, int], issues: Sequence[Issue]) -> None:
    from avadet.annotations.rules.issues import DOES

    if name:
        parts = [f"{counts[kind]:,} {kind}" for kind in ("videos", "keyframes", "boxes", "rows") if counts]
        print(f"\n{name}: {', '.join(parts) or 'could not be read'}" + ("" if issues else ": fine"))
    elif issues:
        print("\nbetween splits:")
    for issue in sorted(issues, key=lambda one: one.severity):
        print(f"  {issue.severity}: {issue.message}  [{issue.check}] -> {DOES[issue.action]}")
        for example in issue.examples:
            print(f"    {example}")
        if issue.count > len(issue.examples) and issue.check not in _WHOLE:
            print(f"    ... {issue.count - len(issue.examples):,} more")


_WHOLE = ("class-without-example", "counts", "class-of-everybody", "class-none")
"""Rules whose example stands for all of it."""


def _verdict(issues: Sequence[Issue]) -> str:
    errors = sum(issue.severity == "error" for issue in issues)
    warnings = len(issues) - errors
    counted = f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}"
    if errors:
        return f"verdict: {counted}. Fix the errors before training."
    return f"verdict: {counted}. " + (
        "Ready for training if the warnings are intended." if warnings else "Ready for training."
    )
