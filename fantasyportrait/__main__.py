"""Entry point of `python -m fantasyportrait`, as used with torchrun."""

import sys

from fantasyportrait.cli import main

sys.exit(main())
