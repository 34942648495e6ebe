"""Models with random weights, by the name of their architecture."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from avadet.errors import AvadetError, unknown_name
from avadet.models.families import FAMILIES
from avadet.types import ClipSpec

if TYPE_CHECKING:
    from avadet.models.detectors.two_stage import ActionModel


def build(architecture: str, num_classes: int, spec: ClipSpec, arguments: Mapping[str, Any]) -> ActionModel:
    """Build a model with random weights.

    Args:
        architecture: a key of `BUILDERS`.
        num_classes: K.
        spec: its mean and std go into the model.
        arguments: what the builder takes besides.

    Raises:
        AvadetError: for an unknown architecture or argument.
    """
    if architecture not in BUILDERS:
        raise unknown_name("architecture", architecture, BUILDERS)
    try:
        return BUILDERS[architecture](num_classes, mean=spec.mean, std=spec.std, **arguments)
    except TypeError as error:
        raise AvadetError(f"architecture {architecture} cannot be built with {dict(arguments)}: {error}") from error


def _lazy(module: str, name: str) -> Callable[..., ActionModel]:
    """A builder of `avadet.models.MODULE`, which is imported when it is first called."""

    def build_now(num_classes: int, **arguments: Any) -> ActionModel:
        builder = getattr(importlib.import_module(f"avadet.models.{module}"), name)
        model: ActionModel = builder(num_classes, **arguments)
        return model

    return build_now


BUILDERS: dict[str, Callable[..., ActionModel]] = {
    name: _lazy(module, name) for module, sizes in FAMILIES.items() for name in sizes
}
"""Every architecture a card may name: builder(num_classes, mean=..., std=..., **arguments) -> ActionModel."""
