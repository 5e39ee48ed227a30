"""`python -m eztorch` is the command `eztorch`."""

import sys

from eztorch.cli import main

if __name__ == "__main__":
    sys.exit(main())
