"""`avadet convert`: another project's checkpoint into avadet's own form, safetensors beside a readable card."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avadet.cli import arguments
from avadet.errors import AvadetError
from avadet.files import check_target

if TYPE_CHECKING:
    from avadet.models.loaded import LoadedModel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument(
        "model",
        metavar="IN",
        help="checkpoint of pytorchvideo, PySlowFast or mmaction2, the folder of a training, or a zoo name",
    )
    parser.add_argument(
        "out",
        type=Path,
        metavar="OUT.safetensors",
        help="its card goes beside it, to OUT.json; so does the model "
        "of its feature banks, if it reads some, to OUT_bank.safetensors",
    )
    parser.add_argument(
        "--labels",
        metavar="NAME|FILE",
        help=f"label map, where the checkpoint's classes are not AVA's: {arguments.LABELS_HELP}",
    )
    parser.add_argument(
        "--weights",
        metavar="NAME",
        help="which ones, where the file holds several, e.g. model_ema; the report names them",
    )
    parser.add_argument(
        "--partial", action="store_true", help="convert what fits even if tensors are missing or left over"
    )
    parser.add_argument("--half", action="store_true", help="store matrices as float16: half the size")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")


def run(args: argparse.Namespace) -> int:
    """Load, report, write; a model that makes feature banks for it goes beside it, to OUT_bank.safetensors."""
    from avadet.models import zoo

    check_free(args.out, args.overwrite)
    loaded = zoo.load(args.model, allow_partial=args.partial, weights=args.weights)
    print(loaded.report)
    card = loaded.card if args.labels is None else {**loaded.card, "labels": _labels(args.labels, loaded)}
    if loaded.bank is not None:
        beside = args.out.with_name(f"{args.out.stem}_bank.safetensors")
        check_free(beside, args.overwrite)
        card = {**card, "bank": {**card["bank"], "weights": beside.name}}
        write(beside, loaded.bank, loaded.bank.card, args.half)
    write(args.out, loaded, card, args.half)
    return 0


def check_free(path: Path, overwrite: bool) -> None:
    """Raise AvadetError if a model or its card is there already, unless it may be replaced."""
    check_target(path)
    standing = [str(one) for one in (path, path.with_suffix(".json")) if one.exists()]
    if standing and not overwrite:
        raise AvadetError(f"{' and '.join(standing)} exists; use --overwrite to replace it")


def write(path: Path, loaded: LoadedModel, card: dict[str, Any], half: bool) -> None:
    """Write a model and its card, and say so."""
    from avadet.models.checkpoints.weights import save_model

    save_model(path, loaded.model, card, half=half)
    parameters = sum(value.numel() for value in loaded.model.parameters()) / 1e6
    print(f"wrote {path} and {path.with_suffix('.json')}: {card['architecture']}, {parameters:.3f} M parameters")


def _labels(name: str, loaded: LoadedModel) -> dict[str, object]:
    """The label map as a card holds it.

    Raises:
        AvadetError: if the model has another number of classes.
    """
    import dataclasses

    from avadet.models.zoo.label_sources import read_labels

    labels = read_labels(name)
    if len(labels) != len(loaded.labels):
        raise AvadetError(f"the checkpoint has {len(loaded.labels)} classes, label map {name} has {len(labels)}")
    return dataclasses.asdict(labels)
