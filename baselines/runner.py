"""Run a method over a benchmark: one prediction and one run record per case; a second run completes the first."""

import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from baselines.attempt import Attempt, Settings, commands_of, run_job
from baselines.command import check_options
from baselines.environment import environment_key, find_environment, require_environment
from baselines.normalize import normalize
from baselines.spec import Method, find_method
from baselines.stage import PLAIN, Job, plan_jobs
from exprbench import weights
from exprbench.benchmark import Benchmark, Case
from exprbench.core.cache import cache_root
from exprbench.core.errors import ItemError, UserError
from exprbench.core.files import read_json, sha256_json, sha256_path, write_json
from exprbench.core.processes import Limits, process_map
from exprbench.core.progress import say
from exprbench.core.schema import decode

SCHEMA = 1
FINAL = ("no_face", "unsupported", "faces_overlap")  # failures that another run would repeat
WAIT_S = 0.5
STAGING_S = 600.0
LANDMARKER = "face_landmarker"


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """How the prediction of a case was made.

    Attributes:
        key: hash of everything that the prediction depends on: inputs, specification, lock, commit, options, seed.
        composed: whether it was put together from one run per face, our construction.
        code, detail: why the case failed; empty if it did not.
        seconds: of the accepted attempts.
        normalization: what was done to the output.
    """

    schema: int
    method: str
    case_id: str
    status: Literal["ok", "failed"]
    key: str
    spec_sha256: str
    environment: str
    commit: str
    seed: int
    options: dict[str, str]
    gpu: str = ""
    composed: bool = False
    code: str = ""
    detail: str = ""
    seconds: float = 0.0
    peak_memory_bytes: int = 0
    peak_gpu_memory_bytes: int | None = None
    attempts: list[Attempt] = field(default_factory=list)
    prediction_sha256: str = ""
    normalization: dict[str, Any] = field(default_factory=dict)
    finished_at: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """Everything that the worker processes need."""

    settings: Settings
    bench: Benchmark
    out: Path
    gpus: tuple[str, ...]
    jobs: Path


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """Case ids of a run: made now, made before, and failed with the reason."""

    made: tuple[str, ...]
    skipped: tuple[str, ...]
    failed: dict[str, str]


def run_method(
    method: Method | str,
    *,
    benchmark: Path | str,
    out: Path | str,
    gpus: Sequence[str] = ("0",),
    split: str | None = None,
    track: str | None = None,
    limit: int | None = None,
    seed: int | None = None,
    options: Mapping[str, str] | None = None,
    python: str | None = None,
    repo: Path | None = None,
    minutes: float | None = None,
    attempts: int = 3,
    keep: bool = False,
    overwrite: bool = False,
) -> RunResult:
    """Make the predictions of a method for all cases of a benchmark, and return what happened to each.

    Writes `OUT/{case_id}.mp4`, `OUT/runs/{case_id}.json` (a `RunRecord`) and `OUT/logs/`. Cases that are done are
    skipped; a case whose inputs, specification, environment, options or seed have changed is an error.

    Args:
        method: method, its id, or the path of its folder.
        gpus: indices of GPUs; one job at a time runs on each. An empty index is a slot without a GPU.
        limit: number of cases; all by default.
        seed: random seed; that of the specification by default.
        options: values of the method's options.
        python, repo: interpreter and repository to use instead of an installed environment.
        minutes: time limit of an attempt; that of the specification by default.
        attempts: number of attempts after a crash, too little memory or a time-out.
        keep: keep the folders of jobs.
        overwrite: make predictions of other settings again.

    Raises:
        UserError: an argument is invalid, the method is not installed, or `out` holds predictions of other settings.
    """
    chosen = find_method(method) if isinstance(method, str) else method
    check_options(chosen, options or {})
    settings = _settings(chosen, options or {}, seed, minutes, attempts, keep)
    environment = require_environment(chosen, python=python, repo=repo)
    settings = Settings(**{**vars(settings), "environment": environment})
    bench = Benchmark.open(benchmark)
    cases = _cases(bench, split, track, limit)
    target = Path(out).absolute()
    with sole_runner(target):
        plan = RunPlan(settings=settings, bench=bench, out=target, gpus=_check_gpus(gpus), jobs=job_root(target))
        return _run_cases(plan, cases, overwrite)


def _settings(
    method: Method,
    options: Mapping[str, str],
    seed: int | None,
    minutes: float | None,
    attempts: int,
    keep: bool,
    **places: Any,
) -> Settings:
    if attempts < 1 or (minutes is not None and minutes <= 0):
        raise UserError(f"{attempts} attempts of {minutes} minutes; expected 1 or more, and a time above 0")
    return Settings(
        method=method,
        environment=find_environment(method, **places),
        options=dict(options),
        seed=method.seed if seed is None else seed,
        timeout_s=60 * (minutes or method.minutes),
        attempts=attempts,
        keep=keep,
    )


def _cases(bench: Benchmark, split: str | None, track: str | None, limit: int | None) -> tuple[Case, ...]:
    cases = bench.select(split, track)[:limit]
    if not cases:
        raise UserError(f"{bench.root} has no {split or ''} {track or ''} cases".replace("  ", " "))
    return cases


def _check_gpus(gpus: Sequence[str]) -> tuple[str, ...]:
    if not gpus or (len({g for g in gpus if g}) < sum(1 for g in gpus if g)):
        raise UserError(f"--gpus is {','.join(gpus)!r}; expected different indices like 0,1, or 'none'")
    return tuple(gpus)


@contextmanager
def sole_runner(out: Path) -> Iterator[None]:
    """Lock an output folder, so that two runs cannot mix.

    Raises:
        UserError: another run is writing to it.
    """
    from filelock import FileLock, Timeout

    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / ".lock", timeout=3)
    try:
        lock.acquire()
    except Timeout as error:
        raise UserError(f"another run is writing to {out}; wait for it, or choose another --out") from error
    try:
        yield
    finally:
        lock.release()


def job_root(out: Path) -> Path:
    """Return the folder of an output folder's jobs; its path has only letters, digits, `_`, `-` and `/`.

    Some methods cut names at the first dot of a path, or read brackets as patterns, so that an output folder with such
    a name has its jobs in `/tmp`.
    """
    if PLAIN.fullmatch(str(out)):
        return out / "jobs"
    name = hashlib.sha256(str(out).encode()).hexdigest()[:12]
    return Path("/tmp") / f"exprbench-jobs-{os.getuid()}" / name  # noqa: S108 (private: made with mode 700)


def case_key(settings: Settings, bench: Benchmark, case: Case) -> str:
    """Return the hash of everything that a prediction depends on."""
    method, assets = settings.method, bench.assets
    key = {
        "case": case.to_row(),
        "inputs": {path: assets[path].sha256 for path in (case.source, *case.drivers)},
        "fps": bench.fps,
        "spec": method.sha256,
        "environment": environment_key(method),
        "options": dict(settings.options),
        "seed": settings.seed,
    }
    return sha256_json(key)


def record_path(out: Path, case_id: str) -> Path:
    """Return the path of a case's run record."""
    return out / "runs" / f"{case_id}.json"


def load_run(out: Path, case_id: str) -> RunRecord | None:
    """Return a case's run record, None if there is none.

    Raises:
        UserError: it is not a valid record.
    """
    path = record_path(out, case_id)
    content = read_json(path)
    if not content:
        return None
    normalization = content.pop("normalization", {})
    record = decode(RunRecord, content, str(path))
    return RunRecord(**{**vars(record), "normalization": normalization})


def _run_cases(plan: RunPlan, cases: Sequence[Case], overwrite: bool) -> RunResult:
    skipped, failed, waiting = [], {}, []
    for case in cases:
        record = None if overwrite else load_run(plan.out, case.case_id)
        if record and record.key != case_key(plan.settings, plan.bench, case):
            raise UserError(
                f"{plan.out} holds {case.case_id} of other settings; choose another --out or add --overwrite"
            )
        if record and record.status == "ok" and _is_intact(plan.out, record):
            skipped.append(case.case_id)
        elif record and record.code in FINAL:
            failed[case.case_id] = f"{record.code}: {record.detail}"
        else:
            waiting.append(case)
    made, newly_failed = _make(plan, waiting)
    return RunResult(made=tuple(made), skipped=tuple(skipped), failed={**failed, **newly_failed})


def _is_intact(out: Path, record: RunRecord) -> bool:
    path = out / f"{record.case_id}.mp4"
    return path.is_file() and sha256_path(path) == record.prediction_sha256


def _make(plan: RunPlan, cases: Sequence[Case]) -> tuple[list[str], dict[str, str]]:
    if weights.locate(LANDMARKER) is None:
        say(f"outputs are not checked for faces: exprbench weights fetch {LANDMARKER}")
    _make_private(plan.jobs)
    most_jobs = max((len(case.face_map) for case in cases), default=1)
    limit_s = most_jobs * plan.settings.attempts * (plan.settings.timeout_s + STAGING_S)
    work = partial(make_case, plan)
    made, failed = [], {}
    label = plan.settings.method.id
    results = process_map(
        work, cases, workers=len(plan.gpus), label=label, unit="case", limits=Limits(timeout_s=limit_s)
    )
    for case, result in results:
        if isinstance(result, ItemError):
            failed[case.case_id] = str(result)
        else:
            made.append(case.case_id)
    if not plan.settings.keep:
        shutil.rmtree(plan.jobs, ignore_errors=True)
    return made, failed


def _make_private(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_uid != os.getuid():
        raise UserError(f"{folder} belongs to another user; choose another --out")


def make_case(plan: RunPlan, case: Case) -> str:
    """Make the prediction of a case, write its record, and return its id.

    Raises:
        ItemError: the case failed; its record says why.
    """
    settings, attempts = plan.settings, []
    record = _blank_record(settings, plan.bench, case)
    folder = plan.jobs / case.case_id
    try:
        jobs = plan_jobs(settings.method, plan.bench, case, folder)
        with hold_gpu(plan.gpus) as gpu:
            normalization = _make_prediction(plan, case, jobs, gpu, attempts)
    except ItemError as error:
        changes = {"status": "failed", "code": error.code, "detail": error.detail, "attempts": attempts}
        _save(plan.out, RunRecord(**{**vars(record), **changes, "finished_at": time.time()}))
        raise
    finally:
        if not settings.keep:
            shutil.rmtree(folder, ignore_errors=True)
    accepted = [attempt for attempt in attempts if not attempt.code]
    gpu_peaks = [a.peak_gpu_memory_bytes for a in accepted if a.peak_gpu_memory_bytes]
    changes = {
        "gpu": gpu,
        "composed": normalization["composed"],
        "seconds": round(sum(a.seconds for a in accepted), 3),
        "peak_memory_bytes": max(a.peak_memory_bytes for a in accepted),
        "peak_gpu_memory_bytes": max(gpu_peaks) if gpu_peaks else None,
        "attempts": attempts,
        "prediction_sha256": sha256_path(plan.out / f"{case.case_id}.mp4"),
        "normalization": normalization,
        "finished_at": time.time(),
    }
    _save(plan.out, RunRecord(**{**vars(record), **changes}))
    return case.case_id


def _blank_record(settings: Settings, bench: Benchmark, case: Case) -> RunRecord:
    method = settings.method
    return RunRecord(
        schema=SCHEMA,
        method=method.id,
        case_id=case.case_id,
        status="ok",
        key=case_key(settings, bench, case),
        spec_sha256=method.sha256,
        environment=environment_key(method),
        commit=method.commit,
        seed=settings.seed,
        options=dict(settings.options),
    )


def _save(out: Path, record: RunRecord) -> None:
    write_json(record_path(out, record.case_id), asdict(record))


def _make_prediction(
    plan: RunPlan, case: Case, jobs: Sequence[Job], gpu: str, attempts: list[Attempt]
) -> dict[str, Any]:
    if not jobs:
        raise ItemError("unsupported", "no face of the source is driven")
    needs_face = plan.bench.assets[case.source].faces_found and weights.locate(LANDMARKER) is not None
    outputs = []
    for job in jobs:
        name = case.case_id if len(jobs) == 1 else f"{case.case_id}-face{job.face}"
        outputs.append(run_job(plan.settings, job, gpu, plan.out / "logs" / name, attempts, needs_face=needs_face))
    source, target = plan.bench.path(case.source), plan.out / f"{case.case_id}.mp4"
    done = normalize(outputs, plan.settings.method.output, source, target, fps=plan.bench.fps)
    return {**done, "faces_checked": needs_face}


@contextmanager
def hold_gpu(gpus: Sequence[str]) -> Iterator[str]:
    """Yield the index of a GPU that no other job of this user's runs on, waiting for one; empty for a slot without."""
    from filelock import FileLock, Timeout

    if "" in gpus:
        yield ""
        return
    folder = cache_root() / "locks" / "gpu"
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        for gpu in gpus:
            lock = FileLock(folder / re.sub(r"\W", "_", gpu))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                yield gpu
            finally:
                lock.release()
            return
        time.sleep(WAIT_S)


def dry_run(
    method: Method | str,
    *,
    benchmark: Path | str,
    out: Path | str,
    gpus: Sequence[str] = ("0",),
    split: str | None = None,
    track: str | None = None,
    limit: int | None = None,
    seed: int | None = None,
    options: Mapping[str, str] | None = None,
    python: str | None = None,
    repo: Path | None = None,
) -> Iterator[tuple[str, str]]:
    """Yield (case id, line): the exact commands of every case, or why there are none; nothing is written.

    The method need not be installed. The port of methods that need one is chosen again when they run.
    """
    chosen = find_method(method) if isinstance(method, str) else method
    check_options(chosen, options or {})
    settings = _settings(chosen, options or {}, seed, None, 1, False, python=python, repo=repo)
    bench = Benchmark.open(benchmark)
    for case in _cases(bench, split, track, limit):
        try:
            jobs = plan_jobs(chosen, bench, case, job_root(Path(out).absolute()) / case.case_id)
        except ItemError as error:
            yield case.case_id, f"# {error}"
            continue
        for job in jobs:
            for command in commands_of(settings, job, gpus[0]):
                yield case.case_id, str(command)
