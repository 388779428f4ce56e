"""Kill a curation at random points, repeatedly, and check that the resumed run writes the same dataset.

    python -m tests.multiexpr.kill SOURCE [--times 20] [--longest 30] [--seed 0]

Every round starts with an empty folder, is killed three times (kill -9, up to `--longest` seconds after each start) and
then runs to the end.
"""

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from multiexpr.storage.workspace import Workspace
from tests.multiexpr.test_curate import command, contents

KILLS = 3


def finish(source, out):
    """Run the command to its end and return the files that it wrote."""
    run = command(source, out, "--workers", "2")
    output, _ = run.communicate()
    if run.returncode:
        raise SystemExit(output)
    return contents(Workspace(out))


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.multiexpr.kill", description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--longest", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        expected = finish(args.source, Path(folder) / "reference")
        for number in range(args.times):
            out = Path(folder) / f"{number}"
            delays_s = [rng.uniform(0, args.longest) for _ in range(KILLS)]
            for seconds in delays_s:
                run = command(args.source, out, "--workers", "2")
                try:
                    run.wait(timeout=seconds)
                except subprocess.TimeoutExpired:
                    run.kill()
                    run.wait()
            files = finish(args.source, out)
            different = sorted(name for name in {*expected, *files} if expected.get(name) != files.get(name))
            delays = ", ".join(f"{s:.1f} s" for s in delays_s)
            print(f"{number}: killed after {delays}: {different or 'the same'}", flush=True)
            if different:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
