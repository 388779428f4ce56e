"""Build a benchmark folder: prepare the inputs, draw the pairs, and rename the finished folder into place."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import exprbench
from exprbench.benchmark import Benchmark, LeftOut, dump_cases
from exprbench.building.assets import Prepared, prepare
from exprbench.building.pairing import draw_subset, make_cases
from exprbench.building.source_files import Input, list_inputs
from exprbench.core.errors import ItemError, UserError
from exprbench.core.files import atomic_folder, write_json, write_text
from exprbench.core.locks import sole_writer
from exprbench.core.processes import WorkerKilled, num_cores, process_map
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
    """Build a benchmark folder and return it; unusable inputs are listed in its `left_out`, with the reason.

    A folder of inputs can contain a `sources.csv` with the columns file, source, url, author, licence, person, faces
    and start_s (all but file are optional). `person` names the people of a file, separated by `;`, so that no one
    drives their own portrait (default: the file's name). `faces` is the number of faces of a portrait in which none are
    detected. `start_s` skips the beginning of a video.

    Args:
        portraits: folder of images with one person each; images without a detected face are kept and marked.
        driving: folder of videos with one person each; the first `clip_seconds` of each are used.
        out: the benchmark folder; it must not exist.
        multi_portraits: folder of images with several people each.
        multi_driving: folder of videos with several people, or with one; the latter are combined, left to right, for
            portraits whose number of faces no single video has.
        clip_seconds: maximum duration of the driving clips in seconds.
        fps: frames per second of the driving clips.
        cross_per_portrait: drivers per portrait.
        seed: seed of the pairing.
        name: name of the benchmark.
        workers: number of processes; 0 runs everything in this process; None uses all cores.

    Raises:
        UserError: `out` exists or is being written by another run, an option is out of range, no case can be made of
            the inputs, or the machine killed the process that prepared one of them.
    """
    root = Path(out)
    if root.exists():
        raise UserError(f"{root} already exists; remove it or choose another folder with --out")
    if not 0 < clip_seconds <= 600 or not 1 <= fps <= 240 or cross_per_portrait < 0:
        raise UserError(
            f"cannot build {cross_per_portrait} clips per portrait of {clip_seconds} s at {fps} frames per second;"
            " expected 0 or more clips, up to 600 s, and 1 to 240 frames per second"
        )
    folders = (
        (portraits, "portrait", "single"),
        (driving, "driver", "single"),
        (multi_portraits, "portrait", "multi"),
        (multi_driving, "driver", "multi"),
    )
    inputs = [i for folder, kind, split in folders if folder for i in list_inputs(Path(folder), kind, split)]
    workers = num_cores() if workers is None else workers
    with sole_writer(root), atomic_folder(root) as unfinished:
        prepared, left_out = _prepare_all(inputs, unfinished, fps, clip_seconds, workers)
        drawn = draw_subset(prepared, seed)
        cases, unmatched = make_cases(drawn, cross_per_portrait, seed)
        bench = Benchmark(
            root=unfinished,
            name=name,
            fps=float(fps),
            clip_seconds=float(clip_seconds),
            seed=seed,
            assets=dict(sorted((path, asset) for item in drawn for path, asset in item.assets.items())),
            cases=tuple(cases),
            left_out=tuple(
                sorted([*left_out, *unmatched, *_not_drawn(prepared, drawn)], key=lambda x: (x.path, x.reason))
            ),
            made_by={"exprbench": exprbench.__version__, "faces": tracks_made_by()},
        )
        _finish(bench)
    return replace(bench, root=root)


def _prepare_all(
    inputs: Sequence[Input], root: Path, fps: float, clip_seconds: float, workers: int
) -> tuple[list[Prepared], list[LeftOut]]:
    prepared, left_out = [], []
    work = partial(prepare, root=root, fps=fps, clip_seconds=clip_seconds)
    for item, result in process_map(work, inputs, workers=workers, label="build", unit="file"):
        if isinstance(result, WorkerKilled):
            raise result.as_user_error(item.path.name)
        if isinstance(result, ItemError):
            left_out.append(LeftOut(path=item.file_name, reason=result.code, detail=result.detail))
        else:
            prepared.append(result)
    return sorted(prepared, key=lambda p: p.main), left_out


def _not_drawn(prepared: list[Prepared], drawn: list[Prepared]) -> list[LeftOut]:
    kept = {p.main for p in drawn}
    detail = "there are more than the paper's number; this one was not drawn"
    return [LeftOut(path=p.input.file_name, reason="not_drawn", detail=detail) for p in prepared if p.main not in kept]


def _why_none(left_out: Sequence[LeftOut]) -> str:
    """Return why no input is a usable driver, each detail once (a missing model file can concern all of them)."""
    paths: dict[str, list[str]] = {}
    for item in left_out:
        if item.reason != "no_driver":
            paths.setdefault(f"{item.reason}, {item.detail}", []).append(item.path)
    reasons = [f"{', '.join(names[:3])}: {detail}" for detail, names in paths.items()]
    return "; ".join(reasons[:3]) or "none of them is a usable driver"


def _finish(bench: Benchmark) -> None:
    """Write benchmark.json and cases.csv, and remove files that belong to no asset."""
    if not bench.cases:
        raise UserError(f"no case can be made of these inputs ({_why_none(bench.left_out)})")
    for path in [p for p in bench.root.rglob("*") if p.is_file()]:
        if path.relative_to(bench.root).as_posix() not in bench.assets:
            path.unlink()
    write_json(bench.root / "benchmark.json", bench.describe())
    write_text(bench.root / "cases.csv", dump_cases(bench.cases))
