"""`python -m fantasyportrait`, which torchrun can start."""

import sys

from fantasyportrait.cli import main

sys.exit(main())
