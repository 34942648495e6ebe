"""The models avadet knows by name, their cards, and loading them, or any checkpoint, into something ready to run.

`entries` are data, `cards` say what a model is, `download` fetches files, `load` puts models together. Importing this
is cheap: torch comes in when a model is loaded, the entries are read when a name is first looked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from avadet.errors import AvadetError, unknown_name
from avadet.models.families import FAMILIES
from avadet.models.zoo.cards import clip_of, scores_of
from avadet.models.zoo.entries import Entry, card_of, entry_of, models
from avadet.models.zoo.load import (
    AVA_CLASSES,
    LoadedModel,
    card_of_path,
    default_backend,
    default_model,
    fetched,
    file_of,
    load,
    numbered_labels,
)
from avadet.types import ClipSpec

if TYPE_CHECKING:
    from avadet.models.detectors.two_stage import ActionModel

__all__ = [
    "AVA_CLASSES",
    "Entry",
    "LoadedModel",
    "card_of",
    "card_of_path",
    "clip_of",
    "default_backend",
    "default_model",
    "entry_of",
    "fetched",
    "file_of",
    "load",
    "models",
    "numbered_labels",
    "scores_of",
]


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
