"""From the name of an architecture to a model with random weights."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from avadet.errors import AvadetError, unknown_name
from avadet.models.detectors.two_stage import ActionDetector, ActionModel
from avadet.models.heads.build import build_head
from avadet.models.sizes import SIZES
from avadet.types import Pixels

RENAMED: dict[str, dict[str, str]] = {
    "tsn_r50": {"segments": "frames"},
    "tiny_actions": {name: f"head.{name}" for name in ("resolution", "pool", "context", "dropout")},
}
"""Architecture -> arguments as older cards and configs call them -> what they are called now."""

RENAMED_EVERYWHERE = {"channels": "embed_dim", "inner": "width_per_group", "fine": "output_stride"}
"""The same, of every architecture; `fine` was true for an output stride of 16."""


def build(
    architecture: str,
    num_classes: int,
    /,
    *,
    pixels: Pixels | None = None,
    head: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> ActionModel:
    """Build a model with random weights.

    Args:
        architecture: a key of `SIZES`.
        num_classes: K, logits a box.
        pixels: how clips are normalised; None = as the architecture's row or its backbone says.
        head: options of `build_head`, over those of the row.
        arguments: of the backbone, or of the detector of several parts, over those of the row.

    Raises:
        AvadetError: for an unknown architecture, argument or option.
    """
    if architecture not in SIZES:
        raise unknown_name("architecture", architecture, SIZES)
    size = SIZES[architecture]
    make = getattr(importlib.import_module(f"avadet.models.{size.module}"), size.name)
    try:
        given, options = _renamed(architecture, arguments, head)
        options = {**size.head, **options}
        given = {**size.arguments, **given}
        if isinstance(make, type) and issubclass(make, ActionModel):
            return make(num_classes, pixels=pixels or size.pixels, **given, **({"head": options} if options else {}))
        backbone = make(**given)
    except TypeError as error:
        shown = {**arguments, **({} if head is None else {"head": head})}
        raise AvadetError(f"architecture {architecture} cannot be built with {shown}: {error}") from error
    return ActionDetector(backbone, build_head(backbone.out_channels, num_classes, options), pixels or size.pixels)


def _renamed(
    architecture: str, arguments: Mapping[str, Any], head: Mapping[str, Any] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments and options of the head under the names that they have now."""
    renamed = {**RENAMED_EVERYWHERE, **RENAMED.get(architecture, {})}
    given: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for name, value in arguments.items():
        where, _, option = renamed.get(name, name).partition(".")
        if option:
            options[option] = value
        else:
            given[where] = _renamed_rows(value) if name != "fine" else (16 if value else 32)
    return given, {**options, **(head or {})}


def _renamed_rows(value: Any) -> Any:
    """An argument that lists stages or views, one mapping each, with the names that their keys have now."""
    if not isinstance(value, list | tuple) or not all(isinstance(row, Mapping) for row in value):
        return value
    return [{RENAMED_EVERYWHERE.get(key, key): entry for key, entry in row.items()} for row in value]
