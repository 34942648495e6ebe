"""Writing files so that a reader never meets half of one, and nothing half-written stays behind."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from avadet.errors import AvadetError
from avadet.partials import partial_of, sweep_once

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".vob"),
    *(".wmv", ".flv", ".3gp", ".ogv", ".mxf"),
)
"""Endings of files that a folder of videos stands for, in lower case."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
"""Endings of images that a folder of them, kept as a video, stands for, in lower case."""

_DISK_REFUSES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_REFUSAL_WORDS = tuple(os.strerror(number) for number in _DISK_REFUSES)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends well.

    The temporary name keeps the suffix (encoders choose their format by it) and is never too long where the final one
    is not. When the block raises, the temporary file is removed and whatever stood at `path` before stays untouched.
    File and folder are flushed to the disk, so that a crash of the machine leaves the old file or the new one. What
    processes that died have left in the folder goes when it is first written to (`avadet.partials`). A link is
    followed: the file that it names is replaced, not the link.

    Args:
        path: the final name. Its folder is made if missing.

    Yields:
        the path to write to, in the folder of the file.

    Raises:
        AvadetError: if there can be no such file, or the disk refuses while the block writes, being full, say.
    """
    check_target(path)
    final = Path(os.path.realpath(path))
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        sweep_once(final.parent)
        partial = partial_of(final)
        partial.touch(exist_ok=False)
        mode = partial.stat().st_mode
    except OSError as error:
        raise _refused(final, error) from error
    try:
        yield partial
        partial.chmod(mode)  # some writers make a new file that only its owner may read
        _flush(partial)
        partial.replace(final)
        _flush(final.parent)
    except Exception as error:
        if _is_refusal(error, partial):
            raise _refused(final, error) from error
        raise
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def growing_file(path: str | Path) -> Iterator[Path]:
    """Give `path` with ".part" after it, for what is to be read while it grows; rename it when the block ends well.

    Where the block raises or the program is killed, the .part stays, with all that was written.

    Args:
        path: the final name. Its folder is made if missing.

    Yields:
        the path to write to.

    Raises:
        AvadetError: as `whole_file`.
    """
    check_target(path)
    final = Path(path)
    part = part_of(final)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        part.open("wb").close()
        yield part
        _flush(part)
        part.replace(final)
        _flush(final.parent)
    except OSError as error:
        if _is_refusal(error, part):
            raise _refused(part, error) from error
        raise


def part_of(path: Path) -> Path:
    """Where a result lies as long as it grows."""
    return path.with_name(f"{path.name}.part")


def append_line(path: Path, line: str) -> None:
    """Add a line to a text file that grows line by line.

    Raises:
        AvadetError: if it cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
    except OSError as error:
        raise _refused(path, error) from error


def check_target(path: str | Path) -> None:
    """Raise AvadetError unless a file may be written there, as far as that shows without writing it.

    Commands ask before they load a model; `whole_file` asks by itself.
    """
    final = Path(path)
    try:
        mode = final.stat().st_mode
    except FileNotFoundError:
        mode = None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            _check_folder(final)  # says which name
        raise _refused(final, error) from error
    except ValueError as error:  # UnicodeEncodeError is one
        raise AvadetError(
            f"cannot write {shown(final)}: no file can have this name ({error}); choose another"
        ) from None
    if mode is not None and not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device"
        raise AvadetError(f"cannot write {shown(final)}: it is {kind}; give the name of a file")
    _check_folder(Path(os.path.realpath(final)))


def shown(path: Path) -> str:
    """A path as a message has it: line breaks and other control characters escaped, so that it stays one line."""
    text = str(path)
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _check_folder(final: Path) -> None:
    """Raise AvadetError unless the folder of a file is there or can be made, and takes a file of that name."""
    folder = next((above for above in final.parents if os.path.exists(above)), Path("/"))  # noqa: PTH110 - no error
    if not folder.is_dir():
        raise AvadetError(f"cannot write {shown(final)}: {shown(folder)} is a file; choose another folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _refused(final, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    longest = os.pathconf(folder, "PC_NAME_MAX")
    for name in final.relative_to(folder).parts:
        if len(os.fsencode(name)) > longest:
            raise AvadetError(
                f"cannot write {shown(final)}: the name {shown(Path(name[:20]))}... takes {len(os.fsencode(name))} "
                f"bytes, and the file system allows {longest}; choose a shorter one"
            )


def _flush(path: Path) -> None:
    """Have the disk hold a file or folder; file systems that cannot flush a folder keep their own promises."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def _is_refusal(error: Exception, partial: Path) -> bool:
    """Whether an error of the block says that the partial file cannot be written, rather than anything else."""
    if isinstance(error, AvadetError):
        return False
    if isinstance(error, OSError):
        return error.errno in _DISK_REFUSES or error.filename in (str(partial), partial)
    return any(words in str(error) for words in _REFUSAL_WORDS)  # libraries wrap what the system says


def _refused(final: Path, error: Exception) -> AvadetError:
    """What the user reads when the system refuses a file."""
    words = next((words for words in _REFUSAL_WORDS if words in str(error)), None)
    reason = words or getattr(error, "strerror", None) or str(error)
    if reason == os.strerror(errno.ENOSPC):
        folder = next((above for above in final.parents if above.exists()), Path("/"))
        free = shutil.disk_usage(folder).free / 1e6
        return AvadetError(
            f"cannot write {shown(final)}: {reason} ({free:.1f} MB free); make room or choose another folder"
        )
    way_out = "a shorter path" if reason == os.strerror(errno.ENAMETOOLONG) else "a folder you may write to"
    return AvadetError(f"cannot write {shown(final)}: {reason}; choose {way_out}")


def resource_folder(name: str) -> Path:
    """Folder of files that ship with the package: "configs" or "data_specs".

    In a checkout they stand beside the package, in an installed wheel inside it.
    """
    package = Path(__file__).resolve().parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name
