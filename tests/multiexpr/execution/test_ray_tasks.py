"""Ray: clusters that do not answer, and two nodes of which one is killed."""

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psutil
import pytest

from exprbench import UserError
from multiexpr.execution import ray_tasks
from multiexpr.execution.executors import ExecutionConfig
from multiexpr.execution.ray_tasks import connect, run_on_ray
from tests.multiexpr.execution.counted import CountedStage, count_shards
from tests.slurm import await_true

ray = pytest.importorskip("ray")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "[::1]:{}", "nowhere.invalid:{}", "host"])
def test_a_cluster_that_cannot_be_reached_is_one_line(monkeypatch, address):
    address = address.format(free_port())
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError) as caught:
        connect()
    assert str(caught.value).startswith(f"no Ray cluster answers at RAY_ADDRESS={address} (")
    assert str(caught.value).endswith("with `ray start`, or unset RAY_ADDRESS to use this machine alone")
    assert "\n" not in str(caught.value)


def test_an_error_of_ray_at_the_start_is_one_line(monkeypatch):
    def init(**options):
        raise ConnectionError("Could not find any running Ray instance.\nMore lines.")

    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(UserError, match=r"^no Ray cluster .* \(Could not find any running Ray instance.\); start"):
        connect()


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_server_of_another_kind_is_no_cluster(monkeypatch, listener, answer):
    monkeypatch.setattr(ray_tasks, "CONNECT_S", 0.5)
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{listener.getsockname()[1]}")
    with ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(listener.accept)
        answering = pool.submit(lambda: accepted.result()[0].sendall(answer))
        with pytest.raises(UserError, match="no Ray cluster answers at RAY_ADDRESS=127"):
            connect()
        answering.result(60)


def patient(get_node):
    """`get_node` of Ray that waits until the node has started: on a busy machine Ray's own 30 seconds are too short."""

    def call(*args):
        found = []

        def is_found():
            with suppress(RuntimeError):
                found.append(get_node(*args))
            return bool(found)

        await_true("the node has not started", is_found, 300)
        return found[0]

    return call


def raylet_pid(node):
    return node.all_processes["raylet"][0].process.pid


@pytest.mark.slow
def test_a_killed_node_costs_its_shard_only(tmp_path, monkeypatch):
    """Two raylets; the one whose task works on a shard is killed, and the other processes all shards."""
    from ray._private import services
    from ray.cluster_utils import Cluster

    monkeypatch.setattr(ray_tasks, "POLL_S", 0.2)
    monkeypatch.setattr(services, "get_node", patient(services.get_node))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        stage = CountedStage(tmp_path, num_shards=8)
        with ThreadPoolExecutor(1) as pool:
            run = pool.submit(run_on_ray, count_shards(tmp_path, 8), stage, ExecutionConfig(executor="ray"))
            await_true("two tasks have not started", lambda: run.done() or len(list(tmp_path.glob("log-*"))) == 2, 300)
            task = psutil.Process(int(next(tmp_path.glob("log-*")).name.removeprefix("log-")))
            ancestors = {process.pid for process in task.parents()}
            cluster.remove_node(next(node for node in nodes if raylet_pid(node) in ancestors), allow_graceful=False)
            await_true("the task has not ended", lambda: not task.is_running(), 300)
            (tmp_path / "go").touch()
            assert run.result(300) == 8
        assert all(map(stage.is_done, stage.shards()))
        shards = [line.split() for path in tmp_path.glob("log-*") for line in path.read_text().splitlines()]
        started = [shard for word, shard in shards if word == "start"]
        assert sorted(set(started)) == [str(i) for i in range(8)]
        assert len(started) <= 9  # only the open shard of the killed node was started twice
    finally:
        ray.shutdown()
        cluster.shutdown()
