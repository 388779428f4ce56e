"""Where shards are worked on: this machine, one of several ranks, or a Ray cluster. What is done is the same."""

import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exprbench.core.errors import UserError, unknown_name
from exprbench.core.processes import num_cores
from exprbench.core.progress import progress
from multiexpr.execution.gpu_server import Servers, gpus
from multiexpr.execution.shard_runner import Stage, run_shards
from multiexpr.execution.worker import clip_pool
from multiexpr.recipe import Recipe, as_dict, from_dict
from multiexpr.storage.workspace import Workspace

RANKS = (  # how launchers tell a process which of how many it is
    ("RANK", "WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
)
JOBS = ("SLURM_ARRAY_JOB_ID", "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID")  # what all ranks of one job are told


@dataclass(frozen=True, kw_only=True)
class ExecutionConfig:
    """Where to work.

    Attributes:
        executor: local, slurm or ray.
        workers: processes; 0 is one a core (of a Ray cluster: one an actor).
        devices: `auto`, `cpu`, or names such as `cuda:0`, one process each; workers share them.
    """

    executor: str = "local"
    workers: int = 0
    devices: tuple[str, ...] = ("auto",)


MakeStage = Callable[[Workspace, Recipe], Stage]


def run_stage(make_stage: MakeStage, workspace: Workspace, recipe: Recipe, execution: ExecutionConfig) -> int:
    """Do what a stage lacks; how many clips were worked on by this process.

    Args:
        make_stage: importable, or a `partial` of what is: on a cluster it travels to other machines.
        workspace: a folder all machines see.
        recipe: the settings.
        machines: where to work.
    """
    if execution.executor not in EXECUTORS:
        raise unknown_name("executor", execution.executor, list(EXECUTORS))
    return EXECUTORS[execution.executor](make_stage, workspace, recipe, execution)


def _local(make_stage: MakeStage, workspace: Workspace, recipe: Recipe, execution: ExecutionConfig) -> int:
    stage = make_stage(workspace, recipe)
    return _on_this_machine(stage, stage.shards(), workspace, recipe, execution)


def _slurm(make_stage: MakeStage, workspace: Workspace, recipe: Recipe, execution: ExecutionConfig) -> int:
    stage = make_stage(workspace, recipe)
    return _on_this_machine(stage, shards_of_rank(stage.shards(), execution), workspace, recipe, execution)


def shards_of_rank(shards: list[int], execution: ExecutionConfig) -> list[int]:
    """The shards this process is to do: its rank's share, where it is one of several."""
    if execution.executor != "slurm":
        return shards
    rank, num_ranks = rank_of(os.environ)
    return shards[rank::num_ranks]


def _on_this_machine(
    stage: Stage, shards: list[int], workspace: Workspace, recipe: Recipe, execution: ExecutionConfig
) -> int:
    with ExitStack() as stack:
        addresses = None
        if stage.name == "score" and (devices := _devices(execution)):
            addresses = stack.enter_context(Servers(recipe, devices)).addresses
        root, num_workers = workspace.collection()["root"], execution.workers or num_cores()
        pool = stack.enter_context(clip_pool(root, recipe, num_workers=num_workers, servers=addresses))
        return run_shards(stage, workspace, shards, pool)


def _devices(execution: ExecutionConfig) -> list[str]:
    """Devices with a process of their own; none where the networks run in the workers."""
    if execution.devices == ("auto",):
        return gpus()
    return [] if execution.devices == ("cpu",) else list(execution.devices)


def rank_of(environment: dict[str, str] | os._Environ) -> tuple[int, int]:
    """(rank, number of ranks) a launcher told: a Slurm array, its tasks, or both; torchrun, Open MPI, MPICH.

    Raises:
        UserError: none did.
    """
    told = ((environment.get(rank), environment.get(number)) for rank, number in RANKS)
    within = next(((int(rank), int(number)) for rank, number in told if rank and number), None)
    array = _array_rank(environment)
    if within is None and array is None:
        raise UserError("--executor slurm: no rank is told; start it as an array (sbatch --array), with srun, or set "
                        "RANK and WORLD_SIZE")  # fmt: skip
    (outer, num_outer), (inner, num_inner) = array or (0, 1), within or (0, 1)
    return outer * num_inner + inner, num_outer * num_inner


def job_of(environment: dict[str, str] | os._Environ) -> str:
    """The launcher's name for all ranks that were started together; empty where it has none."""
    return next((environment[name] for name in JOBS if environment.get(name)), "")


def _array_rank(environment: dict[str, str] | os._Environ) -> tuple[int, int] | None:
    if "SLURM_ARRAY_TASK_ID" not in environment:
        return None
    first = int(environment.get("SLURM_ARRAY_TASK_MIN", 0))
    step = int(environment.get("SLURM_ARRAY_TASK_STEP", 1) or 1)
    last = int(environment.get("SLURM_ARRAY_TASK_MAX", environment["SLURM_ARRAY_TASK_ID"]))
    return (int(environment["SLURM_ARRAY_TASK_ID"]) - first) // step, (last - first) // step + 1


def _ray(make_stage: MakeStage, workspace: Workspace, recipe: Recipe, execution: ExecutionConfig) -> int:
    stage = make_stage(workspace, recipe)
    todo = [shard for shard in stage.shards() if not stage.is_done(shard)]
    if not todo:
        return 0
    ray = _started_ray()
    on_gpu = execution.devices != ("cpu",) and ray.cluster_resources().get("GPU", 0) > 0
    workers = execution.workers or 1
    num_actors = max(1, min(len(todo), int(ray.cluster_resources().get("CPU", 1)) // workers))
    told = {
        "make_stage": make_stage,
        "root": str(workspace.root.resolve()),
        "recipe": as_dict(recipe),
        "execution": ExecutionConfig(workers=workers, devices=("cuda:0",) if on_gpu else ("cpu",)),
    }
    shards = ray.data.from_items([{"shard": shard} for shard in todo], override_num_blocks=len(todo))
    actors = ray.data.ActorPoolStrategy(size=num_actors)
    done = shards.map_batches(
        _ShardActor, batch_size=1, compute=actors, num_cpus=workers, num_gpus=int(on_gpu), fn_constructor_kwargs=told
    )
    num_clips = 0
    for row in progress(done.iter_rows(), total=len(todo), label=stage.name, unit="shard"):
        if row["mistake"]:
            raise UserError(row["mistake"])
        num_clips += int(row["clips"])
    return num_clips


def _started_ray() -> Any:
    """Ray, connected to the cluster $RAY_ADDRESS names, or to one of its own; it says and sends little."""
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
    """What lives on a Ray worker: it does whole shards, as a machine of its own would."""

    def __init__(self, make_stage: MakeStage, root: str, recipe: dict[str, Any], execution: ExecutionConfig) -> None:
        self.workspace = Workspace(Path(root))
        self.recipe = from_dict(recipe)
        self.stage = make_stage(self.workspace, self.recipe)
        self.execution = execution

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        clips, mistake = 0, ""
        try:
            shards = [int(shard) for shard in batch["shard"]]
            clips = _on_this_machine(self.stage, shards, self.workspace, self.recipe, self.execution)
        except UserError as error:
            mistake = str(error)
        return {"clips": [clips], "mistake": [mistake]}


EXECUTORS: dict[str, Callable[[MakeStage, Workspace, Recipe, ExecutionConfig], int]] = {
    "local": _local,
    "slurm": _slurm,
    "ray": _ray,
}

__all__ = ["EXECUTORS", "ExecutionConfig", "job_of", "rank_of", "run_stage", "shards_of_rank"]
