"""`python -m benchmarks`: every question that needs no GPU, one after the other, each in a process of its own.

Tables are printed as they come, numbers go to JSON files, and `--write` puts all of these files into a page of
documentation, below its line that says so.
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
    """Run one script; did it end well?"""
    print(f"\n== {script}\n", flush=True)
    line = [sys.executable, "-m", f"benchmarks.{script}", "--json", str(folder / f"{script}.json")]
    return subprocess.run(line, check=False).returncode == 0


def write(page: Path, folder: Path) -> None:
    """Replace the measured part of a page by what the JSON files of a folder hold."""
    first = [path for script in SCRIPTS if (path := folder / f"{script}.json").exists()]
    others = [path for path in sorted(folder.glob("*.json")) if path not in first]
    prose = page.read_text(encoding="utf-8").split(MARK)[0]
    write_text(page, prose + MARK + "\n\n" + "\n\n".join(to_markdown(load(path)) for path in (*first, *others)) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for."""
    parser = Parser(
        prog="python -m benchmarks",
        description="Speed and memory beside other libraries, on this machine.",
        examples="  python -m benchmarks\n  python -m benchmarks frechet clip\n  python -m benchmarks --write",
    )
    parser.add_argument("scripts", nargs="*", metavar="SCRIPT", help=f"which; by default {', '.join(SCRIPTS)}")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"), help="folder for JSON (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help=f"no run: write what is in --out into docs/{PAGE.name}")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.write:
        write(PAGE, args.out)
        return 0
    failed = [script for script in args.scripts or SCRIPTS if not run(script, args.out)]
    if failed:
        print(f"\nerror: these did not end well: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
