"""Data sets kept as folders of images: PySlowFast's frame lists, and which folder is which video.

A frame list has a header and, separated by blanks, original_vido_id, video_id, frame_id, path and labels: a row an
image, the path inside the folder of all videos (PySlowFast, `slowfast/datasets/ava_helper.py`). Frame `frame_id` of a
video is at `frame_id` / fps seconds after the first that the list has of it.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from avadet.annotations.specs import DataSet
from avadet.errors import AvadetError
from avadet.types import IntArray
from avadet.video.image_names import ImageNames, ImageSequence, has_number, holds_images, numbered_names, packed
from avadet.video.refusals import no_rate

if TYPE_CHECKING:
    import pandas as pd

_VIDEO = ("original_vido_id", "original_video_id")  # the field's lists have the first spelling
_ROWS = 500_000  # that are read at a time; AVA's list for training has 6.4 million


class ImageFolders:
    """Finds the folder of images that is a video of a data set; nothing outside `videos.folder` is looked at."""

    def __init__(self, data: DataSet) -> None:
        """Read the data set's frame lists, if it has any.

        Raises:
            AvadetError: if a list cannot be read, or names what it may not.
        """
        self._spec = data.spec.videos
        self._folder = data.path(self._spec.folder)
        lists = self._spec.frames.lists
        self._listed = read_frame_lists([data.path(one) for one in lists], self._folder) if lists else None

    @property
    def are_described(self) -> bool:
        """Whether the spec says how images are called, so that files of videos are not looked for."""
        return self._listed is not None or self._spec.frames.pattern is not None

    def find(self, video_id: str) -> ImageSequence | None:
        """The images of a video; None = there are none.

        Raises:
            AvadetError: if there are, and the spec does not say how many make a second.
        """
        spec = self._spec
        if self._listed is not None:
            listed = self._listed.get(video_id)
            folder, pattern = (self._folder if listed is None else listed.folder), None
            found = listed is not None and folder.is_dir()
        else:
            listed, (folder, pattern) = None, self._place(PurePosixPath(video_id))
            found = holds_images(folder)
        if not found:
            return None
        if spec.fps is None:
            raise no_rate(folder)
        sequence = ImageSequence(folder, spec.fps, pattern, spec.frames.first_number, listed)
        return None if pattern and self._share_folders and not _is_there(sequence) else sequence

    def _place(self, video: PurePosixPath) -> tuple[Path, str | None]:
        """The folder of a video, and the pattern of the images in it."""
        pattern = self._spec.frames.pattern
        if pattern is None:
            return self._folder / video, None
        folder, slash, name = pattern.rpartition("/")
        inside = folder.replace("{video}", str(video)) if slash else str(video)
        own = video.name if has_number(name) else glob.escape(video.name)
        return self._folder / inside.lstrip("/"), name.replace("{video}", own)

    @property
    def _share_folders(self) -> bool:
        """Whether images of several videos lie in one folder, so that it may have none of a video."""
        folder, slash, _ = (self._spec.frames.pattern or "").rpartition("/")
        return bool(slash) and "{video}" not in folder


def _is_there(sequence: ImageSequence) -> bool:
    try:
        return len(sequence.names()) > 0
    except AvadetError:
        return False


def read_frame_lists(files: Sequence[Path], folder: Path) -> dict[str, ImageNames]:
    """The images of every video of some frame lists; little is kept of names that numbers make.

    Args:
        files: the lists.
        folder: that their paths lie in.

    Raises:
        AvadetError: if one cannot be read, has other columns, a path leads out of the folder, or the images of a video
            lie in several folders.
    """
    parts: dict[str, list[ImageNames]] = {}
    for file in files:
        for start, rows in _chunks(file):
            video_ids, frames, paths = (rows[column].to_numpy(dtype=object) for column in rows.columns)
            numbers = _whole_numbers(frames)
            first = np.flatnonzero(np.concatenate([[True], video_ids[1:] != video_ids[:-1]]))
            for one, end in zip(first.tolist(), [*first[1:].tolist(), len(rows)]):
                piece = _piece(folder, file, start + one, paths[one:end].tolist(), numbers[one:end])
                parts.setdefault(str(video_ids[one]), []).append(piece)
    return {video_id: _joined(video_id, pieces) for video_id, pieces in parts.items()}


def _chunks(file: Path) -> Iterable[tuple[int, pd.DataFrame]]:
    """Columns video, frame and path of a list as text, some rows at a time, and the line of the first of them."""
    import pandas as pd

    try:
        with file.open(encoding="utf-8-sig") as text:
            columns = text.readline().split()
        video = next((name for name in _VIDEO if name in columns), None)
        if video is None or not {"frame_id", "path"} <= set(columns):
            raise AvadetError(
                f"{file} is no frame list: its first line must name the columns original_vido_id video_id frame_id "
                f"path labels, separated by blanks, got '{' '.join(columns)[:80]}'"
            )
        wanted, start = [video, "frame_id", "path"], 2
        reader = pd.read_csv(
            file, sep=" ", usecols=wanted, dtype=str, chunksize=_ROWS, keep_default_na=False, encoding="utf-8-sig"
        )
        with reader:
            for rows in reader:
                yield start, rows[wanted]
                start += len(rows)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise AvadetError(f"cannot read the frame list {file}: {' '.join(str(error).split())}") from error


def _whole_numbers(texts: np.ndarray[tuple[int], np.dtype[np.object_]]) -> IntArray:
    """Whole numbers of texts, -1 for what is none."""
    plain = np.array([text.isdecimal() and len(text) < 10 for text in texts], np.bool_)
    numbers = np.full(len(texts), -1)
    numbers[plain] = texts[plain].astype(np.int64)
    return numbers


def _piece(folder: Path, file: Path, line: int, paths: Sequence[str], numbers: IntArray) -> ImageNames:
    """Consecutive rows of one video, the first of them on a line of a file."""
    inside = paths[0].rpartition("/")[0]
    prefix = f"{inside}/" if inside else ""
    cut = len(prefix)
    names = [path[cut:] for path in paths]
    is_outside = ".." in inside.split("/") or paths[0].startswith("/")
    bad = [
        is_outside or "/" in one or one in ("", "..") or not path.startswith(prefix) for one, path in zip(names, paths)
    ]
    row = next((row for row, (is_bad, number) in enumerate(zip(bad, numbers)) if is_bad or number < 0), None)
    if row is not None:
        raise AvadetError(
            f"{file}, line {line + row}: expected a frame_id of 0 or above and a path inside {folder}, all of a video "
            f"in one folder, got '{paths[row]}'" + (" and no such frame_id" if numbers[row] < 0 else "")
        )
    if (np.diff(numbers) <= 0).any():
        raise AvadetError(
            f"{file}, line {line}: the rows of a video must come in the order of frame_id, each number once"
        )
    return packed(folder / inside, names, numbers)


def _joined(video_id: str, pieces: Sequence[ImageNames]) -> ImageNames:
    """All rows of a video, counted from the first."""
    numbers = np.concatenate([piece.indices for piece in pieces])
    if len({piece.folder for piece in pieces}) > 1 or (np.diff(numbers) <= 0).any():
        raise AvadetError(
            f"the frame lists name images of video {video_id} in several folders, or not in the order of frame_id"
        )
    templates = {piece.template if piece.names is None else None for piece in pieces}
    template = templates.pop() if len(templates) == 1 else None
    names = [] if template else [name for piece in pieces for name in piece.all_names()]
    return numbered_names(pieces[0].folder, names, numbers, int(numbers[0]), template=template)
