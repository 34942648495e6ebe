"""The person detector's weights and their card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import load_file

from avadet.errors import AvadetError
from avadet.models.person_net import PersonNet
from avadet.models.weights import load_tensors

REQUIRED = ("architecture", "arguments", "threshold", "long_side")


def load_person_net(path: str | Path) -> tuple[PersonNet, dict[str, Any]]:
    """Read a detector that `avadet train-persons` wrote.

    Args:
        path: the .safetensors file; its .json card lies beside it.

    Returns:
        the net on the CPU, float32, in evaluation mode, and the card.

    Raises:
        AvadetError: if either file is missing, damaged, or not of a PersonNet.
    """
    card = _read_card(Path(path).with_suffix(".json"))
    net = PersonNet(**card["arguments"])
    fill(net, path)
    return net.eval(), card


def fill(net: PersonNet, path: str | Path) -> None:
    """Copy the tensors of a .safetensors file into a net.

    Raises:
        AvadetError: if the file is missing, damaged, or a tensor of either side has no partner.
    """
    try:
        tensors = load_file(path)
    except FileNotFoundError as error:
        raise AvadetError(f"{path}: no such file of weights") from error
    except (safetensors.SafetensorError, OSError) as error:
        raise AvadetError(f"{path}: not a readable safetensors file: {error}") from error
    floats = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    load_tensors(net, floats, str(path))


def _read_card(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise AvadetError(f"{path}: no such card; it must lie beside the .safetensors file") from error
    except (OSError, ValueError) as error:
        raise AvadetError(f"{path}: not a readable card: {error}") from error
    missing = [key for key in REQUIRED if not isinstance(card, dict) or key not in card]
    if missing or card["architecture"] != "person_net":
        raise AvadetError(f"{path}: not the card of a person detector; it needs {', '.join(REQUIRED)}")
    return card
