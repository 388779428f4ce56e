"""Items through a function on all cores: progress, Ctrl-C, and workers that may die without taking the run down."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import active_children, get_context, parent_process
from typing import Any, TypeVar

from exprbench.core.errors import ItemError, UserError
from exprbench.core.progress import progress

Item = TypeVar("Item")
Result = TypeVar("Result")
Function = Callable[[Item], Result]


def default_workers() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_all(
    function: Function, items: Sequence[Item], *, workers: int, label: str, unit: str = "item"
) -> Iterator[tuple[Item, Any]]:
    """(item, result) for every item, as they finish; an `ItemError` takes the result's place.

    A worker that dies (killed, out of memory, a crash in a library) costs nothing but time: what it was at is tried
    again alone, and only an item that takes a worker down by itself becomes an error, `worker_crashed`.

    Args:
        function: importable from a module: it goes to other processes by name.
        workers: 1 runs everything in this process.
    """
    if workers < 1:
        raise UserError(f"--workers is {workers}; expected 1 or more")
    guarded = partial(_guarded, function)
    alone = workers == 1 or len(items) < 2
    outcomes = ((item, guarded(item)) for item in items) if alone else _in_pool(guarded, items, workers)
    yield from progress(outcomes, total=len(items), label=label, unit=unit)


def _guarded(function: Function, item: Item) -> Any:
    try:
        return function(item)
    except ItemError as error:
        return error


def _in_pool(function: Function, items: Sequence[Item], workers: int) -> Iterator[tuple[Item, Any]]:
    left = dict(enumerate(items))
    while left:
        for i, result in _until_broken(function, left, min(workers, len(left))):
            yield left.pop(i), result
        suspects = list(left)[: workers + 1]  # a pool starts items in order and holds one more than it has workers
        for i in suspects:
            results = [result for _, result in _until_broken(function, {i: left[i]}, 1)]
            dead = ItemError("worker_crashed", "the process that worked on it died, twice")
            yield left.pop(i), results[0] if results else dead


def _until_broken(function: Function, items: dict[int, Item], workers: int) -> Iterator[tuple[int, Any]]:
    """(index, result) as they finish, until all are done or a worker dies."""
    others = set(active_children())
    threads = max(1, default_workers() // workers)
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (threads,))
    try:
        futures = {pool.submit(function, item): i for i, item in items.items()}
        for future in as_completed(futures):
            try:
                result = future.result()
            except BrokenProcessPool:
                return
            yield futures[future], result
        pool.shutdown()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(active_children()) - others:
            process.terminate()


def _start_worker(threads: int) -> None:
    """A worker leaves Ctrl-C to its parent, ends with it, and keeps to its share of the cores."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent:
        parent.join()
        os._exit(1)
