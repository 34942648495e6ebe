"""Thin twin of `avadet infer`: python tools/infer.py VIDEO... --out DIR."""

import sys

from avadet.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["infer", *sys.argv[1:]]))
