"""Progress bars: shown on a terminal only, and never once the program was told to be quiet."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

_quiet = False


def set_quiet(quiet: bool) -> None:
    """Turn all progress bars of this process off, or back on where they belong."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    """Whether the program was told to be quiet."""
    return _quiet


def is_shown() -> bool:
    """Whether progress bars are shown: stderr is a terminal, and the program was not told to be quiet."""
    return not _quiet and sys.stderr.isatty()


def progress_bar(iterable: Iterable[Any] | None = None, **options: Any) -> tqdm[Any]:
    """A tqdm bar on stderr that is silent unless `is_shown`.

    Args:
        iterable: what to go through; None where `update` counts.
        options: further arguments of tqdm.
    """
    from tqdm import tqdm

    return tqdm(iterable, disable=not is_shown(), **options)
