"""One job of a method: attempts until an output is accepted, or the failure will not go away."""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baselines.accept import check_output, find_output
from baselines.command import (
    Command,
    fill,
    job_environment,
    make_commands,
    make_working_folder,
    placeholders,
    write_configs,
)
from baselines.method_environment import Environment
from baselines.normalize import RawOutput
from baselines.spec import Method
from baselines.stage import Job, naming, stage
from baselines.supervisor import adopt_descendants, end_descendants
from baselines.timing import shown_frames
from exprbench.core.errors import ItemError
from exprbench.core.files import read_json
from exprbench.core.processes import spawn, stop

RETRIED = ("crash", "out_of_memory", "timeout")
OUT_OF_MEMORY = re.compile(r"out of memory|OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED|MemoryError", re.IGNORECASE)
LOG_TAIL = 20_000


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """How a method is run on each job: the settings of a run with all defaults filled in.

    Attributes:
        options: values of the method's options.
        timeout_s: time limit of one attempt.
        attempts: number of attempts after a crash, too little memory or a time-out.
        keep: whether job folders are kept.
    """

    method: Method
    environment: Environment
    options: Mapping[str, str]
    seed: int
    timeout_s: float
    attempts: int = 3
    keep: bool = False


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """How an attempt ended; `code` is empty if its output was accepted."""

    code: str
    detail: str
    exit_statuses: tuple[int | None, ...]
    seconds: float
    peak_memory_bytes: int
    peak_gpu_memory_bytes: int | None


def commands_of(settings: JobSettings, job: Job, gpu: str) -> list[Command]:
    """Return the processes of a job, without writing anything."""
    values = placeholders(settings.method, job, settings.environment, settings.options, settings.seed)
    return make_commands(settings.method, job, values, gpu)


def run_job(
    settings: JobSettings, job: Job, gpu: str, log: Path, attempts: list[Attempt], *, needs_face: bool
) -> RawOutput:
    """Run a job until its output is accepted, and return that; append every attempt to `attempts`.

    Args:
        gpu: index of the GPU, empty for none.
        log: path of the log without its suffix; attempt N writes `{log}-N.txt`.
        needs_face: whether the output must show a face.

    Raises:
        ItemError: the last attempt's failure.
    """
    for number in range(1, settings.attempts + 1):
        shutil.rmtree(job.folder, ignore_errors=True)
        log_path = log.with_name(f"{log.name}-{number}.txt")
        log_path.parent.mkdir(parents=True, exist_ok=True)
        log_path.unlink(missing_ok=True)
        box = stage(settings.method, job)
        results = _run_steps(settings, job, gpu, log_path)
        try:
            output = _accept(settings, job, results, log_path, box, needs_face)
        except ItemError as error:
            attempts.append(_attempt(error, results))
            if error.code not in RETRIED or number == settings.attempts:
                raise
        else:
            attempts.append(_attempt(None, results))
            return output
    raise AssertionError("unreachable")


def _run_steps(settings: JobSettings, job: Job, gpu: str, log: Path) -> list[dict[str, Any]]:
    """Run the processes of a job in order, and return how each ended; a failed one ends the job."""
    values = placeholders(settings.method, job, settings.environment, settings.options, settings.seed)
    make_working_folder(settings.method, job, settings.environment)
    write_configs(settings.method, job, settings.environment, values)
    results: list[dict[str, Any]] = []
    remaining_s = settings.timeout_s
    for command in make_commands(settings.method, job, values, gpu):
        request = {
            "argv": command.argv,
            "cwd": str(command.cwd),
            "env": job_environment(settings.method, command),
            "log": str(log),
            "timeout_s": remaining_s,
            "gpu": gpu,
            "result": str(job.folder / "result.json"),
        }
        results.append(_supervised(job.folder / "request.json", request))
        remaining_s -= results[-1]["seconds"]
        if results[-1]["status"] != 0:
            break
    return results


def _supervised(path: Path, request: dict[str, Any]) -> dict[str, Any]:
    path.write_text(json.dumps(request), encoding="utf-8")
    Path(request["result"]).unlink(missing_ok=True)
    adopt_descendants()
    process = spawn(["baselines.supervisor", str(path)])
    try:
        process.wait()
    finally:
        if process.poll() is None:
            stop([process])
    path.unlink()  # it holds the environment's variables
    result = read_json(Path(request["result"]))
    if not result:
        end_descendants()
    error = "its supervisor was killed, or the disk is full"
    return result or {"status": None, "seconds": 0.0, "timed_out": False, "error": error}


def _accept(
    settings: JobSettings, job: Job, results: list[dict[str, Any]], log: Path, box: Any, needs_face: bool
) -> RawOutput:
    """Return the job's output; if it is not usable, raise the reason that explains it best."""
    method, spec = settings.method, settings.method.output
    values = placeholders(method, job, settings.environment, settings.options, settings.seed)
    try:
        path = find_output([Path(fill(pattern, values)) for pattern in spec.find], spec.exclude)
        expected = len(shown_frames(spec, job.num_frames, job.fps))
        with naming(path):
            check_output(path, spec, expected, needs_face=needs_face)
    except ItemError as error:
        raise _explain(method, results, log, error) from error
    return RawOutput(
        path=path,
        box=box,
        staged=job.source_path,
        crop_image=find_output([Path(fill(spec.crop, values))], ()) if spec.crop else None,
        num_frames=job.num_frames,
        fps=float(job.fps),
    )


def _explain(method: Method, results: list[dict[str, Any]], log: Path, error: ItemError) -> ItemError:
    """Return the failure behind an unusable output: from the log, the exit status, or the output itself."""
    last = results[-1]
    tail = _tail(log) if log.is_file() else ""
    if any(re.search(pattern, tail) for pattern in method.no_face):
        return ItemError("no_face", f"the method found no face (see {log.name})")
    if last["timed_out"]:
        return ItemError("timeout", f"it was not done after {sum(r['seconds'] for r in results):.0f} s")
    if OUT_OF_MEMORY.search(tail):
        return ItemError("out_of_memory", f"the method ran out of memory (see {log.name})")
    if last["status"] != 0:
        how = last.get("error") or f"it ended with status {last['status']}"
        return ItemError("crash", f"{how}, and {error} (see {log.name})")
    return error


def _tail(log: Path) -> str:
    """Return the end of a log."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_TAIL))
        return file.read().decode("utf-8", "replace")


def _attempt(error: ItemError | None, results: list[dict[str, Any]]) -> Attempt:
    gpu = [r["peak_gpu_memory_bytes"] for r in results if r.get("peak_gpu_memory_bytes")]
    return Attempt(
        code=error.code if error else "",
        detail=error.detail if error else "",
        exit_statuses=tuple(r["status"] for r in results),
        seconds=round(sum(r["seconds"] for r in results), 3),
        peak_memory_bytes=max(r.get("peak_memory_bytes", 0) for r in results),
        peak_gpu_memory_bytes=max(gpu) if gpu else None,
    )
