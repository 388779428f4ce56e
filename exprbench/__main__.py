"""`python -m exprbench`: the command `exprbench`."""

import sys

from exprbench.cli import main

if __name__ == "__main__":
    sys.exit(main())
