"""Benchmark folders that were changed after they were built, with matching hashes."""

import shutil
from dataclasses import replace

from exprbench.benchmark import Benchmark, dump_cases
from exprbench.core.files import sha256_path, write_json, write_text


def rewritten(bench, root, *, files=None, assets=None, **fields):
    """A copy of a benchmark at `root` with other `files` (path -> what writes it), `assets` and fields."""
    shutil.copytree(bench.root, root)
    for path, write in (files or {}).items():
        write(root / path)
    described = {**bench.assets, **(assets or {})}
    described = {path: replace(asset, sha256=sha256_path(root / path)) for path, asset in described.items()}
    changed = replace(bench, root=root, assets=described, **fields)
    write_json(root / "benchmark.json", changed.describe())
    write_text(root / "cases.csv", dump_cases(changed.cases))
    return Benchmark.open(root)
