"""Ray: the same process on every free slot of a cluster; they divide the shards of a stage by claims."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from exprbench.core.errors import UserError
from exprbench.core.progress import progress, say
from multiexpr.execution.shard_runner import Stage

if TYPE_CHECKING:
    from multiexpr.execution.executors import ExecutionConfig

CONNECT_S = 10.0
POLL_S = 2.0
POLL_SHARE = 0.1  # of the time that the driver may spend on checking which shards are done
MAX_RETRIES = 3  # of a task whose worker or node ended
HTTP2_SETTINGS = b"\x04"  # type of the first frame of each side, at byte 3
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + HTTP2_SETTINGS + b"\0\0\0\0\0"

Run = Callable[[int], int]  # from the number of GPUs of a task to the number of clips that it processed


def run_on_ray(run: Run, stage: Stage, execution: "ExecutionConfig") -> int:
    """Run a function on every free slot of the cluster until all shards of a stage are done; return its sum.

    A worker or node that is killed costs its open shards: the others process them.

    Raises:
        UserError: Ray is not installed, its cluster cannot be reached, or shards remain because all workers ended.
    """
    ray = connect()
    todo = [shard for shard in stage.shards() if not stage.is_done(shard)]
    resources, workers = ray.cluster_resources(), execution.workers or 1
    num_gpus = int(execution.devices != ("cpu",) and resources.get("GPU", 0) > 0)
    num_tasks = max(1, min(len(todo), int(resources.get("CPU", 1)) // workers))
    task = ray.remote(num_cpus=workers, num_gpus=num_gpus, max_retries=MAX_RETRIES)(_task)
    results: list[int] = []
    done = _shards_done(ray, [task.remote(run, num_gpus) for _ in range(num_tasks)], stage, todo, results)
    num_done = sum(1 for _ in progress(done, total=len(todo), label=stage.name, unit="shard"))
    if not results:
        left = len(todo) - num_done
        raise UserError(f"{stage.name}: all Ray workers ended, and {left} shards are left; run the same command again")
    return sum(results)


def _task(run: Run, num_gpus: int) -> tuple[int, str]:
    try:
        return run(num_gpus), ""
    except UserError as error:
        return 0, str(error)


def _shards_done(ray: Any, running: list[Any], stage: Stage, todo: list[int], results: list[int]) -> Iterator[int]:
    """Yield shards as they are done until all tasks have ended, and append the tasks' results to `results`."""
    poll_s = POLL_S
    while running:
        ready, running = ray.wait(running, timeout=poll_s)
        results += [number for reference in ready if (number := _result(ray, reference, stage)) is not None]
        start = time.monotonic()
        done = {shard for shard in todo if stage.is_done(shard)}
        poll_s = max(POLL_S, (time.monotonic() - start) / POLL_SHARE)
        todo = [shard for shard in todo if shard not in done]
        yield from sorted(done)


def _result(ray: Any, reference: Any, stage: Stage) -> int | None:
    """Return the result of a task; None if its worker ended, also after retries."""
    try:
        number, message = ray.get(reference)
    except ray.exceptions.RayTaskError:
        raise
    except ray.exceptions.RayError as error:
        say(f"{stage.name}: a Ray worker ended ({type(error).__name__}); the others process its shards")
        return None
    if message:
        raise UserError(message)
    return number


def connect() -> Any:
    """Import Ray, connect to the cluster at $RAY_ADDRESS or start one on this machine, and return the module.

    Raises:
        UserError: Ray is not installed, or no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
    except ImportError as error:
        raise UserError("--executor ray needs the package ray: pip install 'exprbench[ray]'") from error
    if ray.is_initialized():
        return ray
    address = os.environ.get("RAY_ADDRESS", "")
    try:
        _check_port(address)
        ray.init(log_to_driver=False, logging_level="CRITICAL", include_dashboard=False)
    except (ConnectionError, OSError, RuntimeError, TimeoutError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        place = f"RAY_ADDRESS={address}" if address else "this machine"
        remedy = "start the cluster with `ray start`, or unset RAY_ADDRESS to use this machine alone"
        raise UserError(f"no Ray cluster answers at {place} ({reason}); {remedy}") from error
    return ray


def _check_port(address: str) -> None:
    """Raise `OSError` or `ValueError` if no gRPC server listens at an address; Ray itself would try for minutes."""
    if address in ("", "auto", "local"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S) as connection:
        if os.environ.get("RAY_USE_TLS", "0") == "0":
            connection.sendall(HTTP2_PREFACE)
            answer = connection.recv(9)
            if answer[3:4] != HTTP2_SETTINGS:
                raise ConnectionError("the server is not one of Ray")
