import os
import subprocess
import sys

import pytest
from each_case import each_case


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_large_freed_blocks_are_used_again_without_page_faults() -> None:
    program = """
import resource, sys
import numpy as np
from avadet.memory import keep_freed_memory
if sys.argv[1] == "keep": assert keep_freed_memory()
np.ones(40_000_000, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5): np.ones(40_000_000, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = {
        how: int(
            subprocess.run(
                [sys.executable, "-S", "-c", _with_path(program), how], capture_output=True, text=True, check=True
            ).stdout
        )
        for how in ("keep", "plain")
    }
    assert faults["keep"] < faults["plain"] / 10


@each_case(
    ("before", "given", "policy"),
    [("", None, "PASSIVE"), ("", "ACTIVE", "ACTIVE"), ("import sys; sys.modules['torch'] = sys; ", None, "None")],
    ids=["unset", "the user's own", "torch is loaded"],
)
def test_threads_that_wait_sleep(before: str, given: str | None, policy: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": given} if given else {}
    program = f"{before}import avadet, os; print(os.environ.get('OMP_WAIT_POLICY'))"
    command = [sys.executable, "-c", _with_path(program)]
    assert subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout == f"{policy}\n"


def _with_path(program: str) -> str:
    return f"import sys; sys.path[:0] = {sys.path!r}\n{program}"
