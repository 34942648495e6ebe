"""`avadet eval`: a file of detections against a file of ground truth, frame by frame or as tubes."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from avadet.cli import arguments
from avadet.errors import AvadetError

if TYPE_CHECKING:
    from avadet.evaluation.explain import Explanation
    from avadet.evaluation.matching import Matches
    from avadet.evaluation.result import FrameMapResult
    from avadet.evaluation.video_map import VideoMapResult

DEFAULT_PROTOCOL = "activitynet"
PROTOCOLS = ("activitynet", "slowfast", "mmaction2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `avadet eval`."""
    found = parser.add_mutually_exclusive_group(required=True)
    found.add_argument("file", nargs="?", type=Path, metavar="DET.csv", help="AVA detections, plain or gzipped")
    found.add_argument(
        *("-d", "--detections"), type=Path, metavar="DET.csv", help="the same, as ActivityNet's script has it"
    )
    add_rules(parser)
    parser.add_argument(
        "--explain", action="store_true", help="print where the points were lost, bounds and slices too"
    )
    parser.add_argument(
        "--resamples",
        type=count,
        default=1000,
        metavar="N",
        help="bootstrap resamples of the videos, for the 95%% intervals that --explain and --html give; 0 = none "
        "(default %(default)s)",
    )
    parser.add_argument(
        "--tubes",
        action="store_true",
        help="link the detections over time and score tubes (video-mAP); --labels jhmdb21, ucf24 or multisports; --gt "
        "an AVA CSV with person ids, the data set's CSV of boxes, or its .pkl (see data_specs)",
    )
    parser.add_argument("--split", type=count, metavar="N", help="with --tubes: test videos of this split only, from 1")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the resamples (default %(default)s)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every number to this file as well")
    parser.add_argument(
        "--html", type=Path, metavar="OUT", help="write a page that explains the number; implies --explain"
    )


def add_rules(parser: argparse.ArgumentParser) -> None:
    """Declare the ground truth and what decides how it is scored."""
    parser.add_argument(
        *("--gt", "-g", "--groundtruth"),
        type=Path,
        required=True,
        metavar="GT.csv",
        help="AVA ground truth, plain or gzipped",
    )
    parser.add_argument(
        *("--labels", "-l", "--labelmap"),
        default="ava_v2.2",
        metavar="NAME|FILE",
        help=f"label map: {arguments.LABELS_HELP} (default %(default)s)",
    )
    parser.add_argument("--exclude", type=Path, metavar="FILE", help="CSV of keyframes that are not scored")
    parser.add_argument(
        "--protocol",
        default=DEFAULT_PROTOCOL,
        metavar="NAME",
        help=f"whose rules to follow: {', '.join(PROTOCOLS)} (default %(default)s)",
    )


def count(text: str) -> int:
    """A whole number from 0; argparse turns a ValueError into its own message."""
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value


def run(args: argparse.Namespace) -> int:
    """Score, print the table, write the files that are asked for."""
    args.detections = args.detections or args.file
    report = _tubes(args) if args.tubes else _frames(args)
    print(report.table())
    for warning in report.warnings:
        print(f"avadet: warning: {args.detections}: {warning}", file=sys.stderr)
    if args.json is not None:
        write_json(args.json, report.json())
    return 0


def _tubes(args: argparse.Namespace) -> VideoMapResult:
    """Score tubes.

    Raises:
        AvadetError: if options of frame-mAP are given, or as `evaluation.video_map.score_tubes`.
    """
    from avadet.evaluation.video_map import score_tubes
    from avadet.models.zoo.label_sources import read_labels, read_tube_rules

    given = {"--exclude": args.exclude, "--html": args.html, "--explain": args.explain or None}
    given["--protocol"] = args.protocol if args.protocol != DEFAULT_PROTOCOL else None
    for option, value in given.items():
        if value is not None:
            raise AvadetError(f"{option} is about frames; leave it away, or --tubes")
    spec, labels = read_tube_rules(args.labels), read_labels(args.labels)
    return score_tubes(args.detections, args.gt, labels, spec, args.split)


def _frames(args: argparse.Namespace) -> FrameMapResult | Explanation:
    """Score frames; explain the result, and write the page, if that is asked for."""
    from avadet.evaluation.frame_map import result_of

    if args.split is not None:
        raise AvadetError("--split goes with --tubes: an AVA ground truth holds the videos that count")
    matches = judge_files(args.detections, args.gt, args.labels, args.protocol, args.exclude)
    if not (args.explain or args.html is not None):
        return result_of(matches)
    from avadet.evaluation.explain import explain

    explanation = explain(matches, args.resamples, args.seed)
    if args.html is not None:
        _write_page(args, explanation, matches)
    return explanation


def judge_files(
    detections: Path, ground_truth: Path, labels: str, protocol: str = DEFAULT_PROTOCOL, exclude: Path | None = None
) -> Matches:
    """`match_files`, but boxes in pixels, which the published evaluators score as they stand, are an error."""
    from avadet.annotations.rules.boxes import refuse_pixels

    matches = match_files(detections, ground_truth, labels, protocol, exclude)
    for path, rows in ((ground_truth, matches.true), (detections, matches.found)):
        refuse_pixels(path, rows.boxes)
    return matches


def match_files(
    detections: Path, ground_truth: Path, labels: str, protocol: str = DEFAULT_PROTOCOL, exclude: Path | None = None
) -> Matches:
    """Read both files and find out who found whom; see `evaluation.frame_map.evaluate_frame_map`.

    What the rules say of the ground truth is among the notes: published protocols count its rows as they stand.
    PySlowFast's evaluator stops at fractional seconds, keyframes without boxes and detections without a score; under
    its protocol such rows are errors here too.
    """
    from avadet.annotations.ava import read_detections, read_excluded, read_ground_truth
    from avadet.annotations.csv_rows import RowForm
    from avadet.annotations.rules.rows import truth_notes
    from avadet.evaluation.matching import match
    from avadet.evaluation.protocols import protocol_rules
    from avadet.models.zoo.label_sources import read_labels

    protocol_rules(protocol)  # before minutes are spent on reading
    found_form = true_form = None
    if protocol == "slowfast":
        found_form = RowForm(widths=(8,), whole_seconds=True)
        true_form = RowForm(widths=(7, 8), last="person_id", boxes="ordered", whole_seconds=True)
    label_map = read_labels(labels)
    true = read_ground_truth(ground_truth, true_form)
    found = read_detections(detections, found_form)
    excluded = None if exclude is None else read_excluded(exclude)
    matches = match(true, found, label_map, protocol, excluded)
    return replace(matches, notes=(*matches.notes, *truth_notes(true, label_map)))


def write_json(path: Path, report: dict[str, object]) -> None:
    """Write a report, whole or not at all."""
    from avadet.files import whole_file

    with whole_file(path) as partial:
        partial.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_page(args: argparse.Namespace, explanation: Explanation, matches: Matches) -> None:
    from avadet.evaluation.page import render_page
    from avadet.files import whole_file

    files = {"detections": args.detections, "ground truth": args.gt, "labels": args.labels, "excluded": args.exclude}
    named = {role: str(path) for role, path in files.items() if path is not None}
    counts = {"videos": matches.num_videos, "keyframes": matches.num_keyframes}
    with whole_file(args.html) as partial:
        partial.write_text(render_page(explanation, args.detections.name, named, counts), encoding="utf-8")
