"""Caption stage: captions kept clips shard by shard, several clips at a time."""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from exprbench.core.errors import ItemError
from exprbench.core.files import sha256_json
from exprbench.core.text import replace_surrogates
from exprbench.media import VideoSource, open_frames
from multiexpr.captions.cogvlm2 import NUM_FRAMES, CogVLM2Captioner
from multiexpr.captions.openai import OpenAICaptioner
from multiexpr.captions.prompt import DEFAULT
from multiexpr.execution.executors import ExecutionConfig
from multiexpr.recipe import Caption, Recipe
from multiexpr.scorers.base import evenly_spaced
from multiexpr.selection.verdicts import kept_by_shard
from multiexpr.sources.locate import check_unchanged, video_source
from multiexpr.storage.parquet import num_rows, read_metadata, read_rows, shard_path, write_rows
from multiexpr.storage.workspace import Workspace

VERSION = "captions-1"
CAPTIONS = pa.schema(
    [("clip_id", pa.string()), ("stamp", pa.string()), ("caption", pa.string()), ("error", pa.string()),
     ("detail", pa.string())]
)  # fmt: skip
CAPTION_SETTINGS = {  # settings that a caption depends on, by backend
    "source": (),
    "openai": ("num_frames", "long_side", "max_tokens", "prompt", "model"),
    "cogvlm2": ("max_tokens", "prompt", "model"),
}

Row = dict[str, Any]


class Captioner(Protocol):
    """Model that describes a clip."""

    def caption(self, frames: list[np.ndarray], num_people: int) -> str:
        """Return a caption of a clip, from (H, W, 3) uint8 RGB frames.

        Raises:
            ItemError: this clip gets no caption.
        """


def create_captioner(params: Caption) -> Captioner | None:
    """Return the captioner of the recipe, None for the collection's own text.

    Raises:
        UserError: its model, or the URL of its endpoint, is missing.
    """
    if params.backend == "source":
        return None
    return {"openai": OpenAICaptioner, "cogvlm2": CogVLM2Captioner}[params.backend](params)


class CaptionStage:
    """Stage that writes a row for each kept clip. Clips that failed are tried again by the next run."""

    name = "caption"
    unit = "clip"

    def __init__(self, workspace: Workspace, recipe: Recipe, *, shards: Sequence[int] | None = None) -> None:
        self.workspace = workspace
        self.params = recipe.caption
        self.kept = {s: clips for s, clips in kept_by_shard(workspace).items() if shards is None or s in shards}
        used = {
            key: value for key, value in asdict(self.params).items() if key in CAPTION_SETTINGS[self.params.backend]
        }
        self.fingerprint = sha256_json([VERSION, DEFAULT, self.params.backend, used])

    def shards(self) -> list[int]:
        """Return the shards with kept clips."""
        return sorted(self.kept)

    def size(self, shard: int) -> int:
        """Return the number of kept clips of a shard."""
        return len(self.kept[shard])

    def is_done(self, shard: int) -> bool:
        """Return whether exactly the kept clips of the shard have captions made with these settings."""
        path = self._path(shard)
        if read_metadata(path) is None or num_rows(path) != self.size(shard):
            return False
        return len(self._captioned(shard, self._clips(shard))) == self.size(shard)

    def count_empty(self) -> tuple[int, int]:
        """Return the numbers of captions that are empty without an error, and of all captions, over written shards."""
        paths = [self._path(shard) for shard in self.shards() if self._path(shard).exists()]
        rows = [row for path in paths for row in read_rows(path, ["caption", "error"]) if not row["error"]]
        return sum(not row["caption"].strip() for row in rows), len(rows)

    def _path(self, shard: int) -> Path:
        return shard_path(self.workspace.captions, shard)

    def _clips(self, shard: int) -> list[Row]:
        rows = read_rows(shard_path(self.workspace.index, shard))
        return [row for row in rows if row["clip_id"] in self.kept[shard]]

    def _captioned(self, shard: int, clips: list[Row]) -> dict[str, Row]:
        metadata = read_metadata(self._path(shard))
        if metadata is None or metadata["fingerprint"] != self.fingerprint:
            return {}
        stamps = {clip["clip_id"]: clip["stamp"] for clip in clips}
        rows = read_rows(self._path(shard))
        return {r["clip_id"]: r for r in rows if not r["error"] and stamps.get(r["clip_id"]) == r["stamp"]}

    def tasks(self, shard: int) -> dict[int, Row]:
        """Return requests by position in the shard: kept clips without a caption."""
        clips = self._clips(shard)
        done = self._captioned(shard, clips)
        lengths = lengths_by_clip(self.workspace, shard)
        people = self.kept[shard]
        return {
            i: {"clip": clip, "num_people": len(people[clip["clip_id"]]), "length_s": lengths[clip["clip_id"]]}
            for i, clip in enumerate(clips)
            if clip["clip_id"] not in done
        }

    def finish(self, shard: int, answers: dict[int, Row]) -> dict[str, int]:
        """Write the shard's table and return the numbers of clips and errors."""
        clips = self._clips(shard)
        done = self._captioned(shard, clips)
        rows = []
        for i, clip in enumerate(clips):
            answer = answers.get(i, {})
            error, detail = answer.get("error", ("", ""))
            caption = replace_surrogates(answer.get("caption", ""))
            new = {"clip_id": clip["clip_id"], "stamp": clip["stamp"], "caption": caption,
                   "error": error, "detail": detail}  # fmt: skip
            rows.append(done.get(clip["clip_id"], new))
        write_rows(self._path(shard), rows, CAPTIONS, {"fingerprint": self.fingerprint})
        return {"clips": len(answers), "errors": sum("error" in answer for answer in answers.values())}


def lengths_by_clip(workspace: Workspace, shard: int) -> dict[str, float]:
    """Return the lengths in seconds of a shard's clips, by clip id."""
    rows = read_rows(shard_path(workspace.scores("container"), shard), ["clip_id", "length_s"])
    return {row["clip_id"]: row["length_s"] or 0.0 for row in rows}


class CaptionPool:
    """Pool of threads with the interface of `exprbench.core.processes.Pool`: captioning mostly waits for responses."""

    def __init__(self, root: Path, params: Caption, captioner: Captioner | None) -> None:
        self.root = root
        self.params = params
        self.captioner = captioner
        self.num_threads = 1 if params.backend == "cogvlm2" else params.concurrency

    def map(self, requests: Iterator[tuple[Hashable, Row]]) -> Iterator[tuple[Any, Row | ItemError]]:
        """Yield (key, answer or ItemError) in order of completion; at most one request per thread is open.

        Raises:
            Exception: any other error of a captioner.
        """
        todo: SimpleQueue = SimpleQueue()
        done: SimpleQueue = SimpleQueue()
        for _ in range(self.num_threads):
            Thread(target=self._serve, args=(todo, done), daemon=True).start()  # daemon: exit does not wait for answers
        num_running = 0
        while True:
            while num_running < self.num_threads and (job := next(requests, None)):
                todo.put(job)
                num_running += 1
            if not num_running:
                break
            key, answer = done.get()
            num_running -= 1
            if isinstance(answer, Exception) and not isinstance(answer, ItemError):
                raise answer
            yield key, answer
        for _ in range(self.num_threads):
            todo.put(None)

    def _serve(self, todo: SimpleQueue, done: SimpleQueue) -> None:
        while job := todo.get():
            try:
                done.put((job[0], self._answer(job[1])))
            except Exception as error:  # an ItemError is an answer; `map` raises the others
                done.put((job[0], error))

    def _answer(self, request: Row) -> Row:
        clip = request["clip"]
        if self.captioner is None:
            return {"caption": clip["caption"]}
        check_unchanged(clip, self.root)
        frames = self._frames(video_source(clip, self.root), request["length_s"])
        return {"caption": self.captioner.caption(frames, request["num_people"])}

    def _frames(self, video: VideoSource, length_s: float) -> list[np.ndarray]:
        count = NUM_FRAMES if self.params.backend == "cogvlm2" else self.params.num_frames
        with open_frames(video, evenly_spaced(length_s, count), long_side=self.params.long_side) as frames:
            return list(frames)


@contextmanager
def open_caption_pool(
    stage: CaptionStage, workspace: Workspace, recipe: Recipe, execution: ExecutionConfig
) -> Iterator[CaptionPool]:
    """Open a pool of threads that caption clips with the recipe's backend."""
    del stage, execution  # the number of threads is a setting of the recipe
    yield CaptionPool(Path(workspace.collection()["root"]), recipe.caption, create_captioner(recipe.caption))
