"""Upload of a dataset to object storage: clips shard by shard, the metadata at the end."""

from collections.abc import Hashable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from exprbench.core.errors import ItemError, UserError
from exprbench.core.files import read_json, sha256_json, sha256_path, write_json
from exprbench.core.progress import say
from multiexpr.execution.executors import ExecutionConfig, run_stage
from multiexpr.recipe import Recipe
from multiexpr.sources.remote import open_storage
from multiexpr.storage.parquet import list_shards, read_rows, shard_path
from multiexpr.storage.workspace import Workspace

NUM_THREADS = 8

Row = dict[str, Any]


class UploadStage:
    """Stage that uploads the exported clips of a shard, with their tracks and masks."""

    name = "upload"
    unit = "clip"

    def __init__(self, workspace: Workspace, recipe: Recipe, *, url: str) -> None:
        del recipe  # what was exported says which files there are
        self.workspace = workspace
        self.url = url.rstrip("/")

    def shards(self) -> list[int]:
        """Return the shards with exported clips."""
        return list_shards(self.workspace.exported)

    def size(self, shard: int) -> int:
        """Return the number of exported clips of a shard."""
        return len(self._clips(shard))

    def is_done(self, shard: int) -> bool:
        """Return whether the exported clips of the shard were uploaded to the URL."""
        return read_json(self._mark(shard)).get("key") == self._key(shard)

    def _clips(self, shard: int) -> list[str]:
        return [row["clip_id"] for row in read_rows(self._table(shard)) if not row["error"]]

    def _table(self, shard: int) -> Path:
        return shard_path(self.workspace.exported, shard)

    def _mark(self, shard: int) -> Path:
        return self.workspace.uploads / f"{shard:05d}.json"

    def _key(self, shard: int) -> str:
        return sha256_json([self.url, sha256_path(self._table(shard))])

    def tasks(self, shard: int) -> dict[int, Row]:
        """Return the files of each exported clip by its position in the shard."""
        clips = self.workspace.dataset / "clips"
        return {
            i: {"files": sorted(clips.glob(f"{clip_id[:2]}/{clip_id}.*"))}
            for i, clip_id in enumerate(self._clips(shard))
        }

    def finish(self, shard: int, answers: dict[int, Row]) -> dict[str, int]:
        """Mark the shard as uploaded, if nothing failed, and return the numbers of clips and errors."""
        failed = [answer["error"] for answer in answers.values() if "error" in answer]
        if failed:
            say(f"upload: {len(failed)} clips failed, the first one with: {failed[0][1]}")
        else:
            write_json(self._mark(shard), {"key": self._key(shard)})
        return {"clips": len(answers), "errors": len(failed)}


class UploadPool:
    """Pool of threads that upload files, with the interface of `exprbench.core.processes.Pool`."""

    def __init__(self, dataset: Path, url: str) -> None:
        self.dataset = dataset
        self.storage, self.top = open_storage(url)

    def map(self, requests: Iterator[tuple[Hashable, Row]]) -> Iterator[tuple[Any, Row | ItemError]]:
        """Yield (key, answer or ItemError) in order of completion; at most one request per thread is open."""
        running: dict[Any, Hashable] = {}
        with ThreadPoolExecutor(NUM_THREADS) as pool:
            while True:
                while len(running) < NUM_THREADS and (job := next(requests, None)):
                    running[pool.submit(self._answer, job[1])] = job[0]
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()

    def _answer(self, request: Row) -> Row | ItemError:
        try:
            for path in request["files"]:
                self.storage.put_file(str(path), f"{self.top}/{path.relative_to(self.dataset).as_posix()}")
        except Exception as error:  # each kind of storage has errors of its own
            return ItemError("upload_failed", " ".join(str(error).split()) or type(error).__name__)
        return {}


@contextmanager
def open_upload_pool(
    stage: UploadStage, workspace: Workspace, recipe: Recipe, execution: ExecutionConfig
) -> Iterator[UploadPool]:
    """Open the pool of an upload stage."""
    del recipe, execution
    yield UploadPool(workspace.dataset, stage.url)


def upload_clips(workspace: Workspace, recipe: Recipe, url: str, execution: ExecutionConfig) -> None:
    """Upload the exported clips; several ranks divide the shards.

    Raises:
        UserError: the storage cannot be reached, or uploads failed.
    """
    make_stage = partial(UploadStage, url=url)
    run_stage(make_stage, workspace, recipe, execution, open_pool=open_upload_pool)
    stage = make_stage(workspace, recipe)
    if num_left := sum(not stage.is_done(shard) for shard in stage.shards()):
        raise UserError(f"{num_left} shards were not uploaded to {url}; check endpoint and credentials, and run again")


def upload_metadata(workspace: Workspace, url: str) -> None:
    """Upload everything but the clips, and delete clips of the URL that the dataset does not have.

    Raises:
        UserError: the storage cannot be reached.
    """
    storage, top = open_storage(url)
    dataset = workspace.dataset
    try:
        own = {path.relative_to(dataset).as_posix() for path in (dataset / "clips").rglob("*") if path.is_file()}
        there = storage.find(f"{top}/clips") if storage.exists(f"{top}/clips") else []
        for path in (path for path in there if path[len(top) + 1 :] not in own):
            storage.rm_file(path)
        for path in sorted(dataset.rglob("*")):
            if path.is_file() and path.relative_to(dataset).parts[0] != "clips":
                storage.put_file(str(path), f"{top}/{path.relative_to(dataset).as_posix()}")
    except Exception as error:  # each kind of storage has errors of its own
        raise UserError(f"{url} cannot be written ({error}); check URL, endpoint and credentials") from error
