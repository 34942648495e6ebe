"""Files are there whole or not at all."""

import stat
from pathlib import Path

import pytest

from avadet.errors import AvadetError
from avadet.files import resource_folder, whole_file


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


def test_resources_are_found() -> None:
    assert (resource_folder("configs") / "jhmdb21" / "tiny.yaml").is_file()
    assert (resource_folder("data_specs") / "jhmdb21" / "labels.yaml").is_file()
