"""The person detector's weights and their card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avadet.errors import AvadetError
from avadet.models.cards import read_card
from avadet.models.checkpoints.torch_file import read_safetensors
from avadet.models.checkpoints.weights import load_tensors
from avadet.persons.person_net import PersonNet

REQUIRED = ("format", "architecture", "arguments", "threshold", "long_side")
OLD_NAMES = {"trunk": "backbone"}
"""Arguments of `PersonNet` as earlier cards name them."""


def load_person_net(path: str | Path) -> tuple[PersonNet, dict[str, Any]]:
    """Read a detector that `tools/train_persons.py` wrote.

    Args:
        path: the .safetensors file; its .json card lies beside it.

    Returns:
        the net on the CPU, float32, in evaluation mode, and the card.

    Raises:
        AvadetError: if either file is missing, damaged, or not of a PersonNet.
    """
    card_path = Path(path).with_suffix(".json")
    card = read_card(card_path, REQUIRED)
    if card["architecture"] != "person_net":
        raise AvadetError(f"{card_path}: not the card of a person detector, but of {card['architecture']}")
    try:
        net = PersonNet(**{OLD_NAMES.get(name, name): value for name, value in card["arguments"].items()})
    except (AttributeError, TypeError, KeyError) as error:
        raise AvadetError(f"{card_path}: no arguments of a person detector: {card['arguments']}") from error
    fill(net, path)
    return net.eval(), card


def fill(net: PersonNet, path: str | Path) -> None:
    """Copy the tensors of a .safetensors file into a net.

    Raises:
        AvadetError: if the file is missing, damaged, or a tensor of either side has no partner.
    """
    load_tensors(net, read_safetensors(path), str(path))
