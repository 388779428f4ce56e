"""Hashes of a method's model files: read once, and remembered by size and time of change."""

import json
from collections.abc import Mapping
from pathlib import Path

from baselines.method_environment import Environment
from baselines.spec import PLACEHOLDER, Method
from exprbench.core.cache import read_entry, write_entry
from exprbench.core.files import sha256_json, sha256_path


def weight_path(method: Method, path: str, environment: Environment, options: Mapping[str, str]) -> Path | None:
    """Return the path of a model file or folder of the specification; None if an option in it has no value."""
    values = {**method.options, **options}
    names = [match["name"] for match in PLACEHOLDER.finditer(path)]
    if not all(values.get(name) for name in names):
        return None
    filled = Path(PLACEHOLDER.sub(lambda match: values[match["name"]], path))
    return (environment.repo or Path.cwd()) / filled


def weight_hashes(method: Method, environment: Environment, options: Mapping[str, str]) -> dict[str, str]:
    """Return path in the specification -> SHA-256, for the model files and folders that are there."""
    found = {weight.path: weight_path(method, weight.path, environment, options) for weight in method.weights}
    return {name: hash_model(path) for name, path in found.items() if path and path.exists()}


def hash_model(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and hashes of all files below a folder."""
    if path.is_file():
        return _hash_file(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return sha256_json({file.relative_to(path).as_posix(): _hash_file(file) for file in files})


def _hash_file(path: Path) -> str:
    real = path.resolve()
    state = real.stat()
    key = {"path": str(real), "bytes": state.st_size, "changed_ns": state.st_mtime_ns}
    known = read_entry("model_hashes", key)
    if known is not None:
        return json.loads(known)
    digest = sha256_path(real)
    write_entry("model_hashes", key, json.dumps(digest).encode())
    return digest
