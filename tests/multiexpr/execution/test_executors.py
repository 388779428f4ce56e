import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest

import multiexpr
from exprbench import UserError
from exprbench.core.locks import sole_writer
from exprbench.core.processes import num_cores
from multiexpr.execution import executors
from multiexpr.execution.executors import ExecutionConfig, get_job_id, get_rank, get_rank_shards, run_stage, sole_run
from multiexpr.execution.gpu_server import list_gpus
from multiexpr.indexing.listing import finish_batch, is_listed, list_collection
from multiexpr.recipe import load_recipe


def array(task, first=0, last=0, step=1):
    values = {"TASK_ID": task, "TASK_MIN": first, "TASK_MAX": last, "TASK_STEP": step}
    return {f"SLURM_ARRAY_{name}": str(value) for name, value in values.items()}


@pytest.mark.parametrize(
    ("environment", "rank"),
    [
        ({"RANK": "2", "WORLD_SIZE": "8"}, (2, 8)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "3"}, (0, 3)),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, (1, 2)),
        ({"PMI_RANK": "4", "PMI_SIZE": "5"}, (4, 5)),
        (array(1, 1, 4), (0, 4)),
        (array(30, 10, 50, 10), (2, 5)),
        (array(25, 10, 50, 15), (1, 3)),  # the last one is 40
        ({"SLURM_ARRAY_TASK_ID": "3"}, (3, 4)),
        ({"RANK": "", "WORLD_SIZE": "", "PMI_RANK": "1", "PMI_SIZE": "2"}, (1, 2)),
        ({"RANK": "1", "SLURM_PROCID": "2", "SLURM_NTASKS": "3"}, (2, 3)),  # one number without the other says nothing
        ({**array(3, 2, 4), "SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, (3, 6)),  # an array of jobs of two tasks each
    ],
)
def test_ranks_are_read_from_the_launchers_variables(environment, rank):
    assert get_rank(environment) == rank


def test_an_environment_without_a_rank_is_an_error():
    with pytest.raises(UserError, match="the environment has no rank; start the command as an array"):
        get_rank({"SLURM_NTASKS": "4"})


def test_every_shard_belongs_to_one_rank(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    shares = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        shares.append(get_rank_shards(list(range(10)), ExecutionConfig(executor="slurm")))
    assert sorted(shard for share in shares for shard in share) == list(range(10))
    assert {len(share) for share in shares} == {3, 4}
    assert get_rank_shards([1, 2], ExecutionConfig()) == [1, 2]


def test_an_unknown_executor_is_an_error(workspace, recipe):
    with pytest.raises(UserError, match="did you mean 'slurm'"):
        run_stage(None, workspace, recipe, ExecutionConfig(executor="slrum"))


def test_one_rank_of_a_job_lists_and_the_next_job_lists_again(drawn, workspace):
    assert get_job_id({"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "5"}) == "5"
    assert get_job_id({"TORCHELASTIC_RUN_ID": "8", "SLURM_JOB_ID": ""}) == "8"
    assert get_job_id({"RANK": "0"}) == ""
    assert not is_listed(workspace, "5")
    list_collection(drawn, workspace, limit=2, job="5")
    assert is_listed(workspace, "5")
    assert not is_listed(workspace, "6")
    finish_batch(workspace)
    assert is_listed(workspace, "5")  # for a rank that comes late
    list_collection(drawn, workspace, limit=2, job="6")
    assert is_listed(workspace, "6")


def test_ranks_of_a_job_without_an_id_list_again_after_a_finished_batch(drawn, workspace):
    list_collection(drawn, workspace)
    assert is_listed(workspace)
    finish_batch(workspace)
    assert not is_listed(workspace)


class Stage:
    """A stage of ten shards of which none is done."""

    unit = "clip"

    def __init__(self, name):
        self.name = name

    def shards(self):
        return list(range(10))


@pytest.fixture
def started(monkeypatch, drawn, workspace):
    """`started("score", ExecutionConfig(...))`: what workers are started with, on a machine with two GPUs."""
    list_collection(drawn, workspace)
    found = {}

    class GpuServers(contextlib.nullcontext):
        def __init__(self, recipe, devices):
            super().__init__(self)
            self.addresses = [f"address of {device}" for device in devices]

    def clip_pool(root, recipe, *, num_workers, servers, whole_videos):
        found.update(root=root, recipe=recipe, num_workers=num_workers, servers=servers, whole_videos=whole_videos)
        return contextlib.nullcontext()

    monkeypatch.setattr(executors, "list_gpus", lambda: ["cuda:0", "cuda:1"])
    monkeypatch.setattr(executors, "GpuServers", GpuServers)
    monkeypatch.setattr(executors, "clip_pool", clip_pool)
    monkeypatch.setattr(executors, "run_shards", lambda stage, workspace, shards, pool: found.update(shards=shards))

    def start(name, execution, *settings):
        run_stage(lambda workspace, recipe: Stage(name), workspace, load_recipe(None, settings), execution)
        return found

    return start


@pytest.mark.parametrize(
    ("name", "devices", "servers"),
    [
        ("score", ("auto",), ["cuda:0", "cuda:1"]),
        ("score", ("cpu",), []),
        ("score", ("cuda:1",), ["cuda:1"]),
        ("score", ("cpu", "cpu"), ["cpu", "cpu"]),
        ("index", ("auto",), []),
        ("export", ("cuda:1",), []),
    ],
)
def test_only_scoring_uses_processes_for_devices(started, name, devices, servers):
    found = started(name, ExecutionConfig(devices=devices))
    assert found["servers"] == ([f"address of {d}" for d in servers] or None)


def test_the_number_of_workers_and_the_recipe_are_passed_on(started, workspace, drawn):
    found = started("index", ExecutionConfig(workers=3), "score.clip_timeout_s=7")
    assert (found["num_workers"], found["shards"], found["whole_videos"]) == (3, list(range(10)), True)
    assert found["recipe"].score.clip_timeout_s == 7.0
    assert found["root"] == str(drawn)
    assert started("index", ExecutionConfig())["num_workers"] == num_cores()


def test_a_rank_does_its_share_alone(started, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert started("index", ExecutionConfig(executor="slurm"))["shards"] == [1, 5, 9]


def test_without_a_gpu_or_with_none_visible_there_are_no_devices(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("pathlib.Path.glob", lambda *_: iter(["/dev/nvidia0"]))
    assert list_gpus() == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert list_gpus() == ["cuda:0", "cuda:1"]


def change(verb, workspace, **options):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(verb, workspace.root, **options).result()


@pytest.mark.parametrize("verb", [multiexpr.score, multiexpr.select, multiexpr.caption, multiexpr.export])
def test_a_workspace_that_another_run_changes_is_refused(drawn, workspace, verb):
    multiexpr.index(drawn, workspace.root, execution=ExecutionConfig(workers=0))
    if verb in (multiexpr.caption, multiexpr.export):
        multiexpr.select(workspace.root)
    with sole_writer(workspace.root), pytest.raises(UserError, match=r"is being written by process \d+ of"):
        change(verb, workspace)


def test_two_curations_of_one_folder_do_not_mix(drawn, workspace):
    with sole_writer(workspace.root), pytest.raises(UserError, match="is being written by"), ThreadPoolExecutor() as p:
        p.submit(multiexpr.curate, drawn, workspace.root).result()
    assert not workspace.entries.exists()


def test_ranks_of_a_job_share_a_workspace(workspace):
    with sole_writer(workspace.root), ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: sole_run(workspace, ExecutionConfig(executor="slurm")).__enter__()).result()
