"""One case of a run: its jobs, its prediction, and its run record."""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from baselines.attempt import Attempt, JobSettings, run_job
from baselines.gpus import gpu_name, hold_gpu
from baselines.normalize import normalize
from baselines.run_record import SCHEMA, RunRecord, prediction_path, save_run
from baselines.stage import Job, plan_jobs
from exprbench import weights
from exprbench.benchmark import Benchmark, Case
from exprbench.core.errors import ItemError
from exprbench.core.files import sha256_json, sha256_path

LANDMARKER = "face_landmarker"


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """Everything that the worker processes need.

    Attributes:
        gpus: indices of GPUs; an empty one is a slot without a GPU.
        jobs: folder of the jobs' private folders.
        weights: model file of the specification -> SHA-256.
    """

    settings: JobSettings
    bench: Benchmark
    out: Path
    gpus: tuple[str, ...]
    jobs: Path
    weights: Mapping[str, str] = field(default_factory=dict)


def can_check_faces() -> bool:
    """Return whether the model that finds faces in outputs is present."""
    return weights.locate(LANDMARKER) is not None


def case_key(plan: RunPlan, case: Case) -> str:
    """Return the hash of everything that a prediction depends on."""
    settings, assets = plan.settings, plan.bench.assets
    key = {
        "case": case.to_row(),
        "inputs": {path: assets[path].sha256 for path in (case.source, *case.drivers)},
        "fps": plan.bench.fps,
        "spec": settings.method.sha256,
        "environment": [settings.environment.key, settings.environment.commit],
        "options": dict(settings.options),
        "seed": settings.seed,
        "weights": dict(plan.weights),
    }
    return sha256_json(key)


def make_case(plan: RunPlan, case: Case) -> str:
    """Make the prediction of a case, write its record, and return its id.

    Raises:
        ItemError: the case failed; its record says why.
    """
    attempts: list[Attempt] = []
    record = _blank_record(plan, case)
    folder = plan.jobs / case.case_id
    try:
        jobs = plan_jobs(plan.settings.method, plan.bench, case, folder)
        with hold_gpu(plan.gpus) as gpu:
            record = replace(record, gpu=gpu, gpu_name=gpu_name(gpu))
            done = _make_prediction(plan, case, jobs, gpu, attempts)
    except ItemError as error:
        prediction_path(plan.out, case.case_id).unlink(missing_ok=True)  # of an earlier run
        failed = replace(record, status="failed", code=error.code, detail=error.detail)
        save_run(plan.out, replace(failed, attempts=attempts, finished_at=time.time()))
        raise
    finally:
        if not plan.settings.keep:
            shutil.rmtree(folder, ignore_errors=True)
    digest = sha256_path(prediction_path(plan.out, case.case_id))
    made = replace(record, normalization=done, composed=done["composed"], prediction_sha256=digest)
    save_run(plan.out, replace(made, **_costs(attempts), attempts=attempts, finished_at=time.time()))
    return case.case_id


def _blank_record(plan: RunPlan, case: Case) -> RunRecord:
    settings, method = plan.settings, plan.settings.method
    return RunRecord(
        schema=SCHEMA,
        method=method.id,
        case_id=case.case_id,
        status="ok",
        key=case_key(plan, case),
        spec_sha256=method.sha256,
        environment=settings.environment.key,
        commit=settings.environment.commit,
        seed=settings.seed if method.takes_seed else None,
        options=dict(settings.options),
        weights=dict(plan.weights),
    )


def _costs(attempts: Sequence[Attempt]) -> dict[str, Any]:
    """Return time and peak memory of the accepted attempts, one per face of a composed case."""
    accepted = [attempt for attempt in attempts if not attempt.code]
    gpu_peaks = [a.peak_gpu_memory_bytes for a in accepted if a.peak_gpu_memory_bytes]
    return {
        "seconds": round(sum(attempt.seconds for attempt in accepted), 3),
        "peak_memory_bytes": max(attempt.peak_memory_bytes for attempt in accepted),
        "peak_gpu_memory_bytes": max(gpu_peaks, default=None),
    }


def _make_prediction(
    plan: RunPlan, case: Case, jobs: Sequence[Job], gpu: str, attempts: list[Attempt]
) -> dict[str, Any]:
    if not jobs:
        raise ItemError("unsupported", "no face of the source is driven")
    needs_face = plan.bench.assets[case.source].faces_found and can_check_faces()
    outputs = []
    for job in jobs:
        name = case.case_id if len(jobs) == 1 else f"{case.case_id}-face{job.face}"
        outputs.append(run_job(plan.settings, job, gpu, plan.out / "logs" / name, attempts, needs_face=needs_face))
    source, target = plan.bench.path(case.source), prediction_path(plan.out, case.case_id)
    done = normalize(outputs, plan.settings.method.output, source, target, fps=plan.bench.fps)
    return {**done, "faces_checked": needs_face}
