"""Fixtures and markers that all tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # on a busy machine, threads that wait spinning wait for long

# A suite in the background of a shell ignores Ctrl-C, and so would every program that it starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):  # likewise under nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow as well")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what is marked slow, but with --slow and where tests are named by themselves (file.py::test)."""
    if config.getoption("--slow") or any("::" in word for word in config.args):
        return
    left_out = [item for item in items if item.get_closest_marker("slow")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real videos, data sets and reference outputs; skips where it is absent."""
    repository = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("AVADET_SHARED", repository.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"shared data absent ({folder.name}/data); set AVADET_SHARED to its folder")
    return folder
