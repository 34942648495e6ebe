"""Options of heads as configs and cards write them, read into the dataclasses of their parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_args, get_type_hints

from avadet.errors import AvadetError, unknown_name

FLAT = {
    **{name: ("crop", name) for name in ("resolution", "aligned", "sampling_ratio", "stretch", "pool")},
    "map_width": ("reduce",),
    "context_cells": ("context", "cells"),
    "acrn": ("relation", "acrn"),
    "acar": ("relation", "acar"),
    "own_width": ("relation", "actor_width"),
    **{name: ("classifier", name) for name in ("norm", "hidden", "dropout")},
}
"""Short names of options, which most configs and cards use, and where they belong."""

Options = TypeVar("Options")


def read_options(kind: type[Options], given: Mapping[str, Any]) -> Options:
    """The options of a kind of head.

    Args:
        kind: its dataclass; a field of another dataclass is a part with options of its own.
        given: by name; those of a part as a mapping (`{"crop": {"aligned": True}}`) or by their short names
            (`{"aligned": True}`), of which the former counts. `context` may be True or False.

    Raises:
        AvadetError: for an unknown name, or a part that is no mapping.
    """
    return _read(kind, _by_part(given), "head")


def _by_part(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options without short names."""
    values = {name: value for name, value in given.items() if name not in FLAT}
    if isinstance(values.get("context"), bool):
        values["context"] = {} if values["context"] else None
    for name, (part, *option) in FLAT.items():
        if name not in given or (part == "context" and values.get(part) is None):
            continue
        if not option:
            values.setdefault(part, given[name])
        elif isinstance(values.setdefault(part, {}), Mapping):
            values[part] = {option[0]: given[name], **values[part]}
    return values


def _read(kind: type[Options], given: Mapping[str, Any], where: str) -> Options:
    """A dataclass of options, its parts read likewise."""
    hints = {field.name: get_type_hints(kind)[field.name] for field in fields(kind)}  # type: ignore[arg-type]
    for name in given.keys() - hints.keys():
        short = [short for short, (part, *_) in FLAT.items() if where == "head" and part in hints]
        raise unknown_name(f"option of {where}", name, [*hints, *short])
    return kind(**{name: _value(hints[name], value, f"{where}.{name}") for name, value in given.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    """A value as its field wants it: a mapping becomes the dataclass of a part."""
    part = next((one for one in (hint, *get_args(hint)) if is_dataclass(one)), None)
    if part is None or (value is None and type(None) in get_args(hint)):
        return value
    if not isinstance(value, Mapping):
        raise AvadetError(f"{where} must be a mapping of its options, got {value!r}")
    return _read(part, value, where)  # type: ignore[arg-type]
