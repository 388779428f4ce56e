"""Memory and time of listing a collection, by its number of videos.

    python -m benchmarks.curation_index --videos 1000000 13000000

The collection is laid out like OpenVid-1M: a CSV that names the members of zips. The zips hold lists of contents and no
videos, because listing reads nothing else of them.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.common import Row, Table, report
from benchmarks.curation import run_json
from exprbench.core.cli_base import Parser

PER_ZIP = 50_000  # below the 65,535 members from which on a zip has another format
CAPTION = "a person in a light room talks to another one and moves the head slowly from side to side"
CENTRAL_HEADER = np.dtype(
    [("signature", "S4"), ("versions", "<u4"), ("flags", "<u2"), ("method", "<u2"), ("time", "<u4"), ("crc", "<u4"),
     ("packed", "<u4"), ("size", "<u4"), ("name_length", "<u2"), ("other", "V12"), ("offset", "<u4"), ("name", "S28")]
)  # fmt: skip

LIST = """
import json, resource, sys, time
from pathlib import Path
from multiexpr.curation import list_videos
from multiexpr.storage.workspace import Workspace
start = time.perf_counter()
summary = list_videos(sys.argv[1], Workspace(Path(sys.argv[2])), {"check_content": sys.argv[3] == "True"})
print(json.dumps({"seconds": time.perf_counter() - start, "videos": summary.num_entries, "new": summary.num_new,
                  "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}))
"""


def write_collection(root: Path, num_videos: int) -> None:
    """Write the CSV and the zips of a collection."""
    (root / "data/train").mkdir(parents=True)
    rng = np.random.default_rng(0)
    with (root / "data/train/OpenVid-1M.csv").open("w") as table:
        table.write("video,caption,aesthetic score,motion score,frame,fps,seconds\n")
        for part, start in enumerate(range(0, num_videos, PER_ZIP)):
            names = [f"clip_{i:011d}_0to100.mp4" for i in range(start, min(start + PER_ZIP, num_videos))]
            table.writelines(f"{name},{CAPTION},5.1,2.0,120,30.0,4.0\n" for name in names)
            _write_zip(root / f"OpenVid_part{part}.zip", names, rng)


def _write_zip(path: Path, names: list[str], rng: np.random.Generator) -> None:
    headers = np.zeros(len(names), CENTRAL_HEADER)
    headers["signature"], headers["name"], headers["name_length"] = b"PK\x01\x02", names, 27
    headers["crc"] = rng.integers(0, 2**32, len(names))
    headers["size"] = headers["packed"] = rng.integers(100_000, 5_000_000, len(names))
    rows = headers.view(np.uint8).reshape(len(names), -1)[:, : CENTRAL_HEADER.itemsize - 1]  # names have 27 bytes
    count, size = len(names).to_bytes(2, "little"), rows.size.to_bytes(4, "little")
    path.write_bytes(rows.tobytes() + b"PK\x05\x06" + bytes(4) + count + count + size + bytes(6))


def measure(work: Path, num_videos: int, *, check_content: bool) -> list[Row]:
    """List a collection twice, and return time and memory of both."""
    root, out, rows = work / f"source-{num_videos}", work / f"out-{num_videos}-{check_content}", []
    if not root.exists():
        write_collection(root, num_videos)
    for name in ("new", "listed again"):
        run = run_json("-c", LIST, root, out, check_content)
        assert run["videos"] == num_videos, run
        checked = "" if check_content else ", --no-content-check"
        note = f"{1000 * run['seconds'] / num_videos:.3f} ms per video"
        rows.append(Row(name=f"{num_videos:,} videos, {name}{checked}", median_s=run["seconds"],
                        fastest_s=run["seconds"], times_slower=1.0, peak_mb=run["mb"], note=note))  # fmt: skip
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Measure each number of videos and report the table."""
    parser = Parser(prog="python -m benchmarks.curation_index", description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], metavar="N")
    parser.add_argument("--no-content-check", action="store_true", help="do not search for files with equal content")
    parser.add_argument("--json", type=Path, metavar="FILE", help="JSON file to write")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="index-") as work:
        rows = [
            row for count in args.videos for row in measure(Path(work), count, check_content=not args.no_content_check)
        ]
        report("curation_index", [Table(title="Listing", rows=rows)], args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
