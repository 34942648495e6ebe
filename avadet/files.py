"""Writing files so that a reader never meets half of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avadet.errors import AvadetError

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".vob"),
    *(".wmv", ".flv", ".3gp", ".ogv", ".mxf"),
)
"""Endings of files that a folder of videos stands for, in lower case."""


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends well.

    The temporary name keeps the suffix (encoders choose their format by it). When the block raises, the
    temporary file is removed and whatever stood at `path` before stays untouched.

    Args:
        path: the final name. Its folder is made if missing.

    Yields:
        the path to write to, in the same folder as `path`.

    Raises:
        AvadetError: if the folder cannot be made or the file not be written there.
    """
    final = Path(path)
    partial = final.with_name(f".{final.stem}.partial-{os.getpid()}{final.suffix}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        mode = partial.stat().st_mode
    except OSError as error:
        raise AvadetError(f"cannot write {final}: {error.strerror}; choose a folder you may write to") from error
    try:
        yield partial
        partial.chmod(mode)  # some writers make a new file that only its owner may read
        partial.replace(final)
    finally:
        partial.unlink(missing_ok=True)


def resource_folder(name: str) -> Path:
    """Folder of files that ship with the package: "configs" or "data_specs".

    In a checkout they stand beside the package, in an installed wheel inside it.
    """
    package = Path(__file__).resolve().parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name
