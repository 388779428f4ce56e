"""Report of 400 cases and ten methods: time to build it with cached videos, and to open its first page in Chromium.

The first build fills the cache. Cases with the same driver share a tiled video, so the first build encodes only one for
each driver; the next builds read and write one for each case, like any other report of this size.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.common import Row, Table, arguments, compare, report, tree_cpu_s
from exprbench import build, build_report, score
from exprbench.benchmark import Benchmark
from exprbench.faces.video_tracks import given_path
from exprbench.media import write_image, write_video
from exprbench.records import save_record
from tests.browser import CHROME, DRIVER, open_browser
from tests.people import give, people, person

NUM_DRIVERS, NUM_CASES, NUM_METHODS, NUM_FRAMES, SIDE = 20, 400, 10, 125, 256
WAITING = "return performance.getEntriesByType('navigation')[0].loadEventEnd > 0 && !document.hidden"
TIMES = """
const load = performance.getEntriesByType('navigation')[0].loadEventEnd;
const paint = performance.getEntriesByName('first-contentful-paint')[0];
return [load / 1000, paint ? paint.startTime / 1000 : null];
"""


def pan(seed: int, num_frames: int) -> Iterator[np.ndarray]:
    """Yield (256, 256, 3) frames of a camera pan over scikit-image's astronaut, which depends on the seed."""
    from skimage.data import astronaut

    picture = astronaut()
    for t in range(num_frames):
        x, y = (round(128 + 120 * wave(t / 15 + seed)) for wave in (np.sin, np.cos))
        yield np.ascontiguousarray(picture[y : y + SIDE, x : x + SIDE])


def benchmark(root: Path) -> Benchmark:
    """Build a benchmark of 20 drivers, 20 portraits and 400 cases with given face tracks."""
    for name in ("portraits", "driving"):
        (root / name).mkdir(parents=True)
    for i in range(NUM_DRIVERS):
        portrait, driver = root / "portraits" / f"{i}.png", root / "driving" / f"{i}.mp4"
        write_image(portrait, next(pan(100 + i, 1)))
        give(portrait, people(1, person(1, seed=100 + i), size=(SIDE, SIDE)))
        write_video(driver, pan(i, NUM_FRAMES))
        give(driver, people(NUM_FRAMES, person(NUM_FRAMES, seed=i), size=(SIDE, SIDE)))
    folders = {"portraits": root / "portraits", "driving": root / "driving"}
    per_portrait = (NUM_CASES - NUM_DRIVERS) // NUM_DRIVERS
    return build(**folders, out=root / "bench", cross_per_portrait=per_portrait, workers=0)


def predict(bench: Benchmark, folder: Path) -> None:
    """Link the driver and its tracks under the name of every case."""
    folder.mkdir(parents=True)
    for case in bench.cases:
        driver, path = bench.path(case.drivers[0]), folder / f"{case.case_id}.mp4"
        for source, target in ((driver, path), (given_path(driver), given_path(path))):
            try:
                os.link(source, target)
            except OSError:
                shutil.copyfile(source, target)


def inputs(root: Path) -> dict[str, object]:
    """Return the arguments of `build_report`: one scored method under ten names, each with videos of its own."""
    bench = benchmark(root)
    names = [f"method {i}" for i in range(NUM_METHODS)]
    for i in range(NUM_METHODS):
        predict(bench, root / "predictions" / str(i))
    scored = score(
        benchmark=bench.root,
        predictions=root / "predictions" / "0",
        method=names[0],
        out=root / "0.json",
        metrics=["lmd", "mae", "aed", "apd"],
        floors=False,
    )
    for i, name in enumerate(names):
        save_record(root / f"{i}.json", replace(scored, method=name))
    predictions = {name: root / "predictions" / str(i) for i, name in enumerate(names)}
    records = [root / f"{i}.json" for i in range(NUM_METHODS)]
    return {"records": records, "benchmark": bench.root, "predictions": predictions}


def megabytes(folder: Path, suffix: str) -> float:
    """Return the size of the files with a suffix."""
    return sum(path.stat().st_size for path in folder.rglob(f"*{suffix}")) / 1e6


def first_page(page: Path, repeats: int) -> Table:
    """Return how long the first page takes to load and to paint in headless Chromium."""
    loads, paints = [], []
    with open_browser() as browser:
        for _ in range(repeats):
            browser.open("about:blank")
            browser.open(page.as_uri())
            while not browser.run(WAITING):
                time.sleep(0.05)
            load, paint = browser.run(TIMES)
            loads.append(load)
            paints.append(paint if paint is not None else float("nan"))
    names = {"loaded, all drawn": loads, "first paint": paints}
    rows = [
        Row(name=n, median_s=float(np.median(t)), fastest_s=min(t), times_slower=float(np.median(t) / np.median(loads)))
        for n, t in names.items()
    ]
    return Table(title=f"First page of {NUM_CASES} cases and {NUM_METHODS} methods in Chromium", rows=rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and return its exit status."""
    args = arguments("report_page", __doc__, argv)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.environ["EXPRBENCH_CACHE"] = str(root / "cache")
        make = partial(build_report, **inputs(root), out=root / "report")
        start = time.perf_counter()
        make()
        first_s = time.perf_counter() - start
        (row,) = compare({"cached": make}, args.repeats)
        size = megabytes(root / "report", "")
        row.note = f"{size:.0f} MB; the first build took {first_s:.0f} s"
        (cpu,) = compare({"cached, processor time of all cores": make}, 1, clock=tree_cpu_s)
        rows = [replace(r, value=None) for r in (row, cpu)]
        tables = [Table(title=f"Build a report of {NUM_CASES} cases and {NUM_METHODS} methods", rows=rows)]
        if CHROME and DRIVER:
            tables.append(first_page(root / "report" / "index.html", args.repeats))
        report("report_page", tables, args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
