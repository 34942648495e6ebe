"""What subcommands that run over several videos share: progress, warnings, and going on after a failure."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

from avadet.errors import AvadetError
from avadet.failures import explain
from avadet.urls import without_secrets

if TYPE_CHECKING:
    from avadet.types import VideoInfo
    from avadet.video.read import VideoReader

Item = TypeVar("Item")


def try_video(video: Path, work: Callable[[Path], None], failed: dict[Path, Exception], debug: bool = False) -> bool:
    """Do the work on a video; note what went wrong and go on. A reader that went away ends the run."""
    try:
        work(video)
    except BrokenPipeError:
        raise
    except Exception as error:
        failed[video] = error
        if debug:
            print(without_secrets("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    return video not in failed


def report_failures(
    failed: dict[Path, Exception], total: int, lossy: Sequence[Path] = (), passed_over: Sequence[str] = ()
) -> int:
    """Say on stderr what was left out, and which videos failed and why; return the exit code.

    Args:
        failed: the videos that failed.
        total: how many there were.
        lossy: those that were read with losses, of which each has said its own.
        passed_over: what was not taken for a video, a line each.
    """
    for line in passed_over:
        note(line)
    if lossy and total > 1:
        note(f"warning: {len(lossy)} of {total} videos have losses, told above: {', '.join(map(str, lossy))}")
    if not failed:
        return 0
    note(f"{len(failed)} of {total} videos failed:")
    for video, error in failed.items():
        note(f"  {reason(video, error)}")
    return 1


def reason(video: Path, error: Exception) -> str:
    """Why a video failed, in one line."""
    if isinstance(error, AvadetError):
        return str(error)
    known = explain(error)
    if known is not None:
        return f"{video}: {known}"
    said = " ".join(str(error).split())
    return f"{video}: {type(error).__name__}{': ' * bool(said)}{said}; --debug shows where"


def check_video(video: Path) -> None:
    """Raise if a video cannot be read at all, before a model is loaded."""
    from avadet.video.read import probe

    probe(video)


@contextmanager
def held_signals() -> Iterator[Callable[[], None]]:
    """Hold back Ctrl-C, SIGTERM and SIGHUP until nothing is half done; a second one comes through at once.

    Yields:
        a function to call at such moments: it does what the signal would have done, if one came.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    held: list[int] = []

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def hold(number: int, frame: FrameType | None) -> None:
        held.append(number)
        restore()

    def check() -> None:
        if held:
            number = held.pop()
            handler = before[signal.Signals(number)]
            assert callable(handler)
            handler(number, None)

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    for number, handler in before.items():
        if callable(handler):
            signal.signal(number, hold)
    try:
        yield check
    finally:
        restore()


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


def with_progress(events: Iterator[Item], info: VideoInfo, doing: str = "") -> Iterator[Item]:
    """Show on stderr how much of the video is done, and how long the rest will take; `doing` says of what."""
    from tqdm import tqdm

    from avadet.types import Frame

    total_s = round(info.duration_s, 2) or None
    layout = "{desc}: {percentage:3.0f}%|{bar:20}| {n:.1f}/{total:.1f} s of video, ETA {remaining}"
    with tqdm(
        total=total_s,
        desc=f"{info.path.name}, {doing}" if doing else info.path.name,
        unit="s",
        bar_format=layout if total_s else "{desc}: {n:.1f} s of video, {elapsed}",
        mininterval=0.2 if sys.stderr.isatty() else 5.0,
    ) as bar:
        for event in events:
            if isinstance(event, Frame):
                bar.update(max(min(event.time_s, total_s or event.time_s) - bar.n, 0.0))
            yield event
        bar.update(max((total_s or 0.0) - bar.n, 0.0))


def tell_of_display(info: VideoInfo) -> None:
    """Say on stderr what is done to show the pictures of a video, where that is out of the ordinary."""
    for said in info.display_notes:
        note(f"{info.path}: {said}")


def warn_of_damage(reader: VideoReader, end_s: float) -> bool:
    """Say on stderr what is lost of a video that has been read to `end_s`, seconds; return whether anything is."""
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
    return bool(reader.damaged or reader.dropped or reader.ended_early_s)


def listed(paths: Sequence[Path], stem: str) -> str:
    """Files of one stem in one line: "results/clip.ava.csv, .jsonl, .mp4"."""
    return ", ".join([str(paths[0]), *(path.name.removeprefix(stem) for path in paths[1:])])


def count(number: int, one: str, many: str = "") -> str:
    """A number with its noun: 1 person, 2 people."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def note(text: str) -> None:
    """Tell the user something on stderr."""
    print(f"avadet: {without_secrets(text)}", file=sys.stderr)
