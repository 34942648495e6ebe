"""What the machine refuses - memory, shared memory, processes, open files - in one line with the ways out.

The libraries say it in as many ways as there are libraries: exceptions of their own, RuntimeErrors known by their
words alone, and errors of worker processes that torch's loader passes on with their traceback as text.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from avadet.errors import AvadetError

_MEMORY_WORDS = (
    "out of memory",
    "can't allocate memory",
    "Cannot allocate memory",
    "Unable to allocate",
    "Insufficient memory",
    "Failed to allocate memory",
    "std::bad_alloc",
    "ALLOC_FAILED",
)
_SHARED_WORDS = (
    *("Bus error", "out of shared memory", "unable to allocate shared memory", "unable to open shared memory"),
    *("unable to write to file </torch", "unable to mmap"),
)
_PROCESS_WORDS = ("can't start new thread",)
_FILES_WORDS = ("Too many open files",)
_FROM_WORKER = re.compile(
    r"Caught (?P<kind>\S+) in (?:DataLoader worker process|pin memory thread)[^\n]*\n.*"
    r"\n[\w.]*(?P=kind)(?:: (?P<said>.*))?",
    re.DOTALL,
)
_WORKER_DIED = re.compile(r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) (?P<how>[^.]+)")


class WaysOut(NamedTuple):
    """What a user of a command can do.

    Attributes:
        memory: against too little memory.
        workers: the option that says how many worker processes there are.
    """

    memory: str = "use a machine with more memory, or less at a time"
    workers: str = ""


@contextmanager
def explained(ways_out: WaysOut) -> Iterator[None]:
    """Turn what the machine refuses in the block into AvadetError, see `explain`."""
    try:
        yield
    except Exception as error:
        known = explain(error, ways_out)
        if known is None:
            raise
        raise known from error


def explain(error: BaseException, ways_out: WaysOut = WaysOut()) -> AvadetError | None:  # noqa: B008
    """What a user should read in place of an error of the machine or of a worker process; None if it is neither.

    Args:
        error: anything that was raised.
        ways_out: of the command at work.
    """
    if isinstance(error, AvadetError) and not str(error).startswith("Caught "):
        return None
    said = str(error)
    passed_on = _FROM_WORKER.match(said)
    if passed_on is not None:
        kind, said = passed_on["kind"], (passed_on["said"] or "").strip()
        return _of_machine(kind, said, error, ways_out) or _of_worker(kind, said, ways_out)
    died = _WORKER_DIED.match(said)
    if died is not None and "Bus error" not in said:
        fewer = f", or fewer {ways_out.workers} ({ways_out.workers}=0 needs none)" if ways_out.workers else ""
        return AvadetError(
            f"a worker process that makes batches {_how_it_ended(died['how'])}; where memory ran out (`dmesg` says "
            f"so): {ways_out.memory}{fewer}"
        )
    return _of_machine(type(error).__name__, said, error, ways_out)


def _how_it_ended(how: str) -> str:
    signal = re.search(r"by signal: (\w[\w ]*)", how)
    return f"was killed ({signal[1].strip()})" if signal else "ended unexpectedly, killed from outside perhaps"


def _of_worker(kind: str, said: str, ways_out: WaysOut) -> AvadetError:
    """An error that a worker process raised and torch passed on."""
    if kind.endswith("AvadetError"):
        return AvadetError(said)
    alone = f", and {ways_out.workers}=0 does the same in one process" if ways_out.workers else ""
    return AvadetError(
        f"a worker process that makes batches failed: {kind}: {' '.join(said.split())}; --debug shows where{alone}"
    )


def _of_machine(kind: str, said: str, error: BaseException, ways_out: WaysOut) -> AvadetError | None:
    """The line for an error of the machine, by its kind and its words."""
    number = error.errno if isinstance(error, OSError) else None
    if any(words in said for words in _SHARED_WORDS) and not isinstance(error, MemoryError):
        fewer = f", or fewer {ways_out.workers}" if ways_out.workers else ""
        return AvadetError(
            "out of shared memory, through which worker processes hand on batches; give /dev/shm more (docker run "
            f"--shm-size=8g or --ipc=host){fewer}"
        )
    if number == errno.EMFILE or any(words in said for words in _FILES_WORDS):
        return AvadetError(f"too many open files; raise the limit (ulimit -n 65536){_or_fewer(ways_out)}")
    from_ffmpeg = type(error).__module__.startswith("av.")  # EAGAIN there is a source that has nothing yet
    if (number == errno.EAGAIN and not from_ffmpeg) or any(words in said for words in _PROCESS_WORDS):
        return AvadetError(
            f"the system starts no more processes or threads; raise the limit (ulimit -u){_or_fewer(ways_out)}"
        )
    if kind.endswith("MemoryError") or kind == "OutOfMemoryError" or any(words in said for words in _MEMORY_WORDS):
        detail = _detail(said)
        return AvadetError(f"out of memory{f' ({detail})' if detail else ''}; {ways_out.memory}{_or_fewer(ways_out)}")
    return None


def _or_fewer(ways_out: WaysOut) -> str:
    return f", or fewer {ways_out.workers}" if ways_out.workers else ""


def _detail(said: str) -> str:
    """How much was asked for, of what a library says."""
    asked = re.search(r"(?:[Tt]ried to allocate|Unable to allocate|Failed to allocate) (\d+(?:\.\d+)?)\.?( ?\w+)", said)
    return f"{asked[1]}{asked[2]} more were asked for" if asked else ""
