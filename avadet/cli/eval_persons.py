"""`avadet eval-persons`: how well a file of boxes finds the people of a file of ground truth, whatever they do."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avadet.evaluation.person_ap import PersonApResult


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `avadet eval-persons`."""
    parser.add_argument(
        "boxes",
        type=Path,
        metavar="BOXES.csv",
        help="video_id,seconds,x1,y1,x2,y2[,action_id[,score]], plain or gzipped; AVA detections will do",
    )
    parser.add_argument("--gt", type=Path, required=True, metavar="GT.csv", help="AVA ground truth, plain or gzipped")
    parser.add_argument("--exclude", type=Path, metavar="FILE", help="CSV of keyframes that are not scored")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every number to this file as well")


def run(args: argparse.Namespace) -> int:
    """Score, print the table, write the JSON file if one is asked for."""
    result = score_files(args.boxes, args.gt, args.exclude)
    print(result.table())
    for warning in result.warnings:
        print(f"avadet: warning: {args.boxes}: {warning}", file=sys.stderr)
    if args.json is not None:
        _write_json(args.json, result)
    return 0


def score_files(boxes: Path, ground_truth: Path, exclude: Path | None = None) -> PersonApResult:
    """Read both files and score them; see `evaluation.person_ap.evaluate_persons`."""
    from avadet.annotations.ava import read_excluded, read_ground_truth
    from avadet.annotations.box_files import read_box_rows
    from avadet.annotations.rules.boxes import refuse_pixels
    from avadet.evaluation.person_ap import evaluate_persons

    true, found = read_ground_truth(ground_truth), read_box_rows(boxes)
    refuse_pixels(ground_truth, true.boxes_norm, true.lines)
    refuse_pixels(boxes, found.boxes_norm, found.lines)
    result = evaluate_persons(true, found, None if exclude is None else read_excluded(exclude))
    return replace(result, warnings=(*found.notes, *result.warnings))


def _write_json(path: Path, result: PersonApResult) -> None:
    from avadet.files import whole_file

    with whole_file(path) as partial:
        partial.write_text(json.dumps(result.json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
