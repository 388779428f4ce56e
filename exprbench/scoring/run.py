"""`score`: score all cases of a benchmark for one method and write the record."""

import platform
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import exprbench
from exprbench.benchmark import SPLITS, TRACKS, Benchmark, Case
from exprbench.core.errors import ItemError, UserError
from exprbench.core.locks import sole_writer
from exprbench.core.processes import DEBUG, WorkerKilled, num_cores, process_map
from exprbench.core.progress import say
from exprbench.metrics import COLUMNS
from exprbench.records import SCHEMA, CaseScore, Group, ScoredBenchmark, ScoreRecord, load_record, save_record
from exprbench.scoring.cases import (
    compute_reference_features,
    failed_case,
    recall_case,
    reference_features,
    score_case,
)
from exprbench.scoring.face_floors import face_floors
from exprbench.scoring.floors import with_floors
from exprbench.scoring.groups import make_group
from exprbench.scoring.plan import (
    Missing,
    Pairing,
    ScoringPlan,
    check_method,
    method_file_name,
    verify_files,
)
from exprbench.scoring.planning import make_plan, select_cases
from exprbench.scoring.preflight import check_plan, with_detected_names
from exprbench.scoring.run_costs import read_runs, runs_of_scored
from exprbench.scoring.set_floors import set_floors
from exprbench.scoring.set_scores import set_distances
from exprbench.scoring.single_pass import RESIZE

LIBRARIES = ("numpy", "scipy", "opencv-python", "pillow", "av", "mediapipe", "openvino", "torch", "torchvision", "timm")
MISSING = {"exclude": "left out", "penalty": "given the worst value"}


def score(
    *,
    benchmark: Benchmark | Path | str,
    predictions: Path | str,
    method: str,
    out: Path | str | None = None,
    profile: str = "mediapipe",
    metrics: Sequence[str] | str | None = None,
    split: str | None = None,
    track: str | None = None,
    missing: Missing = "exclude",
    pairing: Pairing = "time",
    workers: int | None = None,
    device: str = "auto",
    shard: tuple[int, int] = (1, 1),
    networks: dict[str, Any] | None = None,
    looks: int = 1,
    floors: bool = True,
    names: Mapping[str, str] | Path | str | None = None,
) -> ScoreRecord:
    """Score a method's videos, write the record and return it.

    Results are cached, so that a stopped run resumes and a repeated one takes seconds.

    Args:
        benchmark: benchmark folder, or an opened benchmark.
        predictions: folder with `{case_id}.mp4`, or `{case_id}/00000.png ...`, for every case. A track file next to a
            video (`{case_id}.tracks.npz`) is used instead of the face tracker.
        method: name of the method.
        out: path of the record; `{method}.json` in the current folder by default.
        profile: `mediapipe`, or `paper` for gaze by L2CS-Net and expression and pose by SMIRK.
        metrics: names of metrics and extras, in any case; all eight metrics by default. A metric includes its extras
            that need no further passes through a network.
        split, track: score only these.
        missing: treatment of a reference's face that a frame does not show: `exclude` excludes the frame from the mean
            (and lowers the detect rate), `penalty` gives it the worst value.
        pairing: `time` resamples predictions to the benchmark's frame rate by the times in their files; `index` ignores
            these times and pairs the n-th frame with the n-th of the reference.
        workers: number of processes; 0 runs everything in this process; None uses all cores.
        device: `cpu`, `cuda` or `auto`, for the networks.
        shard: (i, n) scores only every n-th case, for n machines that share a cache; the record has only these cases.
        networks: "fid" or "fvd" -> extractor used instead of the published network; it changes the metric's id.
        looks: number of jittered crops over which landmarks, gaze, expression and pose are averaged; more than one
            changes the ids of face metrics.
        floors: measure the noise floors, once per benchmark; see docs/metrics.md.
        names: case id -> name of its file in `predictions`, or a CSV or JSON file of it, if the files are not named by
            case ids; a pattern such as `{source}--{driver}.mp4` is detected.

    Raises:
        UserError: an argument is invalid, the benchmark or predictions cannot be scored, or the machine killed or
            crashed the workers; no record is written then.
    """
    start = time.time()
    root = benchmark.root if isinstance(benchmark, Benchmark) else Path(benchmark)
    method = check_method(method)
    path = Path(out) if out else Path(f"{method_file_name(method)}.json")
    plan = make_plan(
        root,
        predictions,
        profile=profile,
        metrics=metrics,
        missing=missing,
        pairing=pairing,
        device=device,
        networks=networks,
        looks=looks,
        names=names,
    )
    selected = select_cases(plan.bench, split, track)
    plan, naming = with_detected_names(plan, selected)
    cases = selected[shard[0] - 1 :: shard[1]]
    if not cases:
        raise UserError(f"shard {shard[0]}/{shard[1]} has no case: there are {len(selected)}")
    for line in check_plan(plan, cases, naming).lines():
        say(line)
    workers = num_cores() if workers is None else workers
    with sole_writer(path):
        _check_target(path, method)
        verify_files(plan, cases)
        runs = read_runs(plan.predictions, [case.case_id for case in cases])
        scores = _score_all(plan, cases, workers)
        if Benchmark.open(root).sha256 != plan.bench.sha256:
            raise UserError(f"{root} was changed while it was being scored; nothing was written, score it again")
        verify_files(plan, cases)
        timing = {"seconds": round(time.time() - start, 3), "started_at": round(start, 3), "workers": float(workers)}
        record = make_record(plan, method, cases, scores, timing)
        record = replace(record, runs=runs_of_scored(runs, record.cases))
        if floors:
            record = _with_floors(plan, record, cases, workers)
        save_record(path, record)
    return record


def _with_floors(plan: ScoringPlan, record: ScoreRecord, cases: Sequence[Case], workers: int) -> ScoreRecord:
    of_faces, of_sets = face_floors(plan, cases, workers), set_floors(plan, cases, workers)
    return replace(record, groups=[with_floors(group, cases, of_faces, of_sets) for group in record.groups])


def _score_all(plan: ScoringPlan, cases: Sequence[Case], workers: int) -> dict[str, CaseScore]:
    """Return case id -> score; cases that are not in the cache are distributed to the workers, self cases first.

    Self cases compute the tracks of every driver once; the cross cases after them read these from the cache.
    """
    cached = {case.case_id: recall_case(plan, case) for case in cases}
    scores = {case_id: score for case_id, score in cached.items() if score}
    remaining = sorted((c for c in cases if c.case_id not in scores), key=lambda c: (c.track != "self", c.case_id))
    for case, result in process_map(partial(score_case, plan), remaining, workers=workers, label="score", unit="case"):
        if isinstance(result, WorkerKilled):
            raise result.as_user_error(case.case_id)
        scores[case.case_id] = failed_case(plan, case, result) if isinstance(result, ItemError) else result
        say(f"{case.case_id}: {_outcome(scores[case.case_id])}", only_verbose=True)
    _complete_references(plan, cases, scores, workers)
    _check_workers([scores[case.case_id] for case in remaining])
    return scores


def _outcome(score: CaseScore) -> str:
    values = ", ".join(f"{name} {value:.4g}" for name, value in score.values.items() if not COLUMNS[name].is_extra)
    return f"{score.code}: {score.detail}" if score.outcome == "error" else values


def _complete_references(plan: ScoringPlan, cases: Sequence[Case], scores: dict[str, CaseScore], workers: int) -> None:
    """Compute the reference features of failed self cases: FID and FVD compare with the references of all cases."""
    self_cases = [case for case in cases if case.track == "self"]
    splits = {case.split for case in self_cases if scores[case.case_id].outcome == "scored"}
    failed = [case for case in self_cases if case.split in splits and scores[case.case_id].outcome == "error"]
    missing = [case for case in failed if not all(c.is_cached() for c in reference_features(plan, case))]
    work = partial(compute_reference_features, plan)
    for case, result in process_map(work, missing, workers=workers, label="references", unit="video"):
        if isinstance(result, WorkerKilled):
            raise result.as_user_error(case.case_id)  # other errors are reported by `set_distances`


def _check_workers(scores: Sequence[CaseScore]) -> None:
    """Raise if the worker of every case crashed: that says nothing about the method."""
    if scores and all(score.code == "worker_crashed" for score in scores):
        raise UserError(
            f"every worker process crashed ({scores[0].case_id}: {scores[0].detail}); nothing was written: set "
            f"{DEBUG}=1 to see their messages, or --workers 0 to run in one process"
        )


def make_record(
    plan: ScoringPlan, method: str, cases: Sequence[Case], scores: dict[str, CaseScore], timing: dict[str, float]
) -> ScoreRecord:
    """Return the record of scored cases."""
    used: dict[str, str] = {}
    for column in plan.columns:
        if not plan.unavailable_reason(COLUMNS[column]):
            used |= plan.weight_hashes(COLUMNS[column])
    return ScoreRecord(
        schema=SCHEMA,
        method=method,
        benchmark=ScoredBenchmark(name=plan.bench.name, sha256=plan.bench.sha256, num_cases=len(plan.bench.cases)),
        profile=plan.profile,  # type: ignore[arg-type]
        protocol={
            "fps": f"{plan.bench.fps:g}",
            "pairing": plan.pairing,
            "first frame": "scored like any other",
            "resize": RESIZE,
            "missing faces": MISSING[plan.missing],
            "faces": plan.face_sources(),
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
    num_cases = len(plan.bench.select(split, track))
    return make_group(split, track, [score for _, score in pairs], plan.columns_on(track), sets, num_cases)


def _versions() -> dict[str, str]:
    versions = {"exprbench": exprbench.__version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _device_name() -> str:
    import torch

    return torch.cuda.get_device_name()


def _check_target(path: Path, method: str) -> None:
    """Raise if the record cannot be written, or would replace anything but a record of the same method."""
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path.parent):
                return
        except OSError as error:
            raise UserError(
                f"{path.parent} is not writable ({error.strerror}); choose another folder with --out"
            ) from error
    try:
        existing = load_record(path).method
    except UserError:
        if path.suffix != ".json" or not path.is_file():
            raise UserError(f"{path} is not a score record; choose another file with --out") from None
        return  # a truncated record, for example after a full disk, is replaced
    if existing != method:
        raise UserError(f"{path} is the record of {existing!r}, not of {method!r}; choose another file with --out")
