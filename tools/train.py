"""Thin twin of `avadet train`: python tools/train.py CONFIG section.key=value ..."""

import sys

from avadet.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
