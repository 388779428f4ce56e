"""`exprbench demo`: score six toy methods on a benchmark of drawn faces, without downloads.

The data take the same path as real data: videos are written, decoded, built into a benchmark and scored by the same
code. There are two differences: the face tracks are given, so that they are exact and no model is needed, and FID and
FVD use small fixed networks, which their ids name.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from exprbench.benchmark import Benchmark, Case
from exprbench.building import build
from exprbench.core.errors import ItemError, UserError
from exprbench.core.files import sha256_path
from exprbench.core.locks import sole_writer
from exprbench.core.processes import WorkerKilled, num_cores, process_map
from exprbench.faces import FaceTracks, save_tracks
from exprbench.faces.video_tracks import GIVEN_SUFFIX
from exprbench.media import write_image, write_video
from exprbench.records import ScoreRecord
from exprbench.scoring import score
from exprbench.scoring.plan import method_file_name
from exprbench.toy_benchmark.animation import Animation, perform, still
from exprbench.toy_benchmark.cast import CAST, Character
from exprbench.toy_benchmark.methods import METHODS
from exprbench.toy_benchmark.scene import render
from exprbench.toy_benchmark.toy_networks import DemoClipNet, DemoImageNet

NUM_FRAMES = 50
HEIGHT = 256
IDA, KOFI, MEI, OMAR, ROSA, AMINA = CAST
PORTRAITS = {"ida": (IDA,), "kofi": (KOFI,), "mei": (MEI,), "omar": (OMAR,)}
MULTI_PORTRAITS = {"ida and omar": (IDA, OMAR), "mei and kofi": (MEI, KOFI)}
DRIVERS = {"rosa": ((ROSA,), (1,)), "amina": ((AMINA,), (2,)), "kofi": ((KOFI,), (3,))}
MULTI_DRIVERS = {"amina and rosa": ((AMINA, ROSA), (4, 5)), "kofi and ida": ((KOFI, IDA), (6, 7))}
CRF = 12

People = tuple[Character, ...]


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Results of `demo`: the benchmark, and the score record and its path for each method."""

    bench: Benchmark
    records: dict[str, ScoreRecord]
    paths: dict[str, Path]


def demo(out: Path | str = "runs/demo", *, workers: int | None = None) -> Demo:
    """Draw a benchmark and the videos of every toy method, score them and write their records.

    Args:
        out: output folder; a previous demo in it is replaced.
        workers: number of processes; 0 runs everything in this process; None uses all cores.

    Raises:
        UserError: `out` contains something other than a demo, or is being written by another one.
    """
    root = Path(out)
    if root.exists() and any(root.iterdir()) and not (root / "inputs").is_dir():
        raise UserError(f"{root} contains something other than a demo; choose another folder with --out")
    with sole_writer(root):
        shutil.rmtree(root, ignore_errors=True)
        return _draw_and_score(root, num_cores() if workers is None else workers)


def _draw_and_score(root: Path, workers: int) -> Demo:
    _run(_draw_input, list(_inputs(root / "inputs")), workers, "draw the inputs", "file")
    folders = {name: root / "inputs" / name for name in ("portraits", "driving", "multi_portraits", "multi_driving")}
    bench = build(**folders, out=root / "bench", name="demo", workers=workers)
    jobs = [(case, method) for method in METHODS for case in bench.cases]
    _run(partial(_draw_prediction, bench, root / "predictions"), jobs, workers, "draw the predictions", "video")
    records, paths = {}, {}
    for method in METHODS:
        paths[method] = root / "records" / f"{method_file_name(method)}.json"
        records[method] = score(
            benchmark=root / "bench",
            predictions=root / "predictions" / method_file_name(method),
            method=method,
            out=paths[method],
            networks={"fid": DemoImageNet(), "fvd": DemoClipNet()},
            floors=False,  # the tracks are given, and the features are those of small networks
            workers=1,  # starting more processes would take longer
        )
    return Demo(bench=bench, records=records, paths=paths)


def _run(function: object, items: list, workers: int, label: str, unit: str) -> None:
    for _, result in process_map(function, items, workers=workers, label=label, unit=unit):  # type: ignore[arg-type]
        if isinstance(result, WorkerKilled):
            raise result.as_user_error(label)
        if isinstance(result, ItemError):
            raise UserError(f"{label}: {result}")


Job = tuple[
    Path, People, tuple[int, ...] | None
]  # path, people, and the seeds of their motions (None for a still image)


def _inputs(folder: Path) -> Iterator[Job]:
    for name, people in PORTRAITS.items():
        yield folder / "portraits" / f"{name}.png", people, None
    for name, people in MULTI_PORTRAITS.items():
        yield folder / "multi_portraits" / f"{name}.png", people, None
    for name, (people, seeds) in DRIVERS.items():
        yield folder / "driving" / f"{name}.mp4", people, seeds
    for name, (people, seeds) in MULTI_DRIVERS.items():
        yield folder / "multi_driving" / f"{name}.mp4", people, seeds


def _draw_input(job: Job) -> None:
    path, people, seeds = job
    motions = [still() for _ in people] if seeds is None else [perform(seed, NUM_FRAMES) for seed in seeds]
    _draw(path, people, motions)


def _draw(path: Path, people: People, motions: Sequence[Animation]) -> None:
    """Write an image or a video of people, and a file with its exact tracks."""
    frames, tracks = render(people, motions, (_width(people), HEIGHT))
    if path.suffix == ".png":
        write_image(path, next(frames))
    else:
        write_video(path, frames, crf=CRF)
    _save_given_tracks(path, tracks)


def _width(people: People) -> int:
    return HEIGHT if len(people) == 1 else 7 * HEIGHT // 4


def _save_given_tracks(path: Path, tracks: FaceTracks) -> None:
    save_tracks(path.with_name(path.stem + GIVEN_SUFFIX), replace(tracks, video_sha256=sha256_path(path)))


def _draw_prediction(bench: Benchmark, folder: Path, job: tuple[Case, str]) -> None:
    """Write a method's video of a case; if the method changes nothing in a self case, copy the driver's file."""
    case, method = job
    path = folder / method_file_name(method) / f"{case.case_id}.mp4"
    people, motions = _cast(bench, case)
    changed = METHODS[method](motions)
    if case.track == "self" and all(a is b for a, b in zip(changed, motions, strict=True)):
        path.parent.mkdir(parents=True, exist_ok=True)
        driver = bench.path(case.drivers[0])
        shutil.copyfile(driver, path)
        shutil.copyfile(driver.with_name(driver.stem + GIVEN_SUFFIX), path.with_name(path.stem + GIVEN_SUFFIX))
        return
    _draw(path, people, changed)


def _cast(bench: Benchmark, case: Case) -> tuple[People, list[Animation]]:
    """Return the people that a case shows, and the animations that drive them."""
    drivers = {**DRIVERS, **MULTI_DRIVERS}
    inputs = [drivers[Path(bench.assets[path].original).stem] for path in case.drivers]
    motions = [perform(inputs[d][1][f], NUM_FRAMES) for d, f in filter(None, case.face_map)]
    if case.track == "self":
        return inputs[0][0], motions
    return {**PORTRAITS, **MULTI_PORTRAITS}[Path(bench.assets[case.source].original).stem], motions
