"""`python -m tests.failures --times 50`: the failure tests, each random fault 50 times (once in `make test`)."""

import argparse
import os
import sys
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.failures", description=__doc__)
    parser.add_argument("--times", type=int, default=50, help="how often (default: %(default)s)")
    parser.add_argument("--seed", default="0", help="other places and moments (default: %(default)s)")
    args = parser.parse_args()
    os.environ["EXPRBENCH_FAILURES"], os.environ["EXPRBENCH_FAILURES_SEED"] = str(args.times), args.seed
    import pytest

    return pytest.main([str(Path(__file__).parent), "-v", "--durations=0"])


if __name__ == "__main__":
    sys.exit(main())
