"""Executors: run a stage on this machine, as one of several ranks, or on a Ray cluster, with the same results."""

import logging
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exprbench.core.errors import UserError, unknown_name
from exprbench.core.locks import sole_writer
from exprbench.core.processes import num_cores
from exprbench.core.progress import progress
from multiexpr.execution.gpu_server import GpuServers, list_gpus
from multiexpr.execution.shard_runner import Stage, run_shards
from multiexpr.execution.worker import clip_pool
from multiexpr.recipe import Recipe, as_dict, from_dict
from multiexpr.storage.workspace import Workspace

RANK_VARIABLES = (  # (rank, number of ranks), as launchers set them
    ("RANK", "WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
)
JOB_VARIABLES = ("SLURM_ARRAY_JOB_ID", "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID")  # equal for all ranks of a job


@dataclass(frozen=True, kw_only=True)
class ExecutionConfig:
    """Executor, workers and devices of a run.

    Attributes:
        executor: `local`, `slurm` or `ray`.
        workers: number of worker processes; 0 means one per core (with Ray, one per actor).
        devices: `auto`, `cpu`, or names such as `cuda:0`; each named device gets one process that all workers share.
    """

    executor: str = "local"
    workers: int = 0
    devices: tuple[str, ...] = ("auto",)


def sole_run(workspace: Workspace, execution: ExecutionConfig) -> AbstractContextManager[None]:
    """Lock a workspace, so that two runs do not change it at once; ranks of a Slurm job share it without a lock.

    Raises:
        UserError: another run changes it.
    """
    return nullcontext() if execution.executor == "slurm" else sole_writer(workspace.root)


StageFactory = Callable[[Workspace, Recipe], Stage]


def run_stage(make_stage: StageFactory, workspace: Workspace, recipe: Recipe, execution: ExecutionConfig) -> int:
    """Process the shards of a stage that are not done, and return the number of clips processed by this process.

    Args:
        make_stage: an importable callable, or a `partial` of one: Ray sends it to other machines.
        workspace: a folder that all machines can access.
        recipe: settings of the run.
        execution: executor, workers and devices.

    Raises:
        UserError: the executor is unknown, or cannot start.
    """
    check_executor(execution)
    return EXECUTORS[execution.executor](make_stage, workspace, recipe, execution)


def check_executor(execution: ExecutionConfig) -> None:
    """Raise `UserError` if there is no such executor, or its number of workers is negative."""
    if execution.executor not in EXECUTORS:
        raise unknown_name("executor", execution.executor, list(EXECUTORS))
    if execution.workers < 0:
        raise UserError(f"--workers is {execution.workers}; expected 1 or more, or 0 for all cores")


def _local(make_stage: StageFactory, workspace: Workspace, recipe: Recipe, execution: ExecutionConfig) -> int:
    stage = make_stage(workspace, recipe)
    return _on_this_machine(stage, stage.shards(), workspace, recipe, execution)


def _slurm(make_stage: StageFactory, workspace: Workspace, recipe: Recipe, execution: ExecutionConfig) -> int:
    stage = make_stage(workspace, recipe)
    return _on_this_machine(stage, get_rank_shards(stage.shards(), execution), workspace, recipe, execution)


def get_rank_shards(shards: list[int], execution: ExecutionConfig) -> list[int]:
    """Return the shards of this process: those of its rank with `slurm`, else all."""
    if execution.executor != "slurm":
        return shards
    rank, num_ranks = get_rank(os.environ)
    return shards[rank::num_ranks]


def _on_this_machine(
    stage: Stage, shards: list[int], workspace: Workspace, recipe: Recipe, execution: ExecutionConfig
) -> int:
    with ExitStack() as stack:
        addresses = None
        if stage.name == "score" and (devices := _devices(execution)):
            addresses = stack.enter_context(GpuServers(recipe, devices)).addresses
        root, num_workers = workspace.collection()["root"], execution.workers or num_cores()
        options = {"num_workers": num_workers, "servers": addresses, "whole_videos": stage.name == "index"}
        pool = stack.enter_context(clip_pool(root, recipe, **options))
        return run_shards(stage, workspace, shards, pool)


def _devices(execution: ExecutionConfig) -> list[str]:
    """Return the devices that get a GPU server; empty if the networks run in the workers."""
    if execution.devices == ("auto",):
        return list_gpus()
    return [] if execution.devices == ("cpu",) else list(execution.devices)


def get_rank(environment: dict[str, str] | os._Environ) -> tuple[int, int]:
    """Return (rank, number of ranks) set by the launcher: a Slurm array, its tasks, or both; torchrun, Open MPI, MPICH.

    Raises:
        UserError: no launcher set them.
    """
    values = ((environment.get(rank), environment.get(number)) for rank, number in RANK_VARIABLES)
    task = next(((int(rank), int(number)) for rank, number in values if rank and number), None)
    array = _array_rank(environment)
    if task is None and array is None:
        raise UserError("--executor slurm: the environment has no rank; start the command as an array (sbatch --array) "
                        "or with srun, or set RANK and WORLD_SIZE")  # fmt: skip
    (outer, num_outer), (inner, num_inner) = array or (0, 1), task or (0, 1)
    return outer * num_inner + inner, num_outer * num_inner


def get_job_id(environment: dict[str, str] | os._Environ) -> str:
    """Return the launcher's id of the job, the same for all its ranks; empty if there is none."""
    return next((environment[name] for name in JOB_VARIABLES if environment.get(name)), "")


def _array_rank(environment: dict[str, str] | os._Environ) -> tuple[int, int] | None:
    if "SLURM_ARRAY_TASK_ID" not in environment:
        return None
    first = int(environment.get("SLURM_ARRAY_TASK_MIN", 0))
    step = int(environment.get("SLURM_ARRAY_TASK_STEP", 1) or 1)
    last = int(environment.get("SLURM_ARRAY_TASK_MAX", environment["SLURM_ARRAY_TASK_ID"]))
    return (int(environment["SLURM_ARRAY_TASK_ID"]) - first) // step, (last - first) // step + 1


def _ray(make_stage: StageFactory, workspace: Workspace, recipe: Recipe, execution: ExecutionConfig) -> int:
    stage = make_stage(workspace, recipe)
    todo = [shard for shard in stage.shards() if not stage.is_done(shard)]
    if not todo:
        return 0
    ray = _start_ray()
    on_gpu = execution.devices != ("cpu",) and ray.cluster_resources().get("GPU", 0) > 0
    workers = execution.workers or 1
    num_actors = max(1, min(len(todo), int(ray.cluster_resources().get("CPU", 1)) // workers))
    actor_arguments = {
        "make_stage": make_stage,
        "root": str(workspace.root.resolve()),
        "recipe": as_dict(recipe),
        "execution": ExecutionConfig(workers=workers, devices=("cuda:0",) if on_gpu else ("cpu",)),
    }
    shards = ray.data.from_items([{"shard": shard} for shard in todo], override_num_blocks=len(todo))
    actors = ray.data.ActorPoolStrategy(size=num_actors)
    done = shards.map_batches(
        _ShardActor, batch_size=1, compute=actors, num_cpus=workers, num_gpus=int(on_gpu),
        fn_constructor_kwargs=actor_arguments,
    )  # fmt: skip
    num_clips = 0
    for row in progress(done.iter_rows(), total=len(todo), label=stage.name, unit="shard"):
        if row["user_error"]:
            raise UserError(row["user_error"])
        num_clips += int(row["clips"])
    return num_clips


def _start_ray() -> Any:
    """Import Ray and connect to the cluster at $RAY_ADDRESS, or to a new local one, without usage reports and logs."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UserError("--executor ray needs the package ray: pip install 'exprbench[ray]'") from error
    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray


class _ShardActor:
    """Ray actor that processes whole shards, each as the local executor would."""

    def __init__(self, make_stage: StageFactory, root: str, recipe: dict[str, Any], execution: ExecutionConfig) -> None:
        self.workspace = Workspace(Path(root))
        self.recipe = from_dict(recipe)
        self.stage = make_stage(self.workspace, self.recipe)
        self.execution = execution

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        num_clips, message = 0, ""
        try:
            shards = [int(shard) for shard in batch["shard"]]
            num_clips = _on_this_machine(self.stage, shards, self.workspace, self.recipe, self.execution)
        except UserError as error:
            message = str(error)
        return {"clips": [num_clips], "user_error": [message]}


EXECUTORS: dict[str, Callable[[StageFactory, Workspace, Recipe, ExecutionConfig], int]] = {
    "local": _local,
    "slurm": _slurm,
    "ray": _ray,
}

__all__ = [
    "EXECUTORS",
    "ExecutionConfig",
    "check_executor",
    "get_job_id",
    "get_rank",
    "get_rank_shards",
    "run_stage",
    "sole_run",
]
