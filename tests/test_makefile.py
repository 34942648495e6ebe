"""`make` keeps a .venv that works here, and makes one of another Python or another place anew."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine"),
]


def make_venv(folder: Path) -> int:
    """Let make see to .venv; returns when it was made, nanoseconds."""
    command = ["make", "--silent", ".venv/.made", f"PYTHON={sys.executable}"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / ".venv" / ".made").stat().st_mtime_ns


def test_a_venv_is_made_anew_where_it_must_be(tmp_path: Path) -> None:
    here, there = tmp_path / "a checkout", tmp_path / "moved"
    here.mkdir()
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, here)
    first = make_venv(here)
    (here / ".venv" / ".installed").touch()
    assert make_venv(here) == first, "a good one stays as it is"
    here.rename(there)
    moved = make_venv(there)
    assert moved > first and not (there / ".venv" / ".installed").exists()
    python = there / ".venv" / "bin" / "python"
    python.unlink()
    python.write_text('#!/bin/sh\necho "pip 23.0 from /usr/lib (python 3.9)"\n')
    python.chmod(0o755)
    assert make_venv(there) > moved, "one of another Python is replaced"
