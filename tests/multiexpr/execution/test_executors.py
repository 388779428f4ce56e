import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import multiexpr
from exprbench import UserError
from exprbench.core.locks import sole_writer
from exprbench.core.processes import num_cores
from exprbench.media import containers
from multiexpr.execution import executors
from multiexpr.execution.executors import ExecutionConfig, get_job_id, run_stage, run_step, sole_run
from multiexpr.execution.gpu_server import list_gpus
from multiexpr.indexing.listing import finish_batch, is_listed, list_collection
from multiexpr.recipe import load_recipe


def test_an_unknown_executor_is_an_error(workspace, recipe):
    with pytest.raises(UserError, match="did you mean 'slurm'"):
        run_stage(None, workspace, recipe, ExecutionConfig(executor="slrum"))


@pytest.mark.parametrize(
    "execution", [{"executor": "slrum"}, {"decoder": "nvdec"}, {"decoder": "gpu"}, {"workers": -1}]
)
def test_a_run_that_cannot_start_lists_nothing(drawn, tmp_path, monkeypatch, execution):
    monkeypatch.setattr(containers, "_nvdec", lambda: None)
    with pytest.raises(UserError):
        multiexpr.curate(drawn, tmp_path / "out", execution=ExecutionConfig(**execution))
    assert not (tmp_path / "out").exists()


def test_one_rank_of_a_job_lists_and_the_next_job_lists_again(drawn, workspace):
    assert get_job_id({"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "5"}) == "5"
    assert get_job_id({"TORCHELASTIC_RUN_ID": "8", "SLURM_JOB_ID": ""}) == "8"
    assert get_job_id({"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"}) == "7.0"
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

    def is_done(self, shard):
        return False


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


def test_the_export_uses_them_for_its_face_networks(started):
    found = started("export", ExecutionConfig(devices=("cuda:1",)), "export.engine=torch")
    assert found["servers"] == ["address of cuda:1"]


def test_the_number_of_workers_and_the_recipe_are_passed_on(started, workspace, drawn):
    found = started("index", ExecutionConfig(workers=3), "score.clip_timeout_s=7")
    assert (found["num_workers"], found["shards"], found["whole_videos"]) == (3, list(range(10)), True)
    assert found["recipe"].score.clip_timeout_s == 7.0
    assert found["root"] == str(drawn)
    assert started("index", ExecutionConfig())["num_workers"] == num_cores()


def test_a_stage_that_is_done_starts_no_process(started, monkeypatch):
    monkeypatch.setattr(Stage, "is_done", lambda self, shard: True)
    assert started("index", ExecutionConfig()) == {}


def test_one_process_takes_a_step_and_the_others_wait_for_it(workspace, monkeypatch):
    monkeypatch.setattr(executors, "STEP_POLL_S", 0.01)
    taken, is_taken = [], threading.Event()

    def function():
        taken.append("select")
        is_taken.wait(60)

    with ThreadPoolExecutor(4) as pool:
        ranks = [pool.submit(run_step, workspace, "select", "job 5", function) for _ in range(4)]
        while not taken:
            time.sleep(0.01)
        assert not any(rank.done() for rank in ranks)
        is_taken.set()
        assert [rank.result() for rank in ranks] == [None] * 4
    assert taken == ["select"]
    run_step(workspace, "select", "job 6", function)
    assert taken == ["select", "select"]


def test_a_step_that_failed_is_taken_by_another_process(workspace):
    taken = []
    with pytest.raises(ZeroDivisionError):
        run_step(workspace, "select", "job 5", lambda: 1 / 0)
    run_step(workspace, "select", "job 5", lambda: taken.append(1))
    assert taken == [1]


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
def test_a_workspace_that_another_run_changes_is_refused(drawn, workspace, model_files, verb):
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
