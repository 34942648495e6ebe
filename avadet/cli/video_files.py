"""From the words of a command line to the video files that they name."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

from avadet.cli.videos import count
from avadet.errors import AvadetError
from avadet.files import VIDEO_SUFFIXES
from avadet.urls import scheme_of, shown_url
from avadet.video.image_names import holds_images, is_image, is_image_pattern, video_id_of

SHOWN = 3


def expand(words: Sequence[str], passed_over: list[str] | None = None) -> list[Path]:
    """The video files that arguments name.

    A folder stands for the files in it, not in folders inside it, whose names end as those of videos do; one that holds
    numbered images and no videos is one video itself. A pattern of `*`, `?`, `[...]` and `**` stands for every file
    that it matches, and for every folder of images, as it does where the shell expands it; one that matches nothing
    but images of one folder is one video. Hidden files count only where they are named. What is named twice counts
    once. A link to nowhere counts as a video: it fails where it is read.

    Args:
        words: paths and patterns. A path that exists is no pattern; one that does not exist is given back.
        passed_over: is told in a line each what was passed over, and why.

    Returns:
        paths; those of one folder or pattern in order of name.

    Raises:
        AvadetError: if a folder or a pattern stands for nothing, a folder holds videos and frames of one, several
            images are named, an address cannot be read, or a camera or stream is among several words.
    """
    said = [] if passed_over is None else passed_over
    found: dict[Path, Path] = {}
    _refuse_images(words)
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
    if path.exists() or is_image_pattern(path) or not glob.has_magic(word):
        return [path]
    matches = [Path(one) for one in glob.glob(word, recursive=True)]  # noqa: PTH207 - Path.glob takes no absolute one
    files = sorted(one for one in matches if _is_file(one) or _is_one_video(one))
    if not files:
        raise AvadetError(f"no file matches {word}")
    return files


def check_rate(videos: Sequence[Path], fps: float | None) -> None:
    """Raise if a rate is given and there are no images that it is for."""
    if fps is not None and not any(is_image_pattern(video) or holds_images(video) for video in videos):
        raise AvadetError(f"--fps is the rate of folders of images; {videos[0]} is a video file, which has its own")


def twins(videos: Sequence[Path]) -> Iterator[tuple[Path, Path, str]]:
    """Videos whose results would have the name of an earlier one's: the video, the other one, and the name."""
    first: dict[str, Path] = {}
    for video in videos:
        name = video_id_of(video)
        if first.setdefault(name, video) is not video:
            yield video, first[name], name


def _refuse_images(words: Sequence[str]) -> None:
    """Raise where the shell made words of the images of a folder; a single one is read as a video of one frame."""
    images = [word for word in words if is_image(Path(word).name) and Path(word).is_file()]
    if len(images) > 1:
        folder = Path(images[0]).parent
        raise AvadetError(
            f"{len(images)} images, such as {images[0]}, are no videos; for the frames of one give their folder, or a "
            f"pattern in quotes: {folder} --fps 30, or '{folder / ('*' + Path(images[0]).suffix)}' --fps 30"
        )


def _series(names: Sequence[str]) -> list[str]:
    """Images with numbers in their names: the frames of a video, if there are several."""
    return [name for name in names if is_image(name) and any(letter.isdigit() for letter in name)]


def _is_one_video(folder: Path) -> bool:
    """Whether a folder holds images, and no videos."""
    return holds_images(folder) and not any(one.suffix.lower() in VIDEO_SUFFIXES for one in folder.iterdir())


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
    images = _series([one.name for one in seen])
    if images and not files:
        return [folder]
    if len(images) > 1:
        raise AvadetError(
            f"{folder} holds {count(len(files), 'video')} and {len(images)} images with numbers, such as "
            f"{files[0].name} and {images[0]}; say which you mean by a pattern: '{folder / ('*' + files[0].suffix)}', "
            f"or '{folder / ('*' + Path(images[0]).suffix)}' --fps 30"
        )
    if not files:
        raise AvadetError(
            f"{folder} is a folder without a video ({', '.join(VIDEO_SUFFIXES)}) directly in it{_hint(folder)}"
        )
    others = [one.name for one in seen if one not in files]
    if others:
        names = ", ".join(others[:SHOWN]) + (", ..." if len(others) > SHOWN else "")
        passed_over.append(f"{count(len(others), 'file')} of {folder} passed over, by the name no video: {names}")
    return files


def _hint(folder: Path) -> str:
    """The way out where folders of images lie one deeper."""
    deeper = next((one for one in sorted(folder.iterdir()) if one.is_dir() and holds_images(one)), None)
    if deeper is None:
        return ""
    return f"; it holds folders of images, such as {deeper.name}: give them, '{folder / '*'}' --fps 30"


def _is_file(path: Path) -> bool:
    """Whether a path is a file, or a link that leads nowhere."""
    return path.is_file() or (path.is_symlink() and not path.exists())
