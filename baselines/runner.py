"""Run a method over a benchmark: one prediction and one run record per case; a second run completes the first."""

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from baselines.attempt import JobSettings, commands_of
from baselines.case_run import LANDMARKER, RunPlan, can_check_faces, case_key, make_case
from baselines.command import absolute_paths, check_options
from baselines.gpus import busy_gpus, check_gpus
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
from exprbench.core.schema import check_settings, setting

FINAL = ("no_face", "unsupported", "faces_overlap")  # failures that another run would repeat


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Settings of a run; see `baselines run --help`."""

    gpus: tuple[str, ...] = setting(("0",), "indices of GPUs, one job on each; an empty one is a slot without a GPU")
    split: str | None = setting(None, "split of the cases; both by default")
    track: str | None = setting(None, "track of the cases; both by default")
    limit: int | None = setting(None, "number of cases; all by default", minimum=1)
    seed: int | None = setting(None, "random seed; the method's by default")
    options: Mapping[str, str] | None = setting(None, "values of the method's options")
    python: str | None = setting(None, "interpreter of the method; that of its installed environment by default")
    repo: Path | None = setting(None, "checkout of the method; that of its installed environment by default")
    minutes: float | None = setting(None, "time limit of an attempt; the method's by default", above=0)
    attempts: int = setting(3, "number of attempts after a crash, too little memory or a time-out", minimum=1)
    keep: bool = setting(False, "whether the folders of jobs are kept")
    overwrite: bool = setting(False, "whether predictions of other settings are made again")


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """Case ids of a run: made now, made before, and failed with the reason."""

    made: tuple[str, ...]
    skipped: tuple[str, ...]
    failed: dict[str, str]


def run_method(
    method: Method | str, *, benchmark: Path | str, out: Path | str, settings: RunSettings | None = None
) -> RunResult:
    """Make the predictions of a method for the cases of a benchmark, and return what happened to each.

    Writes `OUT/{case_id}.mp4`, `OUT/runs/{case_id}.json` (a `RunRecord`) and `OUT/logs/`. Cases that are done are
    skipped; a case whose inputs, specification, environment, options or seed have changed is an error.

    Args:
        method: method, its id, or the path of its folder.
        settings: see `RunSettings`.

    Raises:
        UserError: a setting is invalid, the method is not installed, or `out` holds predictions of other settings.
    """
    chosen, settings = _check(method, settings)
    environment = require_environment(chosen, python=settings.python, repo=settings.repo)
    of_jobs = _job_settings(chosen, environment, settings)
    bench = Benchmark.open(benchmark)
    cases = _select(bench, settings)
    target, gpus = Path(out).absolute(), check_gpus(settings.gpus)
    with sole_writer(target):
        hashes = weight_hashes(chosen, environment, of_jobs.options)
        jobs = job_root(target)
        plan = RunPlan(settings=of_jobs, bench=bench, out=target, gpus=gpus, jobs=jobs, weights=hashes)
        return _run_cases(plan, cases, settings.overwrite)


def _check(method: Method | str, settings: RunSettings | None) -> tuple[Method, RunSettings]:
    settings = settings or RunSettings()
    check_settings(settings, lambda name: f"--{name}")
    chosen = find_method(method) if isinstance(method, str) else method
    options = absolute_paths(chosen, settings.options or {})
    check_options(chosen, options)
    if settings.seed is not None and not chosen.takes_seed:
        raise UserError(f"{chosen.id} takes no seed; leave out --seed")
    return chosen, replace(settings, options=options)


def _job_settings(method: Method, environment: Environment, settings: RunSettings) -> JobSettings:
    return JobSettings(
        method=method,
        environment=environment,
        options=settings.options or {},
        seed=method.seed if settings.seed is None else settings.seed,
        timeout_s=60 * (settings.minutes or method.minutes),
        attempts=settings.attempts,
        keep=settings.keep,
    )


def _select(bench: Benchmark, settings: RunSettings) -> tuple[Case, ...]:
    cases = bench.select(settings.split, settings.track)[: settings.limit]
    if not cases:
        kind = " ".join(name for name in (settings.split, settings.track, "cases") if name)
        raise UserError(f"{bench.root} has no {kind}")
    return cases


def _run_cases(plan: RunPlan, cases: Sequence[Case], overwrite: bool) -> RunResult:
    skipped, failed, waiting = [], {}, []
    for case in cases:
        record = None if overwrite else load_run(plan.out, case.case_id)
        if record and record.key != case_key(plan, case):
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
    for gpu in busy_gpus(plan.gpus):
        say(f"GPU {gpu} is in use by another run; jobs wait for it")
    make_private(plan.jobs)
    limits = Limits(timeout_s=math.inf)  # the method's processes have their own; a wait for a GPU has none
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
    method: Method | str, *, benchmark: Path | str, out: Path | str, settings: RunSettings | None = None
) -> Iterator[tuple[str, str]]:
    """Yield (case id, line): the exact commands of every case, or why there are none; nothing is written.

    The arguments are those of `run_method`; the method need not be installed. The port of methods that need one is
    chosen again when they run.
    """
    chosen, settings = _check(method, settings)
    environment = find_environment(chosen, python=settings.python, repo=settings.repo)
    of_jobs = _job_settings(chosen, environment, settings)
    bench = Benchmark.open(benchmark)
    for case in _select(bench, settings):
        try:
            jobs = plan_jobs(chosen, bench, case, job_root(Path(out).absolute()) / case.case_id)
        except ItemError as error:
            yield case.case_id, f"# {error}"
            continue
        for job in jobs:
            for command in commands_of(of_jobs, job, settings.gpus[0]):
                yield case.case_id, str(command)
