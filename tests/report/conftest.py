"""A small benchmark at a chosen frame rate, three methods of known errors on it, and their records."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from exprbench import build, score
from exprbench.benchmark import Benchmark
from exprbench.faces.tracks import load_tracks
from exprbench.faces.video_tracks import given_path
from exprbench.media import read_clip, write_video
from exprbench.report import ReportSettings, build_report
from tests.people import give, moved, people, person, still
from tests.videos import numbered

NUM_FRAMES = 60
METHODS = ("exact", "moved <script>alert(1)</script>", "short")
SHIFT = 0.02


def clip(path, *tracks, fps, start):
    write_video(path, (numbered(start + i) for i in range(NUM_FRAMES)), fps=fps)
    give(path, replace(people(NUM_FRAMES, *tracks), fps=fps))


def make_bench(root, fps):
    """A single driver whose frames carry the numbers 100 ..., and one of two people with the numbers 300 ..."""
    folders = {name: root / name for name in ("portraits", "driving", "multi_portraits", "multi_driving")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    still(folders["portraits"] / "bo & <b>cy.png", person(1, seed=10))
    clip(folders["driving"] / "ada.mp4", person(NUM_FRAMES, seed=1), fps=fps, start=100)
    still(folders["multi_portraits"] / "pair.png", person(1, x=0.3), person(1, x=0.7))
    duo = person(NUM_FRAMES, x=0.3, seed=5), person(NUM_FRAMES, x=0.7, seed=6)
    clip(folders["multi_driving"] / "duo.mp4", *duo, fps=fps, start=300)
    return build(**folders, out=root / "bench", workers=0, fps=fps, clip_seconds=NUM_FRAMES / fps)


def predict(bench, folder, method):
    """The drivers themselves; with their faces shifted, or only 40 frames of them, for two of the methods."""
    folder.mkdir(parents=True)
    for case in bench.cases:
        driver, path = bench.path(case.drivers[0]), folder / f"{case.case_id}.mp4"
        shutil.copyfile(driver, path)
        tracks = load_tracks(given_path(driver))
        if method == "short":
            write_video(path, read_clip(driver)[0][:40], fps=bench.fps)
            tracks = tracks.first(40)
        shift = SHIFT if method.startswith("moved") else 0
        give(path, replace(tracks, tracks=tuple(moved(t, shift) for t in tracks.tracks), video_sha256=""))
    return folder


@dataclass
class Scored:
    """A benchmark, the folder of each method's videos, and the path of each method's record."""

    bench: Benchmark
    predictions: dict[str, Path]
    records: list[Path]

    def report(self, out, methods=METHODS, **options):
        """Build the report; settings and arguments as keywords."""
        settings = {name: options.pop(name) for name in ReportSettings.__dataclass_fields__ if name in options}
        arguments = {"benchmark": self.bench.root, "predictions": self.predictions, "workers": 0, **options}
        chosen = [path for path, method in zip(self.records, METHODS, strict=True) if method in methods]
        if arguments["predictions"]:
            arguments["predictions"] = {m: p for m, p in arguments["predictions"].items() if m in methods}
        return build_report(chosen, out=out, settings=ReportSettings(**settings), **arguments)


def make_scored(root, fps):
    bench = Benchmark.open(make_bench(root, fps).root)
    scored = Scored(bench, {}, [])
    for i, method in enumerate(METHODS):
        scored.predictions[method] = predict(bench, root / "predictions" / str(i), method)
        scored.records.append(root / f"{i}.json")
        options = {"metrics": ["psnr", "lmd", "mae", "aed", "apd"], "workers": 0, "floors": False}
        folders = {"benchmark": bench.root, "predictions": scored.predictions[method]}
        score(**folders, method=method, out=scored.records[-1], **options)
    return scored


@pytest.fixture(scope="session")
def scored(tmp_path_factory):
    return make_scored(tmp_path_factory.mktemp("scored"), 25)


@pytest.fixture(scope="session")
def report_folder(scored, tmp_path_factory):
    """The folder of a report that tests read and do not change."""
    return scored.report(tmp_path_factory.mktemp("report") / "report").page.parent


def page_data(folder):
    return json.loads((folder / "report_data.js").read_text().removeprefix("window.ExprBenchData = ").rstrip(";\n"))


def case_data(folder, case_id, suffix=".js"):
    text = (folder / "cases" / f"{case_id}{suffix}").read_text()
    return json.loads(text[text.index(", ") + 2 : text.rindex(");")])
