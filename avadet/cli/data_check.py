"""`avadet data check`: what is wrong with a data set, with file and line, and whether to train on it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from avadet.cli.data_sets import add_data_set, looked_at, opened
from avadet.cli.evaluate import write_json

if TYPE_CHECKING:
    from avadet.annotations.checks.findings import Finding, SplitRows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `avadet data check`."""
    parser.epilog = "Exit code: 0 nothing wrong, or warnings only; 1 errors."
    add_data_set(parser)
    parser.add_argument("--split", action="append", default=[], metavar="NAME", help="only this split; may be repeated")
    parser.add_argument("--no-videos", action="store_true", help="check the annotations alone")
    parser.add_argument(
        "--examples",
        type=int,
        default=3,
        metavar="N",
        help="how many examples to show of each kind (default %(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every finding to this file as well")


def run(args: argparse.Namespace) -> int:
    """Check, print the findings split by split, and the verdict."""
    from avadet.annotations.checks.lists import count_splits
    from avadet.annotations.checks.run import check_annotations

    data = opened(args)
    checked = check_annotations(data, args.split, max(args.examples, 0))
    findings = list(checked.findings)
    if not args.no_videos:
        findings += _of_videos(checked.splits, max(args.examples, 0))
    named = {rows.name: [one for one in checked.splits if one.name == rows.name] for rows in checked.splits}
    counts = {name: count_splits(sources) for name, sources in named.items()}
    print(f"{data.spec.title or data.name}, in {data.root}")
    for name in [*(args.split or data.spec.splits), ""]:
        _print_split(name, counts.get(name, {}), [finding for finding in findings if finding.split == name])
    verdict = _verdict(findings)
    print(verdict)
    errors = sum(finding.severity == "error" for finding in findings)
    if args.json is not None:
        found = [finding.json() for finding in findings]
        report = {"name": data.name, "verdict": verdict, "errors": errors, "splits": counts, "findings": found}
        write_json(args.json, report)
    return 1 if errors else 0


def _of_videos(splits: Sequence[SplitRows], examples: int) -> list[Finding]:
    from avadet.data.checks import check_videos, last_keyframes, videos_of

    facts = looked_at(videos_of(splits), last_keyframes(splits))
    return [finding for rows in splits for finding in check_videos(rows, facts, examples)]


def _print_split(name: str, counts: dict[str, int], findings: Sequence[Finding]) -> None:
    if name:
        parts = [f"{counts[kind]:,} {kind}" for kind in ("videos", "keyframes", "boxes", "rows") if counts]
        print(f"\n{name}: {', '.join(parts) or 'could not be read'}" + ("" if findings else ": fine"))
    elif findings:
        print("\nbetween splits:")
    for finding in sorted(findings, key=lambda one: one.severity):
        print(f"  {finding.severity}: {finding.message}  [{finding.check}]")
        for example in finding.examples:
            print(f"    {example}")
        if finding.count > len(finding.examples) and finding.check not in ("class-without-example", "counts"):
            print(f"    ... {finding.count - len(finding.examples):,} more")


def _verdict(findings: Sequence[Finding]) -> str:
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = len(findings) - errors
    told = f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}"
    if errors:
        return f"\nverdict: {told}. Fix the errors before training."
    return f"\nverdict: {told}. " + (
        "Ready for training if the warnings are intended." if warnings else "Ready for training."
    )
