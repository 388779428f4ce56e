"""Run a method over a benchmark: one prediction and one run record per case; a second run completes the first."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from baselines.attempt import Settings, commands_of
from baselines.case_run import LANDMARKER, RunPlan, can_check_faces, case_key, make_case
from baselines.command import check_options
from baselines.gpus import check_gpus
from baselines.job_folders import job_root, make_private
from baselines.method_environment import Environment, find_environment, require_environment
from baselines.model_hashes import weight_hashes
from baselines.run_record import is_intact, load_run
from baselines.spec import Method, find_method
from baselines.stage import plan_jobs
from exprbench.benchmark import Benchmark, Case
from exprbench.core.errors import ItemError, UserError
from exprbench.core.locks import sole_writer
from exprbench.core.processes import Limits, process_map
from exprbench.core.progress import say

FINAL = ("no_face", "unsupported", "faces_overlap")  # failures that another run would repeat
STAGING_S = 600.0


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
    if attempts < 1 or (minutes is not None and minutes <= 0):
        raise UserError(f"{attempts} attempts of {minutes} minutes; expected 1 or more, and a time above 0")
    check_options(chosen, options or {})
    environment = require_environment(chosen, python=python, repo=repo)
    settings = replace(
        _settings(chosen, environment, options or {}, seed),
        timeout_s=60 * (minutes or chosen.minutes),
        attempts=attempts,
        keep=keep,
    )
    bench = Benchmark.open(benchmark)
    cases = _select(bench, split, track, limit)
    target, slots = Path(out).absolute(), check_gpus(gpus)
    with sole_writer(target):
        hashes = weight_hashes(chosen, environment, settings.options)
        jobs = job_root(target)
        plan = RunPlan(settings=settings, bench=bench, out=target, gpus=slots, jobs=jobs, weights=hashes)
        return _run_cases(plan, cases, overwrite)


def _select(bench: Benchmark, split: str | None, track: str | None, limit: int | None) -> tuple[Case, ...]:
    cases = bench.select(split, track)[:limit]
    if not cases:
        raise UserError(f"{bench.root} has no {split or ''} {track or ''} cases".replace("  ", " "))
    return cases


def _run_cases(plan: RunPlan, cases: Sequence[Case], overwrite: bool) -> RunResult:
    skipped, failed, waiting = [], {}, []
    for case in cases:
        record = None if overwrite else load_run(plan.out, case.case_id)
        if record and record.key != case_key(plan.settings, plan.bench, case):
            raise UserError(
                f"{plan.out} holds {case.case_id} of other settings; choose another --out or add --overwrite"
            )
        if record and record.status == "ok" and is_intact(plan.out, record):
            skipped.append(case.case_id)
        elif record and record.code in FINAL:
            failed[case.case_id] = f"{record.code}: {record.detail}"
        else:
            waiting.append(case)
    made, newly_failed = _make(plan, waiting)
    return RunResult(made=tuple(made), skipped=tuple(skipped), failed={**failed, **newly_failed})


def _make(plan: RunPlan, cases: Sequence[Case]) -> tuple[list[str], dict[str, str]]:
    if not can_check_faces():
        say(f"outputs are not checked for faces: exprbench weights fetch {LANDMARKER}")
    make_private(plan.jobs)
    most_jobs = max((len(case.face_map) for case in cases), default=1)
    limits = Limits(timeout_s=most_jobs * plan.settings.attempts * (plan.settings.timeout_s + STAGING_S))
    label, workers = plan.settings.method.id, len(plan.gpus)
    made, failed = [], {}
    for case, result in process_map(
        partial(make_case, plan), cases, workers=workers, label=label, unit="case", limits=limits
    ):
        if isinstance(result, ItemError):
            failed[case.case_id] = str(result)
        else:
            made.append(case.case_id)
    if not plan.settings.keep:
        shutil.rmtree(plan.jobs, ignore_errors=True)
    return made, failed


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
    environment = find_environment(chosen, python=python, repo=repo)
    settings = _settings(chosen, environment, options or {}, seed)
    bench = Benchmark.open(benchmark)
    for case in _select(bench, split, track, limit):
        try:
            jobs = plan_jobs(chosen, bench, case, job_root(Path(out).absolute()) / case.case_id)
        except ItemError as error:
            yield case.case_id, f"# {error}"
            continue
        for job in jobs:
            for command in commands_of(settings, job, gpus[0]):
                yield case.case_id, str(command)


def _settings(method: Method, environment: Environment, options: Mapping[str, str], seed: int | None) -> Settings:
    return Settings(
        method=method,
        environment=environment,
        options=dict(options),
        seed=method.seed if seed is None else seed,
        timeout_s=60 * method.minutes,
    )
