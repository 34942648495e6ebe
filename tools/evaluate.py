"""Thin twin of `avadet eval`: python tools/evaluate.py DET.csv --gt GT.csv."""

import sys

from avadet.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["eval", *sys.argv[1:]]))
