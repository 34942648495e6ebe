"""Typed YAML: a schema of sections, read from a file, changed by `section.key=value` on the command line.

A file is checked whole before anything else happens: every problem is reported at once, each with its path.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from avadet.errors import AvadetError


class Section(BaseModel):
    """A part of the config: unknown keys, infinities and later changes are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


AnySection = TypeVar("AnySection", bound=Section)


def read_schema(path: str | Path, overrides: Sequence[str], schema: type[AnySection]) -> AnySection:
    """Read a YAML config, apply overrides, check everything.

    Args:
        path: the YAML file: a mapping of the keys of `schema`.
        overrides: `section.key=value`, the value read as YAML; later ones win.
        schema: what the config must be.

    Raises:
        AvadetError: if the file is missing or not a mapping, or with one line for every problem in it.
    """
    values = _read_mapping(Path(path))
    for override in overrides:
        _apply_override(values, override)
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise AvadetError("\n".join(f"{path}: {_describe(problem, schema)}" for problem in error.errors())) from error


def dump_config(config: Section) -> str:
    """The config as YAML, complete, in the order of the schema; `read_schema` reads it back equal."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=120)


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AvadetError(f"cannot read config {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise AvadetError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise AvadetError(f"{path} must hold a mapping of sections, got {type(values).__name__}")
    return values


def _apply_override(values: dict[str, Any], override: str) -> None:
    """Set one `section.key=value` in place; makes sections that the file leaves out or has as null."""
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise AvadetError(f"an override reads section.key=value, got '{override}'")
    *sections, key = path.split(".")
    for section in sections:
        if values.get(section) is None:
            values[section] = {}
        values = values[section]
        if not isinstance(values, dict):
            raise AvadetError(f"override '{override}': '{section}' is a value, not a section")
    try:
        values[key] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise AvadetError(f"override '{override}': '{text}' is not YAML") from error


def _describe(problem: Any, schema: type[Section]) -> str:
    """One pydantic problem as `optim.lrr: unknown key; did you mean 'lr'?`."""
    location = problem["loc"]
    path = ".".join(str(part) for part in location)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(location[:-1], schema)
        close = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        return f"{path}: unknown key; " + (f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}")
    if problem["type"] == "missing":
        return f"{path}: missing; it has no default"
    message = problem["msg"].removeprefix("Value error, ")
    if not path:
        return str(message)
    if isinstance(problem["input"], dict):
        return f"{path}: {message}"
    return f"{path}: {message[:1].lower()}{message[1:]}, got {problem['input']!r}"


def _known_keys(location: tuple[int | str, ...], schema: type[Section]) -> list[str]:
    """Keys of the section at `location`; empty if there is none."""
    section: type[BaseModel] = schema
    names = iter(location)
    for name in names:
        field = section.model_fields.get(str(name))
        if field is None:
            return []
        plain = field.annotation if isinstance(field.annotation, type) else None
        if get_origin(field.annotation) is dict:
            next(names, None)  # the name that the user gave the section
        kinds = [plain, *get_args(field.annotation)]
        section = next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
    return list(section.model_fields)
