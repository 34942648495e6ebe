"""Files are there whole or not at all, and nothing half-written stays behind."""

import errno
import os
import re
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from each_case import each_case

from avadet import partials
from avadet.errors import AvadetError
from avadet.files import append_line, check_target, growing_file, resource_folder, whole_file


def test_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.txt"
    with whole_file(target) as partial:
        partial.write_text("text")
        assert not target.exists() and partial.suffix == ".txt"
    assert target.read_text() == "text" and list(target.parent.iterdir()) == [target]


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), whole_file(target) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


def test_everybody_may_read_what_a_secretive_writer_made(tmp_path: Path) -> None:
    plain, target = tmp_path / "plain", tmp_path / "a.bin"
    plain.touch()
    with whole_file(target) as partial:
        partial.unlink()
        partial.touch(mode=0o600)
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_an_impossible_folder_is_an_error_for_the_user(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(AvadetError, match=r"cannot write .*choose a folder you may write to"),
        whole_file(tmp_path / "file" / "a"),
    ):
        pass


def test_file_and_folder_reach_the_disk_before_and_after_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, said = tmp_path / "a.txt", []
    monkeypatch.setattr(
        os, "fsync", lambda number: said.append((Path(f"/proc/self/fd/{number}").resolve(), target.exists()))
    )
    with whole_file(target) as partial:
        partial.write_text("text")
    assert said == [(partial, False), (tmp_path, True)]


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    link = tmp_path / "a.txt"
    link.symlink_to(tmp_path / "far" / "b.txt")
    with whole_file(link) as partial:
        partial.write_text("text")
    assert link.is_symlink() and (tmp_path / "far" / "b.txt").read_text() == "text"


@each_case("name", ["x" * 255, "é" * 127, "x" * 244 + ".safetensors"[-11:], "a.b" * 85, "a\nb.csv", ".x", "a."])
def test_every_name_that_the_file_system_takes(tmp_path: Path, name: str) -> None:
    with whole_file(tmp_path / name) as partial:
        partial.write_text("text")
        assert len(os.fsencode(partial.name)) <= 255
    assert [path.name for path in tmp_path.iterdir()] == [name]


@each_case(
    ("path", "said"),
    [
        ("x" * 256, r"the name x{20}\.\.\. takes 256 bytes, and the file system allows 255; choose a shorter one"),
        ("é" * 128, "takes 256 bytes"),
        ("new/" + "x" * 256 + "/a.csv", "takes 256 bytes"),
        ("x/" * 2100 + "a", "File name too long"),
        ("a\ud800", "no file can have this name"),
        ("a\0b", "no file can have this name"),
        ("", "it is a folder; give the name of a file"),
        ("/dev/null", "it is a device; give the name of a file"),
    ],
)
def test_names_that_no_file_can_have_are_said_before(tmp_path: Path, path: str, said: str) -> None:
    with pytest.raises(AvadetError, match=said) as caught:
        check_target(tmp_path / path)
    assert str(caught.value).isprintable()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_takes_no_files_is_said_before(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(AvadetError, match="Permission denied"):
        check_target(tmp_path / "new" / "a.csv")


@contextmanager
def small_disk() -> Iterator[None]:
    """No file may grow beyond a kilobyte; not even that in which the test runner's own words may go."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_one_line_with_the_path_and_leaves_nothing(tmp_path: Path) -> None:
    said = r"cannot write .*/a\.txt: File too large"
    with small_disk(), pytest.raises(AvadetError, match=said), whole_file(tmp_path / "a.txt") as partial:
        partial.write_bytes(bytes(2000))
    with small_disk(), pytest.raises(AvadetError, match=r"cannot write .*/log: File too large"):
        append_line(tmp_path / "log", "x" * 2000)
    (tmp_path / "log").unlink()
    assert list(tmp_path.iterdir()) == []


@each_case("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_what_a_disk_refuses_names_the_file_however_a_library_says_it(tmp_path: Path, number: int) -> None:
    words = os.strerror(number)
    for error in (OSError(number, words), RuntimeError(f"I/O error: {words} (os error {number})")):
        with pytest.raises(AvadetError, match=rf"cannot write .*/a\.txt: {words}"), whole_file(tmp_path / "a.txt"):
            raise error
    assert list(tmp_path.iterdir()) == []


def test_an_input_that_is_missing_is_no_matter_of_the_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "a.txt"):
        (tmp_path / "input").read_text()


def killed_while_writing(folder: Path) -> Path:
    """The partial file of a process that was killed."""
    script = (
        "import os, sys; from avadet.files import whole_file\n"
        "with whole_file(sys.argv[1]) as partial:\n"
        "    partial.write_text('half'); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder / "a.txt")])
    assert done.returncode == -signal.SIGKILL
    (left,) = folder.iterdir()
    return left


def test_the_next_run_sweeps_what_a_killed_one_left(tmp_path: Path) -> None:
    left = killed_while_writing(tmp_path)
    assert left.read_text() == "half" and partials._place() in left.name
    with whole_file(tmp_path / "b.txt"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["b.txt"]


def test_a_living_run_is_never_swept(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a.txt") as partial:
        os.utime(partial, (0, 0))  # it may well be at its work for days
        partials.sweep(tmp_path)
        script = "import sys; from pathlib import Path; from avadet.partials import sweep; sweep(Path(sys.argv[1]))"
        subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
        assert partial.exists()


def test_a_number_that_another_process_has_by_now_is_no_sign_of_life(tmp_path: Path) -> None:
    own = partials.partial_of(tmp_path / "a.txt")
    pid, started = str(os.getpid()), str(partials._started(os.getpid()))
    earlier = own.with_name(own.name.replace(f".{pid}.{started}.", f".{pid}.{int(started) - 1}."))
    assert earlier != own
    for path in (own, earlier):
        path.touch()
    partials.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [own]


def test_of_other_machines_only_what_is_old_is_swept(tmp_path: Path) -> None:
    own = partials.partial_of(tmp_path / "a.txt").name
    other = re.sub(r"partial-[\w-]+\.\w{8}", "partial-gpu07.0badcafe", own)
    names = [other, other.replace(".txt", ".csv"), ".b.partial-17.mp4", ".c.partial-18.mp4", ".notes.partial-draft"]
    for name in names:
        (tmp_path / name).touch()
    for name in (names[1], names[3], names[4]):
        os.utime(tmp_path / name, (time.time() - 25 * 3600,) * 2)
    partials.sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {names[0], names[2], names[4]}


def test_what_grows_stays_as_far_as_it_came(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), growing_file(tmp_path / "a.csv") as part:
        part.write_text("so far")
        raise RuntimeError
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.csv.part", "so far")]
    with growing_file(tmp_path / "a.csv") as part:
        part.write_text("all")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.csv", "all")]


def test_resources_are_found() -> None:
    assert (resource_folder("configs") / "jhmdb21" / "tiny.yaml").is_file()
    assert (resource_folder("data_specs") / "jhmdb21" / "labels.yaml").is_file()
