"""`score`: all cases of a benchmark for one method, put together into a record."""

import getpass
import os
import platform
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import exprbench
from exprbench import weights
from exprbench.benchmark import SPLITS, TRACKS, Benchmark, Case, wrong_with_case
from exprbench.core.cache import entry_path
from exprbench.core.errors import ItemError, UserError
from exprbench.core.processes import num_cores, process_map
from exprbench.metrics import COLUMNS
from exprbench.metrics.registry import LANDMARKER
from exprbench.records import SCHEMA, CaseScore, Group, ScoredBenchmark, ScoreRecord, load_record, save_record
from exprbench.scoring.cases import failed_case, recall_case, score_case
from exprbench.scoring.groups import make_group
from exprbench.scoring.plan import Missing, ScoringPlan, check_method, choose_columns, file_name_of, missing_weights
from exprbench.scoring.set_scores import set_distances
from exprbench.scoring.single_pass import RESIZE

LIBRARIES = ("numpy", "scipy", "opencv-python", "pillow", "av", "mediapipe", "torch", "torchvision", "timm")
MISSING = {"exclude": "left out", "penalty": "given the worst value"}


def score(
    *,
    benchmark: Path | str,
    predictions: Path | str,
    method: str,
    out: Path | str | None = None,
    profile: str = "mediapipe",
    metrics: Sequence[str] | None = None,
    split: str | None = None,
    track: str | None = None,
    missing: Missing = "exclude",
    workers: int | None = None,
    device: str = "auto",
    shard: tuple[int, int] = (1, 1),
    networks: dict[str, Any] | None = None,
) -> ScoreRecord:
    """Score a method's videos and write the record.

    What was computed before is taken from the cache, so a run that was stopped goes on where it was, and a second run
    gives the same record in seconds.

    Args:
        benchmark: an ExprBench folder.
        predictions: a folder with `{case_id}.mp4`, or `{case_id}/00000.png ...`, for every case. Face tracks that lie
            beside a video (`{case_id}.tracks.npz`) are used instead of looking for faces.
        out: where the record goes; `{method}.json` in the current folder by default.
        profile: `mediapipe`, or `paper` for gaze by L2CS-Net and expression and pose by SMIRK.
        metrics: names of metrics and extras; all eight metrics by default. A metric brings the extras that cost little.
        split, track: score only these.
        missing: what becomes of a reference's face that a frame does not show: `exclude` leaves the frame out of the
            mean (and lowers the detect rate), `penalty` gives it the worst value.
        workers: processes; all cores by default.
        device: `cpu`, `cuda` or `auto`, for the networks.
        shard: (i, n) scores only every n-th case, for n machines that share a cache; the record then holds these cases.
        networks: "fid" or "fvd" -> an extractor to use instead of the published network; ids change with it.

    Raises:
        UserError: what was given cannot be scored.
    """
    start = time.time()
    bench = Benchmark.open(benchmark)
    method = check_method(method)
    path = Path(out) if out else Path(f"{file_name_of(method)}.json")
    if not Path(predictions).is_dir():
        raise UserError(f"{predictions} is not a folder; it should hold one video a case, {{case_id}}.mp4")
    columns = choose_columns(metrics, profile)
    plan = ScoringPlan(
        bench=bench,
        predictions=Path(predictions),
        profile=profile,
        columns=columns,
        missing=missing,
        device=_device(device, columns, profile, networks or {}),
        without=missing_weights(columns, profile),
        networks=networks or {},
    )
    cases = bench.select(split, track)[shard[0] - 1 :: shard[1]]
    if not cases:
        raise UserError(f"{benchmark} has no {split or ''} {track or ''} cases".replace("  ", " "))
    for case in cases:
        for wrong in wrong_with_case(bench, case):
            raise UserError(f"{benchmark}: {case.case_id} {wrong}")
    workers = num_cores() if workers is None else workers
    with _sole_writer(path):
        _check_target(path, method)
        scores = _score_all(plan, cases, workers)
        if Benchmark.open(benchmark).sha256 != bench.sha256:
            raise UserError(f"{benchmark} was changed while it was being scored; nothing was written")
        timing = {"seconds": round(time.time() - start, 3), "started_at": round(start, 3), "workers": float(workers)}
        record = make_record(plan, method, cases, scores, timing)
        save_record(path, record)
    return record


def _score_all(plan: ScoringPlan, cases: Sequence[Case], workers: int) -> dict[str, CaseScore]:
    """Case id -> score; what is in the cache is taken from there, the rest shared out, self cases first.

    Self cases watch every driver once; the cross cases that come after them find its tracks.
    """
    kept = {case.case_id: recall_case(plan, case) for case in cases}
    scores = {case_id: found for case_id, found in kept.items() if found}
    left = sorted((c for c in cases if c.case_id not in scores), key=lambda c: (c.track != "self", c.case_id))
    for case, result in process_map(partial(score_case, plan), left, workers=workers, label="score", unit="case"):
        scores[case.case_id] = failed_case(plan, case, result) if isinstance(result, ItemError) else result
    return scores


def make_record(
    plan: ScoringPlan, method: str, cases: Sequence[Case], scores: dict[str, CaseScore], timing: dict[str, float]
) -> ScoreRecord:
    """The record of scored cases."""
    used: dict[str, str] = {}
    for column in plan.columns:
        if not plan.unavailable(COLUMNS[column]):
            used |= plan.weights_of(COLUMNS[column])
    return ScoreRecord(
        schema=SCHEMA,
        method=method,
        benchmark=ScoredBenchmark(name=plan.bench.name, sha256=plan.bench.sha256, num_cases=len(plan.bench.cases)),
        profile=plan.profile,  # type: ignore[arg-type]
        protocol={
            "fps": f"{plan.bench.fps:g}",
            "frames": "paired by index, the first scored like any other",
            "resize": RESIZE,
            "missing faces": MISSING[plan.missing],
            "faces": plan.faces_from(),
        },
        ids={column: plan.ids[column] for column in plan.columns},
        weights=dict(sorted(used.items())),
        versions=_versions(),
        device=plan.device if plan.device == "cpu" else _device_name(),
        groups=[g for s in SPLITS for t in TRACKS if (g := _group(plan, s, t, cases, scores))],
        cases=[scores[case.case_id] for case in sorted(cases, key=lambda c: c.case_id)],
        timing=dict(timing),
    )


def _group(
    plan: ScoringPlan, split: str, track: str, cases: Sequence[Case], scores: dict[str, CaseScore]
) -> Group | None:
    pairs = [(c, scores[c.case_id]) for c in cases if (c.split, c.track) == (split, track)]
    if not pairs:
        return None
    sets = set_distances(plan, pairs) if track == "self" else {}
    return make_group(split, track, [score for _, score in pairs], plan.columns_on(track), sets)


def _versions() -> dict[str, str]:
    found = {"exprbench": exprbench.__version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _device(asked: str, columns: Sequence[str], profile: str, networks: dict[str, Any]) -> str:
    """`cpu` or `cuda`; torch is asked only where a network of ours is going to run."""
    if asked not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device is {asked!r}; expected auto, cpu or cuda")
    own = (COLUMNS[column] for column in columns if COLUMNS[column].parent not in networks)
    ours = {name for metric in own for name in metric.weights[profile]} - {LANDMARKER}
    if asked == "cpu" or not any(weights.locate(name) for name in ours):
        return "cpu"
    import torch

    if asked == "cuda" and not torch.cuda.is_available():
        raise UserError("--device is cuda, but torch sees no GPU here; use --device cpu")
    return "cuda" if torch.cuda.is_available() else "cpu"


def _device_name() -> str:
    import torch

    return torch.cuda.get_device_name()


def _check_target(path: Path, method: str) -> None:
    """A record of the same method may be replaced; anything else is left alone."""
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path.parent):
                return
        except OSError as error:
            raise UserError(f"{path.parent} cannot be written to ({error.strerror}); see --out") from error
    try:
        there = load_record(path).method
    except UserError:
        if path.suffix != ".json" or not path.is_file():
            raise UserError(f"{path} is not a score record; name another file with --out") from None
        return  # a record cut short by a full disk, say: made anew
    if there != method:
        raise UserError(f"{path} is the record of {there!r}, not of {method!r}; name another file with --out")


@contextmanager
def _sole_writer(path: Path) -> Iterator[None]:
    """Two runs that write one record would undo each other's work: the second is told who is at it."""
    from filelock import FileLock, Timeout

    lock = entry_path("locks/records", str(path.absolute()))
    lock.parent.mkdir(parents=True, exist_ok=True)
    holder = lock.with_suffix(".holder")
    try:
        with FileLock(lock, timeout=0):
            holder.write_text(f"process {os.getpid()} of {getpass.getuser()} on {socket.gethostname()}")
            yield
    except Timeout:
        who = holder.read_text() if holder.is_file() else "another process"
        raise UserError(f"{path} is being written by {who}; wait for it, or name another file with --out") from None
