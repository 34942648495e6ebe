"""The images of a video that is kept as a folder of them: which file is which frame.

Frame n of a video is the image whose number is n above the first one's, at n / fps seconds; a number without an image
is a frame that is missing, and moves no other. Numbers count from 0 where there is an image 0, else from 1; a series
whose first number is above `MOST_LOST_FIRST` was cut out of a longer one and counts from its own first. Where numbers
go up by one constant step above 1, they count by that step. What was assumed is said in `ImageNames.notes`.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from avadet.errors import AvadetError
from avadet.files import IMAGE_SUFFIXES
from avadet.types import IntArray

MOST_LOST_FIRST = 10
"""Images that may be missing before the first one that is there."""

_SPARSEST = 10  # numbers for each image that is there; beyond, they are no frames of one video
_SHOWN = 3
_MOST_LISTED = 4096  # folders whose listing is kept; hardly more than their names where one number makes all others
_MOST_DIGITS = 15  # of a number; more are a clock in nanoseconds or a hash
_NUMBER = re.compile(r"\{(?:number)?(?::0?\d*d?)?\}|%0?\d*d")
_TOKENS = re.compile(rf"({_NUMBER.pattern}|\*|\?)")


Template = tuple[str, int, str, int, int]


@dataclass(frozen=True, eq=False)
class ImageNames:
    """The files of the frames of one video.

    Attributes:
        folder: that they lie in.
        runs: int64 (k, 2), k >= 1: first and one past the last of each run of frames that are there, counted from 0.
        names: of the frames that are there, or None where `template` makes them.
        template: prefix, digits, suffix, step and offset: frame i is called by the number i * step + offset.
        notes: what was assumed, and what is missing, one line each.
    """

    folder: Path
    runs: IntArray
    names: tuple[str, ...] | None
    template: Template = ("", 0, "", 1, 0)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Frames up to the last that is there, those that are missing between them included."""
        return int(self.runs[-1, 1])

    @property
    def indices(self) -> IntArray:
        """The frames that are there, int64 (n,), n >= 1, increasing."""
        return np.concatenate([np.arange(start, stop) for start, stop in self.runs.tolist()])

    def path(self, index: int) -> Path | None:
        """The file of a frame; None = it is missing."""
        run = int(np.searchsorted(self.runs[:, 0], index, side="right")) - 1
        if run < 0 or index >= self.runs[run, 1]:
            return None
        if self.names is None:
            return self.folder / self._name(index)
        earlier = int(np.diff(self.runs[:run]).sum())
        return self.folder / self.names[earlier + index - int(self.runs[run, 0])]

    def all_names(self) -> list[str]:
        """The names of the files that are there, in order."""
        return [self._name(index) for index in self.indices.tolist()] if self.names is None else list(self.names)

    def label(self, index: int) -> str:
        """A frame in a message: its file's name, or what is missing."""
        path = self.path(index)
        return path.name if path is not None else f"no image {self._name(index) or f'of frame {index}'}"

    def _name(self, index: int) -> str:
        prefix, width, suffix, step, offset = self.template
        return f"{prefix}{index * step + offset:0{width}d}{suffix}" if self.names is None else ""


@dataclass(frozen=True)
class ImageSequence:
    """A folder of images that is one video, as those who open it describe it.

    Attributes:
        folder: where they lie.
        fps: frames per second.
        pattern: which of its images, and which part of a name is the number: "img_{number:05d}.jpg", "img_%05d.jpg" or
            "left_*.jpg"; None = all of them.
        first_number: of the image at 0 s; None = by the rule of this module.
        listed: their names where a list has them, so that the folder is not read.
    """

    folder: Path
    fps: float
    pattern: str | None = None
    first_number: int | None = None
    listed: ImageNames | None = None

    def names(self) -> ImageNames:
        """The files, in order; the folder is listed once as long as it does not change.

        Raises:
            AvadetError: if there are none, or they are no series of numbers.
        """
        if self.listed is not None:
            return self.listed
        try:
            changed = self.folder.stat().st_mtime_ns
        except OSError as error:
            raise AvadetError(f"no such folder of images: {self.folder} ({error.strerror})") from error
        return _listing(self.folder, self.pattern, self.first_number, changed)


def is_image(name: str) -> bool:
    """Whether a file is an image by its name; hidden ones do not count."""
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


def holds_images(folder: Path) -> bool:
    """Whether there are images directly in a folder; False if it is none."""
    try:
        with os.scandir(folder) as entries:
            return any(is_image(entry.name) for entry in entries)
    except OSError:
        return False


def has_number(pattern: str) -> bool:
    """Whether a pattern says which part of a name is the number."""
    return bool(_NUMBER.search(pattern))


def is_image_pattern(path: Path) -> bool:
    """Whether a path stands for images of a folder: its name is a pattern, and no file is called so."""
    has_magic = bool(_TOKENS.search(path.name)) or "[" in path.name
    return has_magic and is_image(path.name) and not path.exists() and path.parent.is_dir()


def video_id_of(path: Path) -> str:
    """The name of a video in results: a file's without its suffix, a folder's, that of the folder of a pattern."""
    if path.is_dir():
        return path.resolve().name if path.name in ("", "..") else path.name
    return video_id_of(path.parent) if is_image_pattern(path) else path.stem


@lru_cache(maxsize=_MOST_LISTED)
def _listing(folder: Path, pattern: str | None, first_number: int | None, changed: int) -> ImageNames:
    """List a folder; `changed` is when it was, so that one that has changed is listed anew."""
    del changed
    try:
        found = sorted(name for name in os.listdir(folder) if is_image(name))  # noqa: PTH208 (no Path for each)
    except OSError as error:
        raise AvadetError(f"cannot read the folder of images {folder}: {error.strerror}") from error
    names, numbers, notes = _numbered(folder, found, pattern)
    order = np.argsort(numbers, kind="stable")
    names, numbers = [names[row] for row in order], numbers[order]
    twins = np.flatnonzero(np.diff(numbers) == 0)
    if len(twins):
        one, other = names[twins[0]], names[twins[0] + 1]
        raise AvadetError(
            f"{folder}: {one} and {other} have the same number; images of one video have one each: choose some by a "
            f"pattern, such as '{folder / f'*{Path(one).suffix}'}' (videos.frames.pattern in a spec)"
        )
    return numbered_names(folder, names, numbers, first_number, notes)


def _numbered(folder: Path, found: Sequence[str], pattern: str | None) -> tuple[list[str], IntArray, list[str]]:
    """Images with a number, their numbers, and what is said of the others."""
    rule = None if pattern is None else _rule(pattern)
    names = [name for name in found if rule is None or rule.fullmatch(name)]
    if not names:
        there = f"; it has {len(found)} others, such as {found[0]}" if found else f" ({', '.join(IMAGE_SUFFIXES)})"
        raise AvadetError(f"{folder} has no image{f' that {pattern} matches' if pattern else ''}{there}")
    if rule is not None and "number" in rule.groupindex:
        matches = [rule.fullmatch(name) for name in names]
        return names, _whole([match["number"] for match in matches if match], folder, names[0]), []
    pieces = {name: re.split(r"(\d+)", name.rpartition(".")[0]) for name in names}
    without = [name for name, parts in pieces.items() if len(parts) == 1]
    names = [name for name in names if len(pieces[name]) > 1]
    notes = [f"{_some(without)} without a number passed over"] if without else []
    if not names:
        raise AvadetError(f"{folder}: {_some(without)}: the frames of a video are images with numbers in their names")
    series = {tuple(pieces[name][::2]): name for name in reversed(names)}
    digits = np.array([pieces[name][1::2] for name in names] if len(series) == 1 else [], object).T
    varying = [column for column in digits if len(set(column)) > 1] or list(digits[-1:])
    if len(varying) != 1:
        one, *_, other = sorted(series.values()) if len(series) > 1 else names
        raise AvadetError(
            f"{folder}: {one} and {other} are not of one series: the names of a video's frames differ in one number "
            "alone; choose one series by a pattern, such as '" + str(folder / _pattern_like(one)) + "' "
            "(videos.frames.pattern in a spec)"
        )
    return names, _whole(varying[0], folder, names[0]), notes


def _whole(texts: Sequence[str], folder: Path, name: str) -> IntArray:
    """The numbers of images, int64 (n,)."""
    if max(map(len, texts)) > _MOST_DIGITS:
        raise AvadetError(
            f"{folder}: images such as {name} are not numbered by frame; rename them 1, 2, 3, ... in order"
        )
    return np.array([int(text) for text in texts], np.int64)


def _pattern_like(name: str) -> str:
    """A pattern for images called like this one: its last number may be any."""
    head, number, tail = re.split(r"(\d+)(?!.*\d)", name, maxsplit=1)
    return f"{head}{{number:0{len(number)}d}}{tail}"


def _rule(pattern: str) -> re.Pattern[str]:
    """The names that a pattern matches; a number in it is the group "number"."""
    if not _NUMBER.search(pattern):
        return re.compile(fnmatch.translate(pattern))
    pieces = _TOKENS.split(pattern)
    if sum(bool(_NUMBER.fullmatch(piece)) for piece in pieces) > 1:
        raise AvadetError(f"a pattern of images has one number, got '{pattern}'")
    wild = {"*": ".*", "?": "."}
    return re.compile(
        "".join(r"(?P<number>\d+)" if _NUMBER.fullmatch(one) else wild.get(one, re.escape(one)) for one in pieces)
    )


def numbered_names(
    folder: Path,
    names: Sequence[str],
    numbers: IntArray,
    first_number: int | None = None,
    notes: Sequence[str] = (),
    template: Template | None = None,
) -> ImageNames:
    """Images with increasing numbers as the frames of a video.

    Args:
        folder: that they lie in.
        names: of their files.
        numbers: int64 (n,), n >= 1, increasing.
        first_number: of frame 0; None = by the rule of this module. Images before it are left out.
        notes: what is to be said besides.
        template: makes every name of its number, in place of `names`.

    Raises:
        AvadetError: if hardly one number in ten has an image, or none has that counts.
    """
    notes = list(notes)
    steps = np.unique(np.diff(numbers))
    step = int(steps[0]) if len(steps) == 1 and len(numbers) > 2 else 1
    if step > 1:
        notes.append(f"images are numbered in steps of {step} and taken for frames that follow one another")
    first = int(numbers[0])
    if first_number is not None:
        first = first_number
    elif step == 1 and 1 < first <= MOST_LOST_FIRST:
        first = 1
    elif step == 1 and first > 1:
        notes.append(f"images are numbered from {first} on; that one is at 0 s")
    indices = (numbers - first) // step
    kept = indices >= 0
    if not kept.all():
        notes.append(f"{_some([name for name, keep in zip(names, kept) if not keep])} before the first number left out")
        names, indices = [name for name, keep in zip(names, kept) if keep], indices[kept]
    if not len(indices):
        raise AvadetError(f"{folder} has no image with a number of {first} or above (videos.frames.first_number)")
    if indices[-1] >= _SPARSEST * len(indices) + MOST_LOST_FIRST:
        raise AvadetError(
            f"{folder} has {len(indices)} images with numbers up to {numbers[-1]}: they are not the frames of one "
            "video; choose those that are by a pattern (videos.frames.pattern in a spec)"
        )
    count = int(indices[-1]) + 1
    lost = count - len(indices)
    if lost:
        missing = np.setdiff1d(np.arange(count), indices)[:_SHOWN]
        said = ", ".join(str(index * step + first) for index in missing) + (", ..." if lost > len(missing) else "")
        notes.append(f"{lost} of {count} images are missing, those of number {said}")
    if template is None:
        return packed(folder, names, indices, step, notes)
    prefix, width, suffix, _, offset = template
    return ImageNames(folder, _runs(indices), None, (prefix, width, suffix, step, offset + first), tuple(notes))


def packed(
    folder: Path, names: Sequence[str], indices: IntArray, step: int = 1, notes: Sequence[str] = ()
) -> ImageNames:
    """Names as `ImageNames` has them: by a template where one number makes them, which takes next to no memory."""
    for match in reversed(list(re.finditer(r"\d+", names[0]))):
        prefix, suffix, width = names[0][: match.start()], names[0][match.end() :], len(match[0])
        offset = int(match[0]) - int(indices[0]) * step
        if all(name == f"{prefix}{i * step + offset:0{width}d}{suffix}" for name, i in zip(names, indices.tolist())):
            return ImageNames(folder, _runs(indices), None, (prefix, width, suffix, step, offset), tuple(notes))
    return ImageNames(folder, _runs(indices), tuple(names), notes=tuple(notes))


def _runs(indices: IntArray) -> IntArray:
    """First and one past the last of each run of numbers that follow one another, int64 (k, 2)."""
    starts = np.flatnonzero(np.diff(indices, prepend=indices[0] - 2) > 1)
    return np.stack([indices[starts], indices[np.append(starts[1:], len(indices)) - 1] + 1], axis=1)


def _some(names: Sequence[str]) -> str:
    """How many images, and the first few by name."""
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return f"{len(names)} image{'s' * (len(names) != 1)} ({shown})"
