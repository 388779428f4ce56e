"""Latent cache: encoded clips in shards of safetensors, written whole or not at all and verified by hash."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from exprbench.core.errors import UserError
from exprbench.core.files import read_json, sha256_json, sha256_path, write_json
from exprbench.core.progress import progress, say
from fantasyportrait.checkpoints.tensors import open_tensors, save_tensors
from fantasyportrait.training.batches import Bucket, Example
from fantasyportrait.training.clip_encoder import ENCODING_ERRORS, ClipEncoder
from fantasyportrait.training.clip_sources import ClipFile

CACHE_FILE, SHARDS_FILE = "cache.json", "shards.json"
CLIPS_PER_SHARD = 16
FIELDS = ("latents", "reference", "image", "text", "features", "labels")


class ExampleEntry(NamedTuple):
    """One example of a store: its name, its source and its size."""

    name: str
    source: str
    bucket: Bucket


class ExampleStore(Protocol):
    """Source of encoded examples: a latent cache, or clips that are encoded on the fly."""

    entries: list[ExampleEntry]

    def load(self, index: int) -> Example:
        """Return the example of an entry."""


def write_cache(out: Path, clips: Sequence[ClipFile], encoder: ClipEncoder, *, per_shard: int = CLIPS_PER_SHARD) -> int:
    """Encode clips into a cache and return the number of shards written now.

    Intact shards of the same clips and encoders are kept, so an interrupted run can be resumed; a shard whose hash does
    not match is written again. Under torchrun or Slurm each process writes its share of the shards.

    Raises:
        UserError: the cache was made with other encoders or settings.
    """
    identity = encoder.identity()
    _check_identity(out, identity)
    write_json(out / CACHE_FILE, identity)
    shards = [clips[i : i + per_shard] for i in range(0, len(clips), per_shard)]
    write_json(out / SHARDS_FILE, {"shards": [_shard_path(out, shard, identity).name for shard in shards]})
    rank, num_ranks = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    pending = [shard for shard in shards[rank::num_ranks] if not _is_intact(_shard_path(out, shard, identity))]
    for shard in progress(pending, total=len(pending), label="encode", unit="shard"):
        _write_shard(_shard_path(out, shard, identity), shard, encoder)
    return len(pending)


def _check_identity(out: Path, identity: dict[str, Any]) -> None:
    recorded = read_json(out / CACHE_FILE)
    changed = [key for key in identity if recorded.get(key) != identity[key]]
    if recorded and changed:
        raise UserError(f"{out} was made with other settings ({', '.join(changed)}); choose another --out")


def _shard_path(out: Path, clips: Sequence[ClipFile], identity: dict[str, Any]) -> Path:
    """Return the path of a shard, named after a hash of its clips (files by size and time) and the encoders."""
    stats = [clip.path.stat() if clip.path.exists() else None for clip in clips]
    files = [
        [c.source, c.name, c.caption, s and s.st_size, s and s.st_mtime_ns] for c, s in zip(clips, stats, strict=True)
    ]
    return out / "shards" / f"{sha256_json([files, identity])[:24]}.safetensors"


def _is_intact(path: Path) -> bool:
    record = read_json(path.with_suffix(".json"))
    if not record:
        return False
    if path.is_file() and sha256_path(path) == record["sha256"]:
        return True
    say(f"{path.name} is missing or damaged; it is encoded again")
    return False


def _write_shard(path: Path, clips: Sequence[ClipFile], encoder: ClipEncoder) -> None:
    tensors, entries, excluded = {}, [], {}
    for clip in clips:
        try:
            examples = list(encoder.encode(clip))
        except ENCODING_ERRORS as error:
            excluded[f"{clip.source}/{clip.name}"] = str(error)
            continue
        for example in examples:
            tensors |= {f"{len(entries)}.{field}": t.clone().contiguous() for field, t in example.tensors.items()}
            entries.append({"name": example.name, "source": clip.source, "bucket": list(example.bucket)})
    save_tensors(path, tensors)
    write_json(path.with_suffix(".json"), {"sha256": sha256_path(path), "entries": entries, "excluded": excluded})


@dataclass(frozen=True)
class LatentCache:
    """Cache on disk, read by any number of processes.

    Raises:
        UserError: there is no cache, or a shard is missing or damaged.
    """

    path: Path
    _verified: set[Path] = field(default_factory=set, repr=False)  # shards whose hash this process has compared

    def __post_init__(self) -> None:
        if not (self.path / CACHE_FILE).is_file():
            raise UserError(f"{self.path} is not a latent cache; create one with: fantasyportrait prepare")

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Return the settings and encoders that the cache was made with."""
        return read_json(self.path / CACHE_FILE)

    @cached_property
    def _records(self) -> list[tuple[Path, dict[str, Any]]]:
        paths = [self.path / "shards" / name for name in read_json(self.path / SHARDS_FILE)["shards"]]
        records = [(path, read_json(path.with_suffix(".json"))) for path in paths]
        if missing := sum(not record for _, record in records):
            raise UserError(f"{self.path} lacks {missing} of {len(paths)} shards; run fantasyportrait prepare again")
        return records

    @cached_property
    def _located(self) -> list[tuple[Path, int, ExampleEntry]]:
        located = [
            (path, i, ExampleEntry(e["name"], e["source"], tuple(e["bucket"])))
            for path, record in self._records
            for i, e in enumerate(record["entries"])
        ]
        return sorted(located, key=lambda item: item[2].name)

    @property
    def entries(self) -> list[ExampleEntry]:
        """Return all examples, sorted by name."""
        return [entry for *_, entry in self._located]

    @property
    def excluded(self) -> dict[str, str]:
        """Return the clips that could not be encoded, with their reasons."""
        return {clip: reason for _, record in self._records for clip, reason in record["excluded"].items()}

    def load(self, index: int) -> Example:
        """Return an example; the hash of its shard is compared the first time, later only its own tensors are read."""
        path, i, entry = self._located[index]
        if path not in self._verified:
            if path in self.verify([path]):
                raise UserError(f"{path} is missing or damaged; run fantasyportrait prepare again")
            self._verified.add(path)
        tensors = open_tensors(path)
        return Example(name=entry.name, **{field: tensors[f"{i}.{field}"] for field in FIELDS})

    def verify(self, paths: Sequence[Path] | None = None) -> list[Path]:
        """Return the shards, all or those of `paths`, whose contents do not match their hash."""
        hashes = {path: record["sha256"] for path, record in self._records}
        return [path for path in paths or hashes if not path.is_file() or sha256_path(path) != hashes[path]]

    def check_encoders(self, identity: dict[str, Any]) -> None:
        """Raise UserError if the cache was made with other encoders or sizes than `identity` names."""
        changed = [key for key, value in identity.items() if self.identity.get(key) != value]
        if changed:
            raise UserError(
                f"{self.path} was made with other settings than the run's ({', '.join(changed)}); prepare it again"
            )


class EncodedOnTheFly:
    """Examples that are encoded when they are loaded; what takes part is found out at the start.

    The tracks and features of faces come from ExprBench's cache after the first time.
    """

    def __init__(self, clips: Sequence[ClipFile], encoder: ClipEncoder) -> None:
        self._encoder = encoder
        self._located: list[tuple[ClipFile, int]] = []
        self.entries: list[ExampleEntry] = []
        self.excluded: dict[str, str] = {}
        for clip in clips:
            try:
                sizes = encoder.segment_buckets(clip)
            except ENCODING_ERRORS as error:
                self.excluded[f"{clip.source}/{clip.name}"] = str(error)
                continue
            for i, bucket in enumerate(sizes):
                self._located.append((clip, i))
                self.entries.append(ExampleEntry(f"{clip.source}/{clip.name}#{i}", clip.source, bucket))
        order = sorted(range(len(self.entries)), key=lambda i: self.entries[i].name)
        self.entries, self._located = [self.entries[i] for i in order], [self._located[i] for i in order]

    def load(self, index: int) -> Example:
        """Encode an example."""
        clip, i = self._located[index]
        return self._encoder.encode_segment(clip, i)


class InMemory:
    """Store that keeps the examples that were loaded, up to `limit` of them."""

    def __init__(self, store: ExampleStore, limit: int = 256) -> None:
        self._store, self._limit, self.entries = store, limit, store.entries
        self._loaded: dict[int, Example] = {}

    def load(self, index: int) -> Example:
        """Return an example."""
        if index in self._loaded:
            return self._loaded[index]
        example = self._store.load(index)
        if len(self._loaded) < self._limit:
            self._loaded[index] = example
        return example
