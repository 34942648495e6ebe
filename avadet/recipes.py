"""Recipes: config files put together from bases, found by name, with the origin of every value.

Beside the keys of its schema a config file may have

- `base`: a name or a list of names of other configs, merged in order before the file's own values;
- `table`: rows of `NAME: {...}`; each is a config of its own, FOLDER/NAME, with the file's other values below it;
- `about`: texts on the recipe, merged likewise, which `avadet configs` shows.

Mappings are merged key by key; everything else replaces what a base has, and so does an empty mapping. In a text
`{name}` stands for the name of the row, or of the file where there is no table, and `{recipe}` for that of the config
that was asked for. Names are relative to the file's folder or to the packaged folder `configs/`; no base lies outside
of the two.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from avadet.errors import AvadetError, first_names
from avadet.files import resource_folder

_OWN_KEYS = ("base", "table", "about")
_NO_RECIPES = ("persons",)
"""Folders of `configs/` that hold configs of another schema."""


class Place(NamedTuple):
    """Where a config stands.

    Attributes:
        file: its file.
        row: its row, where the file is a table; "" = the file itself.
        root: the folder that its bases may lie in.
    """

    file: Path
    row: str
    root: Path

    @property
    def name(self) -> str:
        """What `{name}` stands for."""
        return self.row or self.file.stem

    def __str__(self) -> str:
        """As messages have it: packaged files by their path in `configs/`."""
        packaged = self.file.is_relative_to(configs_folder())
        file = Path("configs") / self.file.relative_to(configs_folder()) if packaged else self.file
        return f"{file} ({self.row})" if self.row else str(file)


@dataclass(frozen=True)
class Recipe:
    """A config with its bases merged; nothing is checked against a schema yet.

    Attributes:
        place: where it stands.
        values: what the config says.
        origins: where each value comes from, by its path, e.g. "optim.lr"; a value is what is no mapping with keys.
            None = an override.
        about: texts on it.
        problems: bases that cannot be read, one line each.
    """

    place: Place
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Place | None] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add_problem(self, place: Place, text: str) -> None:
        """Note what is wrong at a place, which is named where it is not the recipe's own."""
        self.problems.append(text if place == self.place else f"{place}: {text}")


def configs_folder() -> Path:
    """The packaged configs."""
    return resource_folder("configs")


def recipe_names() -> list[str]:
    """Every packaged recipe by its name, e.g. "ava/x3d_m", sorted."""
    folders = [one for one in configs_folder().iterdir() if one.is_dir() and one.name not in _NO_RECIPES]
    return sorted(
        f"{folder.name}/{name}" for folder in folders if not folder.name.startswith("_") for name in _names_in(folder)
    )


def find_recipe(name_or_path: str | Path) -> Place:
    """Where a config stands.

    Args:
        name_or_path: a file, a name of `recipe_names()`, or a row of a table in a user's folder as FOLDER/ROW. Packaged
            recipes are also found as configs/NAME.yaml.

    Raises:
        AvadetError: if there is none of that name, with the nearest names.
    """
    path, root = Path(name_or_path), configs_folder()
    if path.is_file():
        packaged = path.resolve().is_relative_to(root)
        return Place(path.resolve(), "", root) if packaged else Place(path, "", path.parent)
    name = (path.relative_to(root) if path.is_relative_to(root) else path).with_suffix("").as_posix()
    name = name.removeprefix("configs/")
    if name in recipe_names():
        found = _find(root / name, root)
    else:
        found = _find(path, path.parent) if path.parent.is_dir() and not path.suffix else None
    if found is None:
        raise AvadetError(f"no config '{name_or_path}': neither a file nor a name of `avadet configs`{_nearest(name)}")
    return found


def read_recipe(name_or_path: str | Path) -> Recipe:
    """Read a config and merge its bases.

    Raises:
        AvadetError: if there is no such config, or it is no YAML mapping. What is wrong with its bases is reported in
            `problems`, so that it can be reported with everything else.
    """
    place = find_recipe(name_or_path)
    _read(place.file)
    recipe = Recipe(place)
    try:
        _add(recipe, place, ())
    except RecursionError as error:  # YAML's anchors can put a mapping into itself
        raise AvadetError(f"{place}: a value holds itself; write it out") from error
    return replace(recipe, values=_filled(recipe.values, "{recipe}", place.name))


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; a key that appears twice is an error.

    Raises:
        AvadetError: if it cannot be read or is something else.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise AvadetError(f"cannot read config {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise AvadetError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise AvadetError(f"{path} must hold a mapping of sections, got {type(values).__name__}")
    return values


def merge(into: dict[str, Any], values: dict[str, Any], origins: dict[str, Any], origin: Any, above: str = "") -> None:
    """Merge `values` into a mapping in place, and note for each of them where it comes from; see the module."""
    for key, value in values.items():
        path = f"{above}{key}"
        if not isinstance(value, dict) or not value:
            _forget(origins, path)
            into[key], origins[path] = value, origin
            continue
        if not isinstance(into.get(key), dict):
            into[key] = {}
        origins.pop(path, None)
        merge(into[key], value, origins, origin, f"{path}.")


class _Loader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):  # type: ignore[misc]
    """A safe loader that refuses a key that appears twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.YAMLError(f"line {key.start_mark.line + 1}: '{key.value}' appears twice")
                seen.add(key.value)
        result: dict[Any, Any] = super().construct_mapping(node, deep)
        return result


def _add(recipe: Recipe, place: Place, chain: tuple[Place, ...]) -> None:
    """Merge a config and what it is based on into a recipe."""
    if place in chain:
        recipe.add_problem(place, f"is a base of itself: {' -> '.join(str(one) for one in (*chain, place))}")
        return
    try:
        content = _read(place.file)
    except AvadetError as error:
        recipe.problems.append(str(error))
        return
    table = content.get("table", {})
    if not isinstance(table, dict):
        recipe.add_problem(place, f"table must hold rows of NAME: values, got {type(table).__name__}")
        return
    if table and not place.row:
        recipe.add_problem(place, f"is a table of configs; name one of them: {first_names(sorted(table), 5)}")
        return
    for level in [content, table[place.row] or {}] if place.row else [content]:
        if not isinstance(level, dict):
            recipe.add_problem(place, f"must be a mapping, got {type(level).__name__}")
            continue
        level = _filled({key: value for key, value in level.items() if key != "table"}, "{name}", place.name)
        for base in _bases(recipe, level.get("base"), place):
            _add(recipe, base, (*chain, place))
        merge(recipe.values, {key: level[key] for key in level if key not in _OWN_KEYS}, recipe.origins, place)
        if isinstance(level.get("about"), dict):
            merge(recipe.about, level["about"], {}, None)


def _bases(recipe: Recipe, named: Any, place: Place) -> Iterator[Place]:
    """The places of a config's bases; those that are not there become problems."""
    names = [named] if isinstance(named, str) else named if named is not None else []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        recipe.add_problem(place, f"base must be a name or a list of names, got {named!r}")
        return
    for name in names:
        found, is_outside = None, False
        for folder, root in ((place.file.parent, place.root), (configs_folder(), configs_folder())):
            here = _find(folder / name, root) if _is_inside(folder / name, root) else None
            is_outside |= not _is_inside(folder / name if here is None else here.file, root)
            found = found or (here if here is not None and _is_inside(here.file, root) else None)
        if found is not None:
            yield found
        elif is_outside:
            recipe.add_problem(place, f"base '{name}' must lie in {place.root} or be the name of a packaged one")
        else:
            recipe.add_problem(place, f"there is no base '{name}'{_nearest(name)}")


def _is_inside(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


def _find(path: Path, root: Path) -> Place | None:
    """A config by its path with or without suffix, or a row of a table beside it."""
    path = Path(os.path.normpath(path))
    for file in (path, path.with_name(f"{path.name}.yaml")):
        if file.is_file():
            return Place(file, "", root)
    tables = [file for file in sorted(path.parent.glob("*.yaml")) if path.name in _rows(file)]
    return Place(tables[0], path.name, root) if tables else None


def _read(file: Path) -> dict[str, Any]:
    return _read_packaged(file) if file.is_relative_to(configs_folder()) else read_mapping(file)


@cache
def _read_packaged(file: Path) -> dict[str, Any]:
    return read_mapping(file)


def _rows(file: Path) -> list[str]:
    """Names of the rows of a file; none where it is no table, or no config."""
    try:
        if not re.search(r"^table:", file.read_text(encoding="utf-8"), re.MULTILINE):
            return []
        table = _read(file).get("table")
    except (AvadetError, OSError, UnicodeDecodeError):
        return []
    return [str(name) for name in table] if isinstance(table, dict) else []


def _names_in(folder: Path) -> Iterator[str]:
    for file in folder.glob("*.yaml"):
        yield from _rows(file) or [file.stem]


def _filled(value: Any, placeholder: str, name: str) -> Any:
    """The same with a placeholder in its texts filled in."""
    if isinstance(value, dict):
        return {key: _filled(one, placeholder, name) for key, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, placeholder, name) for one in value]
    return value.replace(placeholder, name) if isinstance(value, str) else value


def _forget(origins: dict[str, Any], path: str) -> None:
    """Drop the origins of a value and of all below it."""
    for key in [key for key in origins if key == path or key.startswith(f"{path}.")]:
        del origins[key]


def _nearest(name: str) -> str:
    """A hint at packaged configs of a similar name; those of the same last part come first."""
    names = recipe_names()
    if name.startswith("_"):
        folders = [one for one in configs_folder().glob("_*/*") if one.is_dir()]
        names = sorted(f"{one.relative_to(configs_folder())}/{row}" for one in folders for row in _names_in(one))
    last = name.rpartition("/")[2]
    close = [one for one in names if one.rpartition("/")[2] == last]
    close += [one for one in difflib.get_close_matches(name, names, n=3, cutoff=0.6) if one not in close]
    lasts = difflib.get_close_matches(last, sorted({one.rpartition("/")[2] for one in names}), n=2, cutoff=0.7)
    close = close or [one for one in names if one.rpartition("/")[2] in lasts]
    return f"; did you mean {' or '.join(close[:4])}?" if close else ""
