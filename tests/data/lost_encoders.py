"""Encoders to which something happens, for processes that import them."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from avadet.data import prepare
from avadet.data.reencode import Job, Prepared
from avadet.files import whole_file

encode = prepare._outcome


def kill_first(job: Job) -> Prepared | str:
    """Of figures_0 the process is killed while it writes."""
    if job.video_id != "figures_0":
        return encode(job)
    with whole_file(job.target) as partial:
        partial.write_bytes(b"half of it")
        os.kill(os.getpid(), signal.SIGKILL)
    return ""


def wait_for_ever(job: Job) -> str:
    """Nothing comes of it."""
    with whole_file(job.target) as partial:
        partial.write_bytes(b"half of it")
        time.sleep(600)
    return ""


def raise_bug(job: Job) -> str:
    """A bug shows with one video."""
    raise ZeroDivisionError("of a bug")


def main(spec: str, out: str) -> None:
    """Prepare a data set in two processes that never get done."""
    from avadet.cli.main import main as avadet

    prepare._outcome = wait_for_ever
    sys.exit(avadet(["data", "prepare", spec, "--out", out, "--workers", "2"]))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    import lost_encoders

    lost_encoders.main(*sys.argv[1:])
