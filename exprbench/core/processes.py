"""Supervised worker processes for work that is done item by item.

A worker is `python -m exprbench.core.child_process`, so the caller's script is never run a second time and needs no
`if __name__ == "__main__"`. Each worker has one item at a time. A worker that crashes, hangs, needs too much memory or
is killed from outside costs at most one item; the pool replaces it. Workers end with their parent.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, TypeVar

import cloudpickle
import psutil

from exprbench.core.child_process import PARENT
from exprbench.core.errors import ItemError, UserError
from exprbench.core.progress import progress

Item = TypeVar("Item")
Result = TypeVar("Result")
Handler = Callable[[Any], Any]
Setup = Callable[[], Handler]

MAX_CRASHES = 2  # an item that crashes two workers is to blame
MAX_KILLS = 3  # a worker can be killed by anyone; after three the machine needs attention
MAX_FAILED_STARTS = 3
START_S = 600.0
POLL_S = 1.0
GRACE_S = 2.0
MEMORY_SHARE = 0.9
FROM_OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
DEBUG = "EXPRBENCH_DEBUG"
KILLED = "worker_killed"
RETRY = object()
# By default, glibc returns the memory of every large array to the system and allocates it again, page by page, which
# takes a quarter of the time of decoding and of the arithmetic on frames. Other systems ignore these variables.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 25), "MALLOC_TRIM_THRESHOLD_": str(1 << 26)}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of one item.

    Attributes:
        timeout_s: seconds of wall time.
        memory_bytes: resident memory of the worker and its children; None allows 90 % of the machine's memory.
    """

    timeout_s: float = 3600.0
    memory_bytes: int | None = None


class RemoteTraceback(Exception):
    """The traceback of an exception in a worker process, as text."""

    def __str__(self) -> str:
        return f"in a worker process:\n{self.args[0]}"


class WorkerKilled(ItemError):
    """The processes of an item were killed from outside, which is not an error of the item: a later run can succeed."""

    def __init__(self, code: str = KILLED, detail: str = "") -> None:
        super().__init__(code, detail)

    def as_user_error(self, item: str) -> UserError:
        """Return the error that ends a run in which the item cannot be left out."""
        remedy = "free memory, or use fewer --workers, and run the command again"
        return UserError(f"{item}: {self.detail}; nothing was written: {remedy}")


def num_cores() -> int:
    """Return the number of cores available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def process_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int,
    label: str,
    unit: str = "item",
    limits: Limits | None = None,
) -> Iterator[tuple[Item, Result | ItemError]]:
    """Yield (item, result) for every item, in the order in which they finish, with a progress display.

    An `ItemError` that the function raises, or that the supervision adds (`timeout`, `out_of_memory`, `worker_crashed`,
    `worker_killed`), takes the place of the result. Other exceptions end the run.

    Args:
        function: sent to each worker once, by value if it comes from a script or notebook.
        workers: number of processes; 0 runs everything in this process, unsupervised, for debugging.
        limits: see `Limits`.
    """
    if workers < 0:
        raise UserError(f"--workers is {workers}; expected 0 (this process) or more")
    if not items:
        return
    results = _in_this_process(function, items) if workers == 0 else _in_pool(function, items, workers, limits)
    yield from progress(results, total=len(items), label=label, unit=unit)


def _in_this_process(function: Handler, items: Sequence[Item]) -> Iterator[tuple[Item, Any]]:
    for item in items:
        try:
            yield item, function(item)
        except ItemError as error:
            yield item, error


def _in_pool(function: Handler, items: Sequence[Item], workers: int, limits: Limits | None) -> Iterator[tuple]:
    workers = min(workers, len(items))
    threads = max(1, num_cores() // workers)
    with Pool([partial(_identity, function)], num_workers=workers, limits=limits, threads=threads) as pool:
        for index, result in pool.map(enumerate(items)):
            yield items[index], result


def _identity(function: Handler) -> Handler:
    return function


class Pool:
    """Worker processes that handle one item at a time.

    Args:
        setups: functions that return a worker's handler, assigned to the workers in turn.
        num_workers: number of processes.
        limits: see `Limits`.
        threads: threads that numerical libraries may use in each worker.
    """

    def __init__(
        self, setups: Sequence[Setup], *, num_workers: int, limits: Limits | None = None, threads: int = 1
    ) -> None:
        if num_workers < 1:
            raise UserError(f"--workers is {num_workers}; expected 1 or more")
        self.limits = limits or Limits()
        self.memory_bytes = self.limits.memory_bytes or int(MEMORY_SHARE * machine_memory_bytes())
        self.workers = [_Worker(setups[i % len(setups)], threads) for i in range(num_workers)]
        self.failed_starts = 0
        self.next_memory_check = 0.0

    def map(self, items: Iterable[tuple[Hashable, Any]]) -> Iterator[tuple[Any, Any]]:
        """Yield (key, result or ItemError) as items finish; an item is drawn when a worker is free for it.

        Raises:
            UserError: a worker raised it, or workers cannot be started.
            Exception: any other exception of a handler, with the worker's traceback as its cause.
        """
        pending, retries, idle = iter(items), [], list(self.workers)
        while True:
            while idle and (job := retries.pop() if retries else _next_job(pending)):
                idle.pop().start(job)
            busy = [worker for worker in self.workers if worker.job]
            if not busy:
                return
            for worker in self._events(busy):
                job, result = worker.finish()
                idle.append(worker)
                if result is RETRY:
                    retries.append(job)
                else:
                    yield job.key, result

    def _events(self, busy: list["_Worker"]) -> list["_Worker"]:
        """Wait, then return the workers whose item is done, failed or over its limits."""
        wait([worker.connection for worker in busy], timeout=POLL_S)
        self._check_memory(busy)
        for worker in busy:
            worker.poll(self.limits.timeout_s)
        self._check_starts(busy)
        return [worker for worker in busy if worker.is_done]

    def _check_memory(self, busy: list["_Worker"]) -> None:
        if time.monotonic() < self.next_memory_check:
            return
        self.next_memory_check = time.monotonic() + POLL_S
        used = resident_bytes([worker.process.pid for worker in busy])
        for worker in busy:
            if used.get(worker.process.pid, 0) > self.memory_bytes:
                detail = f"more than {self.memory_bytes / 2**30:.1f} GiB of memory"
                worker.fail(ItemError("out_of_memory", f"it needed {detail}"))

    def _check_starts(self, busy: list["_Worker"]) -> None:
        for worker in busy:
            if worker.is_ready:
                self.failed_starts = 0
            elif worker.is_done:
                self.failed_starts += 1
                if self.failed_starts >= MAX_FAILED_STARTS:
                    raise UserError(f"worker processes {worker.end_text}; set {DEBUG}=1 to see their messages")

    def close(self) -> None:
        """Stop all workers."""
        stop([worker.process for worker in self.workers if worker.process])
        for worker in self.workers:
            worker.discard()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class _Job:
    key: Hashable
    item: Any
    crashes: int = 0
    kills: int = 0


def _next_job(pending: Iterator[tuple[Hashable, Any]]) -> _Job | None:
    drawn = next(pending, None)
    return _Job(*drawn) if drawn else None


class _Worker:
    """One process and the job it is working on."""

    def __init__(self, setup: Setup, threads: int) -> None:
        self.setup = setup
        self.threads = threads
        self.process: subprocess.Popen | None = None
        self.connection: Connection | None = None
        self.job: _Job | None = None

    def start(self, job: _Job) -> None:
        """Send a job, to a new process if there is none."""
        self.job, self.result, self.is_done, self.end_text = job, RETRY, False, ""
        if self.process is None or self.process.poll() is not None:
            self._launch()
        self.since = time.monotonic()
        self._send(job.item)

    def _launch(self) -> None:
        self.discard()
        self.is_ready = False
        self.connection, child_end = Pipe()
        number = child_end.fileno()
        command = ["exprbench.core.child_process", str(number)]
        self.process = spawn(command, threads=self.threads, pass_fds=(number,), env=KEEP_MEMORY)
        child_end.close()
        self._send((sys.path, self.setup))

    def _send(self, message: Any) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it died; `poll` sees the closed connection
            self.connection.send_bytes(cloudpickle.dumps(message))

    def poll(self, timeout_s: float) -> None:
        """Read what the process sent, and notice its death or an exceeded time limit."""
        try:
            while not self.is_done and self.connection.poll():
                self._receive(cloudpickle.loads(self.connection.recv_bytes()))
        except (EOFError, ConnectionResetError):
            self._died()
        limit_s = timeout_s if self.is_ready else START_S
        if not self.is_done and time.monotonic() - self.since > limit_s:
            self.fail(ItemError("timeout", f"it was not done after {limit_s:g} s"))

    def _receive(self, message: tuple[str, Any]) -> None:
        kind, value = message
        if kind == "ready":
            self.is_ready, self.since = True, time.monotonic()
        elif kind == "error":
            error, trace = value
            raise error from RemoteTraceback(trace)
        else:
            self.result, self.is_done = value, True

    def _died(self) -> None:
        status = self.process.wait()
        self.end_text, self.is_done = exit_text(status), True
        if was_killed(status):
            self.job.kills += 1
        else:
            self.job.crashes += 1
        if self.job.crashes >= MAX_CRASHES:
            self.result = ItemError("worker_crashed", f"its worker process {self.end_text}, {self.job.crashes} times")
        elif self.job.kills >= MAX_KILLS:
            detail = f"its worker process {self.end_text}, {self.job.kills} times, by the machine or a user"
            self.result = WorkerKilled(detail=detail)

    def fail(self, error: ItemError) -> None:
        """Stop the process and give the job an error as its result."""
        stop([self.process])
        self.result, self.is_done = error, True

    def finish(self) -> tuple[_Job, Any]:
        """Return the job and its result, `RETRY` if the process died before there was one."""
        job, self.job = self.job, None
        return job, self.result

    def discard(self) -> None:
        """Forget the process, which has ended."""
        if self.connection:
            self.connection.close()
        self.process = self.connection = None


def spawn(arguments: Sequence[str], *, threads: int | None = None, **options: Any) -> subprocess.Popen:
    """Start `python -m MODULE ARGUMENT ...` in its own session, which Ctrl-C does not reach.

    Args:
        arguments: the module, which calls `child_process.end_with_parent`, and its arguments.
        threads: threads that numerical libraries may use; None leaves the environment as it is.
        options: of `subprocess.Popen`; standard streams are closed by default, standard error unless EXPRBENCH_DEBUG
            is set.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS") if threads else ()
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    streams["stderr"] = None if os.environ.get(DEBUG) else subprocess.DEVNULL
    environment = {**os.environ, **dict.fromkeys(names, str(threads)), **options.pop("env", {})}
    environment[PARENT] = str(os.getpid())
    command = [sys.executable, "-m", *arguments]
    return subprocess.Popen(command, start_new_session=True, env=environment, **{**streams, **options})


def stop(processes: Sequence[subprocess.Popen]) -> None:
    """End processes and their groups: by SIGTERM, so that they remove temporary files, then by SIGKILL."""
    for process in processes:
        _signal_group(process, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _signal_group(process: subprocess.Popen, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def was_killed(status: int) -> bool:
    """Return whether a process with this return code was ended from outside: by the machine or by a user."""
    return -status in FROM_OUTSIDE or status - 128 in FROM_OUTSIDE


def exit_text(status: int) -> str:
    """Return a description of how a process ended, such as `was ended by SIGKILL`, from its return code."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def resident_bytes(pids: Sequence[int]) -> dict[int, int]:
    """Return the resident memory of child processes of this one, each together with its descendants."""
    parents = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has ended
            parents[process.pid] = process.ppid()
    used = dict.fromkeys(pids, 0)
    for pid in parents:
        root = pid
        while root not in used and root in parents:
            root = parents[root]
        if root in used:
            used[root] += _resident(pid)
    return used


def _resident(pid: int) -> int:
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return 0


def machine_memory_bytes() -> int:
    """Return the memory available to this process: the machine's, or its control group's limit if that is less."""
    total = psutil.virtual_memory().total
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(name, encoding="ascii") as file:
                total = min(total, int(file.read()))
        except (OSError, ValueError):  # no control groups, or "max"
            continue
    return total
