"""What a layout is: how one project names its tensors."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

Tensors = dict[str, Tensor]
Rules = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Layout:
    """How one project names its tensors.

    Attributes:
        name: the project.
        marker: regular expression that matches some name of every checkpoint of the project.
        rules: (regular expression, replacement) pairs.
        no_weight: regular expression of names that hold no weights of the model; "" = all names do.
        background: first rows of the classifier that stand for no class.
        finish: what is left to do once all tensors have their names: some are divided otherwise here.
        new_axes: (regular expression of names here, axis) pairs: tensors that have one axis more here, of size one.
        classifies: what its models classify instead of people in boxes, e.g. "whole clips"; "" for detectors. Such
            weights only start a training.
    """

    name: str
    marker: str
    rules: Rules
    no_weight: str = ""
    background: int = 0
    finish: Callable[[Tensors], Tensors] | None = None
    new_axes: tuple[tuple[str, int], ...] = ()
    classifies: str = ""

    def rename(self, name: str) -> str:
        """The name a tensor has here."""
        for pattern, replacement in self.rules:
            name = re.sub(pattern, replacement, name)
        return name

    def reshape(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor of a name with the axes that it has here."""
        for pattern, axis in self.new_axes:
            if re.search(pattern, name):
                tensor = tensor.unsqueeze(axis)
        return tensor
