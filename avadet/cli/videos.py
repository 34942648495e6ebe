"""What subcommands that run over several videos share: progress, warnings, and going on after a failure."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from avadet.errors import AvadetError

if TYPE_CHECKING:
    from avadet.types import VideoInfo
    from avadet.video.read import VideoReader

Item = TypeVar("Item")


def try_video(video: Path, work: Callable[[Path], None], failed: dict[Path, AvadetError]) -> bool:
    """Do the work on a video; note what went wrong and go on."""
    try:
        work(video)
    except AvadetError as error:
        failed[video] = error
    return video not in failed


def report_failures(failed: dict[Path, AvadetError], total: int) -> int:
    """Say on stderr which videos failed and why; return the exit code."""
    if not failed:
        return 0
    note(f"{len(failed)} of {total} videos failed:")
    for error in failed.values():
        note(f"  {error}")
    return 1


def check_video(video: Path) -> None:
    """Raise if a video cannot be read at all, before a model is loaded."""
    from avadet.video.read import probe

    probe(video)


@contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Remove the folders on the way to the results again if nothing came to lie in them."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    finally:
        for path in made:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()


def with_progress(events: Iterator[Item], info: VideoInfo) -> Iterator[Item]:
    """Show on stderr how much of the video is done, and how long the rest will take."""
    from tqdm import tqdm

    from avadet.types import Frame

    total_s = round(info.duration_s, 2) or None
    layout = "{desc}: {percentage:3.0f}%|{bar:20}| {n:.1f}/{total:.1f} s of video, ETA {remaining}"
    with tqdm(
        total=total_s,
        desc=info.path.name,
        unit="s",
        bar_format=layout if total_s else "{desc}: {n:.1f} s of video, {elapsed}",
        mininterval=0.2 if sys.stderr.isatty() else 5.0,
    ) as bar:
        for event in events:
            if isinstance(event, Frame):
                bar.update(max(min(event.time_s, total_s or event.time_s) - bar.n, 0.0))
            yield event
        bar.update(max((total_s or 0.0) - bar.n, 0.0))


def warn_of_damage(reader: VideoReader, end_s: float) -> None:
    """Say on stderr where a video is damaged or breaks off, once it has been read to `end_s`, seconds."""
    if reader.damaged:
        note(
            f"warning: {reader.info.path}: {count(reader.damaged, 'damaged spot')}; pictures around the damage may be "
            f"wrong; the last picture is at {end_s:.2f} s"
        )
    if reader.ended_early_s:
        note(
            f"warning: {reader.info.path} breaks off at {end_s:.2f} s, {reader.ended_early_s:.2f} s before the end "
            "that its header gives; the results cover what came before"
        )


def count(number: int, one: str, many: str = "") -> str:
    """A number with its noun: 1 person, 2 people."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def note(text: str) -> None:
    """Tell the user something on stderr."""
    print(f"avadet: {text}", file=sys.stderr)
