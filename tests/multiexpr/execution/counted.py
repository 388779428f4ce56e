"""A stage whose shards are files, for processes on other nodes: each logs its starts, then waits for a file `go`."""

import os
import time
from functools import partial

from multiexpr.execution.shard_runner import run_shards
from multiexpr.storage.workspace import Workspace


class CountedStage:
    name, unit = "count", "clip"

    def __init__(self, folder, num_shards):
        self.folder = folder
        self.num_shards = num_shards

    def shards(self):
        return list(range(self.num_shards))

    def size(self, shard):
        return 1

    def is_done(self, shard):
        return (self.folder / f"{shard}.done").exists()

    def tasks(self, shard):
        return {0: {"shard": shard}}

    def finish(self, shard, answers):
        (self.folder / f"{shard}.done").touch()
        return {"clips": 1}


class WaitingPool:
    def __init__(self, folder):
        self.folder = folder

    def map(self, requests):
        for key, request in requests:
            with (self.folder / f"log-{os.getpid()}").open("a") as log:
                log.write(f"start {request['shard']}\n")
            while not (self.folder / "go").exists():
                time.sleep(0.05)
            yield key, {}


def _run(folder, num_shards, num_gpus):
    assert num_gpus == 0
    stage = CountedStage(folder, num_shards)
    return run_shards(stage, Workspace(folder), stage.shards(), WaitingPool(folder))


def count_shards(folder, num_shards):
    """Return a function that processes the shards, to be called with a number of GPUs."""
    return partial(_run, folder, num_shards)
