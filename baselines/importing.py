"""Take videos that were made elsewhere: check them, bring them to the benchmark, and record what was done."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from baselines.accept import check_output
from baselines.case_run import can_check_faces
from baselines.geometry import whole
from baselines.normalize import RawOutput, normalize
from baselines.run_record import SCHEMA, RunRecord, is_intact, load_run, prediction_path, save_run
from baselines.runner import RunResult
from baselines.spec import Fit, Method, OutputSpec
from baselines.timing import shown_frames
from exprbench.benchmark import Benchmark, Case
from exprbench.core.errors import ItemError, UserError
from exprbench.core.files import read_json, sha256_json, sha256_path
from exprbench.core.locks import sole_writer
from exprbench.core.processes import process_map
from exprbench.core.schema import decode
from exprbench.media import VIDEO_SUFFIXES, probe, read_image

ENVIRONMENT = "imported"


@dataclass(frozen=True, kw_only=True)
class ImportFacts:
    """What is known about a video made elsewhere: the content of `{case_id}.json` next to it."""

    seconds: float | None = None
    peak_memory_bytes: int | None = None
    peak_gpu_memory_bytes: int | None = None
    gpu_name: str = ""
    seed: int | None = None
    commit: str = ""
    weights: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ImportPlan:
    """Everything that the worker processes need; `rules` are None for frames in the driver's order."""

    folder: Path
    bench: Benchmark
    out: Path
    name: str
    rules: Method | None
    by_time: bool
    fit: Fit


def import_videos(
    folder: Path | str,
    *,
    benchmark: Path | str,
    out: Path | str,
    name: str,
    rules: Method | None = None,
    by_time: bool = False,
    fit: Fit = "same",
    split: str | None = None,
    track: str | None = None,
    workers: int = 1,
) -> RunResult:
    """Make predictions of the videos `{case_id}.mp4` in a folder, and return what happened to each case.

    Args:
        folder: the videos, and optionally `{case_id}.json` with `ImportFacts`.
        out: folder of the predictions and run records.
        name: name of the method in the records.
        rules: method by which timing and picture are brought back; by default a video shows the whole picture, and its
            n-th frame the driver's n-th.
        by_time: frames are paired by the times in the file instead.
        fit: how the source was brought to the shape of the videos, if there are no rules; see `OutputSpec`.
        workers: number of processes; 0 runs everything in this process.

    Raises:
        UserError: an argument is invalid, or no video belongs to a case.
    """
    if rules and (by_time or fit != "same"):
        raise UserError("--as excludes --by-time and --fit: a method's rules include its timing and shape")
    root, bench, target = Path(folder), Benchmark.open(benchmark), Path(out).absolute()
    cases = [case for case in bench.select(split, track) if find_video(root, case.case_id)]
    if not cases:
        raise UserError(f"{root} has no video of a case, such as {bench.cases[0].case_id}.mp4")
    if root.resolve() == target.resolve():
        raise UserError(f"{root} is also --out; the videos would be overwritten, choose another --out")
    plan = ImportPlan(folder=root, bench=bench, out=target, name=name, rules=rules, by_time=by_time, fit=fit)
    with sole_writer(target):
        done = [c.case_id for c in cases if _is_done(plan, c)]
        waiting = [c for c in cases if c.case_id not in done]
        made, failed = _import_all(plan, waiting, workers)
    return RunResult(made=tuple(made), skipped=tuple(done), failed=failed)


def _import_all(plan: ImportPlan, cases: Sequence[Case], workers: int) -> tuple[list[str], dict[str, str]]:
    made, failed = [], {}
    for case, result in process_map(partial(import_case, plan), cases, workers=workers, label="import", unit="case"):
        if isinstance(result, ItemError):
            failed[case.case_id] = str(result)
        else:
            made.append(case.case_id)
    return made, failed


def find_video(folder: Path, case_id: str) -> Path | None:
    """Return the video of a case in a folder, None if there is none."""
    return next((p for suffix in VIDEO_SUFFIXES if (p := folder / f"{case_id}{suffix}").is_file()), None)


def _is_done(plan: ImportPlan, case: Case) -> bool:
    record = load_run(plan.out, case.case_id)
    return bool(record and record.key == _key(plan, case) and record.status == "ok" and is_intact(plan.out, record))


def _key(plan: ImportPlan, case: Case) -> str:
    video, facts = find_video(plan.folder, case.case_id), plan.folder / f"{case.case_id}.json"
    content = {
        "case": case.to_row(),
        "source": plan.bench.assets[case.source].sha256,
        "video": sha256_path(video) if video else "",
        "facts": read_json(facts),
        "rules": plan.rules.sha256 if plan.rules else "",
        "by_time": plan.by_time,
        "fit": plan.fit,
        "name": plan.name,
        "fps": plan.bench.fps,
    }
    return sha256_json(content)


def import_case(plan: ImportPlan, case: Case) -> str:
    """Make the prediction of a case from its video, write its record, and return its id.

    Raises:
        ItemError: the video is not usable; its record says why.
    """
    record = _record(plan, case)
    try:
        done = _bring_back(plan, case)
    except ItemError as error:
        prediction_path(plan.out, case.case_id).unlink(missing_ok=True)  # of an earlier import
        save_run(plan.out, replace(record, status="failed", code=error.code, detail=error.detail))
        raise
    digest = sha256_path(prediction_path(plan.out, case.case_id))
    save_run(plan.out, replace(record, normalization=done, prediction_sha256=digest))
    return case.case_id


def _record(plan: ImportPlan, case: Case) -> RunRecord:
    path = plan.folder / f"{case.case_id}.json"
    facts = decode(ImportFacts, read_json(path), str(path))
    return RunRecord(
        schema=SCHEMA,
        method=plan.name,
        case_id=case.case_id,
        status="ok",
        key=_key(plan, case),
        spec_sha256=plan.rules.sha256 if plan.rules else "",
        environment=ENVIRONMENT,
        imported=True,
        finished_at=time.time(),
        **vars(facts),
    )


def _bring_back(plan: ImportPlan, case: Case) -> dict[str, Any]:
    bench, video = plan.bench, find_video(plan.folder, case.case_id)
    assert video is not None  # noqa: S101 (chosen by it)
    num_frames = min(bench.assets[driver].num_frames for driver in case.drivers)
    spec = _rules(plan, video)
    needs_face = bench.assets[case.source].faces_found and can_check_faces()
    expected = len(shown_frames(spec, num_frames, bench.fps))
    check_output(video, spec, expected, needs_face=needs_face)
    source = bench.path(case.source)
    height, width = read_image(source).shape[:2]
    output = RawOutput(
        path=video, box=whole(width, height), staged=source, crop_image=None, num_frames=num_frames, fps=bench.fps
    )
    done = normalize([output], spec, source, prediction_path(plan.out, case.case_id), fps=bench.fps)
    return {**done, "faces_checked": needs_face}


def _rules(plan: ImportPlan, video: Path) -> OutputSpec:
    """Return the rules of a video: those of a method, or frames in the driver's order, or by their times."""
    if plan.rules:
        return plan.rules.output
    facts = probe(video)
    if plan.by_time:
        return OutputSpec(find=(), fit=plan.fit, frames="sampled", fps=facts.fps, count=facts.num_frames)
    return OutputSpec(find=(), fit=plan.fit, max_frames=facts.num_frames, longer=True)
