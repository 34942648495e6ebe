"""`avadet models`: the action models that load by name, and whether their weights are here."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avadet.models.entries import Entry

_COLUMNS = ("name", "data set", "clip", "params", "GFLOPs", "mAP", "size", "here")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("name", nargs="?", help="one model, in full")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """Print the list, or one model."""
    from avadet.models import zoo
    from avadet.models.download import cache_folder

    entries = zoo.models() if args.name is None else [zoo.entry_of(args.name)]
    facts = [describe(entry) for entry in entries]
    if args.json:
        print(json.dumps(facts if args.name is None else facts[0], indent=1))
    elif args.name is None:
        print(_table([[_cell(one[column]) for column in _COLUMNS] for one in facts]))
        protocols = dict.fromkeys(one["protocol"] for one in facts if one["protocol"])
        print(f"mAP: frame-mAP@0.5 as published; {'; '.join(protocols)}. Licences: avadet models NAME")
        print(f"weights are kept in {cache_folder()} (set AVADET_CACHE to move them)")
    else:
        print("\n".join(f"{key:<12} {_cell(value)}" for key, value in facts[0].items()))
    return 0


def describe(entry: Entry) -> dict[str, Any]:
    """What is known of a model: the columns of the list, then summary, url, path and architecture."""
    from avadet.models.zoo import card_of

    card = card_of(entry)
    clip = card["clip"]
    numbers = card.get("numbers", {})
    megabytes = entry.path.stat().st_size / 1e6 if entry.is_here else card.get("parameters", 0) * 4e-6
    return {
        "name": entry.name,
        "data set": card.get("data", ""),
        "clip": f"{clip['num_frames']}x{clip['stride']} at {clip['short_side']} px",
        "params": f"{card['parameters'] / 1e6:.2f} M" if "parameters" in card else "",
        "GFLOPs": card.get("gflops", ""),
        "mAP": numbers.get("frame_map", ""),
        "protocol": numbers.get("protocol", ""),
        "licence": card.get("license", ""),
        "size": f"{megabytes:.0f} MB" if entry.is_here else f"about {megabytes:.0f} MB",
        "here": "bundled" if entry.is_bundled else "cached" if entry.is_here else "no",
        "summary": entry.summary,
        "url": entry.url,
        "path": str(entry.path),
        "architecture": f"{card['architecture']} {json.dumps(card['arguments'])}",
    }


def _cell(value: object) -> str:
    return str(value) if value not in ("", None) else "-"


def _table(rows: list[list[str]]) -> str:
    """Columns as wide as their widest cell."""
    lines = [list(_COLUMNS), *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS))]
    return "\n".join("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths)).rstrip() for line in lines)
