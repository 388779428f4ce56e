"""The command `exprbench score` as processes that can be watched, disturbed and run again."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from exprbench.benchmark import Benchmark
from exprbench.faces.video_tracks import given_path

METRICS = "psnr,ssim,lmd,mae,aed,apd"
LIMIT_S = 600


@dataclass(frozen=True)
class Scoring:
    """A command that ends in the record `out`; `whole_s` is how long it took undisturbed."""

    bench: Path
    predictions: Path
    out: Path
    record: str = ""
    whole_s: float = 0.0

    @staticmethod
    def of(bench: Benchmark, predictions: Path, out: Path) -> "Scoring":
        """Predictions without any error, a first undisturbed run and its record."""
        predictions.mkdir()
        for case in bench.cases:
            driver = bench.path(case.drivers[0])
            shutil.copyfile(driver, predictions / f"{case.case_id}.mp4")
            shutil.copyfile(given_path(driver), predictions / f"{case.case_id}.tracks.npz")
        made = Scoring(bench.root, predictions, out)
        start = time.monotonic()
        made.run()
        return replace(made, record=made.written(), whole_s=time.monotonic() - start)

    def into(self, out: Path) -> "Scoring":
        """The same for another record."""
        return replace(self, out=out)

    def start(self, workers: int = 1) -> subprocess.Popen:
        """Begin."""
        line = [sys.executable, "-m", "exprbench.cli", "score", "--benchmark", self.bench, "--method", "m"]
        line += ["--predictions", self.predictions, "--out", self.out, "--metrics", METRICS, "--workers", workers]
        return subprocess.Popen(
            [str(word) for word in line], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def run(self, workers: int = 1) -> None:
        """To the end, which must be a good one."""
        process = self.start(workers)
        told = process.communicate(timeout=LIMIT_S)[1]
        assert process.returncode == 0, told

    def refused(self, workers: int = 1) -> str:
        """To an end that is the user's to mend: status 2, and the one line that says so."""
        process = self.start(workers)
        told = process.communicate(timeout=LIMIT_S)[1]
        assert process.returncode == 2, told
        assert "Traceback" not in told
        return told.strip().splitlines()[-1]

    def written(self) -> str:
        """The record without its timing, as it was written."""
        told = json.loads(self.out.read_text(encoding="utf-8"))
        del told["timing"]
        return json.dumps(told, indent=2)

    def ends_well(self, workers: int = 1) -> None:
        """The same command, given again, makes the same record."""
        self.run(workers)
        assert self.written() == self.record


def below(pid: int) -> list[int]:
    """All processes below one, as far as /proc knows them."""
    try:
        told = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []
    children = [int(child) for line in told for child in line]
    return [p for child in children for p in (child, *below(child))]


def words_of(pid: int) -> str:
    """A process's command line; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def gone(pids: list[int], within_s: float = 120.0) -> list[int]:
    """Wait for processes to end; those that have not."""
    end = time.monotonic() + within_s
    while (left := [pid for pid in pids if _alive(pid)]) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
