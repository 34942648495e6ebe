"""`avadet eval`: a file of detections against a file of ground truth, by the rules of a named evaluator."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avadet.evaluation.result import FrameMapResult

DEFAULT_PROTOCOL = "activitynet"
_PROTOCOLS = ("activitynet", "slowfast", "mmaction2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `avadet eval`."""
    parser.add_argument("detections", type=Path, metavar="DET.csv", help="AVA detections, plain or gzipped")
    parser.add_argument("--gt", type=Path, required=True, metavar="GT.csv", help="AVA ground truth, plain or gzipped")
    parser.add_argument(
        "--labels",
        default="ava_v2.2",
        metavar="NAME|FILE",
        help="label map: ava_v2.1, ava_v2.2, jhmdb21, or a .pbtxt or .csv file (default %(default)s)",
    )
    parser.add_argument("--exclude", type=Path, metavar="FILE", help="CSV of keyframes that are not scored")
    parser.add_argument(
        "--protocol",
        default=DEFAULT_PROTOCOL,
        metavar="NAME",
        help=f"whose rules to follow: {', '.join(_PROTOCOLS)} (default %(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every number to this file as well")


def run(args: argparse.Namespace) -> int:
    """Score, print the table, write the JSON file if one is asked for."""
    result = score_files(args.detections, args.gt, args.labels, args.protocol, args.exclude)
    print(result.table())
    for warning in result.warnings:
        print(f"avadet: warning: {args.detections}: {warning}", file=sys.stderr)
    if args.json is not None:
        _write_json(args.json, result)
    return 0


def score_files(
    detections: Path, ground_truth: Path, labels: str, protocol: str = DEFAULT_PROTOCOL, exclude: Path | None = None
) -> FrameMapResult:
    """Read both files and score them; see `evaluation.frame_map.evaluate_frame_map`.

    PySlowFast's evaluator stops at fractional seconds, keyframes without boxes and detections without a score; under
    its protocol such rows are errors here too.
    """
    from avadet.annotations.ava import read_detections, read_excluded, read_ground_truth
    from avadet.annotations.csv_rows import RowForm
    from avadet.evaluation.frame_map import evaluate_frame_map
    from avadet.labels import read_label_map

    found_form = true_form = None
    if protocol == "slowfast":
        found_form = RowForm(widths=(8,), whole_seconds=True)
        true_form = RowForm(widths=(7, 8), last="person_id", boxes="ordered", whole_seconds=True)
    label_map = read_label_map(labels)
    true = read_ground_truth(ground_truth, true_form)
    found = read_detections(detections, found_form)
    excluded = None if exclude is None else read_excluded(exclude)
    return evaluate_frame_map(true, found, label_map, protocol, excluded)


def _write_json(path: Path, result: FrameMapResult) -> None:
    from avadet.files import whole_file

    with whole_file(path) as partial:
        partial.write_text(json.dumps(result.json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
