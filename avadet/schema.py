"""Typed YAML: a schema of sections, read from a file, changed by `section.key=value` on the command line.

A file is checked whole before anything else happens: every problem is reported at once, each with its path.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, model_validator

from avadet.errors import AvadetError
from avadet.recipes import Recipe, merge, read_mapping, read_recipe


class Section(BaseModel):
    """A part of the config: unknown keys, infinities and later changes are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def problems(self) -> Iterable[str]:
        """What is wrong with values that are each right by themselves, one line each, with the keys in full.

        A line names every key that it depends on: it is left out where one of them is wrong by itself.
        """
        return ()

    @model_validator(mode="after")
    def _check_values_agree(self, info: ValidationInfo) -> Self:
        found = list(self.problems())
        if isinstance(info.context, list):  # `check_values` collects those of all sections
            info.context.extend(found)
        elif found:
            raise ValueError("\n".join(found))
        return self


AnySection = TypeVar("AnySection", bound=Section)


def read_schema(path: str | Path, overrides: Sequence[str], schema: type[AnySection]) -> AnySection:
    """Read a YAML file, apply overrides, check everything.

    Args:
        path: the YAML file: a mapping of the keys of `schema`.
        overrides: `section.key=value`, the value read as YAML; later ones win.
        schema: what the file must be.

    Raises:
        AvadetError: if the file is missing or not a mapping, or with one line for every problem in it.
    """
    values = read_mapping(Path(path))
    problems = apply_overrides(values, overrides, {}, None)
    return check_values(values, schema, str(path), problems)


def read_recipe_as(
    schema: type[AnySection], name_or_path: str | Path, overrides: Sequence[str] = ()
) -> tuple[AnySection, Recipe]:
    """Read a config with its bases, apply overrides, check everything.

    Args:
        schema: what it must be.
        name_or_path: a file, or a packaged recipe by name, see `avadet.recipes`.
        overrides: `section.key=value`, the value read as YAML; later ones win.

    Returns:
        the config, and the recipe with the origin of each of its values: None for overrides; defaults have none.

    Raises:
        AvadetError: if there is no such config, or with one line for every problem in it, its bases and the overrides.
    """
    recipe = read_recipe(name_or_path)
    mistakes = apply_overrides(recipe.values, overrides, recipe.origins, None)

    def origin(path: str) -> str:
        place = recipe.origins.get(path)
        return "" if place is None or place == recipe.place else f" (in {place})"

    problems, partial = [*recipe.problems, *mistakes], bool(recipe.problems)
    return check_values(recipe.values, schema, str(name_or_path), problems, partial=partial, origin=origin), recipe


def check_values(
    values: dict[str, Any],
    schema: type[AnySection],
    title: str,
    problems: Sequence[str] = (),
    *,
    partial: bool = False,
    origin: Callable[[str], str] = lambda path: "",
) -> AnySection:
    """Turn plain values into a section.

    Args:
        values: what was read; wrong values are removed from it, so that the others are checked nevertheless.
        schema: what they must be.
        title: what every line of a report begins with.
        problems: what is known to be wrong already.
        partial: whether values are missing because a base could not be read; nothing is said of what follows from that.
        origin: what to add to a line about the value of a path, e.g. the file that it comes from.

    Raises:
        AvadetError: with one line for every problem.
    """
    lines, removed = list(problems), [""]
    wrong: list[str] = []
    while removed:
        conflicts: list[str] = []
        try:
            section, errors = schema.model_validate(values, context=conflicts), []
        except ValidationError as error:
            errors = [one for one in error.errors() if not (partial and one["type"] == "missing")]
        for one in errors:
            lines += [f"{line}{origin(_path(one))}" for line in _describe(one, schema).splitlines()]
        removed = [path for one in errors if one["type"] != "value_error" and (path := _remove(values, one["loc"]))]
        wrong += removed
    if not partial:
        lines += [line for line in conflicts if not _speaks_of(line, wrong)]
    if lines:
        raise AvadetError("\n".join(f"{title}: {line}" for line in dict.fromkeys(lines)))
    return section


def dump_config(config: Section) -> str:
    """The config as YAML, complete, in the order of the schema; `read_schema` reads it back equal."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=120)


def apply_overrides(
    values: dict[str, Any], overrides: Sequence[str], origins: dict[str, Any], origin: Any
) -> list[str]:
    """Set each `section.key=value` in place; makes sections that the file leaves out or has as null.

    Args:
        values: of the file.
        overrides: the value is read as YAML; later ones win.
        origins: where each value comes from, by its path; changed in place.
        origin: what is noted there.

    Returns:
        what is wrong with them, a line each.
    """
    problems = []
    for override in overrides:
        try:
            _apply_override(values, override, origins, origin)
        except AvadetError as error:
            problems.append(str(error))
    return problems


def _apply_override(values: dict[str, Any], override: str, origins: dict[str, Any], origin: Any) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise AvadetError(f"an override reads section.key=value, got '{override}'")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise AvadetError(f"override '{override}': '{text}' is not YAML") from error
    *sections, key = path.split(".")
    for section in sections:
        if values.get(section) is None:
            values[section] = {}
        values = values[section]
        if not isinstance(values, dict):
            raise AvadetError(f"override '{override}': '{section}' is a value, not a section")
    merge(values, {key: None}, origins, origin, "".join(f"{section}." for section in sections))
    values[key] = value


def _path(problem: Any) -> str:
    return ".".join(str(part) for part in problem["loc"])


def _remove(values: dict[str, Any], location: tuple[int | str, ...]) -> str:
    """Remove the value at a location, or the innermost one that holds it; returns its path, "" = there is none."""
    holder, inner, path = values, values, []
    for part in location:
        if not isinstance(inner, dict) or part not in inner:
            break
        holder, inner = inner, inner[part]
        path.append(part)
    if path:
        del holder[path[-1]]
    return ".".join(map(str, path))


def _speaks_of(line: str, paths: Iterable[str]) -> bool:
    """Whether a line names one of the paths, or a key below it."""
    keys = re.findall(r"\w+(?:\.\w+)*", line)
    return any(key == path or key.startswith(f"{path}.") for path in paths for key in keys)


def _describe(problem: Any, schema: type[Section]) -> str:
    """One pydantic problem as `optim.lrr: unknown key; did you mean 'lr'?`."""
    location, path = problem["loc"], _path(problem)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(location[:-1], schema)
        close = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        return f"{path}: unknown key; " + (f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}")
    if problem["type"] == "missing":
        return f"{path}: missing; it has no default"
    message = problem["msg"].removeprefix("Value error, ")
    if not path:
        return str(message)
    if problem["type"] == "value_error" and isinstance(problem["input"], dict):
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
