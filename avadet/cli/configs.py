"""`avadet configs`: the recipes of training that come with the package, and where each value of one comes from."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import yaml

from avadet.cli.arguments import add_overrides
from avadet.errors import AvadetError, unknown_name

if TYPE_CHECKING:
    from avadet.config import Config
    from avadet.recipes import Place, Recipe

_TEXTS = ("published", "recipe", "protocol", "deviations", "note")
_WIDEST = 56
"""Columns that the values of `configs show` may take before what stands behind them moves to the right."""

_LONGEST = 44
"""Characters of a column of the list."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("action", nargs="?", metavar="show", help="show one in full: avadet configs show NAME")
    parser.add_argument("name", nargs="?", metavar="NAME|FILE", help="a recipe of the list, or a YAML file")
    add_overrides(parser, "with show: values to change, as for avadet train")
    parser.add_argument("--family", metavar="FAMILY", help="only recipes of this architecture (see avadet models)")
    parser.add_argument("--data", metavar="NAME", help="only recipes of this folder: ava, jhmdb21, ucf24, custom ...")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def run(args: argparse.Namespace) -> int:
    """Print the list, or one recipe.

    Raises:
        AvadetError: for an unknown name, or words that make no sense together.
    """
    if args.action is None:
        if args.overrides:
            raise AvadetError(f"{args.overrides[0]} changes one recipe: avadet configs show NAME {args.overrides[0]}")
        facts, lines = _list(args.family, args.data)
    elif args.action != "show" or args.name is None:
        wanted = args.name or (args.action if args.action != "show" else "NAME")
        raise AvadetError(f"one recipe is shown by: avadet configs show {wanted}")
    else:
        facts, lines = _show(args.name, args.overrides)
    print(json.dumps(facts, indent=1) if args.json else "\n".join(lines))
    return 0


def _list(family: str | None, data: str | None) -> tuple[object, list[str]]:
    """The recipes, grouped by data set: as JSON has them, and as lines of text."""
    from avadet.config import Config
    from avadet.recipes import recipe_names
    from avadet.schema import read_recipe_as

    names = recipe_names()
    folders = sorted({name.partition("/")[0] for name in names})
    if data is not None and data not in folders:
        raise unknown_name("data set", data, folders)
    resolved = {name: read_recipe_as(Config, name) for name in names if data in (None, name.partition("/")[0])}
    families = sorted({config.model.family for config, _ in resolved.values()})
    if family is not None and family not in families:
        raise unknown_name("family", family, families)
    facts = [_describe(name, *one) for name, one in resolved.items() if family in (None, one[0].model.family)]
    widths = [max(len(_short(fact[column])) for fact in facts) for column in ("name", "family", "clip", "init")]
    lines: list[str] = []
    for title in dict.fromkeys(fact["data"] for fact in facts):
        group = [fact for fact in facts if fact["data"] == title]
        lines += ["", f"{title}: {len(group)}"] if lines else [f"{title}: {len(group)}"]
        for fact in sorted(group, key=lambda one: (one["family"], one["name"])):
            columns = zip((fact["name"], fact["family"], fact["clip"], _short(fact["init"])), widths)
            lines.append(f"  {'  '.join(f'{text:<{width}}' for text, width in columns)}  {fact['model']}".rstrip())
    lines += ["", "columns: name, architecture, clip, initial weights, what it is", "train one: avadet train NAME"]
    lines.append("with all its values, and where each comes from: avadet configs show NAME")
    return facts, lines


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _describe(name: str, config: Config, recipe: Recipe) -> dict[str, str]:
    clip = config.clip
    return {
        "name": name,
        "data": recipe.about.get("data", ""),
        "family": config.model.family,
        "clip": f"{clip.num_frames}x{clip.stride} at {clip.short_side} px",
        "init": "random" if config.model.init is None else config.model.init.name,
        "model": recipe.about.get("model", ""),
    }


def _show(name: str, overrides: list[str]) -> tuple[object, list[str]]:
    """One recipe with its values and their origins; the lines are YAML that `avadet train` reads."""
    from avadet.config import Config
    from avadet.schema import read_recipe_as

    config, recipe = read_recipe_as(Config, name, overrides)
    values = config.model_dump(mode="json")
    rows = list(_rows(values, recipe.origins))
    width = min(_WIDEST, max(len(text) for text, _ in rows))
    lines = [*_header(name, config, recipe)]
    lines += [f"{text:<{width}}  # {where}" if where else text for text, where in rows]
    origins = {path: _origin(path, recipe.origins) for path in _leaves(values)}
    return {"name": name, "about": recipe.about, "values": values, "origins": origins}, lines


def _header(name: str, config: Config, recipe: Recipe) -> Iterator[str]:
    """What is known of a recipe, as comments."""
    for text in _texts(name, config, recipe):
        is_command = text.startswith("Launch: ")
        lines = [text] if is_command else textwrap.wrap(text, 116, break_on_hyphens=False, break_long_words=False)
        yield from (f"# {line}" if number == 0 else f"#   {line}" for number, line in enumerate(lines))


def _texts(name: str, config: Config, recipe: Recipe) -> Iterator[str]:
    about, clip = recipe.about, config.clip
    frames = "the keyframe alone" if clip.num_frames == 1 else f"{clip.num_frames} frames every {clip.stride}"
    title = ", ".join(text for text in (about.get("model"), frames) if text)
    yield f"{' on '.join(text for text in (title, about.get('data')) if text)}."
    for key in _TEXTS:
        if about.get(key):
            yield f"{key.capitalize()}: {about[key]}."
    if about.get("init") and config.model.init is not None:
        yield f"Init: {config.model.init}, {about['init']}. Weights of the zoo are downloaded when first needed."
    elif about.get("init"):
        yield f"Init: {about['init']}."
    if about.get("launch"):
        yield f"Launch: {about['launch'].replace('NAME', name)}"


def _rows(values: Mapping[str, Any], origins: Mapping[str, Place | None], above: str = "") -> Iterator[tuple[str, str]]:
    """Lines of YAML, each with the origin of its value, "" = it begins a section."""
    indent = "  " * above.count(".")
    for key, value in values.items():
        path = f"{above}{key}"
        if isinstance(value, dict) and value:
            yield f"{indent}{key}:", ""
            yield from _rows(value, origins, f"{path}.")
        else:
            text = yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n").removesuffix("\n...")
            yield f"{indent}{key}: {text}", _origin(path, origins)


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}"


def _origin(path: str, origins: Mapping[str, Place | None]) -> str:
    """Where the value of a path, or the mapping that it was given in, comes from."""
    while path not in origins and "." in path:
        path = path.rpartition(".")[0]
    if path not in origins:
        return "default"
    return str(origins[path] or "override")
