import pytest

from exprbench import UserError
from multiexpr.execution.executors import ExecutionConfig, job_of, rank_of, run_stage, shards_of_rank
from multiexpr.indexing.listing import finish_batch, is_listed, list_collection


def array(task, first=0, last=0, step=1):
    told = {"TASK_ID": task, "TASK_MIN": first, "TASK_MAX": last, "TASK_STEP": step}
    return {f"SLURM_ARRAY_{name}": str(value) for name, value in told.items()}


@pytest.mark.parametrize(
    ("environment", "rank"),
    [
        ({"RANK": "2", "WORLD_SIZE": "8"}, (2, 8)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "3"}, (0, 3)),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, (1, 2)),
        ({"PMI_RANK": "4", "PMI_SIZE": "5"}, (4, 5)),
        (array(1, 1, 4), (0, 4)),
        (array(30, 10, 50, 10), (2, 5)),
        ({**array(3, 2, 4), "SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, (3, 6)),  # an array of jobs of two tasks each
    ],
)
def test_ranks_are_what_launchers_tell(environment, rank):
    assert rank_of(environment) == rank


def test_without_a_launcher_there_is_no_rank():
    with pytest.raises(UserError, match="no rank is told"):
        rank_of({"SLURM_NTASKS": "4"})


def test_ranks_share_all_shards_among_them(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    shares = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        shares.append(shards_of_rank(list(range(10)), ExecutionConfig(executor="slurm")))
    assert sorted(shard for share in shares for shard in share) == list(range(10))
    assert {len(share) for share in shares} == {3, 4}
    assert shards_of_rank([1, 2], ExecutionConfig()) == [1, 2]


def test_an_executor_nobody_knows(workspace, recipe):
    with pytest.raises(UserError, match="did you mean 'slurm'"):
        run_stage(None, workspace, recipe, ExecutionConfig(executor="slrum"))


def test_one_rank_of_a_job_lists_and_the_next_job_lists_again(drawn, workspace):
    assert job_of({"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "5"}) == "5"
    assert job_of({"RANK": "0"}) == ""
    assert not is_listed(workspace, "5")
    list_collection(drawn, workspace, limit=2, job="5")
    assert is_listed(workspace, "5")
    assert not is_listed(workspace, "6")
    finish_batch(workspace)
    assert is_listed(workspace, "5")  # for a rank that comes late
    list_collection(drawn, workspace, limit=2, job="6")
    assert is_listed(workspace, "6")


def test_ranks_of_a_job_without_a_name_list_anew_once_all_is_done(drawn, workspace):
    list_collection(drawn, workspace)
    assert is_listed(workspace)
    finish_batch(workspace)
    assert not is_listed(workspace)
