"""Kill a curation at random points, over and over, and see that the dataset comes out the same.

    python -m tests.multiexpr.kill SOURCE [--times 20] [--longest 30] [--seed 0]

Every round starts from nothing, is killed (kill -9, at moments up to `--longest` seconds from its start) three times,
and is then let run to its end.
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
    """Give the command once more, and wait for it."""
    run = command(source, out, "--workers", "2")
    said, _ = run.communicate()
    if run.returncode:
        raise SystemExit(said)
    return contents(Workspace(out))


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.multiexpr.kill", description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--longest", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    moments = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        expected = finish(args.source, Path(folder) / "reference")
        for number in range(args.times):
            out = Path(folder) / f"{number}"
            after = [moments.uniform(0, args.longest) for _ in range(KILLS)]
            for seconds in after:
                run = command(args.source, out, "--workers", "2")
                try:
                    run.wait(timeout=seconds)
                except subprocess.TimeoutExpired:
                    run.kill()
                    run.wait()
            found = finish(args.source, out)
            different = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
            print(
                f"{number}: killed after {', '.join(f'{s:.1f} s' for s in after)}: {different or 'the same'}",
                flush=True,
            )
            if different:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
