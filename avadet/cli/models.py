"""`avadet models`: the models that load by name, the backbones that can be built, and what each is made of."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avadet.errors import AvadetError, unknown_name

if TYPE_CHECKING:
    from avadet.models.engines.summary import Part, Summary
    from avadet.models.sizes import Size, SizeClip
    from avadet.models.zoo.entries import Entry

_COLUMNS = ("name", "data set", "clip", "params", "GFLOPs", "mAP", "size", "here")
_MEASURED_COLUMNS = ("class", "labels", "learnt from", "shown", "precision", "recall", "of")
_FAMILY_COLUMNS = ("name", "use", *_COLUMNS[1:5], "scored on", *_COLUMNS[5:])
_START_COLUMNS = ("name", "data set", "clip", "params", "top-1", "size", "here")
_SIZE_COLUMNS = ("name", "clip", "params", "GFLOPs", "weights")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("action", nargs="?", metavar="show", help="show one model in full: avadet models show NAME")
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME|PATH",
        help="a model of the list, a backbone of a family, a file of weights or the folder of a training",
    )
    parser.add_argument("--family", metavar="FAMILY", help="the sizes of one family of backbones and their weights")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """Print the list, a family, or one model.

    Raises:
        AvadetError: for an unknown name, or words that make no sense together.
    """
    if args.action is not None:
        if args.action != "show" or args.name is None or args.family is not None:
            wanted = args.name or (args.action if args.action != "show" else "NAME")
            raise AvadetError(f"one model is shown by: avadet models show {wanted}")
        facts, lines = _one_model(args.name)
    elif args.family is not None:
        facts, lines = _family(args.family)
    else:
        facts, lines = _list()
    print(json.dumps(facts, indent=1) if args.json else "\n".join(lines))
    return 0


def _list() -> tuple[object, list[str]]:
    """All models that load by name: as JSON has them, and as lines of text."""
    from avadet.models import zoo
    from avadet.models.download import cache_folder
    from avadet.models.sizes import families

    facts = [describe(entry) for entry in zoo.models()]
    starts = [one for one in facts if one["use"] == "start"]
    detectors = [one for one in facts if one["use"] == "detect"]
    lines = _by_protocol(detectors)
    lines.append("mAP: frame-mAP@0.5, percent; comparable within a group only. Licences: avadet models show NAME")
    if starts:
        lines += ["", *_table(_START_COLUMNS, starts)]
        lines.append("these classify whole clips or images; start a training from one with model.init=NAME")
    lines.append(f"backbones to train: avadet models --family {'|'.join(families())}")
    lines.append(f"weights are kept in {cache_folder()} (set AVADET_CACHE to move them)")
    return facts, lines


def _by_protocol(detectors: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of the models that find actions, a group for each data set and protocol that they are scored by."""
    protocols = list(dict.fromkeys(one["protocol"] for one in detectors))
    detectors = sorted(detectors, key=lambda one: protocols.index(one["protocol"]))
    head, *rows = _table(_COLUMNS, detectors)
    lines = [head]
    for one, row, before in zip(detectors, rows, [None, *detectors]):
        if before is None or before["protocol"] != one["protocol"]:
            lines += ["", f"{one['protocol'] or 'not scored'}:"]
        lines.append(row)
    return lines


def describe(entry: Entry) -> dict[str, Any]:
    """What is known of a model: the columns of the list, then summary, url, pin, path and architecture."""
    from avadet.models.zoo import card_of

    card = card_of(entry)
    clip = card["clip"]
    numbers = card.get("numbers", {})
    return {
        "name": entry.name,
        "use": "start" if entry.is_start else "detect",
        "data set": card.get("data", ""),
        "clip": f"{clip['num_frames']}x{clip['stride']} at {clip['short_side']} px",
        "params": f"{card['parameters'] / 1e6:.2f} M" if "parameters" in card else "",
        "GFLOPs": card.get("gflops", ""),
        "mAP": _percent(numbers.get("frame_map")),
        "scored on": numbers.get("data_set", ""),
        "top-1": _percent(numbers.get("top1")),
        "protocol": numbers.get("protocol", ""),
        "licence": card.get("license", ""),
        "size": _file_size(entry, card),
        "here": "bundled" if entry.is_bundled else "cached" if entry.is_here else "no",
        "summary": entry.summary,
        "url": entry.url,
        "pin": entry.pin,
        "path": str(entry.path),
        "architecture": f"{card['architecture']} {json.dumps(card['arguments'])}",
        **_classes(card, entry.is_start),
    }


def _percent(value: float | None) -> float | str:
    """A score in percent, as exact as scores are published; "" if there is none."""
    return "" if value is None else round(value, 2)


def _classes(card: dict[str, Any], is_start: bool = False) -> dict[str, Any]:
    """How many classes a model tells apart, and which; nothing of weights that only start a training."""
    from avadet.models.cards import labels_of

    names = [] if is_start else list(labels_of(card).names)
    return {"classes": len(names) or "", "class names": names or "", "measured": card.get("measured", "")}


def _file_size(entry: Entry, card: dict[str, Any]) -> str:
    """Of the file if it is here, else what its parameters take; files without a classifier may hold much more."""
    if entry.is_here:
        return f"{entry.path.stat().st_size / 1e6:.0f} MB"
    return "" if card.get("classifies") == "nothing" else f"about {card.get('parameters', 0) * 4e-6:.0f} MB"


def _family(name: str) -> tuple[object, list[str]]:
    """The sizes of a family and the weights that load by name for it.

    Raises:
        AvadetError: for an unknown family.
    """
    from avadet.models.sizes import families
    from avadet.models.zoo import card_of, models

    if name not in families():
        raise unknown_name("family", name, families())
    sizes = families()[name]
    entries = [(card_of(entry)["architecture"], entry) for entry in models()]
    own = [describe(entry) for architecture, entry in entries if architecture in sizes]
    rows = []
    for own_name, size in sizes.items():
        weights = [entry.name for architecture, entry in entries if architecture == own_name]
        rows.append({"name": own_name, **_size_facts(size), "weights": weights})
    shown = [{**row, "weights": len(row["weights"]) or ""} for row in rows]
    lines = [
        *_table(_SIZE_COLUMNS, shown),
        "params with 80 classes; GFLOPs: multiply-adds of one such clip; model.family=NAME in a config trains one",
        *(["", *_table(_FAMILY_COLUMNS, own)] if own else ["no weights of this family load by name"]),
    ]
    return {"family": name, "sizes": rows, "weights": own}, lines


def _size_facts(size: Size) -> dict[str, Any]:
    """Clip, parameters and multiply-adds of a published size; of a row for any size only that."""
    if size.clip is None:
        return {"clip": "any size", "params": "", "GFLOPs": ""}
    return {"clip": _clip(size.clip), "params": f"{size.parameters / 1e6:.2f} M", "GFLOPs": size.gflops}


def _clip(clip: SizeClip) -> str:
    """A clip in words."""
    return f"{clip.frames}x{clip.stride} at {clip.side_px} px"


def _one_model(name: str) -> tuple[object, list[str]]:
    """An entry of the list, a backbone or a file, in full.

    Raises:
        AvadetError: for an unknown name, a file without a good card, or a builder of any size, which has no parts
            before its arguments say so.
    """
    from avadet.models import zoo
    from avadet.models.sizes import SIZES, families

    entries = {entry.name: entry for entry in zoo.models()}
    if name in entries:
        return _one_entry(entries[name])
    if name not in SIZES and (Path(name).exists() or Path(name).suffix):
        return _one_file(Path(name))
    if name not in SIZES:
        raise unknown_name("model", name, [*entries, *SIZES])
    size = SIZES[name]
    if size.clip is None:
        published = [one for one, row in families()[size.family].items() if row.clip is not None]
        raise AvadetError(f"{name} builds any size, by model.arguments; its published sizes: {', '.join(published)}")
    found = _summary_of(name, {}, size.clip.frames, size.clip.side_px, zoo.AVA_CLASSES)
    weights = [entry.name for entry in entries.values() if zoo.card_of(entry)["architecture"] == name]
    facts = {"name": name, "summary": size.summary, "clip": _clip(size.clip), "weights": weights}
    return _with_parts(facts, found, size.clip.side_px)


def _summary_of(architecture: str, arguments: dict[str, Any], frames: int, side_px: int, classes: int) -> Summary:
    """What an architecture is made of."""
    from avadet.models.build import build
    from avadet.models.engines.summary import summary

    return summary(lambda: build(architecture, classes, **arguments), frames, (side_px, side_px))


def _one_entry(entry: Entry) -> tuple[object, list[str]]:
    """A model of the list in full."""
    from avadet.models.cards import labels_of
    from avadet.models.zoo import AVA_CLASSES, card_of

    card = card_of(entry)
    clip = card["clip"]
    classes = AVA_CLASSES if entry.is_start else len(labels_of(card))
    found = _summary_of(card["architecture"], card["arguments"], clip["num_frames"], clip["short_side"], classes)
    more = {"to train": f"model.family={card['architecture']} model.init={entry.name}"} if entry.is_start else {}
    return _with_parts({**describe(entry), **more}, found, clip["short_side"])


def _one_file(path: Path) -> tuple[object, list[str]]:
    """A model of a file in full, as its card describes it, or its tensors do."""
    from avadet.models.cards import bank_of, clip_of, labels_of
    from avadet.models.zoo import card_of_path

    if not path.exists():
        raise AvadetError(f"{path}: no such file")
    path, card = card_of_path(path)
    clip, labels, bank = clip_of(card), labels_of(card), bank_of(card)
    numbers = card.get("numbers", {})
    facts = {
        "name": card["name"],
        "data set": card.get("data", ""),
        "mAP": _percent(numbers.get("frame_map")),
        "protocol": numbers.get("protocol", numbers.get("scored_on", "")),
        "clip": f"{clip.num_frames}x{clip.stride} at {clip.short_side} px",
        **_classes(card),
        "licence": card.get("license", ""),
        "size": f"{path.stat().st_size / 1e6:.0f} MB",
        "path": str(path),
        "architecture": f"{card['architecture']} {json.dumps(card['arguments'])}",
        "bank": "" if bank is None else _bank_line(path.with_name(bank[0]), bank[1]),
    }
    side_px = clip.short_side
    found = _summary_of(card["architecture"], card["arguments"], clip.num_frames, side_px, len(labels))
    return _with_parts(facts, found, side_px)


def _bank_line(weights: Path, window_s: float) -> str:
    """The model that fills a model's feature banks, and how much of a bank a clip sees."""
    from avadet.models.cards import read_card

    made_by = read_card(weights.with_suffix(".json"))
    return f"{window_s:g} s of features of {weights.name} ({made_by['name']}, {made_by['architecture']})"


def _with_parts(facts: dict[str, Any], found: Summary, side_px: int) -> tuple[object, list[str]]:
    """Facts and parts of a model, for JSON and for reading."""
    counted = {
        "parameters": found.parameters,
        "multiply_adds_g": round(found.gflops, 2),
        "at": f"one clip of {side_px} x {side_px} px with one box",
    }
    rows = [
        {"part": part.name, "is": part.kind, "params": f"{part.parameters:,}", "gives": _gives(part)}
        for part in _indented(found.parts)
    ]
    measured = facts.get("measured") or []
    known = {
        key: ", ".join(value) if isinstance(value, list) else value for key, value in facts.items() if key != "measured"
    }
    lines = [f"{key:<12} {value}" for key, value in known.items() if value not in ("", None)]
    lines += ["", *_table(_MEASURED_COLUMNS, measured)] if measured else []
    lines += ["", *_table(("part", "is", "params", "gives"), rows)]
    lines.append(f"{found.parameters:,} parameters; {_gflops(found.gflops)} GFLOPs (multiply-adds) of {counted['at']}")
    lines.append("gives: clips x channels x frames x rows x columns, or clips x tokens x channels")
    return {**facts, **counted, "parts": [dataclasses.asdict(part) for part in found.parts]}, lines


def _gflops(gflops: float) -> str:
    """Billions of multiply-adds, small ones more exactly."""
    return f"{gflops:.1f}" if gflops >= 1 else f"{gflops:.2f}"


def _indented(parts: Sequence[Part], depth: int = 0) -> Iterator[Part]:
    """All parts, one after the other, names moved to the right by their depth."""
    for part in parts:
        yield dataclasses.replace(part, name="  " * depth + part.name)
        yield from _indented(part.parts, depth + 1)


def _gives(part: Part) -> str:
    """The shapes of what a part gives."""
    return ", ".join("x".join(map(str, shape)) for shape in part.shapes)


def _cell(value: object) -> str:
    return str(value) if value not in ("", None) else "-"


def _table(columns: Sequence[str], facts: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of columns as wide as their widest cell."""
    lines = [list(columns), *([_cell(one[column]) for column in columns] for one in facts)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths)).rstrip() for line in lines]
