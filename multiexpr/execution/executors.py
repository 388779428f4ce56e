"""Executors: run a stage on this machine, as one of several ranks, or on a Ray cluster, with the same results.

Processes on all machines claim shards from the same files, so that no executor has to divide them.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from exprbench.core.errors import UserError, unknown_name
from exprbench.core.files import read_json, write_json
from exprbench.core.locks import sole_writer
from exprbench.core.processes import Pool, num_cores
from exprbench.media.containers import DECODERS, check_decoder, using_decoder
from multiexpr.execution.claims import Claims
from multiexpr.execution.gpu_server import GpuServers, list_gpus
from multiexpr.execution.ray_tasks import run_on_ray
from multiexpr.execution.shard_runner import Stage, run_shards
from multiexpr.execution.worker import clip_pool
from multiexpr.recipe import Recipe
from multiexpr.storage.workspace import Workspace

STEP_POLL_S = 2.0
JOB_VARIABLES = ("SLURM_ARRAY_JOB_ID", "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID")  # equal for all ranks of a job


@dataclass(frozen=True, kw_only=True)
class ExecutionConfig:
    """Executor, workers and devices of a run.

    Attributes:
        executor: `local`, `slurm` or `ray`.
        workers: number of worker processes; 0 means one per core (with Ray, one per actor).
        devices: `auto`, `cpu`, or names such as `cuda:0`; each named device gets one process that all workers share.
        decoder: `software`, or `nvdec` for decoding on the GPU.
    """

    executor: str = "local"
    workers: int = 0
    devices: tuple[str, ...] = ("auto",)
    decoder: str = "software"


def sole_run(workspace: Workspace, execution: ExecutionConfig) -> AbstractContextManager[None]:
    """Lock a workspace, so that two runs do not change it at once; ranks of a Slurm job share it without a lock.

    Raises:
        UserError: another run changes it.
    """
    return nullcontext() if execution.executor == "slurm" else sole_writer(workspace.root)


StageFactory = Callable[[Workspace, Recipe], Stage]
PoolFactory = Callable[[Stage, Workspace, Recipe, ExecutionConfig], AbstractContextManager[Any]]


def run_stage(
    make_stage: StageFactory,
    workspace: Workspace,
    recipe: Recipe,
    execution: ExecutionConfig,
    *,
    open_pool: PoolFactory | None = None,
) -> int:
    """Process the shards of a stage that are not done, and return the number of clips processed by this process.

    Args:
        make_stage: an importable callable, or a `partial` of one: Ray sends it to other machines.
        workspace: a folder that all machines can access.
        recipe: settings of the run.
        execution: executor, workers and devices.
        open_pool: an importable callable that opens the pool that answers the requests; None opens clip workers.

    Raises:
        UserError: the executor is unknown, or cannot start.
    """
    check_executor(execution)
    stage = make_stage(workspace, recipe)
    if all(map(stage.is_done, stage.shards())):
        return 0
    if execution.executor == "ray":
        workspace = Workspace(workspace.root.resolve())
        return run_on_ray(partial(_run_in_task, make_stage, workspace, recipe, execution, open_pool), stage, execution)
    return run_here(stage, workspace, recipe, execution, open_pool or open_clip_pool)


def _run_in_task(
    make_stage: StageFactory,
    workspace: Workspace,
    recipe: Recipe,
    execution: ExecutionConfig,
    open_pool: PoolFactory | None,
    num_gpus: int,
) -> int:
    devices = ("cuda:0",) if num_gpus else ("cpu",)  # Ray makes only the GPUs of the task visible
    execution = ExecutionConfig(workers=execution.workers or 1, devices=devices, decoder=execution.decoder)
    return run_here(make_stage(workspace, recipe), workspace, recipe, execution, open_pool or open_clip_pool)


def check_executor(execution: ExecutionConfig) -> None:
    """Raise `UserError` if there is no such executor or decoder (here), or the number of workers is negative."""
    if execution.executor not in EXECUTORS:
        raise unknown_name("executor", execution.executor, list(EXECUTORS))
    if execution.decoder not in DECODERS:
        raise unknown_name("decoder", execution.decoder, list(DECODERS))
    if execution.executor != "ray":  # which has other machines
        check_decoder(execution.decoder)
    if execution.workers < 0:
        raise UserError(f"--workers is {execution.workers}; expected 1 or more, or 0 for all cores")


def run_here(
    stage: Stage, workspace: Workspace, recipe: Recipe, execution: ExecutionConfig, open_pool: PoolFactory
) -> int:
    """Process the shards of a stage with the workers of this process; other processes may do so at the same time."""
    with using_decoder(execution.decoder), open_pool(stage, workspace, recipe, execution) as pool:
        return run_shards(stage, workspace, stage.shards(), pool)


@contextmanager
def open_clip_pool(stage: Stage, workspace: Workspace, recipe: Recipe, execution: ExecutionConfig) -> Iterator[Pool]:
    """Open a pool of clip workers, with a GPU server per device for scoring, and for the export if it runs networks."""
    with ExitStack() as stack:
        addresses = None
        is_served = stage.name == "score" or (stage.name == "export" and recipe.export.engine == "torch")
        if is_served and (devices := _devices(execution)):
            addresses = stack.enter_context(GpuServers(recipe, devices)).addresses
        root, num_workers = workspace.collection()["root"], execution.workers or num_cores()
        options = {"num_workers": num_workers, "servers": addresses, "whole_videos": stage.name == "index"}
        yield stack.enter_context(clip_pool(root, recipe, **options))


def run_step(workspace: Workspace, name: str, run: str, function: Callable[[], object]) -> None:
    """Call a function in one of the processes of a run, while the others wait until it has returned.

    Args:
        workspace: its folder `steps` holds a mark of the last run that took the step.
        name: name of the step.
        run: text that is the same for all processes of the run; if it is empty, each calls the function in turn.
        function: a function that can be called again if the process that called it ends.
    """
    mark = workspace.step(name)
    is_done = False
    with Claims(workspace.claims("steps")) as claims:
        while not is_done and not (run and read_json(mark).get("run") == run):
            if not claims.take(name):
                time.sleep(STEP_POLL_S)
                continue
            if not run or read_json(mark).get("run") != run:
                function()
                if run:
                    write_json(mark, {"run": run, "started": time.time()})
            claims.release(name)
            is_done = True


def _devices(execution: ExecutionConfig) -> list[str]:
    """Return the devices that get a GPU server; empty if the networks run in the workers."""
    if execution.devices == ("auto",):
        return list_gpus()
    return [] if execution.devices == ("cpu",) else list(execution.devices)


def get_job_id(environment: dict[str, str] | os._Environ) -> str:
    """Return the launcher's id of the job and its `srun` step, the same for all its ranks; empty if there is none."""
    job = next((environment[name] for name in JOB_VARIABLES if environment.get(name)), "")
    step = environment.get("SLURM_STEP_ID", "")
    return f"{job}.{step}" if job and step else job


EXECUTORS = ("local", "slurm", "ray")

__all__ = [
    "EXECUTORS",
    "ExecutionConfig",
    "check_executor",
    "get_job_id",
    "open_clip_pool",
    "run_here",
    "run_stage",
    "run_step",
    "sole_run",
]
