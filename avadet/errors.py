"""The one exception that users are meant to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

LISTED = 20
"""How many known names an error lists at most."""


class AvadetError(Exception):
    """Something the user can act on: a missing file, a bad row, an unknown name.

    The message is one line (or one line a problem) that says what went wrong, what was expected, what was
    found, where, and the way out. The command line prints it alone and exits with code 1; everything else
    that is raised is a bug and keeps its traceback.
    """


def first_names(names: Sequence[object], count: int = 3) -> str:
    """The first names of a list, ending in "..." if there are more."""
    return ", ".join([*map(str, names[:count]), *(["..."] if len(names) > count else [])])


def unknown_name(kind: str, name: str, known: Iterable[str]) -> AvadetError:
    """Build the error for a name that is not in a closed list, with the nearest known names.

    Args:
        kind: what the name stands for, e.g. "model".
        name: what the user wrote.
        known: every accepted name.
    """
    choices = sorted(known)
    close = difflib.get_close_matches(name, choices, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    rest = f" and {len(choices) - LISTED} more" if len(choices) > LISTED else ""
    return AvadetError(f"unknown {kind} '{name}'; {hint}known: {', '.join(choices[:LISTED])}{rest}")
