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
from avadet.progress import is_quiet, progress_bar
from avadet.urls import without_secrets

if TYPE_CHECKING:
    from avadet.inference.schedule import GapCount
    from avadet.types import VideoInfo
    from avadet.video.reader import Reader

Item = TypeVar("Item")

PATIENCE_S = 2.0
"""A signal waits for this long for a moment at which nothing is half done, seconds."""


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


def check_video(video: Path, fps: float | None = None) -> None:
    """Raise if a video cannot be read at all, before a model is loaded; `fps` is that of folders of images."""
    from avadet.video.read import probe

    probe(video, fps)


@contextmanager
def held_signals() -> Iterator[Callable[[], None]]:
    """Hold back Ctrl-C, SIGTERM and SIGHUP until a moment at which nothing is half done.

    A second one comes through at once, and so does the first if no such moment comes within `PATIENCE_S`.

    Yields:
        a function to call at such moments: it does what the signal would have done, if one came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    signals = _HeldSignals()
    try:
        yield signals.check
    finally:
        signals.release()


class _HeldSignals:
    """Ctrl-C, SIGTERM and SIGHUP, held back in the main thread from the start on."""

    def __init__(self) -> None:
        self._before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        self._held: list[int] = []
        self._main = threading.get_ident()
        self._timer = threading.Timer(PATIENCE_S, self._insist)
        self._timer.daemon = True
        for number, handler in self._before.items():
            if callable(handler):
                signal.signal(number, self._hold)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        self._held.append(number)
        self._restore()
        self._timer.start()

    def _insist(self) -> None:
        if self._held:
            signal.pthread_kill(self._main, self._held[0])

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Do what a held signal would have done."""
        if self._held:
            number = self._held.pop()
            handler = self._before[signal.Signals(number)]
            assert callable(handler)
            handler(number, None)

    def release(self) -> None:
        """Let signals come through again; one that is still held is dropped."""
        self._timer.cancel()
        self._restore()


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
    from avadet.types import Frame

    total_s = round(info.duration_s, 2) or None
    layout = "{desc}: {percentage:3.0f}%|{bar:20}| {n:.1f}/{total:.1f} s of video, ETA {remaining}"
    with progress_bar(
        total=total_s,
        desc=f"{info.path.name}, {doing}" if doing else info.path.name,
        unit="s",
        bar_format=layout if total_s else "{desc}: {n:.1f} s of video, {elapsed}",
        mininterval=0.2,
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


def warn_of_damage(reader: Reader, end_s: float) -> bool:
    """Say on stderr what is lost of a video that has been read to `end_s`, seconds; return whether anything is."""
    if reader.faulty:
        note(
            f"warning: {reader.info.path}: {count(reader.damaged, 'image')} damaged or missing: "
            f"{', '.join(reader.faulty)}{', ...' if reader.damaged > len(reader.faulty) else ''}; "
            "nothing is known of those frames"
        )
    elif reader.damaged:
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


def warn_of_time(reader: Reader, gaps: GapCount) -> None:
    """Say on stderr where a video's times are not what they seem, once it has been read to its end."""
    path = reader.info.path
    if gaps.longest is not None:
        longest = f"{lasting(gaps.longest.seconds)} after {gaps.longest.start_s:.2f} s"
        all_of_them = f"in {gaps.number} gaps, {lasting(gaps.total_s)} together, the longest {longest}"
        note(
            f"warning: {path}: nothing was recorded {f'for {longest}' if gaps.number == 1 else all_of_them}; "
            "there are no results for that time"
        )
    if reader.restarts:
        note(
            f"warning: {path}: its clock begins anew {count(reader.restarts, 'time')}, first at {reader.restart_s:.2f} "
            "s, as where recordings were joined; no picture is left out, and times go on from there"
        )
    if reader.dropped:
        note(f"warning: {path}: {count(reader.dropped, 'picture')} left out, whose times are not after those before")
    if reader.unread_bytes:
        note(
            f"warning: {path}: {reader.unread_bytes:,} bytes at its end are another recording, which is not read; "
            "cut the file there, or join the recordings by a program that writes them anew"
        )
    if reader.rate_is_assumed:
        note(
            f"warning: {path} gives neither times nor a frame rate; {float(reader.info.fps):g} frames a second assumed"
        )


def lasting(seconds: float) -> str:
    """How long something lasts, in words: "90.5 s", "26 h 30 min 43 s"."""
    if seconds < 600:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min {rest} s" if hours else f"{minutes} min {rest} s"


def listed(paths: Sequence[Path], stem: str) -> str:
    """Files of one stem in one line: "results/clip.ava.csv, .jsonl, .mp4"."""
    return ", ".join([str(paths[0]), *(path.name.removeprefix(stem) for path in paths[1:])])


def count(number: int, one: str, many: str = "") -> str:
    """A number with its noun: 1 person, 2 people."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def note(text: str) -> None:
    """Tell the user something on stderr that `--quiet` does not silence: a warning, a failure."""
    print(f"avadet: {without_secrets(text)}", file=sys.stderr)


def inform(text: str) -> None:
    """Tell the user on stderr what the program is doing; `--quiet` silences it."""
    if not is_quiet():
        note(text)
