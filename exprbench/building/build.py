"""`build`: inputs, assets and pairs put together into a folder that appears whole or not at all."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import exprbench
from exprbench.benchmark import Benchmark, LeftOut, dump_cases
from exprbench.building.assets import Prepared, prepare
from exprbench.building.pairing import draw_sizes, make_cases
from exprbench.building.source_files import Input, gather
from exprbench.core.errors import ItemError, UserError
from exprbench.core.files import write_json, write_text
from exprbench.core.processes import num_cores, process_map
from exprbench.faces.video_tracks import tracks_made_by


def build(
    *,
    portraits: Path | str,
    driving: Path | str,
    out: Path | str,
    multi_portraits: Path | str | None = None,
    multi_driving: Path | str | None = None,
    clip_seconds: float = 5.0,
    fps: float = 25.0,
    cross_per_portrait: int = 1,
    seed: int = 0,
    name: str = "exprbench",
    workers: int | None = None,
) -> Benchmark:
    """Make a benchmark folder; what could not be used is listed in its `left_out`, with the reason.

    A folder of inputs may hold a `sources.csv` with the columns file, source, licence, person, faces (all but the
    first may be missing). `person` keeps people from driving themselves (default: the file's name; `;` between
    several); `faces` tells how many faces a portrait has where no detector finds them.

    Args:
        portraits: a folder of images with one person each; those in which no face is found stay, marked.
        driving: a folder of videos with one person each; the first `clip_seconds` of each are used.
        multi_portraits: the same with several people.
        multi_driving: videos of several people, and of one, which are combined, left to right, for portraits that no
            video matches in the number of faces.
        out: the folder to make; it must not exist.
        cross_per_portrait: how many drivers each portrait gets.

    Raises:
        UserError: nothing can be made of what was given.
    """
    root = Path(out)
    if root.exists():
        raise UserError(f"{root} exists already; remove it or name another folder with --out")
    if not 0 < clip_seconds <= 600 or not 1 <= fps <= 240 or cross_per_portrait < 0:
        raise UserError(
            f"cannot make {cross_per_portrait} clips a portrait of {clip_seconds} s at {fps} frames a second"
        )
    folders = (
        (portraits, "portrait", "single"),
        (driving, "driver", "single"),
        (multi_portraits, "portrait", "multi"),
        (multi_driving, "driver", "multi"),
    )
    inputs = [i for folder, kind, split in folders if folder for i in gather(Path(folder), kind, split)]
    making = root.with_name(f".{root.name}.building")
    shutil.rmtree(making, ignore_errors=True)  # left by a run that was killed
    workers = num_cores() if workers is None else workers
    try:
        ready, left_out = _prepare_all(inputs, making, fps, clip_seconds, workers)
        drawn = draw_sizes(ready, seed)
        cases, unmatched = make_cases(drawn, cross_per_portrait, seed)
        bench = Benchmark(
            root=making,
            name=name,
            fps=float(fps),
            clip_seconds=float(clip_seconds),
            seed=seed,
            assets=dict(sorted((path, asset) for item in drawn for path, asset in item.assets.items())),
            cases=tuple(cases),
            left_out=tuple(
                sorted([*left_out, *unmatched, *_not_drawn(ready, drawn)], key=lambda x: (x.path, x.reason))
            ),
            made_by={"exprbench": exprbench.__version__, "faces": tracks_made_by()},
        )
        _finish(bench)
        making.rename(root)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return replace(bench, root=root)


def _prepare_all(
    inputs: Sequence[Input], root: Path, fps: float, clip_seconds: float, workers: int
) -> tuple[list[Prepared], list[LeftOut]]:
    ready, left_out = [], []
    work = partial(prepare, root=root, fps=fps, clip_seconds=clip_seconds)
    for item, result in process_map(work, inputs, workers=workers, label="build", unit="file"):
        if isinstance(result, ItemError):
            left_out.append(LeftOut(path=item.path.name, reason=result.code, detail=result.detail))
        else:
            ready.append(result)
    return sorted(ready, key=lambda p: p.main), left_out


def _not_drawn(ready: list[Prepared], drawn: list[Prepared]) -> list[LeftOut]:
    kept = {p.main for p in drawn}
    detail = "there are more than the paper's number; this one was not drawn"
    return [LeftOut(path=p.input.path.name, reason="not_drawn", detail=detail) for p in ready if p.main not in kept]


def _finish(bench: Benchmark) -> None:
    """Write the two files that describe the folder, and remove what belongs to no asset."""
    if not bench.cases:
        reasons = "; ".join(f"{item.path}: {item.reason}" for item in bench.left_out[:5])
        raise UserError(f"no case could be made of these inputs ({reasons or 'there are none'})")
    for path in [p for p in bench.root.rglob("*") if p.is_file()]:
        if path.relative_to(bench.root).as_posix() not in bench.assets:
            path.unlink()
    write_json(bench.root / "benchmark.json", bench.describe())
    write_text(bench.root / "cases.csv", dump_cases(bench.cases))
