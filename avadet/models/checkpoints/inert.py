"""What stands for an object of a class that a file names: its name and what the file says of it, and no class.

Trainers store more than tensors: the arguments of the command line, configurations, logs, paths, dates. Nothing of
that is needed but a configuration now and then, so such an object is kept as what the file holds of it, and its class
is never looked up, imported or called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np

MAX_DEPTH = 20
MAX_VALUES = 200_000
"""A configuration is smaller; what goes on without end (a list in itself) is cut here."""


@dataclass(frozen=True)
class InertClass:
    """The name of a class or function, "module.name", in its place."""

    kind: str


@dataclass(eq=False)
class InertObject:
    """An object that was not made.

    Attributes:
        kind: name of its class, or of the function that would have made it.
        arguments: what that was to be called with.
        state: what the object was to be filled with, None if nothing.
        items: what was put into it by key, if it is some kind of dictionary.
        entries: what was appended to it, if it is some kind of list or set.
    """

    kind: str
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    entries: list[Any] = field(default_factory=list)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def append(self, value: Any) -> None:
        """Take an item of a list."""
        self.entries.append(value)

    def extend(self, values: list[Any]) -> None:
        """Take items of a list."""
        self.entries.extend(values)

    def add(self, value: Any) -> None:
        """Take an item of a set."""
        self.entries.append(value)

    @property
    def attributes(self) -> Mapping[Any, Any]:
        """Its attributes by name, as far as the state is a dictionary of them, or one of that and of slots."""
        parts = self.state if isinstance(self.state, tuple) else (self.state,)
        merged: dict[Any, Any] = {}
        for part in parts:
            if isinstance(part, dict):
                merged |= part
        return merged

    def parts(self) -> list[Any]:
        """Everything the file holds of it."""
        return [self.arguments, self.state, self.items, self.entries]

    @property
    def content(self) -> Any:
        """What it stands for, as far as that is known."""
        attributes = self.attributes
        for name in ("_content", "_val", "_cfg_dict"):  # omegaconf's nodes and values, mmengine's Config
            if name in attributes:
                return attributes[name]
        if self.kind.startswith("pathlib."):
            return str(PurePosixPath(*(part for part in self.arguments if isinstance(part, str))))
        for held in (self.items, self.entries, attributes):
            if held:
                return held
        if isinstance(self.state, tuple) and self.state:  # a Config whose state is a tuple, what it holds first
            return self.state[0]
        return self.arguments[0] if len(self.arguments) == 1 else None


def plain(value: object) -> Any:
    """A configuration as dictionaries, lists, numbers and texts; what is none of these is left out, as None.

    Known are those of argparse, yacs and fvcore, mmengine, omegaconf, Lightning, dataclasses and any other dictionary
    or bag of attributes. Size and depth are bounded.
    """
    left = MAX_VALUES

    def within(value: object, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or depth > MAX_DEPTH:
            return None
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, Mapping):
            return {key: within(one, depth + 1) for key, one in value.items() if isinstance(key, str | int)}
        if isinstance(value, list | tuple | set | frozenset):
            return [within(one, depth + 1) for one in value]
        if isinstance(value, InertObject):
            return within(value.content, depth + 1)
        return value if isinstance(value, bool | int | float | str) else None

    return within(value, 0)


def is_whole_number(value: object) -> bool:
    """Whether something is an int that no machine number is too small for."""
    return type(value) is int and -(2**62) < value < 2**62
