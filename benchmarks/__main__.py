"""`python -m benchmarks`: run all benchmarks that need no GPU, one after the other, each in its own process.

Each script prints its tables and writes a JSON file. `--write` renders the JSON files into docs/performance.md, below a
marker line.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common import load, to_markdown
from exprbench.core.cli_base import Parser
from exprbench.core.files import write_text

SCRIPTS = ("decode", "psnr_ssim", "startup", "clip", "hot_path", "throughput", "frechet", "memory")
MARK = "<!-- Measured: `python -m benchmarks --write` replaces everything below this line. -->"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"


def run(script: str, folder: Path) -> bool:
    """Run one script and return whether it succeeded."""
    print(f"\n== {script}\n", flush=True)
    command = [sys.executable, "-m", f"benchmarks.{script}", "--json", str(folder / f"{script}.json")]
    return subprocess.run(command, check=False).returncode == 0


def write(page: Path, folder: Path) -> None:
    """Replace the measured part of a page with the tables in a folder's JSON files."""
    first = [path for script in SCRIPTS if (path := folder / f"{script}.json").exists()]
    others = [path for path in sorted(folder.glob("*.json")) if path not in first]
    prose = page.read_text(encoding="utf-8").split(MARK)[0]
    write_text(page, prose + MARK + "\n\n" + "\n\n".join(to_markdown(load(path)) for path in (*first, *others)) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the scripts, or write the page, and return the exit status."""
    parser = Parser(
        prog="python -m benchmarks",
        description="Compare speed and memory with other libraries on this machine.",
        examples="  python -m benchmarks\n  python -m benchmarks frechet clip\n  python -m benchmarks --write",
    )
    parser.add_argument(
        "scripts", nargs="*", metavar="SCRIPT", help=f"benchmark to run (default: {', '.join(SCRIPTS)})"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/bench"), help="folder of the JSON files (default: %(default)s)"
    )
    parser.add_argument(
        "--write", action="store_true", help=f"write the JSON files in --out into docs/{PAGE.name}, without a run"
    )
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.write:
        write(PAGE, args.out)
        return 0
    failed = [script for script in args.scripts or SCRIPTS if not run(script, args.out)]
    if failed:
        print(f"\nerror: these benchmarks failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
