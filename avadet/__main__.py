"""`python -m avadet` is the command `avadet`."""

import sys

from avadet.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
