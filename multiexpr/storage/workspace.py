"""The folder a curation works in: what lies where."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exprbench.core.errors import UserError
from multiexpr.storage.parquet import shard_path, shards_in


@dataclass(frozen=True)
class Workspace:
    """`root` is the folder given as `--out`.

    recipe.toml          what was measured and kept
    source.json          where the collection lies and of what kind it is
    entries/00000.parquet  the collection's videos, in shards
    index/00000.parquet  the clips made of them, shard by shard
    mismatches.parquet   what of the collection did not become clips, and why
    scores/SCORER/00000.parquet
    captions/00000.parquet
    export/00000.parquet what was written, per shard
    verdicts.parquet     kept, dropped or error, for every clip
    dataset/             the result
    report.html
    timings/STAGE/00000.json
    """

    root: Path

    @property
    def recipe(self) -> Path:
        """The recipe in use."""
        return self.root / "recipe.toml"

    @property
    def source(self) -> Path:
        """Where the collection lies, and of what kind it is."""
        return self.root / "source.json"

    @property
    def entries(self) -> Path:
        """The collection's videos, in shards."""
        return self.root / "entries"

    @property
    def index(self) -> Path:
        """The clips, in shards."""
        return self.root / "index"

    @property
    def mismatches(self) -> Path:
        """What did not become a clip."""
        return self.root / "mismatches.parquet"

    @property
    def verdicts(self) -> Path:
        """What became of every clip."""
        return self.root / "verdicts.parquet"

    @property
    def captions(self) -> Path:
        """Captions of kept clips, in shards."""
        return self.root / "captions"

    @property
    def exported(self) -> Path:
        """What `export` wrote, in shards."""
        return self.root / "export"

    @property
    def dataset(self) -> Path:
        """The curated dataset."""
        return self.root / "dataset"

    @property
    def report(self) -> Path:
        """The page about it all."""
        return self.root / "report.html"

    def scores(self, scorer: str) -> Path:
        """One scorer's columns, in shards."""
        return self.root / "scores" / scorer

    def timings(self, stage: str) -> Path:
        """How long a stage took, per shard."""
        return self.root / "timings" / stage

    def collection(self) -> dict[str, Any]:
        """Return the collection's `root`, `kind` and `options`, as given when it was listed.

        Raises:
            UserError: no collection was listed yet.
        """
        try:
            return json.loads(self.source.read_text())
        except OSError:
            raise UserError(
                f"{self.root} holds no index; make one with: multiexpr index SOURCE --out {self.root}"
            ) from None

    def shards(self) -> list[int]:
        """Numbers of all shards.

        Raises:
            UserError: no collection was listed.
        """
        found = shards_in(self.entries)
        if not found:
            raise UserError(f"{self.root} holds no index; make one with: multiexpr index SOURCE --out {self.root}")
        return found

    def indexed(self) -> list[int]:
        """The same, once each is indexed.

        Raises:
            UserError: some are not.
        """
        missing = set(self.shards()) - set(shards_in(self.index))
        if missing:
            raise UserError(f"{len(missing)} shards of {self.root} are not indexed yet; give the same command again")
        return self.shards()

    def index_paths(self) -> Iterator[tuple[int, Path]]:
        """(number, path) of the index's shards."""
        for shard in self.indexed():
            yield shard, shard_path(self.index, shard)
