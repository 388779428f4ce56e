"""Workspace: the files in the folder of a curation."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exprbench.core.errors import UserError
from multiexpr.storage.parquet import list_shards, shard_path


@dataclass(frozen=True)
class Workspace:
    """Paths in the folder of a curation; `root` is the folder given as `--out`.

    recipe.toml                  recipe in use
    source.json                  root, kind and options of the collection
    batch.json                   state of the last listing
    entries/00000.parquet        videos of the collection, in shards
    mismatches.parquet           files and table rows without an entry
    index/00000.parquet          clips of these videos
    scores/SCORER/00000.parquet  columns of each scorer
    copies.parquet               near-duplicates and the clips that they copy
    verdicts.parquet             outcome of every clip: kept, dropped, error or pending
    funnel.json                  number of clips by outcome and reason
    captions/00000.parquet       captions of kept clips
    export/00000.parquet         exported clips
    timings/STAGE/00000.json     wall time of each stage and shard
    claims/STAGE/00000.0         process that works on a shard
    steps/STEP                   last run that took a step of the whole collection
    dataset/                     the dataset
    report.html                  the report
    report/                      videos that the report plays
    """

    root: Path

    @property
    def recipe(self) -> Path:
        """Return the path of the recipe in use."""
        return self.root / "recipe.toml"

    @property
    def source(self) -> Path:
        """Return the path of the description of the collection."""
        return self.root / "source.json"

    @property
    def entries(self) -> Path:
        """Return the folder of the collection's videos, in shards."""
        return self.root / "entries"

    @property
    def index(self) -> Path:
        """Return the folder of the clips, in shards."""
        return self.root / "index"

    @property
    def mismatches(self) -> Path:
        """Return the path of the table of mismatches."""
        return self.root / "mismatches.parquet"

    @property
    def verdicts(self) -> Path:
        """Return the path of the table of verdicts."""
        return self.root / "verdicts.parquet"

    @property
    def copies(self) -> Path:
        """Return the path of the table of near-duplicates."""
        return self.root / "copies.parquet"

    @property
    def captions(self) -> Path:
        """Return the folder of captions, in shards."""
        return self.root / "captions"

    @property
    def exported(self) -> Path:
        """Return the folder of the tables of exported clips, in shards."""
        return self.root / "export"

    @property
    def dataset(self) -> Path:
        """Return the folder of the dataset."""
        return self.root / "dataset"

    @property
    def report(self) -> Path:
        """Return the path of the report."""
        return self.root / "report.html"

    @property
    def previews(self) -> Path:
        """Return the folder of the videos that the report plays."""
        return self.root / "report"

    def scores(self, scorer: str) -> Path:
        """Return the folder of a scorer's columns, in shards."""
        return self.root / "scores" / scorer

    def timings(self, stage: str) -> Path:
        """Return the folder of a stage's timings, one file per shard."""
        return self.root / "timings" / stage

    def claims(self, stage: str) -> Path:
        """Return the folder of the claims on a stage's shards."""
        return self.root / "claims" / stage

    def step(self, name: str) -> Path:
        """Return the path of the mark of a step that one process takes for all, such as `select`."""
        return self.root / "steps" / name

    def collection(self) -> dict[str, Any]:
        """Return the collection's `root`, `kind` and `options`, as given when it was listed.

        Raises:
            UserError: no collection was listed.
        """
        try:
            return json.loads(self.source.read_text(encoding="utf-8"))
        except OSError:
            raise self._no_index() from None

    def _no_index(self) -> UserError:
        return UserError(f"there is no index in {self.root}; create one with: multiexpr index SOURCE --out {self.root}")

    def shards(self) -> list[int]:
        """Return the numbers of all shards.

        Raises:
            UserError: no collection was listed.
        """
        shards = list_shards(self.entries)
        if not shards:
            raise self._no_index()
        return shards

    def indexed_shards(self) -> list[int]:
        """Return the numbers of all shards, all of which are indexed.

        Raises:
            UserError: no collection was listed, or a shard is not indexed yet.
        """
        missing = set(self.shards()) - set(list_shards(self.index))
        if missing:
            raise UserError(
                f"{len(missing)} shards of {self.root} are not indexed yet; finish them with: "
                f"multiexpr index SOURCE --out {self.root}"
            )
        return self.shards()

    def index_paths(self) -> Iterator[tuple[int, Path]]:
        """Yield (number, path) of the shards of the index.

        Raises:
            UserError: no collection was listed, or a shard is not indexed yet.
        """
        for shard in self.indexed_shards():
            yield shard, shard_path(self.index, shard)
