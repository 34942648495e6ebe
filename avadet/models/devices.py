"""Where models run."""

from __future__ import annotations

import torch
from torch import nn

from avadet.errors import AvadetError


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto" = CUDA where there is one, else the CPU.

    Args:
        name: "auto", "cpu", "cuda", "cuda:1", ...

    Raises:
        AvadetError: if torch does not know the name, or this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise AvadetError(f"device must be auto, cpu or cuda[:N], got '{name}'") from error
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise AvadetError(f"device '{name}' was asked for, but it is not available here; use cpu") from error
    return device


def device_of(model: nn.Module) -> torch.device:
    """Where a model's weights lie; graphs, which have none, take what is on the CPU."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
