"""Partial files: what they are called while they are written, and removing those whose process has died.

A name says which process writes the file: `.NAME.partial-HOST.MACHINE.PID.STARTED.NUMBER.SUFFIX`. MACHINE tells
apart what HOST may not: kernels since they booted, and containers, whose processes have numbers of their own. With
the moment at which it started, a process's number is not mistaken for that of a later one.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import socket
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

ABANDONED_S = 24 * 3600
"""Age, seconds, from which a partial file counts as left behind if nobody can know whether its process lives."""

_NAME = re.compile(
    r"\..*\.partial-(?P<place>[\w-]+\.[0-9a-f]{8})\.(?P<pid>\d+)\.(?P<started>\d+)\.\d+(\..*)?", re.DOTALL
)
_NAME_BEFORE = re.compile(r"\..*\.partial-\d+(\..*)?", re.DOTALL)  # avadet 0.1
_LONGEST_SUFFIX = 16  # bytes; formats are known by shorter ones
_HOST_LENGTH = 20
_numbers = itertools.count()
_swept: set[tuple[int, Path]] = set()


def partial_of(final: Path) -> Path:
    """A new temporary name for a file, beside it and with its suffix; never longer than the file system takes."""
    suffix = final.suffix if len(os.fsencode(final.suffix)) <= _LONGEST_SUFFIX else ""
    pid = os.getpid()
    mark = f".partial-{_place()}.{pid}.{_started(pid)}.{next(_numbers)}{suffix}"
    stem, longest = final.stem, os.pathconf(final.parent, "PC_NAME_MAX")
    while len(os.fsencode(f".{stem}{mark}")) > longest:
        stem = stem[:-1]
    return final.with_name(f".{stem}{mark}")


def sweep_once(folder: Path) -> None:
    """`sweep` a folder the first time that this process asks."""
    if (os.getpid(), folder) not in _swept:
        _swept.add((os.getpid(), folder))
        sweep(folder)


def sweep(folder: Path) -> None:
    """Remove the partial files of a folder whose process is gone for certain.

    That is known of processes of this machine. Those of other machines and containers, or with a name as avadet 0.1
    gave it, go when nothing has been written to them for `ABANDONED_S`.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") and ".partial-" in entry.name and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    if _is_left_behind(entry):
                        Path(entry.path).unlink()


def _is_left_behind(entry: os.DirEntry[str]) -> bool:
    named = _NAME.fullmatch(entry.name)
    if named is not None and named["place"] == _place():
        return _started(int(named["pid"])) != int(named["started"])
    if named is None and not _NAME_BEFORE.fullmatch(entry.name):
        return False
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > ABANDONED_S


@cache
def _place() -> str:
    """This host's name, and digits that change with the kernel, its last boot and the container."""
    host = re.sub(r"[^\w-]", "-", socket.gethostname().partition(".")[0], flags=re.ASCII)[:_HOST_LENGTH] or "host"
    facts = [socket.gethostname()]
    with suppress(OSError):
        facts += [Path("/proc/sys/kernel/random/boot_id").read_text(), str(Path("/proc/self/ns/pid").readlink())]
    return f"{host}.{hashlib.blake2b(repr(facts).encode(), digest_size=4).hexdigest()}"


def _started(pid: int) -> int:
    """When a process started, clock ticks since the boot; -1 if there is none, 0 where that cannot be known."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return -1 if fields[0] in (b"Z", b"X") else int(fields[19])
    except OSError:
        pass
    if Path("/proc/self/stat").exists():
        return -1
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return -1
    except PermissionError:
        pass
    return 0
