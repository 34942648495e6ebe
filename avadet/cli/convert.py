"""`avadet convert`: another project's checkpoint into avadet's own form, safetensors beside a readable card."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from avadet.errors import AvadetError

if TYPE_CHECKING:
    from avadet.models.zoo import LoadedModel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument(
        "model", metavar="IN", help="checkpoint of pytorchvideo, PySlowFast or mmaction2, or a zoo name"
    )
    parser.add_argument("out", type=Path, metavar="OUT.safetensors", help="its card goes beside it, to OUT.json")
    parser.add_argument("--labels", metavar="NAME|FILE", help="label map, where the checkpoint's classes are not AVA's")
    parser.add_argument("--partial", action="store_true", help="convert what fits even if tensors are left over")
    parser.add_argument("--half", action="store_true", help="store matrices as float16: half the size")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")


def run(args: argparse.Namespace) -> int:
    """Load, report, write."""
    from avadet.models import zoo
    from avadet.models.weights import save_model

    card_path = args.out.with_suffix(".json")
    standing = [str(path) for path in (args.out, card_path) if path.exists()]
    if standing and not args.overwrite:
        raise AvadetError(f"{' and '.join(standing)} exists; use --overwrite to replace it")
    loaded = zoo.load(args.model, allow_partial=args.partial)
    print(loaded.report)
    card = loaded.card if args.labels is None else {**loaded.card, "labels": _labels(args.labels, loaded)}
    save_model(args.out, loaded.model, card, half=args.half)
    parameters = sum(value.numel() for value in loaded.model.parameters()) / 1e6
    print(f"wrote {args.out} and {card_path}: {card['architecture']}, {parameters:.3f} M parameters")
    return 0


def _labels(name: str, loaded: LoadedModel) -> dict[str, object]:
    """The label map as a card holds it.

    Raises:
        AvadetError: if the model has another number of classes.
    """
    import dataclasses

    from avadet.labels import read_label_map

    labels = read_label_map(name)
    if len(labels) != len(loaded.labels):
        raise AvadetError(f"the checkpoint has {len(loaded.labels)} classes, label map {name} has {len(labels)}")
    return dataclasses.asdict(labels)
