"""The configuration that a trainer stores with the weights, whatever it stores it as, in PySlowFast's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from avadet.errors import AvadetError
from avadet.models.checkpoints.formats.mmaction2 import mmaction_settings
from avadet.models.checkpoints.inert import InertObject, plain

SECTIONS = frozenset(("DATA", "MODEL", "DETECTION", "RESNET", "SLOWFAST", "MVIT", "NONLOCAL", "AVA"))
"""Sections of PySlowFast's configuration, by which one is known."""


def stored_settings(root: object, source: str) -> dict[str, Any]:
    """The settings in what a file holds, {} if there are none.

    PySlowFast stores YAML text under `cfg`, its users also the configuration itself or a dictionary; mmaction2 Python
    source under `meta`, as `cfg` (1.x) or `config` (0.x), or the configuration. Lightning has hyper-parameters.

    Args:
        root: as `torch_file.open_file` gives it.
        source: the file, for messages.

    Raises:
        AvadetError: if the text under `cfg` is no plain YAML.
    """
    if not isinstance(root, Mapping):
        return {}
    meta = root.get("meta")
    if isinstance(meta, Mapping):
        for key in ("cfg", "config"):
            text = _as_source(meta.get(key))
            if text:
                return mmaction_settings(text)
    for value in _configurations(root):
        settings = _from_yaml(value, source) if isinstance(value, str) else plain(value)
        if isinstance(settings, dict) and (isinstance(value, str) or not SECTIONS.isdisjoint(settings)):
            return settings
    return {}


def _configurations(root: Mapping[Any, Any]) -> Iterator[object]:
    """What may be a configuration of PySlowFast: under its name, or among the arguments of a trainer."""
    yield from (root[key] for key in ("cfg", "config") if (key == "cfg" and key in root) or _is_bag(root.get(key)))
    for key in ("hyper_parameters", "hparams", "args"):
        bag = root.get(key)
        inner = {**bag.items, **bag.attributes} if isinstance(bag, InertObject) else bag
        if isinstance(inner, Mapping):
            yield from (inner[name] for name in ("cfg", "config") if _is_bag(inner.get(name)))
            yield bag


def _is_bag(value: object) -> bool:
    """Whether something is a dictionary, or may stand for one."""
    return isinstance(value, Mapping | InertObject)


def _from_yaml(text: str, source: str) -> object:
    """A configuration written as YAML."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise AvadetError(f"{source}: the configuration stored under 'cfg' is no plain YAML") from error


def _as_source(value: object) -> str:
    """A configuration of mmaction2 as the source that it would be written as; "" if it is none."""
    if isinstance(value, str):
        return value
    if not _is_bag(value):
        return ""
    text = value.attributes.get("_text") if isinstance(value, InertObject) else None
    return text if isinstance(text, str) else "\n".join(_assignments(plain(value)))


def _assignments(value: object) -> Iterator[str]:
    """`name = value` for every name in a configuration, in its order."""
    for name, one in value.items() if isinstance(value, dict) else ():
        if isinstance(one, dict):
            yield from _assignments(one)
        elif isinstance(one, list) and any(isinstance(item, dict) for item in one):
            for item in one:
                yield from _assignments(item)
        else:
            yield f"{name} = {one!r}"
