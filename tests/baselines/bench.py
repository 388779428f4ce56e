"""Benchmarks and repositories for tests of the runner."""

import shutil
from pathlib import Path

import numpy as np

from baselines.geometry import Rect
from baselines.placement import FEATHER
from baselines.run_record import load_run, prediction_path
from baselines.runner import RunSettings, run_method
from exprbench import build
from exprbench.media import read_clip, write_image, write_video
from exprbench.metrics.psnr import psnr
from tests.people import give, people, person
from tests.videos import numbered

DOUBLES = Path(__file__).parent / "doubles"
SIDE = 160
OPTIONS = {"fantasyportrait": {"model": "model"}}


def textured(i, width, height):
    """A numbered frame with a fixed texture below the numbers, by which crops can be located."""
    frame = numbered(i, width, height).copy()
    texture = np.random.default_rng(0).integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    frame[56:] = np.kron(texture, np.ones((8, 8, 1), np.uint8))[56:height, :width]
    return frame


def numbered_bench(root, *, num_frames=30, fps=25, size=(SIDE, SIDE), num_drivers=1):
    """A benchmark with one portrait and `num_drivers` drivers whose frames carry their numbers; faces are given."""
    for kind in ("portraits", "driving"):
        (root / kind).mkdir(parents=True)
    write_image(root / "portraits/p.png", textured(1000, *size))
    give(root / "portraits/p.png", people(1, person(1), size=size))
    for i in range(num_drivers):
        path = root / f"driving/d{i}.mp4"
        write_video(path, (textured(100 * i + k, *size) for k in range(num_frames)), fps=fps)
        give(path, people(num_frames, person(num_frames), size=size))
    return build(
        portraits=root / "portraits", driving=root / "driving", out=root / "bench", fps=fps, workers=0, clip_seconds=60
    )


def repository(method_id, folder):
    """The double of a method, as a repository."""
    shutil.copytree(DOUBLES / method_id, folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(DOUBLES / "common.py", folder)
    return folder


def run_double(method_id, repo, bench, out, *, python, **options):
    given = {"gpus": ("",), "options": OPTIONS.get(method_id), "attempts": 2, **options}
    settings = RunSettings(python=python, repo=repo, **given)
    return run_method(method_id, benchmark=bench.root, out=out, settings=settings)


def frames_of(path):
    return read_clip(path)[0]


def part_psnrs(bench, out, case):
    """The mean PSNR of each part that the method made, inside its soft border, against the driver of a self case."""
    driver, made = frames_of(bench.path(case.drivers[0])), frames_of(prediction_path(out, case.case_id))
    height, width = made[0].shape[:2]
    parts = [Rect(**part["target"]) for part in load_run(out, case.case_id).normalization["parts"]]
    boxes = [inside(part, width, height) for part in parts]
    pairs = list(zip(driver, made, strict=False))
    return [float(np.mean([psnr(box.crop(a), box.crop(b)) for a, b in pairs])) for box in boxes]


def inside(part, width, height):
    soft = round(FEATHER * min(part.width, part.height)) + 1
    left, top = max(0, part.x + soft), max(0, part.y + soft)
    right, bottom = min(width, part.x + part.width - soft), min(height, part.y + part.height - soft)
    return Rect(x=left, y=top, width=right - left, height=bottom - top)


def hashes(folder):
    from exprbench.core.files import sha256_path

    return {p.relative_to(folder).as_posix(): sha256_path(p) for p in sorted(folder.rglob("*")) if p.is_file()}
