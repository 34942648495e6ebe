"""`avadet train` on the staged squares, as a process of its own: CONFIG."""

from __future__ import annotations

import sys

import pytest
from staged_squares import use_squares

from avadet.cli.main import main

if __name__ == "__main__":
    use_squares(pytest.MonkeyPatch())
    sys.exit(main(["train", *sys.argv[1:]]))
