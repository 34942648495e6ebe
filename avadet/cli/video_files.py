"""From the words of a command line to the video files that they name."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from avadet.cli.videos import count
from avadet.errors import AvadetError
from avadet.files import VIDEO_SUFFIXES
from avadet.urls import scheme_of, shown_url

SHOWN = 3


def expand(words: Sequence[str], passed_over: list[str] | None = None) -> list[Path]:
    """The video files that arguments name.

    A folder stands for the files in it, not in folders inside it, whose names end as those of videos do. A pattern of
    `*`, `?`, `[...]` and `**` stands for every file that it matches, as it does where the shell expands it. Hidden
    files count only where they are named. What is named twice counts once. A link to nowhere counts as a video: it
    fails where it is read.

    Args:
        words: paths and patterns. A path that exists is no pattern; one that does not exist is given back.
        passed_over: is told in a line each what was passed over, and why.

    Returns:
        paths; those of one folder or pattern in order of name.

    Raises:
        AvadetError: if a folder or a pattern stands for nothing, an address cannot be read, or a camera or stream is
            among several words.
    """
    said = [] if passed_over is None else passed_over
    found: dict[Path, Path] = {}
    for word in words:
        for path in _expanded(word, said):
            twin = found.setdefault(path.resolve(), path)
            if twin is not path and (path.is_symlink() or twin.is_symlink()):
                said.append(f"{path} passed over: it is the same file as {twin}")
    return list(found.values())


def _expanded(word: str, passed_over: list[str]) -> list[Path]:
    """The video files that one argument names."""
    path = _local(word)
    if path.is_dir():
        return _inside(path, passed_over)
    if path.exists() or not glob.has_magic(word):
        return [path]
    matches = [Path(one) for one in glob.glob(word, recursive=True)]  # noqa: PTH207 - Path.glob takes no absolute one
    files = sorted(one for one in matches if _is_file(one))
    if not files:
        raise AvadetError(f"no file matches {word}")
    return files


def _local(word: str) -> Path:
    """The path that a word is, or that it names as an address of this machine.

    Raises:
        AvadetError: if it is an address elsewhere.
    """
    from avadet.video.sources import SCHEMES, is_live, shown_name

    if is_live(word):
        raise AvadetError(f"{shown_name(word)} is live and runs alone, not together with other sources")
    scheme = scheme_of(word)
    if scheme == "file":
        return Path(unquote(word.partition("://")[2].removeprefix("localhost")))
    if scheme:
        raise AvadetError(
            f"{shown_url(word)} cannot be read: addresses may begin with {', '.join(f'{one}://' for one in SCHEMES)}; "
            "download the file and give its path"
        )
    return Path(word)


def _inside(folder: Path, passed_over: list[str]) -> list[Path]:
    """The videos directly in a folder."""
    seen = sorted(one for one in folder.iterdir() if not one.name.startswith(".") and _is_file(one))
    files = [one for one in seen if one.suffix.lower() in VIDEO_SUFFIXES]
    if not files:
        raise AvadetError(f"{folder} is a folder without a video ({', '.join(VIDEO_SUFFIXES)}) directly in it")
    others = [one.name for one in seen if one not in files]
    if others:
        names = ", ".join(others[:SHOWN]) + (", ..." if len(others) > SHOWN else "")
        passed_over.append(f"{count(len(others), 'file')} of {folder} passed over, by the name no video: {names}")
    return files


def _is_file(path: Path) -> bool:
    """Whether a path is a file, or a link that leads nowhere."""
    return path.is_file() or (path.is_symlink() and not path.exists())
